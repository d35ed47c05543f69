"""Errors on their way over the border: a script's error as a Python exception and back, unchanged.

From Lua comes `{text}` for a plain string, `{ref, kind, message, ...}` for an API error, `{ref, message}` for any other
value. `ref` is the number under which the Lua state keeps the very value; `LuaValue` gives it back and releases it.
"""

from __future__ import annotations

from llmspell.errors import CancelledError, InternalError, LLMSpellError, ScriptError, from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class LuaValue:
    """The value a script raised, kept in its Lua state under `number` until this object dies."""

    __slots__ = ("number", "released", "text")

    def __init__(self, number: int | None, text: str | None, released: list[int]) -> None:
        self.number = number
        self.text = text
        self.released = released

    def __del__(self) -> None:
        if self.number is not None:
            self.released.append(self.number)


def error_from_lua(wire: Mapping[str, Any], released: list[int]) -> LLMSpellError:
    """Return the exception for an error that left a Lua coroutine."""
    text = wire.get("text")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    error: LLMSpellError
    if text is not None:
        error = ScriptError(text)
    elif wire.get("kind"):
        error = from_wire(wire)
    else:
        error = ScriptError(str(wire.get("message", "")))
    error.traceback = script_frames(wire.get("traceback"))
    error.origin = LuaValue(wire.get("ref"), text, released)
    return error


def script_frames(traceback: Any) -> str | None:
    """Return a Lua traceback without the frames of the prelude, which carry no line numbers."""
    if not traceback:
        return None
    text = traceback.decode("utf-8", "replace") if isinstance(traceback, bytes) else str(traceback)
    hidden = ("\t?: in ", '\t[string "<python>"]', "\t[C]: in upvalue 'root'", "\t(...tail calls...)")
    lines = [line for line in text.split("\n") if not line.startswith(hidden)]
    return "\n".join(lines) if len(lines) > 1 else None


def error_to_lua(error: BaseException, owner: list[int]) -> dict[str, Any]:
    """Return what `make_error` of the prelude turns into the value to raise.

    owner: the release list of the Lua state it goes to; an error of another state travels as plain data.
    """
    if isinstance(error, LLMSpellError):
        origin = error.origin
        if isinstance(origin, LuaValue):
            if origin.text is not None:
                return {"text": origin.text}
            if origin.released is owner:
                return {"ref": origin.number}
        return error.to_wire()
    import builtins

    if type(error).__name__ == "CancelledError":
        return CancelledError(str(error) or "cancelled", code="cancelled").to_wire()
    if isinstance(error, builtins.TimeoutError):
        from llmspell.errors import TimeoutError as OurTimeoutError

        return OurTimeoutError(str(error) or "the operation ran out of time").to_wire()
    return InternalError(f"{type(error).__name__}: {error}").to_wire()
