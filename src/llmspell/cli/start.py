"""What commands that read the configuration share: loading it, the App, running a coroutine, closing."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from llmspell.cli.grammar import UsageError
from llmspell.cli.table import FORMATS
from llmspell.config.terminal import environment, home_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any, TypeVar

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.config import Config, Loaded

    T = TypeVar("T")

RAG_PROFILES = {"development": "rag-dev", "production": "rag-prod"}


def load_config(call: Call, out: Output, *, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Return the effective configuration, its warnings written; `cli.output` and `cli.color` are put in force."""
    lean_msgspec()
    from llmspell.config.loading import load

    environ = _environ(call)
    for item in call.flag("set") or ():
        if not item.partition("=")[0].strip() or "=" not in item:
            raise UsageError(f"--set {item}: expected KEY=VALUE")
    explicit = call.flag("config")
    loaded = load(
        explicit=os.path.abspath(explicit) if explicit else None,
        profile=_profiles(call, environ),
        sets=call.flag("set") or (),
        environ=environ,
        cwd=Path.cwd(),
        home=Path(home_folder(call.flag("home"))),
        flags=flags,
    )
    if call.flag("output") is None and "cli.output" in loaded.origin and "LLMSPELL_OUTPUT" not in environ:
        out.form = loaded.config.cli.output if loaded.config.cli.output in FORMATS else out.form
    if call.flag("color") is None:
        out.color = loaded.config.cli.color
    asked = any(call.flag(name) for name in ("trace", "verbose", "quiet")) or "LLMSPELL_LOG" in environ
    if not asked and "logging.level" in loaded.origin:
        out.level = loaded.config.logging.level
    elif out.level != loaded.config.logging.level:
        loaded = loaded._replace(config=_with_level(loaded.config, out.level))
    for warning in loaded.warnings:
        out.warn(warning)
    return loaded


def start_config(call: Call, out: Output) -> Config | None:
    """Return the configuration, or None when nothing was stated: then the tree is built when something asks for it."""
    from llmspell.config.loading import nothing_stated

    environ = _environ(call)
    if out.level == "warn" and nothing_stated(
        explicit=call.flag("config"),
        profile=_profiles(call, environ),
        sets=call.flag("set") or (),
        environ=environ,
        cwd=Path.cwd(),
        home=Path(home_folder(call.flag("home"))),
    ):
        return None
    return load_config(call, out).config


def lean_msgspec() -> None:
    """Import msgspec without typing_extensions, which drags in `inspect`: 8 of the 60 ms of `exec`.

    msgspec asks for that package and does without where it is missing; `typing` has all it needs since Python 3.11.
    None in `sys.modules` makes an import fail as if the package were absent, here for the length of one import.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    modules: dict[str, Any] = sys.modules
    modules["typing_extensions"] = None
    try:
        import msgspec  # noqa: F401  # imported for its effect
    finally:
        del modules["typing_extensions"]


def start(call: Call, out: Output) -> App:
    """Return the App of the call."""
    app = make_app(load_config(call, out).config, call, out)
    started()
    return app


def started() -> None:
    """End the start-up: collect garbage from here on, but never among what start-up made, which stays anyway."""
    gc.freeze()
    gc.enable()


def make_app(config: Config | None, call: Call, out: Output) -> App:
    """Return the App of a configuration; diagnostics beyond warnings go to standard error.

    Home is made here, so that its mode is 0700 whichever service writes into it first.
    """
    from llmspell.app import App

    home = Path(home_folder(call.flag("home")))
    if not home.exists():
        _make_home(home)

    if config is not None and (out.level in ("info", "debug", "trace") or config.logging.file):
        _install_log(config, out.level)
    tree = config if config is not None else lambda: load_config(call, out).config
    return App(tree, home=home, cwd=Path.cwd(), environ=_environ(call))


def _with_level(config: Config, level: str) -> Config:
    """Return the configuration with the level that the command line chose, which services read there."""
    from msgspec.structs import replace

    return replace(config, logging=replace(config.logging, level=level))


def _install_log(config: Config, level: str) -> None:
    """Send diagnostics to standard error, or to the file of the configuration; secrets are masked on the way."""
    from llmspell.metrics.logs import install
    from llmspell.security.redact import Redactor

    path = config.logging.file
    stream = None
    if path:
        try:
            stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "a", encoding="utf-8")
        except OSError as error:
            from llmspell.errors import ConfigurationError

            raise ConfigurationError(
                f"cannot write logging.file {path}: {error.strerror}", details={"key": "logging.file"}
            ) from error
    install(level, redact=Redactor().redact_value, as_json=config.logging.format == "json", stream=stream)


def _make_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return  # a script that keeps nothing needs no home; a service that does reports the failure itself


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a new loop, uvloop where it is installed."""
    run: Callable[[Coroutine[Any, Any, T]], T]
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        import asyncio

        run = asyncio.run
    return run(work)


async def closing(app: App, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, then close the App on the same loop."""
    try:
        return await work
    finally:
        await app.close()


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for, without a loop; with one when it does wait."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("the coroutine waits: run it on a loop")


def close(app: App) -> None:
    """Close an App that ran without a loop."""
    if "providers" in app.__dict__ or "http" in app.__dict__:
        run_async(app.close())
    else:
        drive(app.close())


def pair(option: str, item: str) -> tuple[str, Any]:
    """Return name and value of an option such as `k=v`, the value read as TOML, else as text. Raises UsageError."""
    name, equals, text = item.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {item}: expected k=v")
    from llmspell.config.toml_file import parse_value

    return name, parse_value(text)


def whole(call: Call, key: str, least: int = 1) -> int | None:
    """Return the whole number of an option, None when it is absent. Raises UsageError."""
    text = call.get(key)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"--{key.replace('_', '-')} {text}: expected a whole number of at least {least}")
    return int(text)


def real(call: Call, key: str, *, above: float | None = 0.0) -> float | None:
    """Return the number of an option, None when it is absent. Raises UsageError."""
    text = call.get(key)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (value > above if above is not None else value == value):
        raise UsageError(f"--{key.replace('_', '-')} {text}: expected a number" + (" above 0" if above == 0 else ""))
    return value


def duration(call: Call, key: str) -> float | None:
    """Return the seconds of an option such as `30`, `500ms`, `2m`; None when it is absent. Raises UsageError."""
    return _scaled(call, key, "seconds", "a time such as 30, 500ms, 2m, 1h")


def size(call: Call, key: str) -> int | None:
    """Return the bytes of an option such as `64m`; None when it is absent. Raises UsageError."""
    found = _scaled(call, key, "size", "a size such as 1000000, 64k, 10m, 1g")
    return None if found is None else int(found)


def _scaled(call: Call, key: str, kind: str, expected: str) -> float | None:
    text = call.get(key)
    if text is None:
        return None
    from llmspell.config import units

    value: float | None = getattr(units, kind)(text)
    if value is None:
        raise UsageError(f"--{key.replace('_', '-')} {text}: expected {expected}")
    return value


def _environ(call: Call) -> dict[str, str]:
    environ = environment()
    return {**environ, "LLMSPELL_OFFLINE": "1"} if call.flag("offline") else environ


def _profiles(call: Call, environ: Mapping[str, str]) -> str | None:
    spec: str | None = call.flag("profile")
    rag = call.get("rag_profile")
    if rag is None:
        return spec
    base = spec or environ.get("LLMSPELL_PROFILE")
    chosen = RAG_PROFILES.get(rag, rag)
    return f"{base},{chosen}" if base else chosen
