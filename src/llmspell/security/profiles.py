"""The three sandbox profiles as plain literals: the limits of each, and the highest tool level each grants."""

from __future__ import annotations

from llmspell.base.profile_limits import LIMITS

__all__ = ["LEVELS", "LIMITS", "PROFILES"]

PROFILES = ("safe", "standard", "full")
LEVELS: dict[str, str] = {"safe": "safe", "standard": "restricted", "full": "privileged"}
