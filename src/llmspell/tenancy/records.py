"""What tenants are, may hold, hold and cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from llmspell.errors import InvalidArgument, InvalidScope

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_RULE = "1 to 64 letters, digits, '.', '_' or '-' of ASCII, the first a letter or digit"
DEFAULT = "default"
"""The tenant of runs that name none: no tenant at all."""


def check_id(value: Any) -> str:
    """Return the id of a tenant. Raises InvalidScope. Capitals count: `Acme` and `acme` are two tenants."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise InvalidScope(
            f"{ascii(value)[:80]} is no id of a tenant: {ID_RULE}",
            details={"scope": ascii(value)[:80], "rule": ID_RULE},
        )
    return value


def scope_of(tenant_id: str) -> str:
    """Return the scope of a tenant's documents and state."""
    return f"tenant:{tenant_id}"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant may use; None is unlimited. allow_overflow: passing a limit is written down and not refused."""

    max_vectors: int | None = None
    max_storage_bytes: int | None = None
    max_documents: int | None = None
    max_queries_per_second: float | None = None
    max_dimensions: int | None = None
    max_embedding_tokens: int | None = None
    max_sessions: int | None = None
    monthly_cost_usd: float | None = None
    custom: dict[str, float] = {}
    allow_overflow: bool = False


def stated_limits(given: Limits | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the limits that are stated, checked; the others are those of the configuration. Raises InvalidArgument."""
    if given is None:
        return {}
    if isinstance(given, Limits):
        return {name: value for name, value in msgspec.to_builtins(given).items() if value not in (None, {}, False)}
    stated = dict(given)
    if "monthly_cost_limit_usd" in stated:
        stated["monthly_cost_usd"] = stated.pop("monthly_cost_limit_usd")
    try:
        msgspec.convert(stated, Limits)
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"limits of a tenant: {error}", details={"name": "limits", "allowed": list(Limits.__struct_fields__)}
        ) from error
    negative = [name for name, value in stated.items() if isinstance(value, int | float) and value < 0]
    if negative:
        raise InvalidArgument(f"the limit {negative[0]} is below 0", details={"name": negative[0]})
    return stated


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant. limits: those in force. vector_config: settings of the indexes of its documents."""

    tenant_id: str
    name: str
    active: bool
    created_at: datetime
    last_accessed: datetime | None
    limits: Limits
    metadata: dict[str, Any] = {}
    custom_config: dict[str, Any] = {}
    vector_config: dict[str, Any] = {}

    @property
    def scope(self) -> str:
        """The scope of its documents and state."""
        return scope_of(self.tenant_id)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a tenant are now. stored: of open reservations, what their rows already are."""

    vectors: int = 0
    storage_bytes: int = 0
    documents: int = 0
    sessions: int = 0
    stored: dict[str, dict[str, int]] = {}


class TenantUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Use in a month. Counts of what is stored come from the rows themselves, the other counters from the month.

    reserved: of batches that run now. Costs are in the currency of the rates, US dollars.
    """

    tenant_id: str
    period: str
    period_start: datetime
    last_reset: datetime | None = None
    vector_count: int = 0
    storage_bytes: int = 0
    document_count: int = 0
    session_count: int = 0
    query_count: int = 0
    searches_performed: int = 0
    insert_count: int = 0
    delete_count: int = 0
    documents_indexed: int = 0
    embeddings_generated: int = 0
    embedding_tokens: int = 0
    compute_time_ms: float = 0.0
    embedding_cost_micros: int = 0
    embedding_cost_cents: float = 0.0
    model_cost_micros: int = 0
    overflows: int = 0
    reserved: dict[str, int] = {}


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of a tenant in a month. storage: for what is stored at the time of asking, as if for the whole month."""

    storage_usd: float = 0.0
    queries_usd: float = 0.0
    compute_usd: float = 0.0
    embedding_usd: float = 0.0
    model_usd: float = 0.0
    total_usd: float = 0.0


class Holder(NamedTuple):
    """A service with data of tenants. count: pieces of a tenant; purge: removes them, returns how many."""

    count: Callable[[str], int]
    purge: Callable[[str], int]


class PurgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `delete` removed, by kind of data, and what a count found afterwards, which is nothing."""

    tenant_id: str
    purged: bool
    removed: dict[str, int]
    remaining: dict[str, int]
    verified: bool
