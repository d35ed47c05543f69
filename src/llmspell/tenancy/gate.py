"""`Gate`: what a service asks for a caller before it works in a place: may it, is the tenant active, is there room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell.errors import AccessDenied, QuotaExceeded, RateLimited
from llmspell.security.decisions import SecurityContext, tenant_of
from llmspell.tenancy.records import scope_of

if TYPE_CHECKING:
    from llmspell.security.policies import AccessPolicies
    from llmspell.tenancy.reservation import Reservation
    from llmspell.tenancy.tenants import Tenants

OWNER = SecurityContext(principal="local", roles=("admin",))
"""The local user, whom a process serves."""


class Gate:
    """The rules for the caller `ctx`. tenants: None keeps tenants apart, and neither limits nor counts them."""

    def __init__(self, tenants: Tenants | None, access: AccessPolicies, ctx: SecurityContext) -> None:
        self.tenants = tenants
        self.access = access
        self.ctx = ctx

    @property
    def home(self) -> str | None:
        """The tenant that the caller cannot leave, None for one without."""
        return None if self.ctx.is_admin else self.ctx.tenant_id

    def scope(self, text: str) -> str:
        """Return the scope that a scope means to the caller: inside of a tenant, all of them are the tenant's own."""
        home = self.home
        if home is None or tenant_of(text) is not None:
            return text
        kind, _, ident = text.partition(":")
        return scope_of(home) if text == "global" else f"{kind}:{scope_of(home)}/{ident}"

    def session(self, ident: str) -> str:
        """Return the id that a session id means to the caller."""
        return self.scope(f"session:{ident}").removeprefix("session:")

    def enter(self, operation: str, scope: str, collection: str, *, query: bool = False) -> dict[str, Any] | None:
        """Return the filter that the operation must stay within, None for none.

        operation: insert, search, update, delete. query: it counts as a search. Raises AccessDenied, RateLimited,
        QuotaExceeded.
        """
        resource = f"{scope}/{collection}"
        filters = self.access.check(self.ctx, operation, resource)
        tenant = tenant_of(scope)
        if tenant is not None and self.tenants is not None:
            try:
                if query:
                    self.tenants.admit(tenant)
                else:
                    self.tenants.require_active(tenant)
            except (AccessDenied, QuotaExceeded, RateLimited) as error:
                self._note(error, operation, resource)
                raise
        return {"and": [item.spec() for item in filters]} if filters else None

    def _note(self, error: AccessDenied | QuotaExceeded | RateLimited, operation: str, resource: str) -> None:
        """Write a refusal into the audit trail, with the caller."""
        event = {"access_denied": "AccessDenied", "quota_exceeded": "QuotaExceeded"}.get(str(error.code))
        reason = str(error.details.get("reason", error.message))
        self.access.note(event or "RateLimitExceeded", self.ctx, operation, resource, policy="tenant", reason=reason)

    def vector_config(self, scope: str) -> dict[str, Any]:
        """Return what the tenant of a scope states about its indexes."""
        tenant = tenant_of(scope)
        if tenant is None or self.tenants is None:
            return {}
        found = self.tenants.get(tenant)
        return {} if found is None else found.vector_config

    def reserve(
        self, scope: str, amounts: Mapping[str, int], credit: Mapping[str, int] | None = None
    ) -> Reservation | None:
        """Return what is held for a batch in a place, None where nobody counts. Raises QuotaExceeded, AccessDenied."""
        tenant = tenant_of(scope)
        if tenant is None or self.tenants is None:
            return None
        try:
            return self.tenants.reserve(tenant, credit=credit, **amounts)
        except (AccessDenied, QuotaExceeded, RateLimited) as error:
            self._note(error, "insert", scope)
            raise

    def count(self, scope: str, **amounts: int) -> None:
        """Add to the usage of the place's tenant, if it has one."""
        tenant = tenant_of(scope)
        if tenant is not None and self.tenants is not None:
            self.tenants.count(tenant, **amounts)
