"""Objects that own memory, over the C++ library spellcore.

Any thread may call them; the GIL is released while they work.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

def cpu() -> dict[str, bool | str]:
    """Return what the processor can do (a bool per feature) and the SIMD level `detected` and `active`."""

def cut(text: str, *, size: int, overlap: int = 0, unit: str = "tokens", at: str = "sentence") -> NDArray[np.int64]:
    """Return the windows of a text as byte ranges of its UTF-8 form, shape (n, 2), ascending.

    unit: of size and overlap: tokens (estimated), chars (code points), bytes. at: sentence and word move the end of a
    window back to such a boundary within its last fifth; grapheme cuts at the size. overlap: less than size. Never
    inside a grapheme cluster: a window exceeds `size` only by being one cluster. Without overlap the parts
    are the text.
    Linear in the text. Raises InvalidArgument.
    Source: Unicode Standard Annex 29 for the clusters.
    """

def count_tokens(text: str) -> int:
    """Estimate how many tokens a text costs, by script, without a vocabulary."""

class HashEmbedder:
    """Embed texts by the words and spellings they share: no weights, no download, no meaning.

    The same bits on every platform, Python version, SIMD level and number of threads. dim: 32 to 4096.
    char_ngrams: shortest and longest, 1 to 8. word_ngrams: 1 to 3. Raises InvalidArgument.
    Source: feature hashing of Weinberger et al. 2009; subword n-grams of Bojanowski et al. 2017.
    """

    def __init__(
        self,
        dim: int = 384,
        *,
        seed: int = 0,
        char_ngrams: tuple[int, int] = (3, 5),
        word_ngrams: int = 2,
        lowercase: bool = True,
    ) -> None: ...
    def embed(self, texts: Sequence[str], *, threads: int = 1) -> NDArray[np.float32]:
        """Return float32 of shape (n, dim), each row of unit length. threads: 1 to 256, 0 = all processors.

        A text without words gives one fixed vector. Raises InvalidArgument for lone surrogates.
        """

    @property
    def dim(self) -> int: ...
    @property
    def id(self) -> str:
        """Name the options, for example `hash-v1:384:0:3-5:2:1`: vectors of equal ids can be compared."""

class Hits(NamedTuple):
    """What a search found, nearest first, ties by the smaller key.

    distances: cosine 1 - cos, l2 Euclidean, ip -dot, l1 sum. scores: cosine 1 - d, l2 and l1 1 / (1 + d), ip dot.
    exhausted: every live vector that passes `allow` and `threshold` is in. visited: vectors compared.
    """

    keys: NDArray[np.int64]
    distances: NDArray[np.float32]
    scores: NDArray[np.float32]
    exhausted: bool
    visited: int

class VectorIndex:
    """One namespace of vectors, searched exactly (recall 1).

    dim: 1 to 65 535. metric: cosine (cos), l2 (euclidean), ip (dot, inner_product, innerproduct), l1 (manhattan).
    Any number of threads may search while others write: they see a vector before or after its replacement, never
    neither. A forked child cannot use it. Closed: ComponentError with code `closed`.
    """

    def __init__(
        self, dim: int, metric: str = "cosine", *, max_elements: int = 1_000_000_000, name: str = ""
    ) -> None: ...
    def add(self, keys: ArrayLike, vectors: ArrayLike, *, replace: bool = True) -> int:
        """Add rows and return how many keys were new; all or nothing.

        keys: an int or int array (n,), at least 0. vectors: (n, dim), or (dim,) for one; converted to float32. The last
        row of a repeated key wins. Raises NonFiniteValue, ZeroVector (cosine), DimensionMismatch, LimitExceeded, and
        DuplicateKey when `replace` is off.
        """

    def remove(self, keys: ArrayLike) -> int:
        """Remove keys and return how many were there."""

    def clear(self) -> None:
        """Remove everything."""

    def search(
        self, query: ArrayLike, k: int = 10, *, allow: ArrayLike | None = None, threshold: float | None = None
    ) -> Hits:
        """Return the k nearest vectors. allow: the only keys that may be found. threshold: the smallest score.

        query: (dim,) or (1, dim). k: 1 to 100 000.
        """

    def search_many(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        allow: ArrayLike | None = None,
        threshold: float | None = None,
        threads: int = 1,
    ) -> list[Hits]:
        """Search for each row of queries (q, dim). threads: 1 to 256, 0 = all processors."""

    def get(self, keys: ArrayLike) -> NDArray[np.float32]:
        """Return the vectors as they were added, shape (n, dim); an unknown key raises NotFound."""

    def contains(self, keys: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each key whether it is live."""

    def keys(self) -> NDArray[np.int64]:
        """Return the live keys, ascending."""

    def stats(self) -> dict[str, int | float | str]:
        """Return count, removed, mode, dim, metric, memory_bytes, searches, exact_scans, generation."""

    def close(self) -> None:
        """Free the memory; later calls raise ComponentError with code `closed`."""

    def __len__(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def name(self) -> str: ...

class Guard:
    """Control block of one Lua state: the limits and the stop flag that the unit inside the state reads and writes.

    `trip`, `used`, `tripped` and `memory` are for any thread; the rest is for the thread of the interpreter.
    """

    def __init__(self, path: str) -> None:
        """Load the guard library at `path`."""

    def attach(self, lua: str) -> None:
        """Find the Lua C API in the loaded library at `lua`; ConfigurationError when it does not fit."""

    def arm(self, *, instructions: int = 0, memory_bytes: int = 0, deadline: float | None = None) -> None:
        """Set the limits. 0 and None: unlimited. deadline: seconds of the monotonic clock."""

    def trip(self, resource: str) -> None:
        """Stop the run: interrupt, wall_time_ms, instructions or output_bytes."""

    def clear(self) -> None:
        """Make ready for the next run."""

    def used(self) -> dict[str, int | str | None]:
        """Return instructions, memory_bytes, peak_bytes, tripped."""

    def watch_signal(self, number: int) -> None:
        """Let this signal trip the guard before its own handler runs."""

    @property
    def tripped(self) -> str | None: ...
    @property
    def memory(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def address(self) -> int: ...
