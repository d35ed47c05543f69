"""`audit list`, `verify`."""

from __future__ import annotations

from llmspell.cli.exit_codes import FAILED
from llmspell.cli.start import closing, run_async, start, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def list_events(call: Call, out: Output) -> int:
    """Show events, newest first."""
    import msgspec

    names = ("principal", "tenant", "event", "since", "until")
    query: dict[str, Any] = {name: call.get(name) for name in names}
    query["limit"] = whole(call, "limit") or 100
    app = start(call, out)

    async def work() -> list[dict[str, Any]]:
        return [msgspec.to_builtins(item) for item in app.access.audit(**query)]

    events = run_async(closing(app, work()))
    rows = [
        (item["time"], item["event"], item.get("principal"), item.get("operation"),
         item.get("resource"), item.get("reason")) for item in events
    ]  # fmt: skip
    headers = ("TIME", "EVENT", "PRINCIPAL", "OPERATION", "RESOURCE", "REASON")
    out.emit({"events": events, "count": len(events)}, lambda: out.table(headers, rows), items="events")
    return 0


def verify(call: Call, out: Output) -> int:
    """Read the whole trail; exit 1 where it was edited or has a gap."""
    import msgspec

    app = start(call, out)

    async def work() -> Any:
        return app.access.verify()

    report = run_async(closing(app, work()))
    text = f"{report.events} events, nothing changed" if report.ok else f"the audit trail is broken: {report.problem}"
    out.emit(msgspec.to_builtins(report), text)
    return 0 if report.ok else FAILED
