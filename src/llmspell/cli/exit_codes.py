"""The one table from errors to exit codes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.errors import LLMSpellError

OK, FAILED, USAGE, CONFIGURATION, NOT_FOUND, DENIED, BUDGET, UNREACHABLE = range(8)
TIME, INTERRUPTED, TERMINATED = 124, 130, 143

BY_KIND = {
    "configuration": CONFIGURATION,
    "security": DENIED,
    "provider": UNREACHABLE,
    "network": UNREACHABLE,
    "rate_limit": UNREACHABLE,
    "timeout": TIME,
    "cancelled": INTERRUPTED,
}


def code_of(error: LLMSpellError) -> int:
    """Return the exit code of an error."""
    if error.details.get("code") == "not_found":
        return NOT_FOUND
    if error.kind == "resource_limit":
        resource = str(error.details.get("resource", ""))
        return TIME if resource == "wall_time_ms" else BUDGET if resource.startswith("budget_") else FAILED
    return BY_KIND.get(error.kind, FAILED)
