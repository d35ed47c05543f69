"""Jinja templates of callers: the immutable sandbox, with calls, attributes and sizes cut down further.

What may be called: macros, blocks, `loop`, `cycler`, `joiner`, `range`, `dict`, `namespace`. Plain data has members and
no methods. Loops and macros count time, and whatever could make a small template huge is measured before it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from jinja2 import nodes, runtime
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import escape

from llmspell.base._rendering import Sink, TemplateError

MAX_TEXT = 10 * 1024 * 1024
MAX_ITEMS = 1_000_000
MAX_NUMBER_BITS = 4096
MAX_WIDTH = 10_000
GONE = ("attr", "format", "pprint", "xmlattr", "urlize")
NARROW = ("center", "indent", "batch", "slice", "tojson", "wordwrap", "round", "truncate")
_CALLABLE = (runtime.Macro, runtime.LoopContext, runtime.BlockReference)
_OWNERS = (runtime.LoopContext, Cycler, Joiner)


class _Range:
    """`range`, without an address in its text."""

    def __call__(self, *args: int) -> range:
        return safe_range(*args)

    def __repr__(self) -> str:
        return "range"


class _Cycler(Cycler):
    def __repr__(self) -> str:
        return "cycler"


class _Joiner(Joiner):
    def __repr__(self) -> str:
        return "joiner"


_GLOBALS: dict[str, Any] = {
    "range": _Range(), "dict": dict, "namespace": Namespace, "cycler": _Cycler, "joiner": _Joiner
}  # fmt: skip


def render_jinja(source: str, values: Mapping[str, Any], sink: Sink, *, autoescape: bool, strict: bool) -> None:
    """Render into the sink. Raises TemplateError."""
    environment = _Environment(sink, autoescape=autoescape, strict=strict)
    try:
        for piece in environment.from_string(source).generate(dict(values)):
            sink.write(piece)
    except jinja2.UndefinedError as error:
        raise TemplateError(str(error), code="undefined_variable") from error
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(error.message or "bad syntax", error.lineno) from error
    except RecursionError as error:
        raise TemplateError("it is nested too deeply or calls itself without end", code="template_error") from error
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        MemoryError,
    ) as error:
        raise TemplateError(str(error) or type(error).__name__, code="template_error") from error


def jinja_variables(source: str) -> list[str]:
    """Return the names a template needs, sorted. Raises TemplateError."""
    from jinja2 import meta

    try:
        environment = _Environment(None, autoescape=False, strict=False)
        tree = environment.parse(source)
        # Compiling finds what parsing leaves: unknown filters and tests, doubled blocks.
        environment.compile(source)
        return sorted(meta.find_undeclared_variables(tree) - set(environment.globals))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(error.message or "bad syntax", error.lineno) from error
    except (RecursionError, MemoryError) as error:
        raise TemplateError("it is nested too deeply") from error


def _checked_concat(parts: Iterable[str]) -> str:
    pieces = list(parts)
    _limit(sum(map(len, pieces)))
    return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """One rendering's environment; jinja calls the methods here from compiled templates."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "/", "-"})
    concat = staticmethod(_checked_concat)

    def __init__(self, sink: Sink | None, *, autoescape: bool, strict: bool) -> None:
        undefined = jinja2.StrictUndefined if strict else jinja2.ChainableUndefined
        super().__init__(autoescape=autoescape, undefined=undefined, optimized=False, cache_size=0)
        self._sink = sink
        self.globals = dict(_GLOBALS)
        self.finalize = _shown
        filters = {name: fn for name, fn in self.filters.items() if name not in GONE}
        filters |= {name: _narrowed(filters[name]) for name in NARROW}
        self.filters = filters | {"replace": _replace, "join": _join, "list": _list}

    def tick(self) -> str:
        """Count one turn of a loop or one call of a macro."""
        if self._sink is not None:
            self._sink.tick()
        return ""

    def glue(self, *parts: Any) -> str:
        """Join the operands of `~`."""
        _limit(sum(len(part) for part in parts if isinstance(part, str)))
        markup = [part for part in parts if hasattr(part, "__html__")]
        joined: str = (runtime.markup_join if markup else runtime.str_join)(parts)
        return joined

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for banned in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            word = type(banned).__name__.lower()
            raise jinja2.TemplateSyntaxError(f"'{word}' is not available: there is no template but this", banned.lineno)
        for body in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            statements: list[nodes.Node] = getattr(body, "body", [])
            statements.insert(0, nodes.ExprStmt(_own_call("tick", [], body.lineno), lineno=body.lineno))
        for joined in list(tree.find_all(nodes.Concat)):
            # The node itself becomes the operand of a join with one part, the call that measures first.
            joined.nodes = [_own_call("glue", joined.nodes, joined.lineno)]
        tree.set_environment(self)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow public attributes of template objects; plain data has none."""
        return not attr.startswith("_") and isinstance(
            obj, (*_OWNERS, runtime.Macro, runtime.TemplateReference, Namespace)
        )

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow what belongs to the template language."""
        if isinstance(obj, _CALLABLE) or any(obj is known for known in _GLOBALS.values()):
            return True
        owner = getattr(obj, "__self__", None)
        return isinstance(owner, _OWNERS) or (owner is self and getattr(obj, "__name__", "") in ("tick", "glue"))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Refuse at once: an undefined value would let the rest of the template go on around the attempt."""
        raise SecurityError(f"access to '{attribute}' is not available")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up `obj.name`: the member of a map, else an allowed attribute."""
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self._missing(obj, attribute)
        if isinstance(obj, str | int | float | list | tuple | None):
            return self._missing(obj, attribute)
        return self._of_undefined(obj, attribute) if _is_undefined(obj) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up `obj[x]`: the member of a map or list, else an allowed attribute."""
        if isinstance(obj, Mapping):
            known = isinstance(argument, str | int | float) and argument in obj
            return obj[argument] if known else self._missing(obj, argument)
        if isinstance(obj, str | list | tuple):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return self._missing(obj, argument)
        if isinstance(obj, int | float | None):
            return self._missing(obj, argument)
        return self._of_undefined(obj, argument) if _is_undefined(obj) else super().getitem(obj, argument)

    def _of_undefined(self, obj: Any, name: Any) -> Any:
        """Return the member of a missing value: missing too, or the error that strict ones raise."""
        if isinstance(name, str) and name.startswith("_"):
            self.unsafe_undefined(obj, name)
        return obj[name]

    def _missing(self, obj: Any, name: Any) -> Any:
        if isinstance(name, str) and name.startswith("_"):
            self.unsafe_undefined(obj, name)
        return self.undefined(obj=obj, name=name)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Measure the result of an operator first, then compute it."""
        sizes = [len(side) for side in (left, right) if isinstance(side, str | list | tuple)]
        numbers = [side for side in (left, right) if isinstance(side, int)]
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text formatting with % is not available: use ~")
        if operator == "+":
            _limit(sum(sizes))
        elif operator == "*" and sizes:
            _limit(sizes[0] * max([0, *numbers]))
        elif operator in ("*", "**") and len(numbers) == 2:
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MAX_NUMBER_BITS:
                raise SecurityError("a number grew too large")
        return super().call_binop(context, operator, left, right)


