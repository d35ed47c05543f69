"""Structured answers: taking the JSON value out of a model's text, checking it, and asking for a repair."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.errors import ValidationError

STARTS = frozenset('{["-0123456789tfn')
FENCE = "```"
MAX_PROBLEMS = 20
"""How many violations the model is told at once."""


def parse(text: str) -> Any:
    """Return the value when `text` is one complete JSON value, else None."""
    stripped = text.strip()
    if not stripped or stripped[0] not in STARTS:
        return None
    try:
        return msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        return None


def extract(text: str) -> Any:
    """Return the JSON value in a model's answer: the whole text, a fenced block, or the first object or array in it.

    Raises ValueError when there is none.
    """
    stripped = text.strip()
    for candidate in (stripped, _fenced(stripped)):
        if candidate:
            try:
                return msgspec.json.decode(candidate)
            except (msgspec.DecodeError, RecursionError):
                continue
    return _embedded(stripped)


def _fenced(text: str) -> str:
    start = text.find(FENCE)
    end = text.rfind(FENCE)
    if start < 0 or end <= start:
        return ""
    body = text[start + len(FENCE) : end]
    head, newline, rest = body.partition("\n")
    return rest.strip() if newline and head.strip().isalnum() else body.strip()


def _embedded(text: str) -> Any:
    import json

    decoder = json.JSONDecoder()
    for position, letter in enumerate(text):
        if letter in "{[":
            try:
                return decoder.raw_decode(text, position)[0]
            except (ValueError, RecursionError):
                continue
    raise ValueError("no JSON value found")


class Schema:
    """A JSON schema that judges answers. Raises ValidationError when it is none or refers to something outside."""

    __slots__ = ("_checker",)

    def __init__(self, schema: dict[str, Any]) -> None:
        from llmspell.base.jsonschema import Checker

        try:
            self._checker = Checker(schema)
        except ValidationError as error:
            error.details.setdefault("field", "output_schema")
            raise

    def judge(self, text: str) -> tuple[Any, list[str]]:
        """Return the value of an answer and what is wrong with it (nothing: an empty list)."""
        try:
            value = extract(text)
        except ValueError as error:
            return None, [str(error)]
        return value, [
            f"{found['path']}: {found['message']}" for found in self._checker.violations(value, MAX_PROBLEMS)
        ]


def repair_prompt(problems: list[str]) -> str:
    """Return the message that asks the model to correct its answer."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return f"Your answer does not fit the required JSON schema:\n{listed}\nAnswer again with the corrected JSON only."


def failed(text: str, problems: list[str], turns: int) -> ValidationError:
    """Return the error of an answer that never fitted."""
    return ValidationError(
        f"the answer does not fit output_schema after {turns} repair turns: {problems[0]}",
        code="output_schema",
        details={"field": "output_schema", "text": text, "errors": problems},
    )


def dump(value: Any) -> str:
    """Return `value` as compact JSON text."""
    return msgspec.json.encode(value).decode()
