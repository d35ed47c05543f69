"""`Display`: what a spell shows, in its text form on standard output; progress goes to standard error.

`display(x)` itself is in `display.lua`, because only Lua can see metafields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from llmspell.errors import InvalidArgument, NotFound, SecurityError, UnsupportedType
from llmspell.lua.globals._base import Handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell.app import App

IMAGES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
MAX_KEPT = 10_000
MAX_IMAGE_BYTES = 64 * 1024 * 1024


class Displays:
    """The displays of one lane: how each is rendered again, by id."""

    def __init__(self) -> None:
        self.renderers: dict[str, Callable[..., str]] = {}
        self.bars: dict[str, Bar] = {}


class Bar:
    """State of one progress display."""

    def __init__(self, total: int | float, label: str) -> None:
        self.total = total
        self.done: int | float = 0
        self.label = label
        self.shown: str | None = None
        self.closed = False

    def line(self) -> str:
        """Return the text form: label, percent and counts."""
        share = min(1.0, max(0.0, self.done / self.total)) if self.total else 1.0
        head = f"{self.label} " if self.label else ""
        done, total = _forms().lua_number(self.done), _forms().lua_number(self.total)
        return f"{head}{int(share * 100):3d}% {done}/{total}"


class DisplayMethods:
    """Methods of what a `Display` function returns."""

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane
        self._kept = kept(lane)

    def update(self, ident: str, value: Any = None, *rest: Any) -> None:
        """Show a new value in the place of the old one: in text output the new text form follows."""
        render = self._kept.renderers.get(ident)
        if render is None:
            raise NotFound(f"the display '{ident}' was cleared", details={"id": ident})
        options = (rest[0] if rest and isinstance(rest[0], dict) else {},) if render is _forms().table else ()
        put(self._lane, render(value, *options))

    def clear(self, ident: str) -> None:
        """Forget the display; text that was written stays."""
        self._kept.renderers.pop(ident, None)


class ProgressMethods:
    """Methods of a progress display; iterating is in `display.lua`."""

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane
        self._kept = kept(lane)

    def update(self, ident: str, n: float, label: str | None = None) -> None:
        """Set how much is done."""
        self._move(ident, n, label)

    def advance(self, ident: str, k: float | None = None) -> None:
        """Add to how much is done, 1 if not given."""
        bar = self._kept.bars.get(ident)
        if bar is not None:
            self._move(ident, bar.done + (1 if k is None else k))

    def close(self, ident: str) -> None:
        """End the display."""
        self._kept.bars.pop(ident, None)

    def clear(self, ident: str) -> None:
        """End the display."""
        self.close(ident)

    def _move(self, ident: str, done: float, label: str | None = None) -> None:
        bar = self._kept.bars.get(ident)
        if bar is None:
            return
        bar.done = done
        bar.label = bar.label if label is None else label
        # One line per whole percent: a loop of a million steps must not write a million lines.
        share = f"{bar.label}\0{int(100 * done / bar.total) if bar.total else 100}"
        if share != bar.shown:
            bar.shown = share
            self._lane.write("stderr", f"{bar.line()}\n".encode())


class Global:
    """See the module."""

    handles: ClassVar[dict[str, type]] = {"display": DisplayMethods, "progress": ProgressMethods}

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._lane = lane
        self._kept = kept(lane)

    def html(self, s: str, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract: bare words
        """Show HTML: its text without tags."""
        return self._show(_forms().strip_tags, s, options)

    def markdown(self, s: str, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show Markdown: its source."""
        return self._show(str, s, options)

    def text(self, s: Any, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show plain text."""
        return self._show(_forms().cell, s, options)

    def latex(self, s: str, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show LaTeX: its source."""
        return self._show(str, s, options)

    def javascript(self, s: str, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show JavaScript: its source."""
        return self._show(str, s, options)

    def json(self, v: Any = None, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show a value as indented JSON."""
        return self._show(_forms().pretty, v, options)

    def png(self, data: Any, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show a PNG image: bytes, or the path of a file."""
        return self._show(lambda given: self._image("image/png", given), data, options)

    def jpeg(self, data: Any, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show a JPEG image: bytes, or the path of a file."""
        return self._show(lambda given: self._image("image/jpeg", given), data, options)

    def svg(self, s: str, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show an SVG image."""
        return self._show(_forms().svg, s, options)

    def table(self, rows: list, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show rows as padded columns; options `columns`, `max_rows`."""
        return self._show(_forms().table, rows, options, dict(options or {}))

    def plot(self, spec: dict, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show a plot by its Vega-Lite description, or by `x`, `y`, `mark`, `title`."""
        return self._show(_forms().plot, spec, options)

    def object(
        self,
        bundle: dict,  # type: ignore[type-arg]  # contract: bare words
        metadata: dict | None = None,  # type: ignore[type-arg]  # contract
        options: dict | None = None,  # type: ignore[type-arg]  # contract
    ) -> Handle:
        """Show a map of media types to data: its `text/plain`."""
        return self._show(_forms().bundle, bundle, options)

    def clear(self, wait: bool | None = None) -> None:
        """Clear the output of the cell; text that was written stays."""

    def progress(self, total: float, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract
        """Show a progress bar on standard error; option `label`."""
        if not 0 <= total < 2**53:
            raise InvalidArgument(f"the total of a progress display must be 0 or more, got {total}")
        handle = self._handle("progress", options)
        self._kept.bars[handle.ident] = Bar(total, str((options or {}).get("label", "")))
        return handle

    def _show(self, render: Callable[..., str], value: Any, options: dict[str, Any] | None, *rest: Any) -> Handle:
        handle = self._handle("display", options)
        text = render(value, *rest)
        if len(self._kept.renderers) >= MAX_KEPT:
            del self._kept.renderers[next(iter(self._kept.renderers))]
        self._kept.renderers[handle.ident] = render
        put(self._lane, text)
        return handle

    def _handle(self, kind: str, options: dict[str, Any] | None) -> Handle:
        from llmspell.base.ids import short

        ident = (options or {}).get("display_id")
        if ident is not None and (not isinstance(ident, str) or not ident):
            raise InvalidArgument(
                "option 'display_id' must be a string that is not empty", details={"name": "display_id"}
            )
        ident = ident or f"display-{short(12)}"
        return Handle(kind, ident, fields={"id": ident})

    def _image(self, mime: str, given: Any) -> str:
        if isinstance(given, str) and "\0" not in given and not given.startswith("\x89"):
            given = self._file(given)
        if not isinstance(given, bytes):
            raise UnsupportedType(f"an {mime} is bytes or the path of a file, got {type(given).__name__}")
        if not given.startswith(IMAGES[mime]):
            raise InvalidArgument(f"the data is no {mime}: its first bytes are wrong")
        return f"<{mime} {len(given)} bytes>"

    def _file(self, path: str) -> bytes:
        if self._lane.profile == "safe":
            raise SecurityError(
                "the profile safe reads no files: give the bytes of the image",
                code="path_denied",
                details={"path": path},
            )
        return self._app.security.script.read(path, limit=MAX_IMAGE_BYTES)


def _forms() -> Any:
    """Return the module of text forms; most scripts show nothing and need not wait for it."""
    from llmspell.base import textforms

    return textforms


def kept(lane: Any) -> Displays:
    """Return the displays of the lane, made at first use; the classes here share them."""
    found = _BY_LANE.get(lane)
    if found is None:
        found = _BY_LANE[lane] = Displays()
    return found


def put(lane: Any, text: str) -> None:
    """Write one text form, with a newline at its end."""
    lane.write("stdout", (text if text.endswith("\n") else text + "\n").encode("utf-8", "surrogateescape"))


_BY_LANE: WeakKeyDictionary[Any, Displays] = WeakKeyDictionary()
