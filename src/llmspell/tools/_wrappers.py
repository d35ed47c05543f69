"""What the options of a call put around it: more tries, an answer kept for a while, a session.

Each wrapper runs the same `Tools.call`, so that names, checks and policy hold for every try.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.base.registry import nearest
from llmspell.errors import LLMSpellError
from llmspell.tools._base import violation

if TYPE_CHECKING:
    from llmspell.base.context import Context

Envelope = dict[str, Any]
MAX_ATTEMPTS = 10
MAX_BACKOFF_MS = 60_000
_KNOWN = ("timeout_ms", "timeout", "retry", "max_attempts", "cache_ttl_seconds", "session")
_NOT_AGAIN = frozenset({"validation", "security", "cancelled", "resource_limit", "configuration", "internal"})


async def call_with_options(
    call: Callable[..., Awaitable[Envelope]],
    params: Mapping[str, Any],
    context: Context,
    options: Mapping[str, Any],
    *,
    identity: Callable[[], str],
    answers: Callable[[], Answers],
) -> Envelope:
    """Run `call(params, context, timeout_ms=)` as the options say.

    identity: hash of the tool's schema. Raises ValidationError for an unknown or bad option.
    """
    for key in options:
        if key not in _KNOWN:
            near = nearest(key, list(_KNOWN), limit=1)
            hint = f", did you mean '{near[0]}'?" if near else ""
            raise violation(key, f"unknown option{hint}", keyword="additionalProperties")
    timeout_ms = options.get("timeout_ms") or options.get("timeout")
    session = options.get("session")
    if session is not None:
        context = msgspec.structs.replace(context, session_id=str(session))

    async def once() -> Envelope:
        return await call(params, context, timeout_ms=timeout_ms)

    attempts, backoff_ms = retry_of(options)
    run: Callable[[], Awaitable[Envelope]] = once
    if attempts > 1:

        async def tries() -> Envelope:
            return await with_retry(once, attempts=attempts, backoff_ms=backoff_ms)

        run = tries
    ttl = options.get("cache_ttl_seconds")
    if ttl is None:
        return await run()
    if type(ttl) not in (int, float) or not 0 < ttl <= 86_400:
        raise violation("cache_ttl_seconds", "a number of seconds up to 86400 expected", keyword="range")
    caller = [context.tenant_id, context.session_id, context.level]
    request = msgspec.json.encode([identity(), caller, params], order="deterministic")
    return await with_cache(answers(), run, key=request, ttl_s=ttl)


def retry_of(options: Mapping[str, Any]) -> tuple[int, float]:
    """Return the number of tries and the first pause in ms from `retry` or `max_attempts`."""
    wanted = options.get("retry", options.get("max_attempts"))
    backoff: Any = 1000
    if isinstance(wanted, Mapping):
        backoff = wanted.get("backoff_ms", 1000)
        wanted = wanted.get("max_attempts", 3)
    if wanted is None:
        return 1, 0.0
    if type(wanted) is not int or not 1 <= wanted <= MAX_ATTEMPTS:
        raise violation("retry", f"a number of attempts from 1 to {MAX_ATTEMPTS} expected", keyword="range")
    if type(backoff) not in (int, float) or not 0 <= backoff <= MAX_BACKOFF_MS:
        raise violation("backoff_ms", f"milliseconds from 0 to {MAX_BACKOFF_MS} expected", keyword="range")
    return wanted, backoff


async def with_retry(run: Callable[[], Awaitable[Envelope]], *, attempts: int, backoff_ms: float) -> Envelope:
    """Run until it succeeds or `attempts` are used up; pauses double. Refusals are not tried again."""
    import asyncio
    import random

    for attempt in range(1, attempts + 1):
        try:
            envelope = await run()
            if envelope["success"] or envelope["error"]["kind"] in _NOT_AGAIN or attempt == attempts:
                envelope["metadata"]["attempts"] = attempt
                return envelope
        except LLMSpellError as error:
            if not error.retryable or attempt == attempts:
                raise
        pause_ms = min(MAX_BACKOFF_MS, backoff_ms * 2 ** (attempt - 1))
        await asyncio.sleep(pause_ms * random.uniform(0.5, 1.0) / 1000)  # noqa: S311 - jitter is no secret
    raise AssertionError("the last attempt returns or raises")


class Answers:
    """Envelopes kept as immutable bytes: at most 256, at most 16 MB. `_lock` protects both fields."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size = 0

    def get(self, key: bytes) -> bytes | None:
        """Return what is kept and still good."""
        with self._lock:
            found = self._kept.get(key)
            return found[1] if found is not None and found[0] > monotonic() else None

    def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keep one answer; the oldest make room."""
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += len(value) - (len(old[1]) if old else 0)
            self._kept[key] = (monotonic() + ttl_s, value)
            while len(self._kept) > 256 or self._size > 16 * 1024 * 1024:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._size -= len(dropped)


async def with_cache(answers: Answers, run: Callable[[], Awaitable[Envelope]], *, key: bytes, ttl_s: float) -> Envelope:
    """Return the kept answer for `key`, or run and keep a successful one for `ttl_s` seconds."""
    kept = answers.get(key)
    if kept is not None:
        envelope: Envelope = msgspec.msgpack.decode(kept)
        envelope["metadata"]["cached"] = True
        return envelope
    envelope = await run()
    if envelope["success"]:
        answers.put(key, msgspec.msgpack.encode(envelope), ttl_s)
    return envelope
