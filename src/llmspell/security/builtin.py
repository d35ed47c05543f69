"""The policies that come with llmspell: `tenant`, `owner`, `vector`, and templates for roles."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.errors import InvalidArgument, RateLimited
from llmspell.security.decisions import Allow, Decision, Deny, SecurityContext, tenant_of

OPERATIONS = ("insert", "search", "update", "delete")
LOCAL_USER = "local"
_REMEMBERED = 10_000


class TenantPolicy:
    """A principal of a tenant stays in it, and nobody else but an admin comes in.

    Existence is not looked up: a foreign tenant and one that does not exist are refused by the same comparison.
    """

    name = "tenant"
    priority = 100

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
        """Compare the tenant of the principal with that of the resource."""
        wanted = tenant_of(resource)
        if wanted is None and ctx.tenant_id is None:
            return None
        if wanted == ctx.tenant_id or ctx.is_admin:
            return Allow()
        return Deny("another tenant" if ctx.tenant_id is not None else "no tenant of this principal")


class OwnerPolicy:
    """The local user may do everything outside of tenants."""

    name = "owner"
    priority = 0

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
        """Allow the local user."""
        return Allow() if ctx.principal == LOCAL_USER and tenant_of(resource) is None else None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one principal may do. tenants: None for every one. per_minute: operations, None for any number."""

    operations: tuple[str, ...] = OPERATIONS
    tenants: tuple[str, ...] | None = None
    per_minute: int | None = None


class VectorPolicy:
    """Grants by principal: operations, tenants, a deny list, a rate that holds for cached decisions too."""

    def __init__(
        self,
        grants: Mapping[str, Grant],
        *,
        denied: Iterable[str] = (),
        name: str = "vector",
        priority: int = 10,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for principal, grant in grants.items():
            unknown = sorted(set(grant.operations) - set(OPERATIONS))
            if unknown:
                raise InvalidArgument(
                    f"the grant of {principal!r} names {unknown[0]!r}; operations are {', '.join(OPERATIONS)}",
                    details={"name": "operations", "value": unknown[0], "allowed": list(OPERATIONS)},
                )
        self.name = name
        self.priority = priority
        self._grants = dict(grants)
        self._denied = frozenset(denied)
        self._clock = clock
        self._lock = threading.Lock()  # protects _windows
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
        """Look up the grant of the principal; one without a grant is not spoken of."""
        if ctx.principal in self._denied:
            return Deny("on the deny list")
        grant = self._grants.get(ctx.principal)
        if grant is None:
            return None
        if operation not in grant.operations:
            return Deny(f"{operation} is not granted")
        if grant.tenants is not None and tenant_of(resource) not in grant.tenants:
            return Deny("another tenant")
        return Allow()

    def meter(self, ctx: SecurityContext, operation: str) -> None:
        """Count one operation. Raises RateLimited above the rate of the grant."""
        grant = self._grants.get(ctx.principal)
        if grant is None or grant.per_minute is None:
            return
        now = self._clock()
        with self._lock:
            began, count = self._windows.pop(ctx.principal, (now, 0))
            if now - began >= 60:
                began, count = now, 0
            self._windows[ctx.principal] = (began, count + (count < grant.per_minute))
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        if count >= grant.per_minute:
            wait = max(1, round((began + 60 - now) * 1000))
            raise RateLimited(
                f"{ctx.principal} may do {grant.per_minute} operations a minute: try again in {wait} ms",
                details={"limit": grant.per_minute, "window": 60, "retry_after_ms": wait},
                retry_after_ms=wait,
            )


class CustomPolicy:
    """A function as a policy: `decide(ctx, operation, resource)`."""

    def __init__(
        self, name: str, decide: Callable[[SecurityContext, str, str], Decision | None], *, priority: int = 50
    ) -> None:
        self.name = name
        self.priority = priority
        self.decide = decide


class RolePolicy:
    """Allows operations to a role, in all tenants or one, and says nothing to others.

    Without a tenant of its own it leaves the borders of tenants to the policy `tenant`.
    """

    def __init__(
        self, name: str, *, role: str, operations: tuple[str, ...], tenant: str | None = None, priority: int = 20
    ) -> None:
        self.name = name
        self.priority = priority
        self._role = role
        self._operations = frozenset(operations)
        self._tenant = tenant

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
        """Look at role, tenant and operation."""
        if self._role not in ctx.roles or (self._tenant is not None and tenant_of(resource) != self._tenant):
            return None
        return Allow() if operation in self._operations else Deny(f"{operation} is not granted to {self._role}")


def template(kind: str, **settings: Any) -> RolePolicy:
    """Return a policy made from a template: `admin`, `read-only`, `tenant` (needs `tenant`, a tenant id).

    The role is named like the template unless `role` says otherwise. Raises InvalidArgument.
    """
    operations = {"admin": OPERATIONS, "read-only": ("search",), "tenant": OPERATIONS}.get(kind)
    if operations is None or (kind == "tenant") != ("tenant" in settings):
        raise InvalidArgument(
            f"no template {kind!r} with {sorted(settings)}: there are admin, read-only, and tenant with a tenant",
            details={"name": "template", "value": kind, "allowed": ["admin", "read-only", "tenant"]},
        )
    role = str(settings.get("role", kind))
    tenant = settings.get("tenant")
    name = f"{kind}:{tenant}" if tenant else kind if role == kind else f"{kind}:{role}"
    return RolePolicy(name, role=role, operations=operations, tenant=tenant)
