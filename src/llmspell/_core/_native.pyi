"""Objects that own memory, over the C++ library spellcore."""

def cpu() -> dict[str, bool | str]:
    """Return what the processor can do (a bool per feature) and the SIMD level `detected` and `active`."""
