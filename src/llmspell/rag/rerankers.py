"""Orders that a service gives: `cohere` and `voyage`, over the connections of their embedders.

Sources: docs.cohere.com, "Rerank API (v2)"; docs.voyageai.com, "Reranker API".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llmspell.errors import ConfigurationError, InvalidArgument, ProviderError

if TYPE_CHECKING:
    from llmspell.config.model import Embedding as Section
    from llmspell.embedders._base import Services

Order = Callable[[str, list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]


class Dialect(NamedTuple):
    """Where a service reranks, with which model unless one is stated, and what it calls its list."""

    path: str
    model: str
    rows: str


DIALECTS = {
    "cohere": Dialect("/v2/rerank", "rerank-v3.5", "results"),
    "voyage": Dialect("/rerank", "rerank-2.5", "data"),
}


class _Row(msgspec.Struct):
    index: int
    relevance_score: float


def named(given: Any) -> str | None:
    """Return the service that a `rerank` option names, None where it names none."""
    name = given.get("type") if isinstance(given, Mapping) else given
    return name if isinstance(name, str) and name in DIALECTS else None


def reranker(given: Any, section: Section, services: Callable[[], Services] | None) -> Order:
    """Return the function that asks the service a `rerank` option names: its name, or `{type, model}`."""
    name = named(given)
    assert name is not None
    stated = given if isinstance(given, Mapping) else {}
    unknown = sorted(str(key) for key in set(stated) - {"type", "model"})
    if unknown:
        raise InvalidArgument(
            f"rerank: unknown setting {unknown[0]!r}; there are: type, model", details={"name": "rerank"}
        )
    dialect = DIALECTS[name]
    model = str(stated.get("model") or dialect.model)

    async def order(query: str, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if services is None:
            raise ConfigurationError(f"the reranker {name!r} needs the model services of an application")
        from llmspell import embedders

        table = services()
        table.describe(name, embedders.module(name).SERVICE)
        own = embedders.canonical(section.default_provider) == name
        service = table.open(name, base_url=section.base_url if own else None, api_key=section.api_key if own else None)
        body = msgspec.json.encode({"model": model, "query": query, "documents": [hit["content"] for hit in hits]})
        rows = await service.call(
            model,
            dialect.path,
            body,
            lambda answer: _rows(answer, dialect, len(hits), f"{name}/{model}"),
            timeout_s=section.timeout_seconds,
            max_retries=section.max_retries,
        )
        ranked = sorted(rows, key=lambda row: -row.relevance_score)
        return [{"id": hits[row.index]["id"], "score": row.relevance_score} for row in ranked]

    return order


def _rows(answer: bytes, dialect: Dialect, count: int, who: str) -> list[_Row]:
    """Return the rows of an answer. Raises ProviderError `bad_response`."""
    try:
        given = msgspec.json.decode(answer)
        rows = msgspec.convert(given[dialect.rows], list[_Row])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise _bad(who, str(error)) from error
    if sorted(row.index for row in rows) != list(range(count)):
        raise _bad(who, f"{count} texts gave {len(rows)} ranks")
    return rows


def _bad(who: str, reason: str) -> ProviderError:
    return ProviderError(f"{who} gave an answer that cannot be used: {reason}", code="bad_response", retryable=True)
