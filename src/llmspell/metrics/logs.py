"""Standard logging in the house's form: a formatter, a redacting handler on a stream, and levels by word.

Imported only where logging is used; the start path has no need of it. Every record passes the redactor in the handler,
so no module can forget to mask its secrets.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

from llmspell.metrics.lines import json_line, text_line

TRACE = 5
LEVELS = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_WORDS = {value: word for word, value in LEVELS.items()} | {logging.CRITICAL: "error"}
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """Writes records as text or JSON lines; `extra` members become key=value, `category` and `operation` their places.

    redact: masks secrets in plain data; it sees the message and the fields.
    """

    def __init__(self, redact: Callable[[Any], Any] | None = None, *, as_json: bool = False) -> None:
        super().__init__()
        self._redact = redact or (lambda data: data)
        self._line: Callable[..., str] = json_line if as_json else text_line

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without newline."""
        fields = {name: value for name, value in vars(record).items() if name not in _KNOWN}
        category = fields.pop("category", record.name.partition(".")[2].partition(".")[0] or record.name)
        operation = fields.pop("operation", record.name.rpartition(".")[2])
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        message, fields = self._redact(message), self._redact(fields)
        word = _WORDS.get(record.levelno, record.levelname.lower())
        return self._line(word, category, operation, message, fields, epoch=record.created)


def install(
    level: str, *, redact: Callable[[Any], Any] | None = None, as_json: bool = False, stream: TextIO | None = None
) -> logging.Handler:
    """Send the records of `llmspell` to a stream (standard error); other loggers are capped at warn unless trace."""
    logging.addLevelName(TRACE, "TRACE")
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter(redact, as_json=as_json))
    root, ours = logging.getLogger(), logging.getLogger("llmspell")
    root.addHandler(handler)
    ours.setLevel(LEVELS[level])
    root.setLevel(LEVELS[level] if level in ("trace", "off", "error") else logging.WARNING)
    return handler


def uninstall(handler: logging.Handler) -> None:
    """Take a handler of `install` away again."""
    logging.getLogger().removeHandler(handler)
    handler.close()
