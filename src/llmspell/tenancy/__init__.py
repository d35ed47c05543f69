"""Who may use how much: tenants with limits, usage and costs, and the gate that services ask."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.tenancy.gate import Gate
    from llmspell.tenancy.records import Costs, Held, Limits, PurgeReport, Tenant, TenantUsage, check_id
    from llmspell.tenancy.reservation import Reservation
    from llmspell.tenancy.tenants import Tenants

__all__ = ["Costs", "Gate", "Held", "Limits", "PurgeReport", "Reservation", "Tenant", "TenantUsage", "Tenants",
           "check_id"]  # fmt: skip

_HOMES = {
    **dict.fromkeys(("Costs", "Held", "Limits", "PurgeReport", "Tenant", "TenantUsage", "check_id"), "records"),
    "Gate": "gate",
    "Reservation": "reservation",
    "Tenants": "tenants",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
