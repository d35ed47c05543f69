"""Evaluate arithmetic expressions with variables, comparisons and mathematical functions."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from llmspell.tools._arithmetic import CONSTANTS, FUNCTIONS, domain, evaluate, limit, parse, undefined
from llmspell.tools._base import Case, P, ToolFailure, ToolHeader, operation

MAX_VARIABLES = 100
_EXACT = 2.0**53

_GROUPS = {
    "arithmetic": ["+", "-", "*", "/", "//", "%", "^", "**"],
    "comparison": ["==", "!=", "<", "<=", ">", ">="],
    "logical": ["&&", "||", "!", "and", "or", "not"],
    "trigonometric": ["sin", "cos", "tan", "asin", "acos", "atan", "atan2", "degrees", "radians"],
    "hyperbolic": ["sinh", "cosh", "tanh", "asinh", "acosh", "atanh"],
    "exponential": ["exp", "ln", "log", "log2", "log10", "pow", "sqrt", "cbrt"],
    "rounding": ["ceil", "floor", "round", "trunc", "int"],
    "statistics": ["min", "max", "sum", "avg"],
}
_EXAMPLES = {
    "arithmetic": "2 + 3 * 4",
    "powers": "2^3^2",
    "variables": "x * 2 + y",
    "logarithms": "log(2, 8)",
    "comparison": "3 > 2 && 1 != 2",
    "statistics": "avg(1, 2, 3)",
}

Expression = Annotated[str, P("The expression, at most 4096 characters", aliases=("expression",), examples=["2+3*4"])]
Variables = Annotated[dict[str, Any] | None, P("Values of names; they hide constants")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="evaluate",
    timeout_ms=5_000,
    inline=True,
    text="result",
    tags=("math", "arithmetic"),
    tests=(
        Case("precedence", {"input": "2+3*4"}, {"result": {"result": 14, "result_type": "integer"}, "text": "14"}),
        Case("division by zero", {"input": "1/0"}, {"result": {"result": "Infinity", "result_type": "special"}}),
        Case("parse error", {"input": "2+*"}, {"success": False, "error": {"code": "parse_error"}}),
        Case("validate", {"operation": "validate", "input": "2+"}, {"result": {"valid": False, "position": 2}}),
        Case("functions", {"operation": "functions"}, {"result": {"constants": ["e", "pi", "tau"]}}),
    ),
)


@operation("evaluate", aliases=("calculate", "eval"))
def evaluate_expression(
    input: Expression,  # noqa: A002 - the parameter's published name
    variables: Variables = None,
    angle: Annotated[Literal["radians", "degrees"], P("Unit of angles")] = "radians",
    precision: Annotated[int | None, P("Decimal places of the result", ge=0, le=15)] = None,
) -> dict[str, Any]:
    """Evaluate an expression."""
    known = _checked(variables)
    node = parse(input)
    missing = undefined(node, known)
    if missing:
        raise _undefined(missing)
    try:
        value = evaluate(node, known, degrees=angle == "degrees")
    except OverflowError as error:
        raise domain("the result is too large to be represented") from error
    result, kind = _presented(value, precision)
    return {"input": input, "result": result, "result_type": kind, "variables": known}


@operation("validate", text="valid")
def validate(
    input: Expression,  # noqa: A002 - the parameter's published name
    variables: Variables = None,
) -> dict[str, Any]:
    """Check an expression without evaluating it."""
    try:
        missing = undefined(parse(input), _checked(variables))
        if missing:
            raise _undefined(missing)
    except ToolFailure as failure:
        verdict: dict[str, Any] = {"input": input, "valid": False, "error": failure.message}
        if "position" in failure.details:
            verdict["position"] = failure.details["position"]
        return verdict
    return {"input": input, "valid": True}


@operation("functions", text="")
def functions() -> dict[str, Any]:
    """List operators, functions and constants."""
    grouped = {name for group in _GROUPS.values() for name in group}
    return {
        **_GROUPS,
        "mathematical": [name for name in FUNCTIONS if name not in grouped],
        "constants": sorted(CONSTANTS),
        "examples": _EXAMPLES,
    }


def _checked(variables: dict[str, Any] | None) -> dict[str, Any]:
    if variables is None:
        return {}
    if len(variables) > MAX_VARIABLES:
        raise limit(f"{len(variables)} variables were given, the limit is {MAX_VARIABLES}")
    return variables


def _undefined(names: list[str]) -> ToolFailure:
    shown = [name[:60] for name in names[:20]]
    return ToolFailure("undefined_name", f"Undefined variables: {', '.join(shown)}", {"names": shown})


def _presented(value: int | float, precision: int | None) -> tuple[int | float | str, str]:
    """Return the result and its type: a float without fraction that is exact is an integer."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN", "special"
        if math.isinf(value):
            return ("Infinity" if value > 0 else "-Infinity"), "special"
        if precision is not None:
            value = round(value, precision)
        if value.is_integer() and abs(value) < _EXACT:
            return int(value), "integer"
        return value, "float"
    return int(value), "integer"
