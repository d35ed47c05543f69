"""`AccessPolicies`: policies by priority, their joint decision, a short memory of it, its trace in the audit trail."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import monotonic
from llmspell.errors import AccessDenied, AlreadyExists, InvalidArgument, RateLimited
from llmspell.security.builtin import CustomPolicy
from llmspell.security.decisions import (
    Allow,
    AllowWithFilters,
    Decision,
    Deny,
    FieldFilter,
    Policy,
    SecurityContext,
    checked_filters,
    tenant_of,
)

if TYPE_CHECKING:
    from llmspell.security.audit import AuditEvent, AuditLog, AuditReport

CACHE_SECONDS = 60.0
CACHE_SIZE = 10_000
SUSPICIOUS = 10
NOBODY = "nobody says yes"


class _Known:
    """A decision that is remembered. line: what the audit trail gets of it, once it was needed."""

    __slots__ = ("decision", "line", "policy", "until")

    def __init__(self, decision: Decision, policy: str, until: float) -> None:
        self.decision = decision
        self.policy = policy
        self.until = until
        self.line: bytes | None = None


class AccessPolicies:
    """The policies of a process. log: gets every decision; None writes none. grant_sample: share of grants written.

    Any thread may call it. Policies are asked by priority, highest first, ties in the order they were added.
    """

    def __init__(
        self,
        policies: Iterable[Policy] = (),
        *,
        log: AuditLog | None = None,
        grant_sample: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._log = log
        self._sample = grant_sample
        self._clock = clock
        self._lock = threading.Lock()  # protects changes of _policies, and _denials
        self._policies: tuple[Policy, ...] = tuple(sorted(policies, key=lambda policy: -policy.priority))
        self._meters: tuple[Any, ...] = ()
        self._cache: dict[tuple[bytes, str, str], _Known] = {}
        self._denials: deque[tuple[float, str]] = deque(maxlen=1000)
        self._reported: dict[str, float] = {}
        self._changed()

    def add(
        self, policy: Policy | Callable[[SecurityContext, str, str], Decision | None], *, name: str | None = None
    ) -> None:
        """Add a policy, or a function `(ctx, operation, resource)` as one of priority 50.

        Raises AlreadyExists for a taken name, InvalidArgument for what is no policy.
        """
        made: Any = policy
        if not isinstance(policy, Policy):
            if not callable(policy):
                raise InvalidArgument(
                    "a policy has name, priority and decide(ctx, operation, resource), or is such a function",
                    details={"name": "policy"},
                )
            made = CustomPolicy(name or str(getattr(policy, "__name__", "custom")), policy)
        with self._lock:
            if any(known.name == made.name for known in self._policies):
                raise AlreadyExists(f"there is a policy {made.name!r}: remove it first", details={"id": made.name})
            self._policies = tuple(sorted((*self._policies, made), key=lambda item: -item.priority))
            self._changed()
        self._note_change(made.name, "added")

    def remove(self, name: str) -> bool:
        """Remove a policy; tell whether it was there."""
        with self._lock:
            kept = tuple(policy for policy in self._policies if policy.name != name)
            found = len(kept) < len(self._policies)
            self._policies = kept
            self._changed()
        if found:
            self._note_change(name, "removed")
        return found

    def list(self) -> list[dict[str, Any]]:
        """Return name and priority of the policies, in the order they are asked."""
        return [{"name": policy.name, "priority": policy.priority} for policy in self._policies]

    def forget(self) -> None:
        """Drop what is remembered; called when a tenant changes."""
        with self._lock:
            self._changed()

    def _changed(self) -> None:
        # A new dict, so that a decision made by the old policies is written into the old one.
        self._cache = {}
        self._meters = tuple(policy for policy in self._policies if hasattr(policy, "meter"))

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision:
        """Return the joint decision, and write it down. Raises RateLimited where a policy has a rate."""
        return self._decided(ctx, operation, resource).decision

    def check(self, ctx: SecurityContext, operation: str, resource: str) -> tuple[FieldFilter, ...]:
        """Return the filters of an allowed operation. Raises AccessDenied, RateLimited."""
        known = self._decided(ctx, operation, resource)
        decision = known.decision
        if isinstance(decision, Deny):
            raise denied(operation, resource, decision.reason, policy=known.policy)
        return decision.filters if isinstance(decision, AllowWithFilters) else ()

    def _decided(self, ctx: SecurityContext, operation: str, resource: str) -> _Known:
        cache, key = self._cache, (ctx.key, operation, resource)
        known = cache.get(key)
        if known is None or known.until <= self._clock():
            known = self._evaluate(ctx, operation, resource)
            if len(cache) >= CACHE_SIZE:
                cache.clear()
            cache[key] = known
        if self._meters and not isinstance(known.decision, Deny):
            self._count(ctx, operation, resource)
        if self._log is not None:
            self._write(self._log, ctx, operation, resource, known)
        return known

    def _evaluate(self, ctx: SecurityContext, operation: str, resource: str) -> _Known:
        until = self._clock() + CACHE_SECONDS
        filters: list[FieldFilter] = []
        allowing: list[str] = []
        for policy in self._policies:
            answer = _asked(policy, ctx, operation, resource)
            if isinstance(answer, Deny):
                return _Known(answer, policy.name, until)
            if answer is not None:
                allowing.append(policy.name)
            if isinstance(answer, AllowWithFilters):
                filters.extend(answer.filters)
        if not allowing:
            return _Known(Deny(NOBODY), "", until)
        return _Known(AllowWithFilters(tuple(filters)) if filters else Allow(), ",".join(allowing), until)

    def _count(self, ctx: SecurityContext, operation: str, resource: str) -> None:
        for policy in self._meters:
            try:
                policy.meter(ctx, operation)
            except RateLimited as error:
                self.note("RateLimitExceeded", ctx, operation, resource, policy=policy.name, reason=error.message)
                raise

    def _write(self, log: AuditLog, ctx: SecurityContext, operation: str, resource: str, known: _Known) -> None:
        if isinstance(known.decision, Deny):
            reason = known.decision.reason
            self.note("AccessDenied", ctx, operation, resource, policy=known.policy, reason=reason)
            self._watch(ctx)
        elif self._sample >= 1.0 or random.random() < self._sample or self._bypassed(ctx, resource):  # noqa: S311 - a sample
            if known.line is None:
                decision = "allow" if isinstance(known.decision, Allow) else "allow_with_filters"
                facts = _facts(ctx, operation, resource, policy=known.policy, decision=decision)
                known.line = log.frame("AccessGranted", facts)
            log.append_frame(known.line, synced=False)

    def _bypassed(self, ctx: SecurityContext, resource: str) -> bool:
        """Whether a role opened what the tenant alone would not: never left out of the trail."""
        return ctx.is_admin and tenant_of(resource) != ctx.tenant_id

    def _watch(self, ctx: SecurityContext) -> None:
        """Write one SuspiciousActivity per minute for a principal with many denials."""
        now = self._clock()
        with self._lock:
            self._denials.append((now, ctx.principal))
            recent = sum(1 for at, who in self._denials if who == ctx.principal and now - at < 60)
            if recent < SUSPICIOUS or now - self._reported.get(ctx.principal, -60.0) < 60:
                return
            if len(self._reported) >= CACHE_SIZE:
                self._reported.clear()
            self._reported[ctx.principal] = now
        self.note("SuspiciousActivity", ctx, "", "", reason=f"{recent} denials in a minute")

    def note(self, event: str, ctx: SecurityContext | None, operation: str, resource: str, **facts: str | None) -> None:
        """Write one event into the audit trail, if there is one."""
        if self._log is None:
            return
        if event == "AccessDenied":
            facts["decision"] = "deny"
        self._log.append(event, **_facts(ctx, operation, resource, **facts))

    def _note_change(self, name: str, what: str) -> None:
        self.note("ConfigurationChanged", None, "", "", policy=name, reason=f"policy {what}")

    def audit(self, **query: Any) -> Sequence[AuditEvent]:
        """Return events of the audit trail, newest first; see `AuditLog.query`."""
        return [] if self._log is None else self._log.query(**query)

    def verify(self) -> AuditReport:
        """Read the whole audit trail and return the first edit or gap, if there is one."""
        from llmspell.security.audit import AuditReport

        return AuditReport(True, 0) if self._log is None else self._log.verify()

    def close(self) -> None:
        """Close the audit trail. Safe to call twice."""
        if self._log is not None:
            self._log.close()


def _facts(ctx: SecurityContext | None, operation: str, resource: str, **more: str | None) -> dict[str, str | None]:
    return {
        "principal": None if ctx is None else ctx.principal,
        "tenant": tenant_of(resource) or (None if ctx is None else ctx.tenant_id),
        "operation": operation or None,
        "resource": resource or None,
        "correlation_id": None if ctx is None else ctx.correlation_id,
        **more,
    }


def denied(operation: str, resource: str, reason: str, *, policy: str | None = None) -> AccessDenied:
    """Return the error of a refusal."""
    return AccessDenied(
        f"access denied: {operation} in {resource} ({reason})",
        details={"operation": operation, "resource": resource, "policy": policy, "reason": reason},
    )


def _asked(policy: Policy, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
    try:
        answer = policy.decide(ctx, operation, resource)
        if isinstance(answer, AllowWithFilters):
            return AllowWithFilters(checked_filters(answer.filters))
    except Exception:
        getLogger(__name__).exception("a policy failed and counts as a denial", extra={"policy": policy.name})
        return Deny("the policy failed")
    if answer is not None and not isinstance(answer, Allow | Deny):
        return Deny(f"the policy answered {type(answer).__name__}")
    return answer
