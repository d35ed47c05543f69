"""What the rows of a tenant are, counted and removed over all collections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmspell.rag import sessions
from llmspell.security.decisions import tenant_of
from llmspell.tenancy.records import Held, scope_of
from llmspell.vectors import claims

if TYPE_CHECKING:
    from llmspell.vectors.catalog import Catalog
    from llmspell.vectors.collection import Collection


def places(catalog: Catalog, tenant: str) -> Iterator[tuple[str, str, Collection]]:
    """Yield collection name, scope and collection of everything that a tenant may have documents in."""
    own = scope_of(tenant)
    for name in catalog.names():
        found = catalog.find(name, own)
        if found is not None:
            yield name, own, found
        main = catalog.find(name)
        for scope in [] if main is None else main.scopes():
            if main is not None and scope != own and tenant_of(scope) == tenant:
                yield name, scope, main


def held(catalog: Catalog, tenant: str, base: str) -> Held:
    """Return what the rows of a tenant are. base: the collection that records sessions."""
    total: Counter[str] = Counter()
    stored: dict[str, Counter[str]] = {}
    seen: set[tuple[str, str, str]] = set()
    for _, scope, found in places(catalog, tenant):
        counts, claimed = claims.tally_of(found, scope)
        total.update(counts)
        for claim, amounts in claimed.items():
            if (found.name, found.path, claim) not in seen:
                seen.add((found.name, found.path, claim))
                stored.setdefault(claim, Counter()).update(amounts)
    return Held(
        vectors=total["vectors"],
        storage_bytes=total["storage_bytes"],
        documents=total["documents"],
        sessions=len(_sessions(catalog, tenant, base)),
        stored={claim: dict(amounts) for claim, amounts in stored.items()},
    )


def _sessions(catalog: Catalog, tenant: str, base: str) -> list[str]:
    found = catalog.find(base)
    if found is None:
        return []
    return [ident for ident in sessions.names(found) if tenant_of(f"session:{ident}") == tenant]


def purge(catalog: Catalog, tenant: str, base: str) -> int:
    """Remove everything of a tenant; return how many documents there were."""
    removed = 0
    for name, scope, _ in list(places(catalog, tenant)):
        removed += catalog.drop_scope(name, scope)["documents"]
    found = catalog.find(base)
    for ident in _sessions(catalog, tenant, base):
        if found is not None:
            sessions.remove(found, ident)
    return removed


def count(catalog: Catalog, tenant: str, base: str) -> int:
    """Return the documents and sessions of a tenant."""
    found = held(catalog, tenant, base)
    return found.documents + found.sessions
