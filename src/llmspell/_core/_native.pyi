"""Objects that own memory, over the C++ library spellcore.

Any thread may call them; the GIL is released while they work.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Scalar: TypeAlias = bool | int | float | str | list[str] | None

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

class Filter:
    """A condition on attributes, read once and used for many searches.

    expr: `{field: value}`, `{field: [values]}` (one of them), `{field: {operator: value}}` with eq ne in nin gt gte lt
    lte exists contains prefix, and the connectives and, or, not; each word may begin with `$`. A missing field matches
    only ne, nin, exists false and not. At most 16 deep and 256 terms; anything else raises InvalidArgument.
    """

    def __init__(self, expr: Filter | Mapping[str, Any]) -> None: ...

class VectorIndex:
    """One namespace of vectors: searched exactly up to `exact_below` of them, by a graph above that.

    dim: 1 to 65 535. metric: cosine (cos), l2 (euclidean), ip (dot, inner_product, innerproduct), l1 (manhattan).
    m: links of an element, 2 to 128 (twice that in the lowest layer). ef_construction: m to 10 000. quantization: f32,
    or i8 (int8): one byte for a number, not under l1; keep_f32 keeps the vectors beside the bytes.
    The same seed and the same calls give the same file and the same hits, for any number of threads.
    Any number of threads may search while others write: they see a vector before or after its replacement, never
    neither. A forked child cannot use it. Closed: ComponentError with code `closed`.
    """

    def __init__(
        self,
        dim: int,
        metric: str = "cosine",
        *,
        m: int = 16,
        ef_construction: int = 200,
        ef_search: int = 50,
        quantization: str = "f32",
        keep_f32: bool = False,
        max_elements: int = 1_000_000_000,
        exact_below: int = 2048,
        seed: int = 42,
        name: str = "",
    ) -> None: ...
    def add(
        self,
        keys: ArrayLike,
        vectors: ArrayLike,
        *,
        attrs: Sequence[Mapping[str, _Scalar] | None] | None = None,
        threads: int = 1,
        replace: bool = True,
    ) -> int:
        """Add rows and return how many keys were new; all or nothing.

        keys: an int or int array (n,), at least 0. vectors: (n, dim), or (dim,) for one; converted to float32. The last
        row of a repeated key wins. attrs: one mapping for each key; at most 64 names in the index, of at most 128
        bytes, and strings of at most 4 KiB. threads: 1 to 256, 0 = all processors. Raises NonFiniteValue, ZeroVector
        (cosine), DimensionMismatch, LimitExceeded, and DuplicateKey when `replace` is off.
        """

    def set_attrs(self, keys: ArrayLike, attrs: Sequence[Mapping[str, _Scalar]], *, merge: bool = True) -> int:
        """Change attributes and return how many keys were there. merge: names not given stay as they are."""

    def get_attrs(self, keys: ArrayLike) -> list[dict[str, _Scalar]]:
        """Return the attributes that are not None; an unknown key raises NotFound."""

    def compact(self, *, threads: int = 1) -> dict[str, int]:
        """Free what removed vectors still hold; return removed, relinked, bytes_freed.

        The graph goes when at most half of `exact_below` vectors live. threads: 1 to 256, 0 = all processors; the
        result is the same for any number.
        """

    def save(self, path: str | PathLike[str], *, sync: bool = True, tag: bytes = b"") -> int:
        """Write a file in place of the one of that name, at once, and return its size in bytes.

        It holds nothing of removed vectors. sync: wait for the disk. tag: at most 4096 bytes for the caller. Raises
        StorageFull or StorageFailure; the old file is then untouched.
        """

    @staticmethod
    def open(
        path: str | PathLike[str], *, mmap: bool = True, writable: bool = True, verify: str = "graph"
    ) -> VectorIndex:
        """Open a saved index, whatever the bytes of the file are.

        mmap: share the pages of the file; what is changed is copied, the file never is. It must not be cut short while
        it is open. verify: checksums of the header, of the graph as well, or full. Raises CorruptData with section and
        offset, VersionMismatch or StorageFailure.
        """

    @staticmethod
    def import_hnswlib(
        path: str | PathLike[str],
        dim: int,
        metric: str = "cosine",
        *,
        ef_search: int = 50,
        quantization: str = "f32",
        keep_f32: bool = False,
        max_elements: int = 1_000_000_000,
        exact_below: int = 2048,
        seed: int = 42,
        name: str = "",
    ) -> VectorIndex:
        """Read an index saved by hnswlib 0.8, whatever the bytes of the file are.

        metric: of the space it was made with, which the file does not name: cosine, l2 or ip. Labels become keys, m and
        ef_construction are kept, and so are the links when more than `exact_below` vectors are in it; elements marked
        deleted are not live. hnswlib squares distances of l2 and keeps vectors of cosine at unit length. Raises
        CorruptData with section and offset, also for labels beyond 2**63 - 1, DimensionMismatch or StorageFailure.
        """

    def remove(self, keys: ArrayLike) -> int:
        """Remove keys and return how many were there."""

    def clear(self) -> None:
        """Remove everything."""

    def search(
        self,
        query: ArrayLike,
        k: int = 10,
        *,
        ef: int | None = None,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - the word callers know
        allow: ArrayLike | None = None,
        threshold: float | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the k nearest vectors; fewer only if no other passes.

        query: (dim,) or (1, dim). k: 1 to 100 000. ef: candidates kept while walking, 1 to 100 000, at least k is
        taken. allow: the only keys that may be found. threshold: the smallest score. exact: compare with all of them.
        """

    def search_many(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        ef: int | None = None,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - the word callers know
        allow: ArrayLike | None = None,
        threshold: float | None = None,
        exact: bool = False,
        threads: int = 1,
    ) -> list[Hits]:
        """Search for each row of queries (q, dim). threads: 1 to 256, 0 = all processors."""

    def get(self, keys: ArrayLike) -> NDArray[np.float32]:
        """Return the vectors as they were added, or as coded by i8 without keep_f32, shape (n, dim).

        An unknown key raises NotFound.
        """

    def contains(self, keys: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each key whether it is live."""

    def keys(self) -> NDArray[np.int64]:
        """Return the live keys, ascending."""

    def stats(self) -> dict[str, int | float | str]:
        """Return what the index holds and did: count, removed, mode, memory_bytes, levels, exact_scans and others."""

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
    def quantization(self) -> str: ...
    @property
    def tag(self) -> bytes: ...
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