def _is_undefined(value: Any) -> bool:
    return isinstance(value, jinja2.Undefined)


def _shown(value: Any) -> Any:
    if hasattr(value, "__next__"):
        raise SecurityError("a sequence that is not made yet has no text: add |list or |join")
    return value


def _own_call(name: str, arguments: list[Any], line: int) -> nodes.Call:
    target = nodes.EnvironmentAttribute(name, lineno=line)
    return nodes.Call(target, arguments, [], None, None, lineno=line)


def _limit(size: int) -> None:
    if size > MAX_TEXT:
        raise SecurityError(f"a text grew beyond {MAX_TEXT} characters")


def _narrowed(fn: Any) -> Any:
    """Return the filter with its numbers limited: a width of a milliard is no layout."""
    from functools import wraps

    @wraps(fn)
    def limited(*args: Any, **options: Any) -> Any:
        for value in (*args[1:], *options.values()):
            if isinstance(value, int | float) and abs(value) > MAX_WIDTH:
                raise SecurityError(f"numbers for this filter end at {MAX_WIDTH}")
        return fn(*args, **options)

    return limited


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = str(value), str(old), str(new)
    times = text.count(old) if count is None else min(text.count(old), count)
    _limit(len(text) + max(0, times) * len(new))
    return text.replace(old, new, -1 if count is None else count)


@jinja2.pass_environment
def _join(environment: Any, value: Any, d: Any = "", attribute: Any = None) -> str:
    items = _list(value)
    if attribute is not None:
        items = [environment.getitem(item, attribute) for item in items]
    texts = [item if isinstance(item, str) else str(item) for item in items]
    _limit(sum(map(len, texts)) + len(str(d)) * len(texts))
    if environment.autoescape:
        return escape(d).join(texts)
    return str(d).join(texts)


def _list(value: Any) -> list[Any]:
    from itertools import islice

    items = list(islice(value, MAX_ITEMS + 1))
    if len(items) > MAX_ITEMS:
        raise SecurityError(f"a list grew beyond {MAX_ITEMS} items")
    return items
