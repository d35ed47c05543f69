"""What every template engine shares: where text goes, and the error of a template."""

from __future__ import annotations

from llmspell.base.clock import monotonic
from llmspell.errors import LimitExceeded
from llmspell.errors import TimeoutError as TimedOut

MAX_OUTPUT = 10 * 1024 * 1024


class TemplateError(Exception):
    """A template breaks the grammar at a line, or misses a variable."""

    def __init__(self, message: str, line: int | None = None, *, code: str = "template_syntax") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.code = code


class Sink:
    """Where rendered text goes; counts its size and the time."""

    def __init__(self, deadline: float) -> None:
        self.parts: list[str] = []
        self._size = 0
        self._deadline = deadline

    def write(self, text: str) -> None:
        """Take a piece. Raises LimitExceeded or TimeoutError."""
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise LimitExceeded(
                f"the rendered text is longer than {MAX_OUTPUT} characters",
                code="too_large",
                details={"resource": "output", "limit": MAX_OUTPUT},
            )
        self.tick()
        if text:
            self.parts.append(text)

    def tick(self) -> None:
        """Raise TimeoutError when the time is over."""
        if monotonic() > self._deadline:
            raise TimedOut("the template was not rendered in time: it loops too long", code="timeout")
