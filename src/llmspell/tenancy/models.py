"""`ModelAccount`: what model calls of a tenant cost, on its account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from llmspell.tenancy.records import DEFAULT

if TYPE_CHECKING:
    from llmspell.base.context import Context
    from llmspell.base.types import Usage
    from llmspell.tenancy.records import Limits
    from llmspell.tenancy.reservation import Reservation

MICROS = 1_000_000


class Accounts(Protocol):
    """What of the accounts is needed here."""

    def require_active(self, tenant_id: str) -> Limits:
        """Return the limits of a tenant that is active."""

    def reserve(self, tenant_id: str) -> Reservation:
        """Check the limits of the month."""

    def count(self, tenant_id: str, **amounts: int) -> None:
        """Add to counters of the month."""


class ModelAccount:
    """Asked before and told after every model call. Calls of no tenant, or of `default`, are on nobody's account."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def before(self, context: Context | None) -> None:
        """Raise QuotaExceeded when the month's money is used up, AccessDenied for a tenant that is not active."""
        if context is None or context.tenant_id == DEFAULT:
            return
        if self._accounts.require_active(context.tenant_id).monthly_cost_usd is not None:
            self._accounts.reserve(context.tenant_id).release()

    def after(self, context: Context | None, usage: Usage) -> None:
        """Add what a call cost."""
        if context is None or context.tenant_id == DEFAULT or not usage.cost_usd:
            return
        self._accounts.count(context.tenant_id, model_cost_micros=round(usage.cost_usd * MICROS))
