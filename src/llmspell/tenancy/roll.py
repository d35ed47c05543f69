"""`Roll`: which tenants there are, in which state, with which limits.

Nothing is held in memory of a tenant that nobody asks for, and of the others only the newest thousand.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llmspell.base.clock import monotonic
from llmspell.errors import (
    AccessDenied,
    AlreadyExists,
    ConfigurationError,
    InvalidArgument,
    LLMSpellError,
    QuotaExceeded,
)
from llmspell.tenancy.records import Holder, Limits, Tenant, check_id, stated_limits
from llmspell.tenancy.store import ACTIVE, DELETED, SUSPENDED, Store

if TYPE_CHECKING:
    import sqlite3

    from llmspell.config.model import Tenancy

REMEMBERED = 1000
KEPT_SECONDS = 1.0
_COLUMNS = "id, name, state, created, accessed, limits, metadata, custom, vector, changes"
_CONFIGURED = ("name", "active", "limits", "sandbox", "metadata")


class Row(NamedTuple):
    """One row of the table."""

    id: str
    name: str
    state: str
    created: float
    accessed: float | None
    limits: str
    metadata: str
    custom: str
    vector: str
    changes: int


class Entry(NamedTuple):
    """What is remembered of a tenant: its state and the limits in force, as long as the store has this mark.

    until: for the case that a process was killed between changing the tenant and telling the others.
    """

    state: str
    limits: Limits
    mark: bytes
    until: float


class Roll:
    """The tenants in a store. holders: services with data of tenants, by kind."""

    config: Tenancy
    store: Store
    on_change: Callable[[], None]
    note: Callable[[str, str, str], None]
    holders: dict[str, Holder]
    _lock: threading.Lock  # protects _entries
    _entries: OrderedDict[str, Entry]
    _ready: bool

    def _settle_configured(self) -> None:
        """Make the tenants that the configuration names, once per process."""
        if self._ready:
            return
        for tenant_id, given in self.config.tenants.items():
            self._check_configured(tenant_id, given)
        for tenant_id, given in self.config.tenants.items():
            if self._find(tenant_id) is not None:
                continue
            with suppress(AlreadyExists):  # another process was first
                self._insert(tenant_id, str(given.get("name", "")), given.get("metadata"))
                if given.get("active") is False:
                    self._set_state(tenant_id, ACTIVE, SUSPENDED)
        self._ready = True

    def _check_configured(self, tenant_id: str, given: Any) -> None:
        key = f"tenancy.tenants.{tenant_id}"
        if not isinstance(given, dict) or set(given) - set(_CONFIGURED):
            raise ConfigurationError(
                f"{key} is a table of {', '.join(_CONFIGURED)}, got {given!r}", details={"key": key}
            )
        try:
            check_id(tenant_id)
            stated_limits(given.get("limits"))
        except LLMSpellError as error:
            raise ConfigurationError(f"{key}: {error.message}", details={"key": key}) from error

    def create(
        self,
        tenant_id: str,
        *,
        name: str = "",
        limits: Limits | Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        custom_config: Mapping[str, Any] | None = None,
        vector_config: Mapping[str, Any] | None = None,
    ) -> Tenant:
        """Make a tenant. Limits that are not stated are those of `tenancy.default_limits`.

        Raises InvalidScope for a bad id, AlreadyExists, QuotaExceeded beyond `tenancy.max_tenants`.
        """
        check_id(tenant_id)
        self._settle_configured()
        self._check_free(tenant_id)
        self._insert(tenant_id, name, metadata, stated_limits(limits), custom_config, vector_config)
        return self._must(tenant_id)

    def _insert(self, tenant_id: str, name: str, metadata: Any, *settings: Any) -> None:
        limits, custom, vector = settings or (None, None, None)
        plain = [_json(value) for value in (limits, metadata, custom, vector)]
        with self.store.changing() as connection:
            row = self.row(connection, tenant_id)
            if row is not None and row.state != DELETED:
                raise AlreadyExists(f"there is a tenant {tenant_id!r}", details={"what": "tenant", "id": tenant_id})
            self._check_room(connection)
            connection.execute(
                "INSERT OR REPLACE INTO tenants(id, name, state, created, limits, metadata, custom, vector)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (tenant_id, name, ACTIVE, time.time(), *plain),
            )
            connection.execute("DELETE FROM usage WHERE tenant = ?", (tenant_id,))
        self._changed("TenantCreated", tenant_id, name)

    def _check_free(self, tenant_id: str) -> None:
        """Raise AlreadyExists while data of a deleted tenant of this name is left."""
        row = self._find(tenant_id)
        if row is not None and row.state == DELETED and any(h.count(tenant_id) for h in self.holders.values()):
            raise AlreadyExists(
                f"data of the deleted tenant {tenant_id!r} is still there: delete it again with its data",
                details={"what": "tenant", "id": tenant_id},
            )

    def _check_room(self, connection: sqlite3.Connection) -> None:
        most = self.config.max_tenants
        if not most:
            return
        count = connection.execute("SELECT count(*) FROM tenants WHERE state <> ?", (DELETED,)).fetchone()[0]
        if count >= most:
            raise QuotaExceeded(
                f"there may be {most} tenants (tenancy.max_tenants): delete one first",
                details={"resource": "tenants", "limit": most, "used": count, "requested": 1},
            )

    def get(self, tenant_id: str) -> Tenant | None:
        """Return a tenant, or None."""
        self._settle_configured()
        row = self._find(tenant_id)
        return None if row is None or row.state == DELETED else self._tenant(row)

    def list(self, *, active: bool | None = None) -> list[Tenant]:
        """Return the tenants by id; active: only those that are, or are not."""
        self._settle_configured()
        rows = self.store.rows(f"SELECT {_COLUMNS} FROM tenants WHERE state <> ? ORDER BY id", DELETED)  # noqa: S608 - constants
        listed = [self._tenant(Row._make(row)) for row in rows]
        return [tenant for tenant in listed if active is None or tenant.active == active]

    def update(self, tenant_id: str, **changes: Any) -> Tenant:
        """Change name, limits (those stated), metadata, custom_config, vector_config.

        Raises AccessDenied where there is no such tenant, InvalidArgument.
        """
        columns = {
            "name": "name", "limits": "limits", "metadata": "metadata", "custom_config": "custom",
            "vector_config": "vector",
        }  # fmt: skip
        unknown = sorted(set(changes) - set(columns))
        if unknown:
            raise InvalidArgument(
                f"a tenant has no {unknown[0]!r} to change; there are: {', '.join(columns)}",
                details={"name": unknown[0], "allowed": list(columns)},
            )
        self._must(tenant_id)
        given = stated_limits(changes.get("limits"))
        with self.store.changing() as connection:
            row = self.row(connection, tenant_id)
            if row is None or row.state == DELETED:
                raise inactive(tenant_id, None)
            for name, value in changes.items():
                plain = str(value) if name == "name" else _json(value)
                if name == "limits":
                    plain = _json({**msgspec.json.decode(row.limits), **given})
                connection.execute(f"UPDATE tenants SET {columns[name]} = ? WHERE id = ?", (plain, tenant_id))  # noqa: S608 - constants
        self._changed("TenantUpdated", tenant_id, ", ".join(sorted(changes)))
        return self._must(tenant_id)

    def suspend(self, tenant_id: str) -> None:
        """Refuse every operation of a tenant from now on; its data stays."""
        self._must(tenant_id)
        self._set_state(tenant_id, ACTIVE, SUSPENDED)

    def resume(self, tenant_id: str) -> None:
        """Let a suspended tenant work again."""
        self._must(tenant_id)
        self._set_state(tenant_id, SUSPENDED, ACTIVE)

    def _set_state(self, tenant_id: str, old: str, new: str) -> None:
        with self.store.changing() as connection:
            changed = connection.execute(
                "UPDATE tenants SET state = ? WHERE id = ? AND state = ?", (new, tenant_id, old)
            ).rowcount
        if changed:
            event = "TenantSuspended" if new == SUSPENDED else "TenantUpdated"
            self._changed(event, tenant_id, new)

    def _changed(self, event: str, tenant_id: str, reason: str) -> None:
        self.on_change()
        self.note(event, tenant_id, reason)

    def entry(self, tenant_id: str) -> Entry:
        """Return state and limits of a tenant. Raises AccessDenied where there is none."""
        self._settle_configured()
        mark = self.store.mark()
        found = self._entries.get(tenant_id)
        if found is None or found.mark != mark or found.until < monotonic():
            row = self._find(tenant_id)
            if row is None or row.state == DELETED:
                raise inactive(tenant_id, None)
            found = Entry(row.state, self.limits_of(row), mark, monotonic() + KEPT_SECONDS)
            with self._lock:
                self._entries[tenant_id] = found
                if len(self._entries) > REMEMBERED:
                    self._entries.popitem(last=False)
        return found

    def limits_of(self, row: Row) -> Limits:
        """Return the limits in force: the configuration's for the tenant, else its own, else the defaults."""
        config = self.config
        stated = {
            "max_vectors": config.default_limits_max_vectors,
            "max_storage_bytes": config.default_limits_max_storage_bytes,
            "max_documents": config.default_limits_max_documents,
            "max_queries_per_second": config.default_limits_max_queries_per_second,
            "max_dimensions": config.default_limits_max_dimensions,
            "max_embedding_tokens": config.default_limits_max_embedding_tokens,
            "max_sessions": config.default_limits_max_sessions,
            "monthly_cost_usd": config.default_limits_monthly_cost_usd,
        }
        stated |= msgspec.json.decode(row.limits)
        stated |= stated_limits(config.tenants.get(row.id, {}).get("limits"))
        return msgspec.convert(stated, Limits)

    def row(self, connection: sqlite3.Connection, tenant_id: str) -> Row | None:
        """Return the row of a tenant, within the caller's transaction."""
        found = connection.execute(f"SELECT {_COLUMNS} FROM tenants WHERE id = ?", (tenant_id,)).fetchone()  # noqa: S608 - constants
        return None if found is None else Row._make(found)

    def _find(self, tenant_id: str) -> Row | None:
        with self.store.reading() as connection:
            return self.row(connection, tenant_id)

    def _must(self, tenant_id: str) -> Tenant:
        found = self.get(tenant_id)
        if found is None:
            raise inactive(tenant_id, None)
        return found

    def _tenant(self, row: Row) -> Tenant:
        return Tenant(
            tenant_id=row.id,
            name=row.name,
            active=row.state == ACTIVE,
            created_at=datetime.fromtimestamp(row.created, UTC),
            last_accessed=None if row.accessed is None else datetime.fromtimestamp(row.accessed, UTC),
            limits=self.limits_of(row),
            metadata=msgspec.json.decode(row.metadata),
            custom_config=msgspec.json.decode(row.custom),
            vector_config=msgspec.json.decode(row.vector),
        )


def inactive(tenant_id: str, state: str | None) -> AccessDenied:
    """Return the error for a tenant that is not there or not active."""
    reason = "no such tenant" if state in (None, DELETED) else "inactive"
    advice = (
        "create it with `llmspell tenant create`"
        if state in (None, DELETED)
        else "resume it with `llmspell tenant resume`"
    )
    return AccessDenied(
        f"access denied: the tenant {tenant_id!r} is {'unknown' if reason != 'inactive' else 'inactive'}; {advice}",
        details={"resource": f"tenant:{tenant_id}", "policy": "tenant", "reason": reason},
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(dict(value or {})).decode()
