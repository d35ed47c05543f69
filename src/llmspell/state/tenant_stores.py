"""`TenantStores`: a state store for each tenant, in a folder of its own, opened while a run of the tenant uses it.

No scope of one tenant can name a key of another, for they are in different files; backups and migrations are the
tenant's own too. No text of a user is part of a path.
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.base.files import os_error
from llmspell.state.store import StateStore, open_store

if TYPE_CHECKING:
    from llmspell.config.model import StatePersistence

MOST_OPEN = 64


class TenantStores:
    """The stores of all tenants under a folder. config: the section of the state store."""

    def __init__(self, config: StatePersistence, *, home: Path) -> None:
        self._config = config
        place = Path(config.path).expanduser() if config.path is not None else home / "state"
        self._folder = (place.parent if place.suffix == ".db" else place) / "tenants"
        self._lock = threading.Lock()  # protects _stores
        self._stores: OrderedDict[str, StateStore] = OrderedDict()

    def _folder_of(self, tenant: str) -> Path:
        from blake3 import blake3

        return self._folder / blake3(tenant.encode()).hexdigest(length=16)

    def of(self, tenant: str) -> StateStore:
        """Return the store of a tenant; the least recently used ones are closed, and open again at their next use."""
        with self._lock:
            found = self._stores.get(tenant)
            if found is None:
                folder = self._folder_of(tenant)
                found = self._stores[tenant] = open_store(self._config, home=folder, folder=folder)
            self._stores.move_to_end(tenant)
            idle = list(self._stores.values())[:-MOST_OPEN] if found.persistent else []
        for store in idle:
            store.close()
        return found

    def count(self, tenant: str) -> int:
        """Return the number of keys of a tenant."""
        with self._lock:
            known = tenant in self._stores
        if not known and not self._folder_of(tenant).is_dir():
            return 0
        return self.of(tenant).usage()["keys"]

    def purge(self, tenant: str) -> int:
        """Remove the store of a tenant with its backups; return how many keys it had."""
        count = self.count(tenant)
        with self._lock:
            found = self._stores.pop(tenant, None)
        if found is not None:
            found.close()
        folder = self._folder_of(tenant)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return count
        except OSError as error:
            raise os_error(error, str(folder)) from error
        return count

    def close(self) -> None:
        """Close all stores. Safe to call twice."""
        with self._lock:
            stores, self._stores = list(self._stores.values()), OrderedDict()
        for store in stores:
            store.close()
