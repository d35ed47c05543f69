"""`Accounts`: what tenants use: reserved before, counted after, summed by the month, priced."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.errors import Conflict
from llmspell.tenancy import quotas
from llmspell.tenancy.meter import ADD, Meter, oldest_kept, period_of
from llmspell.tenancy.models import ModelAccount
from llmspell.tenancy.records import Costs, Held, TenantUsage
from llmspell.tenancy.reservation import Reservation
from llmspell.tenancy.roll import Roll, inactive
from llmspell.tenancy.store import ACTIVE

if TYPE_CHECKING:
    import sqlite3

    from llmspell.tenancy.records import Limits

LAPSE_SECONDS = 60.0
_TRIES = 1000
_COUNTED = ("query_count", "insert_count", "delete_count", "documents_indexed", "embeddings_generated",
            "embedding_tokens", "embedding_cost_micros", "model_cost_micros", "overflows")  # fmt: skip


class Accounts(Roll):
    """Reservations, counters, costs. `measure(tenant_id)` gives what the rows are and which reservations they hold."""

    measure: Callable[[str], Held]
    _meter: Meter

    @property
    def models(self) -> ModelAccount:
        """What model calls of tenants go through."""
        return ModelAccount(self)

    def reserve(self, tenant_id: str, *, credit: Mapping[str, int] | None = None, **amounts: int) -> Reservation:
        """Hold amounts for a batch before it starts; as a context manager the reservation ends with the block.

        amounts: vectors, storage_bytes, documents, sessions, embedding_tokens, cost_micros, queries, dimensions (only
        compared), and names of custom limits. credit: rows the batch itself replaces. Atomic among threads and
        processes. Raises QuotaExceeded, RateLimited, AccessDenied for a tenant that is not active, InvalidArgument.
        """
        limits = self.entry(tenant_id).limits
        wanted = quotas.checked(amounts, limits.custom)
        reservation = Reservation(self, tenant_id, wanted)
        for _ in range(_TRIES):
            changes = self._changes(tenant_id)
            held = self.measure(tenant_id) if quotas.needs_rows(limits, wanted) else None
            with self.store.writing() as connection:
                row = self.row(connection, tenant_id)
                if row is None or row.state != ACTIVE:
                    raise inactive(tenant_id, None if row is None else row.state)
                limits = self.limits_of(row)
                if row.changes != changes or (held is None and quotas.needs_rows(limits, wanted)):
                    continue  # a batch ended while the rows were counted, or there is a limit now that needs them
                finished = self._admit(connection, reservation, limits, held or Held(), credit or {})
            self._meter.discard(finished)
            return reservation
        raise Conflict(f"the tenant {tenant_id!r} is too busy: try again", details={"key": tenant_id})

    def _changes(self, tenant_id: str) -> int:
        rows = self.store.rows("SELECT changes FROM tenants WHERE id = ?", tenant_id)
        return int(rows[0][0]) if rows else 0

    def _admit(
        self,
        connection: sqlite3.Connection,
        reservation: Reservation,
        limits: Limits,
        held: Held,
        credit: Mapping[str, int],
    ) -> list[Any]:
        tenant, amounts = reservation.tenant_id, reservation.amounts
        self._lapse(connection, tenant)
        finished: list[Any] = []
        month: Mapping[str, int] = {}
        if quotas.needs_month(limits):
            finished = self._meter.fold(connection)
            month = self._month(connection, tenant, held)
        waiting = quotas.pending(held, quotas.open_amounts(connection, tenant))
        found = quotas.over(limits, amounts, held=held, waiting=waiting, month=month, credit=credit)
        if found is not None:
            if not limits.allow_overflow:
                raise quotas.exceeded(tenant, found)
            connection.execute(ADD, (tenant, period_of(), "overflows", 1))
        if limits.max_queries_per_second is not None and amounts.get("queries"):
            quotas.take(connection, tenant, limits.max_queries_per_second, amounts["queries"], monotonic())
        if amounts.keys() - {"queries", "dimensions"} or not amounts:
            connection.execute(
                "INSERT INTO reservations VALUES (?, ?, ?, ?, ?)",
                (reservation.id, tenant, self._meter.owner, msgspec.json.encode(amounts).decode(), time.time()),
            )
        return finished

    def _lapse(self, connection: sqlite3.Connection, tenant: str) -> None:
        """Forget reservations of processes that ended long enough ago for their writes to have ended, too."""
        rows = connection.execute(
            "SELECT id, owner FROM reservations WHERE tenant = ? AND at < ?", (tenant, time.time() - LAPSE_SECONDS)
        ).fetchall()
        for ident, owner in rows:
            if not self._meter.is_alive(owner):
                connection.execute("DELETE FROM reservations WHERE id = ?", (ident,))

    def _month(self, connection: sqlite3.Connection, tenant: str, held: Held) -> dict[str, int]:
        """Return the counters of this month, with the costs so far as `cost_micros`."""
        rows = connection.execute(
            "SELECT name, amount FROM usage WHERE tenant = ? AND period = ?", (tenant, period_of())
        )
        month = dict(rows.fetchall())
        costs = self._priced(month, held.storage_bytes)
        return {**month, "cost_micros": round(costs.total_usd * quotas.MICROS)}

    def check_reserved(self, reservation: Reservation) -> None:
        """Raise AccessDenied when the reservation is gone or its tenant is not active."""
        rows = self.store.rows(
            "SELECT 1 FROM reservations JOIN tenants ON tenants.id = tenant WHERE reservations.id = ? AND state = ?",
            reservation.id,
            ACTIVE,
        )
        if not rows:
            raise inactive(reservation.tenant_id, None)

    def end_reserved(self, reservation: Reservation, used: Mapping[str, int]) -> None:
        """Give a reservation back and add what was used to the counters of the month."""
        counted = {name: amount for name, amount in used.items() if name not in quotas.HELD and amount}
        counted.pop("dimensions", None)
        if "queries" in counted:
            counted["query_count"] = counted.pop("queries")
        if "cost_micros" in counted:
            counted["embedding_cost_micros"] = counted.pop("cost_micros")
        tenant = reservation.tenant_id
        with self.store.writing() as connection:
            connection.execute("DELETE FROM reservations WHERE id = ?", (reservation.id,))
            connection.execute(
                "UPDATE tenants SET changes = changes + 1, accessed = ? WHERE id = ?", (time.time(), tenant)
            )
            connection.executemany(ADD, [(tenant, period_of(), name, amount) for name, amount in counted.items()])

    def count(self, tenant_id: str, **amounts: int) -> None:
        """Add to counters of the month: query_count, delete_count, embedding_tokens, compute_us, ..."""
        self._meter.add(tenant_id, **amounts)
        if self._meter.is_long:
            self._fold()

    def _fold(self) -> None:
        with self.store.writing() as connection:
            finished = self._meter.fold(connection)
            connection.execute("DELETE FROM usage WHERE period < ?", (oldest_kept(period_of()),))
        self._meter.discard(finished)

    def usage(self, tenant_id: str, *, period: str | None = None) -> TenantUsage:
        """Return what a tenant used in a month, `2026-01`; default: this one. Raises AccessDenied for an unknown id.

        Counts of stored things are those of the rows now; for a past month those that were last asked for in it.
        """
        return self._used(tenant_id, period or period_of(), folded=False)

    def _used(self, tenant_id: str, period: str, *, folded: bool) -> TenantUsage:
        self.entry(tenant_id)
        if not folded:
            self._fold()
        counts: Counter[str] = Counter()
        rows = self.store.rows("SELECT name, amount FROM usage WHERE tenant = ? AND period = ?", tenant_id, period)
        counts.update(dict(rows))
        reserved: Counter[str] = Counter()
        if period == period_of():
            held = self.measure(tenant_id)
            with self.store.writing() as connection:
                reserved = quotas.pending(held, quotas.open_amounts(connection, tenant_id))
                for name in quotas.HELD:
                    connection.execute(
                        "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?)",
                        (tenant_id, period, name, getattr(held, name)),
                    )
                    counts[name] = getattr(held, name)
        reset = self.store.rows("SELECT reset FROM tenants WHERE id = ?", tenant_id)[0][0]
        return TenantUsage(
            tenant_id=tenant_id,
            period=period,
            period_start=datetime(int(period[:4]), int(period[5:7]), 1, tzinfo=UTC),
            last_reset=None if reset is None else datetime.fromtimestamp(reset, UTC),
            vector_count=counts["vectors"],
            storage_bytes=counts["storage_bytes"],
            document_count=counts["documents"],
            session_count=counts["sessions"],
            searches_performed=counts["query_count"],
            compute_time_ms=counts["compute_us"] / 1000,
            embedding_cost_cents=counts["embedding_cost_micros"] / 10_000,
            reserved={name: amount for name, amount in reserved.items() if amount},
            **{name: counts[name] for name in _COUNTED},
        )

    def costs(self, tenant_id: str, *, period: str | None = None) -> Costs:
        """Return what the usage of a month costs by the rates of the configuration."""
        return self._costs_of(self.usage(tenant_id, period=period))

    def _costs_of(self, used: TenantUsage) -> Costs:
        counts = {name: getattr(used, name) for name in _COUNTED} | {"compute_us": round(used.compute_time_ms * 1000)}
        return self._priced(counts, used.storage_bytes)

    def _priced(self, counts: Mapping[str, int], storage_bytes: int) -> Costs:
        config = self.config
        parts = {
            "storage_usd": storage_bytes / 1e9 * config.costs_storage_usd_per_gb_month,
            "queries_usd": counts.get("query_count", 0) / 1000 * config.costs_queries_usd_per_1000,
            "compute_usd": counts.get("compute_us", 0) / 3.6e9 * config.costs_compute_usd_per_hour,
            "embedding_usd": counts.get("embedding_cost_micros", 0) / quotas.MICROS,
            "model_usd": counts.get("model_cost_micros", 0) / quotas.MICROS,
        }
        return Costs(total_usd=sum(parts.values()), **parts)

    def report(self, *, period: str | None = None) -> list[dict[str, Any]]:
        """Return usage and costs of every tenant in a month, by id."""
        self._fold()
        listed = []
        for tenant in self.list():
            used = self._used(tenant.tenant_id, period or period_of(), folded=True)
            listed.append({**msgspec.to_builtins(used), "costs": msgspec.to_builtins(self._costs_of(used))})
        return listed

    def reset(self, tenant_id: str) -> None:
        """Set the counters of this month to nought; what is stored stays counted."""
        self.entry(tenant_id)
        with self.store.writing() as connection:
            finished = self._meter.fold(connection)
            connection.execute("DELETE FROM usage WHERE tenant = ? AND period = ?", (tenant_id, period_of()))
            connection.execute("UPDATE tenants SET reset = ? WHERE id = ?", (time.time(), tenant_id))
        self._meter.discard(finished)
        self.note("TenantUpdated", tenant_id, "usage reset")

    def require_active(self, tenant_id: str) -> Limits:
        """Return the limits of a tenant. Raises AccessDenied where it is not there or not active."""
        entry = self.entry(tenant_id)
        if entry.state != ACTIVE:
            raise inactive(tenant_id, entry.state)
        return entry.limits

    def admit(self, tenant_id: str) -> None:
        """Let one search in. Raises AccessDenied for a tenant that is not active, RateLimited, QuotaExceeded."""
        limits = self.require_active(tenant_id)
        if limits.max_queries_per_second is not None or limits.monthly_cost_usd is not None:
            self.reserve(tenant_id, queries=1)
