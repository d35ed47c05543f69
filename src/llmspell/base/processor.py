"""What this machine's processor can do, for people: the one thing of the compiled core that commands ask for."""

from __future__ import annotations


def processor() -> dict[str, bool | str]:
    """Return a bool per feature, and the SIMD level `detected` and `active`. Raises ImportError without the core."""
    from llmspell._core import cpu

    return cpu()
