"""When a failed model call is made again, and how long after."""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Any

from llmspell.errors import LLMSpellError, RateLimitError
from llmspell.providers._base import CallOptions

if TYPE_CHECKING:
    from llmspell.config.model import Provider as Settings


class Attempts:
    """The tries of one call. `failed` gives the pause before the next try, or raises."""

    def __init__(self, settings: Settings, options: CallOptions, *, model: str, deadline: float | None) -> None:
        self._allowed = options.max_attempts or settings.max_retries + 1
        self._first_ms = float(settings.retry_initial_delay_ms if options.backoff_ms is None else options.backoff_ms)
        self._settings = settings
        self._model = model
        self._deadline = deadline
        self._malformed = 0
        self._first_error: LLMSpellError | None = None
        self.log: list[dict[str, Any]] = []

    def failed(self, error: LLMSpellError, *, latency_ms: int) -> float:
        """Note a failed try; return the seconds to wait, or raise `error` if it is the last.

        A service that asks for more than `retry_after_cap_ms` is not waited for. A script that ran out on a repeated
        try raises what the first try raised.
        """
        self.log.append({"model": self._model, "kind": error.kind, "code": error.code, "latency_ms": latency_ms})
        error.details.setdefault("attempts", len(self.log))
        if error.code == "script_exhausted" and self._first_error is not None:
            raise self._first_error
        self._first_error = self._first_error or error
        if not self._may_repeat(error) or len(self.log) >= self._allowed:
            raise error
        pause_s = self._pause_ms(error) / 1000
        if self._deadline is not None and monotonic() + pause_s >= self._deadline:
            raise error
        return pause_s

    def _may_repeat(self, error: LLMSpellError) -> bool:
        if not error.retryable or error.kind not in ("provider", "network", "rate_limit", "timeout", "resource"):
            return False
        if isinstance(error, RateLimitError) and not self._settings.rate_limit_auto_retry:
            return False
        if error.code == "bad_response":
            self._malformed += 1
            if self._malformed > 1:
                return False
        asked = self._asked_ms(error)
        return asked is None or asked <= self._settings.retry_retry_after_cap_ms

    def _asked_ms(self, error: LLMSpellError) -> int | None:
        """Return the wait the service asked for; a default of the error's class is not one."""
        return error.retry_after_ms if error.retry_after_ms != type(error).default_retry_after_ms else None

    def _pause_ms(self, error: LLMSpellError) -> float:
        asked = error.retry_after_ms if isinstance(error, RateLimitError) and "status" in error.details else None
        asked = self._asked_ms(error) if asked is None else asked
        if asked is not None:
            return float(asked)
        growth = self._settings.retry_backoff_multiplier ** (len(self.log) - 1)
        ceiling = min(self._first_ms * growth, float(self._settings.retry_max_delay_ms))
        return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing
