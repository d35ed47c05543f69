"""The contract of an embedder: one file `embedders/<name>.py` with a class `Embedder(options)` and what follows.

DIMENSIONS = 384             # of the default model, None where only the user's files tell
MODELS = {"hash-v1": 384}    # known models and the lengths of their vectors, the default one first

`Embedder.available(options)`, a class method, tells whether it could be used now, without network; without it, always.
A service that no provider profile describes is described by a mapping `SERVICE`: `base_url`, `key_env`, `auth`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigurationError, DimensionMismatch, InvalidArgument, LLMSpellError, ProviderError

if TYPE_CHECKING:
    from llmspell.config.model import Embedding as Section

T = TypeVar("T")
Vectors = NDArray[np.float32]


class Spent(msgspec.Struct):
    """What embedding cost: added to by the calls it is given to, read by whoever gave it.

    embedded: texts that a model saw. cost_usd: of the priced ones; unpriced: tokens of models without a price.
    hits, misses: of the cache.
    """

    embedded: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    requests: int = 0
    hits: int = 0
    misses: int = 0

    def add(self, other: Spent) -> None:
        """Add what another call cost."""
        self.embedded += other.embedded
        self.tokens += other.tokens
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced
        self.requests += other.requests
        self.hits += other.hits
        self.misses += other.misses


class Service(Protocol):
    """One model service: its address, key, network rules and prices are seen to."""

    name: str

    async def call(
        self, model: str, path: str, body: bytes, read: Callable[[bytes], T], *, timeout_s: float, max_retries: int
    ) -> T:
        """Post to a path below the address, with further attempts; return what `read` makes of the answer."""
        ...

    def settle(self, model: str, tokens: int) -> float | None:
        """Count a call that succeeded; return what it cost in USD, None without a price."""
        ...


class Services(Protocol):
    """The model services, given by app.py."""

    def describe(self, name: str, described: Mapping[str, Any]) -> None:
        """Make a service known that only embedders use; described: fields of a profile, `base_url`, `key_env`, ..."""
        ...

    def dialect(self, name: str) -> str | None:
        """Return the dialect in which a provider embeds, None for one that does not or is not known."""
        ...

    def can_reach(self, name: str, *, base_url: str | None = None, api_key: str | None = None) -> bool:
        """Tell whether somebody named address or key, so that it may answer; it is not asked."""
        ...

    def open(self, name: str, *, base_url: str | None = None, api_key: str | None = None) -> Service:
        """Return a service; what is given wins over its configuration. Raises ConfigurationError, `missing_key`."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an embedder is built from.

    name: of the embedder as people wrote it; of a provider where that speaks the embedder's dialect. section:
    `rag.embedding`. dimensions: a wish; None leaves the model's own. own: whether the section's model, directory,
    address and key are meant for this embedder.
    """

    name: str
    section: Section
    model: str | None = None
    dimensions: int | None = None
    own: bool = True
    services: Callable[[], Services] | None = None


class Embedder(Protocol):
    """Texts to vectors of unit length; equal ids mean vectors that can be compared.

    model: None where there is one only. tells_queries: whether a question and a document of the same words differ.
    """

    name: str
    model: str | None
    max_tokens: int | None
    tells_queries: bool

    @property
    def dim(self) -> int:
        """Length of a vector; 0 until the first answer of a model nothing is known of."""
        ...

    @property
    def id(self) -> str:
        """Name the model and every option that changes its vectors."""
        ...

    async def embed(self, texts: Sequence[str], *, query: bool = False, spent: Spent | None = None) -> Vectors:
        """Return float32 of shape (n, dim). query: the texts are questions, not documents."""
        ...


def check_texts(texts: Sequence[str]) -> None:
    """Raise InvalidArgument for what is no list of texts that UTF-8 can write."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InvalidArgument("texts to embed must be a list of strings", details={"name": "texts"})
    for position, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"text {position + 1} is no valid Unicode", details={"name": "texts", "row": position}
            ) from error


def unit(rows: Any, *, count: int, dim: int, who: str, key: str = "rag.embedding.dimensions") -> Vectors:
    """Return what a model gave as float32 of unit length. dim: the length that is expected, 0 for any.

    Raises ProviderError `bad_response` for a wrong count, NaN, infinities and zero vectors, DimensionMismatch.
    """
    try:
        with np.errstate(over="ignore"):  # becomes infinity, which is refused below
            found = np.asarray(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise bad_vectors(who, "the vectors are not rows of numbers of one length") from error
    if count == 0:
        return np.zeros((0, dim), np.float32)
    if found.ndim != 2 or found.shape[1] == 0:
        raise bad_vectors(who, "the vectors are not rows of numbers of one length")
    if found.shape[0] != count:
        raise bad_vectors(who, f"{count} texts gave {found.shape[0]} vectors")
    if dim and found.shape[1] != dim:
        raise DimensionMismatch(
            f"{who} gives vectors of {found.shape[1]} dimensions, expected {dim}: set {key} = {found.shape[1]} or "
            "choose another model",
            details={"expected": dim, "got": int(found.shape[1])},
        )
    norms = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
    if not np.isfinite(norms).all():
        raise bad_vectors(who, "a vector holds NaN or infinity")
    if not norms.all():
        raise bad_vectors(who, "a vector is zero, which points nowhere")
    return np.ascontiguousarray(found / norms[:, None], np.float32)


def bad_vectors(who: str, reason: str) -> LLMSpellError:
    """Return the error of an answer that cannot be used; asking again may help."""
    return ProviderError(f"{who} gave an answer that cannot be used: {reason}", code="bad_response", retryable=True)


def not_configured(name: str, what: str, key: str) -> LLMSpellError:
    """Return the error of an embedder that lacks a setting."""
    return ConfigurationError(f"the embedder {name!r} needs {what}: set {key}", details={"key": key})
