"""`Logger`: the same log as `Debug`, with fields and named loggers; the objects are made in `logger.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import ClassVar

    from llmspell.app import App


class Global:
    """See the module."""

    aliases: ClassVar[dict[str, str]] = {"setLevel": "set_level", "getLevel": "get_level", "isEnabled": "is_enabled"}

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane

    def write(self, level: str, msg: Any, module: str | None = None, fields: dict | None = None) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Keep an entry; `logger.lua` takes this name out of the table."""
        text = msg.decode("utf-8", "replace") if isinstance(msg, bytes) else str(msg)
        self._lane.debug.log(level, text, module, fields or None)

    def set_level(self, level: str) -> bool:
        """Set the least important level that is kept; false for an unknown word."""
        return bool(self._lane.debug.set_level(level))

    def get_level(self) -> str:
        """Return the level in upper case."""
        return str(self._lane.debug.get_level())

    def is_enabled(self, level: str) -> bool:
        """Tell whether entries of a level are kept."""
        return bool(self._lane.debug.allows(level))
