"""Documents that name a file or a folder: `{path, glob?, recursive?}` becomes one document per file.

Files are opened by what is given as `access`: for scripts the confined view of their own files. Hidden entries and
links in folders are passed over. Without a pattern a folder gives the files that `readers` knows by name.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Protocol

from llmspell.errors import LimitExceeded, ValidationError
from llmspell.rag.readers import is_readable, read_text

MAX_FILES = 10_000
MAX_FILE_BYTES = 52_428_800
MAX_TOTAL_BYTES = 536_870_912
MAX_DEPTH = 20
OWN = ("path", "glob", "recursive")


class Access(Protocol):
    """What opens files, as `security.FileAccess` does."""

    def stat(self, path: str, *, extra_roots: Sequence[Path]) -> Any:
        """Return the status of a file or folder."""
        ...

    def scan(self, path: str, *, extra_roots: Sequence[Path]) -> list[tuple[str, Any]]:
        """Return names and statuses of the entries of a folder."""
        ...

    def open(self, path: str, mode: str, *, extra_roots: Sequence[Path]) -> IO[bytes]:
        """Open a file."""
        ...


def expanded(given: Sequence[Any], access: Any, *, extra_roots: Sequence[Path] = ()) -> list[Any]:
    """Return documents with text in place of those with a path. Raises PathDenied, NotFound, ValidationError."""
    found: list[Any] = []
    reading = _Reading(access, extra_roots)
    for item in given:
        if not isinstance(item, Mapping) or item.get("path") is None:
            found.append(item)
            continue
        path, pattern = item["path"], item.get("glob")
        if not isinstance(path, str) or not path:
            raise ValidationError("path is a text that names a file or folder", details={"name": "path"})
        patterns = [pattern] if isinstance(pattern, str) else pattern or []
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise ValidationError("glob is a pattern or a list of patterns", details={"name": "glob"})
        found += reading.documents(item, path, patterns)
    return found


class _Reading:
    def __init__(self, access: Access, extra_roots: Sequence[Path]) -> None:
        self._access = access
        self._roots = tuple(extra_roots)
        self._files = self._bytes = 0

    def documents(self, item: Mapping[str, Any], path: str, patterns: list[str]) -> list[dict[str, Any]]:
        """Return the documents of one path: of a file one, of a folder one per file that fits."""
        if not stat.S_ISDIR(self._access.stat(path, extra_roots=self._roots).st_mode):
            return [self._document(item, path, str(item.get("id") or path))]
        recursive = item.get("recursive", True) is not False
        files = [name for name in self._walk(path, "", 1 if recursive else MAX_DEPTH) if _fits(name, patterns)]
        if not files:
            wanted = f"of {', '.join(patterns)}" if patterns else "with text, Markdown, HTML, PDF or source code"
            raise ValidationError(
                f"{path} holds no file {wanted}" + (", in no folder below it either" if recursive else ""),
                details={"path": path, "glob": patterns},
            )
        prefix = f"{item['id']}/" if item.get("id") else f"{path.rstrip('/')}/"
        return [self._document(item, f"{path.rstrip('/')}/{name}", prefix + name) for name in files]

    def _walk(self, path: str, inside: str, depth: int) -> Iterator[str]:
        for name, status in self._access.scan(f"{path}/{inside}" if inside else path, extra_roots=self._roots):
            if name.startswith("."):
                continue
            if stat.S_ISDIR(status.st_mode):
                if depth < MAX_DEPTH:
                    yield from self._walk(path, f"{inside}{name}/", depth + 1)
            elif stat.S_ISREG(status.st_mode):
                self._files += 1
                if self._files > MAX_FILES:
                    raise _limit("files", MAX_FILES, path)
                yield inside + name

    def _document(self, item: Mapping[str, Any], path: str, ident: str) -> dict[str, Any]:
        with self._access.open(path, "rb", extra_roots=self._roots) as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise _limit("file bytes", MAX_FILE_BYTES, path)
        self._bytes += len(raw)
        if self._bytes > MAX_TOTAL_BYTES:
            raise _limit("bytes", MAX_TOTAL_BYTES, path)
        kept = {name: value for name, value in item.items() if name not in OWN}
        metadata = item.get("metadata")
        return {
            **kept,
            "id": ident if len(ident.encode()) <= 256 else None,
            "content": read_text(path, raw),
            "source": path,
            "metadata": {**(metadata if isinstance(metadata, Mapping) else {}), "source": path},
        }


def _fits(name: str, patterns: list[str]) -> bool:
    if not patterns:
        return is_readable(name)
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rsplit("/", 1)[-1], pattern) for pattern in patterns)


def _limit(what: str, most: int, path: str) -> LimitExceeded:
    return LimitExceeded(f"{path}: more than {most} {what} at once", details={"resource": what, "limit": most})
