"""State: one store of values by scope and key, shared by scripts, tools, agents and workflows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.state.backup import Backups as Backups
    from llmspell.state.store import StateStore as StateStore
    from llmspell.state.store import open_store as open_store
    from llmspell.state.tenant_stores import TenantStores as TenantStores
    from llmspell.state.transaction import Transaction as Transaction
    from llmspell.state.view import MISSING as MISSING
    from llmspell.state.view import Entry as Entry

_HOMES = {
    "Backups": "backup",
    "Entry": "view",
    "MISSING": "view",
    "StateStore": "store",
    "TenantStores": "tenant_stores",
    "Transaction": "transaction",
    "open_store": "store",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
