"""Questions to rows by column names: expressions, known columns, the order of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llmspell.base.csvtable import numeric
from llmspell.base.expression import Expression
from llmspell.errors import ValidationError


def formula(text: str, columns: list[str], parameter: str) -> Callable[[list[str]], Any]:
    """Return the value of an expression for a row; a column named oddly is `row["its name"]`.

    Raises ValidationError, code `schema_violation` with the parameter's name, for text that is no expression or names
    an unknown column; the returned function raises it with code `expression_error` for values that do not fit.
    """
    try:
        expression = Expression(text)
    except ValidationError as error:
        raise misuse(parameter, error.message) from error
    places = {column: place for place, column in enumerate(columns)}
    require_columns(sorted(expression.names() - {"row"}), columns, parameter)

    def value(row: list[str]) -> Any:
        def resolve(column: str, _: bool) -> Any:
            if column in places:
                return numeric(row[places[column]])
            return {key: numeric(row[place]) for key, place in places.items()}

        return expression.evaluate(resolve)

    return value


def require_columns(names: Iterable[str], columns: list[str], parameter: str) -> None:
    """Raise ValidationError, code `schema_violation`, for the first name that is no column."""
    for name in names:
        if name not in columns:
            raise misuse(parameter, f"unknown column '{name}', there are {', '.join(columns)[:500]}")


def order(text: str) -> tuple[int, Any]:
    """Return the key by which cells are sorted: numbers first, by value, then text."""
    value = numeric(text)
    return (1, value) if isinstance(value, str) else (0, value)


def misuse(parameter: str, message: str) -> ValidationError:
    """Return the error for an argument that does not fit the data."""
    errors = [{"path": parameter, "keyword": "column", "message": message}]
    return ValidationError(
        f"Invalid parameter '{parameter}': {message}",
        code="schema_violation",
        details={"field": parameter, "errors": errors},
    )
