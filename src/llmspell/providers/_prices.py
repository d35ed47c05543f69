"""What tokens cost: the bundled table, under the prices of the configuration. Offline; an unknown model is unpriced."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from llmspell.base.types import Usage
from llmspell.errors import ConfigurationError


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money for `per` tokens. `cached` and `cache_write` default to `input`."""

    model: str = "*"
    input: float
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    per: int = 1_000_000
    currency: str = "USD"
    since: str = ""

    def cost(self, usage: Usage) -> float:
        """Return what `usage` costs. `usage.input_tokens` includes those read from and written to a cache."""
        plain = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.cache_write is None else self.cache_write
        total = (
            plain * self.input
            + usage.cached_tokens * cached
            + usage.cache_write_tokens * written
            + usage.output_tokens * self.output
        )
        return total / self.per


FREE = Price(input=0.0)


@cache
def table() -> list[Price]:
    """Return the bundled prices; `model` is a pattern over `provider/model`."""
    import tomllib

    raw = tomllib.loads((Path(__file__).parent / "prices.toml").read_text("utf-8"))
    return msgspec.convert(raw["price"], list[Price])


def find(provider: str, model: str, own: Mapping[str, Any]) -> Price | None:
    """Return the price of a model: the longest matching pattern of `own`, else of the table, else None.

    own: `providers.<name>.prices` of the configuration, pattern over the model's name to price.
    """
    hits = [pattern for pattern in own if fnmatchcase(model, pattern)]
    if hits:
        pattern = max(hits, key=len)
        try:
            price = msgspec.convert({**own[pattern], "model": pattern}, Price)
        except (msgspec.ValidationError, TypeError) as error:
            raise ConfigurationError(
                f"providers.{provider}.prices.{pattern}: {error}; allowed: input, output, cached, cache_write, per",
                details={"key": f"providers.{provider}.prices"},
            ) from error
        return price
    full = f"{provider}/{model}"
    prices = [price for price in table() if fnmatchcase(full, price.model)]
    return max(prices, key=lambda price: len(price.model)) if prices else None
