"""`JSON`: text to values and back, jq, JSON Schema, merge patch; identity and tags are in `json.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, UnsupportedType

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import ClassVar

    from llmspell.app import App

QUERY_TIMEOUT_S = 10.0
MAX_INDENT = 16


class Global:
    """See the module."""

    plain: ClassVar[bool] = True
    aliases: ClassVar[dict[str, str]] = {"decode": "parse", "encode": "stringify", "jq": "query"}

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app

    def parse(self, text: str, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # contract: bare words
        """Return the value of one JSON text. Options: `null` (what stands for null), `max_depth`."""
        from llmspell.base.jsontext import loads

        given = options or {}
        value = loads(text, max_depth=_integer(given, "max_depth", 128))
        null = given.get("null")
        return value if null is None else _replace_null(value, null)

    def stringify(self, value: Any = None, options: dict | None = None) -> str:  # type: ignore[type-arg]  # contract
        """Return JSON text; options `pretty`, `indent`, `sort_keys`, `nan`, `ascii`."""
        from llmspell.base.jsontext import dumps

        given = options or {}
        indent = _indent(given) if given.get("pretty", "indent" in given) else None
        return dumps(
            value,
            indent=indent,
            sort_keys=given.get("sort_keys", True) is not False,
            nan=given.get("nan", "error"),
            ascii_only=bool(given.get("ascii", False)),
        )

    def pretty(self, value: Any = None, indent: int | None = None) -> str:
        """Return indented JSON text."""
        return self.stringify(value, {"pretty": True, "indent": 2 if indent is None else indent})

    def query(self, value: Any, program: str) -> list[Any] | Awaitable[list[Any]]:
        """Return the list of outputs of a jq program; a value that is text is read as JSON."""
        from llmspell.base.jq import query_now, run_jq

        data = self._data(value)
        found = query_now(program, data)
        return run_jq(program, data, timeout_s=QUERY_TIMEOUT_S) if found is None else found

    async def query_one(self, value: Any, program: str) -> Any:
        """Return the first output, or nil."""
        from llmspell.base.jq import run_jq

        found = await run_jq(program, self._data(value), timeout_s=QUERY_TIMEOUT_S)
        return found[0] if found else None

    def validate(self, value: Any, schema: Any) -> tuple[bool, list[dict[str, Any]]]:
        """Return whether the value fits the JSON Schema, and the violations."""
        from llmspell.base.jsonschema import Checker

        found = Checker(schema).violations(value)
        return not found, found

    def diff(self, a: Any = None, b: Any = None) -> list[dict[str, Any]]:
        """Return the differences `{path, description, left, right, kind}` from `a` to `b`."""
        from llmspell.base.jsondiff import differences

        return differences(a, b)

    def merge_patch(self, value: Any = None, patch: Any = None) -> Any:
        """Return `value` with the patch applied. Source: RFC 7396."""
        return _merge_patch(value, patch)

    @staticmethod
    def _data(value: Any) -> Any:
        from llmspell.base.jsontext import loads

        if isinstance(value, bytes):
            raise UnsupportedType("cannot query a string that is not valid UTF-8: JSON text or a value is expected")
        return loads(value) if isinstance(value, str) else value


def _integer(options: dict[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"option '{name}' must be an integer", details={"name": name})
    return value


def _indent(options: dict[str, Any]) -> int:
    indent = _integer(options, "indent", 2)
    if not 0 <= indent <= MAX_INDENT:
        raise InvalidArgument(f"option 'indent' must be between 0 and {MAX_INDENT}, got {indent}")
    return indent


def _replace_null(value: Any, null: Any) -> Any:
    """Put `null` in the place of every null; the word `nil` removes members and leaves list items."""
    if value is None:
        return None if null == "nil" else null
    if isinstance(value, list):
        return [item if item is None and null == "nil" else _replace_null(item, null) for item in value]
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None or null != "nil"}
        return {key: _replace_null(item, null) for key, item in kept.items()}
    return value


def _merge_patch(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_patch(merged.get(key), item)
    return merged
