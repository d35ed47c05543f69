"""JSON Schema checks of values and schemas that callers bring: no reference ever leaves the schema itself."""

from __future__ import annotations

from typing import Any

from llmspell.errors import ValidationError


class Checker:
    """A compiled schema; the draft is that of `$schema`, else 2020-12. Formats are asserted.

    Raises ValidationError (code `bad_schema`) when the schema is not one or refers to something outside.
    """

    def __init__(self, schema: Any) -> None:
        import jsonschema_rs

        if not isinstance(schema, dict | bool):
            raise ValidationError("a JSON schema must be an object", code="bad_schema")
        try:
            # fancy-regex backtracks; its limit turns a hostile pattern into a mismatch instead of a hang.
            self._validator = jsonschema_rs.validator_for(
                schema,
                validate_formats=True,
                retriever=_refuse,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, OverflowError) as error:
            reason = str(error).split("\n", 1)[0]
            raise ValidationError(f"bad JSON schema: {reason}", code="bad_schema") from error

    def violations(self, value: Any, limit: int = 100) -> list[dict[str, Any]]:
        """Return up to `limit` violations `{path, message, keyword}` with paths such as `$.a[0]`."""
        from itertools import islice

        try:
            found = list(islice(self._validator.iter_errors(value), limit))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValidationError(f"the value is not JSON data: {error}") from error
        return [
            {
                "path": _path(error.instance_path),
                "message": error.message if len(error.message) <= 500 else error.message[:497] + "...",
                "keyword": _keyword(error.schema_path),
            }
            for error in found
        ]


def _refuse(uri: str) -> Any:
    raise ValueError(f"references outside the schema are not followed ({uri})")


def _path(parts: Any) -> str:
    from llmspell.base.jsontext import child_path

    path = "$"
    for part in parts:
        path = child_path(path, part)
    return path


def _keyword(parts: Any) -> str:
    words = [part for part in parts if isinstance(part, str)]
    return words[-1] if words else "false"
