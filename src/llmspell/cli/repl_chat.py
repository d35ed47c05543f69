"""The conversation of `.chat`: messages with one model, without tools."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from llmspell.base.types import Message
from llmspell.providers import ModelRequest

if TYPE_CHECKING:
    from llmspell.app import App
    from llmspell.cli.output import Output


class Conversation:
    """Messages so far, the model they go to, and the system prompt."""

    def __init__(self, app: App, out: Output) -> None:
        self._app = app
        self._out = out
        self.messages: list[Message] = []
        self.model = app.config.providers.default_model or ""
        self.system = ""

    async def say(self, text: str) -> None:
        """Send `text` with what went before, write the answer as it comes; a failed turn leaves nothing behind."""
        asked = [*self.messages, Message(role="user", content=text)]
        system = [Message(role="system", content=self.system)] if self.system else []
        answer = ""
        async for event in self._app.providers.stream(self.model or None, ModelRequest(messages=[*system, *asked])):
            if event.type == "text_delta":
                answer += event.text
                self._out.write(event.text)
                sys.stdout.flush()
        self._out.write("\n")
        self.messages = [*asked, Message(role="assistant", content=answer)]
