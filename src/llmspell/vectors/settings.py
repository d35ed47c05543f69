"""The settings of indexes from the configuration: presets, and the keys that win over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell.vectors.records import IndexSettings

if TYPE_CHECKING:
    from llmspell.config.model import Hnsw

# m, ef_construction, ef_search
PRESETS = {
    "none": (16, 200, 50),
    "small": (12, 100, 50),
    "medium": (16, 200, 100),
    "large": (32, 400, 200),
    "speed": (8, 50, 25),
    "accuracy": (48, 500, 300),
    "real_time": (12, 100, 40),
    "balanced": (16, 200, 100),
}


def index_settings(config: Hnsw) -> IndexSettings:
    """Return how indexes are made under the section `rag.vector_storage.hnsw`."""
    m, ef_construction, ef_search = PRESETS[config.preset]
    return IndexSettings(
        m=m if config.m is None else max(config.m, 2),
        ef_construction=ef_construction if config.ef_construction is None else config.ef_construction,
        ef_search=ef_search if config.ef_search is None else config.ef_search,
        seed=config.seed,
        num_threads=config.num_threads,
        quantization=config.quantization,
        keep_f32=config.keep_f32,
        exact_below=config.exact_below,
    )
