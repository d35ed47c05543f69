"""Steps 5 and 6 of a call: who may run what, and how much of it at once.

`Policy` judges levels and patterns, `Slots` counts running calls, `Rates` counts calls per minute. One `_lock` each
protects the counters, because the loops of several interpreters share one set of tools.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import monotonic
from llmspell.base.registry import canonical
from llmspell.errors import RateLimitError, SecurityError
from llmspell.tools._spec import RANK, Op, Spec

if TYPE_CHECKING:
    import asyncio

    from llmspell.base.context import Context

_MINUTE = 60.0


class Policy:
    """Levels, allow and deny patterns."""

    def __init__(
        self,
        *,
        max_level: str | None = None,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        require_approval: Sequence[str] = (),
    ) -> None:
        self._ceiling = RANK[max_level] if max_level else RANK["privileged"]
        self._allow = tuple(allow)
        self._deny = tuple(deny)
        self._approval = tuple(require_approval)
        self._verdicts: dict[tuple[str, str], str] = {}

    def check(self, spec: Spec, op: Op, values: Mapping[str, Any], context: Context) -> None:
        """Raise SecurityError (code `tool_denied` or `level_denied`) when the call is not permitted."""
        if self._deny or self._allow:
            verdict = self._verdict(spec, op)
            if verdict == "deny":
                raise SecurityError(
                    f"tool '{spec.name}' operation '{op.name}' is denied by tools.security.deny",
                    code="tool_denied",
                    details={"violation": "tool_access", "subject": f"{spec.name}.{op.name}"},
                )
            if verdict == "allow":
                return
        rank = op.rank
        if op.raising:
            rank = call_rank(op, values)
        ceiling = min(RANK[context.level], self._ceiling)
        if rank > ceiling:
            needed, granted = _word(rank), _word(ceiling)
            raise SecurityError(
                f"tool '{spec.name}' operation '{op.name}' needs security level '{needed}', the caller has '{granted}'",
                code="level_denied",
                details={
                    "violation": "tool_level",
                    "subject": f"{spec.name}.{op.name}",
                    "required": needed,
                    "allowed": granted,
                },
            )

    def permits(self, name: str, level: str, context: Context) -> bool:
        """Tell whether a tool whose least privileged operation has `level` may run at all."""
        if _matches(self._deny, name, ""):
            return False
        if self._allow and any(canonical(pattern).partition(".")[0] == name for pattern in self._allow):
            return True
        return RANK[level] <= min(RANK[context.level], self._ceiling) or _matches(self._allow, name, "")

    def needs_approval(self, spec: Spec, op: Op, values: Mapping[str, Any]) -> bool:
        """Tell whether a call asked for by a model waits for a yes."""
        if "*.privileged" in self._approval and call_rank(op, values) == RANK["privileged"]:
            return True
        if "*.destructive" in self._approval and op.hints.get("destructiveHint"):
            return True
        return _matches(self._approval, spec.name, op.name)

    def _verdict(self, spec: Spec, op: Op) -> str:
        key = (spec.name, op.name)
        verdict = self._verdicts.get(key)
        if verdict is None:
            denied = _matches(self._deny, *key)
            verdict = "deny" if denied else "allow" if _matches(self._allow, *key) else ""
            self._verdicts[key] = verdict
        return verdict


def call_rank(op: Op, values: Mapping[str, Any]) -> int:
    """Return the rank of this call: that of its operation, raised by parameters that reach further."""
    given = (rank for name, rank in op.raising if values.get(name) not in (None, False))
    return max(op.rank, *given, 0)


def _word(rank: int) -> str:
    return next(word for word, number in RANK.items() if number == rank)


def _matches(patterns: Sequence[str], tool: str, operation: str) -> bool:
    from fnmatch import fnmatchcase

    names = (tool, f"{tool}.{operation}")
    return any(fnmatchcase(name, pattern.replace("_", "-")) for pattern in patterns for name in map(canonical, names))


class Slots:
    """At most `total` calls at once, and at most so many of one tool; further ones wait."""

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self._total = total
        self._running = 0
        self._by_tool: dict[str, int] = {}
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    async def take(self, tool: str, limit: int) -> None:
        """Wait for a slot."""
        while True:
            with self._lock:
                if self._running < self._total and self._by_tool.get(tool, 0) < limit:
                    self._running += 1
                    self._by_tool[tool] = self._by_tool.get(tool, 0) + 1
                    return
                import asyncio

                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, future))
            await future

    def give(self, tool: str) -> None:
        """Hand a slot back and wake those who wait for one."""
        with self._lock:
            self._running -= 1
            self._by_tool[tool] -= 1
            waiting = list(self._waiting)
            self._waiting.clear()
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Rates:
    """Calls per minute, by tool and tenant."""

    def __init__(self, limits: Mapping[str, int], every: int | None) -> None:
        self._lock = threading.Lock()
        self._limits = {canonical(name): limit for name, limit in limits.items()}
        self._every = every
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def __bool__(self) -> bool:
        return bool(self._limits) or self._every is not None

    def take(self, tool: str, tenant: str) -> None:
        """Count one call. Raises RateLimitError with the time until the next one is admitted."""
        limit = self._limits.get(tool, self._every)
        if limit is None:
            return
        now = monotonic()
        with self._lock:
            recent = self._recent.setdefault((tool, tenant), deque())
            while recent and recent[0] <= now - _MINUTE:
                recent.popleft()
            if len(recent) < limit:
                recent.append(now)
                return
            wait_ms = int((recent[0] + _MINUTE - now) * 1000) + 1 if recent else 60_000
        raise RateLimitError(
            f"tool '{tool}' may run {limit} times per minute: try again in {wait_ms} ms",
            code="rate_limited",
            details={"scope": f"tool:{tool}", "limit": limit},
            retry_after_ms=wait_ms,
        )
