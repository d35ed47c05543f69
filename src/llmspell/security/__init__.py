"""What a run may touch outside itself, who may use what, and what must not be shown.

Paths, environment names, profiles: `Security`. Policies and their audit trail: `AccessPolicies`, `AuditLog`. Secrets:
`redact`. `profiles` is imported on the start path and holds plain literals only; everything else loads at first use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.security.access import Security
    from llmspell.security.audit import AuditEvent, AuditLog
    from llmspell.security.builtin import Grant, OwnerPolicy, TenantPolicy, VectorPolicy, template
    from llmspell.security.decisions import Allow, AllowWithFilters, Deny, FieldFilter, Policy, SecurityContext
    from llmspell.security.policies import AccessPolicies
    from llmspell.security.redact import Redactor, add_secret, redact, redact_value

__all__ = [
    "AccessPolicies", "Allow", "AllowWithFilters", "AuditEvent", "AuditLog", "Deny", "FieldFilter", "Grant",
    "OwnerPolicy", "Policy", "Redactor", "Security", "SecurityContext", "TenantPolicy", "VectorPolicy", "add_secret",
    "redact", "redact_value", "template",
]  # fmt: skip

_NAMES = {
    "access": ("Security",),
    "audit": ("AuditEvent", "AuditLog"),
    "builtin": ("Grant", "OwnerPolicy", "TenantPolicy", "VectorPolicy", "template"),
    "decisions": ("Allow", "AllowWithFilters", "Deny", "FieldFilter", "Policy", "SecurityContext"),
    "policies": ("AccessPolicies",),
    "redact": ("Redactor", "add_secret", "redact", "redact_value"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
