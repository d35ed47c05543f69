"""Statistics of CSV columns in one pass and bounded memory: exact while few, estimated and marked when many."""

from __future__ import annotations

import hashlib
import heapq
import math
import random
from typing import Any

from llmspell.base.csvtable import kind_of

EXACT_UNIQUE = 10_000
KEPT_VALUES = 200_000
SKETCH = 1024


class Column:
    """What is known of one column so far."""

    def __init__(self, name: str, samples: int) -> None:
        self.name = name
        self.count = 0
        self.kinds: dict[str, int] = {}
        self._samples = samples
        self._sample_values: list[Any] = []
        self._unique: set[str] | None = set()
        self._sketch: list[int] = []
        self._in_sketch: set[int] = set()
        self._numbers: list[float] = []
        self._seen = 0
        self._mean = 0.0
        self._squares = 0.0
        self._low: dict[bool, Any] = {}
        self._high: dict[bool, Any] = {}
        self._random = random.Random(0)  # noqa: S311 - a reproducible sample, no secret

    def add(self, text: str) -> None:
        """Take one cell."""
        kind = kind_of(text)
        self.count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "empty":
            return
        is_number = kind in ("integer", "float")
        value: Any = (int(text) if kind == "integer" else float(text)) if is_number else text
        if is_number and math.isfinite(value):
            self._number(float(value))
        if is_number not in self._low or value < self._low[is_number]:
            self._low[is_number] = value
        if is_number not in self._high or value > self._high[is_number]:
            self._high[is_number] = value
        if len(self._sample_values) < self._samples:
            self._sample_values.append(value)
        self._distinct(text)

    def data_type(self) -> str:
        """Return `integer float boolean date date_time string mixed empty`."""
        kinds = set(self.kinds) - {"empty"}
        if not kinds:
            return "empty"
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {"integer", "float"}:
            return "float"
        return "date_time" if kinds == {"date", "date_time"} else "mixed"

    def report(self) -> dict[str, Any]:
        """Return the statistics; those of numbers only for a column of numbers."""
        data_type = self.data_type()
        is_number = data_type in ("integer", "float")
        unique, exact = self._unique_count()
        found: dict[str, Any] = {
            "name": self.name,
            "data_type": data_type,
            "null_count": self.kinds.get("empty", 0),
            "unique_count": unique,
            "sample_values": self._sample_values,
        }
        if not exact:
            found["unique_estimated"] = True
        if data_type not in ("empty", "mixed"):
            found |= {"min_value": self._low[is_number], "max_value": self._high[is_number]}
        if is_number and self._seen:
            found |= self._spread()
        return found

    def _spread(self) -> dict[str, Any]:
        values = sorted(self._numbers)
        q1, median, q3 = (quantile(values, part) for part in (0.25, 0.5, 0.75))
        deviation = math.sqrt(self._squares / (self._seen - 1)) if self._seen > 1 else 0.0
        spread = {"mean": self._mean, "median": median, "std_dev": deviation, "quartiles": [q1, median, q3]}
        return spread | ({"quartiles_estimated": True} if self._seen > KEPT_VALUES else {})

    def _number(self, value: float) -> None:
        """Source: Welford 1962 for mean and variance, Vitter 1985 (algorithm R) for the sample of quartiles."""
        self._seen += 1
        delta = value - self._mean
        self._mean += delta / self._seen
        self._squares += delta * (value - self._mean)
        if len(self._numbers) < KEPT_VALUES:
            self._numbers.append(value)
        else:
            place = self._random.randrange(self._seen)
            if place < KEPT_VALUES:
                self._numbers[place] = value

    def _distinct(self, text: str) -> None:
        if self._unique is not None:
            self._unique.add(text)
            if len(self._unique) <= EXACT_UNIQUE:
                return
            for known in self._unique:
                self._to_sketch(known)
            self._unique = None
        else:
            self._to_sketch(text)

    def _to_sketch(self, text: str) -> None:
        """Keep the smallest hashes. Source: Bar-Yossef et al. 2002, counting distinct elements, k minimum values."""
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
        number = -int.from_bytes(digest, "big")
        if number in self._in_sketch:
            return
        if len(self._sketch) < SKETCH:
            heapq.heappush(self._sketch, number)
            self._in_sketch.add(number)
        elif number > self._sketch[0]:
            self._in_sketch.discard(heapq.heapreplace(self._sketch, number))
            self._in_sketch.add(number)

    def _unique_count(self) -> tuple[int, bool]:
        if self._unique is not None:
            return len(self._unique), True
        return round((SKETCH - 1) * 2**64 / -self._sketch[0]), False


def quantile(values: list[float], part: float) -> float:
    """Return the quantile of sorted values, with linear interpolation between neighbours."""
    place = (len(values) - 1) * part
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
