"""The one converter between Lua values and Python values, Python side; the Lua side is the guard's pack and unpack.

Both sides speak MessagePack. Three extension codes carry what plain data cannot: 16 a Lua function by number, 17 a
handle, 18 a tagged value.
"""

from __future__ import annotations

from llmspell._core import Ext, Limits, pack, unpack
from llmspell.lua.globals._base import Handle, Tagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FUNCTION, HANDLE, TAGGED = 16, 17, 18
LIMITS = Limits(max_bytes=1 << 31, max_depth=256, max_items=100_000_000, max_key_bytes=1 << 24)


class Converter:
    """Encodes and decodes for one Lua state. make_function(number) gives the async callable of a Lua function."""

    def __init__(self, make_function: Callable[[int], Any], function_type: type) -> None:
        self._make_function = make_function
        self._function_type = function_type
        self._ext, self._default = self._from_ext, self._to_ext

    def decode(self, data: bytes) -> list[Any]:
        """Return the list of values in a packed array from Lua."""
        values: list[Any] = unpack(data, limits=LIMITS, ext=self._ext)
        return values

    def encode(self, values: list[Any]) -> bytes:
        """Return the packed array of `values`; raises ValidationError for what has no Lua form."""
        return pack(values, limits=LIMITS, default=self._default)

    def _from_ext(self, code: int, data: bytes) -> Any:
        return self._make_function(int.from_bytes(data, "big"))

    def _to_ext(self, value: Any) -> Any:
        kind = type(value)
        if kind is Handle:
            return Ext(HANDLE, self.encode([value.kind, value.ident, value.text, value.fields]))
        if kind is Tagged:
            return Ext(TAGGED, self.encode([value.tag, value.value]))
        if kind is self._function_type:
            return Ext(FUNCTION, value.number.to_bytes(4, "big"))
        fields = getattr(kind, "__struct_fields__", None)
        if fields is not None:
            named = ((name, getattr(value, name)) for name in fields)
            return {name: item for name, item in named if item is not None}
        if hasattr(value, "tolist"):
            return value.tolist()
        if isinstance(value, (set, frozenset)):
            return sorted(value)
        raise TypeError(f"cannot convert {kind.__name__} to a Lua value")
