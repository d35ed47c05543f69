"""`--version` and `version`."""

from __future__ import annotations

from llmspell.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def short(call: Call, out: Output) -> int:
    """Write `llmspell X.Y.Z`; with -v everything."""
    if call.flag("verbose"):
        return version(call, out)
    out.command = "version"
    out.emit({"version": __version__}, f"llmspell {__version__}")
    return 0


def version(_call: Call, out: Output) -> int:
    """Write the versions of llmspell, Python, Lua and the compiled core, the platform and the features."""
    import platform

    out.command = "version"
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "lua": lua_version(),
        "core": core(),
        "platform": platform.platform(),
        "features": features(),
    }
    lines = [f"llmspell {__version__}"]
    lines += [
        f"{name:<9} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in facts.items()
        if name != "version"
    ]
    out.emit(facts, "\n".join(lines))
    return 0


def lua_version() -> str:
    """Return the version of the Lua library, or why there is none."""
    try:
        from lupa import lua54
    except ImportError as error:
        return f"absent: {error}"
    return ".".join(str(part) for part in lua54.LUA_VERSION)


def core() -> str:
    """Return what the compiled core runs on, or why it is absent."""
    try:
        from llmspell.base.processor import processor

        found = processor()
    except (ImportError, AttributeError) as error:
        return f"absent: {error}"
    abilities = ", ".join(name for name, present in found.items() if present is True)
    return f"{found['active']} (processor: {abilities or 'plain'})"


def features() -> list[str]:
    """Return the optional packages that are installed."""
    from importlib.util import find_spec

    extras = ("lxml", "PIL", "av", "psutil", "networkx", "keyring", "pyarrow", "openpyxl", "psycopg")
    return [name for name in extras if find_spec(name) is not None]
