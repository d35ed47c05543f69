"""`Tenants`: the one service of tenants: who there is, what they may use and use, and the end of one."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.base.clock import monotonic
from llmspell.base.offload import offload
from llmspell.tenancy.accounts import Accounts
from llmspell.tenancy.meter import Meter
from llmspell.tenancy.records import Held, Holder, PurgeReport
from llmspell.tenancy.roll import inactive
from llmspell.tenancy.store import ACTIVE, DELETED, DELETING, SUSPENDED, Store

if TYPE_CHECKING:
    from llmspell.config.model import Tenancy

WAIT_SECONDS = 10.0
_STEP_SECONDS = 0.02


class Tenants(Accounts):
    """The tenants of a folder, in `tenants.db`. Any thread may call it, any number of processes share the folder.

    config: the section `tenancy`. measure: counts what the rows of a tenant are. holders: services with data of
    tenants, by kind. on_change: called after any change of a tenant. note: gets (event, tenant id, reason) for the
    audit trail.
    """

    def __init__(
        self,
        folder: Path,
        config: Tenancy | None = None,
        *,
        measure: Callable[[str], Held] = lambda tenant_id: Held(),  # noqa: ARG005,RUF100 - a store without rows
        holders: Mapping[str, Holder] | None = None,
        on_change: Callable[[], None] = lambda: None,
        note: Callable[[str, str, str], None] = lambda event, tenant_id, reason: None,  # noqa: ARG005,RUF100 - no trail
    ) -> None:
        if config is None:
            from llmspell.config.model import Tenancy

            config = Tenancy()
        self.config = config
        self.store = Store(folder)
        self.measure = measure
        self.holders = dict(holders or {})
        self.on_change = on_change
        self.note = note
        self._meter = Meter(folder)
        self._lock = threading.Lock()
        self._entries = OrderedDict()
        self._ready = False

    async def delete(self, tenant_id: str, *, purge: bool = True) -> PurgeReport:
        """Remove a tenant with its data of all services; without `purge` the data stays, out of reach.

        New work is refused at once. Batches that run get ten seconds to notice; those that do not lose their
        reservation, without which nothing is stored. A second call removes what the first left. Raises AccessDenied
        where there never was such a tenant.
        """
        if self._find(tenant_id) is None:
            raise inactive(tenant_id, None)
        for old in (ACTIVE, SUSPENDED):
            self._set_state(tenant_id, old, DELETING)
        await self._wait_for_batches(tenant_id)
        removed = dict.fromkeys(self.holders, 0)
        remaining = dict.fromkeys(self.holders, 0)
        if purge:
            for kind, holder in self.holders.items():
                removed[kind] = await offload(holder.purge, tenant_id)
            for kind, holder in self.holders.items():
                remaining[kind] = await offload(holder.count, tenant_id)
        verified = purge and not any(remaining.values())
        with self.store.changing() as connection:
            connection.execute("DELETE FROM reservations WHERE tenant = ?", (tenant_id,))
            connection.execute("DELETE FROM buckets WHERE tenant = ?", (tenant_id,))
            if verified or not purge:
                connection.execute(
                    "UPDATE tenants SET state = ?, name = '', metadata = '{}', custom = '{}', limits = '{}',"
                    " vector = '{}' WHERE id = ?",
                    (DELETED, tenant_id),
                )
        self._changed("TenantDeleted", tenant_id, "purged" if verified else "data left")
        return PurgeReport(tenant_id=tenant_id, purged=purge, removed=removed, remaining=remaining, verified=verified)

    async def _wait_for_batches(self, tenant_id: str) -> None:
        end = monotonic() + WAIT_SECONDS
        while monotonic() < end:
            rows = self.store.rows("SELECT owner FROM reservations WHERE tenant = ?", tenant_id)
            if not any(self._meter.is_alive(owner) for (owner,) in rows):
                return
            await asyncio.sleep(_STEP_SECONDS)

    def close(self) -> None:
        """Put what this process counted into the table and close the files. Safe to call twice."""
        try:
            if self._meter.close():
                self._fold()
        finally:
            self.store.close()
