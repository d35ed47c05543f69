"""When a request is tried again, and how long after."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from llmspell.errors import InvalidArgument

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
RETRY_AFTER_CAP_S = 60.0


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how patiently: full jitter over initial_delay_ms * backoff_factor ** n, at most max_delay_ms."""

    max_attempts: int = 3
    initial_delay_ms: float = 1000
    max_delay_ms: float = 30000
    backoff_factor: float = 2
    retry_on_status: tuple[int, ...] = (429, 500, 502, 503, 504)

    @classmethod
    def of(cls, value: Retry | Mapping[str, Any] | None, base: Retry | None = None) -> Retry | None:
        """Return `value` as a Retry, fields it leaves out as in `base`. Raises InvalidArgument for absurd fields."""
        if value is None or isinstance(value, Retry):
            return value
        try:
            retry = msgspec.convert({**msgspec.structs.asdict(base or cls()), **value}, cls, strict=False)
            unknown = sorted(set(value) - set(cls.__struct_fields__))
        except (msgspec.ValidationError, TypeError) as error:
            raise InvalidArgument(f"retry: {error}", details={"name": "retry"}) from error
        if unknown:
            raise InvalidArgument(
                f"retry: unknown field {unknown[0]!r}, expected {', '.join(cls.__struct_fields__)}",
                details={"name": "retry", "allowed": list(cls.__struct_fields__)},
            )
        if not (1 <= retry.max_attempts <= 20 and retry.initial_delay_ms >= 0 and retry.max_delay_ms >= 0):
            raise InvalidArgument(
                "retry: expected 1 <= max_attempts <= 20 and delays of at least 0 ms", details={"name": "retry"}
            )
        return retry

    def delay_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Return the pause after failed attempt number `attempt` (from 1); Retry-After wins, up to 60 s."""
        if retry_after_s is not None:
            return min(retry_after_s, RETRY_AFTER_CAP_S)
        grown: float = min(self.max_delay_ms, self.initial_delay_ms * self.backoff_factor ** (attempt - 1))
        return random.uniform(0, grown) / 1000  # noqa: S311 - jitter, not a secret


def may_retry(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether sending the request twice does no harm."""
    return method in IDEMPOTENT or any(name.lower() == "idempotency-key" for name in headers)


def retry_after_s(text: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds a Retry-After header asks for (seconds or HTTP date), or None. Source: RFC 9110, 10.2.3."""
    if text is None:
        return None
    text = text.strip()
    if text.isdigit() and len(text) < 10:
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    if now is None:
        import time

        now = time.time()
    return max(0.0, moment - now)
