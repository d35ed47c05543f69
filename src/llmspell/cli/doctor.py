"""`doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from llmspell.cli.exit_codes import FAILED, OK
from llmspell.cli.start import load_config, make_app
from llmspell.config.terminal import home_folder
from llmspell.errors import LLMSpellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.config import Config

# optional package -> tools that need it
EXTRAS = {
    "lxml": ("xml-processor", "sitemap-crawler"),
    "PIL": ("image-processor",),
    "av": ("audio-processor", "video-processor"),
    "psutil": ("system-monitor", "process-executor"),
    "networkx": ("graph-builder",),
}
LOW_DISK_BYTES = 200 * 1024 * 1024
EARLIEST = 1_735_689_600  # 2025-01-01: a clock before that is wrong


def doctor(call: Call, out: Output) -> int:
    """Check this installation; any failure is exit 1."""
    checks = [_plain(*check) for check in _checks(call, out)]
    failed = any(check["status"] == "fail" for check in checks)
    payload = {"checks": checks, "healthy": not failed}
    out.emit(payload, lambda: _text(checks, out), items="checks")
    return FAILED if failed else OK


def _checks(call: Call, out: Output) -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, status, message, remedy)."""
    yield _python()
    yield from _home(Path(home_folder(call.flag("home"))))
    try:
        config = load_config(call, out).config
    except LLMSpellError as error:
        config = None
        yield "configuration", "fail", error.message.partition("\n")[0], "llmspell config validate"
    if config is not None:
        yield _advice(config)
    yield _core()
    yield _lua()
    if config is not None:
        yield from _providers(call, out, config)
        yield _embedder(call, out, config)
    yield from _extras()
    yield _disk(Path(home_folder(call.flag("home"))))
    yield _clock()
    if call.get("network") and config is not None:
        yield from _network(call, out, config)


