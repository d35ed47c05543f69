"""`tool invoke` and `tool test`: calling tools."""

from __future__ import annotations

import sys
from pathlib import Path

from llmspell.cli.exit_codes import FAILED, USAGE
from llmspell.cli.grammar import UsageError
from llmspell.cli.run_options import sandbox_of
from llmspell.cli.start import closing, duration, run_async, start
from llmspell.errors import ConfigurationError, ToolError, ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.app import App
    from llmspell.base.types import Level
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.tools._base import Case

LEVELS: dict[str, Level] = {"safe": "safe", "standard": "restricted", "full": "privileged"}


def invoke(call: Call, out: Output) -> int:
    """Call a tool; text is what the tool says, a document its envelope."""
    from llmspell.base.context import Context

    params = _params(call)
    seconds = duration(call, "timeout")
    app = start(call, out)
    name = call.args[0]
    level = LEVELS[sandbox_of(call, app.config)]
    timeout_ms = None if seconds is None else seconds * 1000
    try:
        envelope = run_async(closing(app, app.tools.call(name, params, Context(level=level), timeout_ms=timeout_ms)))
    except ValidationError as error:
        out.fail(error.to_wire())
        return USAGE
    problem = envelope.get("error")
    for warning in envelope.get("metadata", {}).get("warnings", ()):
        out.warn(str(warning))
    if out.plain and not envelope["success"]:
        out.fail(problem or {"message": envelope.get("message", "the tool failed")})
    else:
        out.emit(envelope, lambda: _text(envelope), error=None if envelope["success"] else problem)
    if not envelope["success"]:
        return _failure_code(problem or {})
    return 0


def test(call: Call, out: Output) -> int:
    """Run the offline self-tests of one tool, or of all."""
    from llmspell.tools._manifest import MANIFEST

    if not call.args and not call.get("all"):
        raise UsageError("'tool test' needs a tool", "name one, or use --all")
    names = [str(item["name"]) for item in MANIFEST] if call.get("all") else [call.args[0]]
    reports = [_tested(name) for name in names]
    failed = sum(report["failed"] for report in reports)
    detailed = bool(call.get("detailed") or call.flag("verbose"))
    payload = reports[0] if len(reports) == 1 else {"tools": reports, "failed": failed}
    out.emit(payload, lambda: _test_text(reports, out, detailed), items="tools" if len(reports) > 1 else None)
    return FAILED if failed else 0


def _params(call: Call) -> dict[str, Any]:
    params: dict[str, Any] = {}
    text = call.get("params")
    if text is not None:
        params = _parsed(_read(text))
    for item in call.get("param") or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {item}: expected k=v")
        params[name] = _value(value)
    return params


def _read(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--params {text}: cannot read the file: {error}") from error


def _parsed(text: str) -> dict[str, Any]:
    from llmspell.base.jsontext import loads

    try:
        found = loads(text)
    except ValidationError as error:
        raise UsageError(f"--params: {error.message}") from error
    if not isinstance(found, dict):
        raise UsageError("--params: expected a JSON object")
    return found


def _value(text: str) -> Any:
    from llmspell.base.jsontext import loads

    try:
        return loads(text)
    except ValidationError:
        return text


def _text(envelope: dict[str, Any]) -> str:
    text = envelope.get("text")
    if text is None:
        from llmspell.cli.output import to_json

        return to_json(envelope.get("result"), indent=2)
    return str(text)


def _failure_code(error: dict[str, Any]) -> int:
    """Return 1, or 3 for a missing key or extra and 124 for time, which the envelope only reports."""
    from llmspell.cli.exit_codes import CONFIGURATION, TIME

    return {"timeout": TIME, "configuration": CONFIGURATION}.get(str(error.get("kind")), FAILED)


def _tested(name: str) -> dict[str, Any]:
    """Run the cases of a tool, each in a folder of its own that is removed."""
    import os
    import tempfile

    before = Path.cwd()
    cases = []
    with tempfile.TemporaryDirectory(prefix="llmspell-test-") as folder:
        app = _offline_app(Path(folder))
        spec = app.tools.get(name)
        if spec is None:
            raise ToolError(
                f"unknown tool {name!r}", code="not_found", details={"name": name, "hint": "see llmspell tool list"}
            )
        try:
            for index, case in enumerate(app.tools.cases(name)):
                place = Path(folder) / str(index)
                place.mkdir()
                os.chdir(place)
                cases.append(_case(_offline_app(place), spec.name, case, place))
        finally:
            os.chdir(before)
    count = {status: sum(one["status"] == status for one in cases) for status in ("passed", "failed", "skipped")}
    return {"tool": spec.name, **count, "cases": cases}


def _offline_app(folder: Path) -> App:
    from llmspell.app import App
    from llmspell.config.model import Config, Network, Runtime, StatePersistence, Tools

    config = Config(
        runtime=Runtime(state_persistence=StatePersistence(backend_type="memory")),
        tools=Tools(network=Network(offline=True)),
    )
    return App(config, home=folder / ".home", cwd=folder)


def _case(app: App, name: str, case: Case, folder: Path) -> dict[str, Any]:
    from llmspell.base.clock import monotonic
    from llmspell.base.context import Context
    from llmspell.errors import LLMSpellError

    for path, text in case.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = monotonic()
    message, status = "", "passed"
    try:
        envelope = run_async(closing(app, app.tools.call(name, case.params, Context(level="privileged"))))
        if (envelope.get("error") or {}).get("code") == "extra_missing":
            status, message = "skipped", str(envelope["error"]["message"])
        elif not contains(envelope, case.expect):
            status, message = "failed", f"expected {case.expect!r}, got {envelope!r}"
    except ConfigurationError as error:
        status = "skipped" if error.code == "extra_missing" else "failed"
        message = error.message
    except LLMSpellError as error:
        status, message = "failed", error.message
    return {
        "name": case.name,
        "status": status,
        "message": message,
        "duration_ms": round((monotonic() - began) * 1000, 1),
    }


def contains(actual: Any, expected: Any) -> bool:
    """Return whether `actual` holds what `expected` states: tables by their keys, lists in full, floats to 1e-9."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            key in actual and contains(actual[key], expected[key]) for key in expected
        )
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(contains, actual, expected))
    if isinstance(expected, float) and isinstance(actual, int | float):
        return abs(actual - expected) <= 1e-9
    return bool(actual == expected) and isinstance(actual, bool) == isinstance(expected, bool)


def _test_text(reports: list[dict[str, Any]], out: Output, detailed: bool) -> str:
    rows = [(one["tool"], one["passed"], one["failed"], one["skipped"]) for one in reports]
    lines = [out.table(("TOOL", "PASSED", "FAILED", "SKIPPED"), rows)]
    for report in reports:
        for case in report["cases"]:
            if detailed or case["status"] == "failed":
                tail = f": {case['message']}" if case["message"] else ""
                lines.append(f"{case['status']:<8} {report['tool']}: {case['name']} ({case['duration_ms']} ms){tail}")
    return "\n".join(lines)
