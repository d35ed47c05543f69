"""Making the services of this folder from the configuration, and what they need of others as callables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from llmspell.security import AccessPolicies, AuditLog, OwnerPolicy, SecurityContext, TenantPolicy
from llmspell.tenancy.gate import OWNER
from llmspell.tenancy.records import DEFAULT, Held, Holder, check_id
from llmspell.tenancy.tenants import Tenants

if TYPE_CHECKING:
    from pathlib import Path

    from llmspell.config.model import Tenancy

FOLDER = "tenancy"


class Documents(Protocol):
    """The service that holds the documents of tenants."""

    def held_by(self, tenant: str) -> Held:
        """Return what the rows of a tenant are."""

    def count_of(self, tenant: str) -> int:
        """Return the pieces of a tenant."""

    def purge(self, tenant: str) -> int:
        """Remove everything of a tenant; return how many pieces there were."""


class Keys(Protocol):
    """The service that holds the state of tenants."""

    def count(self, tenant: str) -> int:
        """Return the keys of a tenant."""

    def purge(self, tenant: str) -> int:
        """Remove the keys of a tenant; return how many there were."""


def open_access(home: Path, config: Tenancy) -> AccessPolicies:
    """Return the policies with the built-in ones, and their audit trail."""
    log = AuditLog(home / FOLDER / "audit", retention_days=config.audit_retention_days)
    return AccessPolicies([TenantPolicy(), OwnerPolicy()], log=log, grant_sample=config.audit_grant_sample)


def open_tenants(
    home: Path,
    config: Tenancy,
    access: AccessPolicies,
    *,
    documents: Callable[[], Documents],
    state: Callable[[], Keys],
) -> Tenants:
    """Return the tenants; services that hold their data are asked for at first need."""

    def note(event: str, tenant: str, reason: str) -> None:
        access.note(event, OWNER, "", f"tenant:{tenant}", reason=reason)

    holders = {
        "documents": Holder(lambda tenant: documents().count_of(tenant), lambda tenant: documents().purge(tenant)),
        "state": Holder(lambda tenant: state().count(tenant), lambda tenant: state().purge(tenant)),
    }
    return Tenants(
        home / FOLDER,
        config,
        measure=lambda tenant: documents().held_by(tenant),
        holders=holders,
        on_change=access.forget,
        note=note,
    )


def bound(tenant: str | None, tenants: Callable[[], Tenants | None]) -> str | None:
    """Return the tenant that a run is bound to, None for none or `default`. tenants: None where nobody keeps a list.

    Raises InvalidScope for what is no id, AccessDenied for a tenant that is not there or not active.
    """
    if tenant is None or check_id(tenant) == DEFAULT:
        return None
    known = tenants()
    if known is not None:
        known.require_active(tenant)
    return tenant


def caller(profile: str, tenant: str | None, *, session: str | None, correlation: str | None) -> SecurityContext:
    """Return who scripts act for: the local user, with the role for tenants unless bound to one or untrusted."""
    roles = OWNER.roles if tenant is None and profile != "safe" else ()
    return SecurityContext(
        principal=OWNER.principal, tenant_id=tenant, roles=roles, session_id=session, correlation_id=correlation
    )
