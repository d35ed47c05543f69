"""What stands between a caller and the places: who may work where, within which filter, on whose account.

Without a gate everybody may do everything everywhere, as the only user of an installation may.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec

from llmspell._core import count_tokens
from llmspell.embedders._base import Spent
from llmspell.errors import ComponentError, InvalidArgument
from llmspell.rag.embedding import Embedding
from llmspell.security.decisions import tenant_of
from llmspell.security.policies import denied
from llmspell.vectors.filters import compile_filter
from llmspell.vectors.records import IndexSettings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from llmspell import config as configuration
    from llmspell.embedders._base import Services
    from llmspell.rag.place import Place
    from llmspell.tenancy import Gate, Reservation

Filter = dict[str, Any] | None


class _Stated(IndexSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 384


class Gated(Embedding):
    """gate: the rules for the caller; None for none."""

    def __init__(
        self,
        config: configuration.model.Rag,
        *,
        folder: Path,
        services: Callable[[], Services] | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(config, folder=folder, services=services)
        self._gate = gate

    def bound(self, gate: Gate) -> Self:
        """Return the same retrieval as another caller has it. Only the first is to be closed."""
        other = copy.copy(self)
        other._gate = gate  # noqa: SLF001 - a copy of this very object
        return other

    @property
    def _home(self) -> str | None:
        """The tenant that the caller cannot leave."""
        return None if self._gate is None else self._gate.home

    def _sees(self, scope: str) -> bool:
        """Tell whether counts of many scopes may include this one."""
        return self._sees_all or tenant_of(scope) == self._home

    @property
    def _sees_all(self) -> bool:
        return self._gate is None or self._gate.ctx.is_admin

    def _own_scope(self, text: str) -> str:
        return text if self._gate is None else self._gate.scope(text)

    def _own_session(self, ident: str) -> str:
        return ident if self._gate is None else self._gate.session(ident)

    def _enter(self, operation: str, where: Place, *, whole: bool = False, query: bool = False) -> Filter:
        """Return the filter that an operation of the caller must stay within; whole: it cannot stay within any.

        operation: insert, search, update, delete. query: it counts as a search. Raises AccessDenied, RateLimited.
        """
        if self._gate is None:
            return None
        found = self._gate.enter(operation, where.scope, where.collection, query=query)
        if found is not None and whole:
            raise denied(operation, where.scope, "only part of it is open")
        return found

    @contextmanager
    def _lasting(self, where: Place) -> Iterator[None]:
        """Let work on a tenant that is deleted meanwhile end as any later call does. Raises AccessDenied."""
        try:
            yield
        except ComponentError as error:
            tenant = tenant_of(where.scope)
            if error.code == "closed" and self._gate is not None and self._gate.tenants is not None and tenant:
                self._gate.tenants.require_active(tenant)
            raise

    def _shows(self, limits: Filter) -> Callable[[Mapping[str, Any]], bool]:
        """Return the test for documents that a filter lets through."""
        if limits is None:
            return lambda document: True
        matches = compile_filter(limits)
        return lambda document: matches(document.get("metadata") or {})

    def _charge(self, where: Place, began: float, spent: Spent | None = None, **amounts: int) -> None:
        """Add to the account of the place's tenant; began: monotonic seconds at which the work did."""
        if self._gate is None:
            return
        if spent is not None and spent.tokens:
            amounts |= {"embedding_tokens": spent.tokens, "embedding_cost_micros": round(spent.cost_usd * 1e6)}
        self._gate.count(where.scope, compute_us=round((time.monotonic() - began) * 1e6), **amounts)

    def _reserve(
        self, where: Place, amounts: Mapping[str, int], credit: Mapping[str, int] | None = None
    ) -> Reservation | None:
        """Return what is held for a batch in a place, None where nobody counts. Raises QuotaExceeded."""
        return None if self._gate is None else self._gate.reserve(where.scope, amounts, credit)

    def _stated_index(self, scope: str) -> dict[str, Any]:
        """Return what a tenant states of its indexes: dimensions, fields of IndexSettings. Raises InvalidArgument."""
        stated = {} if self._gate is None else self._gate.vector_config(scope)
        if not stated:
            return {}
        try:
            msgspec.convert(stated, _Stated)
        except msgspec.ValidationError as error:
            raise InvalidArgument(
                f"vector_config of {scope}: {error}",
                details={"name": "vector_config", "allowed": list(_Stated.__struct_fields__)},
            ) from error
        return stated

    def _counts_for(self, where: Place) -> bool:
        """Tell whether a place is on somebody's account."""
        return self._gate is not None and self._gate.tenants is not None and tenant_of(where.scope) is not None

    async def embed(self, texts: Sequence[str], *, scope: str = "global", **options: Any) -> NDArray[Any]:
        """Return float32 of shape (n, dim). scope: whose cached vectors may serve. options: as of `Embedding.embed`."""
        own = self._own_scope(scope)
        if self._gate is None or tenant_of(own) is None:
            return await super().embed(texts, scope=own, **options)
        self._gate.enter("search", own, "")
        tokens = sum(count_tokens(text) for text in texts)
        held, spent = self._gate.reserve(own, {"embedding_tokens": tokens}), Spent()
        try:
            return await super().embed(texts, scope=own, spent=spent, **options)
        finally:
            if held is not None:
                held.settle(
                    embeddings_generated=spent.embedded,
                    embedding_tokens=spent.tokens,
                    cost_micros=round(spent.cost_usd * 1e6),
                )
