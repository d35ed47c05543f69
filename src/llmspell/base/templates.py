"""Text templates of callers, rendered without giving them anything but the values they came with.

Jinja runs in its immutable sandbox with more taken away: no attribute that starts with an underscore, no call but of
what the template itself defines and a few functions of ours, no loader, and a budget of steps, output and time that is
counted inside loops, so that a template that would run for ever ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmspell.base._handlebars import Handlebars
from llmspell.base._rendering import Sink, TemplateError
from llmspell.base.clock import monotonic

MAX_TEMPLATE = 1024 * 1024
ENGINES = {"jinja": "jinja", "jinja2": "jinja", "tera": "jinja", "handlebars": "handlebars", "hbs": "handlebars",
           "mustache": "mustache", "plain": "plain"}  # fmt: skip
_HTML = re.compile(r"<[A-Za-z!/][^<>]{0,1000}>")

__all__ = ["ENGINES", "TemplateError", "detect", "looks_like_html", "render", "variables"]


def detect(source: str) -> str:
    """Return the engine a template is written for: `{%` jinja, `{{#` or `{{{` handlebars, else jinja."""
    if "{%" in source:
        return "jinja"
    return "handlebars" if "{{#" in source or "{{{" in source else "jinja"


def looks_like_html(source: str) -> bool:
    """Return whether a template contains an HTML tag."""
    return _HTML.search(source) is not None


def render(
    source: str,
    values: Mapping[str, Any],
    engine: str,
    *,
    autoescape: bool = False,
    strict: bool = False,
    limit_s: float = 5.0,
) -> str:
    """Return the rendered text; engine is `jinja`, `handlebars`, `mustache` or `plain`.

    Raises TemplateError (code `template_syntax` or `undefined_variable`), LimitExceeded, TimeoutError.
    """
    sink = Sink(monotonic() + limit_s)
    if engine == "plain":
        return source
    if engine == "jinja":
        from llmspell.base._jinja import render_jinja

        render_jinja(source, values, sink, autoescape=autoescape, strict=strict)
    else:
        parsed = Handlebars(source, mustache=engine == "mustache")
        parsed.render(values, sink.write, escape=autoescape, strict=strict)
    return "".join(sink.parts)


def variables(source: str, engine: str) -> list[str]:
    """Return the names a template needs, sorted. Raises TemplateError."""
    if engine == "plain":
        return []
    if engine == "jinja":
        from llmspell.base._jinja import jinja_variables

        return jinja_variables(source)
    return sorted(Handlebars(source, mustache=engine == "mustache").variables)
