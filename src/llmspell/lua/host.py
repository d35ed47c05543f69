"""What the prelude asks of the host: descriptions of globals, output, files, environment, the end of the run.

Method numbers 0.. of the crossing; `HOST_METHODS` is their order. Everything that touches a path goes through
`app.security`, which resolves and opens it; Lua only ever gets `/dev/fd/N` of what was opened.
"""

from __future__ import annotations

import os

from llmspell.errors import ResourceLimitError, SecurityError, StorageError
from llmspell.lua.binding import Method, public_methods
from llmspell.lua.globals._base import check_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llmspell.app import App, Lane
    from llmspell.base.registry import Registry

HOST_METHODS = (
    "describe", "write", "open_file", "opened_file", "read_source", "remove_file", "rename_file", "temporary_name",
    "getenv", "read_input", "exit", "keep_compiled", "check_options",
)  # fmt: skip
COMPILED: dict[str, bytes] = {}
"""Chunks of the prelude and of globals, by name, as Lua compiled them in this process."""


def global_name(stem: str) -> str:
    """Return the name of the global in file `stem`: `json` and `rag` in capitals, others with one."""
    stem = stem.rstrip("_-")
    return stem.upper() if stem in ("json", "rag") else stem.capitalize()


class Host:
    """The host's side of one interpreter."""

    def __init__(self, app: App, lane: Lane, methods: list[Method], registry: Registry) -> None:
        self._app = app
        self._lane = lane
        self._methods = methods
        self._registry = registry
        self._open: dict[str, int] = {}
        self._temporary: list[str] = []
        methods.extend(Method(getattr(self, name), name, plain=True) for name in HOST_METHODS)

    # -- globals --

    def describe(self, name: str) -> dict[str, Any]:
        """Make the global `name` and return the numbers of its methods, its constants and its companion chunk."""
        stem = next(stem for stem in self._registry.names(outside=False) if global_name(stem) == name)
        module = self._registry.get(stem)
        assert module is not None
        owner = module.Global(self._app, self._lane)
        described: dict[str, Any] = {
            "methods": self._number(public_methods(owner, name)),
            "constants": dict(getattr(owner, "constants", {})),
            "handles": {},
        }
        if hasattr(owner, "lookup"):
            described["lookup"] = self._add(Method(owner.lookup, f"{name}.lookup"))
        for kind, cls in getattr(owner, "handles", {}).items():
            instance = cls(owner) if getattr(cls, "of_global", False) else cls(self._app, self._lane)
            spec: dict[str, Any] = {"methods": self._number(public_methods(instance, kind, handle=True))}
            if hasattr(instance, "lookup"):
                spec["lookup"] = self._add(Method(instance.lookup, f"{kind}.lookup", handle=True))
            described["handles"][kind] = spec
        companion = os.path.splitext(str(module.__file__))[0] + ".lua"
        if name in COMPILED:
            described["companion"] = COMPILED[name]
        elif os.path.exists(companion):
            with open(companion, encoding="utf-8") as file:
                described["companion"] = file.read()
        return described

    def _add(self, method: Method) -> int:
        self._methods.append(method)
        return len(self._methods) - 1

    def _number(self, methods: dict[str, Method]) -> dict[str, list[Any]]:
        numbers: dict[int, int] = {}
        for method in methods.values():
            if id(method) not in numbers:
                numbers[id(method)] = self._add(method)
        return {name: [numbers[id(method)], method.functions] for name, method in methods.items()}

    def keep_compiled(self, name: str, chunk: bytes) -> None:
        """Keep a chunk of ours for the interpreters to come."""
        COMPILED.setdefault(name, chunk)

    def check_options(self, options: dict, known: list, where: str, site: str) -> None:  # type: ignore[type-arg]  # contract: bare words
        """Warn of unknown keys, or raise where configured so."""
        check_options(self._lane, options, frozenset(known), where, site)

    # -- output and input --

    def write(self, stream: str, data: Any) -> None:
        """Write bytes to the run's own stdout or stderr; counted against the output limit."""
        self._lane.write(stream, data.encode() if isinstance(data, str) else data)

    def read_input(self, form: Any) -> Any:
        """Read from the run's standard input: `l`, `L`, `a`, or a number of bytes."""
        stream = self._lane.stdin
        if stream is None:
            return b"" if form == "a" else None
        if form == "a":
            return stream.read()
        if isinstance(form, int):
            return stream.read(form) or None
        line = stream.readline()
        if not line:
            return None
        return line if form == "L" else line.rstrip(b"\n")

    # -- files --

    def open_file(self, path: str, mode: str) -> Any:
        """Open a confined file; the path of its descriptor, or nil, message, errno as stock `io.open`."""
        plain = mode.replace("b", "")
        try:
            file = self._app.security.script.open(path, plain + "b", extra_roots=self._lane.roots)
        except StorageError as error:
            return _refusal(path, error)
        fd = os.dup(file.fileno())
        file.close()
        place = f"/dev/fd/{fd}"
        self._open[place] = fd
        return place

    def opened_file(self, place: str) -> None:
        """Close the host's descriptor; Lua has its own by now."""
        fd = self._open.pop(place, None)
        if fd is not None:
            os.close(fd)

    def read_source(self, path: str, quiet: bool = False) -> Any:
        """Return the text of a Lua file, or nil, message. quiet: nil for a denied path too (for `require`)."""
        try:
            with self._app.security.script.open(path, "rb", extra_roots=self._lane.roots) as file:
                source = file.read(self._lane.limits["script_bytes"] + 1)
        except SecurityError:
            if quiet:
                return None
            raise
        except StorageError as error:
            _, reason, number = _refusal(path, error)
            return None, f"cannot open {reason}", number
        limit = self._lane.limits["script_bytes"]
        if limit and len(source) > limit:
            raise ResourceLimitError(
                f"Resource limit exceeded: script_bytes (limit {limit}, used {len(source)})",
                details={"resource": "script_bytes", "limit": limit, "used": len(source)},
            )
        return source

    def remove_file(self, path: str) -> Any:
        """Remove a confined file; true, or nil, message, errno."""
        return self._os(path, lambda: self._app.security.script.remove(path, extra_roots=self._lane.roots))

    def rename_file(self, source: str, target: str) -> Any:
        """Rename a confined file; true, or nil, message, errno."""
        return self._os(source, lambda: self._app.security.script.rename(source, target, extra_roots=self._lane.roots))

    def _os(self, path: str, do: Callable[[], object]) -> Any:
        try:
            do()
        except StorageError as error:
            return _refusal(path, error)
        return True

    def temporary_name(self) -> str:
        """Make a fresh file in the run's private temporary folder."""
        folder = self._lane.temporary_folder()
        import tempfile

        fd, name = tempfile.mkstemp(dir=folder, prefix="lua_")
        os.close(fd)
        return name

    def getenv(self, name: str) -> str | None:
        """Return a variable of the environment that the allow-list grants, else nil."""
        return self._app.security.env(name)

    def exit(self, status: int) -> None:
        """End the run with an exit status."""
        self._lane.end(status)


def _refusal(path: str, error: StorageError) -> tuple[None, str, int]:
    """Return nil, message, errno, as the stock functions do where the system refuses."""
    number = int(error.details.get("errno") or 5)
    return None, f"{path}: {os.strerror(number)}", number
