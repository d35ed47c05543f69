"""Streaming: lazy streams over generators, lists, channels and the streams of agents. All of it is `streaming.lua`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.app import App, Lane


class Global:
    """An empty table that the companion chunk fills."""

    def __init__(self, app: App, lane: Lane) -> None:
        del app, lane
