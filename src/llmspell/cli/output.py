"""Everything the command line writes: one document, lines, tables, diagnostics. The only place that prints."""

from __future__ import annotations

import sys

from llmspell.cli.table import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

SCHEMA = "llmspell.cli/1"
LEVELS = ("off", "error", "warn", "info", "debug", "trace")
_BOLD, _RED, _YELLOW, _RESET = "\033[1m", "\033[31m", "\033[33m", "\033[0m"


class OutputError(OSError):
    """Standard output takes no more: its disk is full, or worse."""


def output_failure(error: OSError) -> OSError:
    """Return what the entry point reports: a reader that left ends the program quietly, all else is an error."""
    return error if isinstance(error, BrokenPipeError) else OutputError(error.errno, error.strerror)


class Output:
    """Where a command's results go. form: one of FORMATS. level: how much goes to standard error."""

    def __init__(self, form: str = "text", *, command: str = "", level: str = "warn", color: str = "auto") -> None:
        self.form = form
        self.command = command
        self.level = level
        self.color = color
        self.warnings: list[str] = []

    @property
    def plain(self) -> bool:
        """Whether people read it."""
        return self.form in ("text", "pretty")

    def document(self, payload: Mapping[str, Any], *, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the one document of a command."""
        status = "ok" if error is None else "error"
        head = {"schema": SCHEMA, "status": status, "command": self.command, "mode": "embedded"}
        result = {**head, **payload, "warnings": self.warnings}
        if error is not None:
            result["error"] = dict(error)
        return result

    def emit(
        self,
        payload: Mapping[str, Any],
        text: Callable[[], str] | str,
        *,
        items: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a result: `text` for people, else the document; jsonl writes the list `payload[items]` line by line."""
        if self.plain:
            shown = text if isinstance(text, str) else text()
            if shown:
                self.write(shown if shown.endswith("\n") else shown + "\n")
        elif self.form == "jsonl" and items is not None:
            for item in payload[items]:
                self.write(to_json(item) + "\n")
        elif self.form == "jsonl":
            self.write(to_json({"type": "end", **self.document(payload, error=error)}) + "\n")
        else:
            self.write(render(self.document(payload, error=error), self.form))

    def event(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Write one line of a jsonl stream and flush."""
        self.write(to_json({"type": kind, **fields}) + "\n")
        sys.stdout.flush()

    def write(self, text: str) -> None:
        """Write text to standard output; characters the terminal cannot show are replaced."""
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))
        except OSError as error:
            raise output_failure(error) from error

    def fail(self, error: Mapping[str, Any], payload: Mapping[str, Any] | None = None) -> None:
        """Write an error: `error:` and `hint:` on standard error for people, else the document on standard output."""
        if not self.plain:
            self.emit(payload or {}, "", error=error)
            return
        sys.stdout.flush()
        lines = [f"{self.paint('error:', _RED)} {error['message']}"]
        if error.get("traceback") and str(error["traceback"]) not in str(error["message"]):
            lines.append(str(error["traceback"]))
        if error.get("hint"):
            lines.append(f"hint: {error['hint']}")
        _to_stderr("\n".join(lines))

    def warn(self, text: str) -> None:
        """Note a warning: on standard error for people, in the document else."""
        self.warnings.append(text)
        if self.plain and LEVELS.index(self.level) >= LEVELS.index("warn"):
            _to_stderr(f"{self.paint('warning:', _YELLOW)} {text}")

    def note(self, text: str) -> None:
        """Write a line to standard error that is no result."""
        _to_stderr(text)

    def paint(self, text: str, code: str) -> str:
        """Return `text` in colour when standard error shows colours."""
        return f"{code}{text}{_RESET}" if colored(self.color, sys.stderr) else text

    def heading(self, text: str) -> str:
        """Return a heading of the form pretty."""
        return f"{_BOLD}{text}{_RESET}" if colored(self.color, sys.stdout) else text

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Return aligned columns with a header row; on a terminal the last column is wrapped to its width."""
        cells = [tuple(headers), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
        room = width() - sum(widths[:-1]) - 2 * (len(widths) - 1)
        lines: list[str] = []
        for row in cells:
            parts = wrap(row[-1], room) if room >= 20 else [row[-1]]
            head = [cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])]
            lines.append("  ".join([*head, parts[0]]).rstrip())
            lines += ["  ".join([*(" " * len(cell) for cell in head), part]) for part in parts[1:]]
        return "\n".join(lines)


def width() -> int:
    """Return the columns of the terminal, 0 when standard output is none."""
    if not sys.stdout.isatty():
        return 0
    from llmspell.config.terminal import columns

    return columns()


def wrap(text: str, room: int) -> list[str]:
    """Return `text` in lines of at most `room` characters, cut at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def colored(when: str, stream: Any) -> bool:
    """Return whether a stream gets colours. Source: no-color.org and the CLICOLOR convention."""
    from llmspell.config.terminal import color_wish

    return when == "always" or (when == "auto" and color_wish(stream.isatty()))


def early_form(argv: Sequence[str]) -> str:
    """Return the form asked for in words that may not parse, for the report of what is wrong with them."""
    from llmspell.config.terminal import output_wish

    found = output_wish()
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if name in ("--output", "--format"):
            found = value if equals else argv[index + 1] if index + 1 < len(argv) else found
    return found.lower() if found and found.lower() in FORMATS else "text"


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON text. Raises ValidationError for NaN, bytes and other values JSON has no form for."""
    import json

    from llmspell.errors import ValidationError

    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators, default=_other
        )
    except (ValueError, TypeError) as error:
        raise ValidationError(f"the result has no JSON form: {error}", code="not_json") from error


def _other(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("a string that is not UTF-8")
    import msgspec

    return msgspec.to_builtins(value)


def render(value: Any, form: str) -> str:
    """Return a document as `json` or `yaml` text."""
    if form == "yaml":
        import json

        import yaml

        plain = json.loads(to_json(value))
        return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))
    return to_json(value, indent=2) + "\n"


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # standard error is closed: there is nowhere left to say anything
