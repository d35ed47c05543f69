"""`provider list`, `test`, `models`."""

from __future__ import annotations

from llmspell.cli.exit_codes import UNREACHABLE, code_of
from llmspell.cli.grammar import UsageError
from llmspell.cli.start import closing, duration, run_async, start
from llmspell.errors import ComponentError, ConfigurationError, LLMSpellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def list_providers(call: Call, out: Output) -> int:
    """List model services; no network, and never a key."""
    app = start(call, out)
    rows = [
        {
            "name": entry.name,
            "type": entry.type,
            "enabled": entry.enabled,
            "available": entry.available,
            "key": entry.key,
            "default_model": entry.default_model,
            "base_url": entry.base_url,
            "models": list(entry.capabilities.get("available_models", ())),
        }
        for entry in app.providers.list(every=bool(call.get("all")))
    ]
    out.emit(
        {"providers": rows, "count": len(rows)},
        lambda: out.table(("NAME", "TYPE", "ENABLED", "KEY", "MODELS"), [_row(row) for row in rows]),
        items="providers",
    )
    return 0


def test(call: Call, out: Output) -> int:
    """Make the smallest real call to one service, or to every configured one."""
    seconds = duration(call, "timeout") or 20.0
    app = start(call, out)
    names = (
        [_known(app, call.args[0])] if call.args else [entry.name for entry in app.providers.list() if entry.enabled]
    )
    if not names:
        raise ConfigurationError("no provider is configured: set a key, such as OPENAI_API_KEY, or name one")
    model = call.get("model")
    if model and not call.args:
        raise UsageError("--model needs the name of a provider")
    reports, codes = run_async(closing(app, _tested(app, names, model, seconds)))
    failed = [report for report in reports if not report["ok"]]
    payload = reports[0] if len(reports) == 1 else {"providers": reports}
    error = failed[0]["error"] if failed else None
    rows = [(one["provider"], one["model"], "ok" if one["ok"] else "failed", one["latency_ms"]) for one in reports]
    out.emit(
        payload,
        lambda: out.table(("PROVIDER", "MODEL", "STATUS", "MS"), rows),
        items="providers" if len(reports) > 1 else None,
        error=error,
    )
    if out.plain:
        for report in failed:
            out.note(f"{report['provider']}: {report['error']['message']}")
    return next((code for code in codes if code), 0)


def models(call: Call, out: Output) -> int:
    """List the models a service offers."""
    app = start(call, out)
    name = _known(app, call.args[0])
    found = run_async(closing(app, app.providers.models(name)))
    out.emit({"provider": name, "models": found, "count": len(found)}, "\n".join(found), items="models")
    return 0


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    shown = ", ".join(row["models"][:4]) + (", ..." if len(row["models"]) > 4 else "")
    return (
        row["name"],
        row["type"],
        "yes" if row["enabled"] else "no",
        row["key"] or "absent",
        row["default_model"] or shown,
    )


def _known(app: App, name: str) -> str:
    entry = app.providers.get(name)
    if entry is None:
        from llmspell.base.registry import nearest

        near = nearest(name, app.providers.names(), limit=1)
        hint = f"did you mean {near[0]}?" if near else "see llmspell provider list --all"
        raise ComponentError(f"unknown provider {name!r}", code="not_found", details={"name": name, "hint": hint})
    return entry.name


async def _tested(
    app: App, names: list[str], model: str | None, seconds: float
) -> tuple[list[dict[str, Any]], list[int]]:
    """Return a report and an exit code for each provider."""
    from llmspell.base.clock import monotonic
    from llmspell.base.context import Context
    from llmspell.base.types import Message
    from llmspell.providers import ModelRequest

    reports: list[dict[str, Any]] = []
    codes: list[int] = []
    for name in names:
        began = monotonic()
        spec = f"{name}/{model}" if model else name
        report: dict[str, Any] = {"provider": name, "model": model or ""}
        code = 0
        try:
            report["model"] = app.providers.resolve(spec if model else None, name)[1]
            request = ModelRequest(
                model=report["model"], messages=[Message(role="user", content="Say ok.")], max_tokens=16
            )
            answer = await app.providers.complete(
                f"{name}/{report['model']}", request, Context(deadline=began + seconds)
            )
            report |= {"ok": True, "usage": _usage(answer)}
        except LLMSpellError as error:
            report |= {"ok": False, "error": error.to_wire()}
            code = code_of(error) if isinstance(error, ConfigurationError) else UNREACHABLE
        report["latency_ms"] = round((monotonic() - began) * 1000)
        reports.append(report)
        codes.append(code)
    return reports, codes


def _usage(answer: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(answer.usage)