def _python() -> tuple[str, str, str, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return "python", "ok", version, ""


def _home(home: Path) -> Iterator[tuple[str, str, str, str]]:
    if not home.exists():
        above = next(folder for folder in home.absolute().parents if folder.exists())
        if above.is_dir() and os.access(above, os.W_OK):
            yield "home", "ok", f"{home} is made at first use", ""
        else:
            yield "home", "fail", f"{home} cannot be made in {above}", "set LLMSPELL_HOME to a folder of yours"
        return
    if not home.is_dir():
        yield "home", "fail", f"{home} is no folder", f"remove {home}, or set LLMSPELL_HOME"
        return
    if not os.access(home, os.W_OK):
        yield "home", "fail", f"{home} is not writable", f"chown or chmod {home}, or set LLMSPELL_HOME"
        return
    open_to_others = [
        path
        for path in (home, home / "config.toml", home / "secrets.json")
        if path.exists() and path.stat().st_mode & 0o077
    ]
    for path in open_to_others:
        mode = "700" if path.is_dir() else "600"
        yield "home", "warn", f"{path} is open to other users", f"chmod {mode} {path}"
    if not open_to_others:
        yield "home", "ok", str(home), ""


def _advice(config: Config) -> tuple[str, str, str, str]:
    from llmspell.config.check import advice

    notes = [note for note in advice(config) if not note.startswith("no provider")]
    if notes:
        return "configuration", "warn", "; ".join(notes), "llmspell config show --origin"
    return "configuration", "ok", "valid", ""


def _core() -> tuple[str, str, str, str]:
    from llmspell.cli.version import core

    found = core()
    if found.startswith("absent"):
        return "native core", "fail", found, "pip install --force-reinstall llmspell"
    return "native core", "ok", found, ""


def _lua() -> tuple[str, str, str, str]:
    from llmspell.cli.version import lua_version

    found = lua_version()
    if found.startswith("absent"):
        return "lua", "fail", found, "pip install lupa"
    return (
        "lua",
        "ok" if found.startswith("5.4") else "fail",
        found,
        "" if found.startswith("5.4") else "pip install -U lupa",
    )


def _providers(call: Call, out: Output, config: Config) -> Iterator[tuple[str, str, str, str]]:
    app = make_app(config, call, out)
    entries = app.providers.list()
    if not entries:
        yield "providers", "warn", "none configured; echo and scripted work", "set a key, such as OPENAI_API_KEY"
    for entry in entries:
        name = f"provider {entry.name}"
        if entry.available:
            yield name, "ok", f"key {entry.key}" if entry.key else "no key needed", ""
        elif entry.enabled:
            yield name, "warn", "no key", f"set providers.{entry.name}.api_key_env to a variable that holds it"


def _embedder(call: Call, out: Output, config: Config) -> tuple[str, str, str, str]:
    """Tell whether the configured embedder could be used, without asking it."""
    app = make_app(config, call, out)
    name = config.rag.embedding.default_provider
    if name == "builtin":
        return "embedder", "ok", "builtin: finds shared words and spellings, not meaning", ""
    try:
        app.rag.embedder()
    except LLMSpellError as error:
        return "embedder", "warn", f"{name}: {error.message}", ""
    listed = {entry["name"]: entry["available"] for entry in app.rag.list_providers()}
    if listed[name] if name in listed else app.providers.available(name):
        return "embedder", "ok", name, ""
    return (
        "embedder",
        "warn",
        f"{name}: no key",
        "set the variable of the service, or rag.embedding.api_key",
    )


def _extras() -> Iterator[tuple[str, str, str, str]]:
    from importlib.util import find_spec

    from llmspell.tools._manifest import MANIFEST

    present = {str(item["name"]) for item in MANIFEST}
    needed = {module: [name for name in users if name in present] for module, users in EXTRAS.items()}
    users = {module: ", ".join(names) for module, names in needed.items() if names}
    for module, names in {**users, "keyring": "keys in the system keyring"}.items():
        package = {"PIL": "pillow"}.get(module, module)
        if find_spec(module) is None:
            yield f"extra {package}", "warn", f"absent; needed by {names}", f"pip install {package}"
        else:
            yield f"extra {package}", "ok", "installed", ""


def _disk(home: Path) -> tuple[str, str, str, str]:
    place = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free // 1024**2} MiB free at {place}"
    return ("disk", "warn", text, "free some space") if free < LOW_DISK_BYTES else ("disk", "ok", text, "")


def _clock() -> tuple[str, str, str, str]:
    import time

    from llmspell.base.clock import rfc3339

    if time.time() < EARLIEST:
        return "clock", "fail", f"{rfc3339()} is in the past: certificates will not verify", "set the system clock"
    return "clock", "ok", rfc3339(), ""


def _network(call: Call, out: Output, config: Config) -> Iterator[tuple[str, str, str, str]]:
    from llmspell.cli.start import closing, run_async

    app = make_app(config, call, out)
    names = [entry.name for entry in app.providers.list() if entry.enabled]

    async def ask() -> list[dict[str, Any]]:
        return [await app.providers.check(name) for name in names]

    for name, report in zip(names, run_async(closing(app, ask())), strict=True):
        if report["ok"]:
            yield f"reach {name}", "ok", f"{report['latency_ms']} ms", ""
        else:
            yield f"reach {name}", "fail", report["error"]["message"], f"llmspell provider test {name}"


def _plain(name: str, status: str, message: str, remedy: str) -> dict[str, str]:
    return {"name": name, "status": status, "message": message, "remedy": remedy}


def _text(checks: list[dict[str, str]], out: Output) -> str:
    rows = [(check["status"], check["name"], check["message"]) for check in checks]
    lines = [out.table(("STATUS", "CHECK", "RESULT"), rows)]
    lines += [f"{check['name']}: {check['remedy']}" for check in checks if check["status"] != "ok" and check["remedy"]]
    return "\n".join(lines)
