"""Rows of a CSV in other forms: JSON, Markdown, HTML, Excel, Parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from llmspell.base.csvtable import escaped, kind_of, typed
from llmspell.base.jsontext import dumps
from llmspell.errors import ConfigurationError

Rows = Iterator[list[str]]
TEXT_FORMATS = ("json", "jsonl", "jsonlines", "markdown", "html")
BINARY_FORMATS = ("parquet", "excel", "xlsx")


def as_text(kind: str, columns: list[str], rows: Rows, *, safe: bool, full: Callable[[int], bool]) -> tuple[str, int]:
    """Return the text and the number of rows; `full(characters)` tells when to stop."""
    head, line, join, tail = _FORMS[kind]
    parts: list[str] = []
    size = 0
    for row in rows:
        cells = [escaped(cell) for cell in row] if safe else row
        parts.append(line(columns, cells))
        size += len(parts[-1])
        if full(size):
            break
    return head(columns) + join.join(parts) + tail(bool(parts)), len(parts)


def as_bytes(kind: str, columns: list[str], rows: Rows, *, safe: bool) -> tuple[bytes, int]:
    """Return the bytes of a file and the number of rows. Raises ConfigurationError without the packages."""
    return _parquet(columns, rows) if kind == "parquet" else _excel(columns, rows, safe)


def _record(columns: list[str], cells: list[str]) -> str:
    return dumps({name: typed(cell) for name, cell in zip(columns, cells, strict=True)}, sort_keys=False, nan="null")


def _markdown_row(_: list[str], cells: list[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split()) for cell in cells) + " |"


def _html_row(_: list[str], cells: list[str], tag: str = "td") -> str:
    from html import escape

    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


_FORMS: dict[
    str, tuple[Callable[[list[str]], str], Callable[[list[str], list[str]], str], str, Callable[[bool], str]]
] = {
    "json": (lambda _: "[", _record, ",", lambda _: "]"),
    "jsonl": (lambda _: "", _record, "\n", lambda some: "\n" if some else ""),
    "jsonlines": (lambda _: "", _record, "\n", lambda some: "\n" if some else ""),
    "markdown": (
        lambda columns: _markdown_row([], columns) + "\n" + "| " + " | ".join("---" for _ in columns) + " |\n",
        _markdown_row,
        "\n",
        lambda some: "\n" if some else "",
    ),
    "html": (
        lambda columns: "<table>\n<thead>" + _html_row([], columns, "th") + "</thead>\n<tbody>\n",
        _html_row,
        "\n",
        lambda _: "\n</tbody>\n</table>\n",
    ),
}


def _excel(columns: list[str], rows: Rows, safe: bool) -> tuple[bytes, int]:
    try:
        openpyxl = import_module("openpyxl")
        make_cell = import_module("openpyxl.cell").WriteOnlyCell
    except ImportError as error:
        raise _missing("Excel", "openpyxl") from error
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("data")

    def cell(text: str) -> Any:
        value = typed(text)
        made = make_cell(sheet, value=escaped(value) if safe and isinstance(value, str) else value)
        if isinstance(value, str):
            # openpyxl takes a text with a leading `=` for a formula; text stays text.
            made.data_type = "s"
        return made

    count = 0
    sheet.append([cell(name) for name in columns])
    for row in rows:
        sheet.append([cell(text) for text in row])
        count += 1
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue(), count


def _parquet(columns: list[str], rows: Rows) -> tuple[bytes, int]:
    try:
        pyarrow = import_module("pyarrow")
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise _missing("Parquet", "pyarrow") from error
    cells: list[list[str]] = [[] for _ in columns]
    for row in rows:
        for column, text in zip(cells, row, strict=True):
            column.append(text)
    table = pyarrow.table({name: _array(pyarrow, column) for name, column in zip(columns, cells, strict=True)})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue(), len(cells[0]) if cells else 0


def _array(pyarrow: Any, column: list[str]) -> Any:
    """Return one Arrow column; a column of several kinds stays text."""
    kinds = {kind_of(text) for text in column} - {"empty"}
    if kinds in ({"integer"}, {"boolean"}):
        return pyarrow.array([typed(text) for text in column])
    if kinds and kinds <= {"integer", "float"}:
        values = [typed(text) for text in column]
        return pyarrow.array([None if value is None else float(value) for value in values])
    return pyarrow.array([text or None for text in column], type=pyarrow.string())


def _missing(form: str, package: str) -> ConfigurationError:
    return ConfigurationError(
        f"{form} files need the package {package}: pip install 'llmspell[data]'", code="unsupported"
    )
