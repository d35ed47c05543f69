"""The contract of an embedder: one file `embedders/<name>.py` with a class `Embedder` and the two constants below.

DIMENSIONS = 384                      # without a wish
MODELS = ["hash-v1"]                  # names for people
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Texts to vectors of unit length; equal ids mean vectors that can be compared."""

    name: str
    dim: int
    max_tokens: int | None

    @property
    def id(self) -> str:
        """Name the model and every option that changes its vectors."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (n, dim)."""
        ...
