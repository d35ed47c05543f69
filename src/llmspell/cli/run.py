"""`run` and `exec`: one script in a fresh interpreter. The loop is started only when the script waits."""

from __future__ import annotations

import os
import sys

from llmspell.cli.exit_codes import FAILED, INTERRUPTED, TERMINATED, code_of
from llmspell.cli.grammar import UsageError
from llmspell.cli.output import output_failure
from llmspell.cli.run_options import WIDENING, advice_on, budget_of, limits_of, sandbox_of, widened
from llmspell.cli.start import close, drive, load_config, make_app, run_async, start_config, started, whole
from llmspell.cli.streams import Sink, Source
from llmspell.config.terminal import engine_wish
from llmspell.errors import LLMSpellError, NotFound, ScriptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.lua.engine import Interpreter, Outcome


def run(call: Call, out: Output) -> int:
    """Run a script file."""
    path = call.args[0]
    source = read_source(path)
    script = None if path == "-" else path
    return _run(call, out, source, name="=stdin" if script is None else f"@{path}", script=script)


def execute(call: Call, out: Output) -> int:
    """Run code; a bare expression is tried as `return CODE` first."""
    code = sys.stdin.buffer.read() if call.args[0] == "-" else os.fsencode(call.args[0])
    return _run(call, out, code, name="=exec", script=None, expression=True)


def _run(call: Call, out: Output, source: bytes, *, name: str, script: str | None, expression: bool = False) -> int:
    engine = call.get("engine") or engine_wish() or "lua"
    if engine.lower() != "lua":
        raise UsageError(f"unknown engine {engine!r}", "the only engine is lua")
    seed = whole(call, "seed", 0)
    config = start_config(call, out)
    profile = sandbox_of(call, config)
    limits = limits_of(call)
    if config is not None or any(call.get(name) for name in WIDENING):
        config = widened(call, config or load_config(call, out).config, limits)
    for sentence in advice_on(call):
        out.warn(sentence)
    app = make_app(config, call, out)
    streams = _streams(call, out)
    given = Source()
    interp = _interpreter(call, app, profile, limits, script, streams, given)
    given.used = interp.used
    started()
    try:
        if expression and interp.check(b"return " + source, name) is None:
            source = b"return " + source
        if call.get("check"):
            return _check(interp, source, name, out)
        if seed is not None:
            interp.begin(f"math.randomseed({seed})".encode(), "=seed")
        outcome, signal, used = _to_the_end(interp, app, source, name, streams, given)
    finally:
        drive(interp.close())
        close(app)
    if streams[0].failure is not None:
        raise output_failure(streams[0].failure)
    return _report(call, out, outcome, signal, used, streams, script)


def _interpreter(
    call: Call,
    app: App,
    profile: str,
    limits: dict[str, int],
    script: str | None,
    streams: tuple[Sink, Sink],
    source: Source,
) -> Interpreter:
    from llmspell.lua.engine import Interpreter

    stdout: Any = streams[0]
    stderr: Any = streams[1]
    stdin: Any = source
    return Interpreter(
        app,
        profile=profile,
        limits=limits,
        script=script,
        args=[*call.args[1:], *(call.rest or ())],
        stdout=stdout,
        stderr=stderr,
        stdin=stdin,
        budget=budget_of(call),
        tenant=call.get("tenant"),
    )


def _streams(call: Call, out: Output) -> tuple[Sink, Sink]:
    if out.plain:
        return Sink("stdout", sys.stdout.buffer, keep=False), Sink("stderr", sys.stderr.buffer, keep=False)
    events = out if out.form == "jsonl" and call.get("stream") else None
    return Sink("stdout", None, keep=True, events=events), Sink("stderr", None, keep=True, events=events)


