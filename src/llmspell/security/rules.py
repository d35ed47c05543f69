"""Which real paths may be touched: roots, refused patterns, extensions, and the form of a path.

Judging is by components of the real path, never by text prefix. Every refusal has one of a few fixed texts that
tell the rule and the path as it was given: neither where a link leads nor whether anything is there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Literal

from llmspell.errors import PathDenied

Intent = Literal["read", "write", "dir"]

MAX_PATH_BYTES = 4096
MAX_COMPONENTS = 64
MAX_NAME_BYTES = 255

# Files that hold other processes' memory or environment; refused even where every path is allowed.
_ALWAYS_DENIED = ("/proc/**/mem", "/proc/**/environ", "/proc/kcore", "/proc/sysrq-trigger", "/dev/mem", "/dev/kmem")


def path_denied(given: str, rule: str, *, violation: str = "file_access") -> PathDenied:
    """Return the refusal of `given`; `rule` must not depend on what lies outside the roots."""
    shown = given if len(given) <= 200 else given[:200] + "..."
    return PathDenied(
        f"access to {shown!r} is denied: {rule}", details={"path": shown, "rule": rule, "violation": violation}
    )


def path_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as text after the checks of its form. Raises PathDenied."""
    given = os.fsdecode(path)
    if not given:
        raise path_denied(given, "the path is empty")
    if "\0" in given:
        raise path_denied(given.replace("\0", "?"), "the path holds a NUL")
    try:
        size = len(os.fsencode(given))
    except UnicodeEncodeError as error:
        raise path_denied(ascii(given), "the path is not valid text") from error
    if size > MAX_PATH_BYTES:
        raise path_denied(given, f"the path is longer than {MAX_PATH_BYTES} bytes")
    parts = given.split("/")
    if len(parts) > MAX_COMPONENTS + 1:
        raise path_denied(given, f"the path has more than {MAX_COMPONENTS} components")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        raise path_denied(given, f"a name in the path is longer than {MAX_NAME_BYTES} bytes")
    return given


def glob_regex(pattern: str) -> str:
    """Return the regular expression of a path pattern: `*` and `?` within a name, `**` over any names."""
    out: list[str] = []
    index = 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            out.append("(?:[^/]*/)*")
            index += 3
        elif pattern.startswith("/**", index) and index + 3 == len(pattern):
            out.append("(?:/.*)?")
            index += 3
        elif pattern[index] == "*":
            out.append("[^/]*")
            index += 1
        else:
            out.append("[^/]" if pattern[index] == "?" else re.escape(pattern[index]))
            index += 1
    return "".join(out)


class PathRules:
    """The rules of one installation.

    roots: real folders, or None for any path. denied: patterns over real absolute paths. links: follow links.
    """

    def __init__(
        self,
        roots: Iterable[str] | None,
        *,
        denied: Iterable[str] = (),
        allowed_extensions: Iterable[str] = (),
        blocked_extensions: Iterable[str] = (),
        links: bool = True,
    ) -> None:
        self.roots = None if roots is None else tuple(dict.fromkeys(os.path.realpath(root) for root in roots))
        patterns = "|".join(glob_regex(pattern) for pattern in (*_ALWAYS_DENIED, *denied))
        self._denied = re.compile(f"(?:{patterns})", re.DOTALL | (re.IGNORECASE if sys.platform == "darwin" else 0))
        self._allowed_extensions = frozenset(_extension("x." + item.lstrip(".")) for item in allowed_extensions)
        self._blocked_extensions = frozenset(_extension("x." + item.lstrip(".")) for item in blocked_extensions)
        self._links = links

    def judge(
        self, given: str, cwd: str, intent: Intent, extra_roots: Iterable[str] = (), *, keep_last: bool = False
    ) -> str:
        """Return the real path that `given` names. Raises PathDenied before anything is tested for existence.

        keep_last: leave a link in the last place as it is (to delete or rename it); where it leads is judged as well.
        """
        given = path_text(given)
        joined = os.path.join(cwd, given)
        real = real_path(joined, given)
        self._inside(given, real, extra_roots)
        if not self._links and real != os.path.join(os.path.realpath(cwd), os.path.normpath(given)):
            raise path_denied(given, "links are not followed here", violation="path_traversal")
        if keep_last:
            folder, name = os.path.split(joined.rstrip("/"))
            if name not in ("", ".", ".."):
                real = os.path.join(real_path(folder, given), name)
                self._inside(given, real, extra_roots)
        if intent != "dir":
            self._extension_allowed(given, real)
        return real

    def covers(self, real: str, extra_roots: Iterable[str] = ()) -> bool:
        """Tell whether a real path lies in a root."""
        return self.roots is None or any(is_inside(real, root) for root in (*self.roots, *extra_roots))

    def is_denied(self, real: str) -> bool:
        """Tell whether a pattern of the refused paths fits."""
        return self._denied.fullmatch(real) is not None

    def _inside(self, given: str, real: str, extra_roots: Iterable[str]) -> None:
        if not self.covers(real, extra_roots):
            violation = "path_traversal" if ".." in given.split("/") else "file_access"
            raise path_denied(given, "it lies outside the allowed paths", violation=violation)
        if self.is_denied(real):
            raise path_denied(given, "files of this name or place are never opened")

    def _extension_allowed(self, given: str, real: str) -> None:
        extension = _extension(real)
        if extension in self._blocked_extensions or (
            self._allowed_extensions and extension not in self._allowed_extensions
        ):
            raise path_denied(given, f"files with the extension {extension or '(none)'!r} are not opened")


def real_path(path: str, given: str) -> str:
    """Return the path without links; what is not there stays as named. Raises PathDenied if it never stands still."""
    for _ in range(3):
        try:
            return os.path.realpath(path)
        except OSError:  # a link was exchanged for a folder while it was read
            continue
    raise path_denied(given, "it changes while it is used")


def is_inside(path: str, root: str) -> bool:
    """Tell by components whether `path` is `root` or lies under it; both are absolute and normal."""
    return path == root or path.startswith(root if root.endswith("/") else root + "/")


def _extension(path: str) -> str:
    name = path.rstrip(" .").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""
