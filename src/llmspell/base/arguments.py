"""Arguments of a script: tokens of a command line, or a mapping or list given by a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmspell.errors import ValidationError

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})


class Arguments:
    """Parsed arguments of one run.

    script: file name without folders, or None. tokens: as given. positional: values in order. named: key to last
    value. all: key to every value. Values from tokens are text, or bytes where they are not valid UTF-8; values from
    a program keep their type.
    """

    __slots__ = ("all", "named", "positional", "script", "tokens")

    def __init__(self, script: str | None = None, tokens: Iterable[str | bytes] = ()) -> None:
        self.script = script
        self.tokens = [_exact(token) for token in tokens]
        self.positional: list[Any] = []
        self.named: dict[str, Any] = {}
        self.all: dict[str, list[Any]] = {}
        self._parse()

    @classmethod
    def of(cls, given: Mapping[str, Any] | Iterable[Any] | None, *, script: str | None = None) -> Arguments:
        """Return the arguments that a program gave: a mapping becomes named values, a list positional ones."""
        made = cls(script)
        if isinstance(given, Mapping):
            for key, value in given.items():
                values = list(value) if isinstance(value, list | tuple) else [value]
                made.all[str(key)] = values
                if values:
                    made.named[str(key)] = values[-1]
            made.tokens = [f"--{key}={_text(value)}" for key, values in made.all.items() for value in values]
        else:
            made.positional = list(given or ())
            made.tokens = [value if isinstance(value, bytes) else _text(value) for value in made.positional]
        return made

    def get(self, name: str | int, default: Any = None) -> Any:
        """Return a named value (`-` may be written `_`), a positional one by number, or `default`."""
        key = self.key(name)
        if key is not None:
            return self.named[key]
        number = int(name) if isinstance(name, int) or (name.isascii() and name.isdigit() and len(name) < 10) else 0
        return self.positional[number - 1] if 1 <= number <= len(self.positional) else default

    def key(self, name: str | int) -> str | None:
        """Return the key under which `name` was given, or None."""
        text = str(name)
        if text in self.named:
            return text
        return next((key for key in self.named if key.replace("-", "_") == text), None)

    def values(self, name: str | int) -> list[Any]:
        """Return every value of `name`, in the order given."""
        key = self.key(name)
        if key is not None:
            return list(self.all[key])
        value = self.get(name)
        return [] if value is None else [value]

    def _parse(self) -> None:
        separators, at = 0, 0
        while at < len(self.tokens):
            item = self.tokens[at]
            at += 1
            if item == "--":
                separators += 1
                if separators > 1:
                    self.positional.extend(self.tokens[at:])
                    return
                continue
            key, mark, value = _split(item)
            if not key:
                self.positional.append(item)
            elif mark:
                self._name(key, value)
            elif at < len(self.tokens) and not _starts(self.tokens[at]):
                self._name(key, self.tokens[at])
                at += 1
            else:
                self._name(key, "true")

    def _name(self, key: str, value: str | bytes) -> None:
        self.named[key] = value
        self.all.setdefault(key, []).append(value)


def integer(name: str | int, value: Any) -> int:
    """Return the value as an integer. Raises ValidationError."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 20:
        digits = value.strip()
        if digits.lstrip("+-").isdigit() and digits.isascii() and len(digits) - len(digits.lstrip("+-")) <= 1:
            number = int(digits)
            if -(2**63) <= number < 2**63:
                return number
    raise _bad(name, "an integer", value)


def number(name: str | int, value: Any) -> int | float:
    """Return the value as a number; text of an integer gives an integer. Raises ValidationError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return integer(name, value)
        except ValidationError:
            try:
                if "_" not in value:
                    return float(value)
            except ValueError:
                raise _bad(name, "a number", value) from None
    raise _bad(name, "a number", value)


def boolean(name: str | int, value: Any) -> bool:
    """Return the value as a boolean: `true 1 yes on`, `false 0 no off` in any case. Raises ValidationError."""
    if isinstance(value, bool):
        return value
    word = _text(value).lower() if isinstance(value, str | int) else ""
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise _bad(name, "a boolean (true 1 yes on, false 0 no off)", value)


def _bad(name: str | int, expected: str, value: Any) -> ValidationError:
    shown = _text(value)
    return ValidationError(
        f'Argument --{name} must be {expected}, got "{shown}"',
        code="invalid_argument",
        details={"field": str(name), "value": value},
    )


def _exact(token: str | bytes) -> str | bytes:
    """Return text, or the very bytes where the token is not valid UTF-8 (also undone from surrogate escapes)."""
    raw = token if isinstance(token, bytes) else token.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _starts(token: str | bytes) -> bool:
    return token.startswith("--") if isinstance(token, str) else token.startswith(b"--")


def _split(token: str | bytes) -> tuple[str, bool, str | bytes]:
    """Return key, whether a value is attached, and the value; the key is empty when the token names nothing."""
    raw = token.encode() if isinstance(token, str) else token
    if not raw.startswith(b"--"):
        return "", False, b""
    key, mark, value = raw[2:].partition(b"=")
    try:
        return key.decode("utf-8"), bool(mark), _exact(value)
    except UnicodeDecodeError:
        return "", False, b""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
