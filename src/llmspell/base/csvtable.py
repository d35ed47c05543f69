"""CSV as a stream of rows: what its dialect is, what its cells mean, and the way out again as text.

Rows are read one by one, so that the size of a file is no matter; whoever needs all of them says so.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from llmspell.errors import MalformedData

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 65536
MAX_FIELD = 10 * 1024 * 1024
BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?", re.ASCII)


class Table:
    """An opened CSV: its columns, its dialect, and its rows, which can be walked once.

    errors: rows of another width, as `{row, message}`, at most 10. Rows are cut or filled to the width.
    """

    def __init__(
        self, stream: IO[str], *, encoding: str, delimiter: str | None, headers: bool | None, quote: str
    ) -> None:
        csv.field_size_limit(MAX_FIELD)
        head = stream.read(SAMPLE_BYTES)
        self.encoding = encoding
        self.quote = quote
        self.delimiter = delimiter or detect_delimiter(head, quote)
        self._reader = csv.reader(_Lines(head, stream), delimiter=self.delimiter, quotechar=quote)
        self.errors: list[dict[str, Any]] = []
        self.number = 0
        first = next(self._raw(), [])
        following = next(self._raw(), None)
        self.has_headers = looks_like_headers(first, following) if headers is None else headers
        self.columns = unique_names(first) if self.has_headers else [f"column_{n}" for n in range(1, len(first) + 1)]
        data = [first] if first and not self.has_headers else []
        self._waiting: list[list[str]] = data + ([following] if following else [])

    def rows(self) -> Iterator[list[str]]:
        """Yield the data rows. Raises MalformedData for what is no CSV."""
        width = len(self.columns)
        self.number = 0
        for row in self._waiting:
            yield self._fitted(row, width)
        for row in self._raw():
            yield self._fitted(row, width)

    def _raw(self) -> Iterator[list[str]]:
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise MalformedData(f"not CSV at line {self._reader.line_num}: {error}") from error
            if row:
                yield row

    def _fitted(self, row: list[str], width: int) -> list[str]:
        self.number += 1
        if len(row) == width:
            return row
        if len(self.errors) < 10:
            self.errors.append({"row": self.number, "message": f"expected {width} fields, found {len(row)}"})
        return [*row, *[""] * (width - len(row))][:width]


class _Lines:
    """The lines of the sample that was read ahead, and then of the stream."""

    def __init__(self, head: str, stream: IO[str]) -> None:
        # The sample may end inside a line: the rest of that line belongs to it.
        self._head = io.StringIO(
            head + (stream.readline(MAX_FIELD) if head and not head.endswith("\n") else ""), newline=""
        )
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        yield from self._head
        yield from self._stream


def decoded(stream: IO[bytes], encoding: str | None) -> tuple[IO[str], str]:
    """Return the stream as text and the name of its encoding: by its mark, else UTF-8, else Windows-1252."""
    if encoding is None:
        head = stream.read(SAMPLE_BYTES)
        stream.seek(0)
        encoding = next((name for mark, name in BOMS if head.startswith(mark)), None)
        if encoding is None:
            try:
                head.decode("utf-8")
                encoding = "utf-8"
            except UnicodeDecodeError as error:
                # A character that the sample cuts in two is no mistake.
                cut = len(head) == SAMPLE_BYTES and error.start >= len(head) - 3
                encoding = "utf-8" if cut else "windows-1252"
    errors = "replace" if encoding == "windows-1252" else "strict"
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=""), encoding


def detect_delimiter(sample: str, quote: str) -> str:
    """Return the delimiter that cuts the sample into the same, largest number of fields; a comma for one column."""
    best, best_score = ",", 0.0
    lines = sample.splitlines()[:50]
    if len(lines) > 1 and len(sample) >= SAMPLE_BYTES:
        lines.pop()
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, quotechar=quote) if row]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = widths.count(widths[0]) / len(widths) * 100 + min(widths[0], 50)
            if score > best_score:
                best, best_score = delimiter, score
    return best


def looks_like_headers(first: list[str], second: list[str] | None) -> bool:
    """Return whether the first row names columns: different texts, none of which is empty, a number or a date."""
    names = [name.strip() for name in first]
    if not names or "" in names or len(set(names)) < len(names):
        return False
    if any(kind_of(name) in ("integer", "float", "date", "date_time", "boolean") for name in names):
        return False
    return second is None or first != second


def unique_names(row: list[str]) -> list[str]:
    """Return column names: blanks cut, empty ones numbered, repeated ones counted."""
    names: list[str] = []
    for index, cell in enumerate(row, 1):
        name = wanted = cell.strip() or f"column_{index}"
        count = 2
        while name in names:
            name, count = f"{wanted}_{count}", count + 1
        names.append(name)
    return names


def kind_of(text: str) -> str:
    """Return `empty integer float boolean date date_time string` for one cell."""
    text = text.strip()
    if not text:
        return "empty"
    first = text[0]
    if first.isdigit() or first in "+-.":
        if _INTEGER.fullmatch(text):
            return "integer"
        if len(text) < 400 and _FLOAT.fullmatch(text):
            return "float"
        if _DATE.fullmatch(text):
            return "date"
        if _DATE_TIME.fullmatch(text):
            return "date_time"
    return "boolean" if text.lower() in ("true", "false") else "string"


def typed(text: str) -> Any:
    """Return a number, a boolean, None for an empty cell, else the text."""
    kind = kind_of(text)
    if kind == "integer":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "boolean":
        return text.strip().lower() == "true"
    return None if kind == "empty" else text


def numeric(text: str) -> Any:
    """Return a number when the cell reads as one, else the text: the value of a cell in expressions."""
    kind = kind_of(text)
    return int(text) if kind == "integer" else float(text) if kind == "float" else text


def escaped(text: str) -> str:
    """Return the cell so that no spreadsheet takes it for a formula: `'` before what starts one and is no number."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and kind_of(text) not in ("integer", "float"):
        return "'" + text
    return text


def written(value: Any) -> str:
    """Return the text of a computed value as a cell."""
    from llmspell.base.textforms import cell

    return str(value) if isinstance(value, float) else cell(value)


class Writer:
    """Makes CSV text row by row; `full` tells when the limit of characters is reached."""

    def __init__(self, columns: list[str], *, delimiter: str, quote: str, safe: bool, limit: int) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, delimiter=delimiter, quotechar=quote, lineterminator="\n")
        self._safe = safe
        self._limit = limit
        self.rows = -1
        self.add(columns)

    def add(self, row: Iterable[str]) -> None:
        """Write one row."""
        self._writer.writerow([escaped(cell) for cell in row] if self._safe else row)
        self.rows += 1

    @property
    def full(self) -> bool:
        """Return whether the limit is reached."""
        return self._buffer.tell() > self._limit

    def text(self) -> str:
        """Return what was written."""
        return self._buffer.getvalue()
