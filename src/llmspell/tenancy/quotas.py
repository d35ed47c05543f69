"""The arithmetic of limits: what is used, what is reserved, what would come, and the bucket of searches per second."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llmspell.errors import InvalidArgument, QuotaExceeded, RateLimited

if TYPE_CHECKING:
    from llmspell.tenancy.records import Held, Limits

HELD = {
    "vectors": "max_vectors",
    "storage_bytes": "max_storage_bytes",
    "documents": "max_documents",
    "sessions": "max_sessions",
}
"""Amounts whose use is what the rows are."""
MONTHLY = {"embedding_tokens": "max_embedding_tokens", "cost_micros": "monthly_cost_usd"}
"""Amounts whose use is what the month counted."""
AMOUNTS = (*HELD, *MONTHLY, "dimensions", "queries")
BURST = 2.0
MICROS = 1_000_000


class Over(NamedTuple):
    """A limit that would be passed."""

    resource: str
    limit: float
    used: float
    requested: float


def checked(amounts: Mapping[str, Any], custom: Collection[str] = ()) -> dict[str, int]:
    """Return amounts to reserve; custom: further names, which are counted by the month. Raises InvalidArgument."""
    for name, amount in amounts.items():
        if (
            (name not in AMOUNTS and name not in custom)
            or isinstance(amount, bool)
            or not isinstance(amount, int)
            or amount < 0
        ):
            raise InvalidArgument(
                f"cannot reserve {name} = {amount!r}: expected whole numbers of {', '.join((*AMOUNTS, *custom))}",
                details={"name": name, "value": amount, "allowed": list(AMOUNTS)},
            )
    return {name: amount for name, amount in amounts.items() if amount}


def needs_rows(limits: Limits, amounts: Mapping[str, int]) -> bool:
    """Whether the rows must be counted to decide: a limit of them, or of costs, which storage is part of."""
    return limits.monthly_cost_usd is not None or any(
        name in amounts and getattr(limits, limit) is not None for name, limit in HELD.items()
    )


def needs_month(limits: Limits) -> bool:
    """Whether the counters of the month must be known to decide."""
    return bool(limits.custom) or limits.monthly_cost_usd is not None or limits.max_embedding_tokens is not None


def open_amounts(connection: sqlite3.Connection, tenant: str) -> dict[str, dict[str, int]]:
    """Return the amounts of the tenant's reservations, by id."""
    rows = connection.execute("SELECT id, amounts FROM reservations WHERE tenant = ?", (tenant,)).fetchall()
    return {ident: msgspec.json.decode(amounts) for ident, amounts in rows}


def pending(held: Held, reserved: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """Return what open reservations will still add: what they are for, without what they stored already."""
    total: Counter[str] = Counter()
    for ident, amounts in reserved.items():
        stored = held.stored.get(ident, {})
        for name, amount in amounts.items():
            total[name] += max(0, amount - stored.get(name, 0))
    return total


def over(
    limits: Limits,
    amounts: Mapping[str, int],
    *,
    held: Held,
    waiting: Counter[str],
    month: Mapping[str, int],
    credit: Mapping[str, int],
) -> Over | None:
    """Return the first limit that the amounts would pass, or None.

    credit: rows that this very batch replaces. Others' reservations count in full, whatever they replace: then no
    order of commits and deletes passes a limit.
    """
    longest = limits.max_dimensions
    if longest is not None and amounts.get("dimensions", 0) > longest:
        return Over("dimensions", longest, 0, amounts["dimensions"])
    for name, key in HELD.items():
        limit = getattr(limits, key)
        if limit is not None and amounts.get(name):
            used = getattr(held, name) - credit.get(name, 0) + waiting[name]
            if used + amounts[name] > limit:
                return Over(name, limit, used, amounts[name])
    monthly = {name: (key, getattr(limits, key)) for name, key in MONTHLY.items()}
    for name, (key, limit) in {**monthly, **{name: (name, limit) for name, limit in limits.custom.items()}}.items():
        if limit is None:
            continue
        scale = MICROS if name == "cost_micros" else 1
        used = month.get(name, 0) + waiting[name]
        if used + amounts.get(name, 0) > limit * scale or (scale == MICROS and used >= limit * scale):
            return Over(key if scale == MICROS else name, limit, used / scale, amounts.get(name, 0) / scale)
    return None


def exceeded(tenant: str, found: Over) -> QuotaExceeded:
    """Return the error of a limit that would be passed."""
    return QuotaExceeded(
        f"the tenant {tenant!r} may have {found.resource} up to {found.limit:g}: {found.used:g} are used or reserved, "
        f"{found.requested:g} would come; nothing was stored",
        details={
            "tenant": tenant,
            "resource": found.resource,
            "limit": found.limit,
            "used": found.used,
            "requested": found.requested,
        },
    )


def take(connection: sqlite3.Connection, tenant: str, rate: float, amount: int, now: float) -> None:
    """Take from the bucket of the tenant, which fills at `rate` a second up to twice that. Raises RateLimited.

    now: monotonic seconds, the same clock in all processes of the machine.
    """
    size = max(1.0, BURST * rate)
    row = connection.execute("SELECT tokens, at FROM buckets WHERE tenant = ?", (tenant,)).fetchone()
    tokens, at = row if row is not None and row[1] <= now else (size, now)
    tokens = min(size, tokens + (now - at) * rate)
    if tokens < amount:
        wait = max(1, round((min(amount, size) - tokens) / rate * 1000))
        raise RateLimited(
            f"the tenant {tenant!r} may search {rate:g} times a second: try again in {wait} ms",
            details={"tenant": tenant, "limit": rate, "window": 1, "retry_after_ms": wait},
            retry_after_ms=wait,
        )
    connection.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (tenant, tokens - amount, now))
