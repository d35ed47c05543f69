"""`tenant list`, `create`, `show`, `suspend`, `resume`, `delete`, `usage`."""

from __future__ import annotations

import re
import sys

from llmspell.cli.grammar import UsageError
from llmspell.cli.start import closing, pair, run_async, start
from llmspell.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.tenancy import Tenant


def list_tenants(call: Call, out: Output) -> int:
    """List tenants by id."""
    if call.get("active") and call.get("suspended"):
        raise UsageError("--active and --suspended leave no tenant")
    wanted = True if call.get("active") else False if call.get("suspended") else None
    rows = _with(call, out, lambda app: [_plain(tenant) for tenant in app.tenants.list(active=wanted)])
    shown = [(row["tenant_id"], _state(row), row["created_at"], row["name"]) for row in rows]
    out.emit(
        {"tenants": rows, "count": len(rows)},
        lambda: out.table(("ID", "STATE", "CREATED", "NAME"), shown),
        items="tenants",
    )
    return 0


def create(call: Call, out: Output) -> int:
    """Make a tenant."""
    limits = dict(pair("--limit", item) for item in call.get("limit") or ())
    metadata = dict(pair("--metadata", item) for item in call.get("metadata") or ())
    name = call.get("name") or ""
    made = _with(
        call,
        out,
        lambda app: _plain(app.tenants.create(call.args[0], name=name, limits=limits, metadata=metadata)),
    )
    out.emit(made, f"created {made['tenant_id']}")
    return 0


def show(call: Call, out: Output) -> int:
    """Show a tenant with the limits in force."""
    found = _with(call, out, lambda app: _plain(_known(app, call.args[0])))
    limits = {f"limits.{name}": value for name, value in found["limits"].items() if value not in (None, {}, False)}
    rows = [
        (name, value) for name, value in {**found, **limits}.items() if name != "limits" and value not in (None, {})
    ]
    out.emit(found, lambda: out.table(("WHAT", "VALUE"), rows))
    return 0


def suspend(call: Call, out: Output) -> int:
    """Refuse every operation of a tenant."""
    return _state_change(call, out, "suspend")


def resume(call: Call, out: Output) -> int:
    """Let a tenant work again."""
    return _state_change(call, out, "resume")


def delete(call: Call, out: Output) -> int:
    """Remove a tenant and its data, after a question on a terminal."""
    ident = call.args[0]
    app = start(call, out)

    async def work() -> dict[str, Any]:
        if not call.get("yes"):
            _confirm(_known(app, ident))
        return _plain(await app.tenants.delete(ident, purge=not call.get("keep_data")))

    report = run_async(closing(app, work()))
    removed = ", ".join(f"{count} {kind}" for kind, count in report["removed"].items() if count) or "no data"
    if report["verified"]:
        out.emit(report, f"deleted {ident}: {removed}")
        return 0
    if not report["purged"]:
        out.emit(report, f"deleted {ident}; its data stays, out of reach")
        return 0
    left = ", ".join(f"{count} {kind}" for kind, count in report["remaining"].items() if count)
    out.emit(report, f"{ident} is locked, but {left} are left: delete it again")
    return 1


def usage(call: Call, out: Output) -> int:
    """Show usage and costs of one tenant or of all."""
    period = call.get("period")
    if period is not None and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", period) is None:
        raise UsageError(f"--period {period}: expected a month such as 2026-01")
    if not call.args:
        rows = _with(call, out, lambda app: app.tenants.report(period=period))
        shown = [
            (row["tenant_id"], row["vector_count"], row["storage_bytes"], row["query_count"],
             f"{row['costs']['total_usd']:.4f}") for row in rows
        ]  # fmt: skip
        headers = ("ID", "VECTORS", "BYTES", "SEARCHES", "USD")
        out.emit({"tenants": rows, "count": len(rows)}, lambda: out.table(headers, shown), items="tenants")
        return 0

    def one(app: App) -> dict[str, Any]:
        ident = _known(app, call.args[0]).tenant_id
        used = _plain(app.tenants.usage(ident, period=period))
        return {**used, "costs": _plain(app.tenants.costs(ident, period=period))}

    found = _with(call, out, one)
    rows = [*((name, value) for name, value in found.items() if name != "costs"), *found["costs"].items()]
    out.emit(found, lambda: out.table(("WHAT", "VALUE"), rows))
    return 0


def _with(call: Call, out: Output, act: Callable[[App], Any]) -> Any:
    """Run something with the App and close it."""
    app = start(call, out)

    async def work() -> Any:
        return act(app)

    return run_async(closing(app, work()))


def _state_change(call: Call, out: Output, verb: str) -> int:
    ident = call.args[0]

    def act(app: App) -> dict[str, Any]:
        _known(app, ident)
        getattr(app.tenants, verb)(ident)
        return _plain(app.tenants.get(ident))

    found = _with(call, out, act)
    out.emit(found, f"{ident} is {_state(found)}")
    return 0


def _known(app: App, ident: str) -> Tenant:
    found = app.tenants.get(ident)
    if found is None:
        raise NotFound(f"no tenant {ident!r}: see llmspell tenant list", details={"what": "tenant", "id": ident})
    return found


def _confirm(tenant: Tenant) -> None:
    if not sys.stdin.isatty():
        raise UsageError("tenant delete removes data for good: add --yes")
    sys.stderr.write(f"Delete the tenant {tenant.tenant_id} and all its data? Type its id: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != tenant.tenant_id:
        raise UsageError("not deleted: the ids differ")


def _state(row: dict[str, Any]) -> str:
    return "active" if row["active"] else "suspended"


def _plain(value: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
