"""From a `Global` class to functions a script can call: names, aliases, and the check of arguments.

The annotations are read as text (`from __future__ import annotations`), so that binding needs no `inspect` and no
`typing`: `str`, `int`, `float`, `bool`, `dict`, `list`, `Function`, each also `| None`; other words take any value.
"""

from __future__ import annotations

from llmspell.errors import ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WORDS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "dict": "table",
    "list": "table",
    "Function": "function",
}
MISSING = object()


def lua_type(value: object) -> str:
    """Return the Lua type name of a converted value."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, (str, bytes)):
        return "string"
    if isinstance(value, (dict, list)):
        return "table"
    return "function" if callable(value) else type(value).__name__


def coerce(value: Any, word: str) -> Any:
    """Return `value` as the annotated `word` takes it, or MISSING when it does not fit."""
    if word == "str":
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return f"{value:.14g}" if isinstance(value, float) else MISSING
    if word == "float":
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else MISSING
    if word == "int":
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else MISSING
    if word == "bool":
        return value if isinstance(value, bool) else MISSING
    if word == "dict":
        return value if isinstance(value, dict) else MISSING
    if word == "list":
        if isinstance(value, dict) and not value:
            return []
        return value if isinstance(value, list) else MISSING
    return value if callable(value) else MISSING


class Method:
    """One bound function: `call(args)` checks a list of converted arguments and runs it."""

    __slots__ = ("checks", "defaults", "function", "functions", "label", "most", "offset", "required")

    def __init__(self, function: Callable[..., Any], label: str, *, plain: bool = False, handle: bool = False) -> None:
        target = getattr(function, "__func__", function)
        code = target.__code__
        names = code.co_varnames[1 : code.co_argcount]
        defaults = target.__defaults__ or ()
        self.function = function
        self.label = label
        self.offset = 0 if handle else 1
        self.required = len(names) - len(defaults)
        self.defaults = dict(zip(range(self.required, len(names)), defaults, strict=True))
        self.most = None if code.co_flags & 0x04 else len(names)
        notes = target.__annotations__
        checks = []
        for i, name in enumerate(names):
            words = [part.strip().partition("[")[0] for part in str(notes.get(name, "Any")).split("|")]
            known = [word for word in words if word in WORDS]
            if known and len(known) + words.count("None") == len(words):
                checks.append((i, known, "None" in words))
        self.checks = checks
        self.functions = not plain

    def call(self, args: list[Any]) -> Any:
        """Check `args` and call. Raises ValidationError naming the argument."""
        n = len(args)
        if self.most is not None and n > self.most:
            del args[self.most :]
            n = self.most
        while n < self.required:
            args.append(None)
            n += 1
        for i, words, optional in self.checks:
            if i >= n:
                break
            value = args[i]
            if value is None:
                if i in self.defaults:
                    args[i] = self.defaults[i]
                elif not optional:
                    self._refuse(i, words, value)
                continue
            for word in words:
                fitting = coerce(value, word)
                if fitting is not MISSING:
                    args[i] = fitting
                    break
            else:
                self._refuse(i, words, value)
        return self.function(*args)

    def _refuse(self, i: int, words: list[str], value: object) -> None:
        wanted = " or ".join(dict.fromkeys(WORDS[word] for word in words))
        got = lua_type(value)
        if isinstance(value, bytes) and "str" in words:
            got = "string that is not UTF-8"
        raise ValidationError(
            f"bad argument #{i + self.offset} to '{self.label}' ({wanted} expected, got {got})",
            code="bad_argument",
            details={"field": str(i + self.offset)},
        )


def public_methods(owner: object, label: str, *, handle: bool = False) -> dict[str, Method]:
    """Return the functions of a global or of a class of handle methods, aliases included.

    A class attribute `plain` (True, or a set of method names) refuses functions inside the arguments.
    """
    cls = type(owner)
    plain = getattr(cls, "plain", False)
    methods: dict[str, Method] = {}
    for name in dir(cls):
        if name.startswith("_") or name == "lookup":
            continue
        attribute = getattr(owner, name)
        if not callable(attribute) or isinstance(attribute, type) or not hasattr(attribute, "__func__"):
            continue
        shown = name.rstrip("_")
        refuse = plain if isinstance(plain, bool) else shown in plain
        separator = ":" if handle else "."
        methods[shown] = Method(attribute, f"{label}{separator}{shown}", plain=refuse, handle=handle)
    for alias, target in getattr(cls, "aliases", {}).items():
        methods[alias] = methods[target.rstrip("_")]
    return methods
