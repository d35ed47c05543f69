"""Render text templates: jinja in a sandbox, handlebars and mustache without evaluation, or plain text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from llmspell.base.templates import (
    ENGINES,
    MAX_TEMPLATE,
    TemplateError,
    detect,
    looks_like_html,
    render,
    variables,
)
from llmspell.tools._base import Case, P, Result, ToolContext, ToolFailure, ToolHeader, operation

LIMIT_S = 5.0
EngineName = Literal["auto", "jinja", "handlebars", "mustache", "plain", "jinja2", "tera", "hbs"]

Input = Annotated[str, P("The template", max_length=MAX_TEMPLATE, aliases=("template",))]
Engine = Annotated[EngineName, P("Template language")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="render",
    aliases=("template_creator", "template"),
    timeout_ms=10_000,
    text="rendered",
    tests=(
        Case(
            "jinja",
            {
                "input": "Hi {{ name }}{% for i in items %} {{ i }}{% endfor %}",
                "context": {"name": "Ann", "items": [1, 2]},
            },
            {
                "operation": "render_template",
                "result": {"rendered": "Hi Ann 1 2", "engine": "jinja"},
                "text": "Hi Ann 1 2",
            },
        ),
        Case(
            "handlebars",
            {"input": "{{#each l}}{{@index}}{{this}}{{/each}}", "context": {"l": ["a", "b"]}},
            {"result": {"rendered": "0a1b", "engine": "handlebars"}},
        ),
        Case(
            "mustache",
            {"input": "{{#on}}yes{{/on}}{{^on}}no{{/on}}", "engine": "mustache", "context": {"on": False}},
            {"result": {"rendered": "no"}},
        ),
        Case("refused", {"input": "{{ ''.__class__ }}"}, {"success": False, "error": {"code": "template_error"}}),
        Case(
            "validate",
            {"operation": "validate", "input": "{% if a %}{{ b }}{% endif %}"},
            {"result": {"valid": True, "variables": ["a", "b"]}},
        ),
        Case("syntax", {"input": "a\n{{ b"}, {"success": False, "error": {"code": "template_syntax"}}),
    ),
)


@operation("render", label="render_template")
def render_template(
    input: Input,  # noqa: A002 - the parameter's published name
    context: Annotated[dict[str, Any], P("Values of the template", aliases=("variables",))] = {},  # noqa: B006 - never changed
    engine: Engine = "auto",
    auto_detect: Annotated[bool, P("With engine auto: look at the template; else jinja")] = True,
    autoescape: Annotated[bool | Literal["auto", "true", "false"], P("Escape HTML; auto: when a tag occurs")] = "auto",
    strict: Annotated[bool, P("A missing variable is an error")] = False,
    *,
    ctx: ToolContext,
) -> dict[str, Any]:
    """Render a template."""
    from llmspell.base.jsontext import dumps

    kind = _engine(input, engine, auto_detect)
    escape = looks_like_html(input) if autoescape == "auto" else autoescape in (True, "true")
    limit_s = min(LIMIT_S, ctx.remaining_s())
    try:
        text = render(input, context, kind, autoescape=escape, strict=strict, limit_s=limit_s)
    except TemplateError as error:
        raise _failure(error) from error
    return {
        "rendered": text,
        "engine": kind if engine == "auto" else engine,
        "template_length": len(input),
        "context_size": len(dumps(context, nan="null")),
    }


@operation("validate", text="valid")
def validate(
    input: Input,  # noqa: A002 - the parameter's published name
    engine: Engine = "auto",
) -> Result:
    """Check a template without rendering it."""
    kind = _engine(input, engine, True)
    try:
        names = variables(input, kind)
    except TemplateError as error:
        found = {"valid": False, "error": error.message, "variables": []}
        return Result(found | ({} if error.line is None else {"line": error.line}), text=error.message)
    return Result({"valid": True, "variables": names}, text="valid")


def _engine(source: str, engine: str, auto_detect: bool) -> str:
    if engine != "auto":
        return ENGINES[engine]
    return detect(source) if auto_detect else "jinja"


def _failure(error: TemplateError) -> ToolFailure:
    where = "" if error.line is None else f" at line {error.line}"
    details = {} if error.line is None else {"line": error.line}
    return ToolFailure(error.code, f"template: {error.message}{where}", details, error_kind="validation")
