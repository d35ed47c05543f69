"""`Args`: typed access to the arguments of the script; `lane.arguments` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.base import arguments
from llmspell.errors import ValidationError

if TYPE_CHECKING:
    from llmspell.app import App
    from llmspell.base.arguments import Arguments

TYPES = {
    "string": "string", "integer": "integer", "int": "integer", "number": "number", "float": "number",
    "boolean": "boolean", "bool": "boolean", "list": "list", "array": "list",
}  # fmt: skip


class Global:
    """See the module."""

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane

    @property
    def _given(self) -> Arguments:
        given: Arguments = self._lane.arguments
        return given

    def lookup(self, key: str) -> Any:
        """Return the value of an argument, as `ARGS` does."""
        return self._given.script if key == "0" else self._given.get(key)

    def get(self, name: Any, default: Any = None) -> Any:
        """Return the value or `default`."""
        return self._given.get(_name(name, "get"), default)

    def int(self, name: Any, default: Any = None) -> Any:
        """Return the value as an integer."""
        value = self._given.get(_name(name, "int"))
        return default if value is None else arguments.integer(name, value)

    def number(self, name: Any, default: Any = None) -> Any:
        """Return the value as a number."""
        value = self._given.get(_name(name, "number"))
        return default if value is None else arguments.number(name, value)

    def bool(self, name: Any, default: Any = None) -> Any:
        """Return the value as a boolean."""
        value = self._given.get(_name(name, "bool"))
        return default if value is None else arguments.boolean(name, value)

    def list(self, name: Any, sep: str | None = None) -> Any:
        """Return the parts of the value between `sep`, an empty list when it is missing."""
        return _parts(self._given.get(_name(name, "list")), sep or ",")

    def all(self, name: Any) -> Any:
        """Return every value given under the name."""
        return self._given.values(_name(name, "all"))

    def has(self, name: Any) -> Any:
        """Return whether the argument was given."""
        return self._given.get(_name(name, "has")) is not None

    def require(self, name: Any) -> Any:
        """Return the value; raise when it is missing."""
        value = self._given.get(_name(name, "require"))
        if value is None:
            raise _missing(name)
        return value

    def positional(self) -> Any:
        """Return the positional values."""
        return self._given.positional

    def named(self) -> Any:
        """Return the named values."""
        return self._given.named

    def raw(self) -> Any:
        """Return the tokens as they were given."""
        return self._given.tokens

    def script(self) -> Any:
        """Return the file name of the script, nil without one."""
        return self._given.script

    def parse(self, spec: dict) -> Any:  # type: ignore[type-arg]  # the contract of globals reads bare words
        """Return name to value by `{name = {type, default?, required?, choices?}}`."""
        found = {}
        for name, rule in spec.items():
            value = self._parsed(name, {"type": rule} if isinstance(rule, str) else rule)
            if value is not None:
                found[name] = value
        return found

    def _parsed(self, name: str, rule: Any) -> Any:
        if not isinstance(rule, dict):
            raise ValidationError(f"the rule of argument '{name}' must be a table, got {type(rule).__name__}")
        kind = TYPES.get(rule.get("type", "string"))
        if kind is None:
            known = " ".join(sorted(TYPES))
            raise ValidationError(f"unknown type {rule['type']!r} of argument '{name}': expected one of {known}")
        value = self._given.get(name)
        if value is None:
            if rule.get("required"):
                raise _missing(name)
            return rule.get("default")
        value = _convert(name, kind, value)
        choices = rule.get("choices")
        if isinstance(choices, list) and any(item not in choices for item in (value if kind == "list" else [value])):
            allowed = ", ".join(str(choice) for choice in choices)
            raise ValidationError(
                f"Argument --{name} must be one of {allowed}, got {value!r}",
                code="invalid_argument",
                details={"field": name, "value": value, "allowed": choices},
            )
        return value


def _convert(name: str, kind: str, value: Any) -> Any:
    if kind == "integer":
        return arguments.integer(name, value)
    if kind == "number":
        return arguments.number(name, value)
    if kind == "boolean":
        return arguments.boolean(name, value)
    return _parts(value, ",") if kind == "list" else value


def _parts(value: Any, sep: str) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return list(value.split(sep.encode()))
    return list(value.split(sep)) if isinstance(value, str) else [value]


def _name(name: Any, function: str) -> Any:
    if isinstance(name, str) or (isinstance(name, int) and name is not True and name is not False):
        return name
    raise ValidationError(f"bad argument #1 to 'Args.{function}' (string expected, got {type(name).__name__})")


def _missing(name: Any) -> ValidationError:
    return ValidationError(f"Missing argument: --{name}", code="missing_argument", details={"field": str(name)})
