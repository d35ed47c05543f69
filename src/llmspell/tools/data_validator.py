"""Validate a value by rules or by a JSON Schema."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from llmspell.base.jsonschema import Checker
from llmspell.base.patterns import until
from llmspell.base.rules import compile_rules, count_rules
from llmspell.errors import ValidationError
from llmspell.tools._base import Case, P, Result, ToolContext, ToolHeader, operation, violation

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="validate",
    aliases=("data_validation", "data_validation_tool"),
    text="valid",
    tests=(
        Case(
            "rules",
            {"input": 5, "rules": [{"type": "range", "min": 10}]},
            {
                "operation": "validate_data",
                "success": True,
                "result": {"valid": False, "errors": [{"field": "", "value": 5, "rule": "range"}]},
                "metadata": {"rule_count": 1, "error_count": 1},
            },
        ),
        Case(
            "object",
            {"input": {"a": "x"}, "rules": {"rules": [{"type": "object", "required": ["a", "b"]}]}},
            {"result": {"errors": [{"field": "b", "message": "Missing required field 'b'"}]}},
        ),
        Case("schema", {"input": 1, "schema": {"type": "integer"}}, {"result": {"valid": True, "errors": []}}),
        Case("short form", {"input": "a@b.example", "rules": ["required", "email"]}, {"result": {"valid": True}}),
    ),
)


@operation("validate", aliases=("validate_data",), label="validate_data")
def validate(
    input: Annotated[Any, P("The value", aliases=("data", "value"))],  # noqa: A002 - the parameter's published name
    rules: Annotated[dict[str, Any] | list[Any] | None, P("Rules: a list, or an object with `rules`")] = None,
    schema: Annotated[dict[str, Any] | bool | None, P("A JSON Schema, in place of rules")] = None,
    fail_fast: Annotated[bool, P("Stop at the first error")] = False,
    max_errors: Annotated[int, P("Stop after so many errors", ge=1, le=1000)] = 100,
    custom_messages: Annotated[dict[str, str], P("Rule to message, or field.rule to message")] = {},  # noqa: B006 - never changed
    *,
    ctx: ToolContext,
) -> Result:
    """Validate a value."""
    if (rules is None) == (schema is None):
        raise violation("rules", "give either 'rules' or 'schema'", keyword="oneOf")
    limit = 1 if fail_fast else max_errors
    errors: list[dict[str, Any]] = []
    if rules is None:
        checker = _compiled("schema", Checker, schema)
        count = len(schema) if isinstance(schema, dict) else 1
        errors.extend(
            {
                "field": _field(found["path"]),
                "value": _at(input, found["path"]),
                "rule": found["keyword"],
                "message": found["message"],
            }
            for found in checker.violations(input, limit)
        )
    else:
        check, count = _compiled("rules", compile_rules, rules), count_rules(rules)
        with until(ctx.deadline):
            for field, value, rule, message in islice(check(input, ""), limit):
                errors.append({"field": field, "value": value, "rule": rule, "message": message})
    for error in errors:
        key = f"{error['field']}.{error['rule']}"
        error["message"] = custom_messages.get(key, custom_messages.get(error["rule"], error["message"]))
    text = "valid" if not errors else "\n".join(f"{error['field'] or 'value'}: {error['message']}" for error in errors)
    metadata = {"rule_count": count, "error_count": len(errors)}
    return Result({"valid": not errors, "errors": errors}, text=text, metadata=metadata)


def _compiled(name: str, make: Any, given: Any) -> Any:
    try:
        return make(given)
    except ValidationError as error:
        raise violation(name, error.message, keyword="rule") from error


def _field(path: str) -> str:
    """Return the path of a violation in the form of the rules: `a.b[0]`, empty for the whole value."""
    return path.removeprefix("$").removeprefix(".")


def _at(value: Any, path: str) -> Any:
    """Return what stands at a path of `$.a[0]["odd key"]` form."""
    import re

    from llmspell.base.jsontext import loads

    for hit in re.finditer(r'\.([^.\[\]"]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*+")\]', path[1:]):
        key: Any = hit[1] if hit[1] is not None else int(hit[2]) if hit[2] is not None else loads(hit[3])
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value
