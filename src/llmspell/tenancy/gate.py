"""`Gate`: what a service asks for a caller before it works in a place: may it, is the tenant active, is there room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell.errors import AccessDenied
from llmspell.security.decisions import tenant_of
from llmspell.tenancy.records import scope_of

if TYPE_CHECKING:
    from llmspell.security.decisions import SecurityContext
    from llmspell.security.policies import AccessPolicies
    from llmspell.tenancy.reservation import Reservation
    from llmspell.tenancy.tenants import Tenants


class Gate:
    """The rules of all tenants, for the caller `ctx`. `bound` gives the gate of another caller."""

    def __init__(self, tenants: Tenants, access: AccessPolicies, ctx: SecurityContext) -> None:
        self.tenants = tenants
        self.access = access
        self.ctx = ctx

    def bound(self, ctx: SecurityContext) -> Gate:
        """Return the gate of another caller."""
        return Gate(self.tenants, self.access, ctx)

    @property
    def home(self) -> str | None:
        """The tenant that the caller cannot leave, None for one without."""
        return None if self.ctx.is_admin else self.ctx.tenant_id

    def scope(self, text: str) -> str:
        """Return the scope that a scope means to the caller: inside of a tenant, all of them are the tenant's own."""
        home = self.home
        if home is None or tenant_of(text) is not None:
            return text
        return scope_of(home) if text == "global" else f"{scope_of(home)}/{text}"

    def enter(self, operation: str, scope: str, collection: str) -> dict[str, Any] | None:
        """Return the filter that the operation must stay within, None for none.

        operation: insert, search, update, delete. Raises AccessDenied, RateLimited, QuotaExceeded.
        """
        resource = f"{scope}/{collection}"
        filters = self.access.check(self.ctx, operation, resource)
        tenant = tenant_of(scope)
        if tenant is not None:
            try:
                if operation == "search":
                    self.tenants.admit(tenant)
                else:
                    self.tenants.require_active(tenant)
            except AccessDenied as error:
                reason = str(error.details.get("reason", ""))
                self.access.note("AccessDenied", self.ctx, operation, resource, policy="tenant", reason=reason)
                raise
        return {"and": [item.spec() for item in filters]} if filters else None

    def reserve(
        self, scope: str, amounts: Mapping[str, int], credit: Mapping[str, int] | None = None
    ) -> Reservation | None:
        """Return what is held for a batch in a place, None outside of tenants. Raises QuotaExceeded, AccessDenied."""
        tenant = tenant_of(scope)
        return None if tenant is None else self.tenants.reserve(tenant, credit=credit, **amounts)

    def count(self, scope: str, **amounts: int) -> None:
        """Add to the usage of the place's tenant, if it has one."""
        tenant = tenant_of(scope)
        if tenant is not None:
            self.tenants.count(tenant, **amounts)
