"""Where documents are: a collection, and a scope in it. Places never see each other's documents."""

from __future__ import annotations

from typing import NamedTuple

from llmspell.base import scope as scopes
from llmspell.errors import InvalidScope
from llmspell.tenancy.records import check_id, scope_of

SESSION_COLLECTION = "session_"


class Place(NamedTuple):
    """A collection and the canonical text of a scope."""

    collection: str
    scope: str


def scope_text(
    scope: str | None = None,
    scope_id: str | None = None,
    *,
    tenant_id: str | None = None,
    session_id: str | None = None,
) -> str:
    """Return the canonical text of a scope: `global`, `<kind>:<id>`, `tenant:<id>`. Raises InvalidScope.

    Ways of naming it that contradict each other are refused.
    """
    named = []
    if scope:
        named.append(_canonical(f"{scope}:{scope_id}" if scope_id is not None and scope != "global" else scope))
    if tenant_id is not None:
        named.append(_canonical(f"tenant:{tenant_id}"))
    if session_id is not None:
        named.append(_canonical(f"session:{session_id}"))
    if len(set(named)) > 1:
        raise InvalidScope(
            f"one place only: {' and '.join(sorted(set(named)))} contradict each other",
            details={"scope": named[0], "rule": "one of scope, tenant_id, session_id"},
        )
    return named[0] if named else "global"


def _canonical(text: str) -> str:
    plain = text.removeprefix("custom:")
    kind, _, ident = plain.partition(":")
    if kind == "tenant":
        return scope_of(check_id(ident))
    return scopes.parse(text).text


def session_of(collection: str) -> str | None:
    """Return the session whose collection may be named so, or None."""
    ident = collection.removeprefix(SESSION_COLLECTION)
    return ident if ident and ident != collection else None