def _to_the_end(
    interp: Interpreter, app: App, source: bytes, name: str, streams: tuple[Sink, Sink], given: Source
) -> tuple[Outcome, int | None, dict[str, Any]]:
    """Run with SIGINT and SIGTERM turned into an interrupt; return the outcome, the signal that came, and the usage."""
    import signal

    from llmspell.cli.run_report import usage

    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        interp.interrupt()
        given.interrupted()

    for sink in streams:
        sink.interrupt = interp.interrupt
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            interp.watch_signal(number)
        outcome = interp.begin(source, name)
        if outcome is None:
            outcome, used = run_async(_finish(interp, app))
        else:
            used = usage(app, interp)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return outcome, came[0] if came else None, used


async def _finish(interp: Interpreter, app: App) -> tuple[Outcome, dict[str, Any]]:
    from llmspell.cli.run_report import usage

    try:
        outcome = await interp.finish()
        return outcome, usage(app, interp)
    finally:
        await interp.close()
        await app.close()


def _check(interp: Interpreter, source: bytes, name: str, out: Output) -> int:
    problem = interp.check(source, name)
    if problem is not None:
        raise ScriptError(problem, code="syntax")
    out.emit({"valid": True}, "")
    return 0


def _report(
    call: Call,
    out: Output,
    outcome: Outcome,
    signal: int | None,
    used: dict[str, Any],
    streams: tuple[Sink, Sink],
    script: str | None,
) -> int:
    for warning in outcome.warnings:
        out.warn(warning)
    error = outcome.error
    values: list[Any] = [] if error is not None or outcome.exit_code is not None else outcome.values
    wanted = not out.plain or bool(call.get("print_result"))
    if error is None and wanted and outcome.unconvertible is not None:
        error = outcome.unconvertible
    code = _exit_code(outcome, error, signal)
    if out.plain:
        return _plain_report(call, out, outcome, error, values, code)
    from llmspell.cli.run_report import document, payload_error

    payload = document(call, outcome, used, values, streams, script)
    out.emit(payload, "", error=None if error is None else payload_error(error))
    return code


def _plain_report(
    call: Call, out: Output, outcome: Outcome, error: LLMSpellError | None, values: list[Any], code: int
) -> int:
    from llmspell.cli.output import to_json

    if error is not None:
        wire = error.to_wire()
        wire["message"] = placed(wire["message"], wire.get("traceback"))
        if out.level in ("off", "error", "warn"):
            wire.pop("traceback", None)
        out.fail(wire)
        return code
    if call.get("print_result") and values and values[0] is not None:
        from llmspell.cli.run_report import ordered

        out.write(to_json(ordered(values[0])) + "\n")
    if out.form == "pretty":
        out.note(f"{outcome.duration_ms} ms, {outcome.used['memory_bytes']['used']} bytes of Lua memory")
    return code


def placed(message: str, traceback: str | None) -> str:
    """Return `script:line: message`, the place being the innermost line of the script; Lua's own errors hold theirs."""
    if not traceback:
        return message
    import re

    found = re.search(r"^\t([^\[\s][^\t\n]*?:\d+:) in ", traceback, re.MULTILINE)
    return message if found is None or found[1] in message else f"{found[1]} {message}"


def _exit_code(outcome: Outcome, error: LLMSpellError | None, signal: int | None) -> int:
    if outcome.exit_code is not None:
        return outcome.exit_code % 256
    if error is None:
        return 0
    if error.kind == "cancelled":
        return (
            TERMINATED if signal == 15 else INTERRUPTED if signal else FAILED if outcome.error is None else INTERRUPTED
        )
    return code_of(error)


def read_source(path: str) -> bytes:
    """Return the source in a file, or of standard input for `-`. Raises NotFound, ScriptError."""
    if path == "-":
        source = sys.stdin.buffer.read()
    else:
        try:
            with open(path, "rb") as file:
                source = file.read()
        except FileNotFoundError as error:
            raise NotFound(f"no script {path}", details={"path": path}) from error
        except IsADirectoryError as error:
            raise ScriptError(f"{path} is a folder: name a script in it", details={"path": path}) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ScriptError(f"cannot read the script {path}: {reason}", details={"path": path}) from error
    # a first line `#!...` names the interpreter to the shell and is none of Lua's
    return b"--" + source if source.startswith(b"#") else source
