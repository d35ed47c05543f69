"""The file operations of everything that acts for a script: judged by `PathRules`, done through descriptors."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from llmspell.errors import AlreadyExists, InvalidArgument, LLMSpellError, PathDenied, StorageError
from llmspell.security import walk
from llmspell.security.rules import Intent, PathRules, is_inside, path_denied

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
AnyPath = str | bytes | os.PathLike[str]

_MODES = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}
_TRIES = 3


class FileAccess:
    """Files under one set of rules. Every method raises PathDenied before it tells whether anything exists.

    rules: a callable, so that nothing is built before the first use. off: the reason if all access is switched off.
    Other errors: NotFound, AlreadyExists, StorageFull, StorageFailure. Any thread.
    """

    def __init__(
        self, rules: Callable[[], PathRules], *, cwd: str, granted: list[str], off: str | None, max_depth: int
    ) -> None:
        self._make_rules = rules
        self._made: PathRules | None = None
        self._cwd = cwd
        self._granted = granted
        self._off = off
        self.max_depth = max_depth

    @property
    def _rules(self) -> PathRules:
        if self._made is None:
            self._made = self._make_rules()
        return self._made

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that may be used; `/` alone where every path is allowed."""
        rules = self._rules
        return (Path("/"),) if rules.roots is None else tuple(Path(root) for root in (*rules.roots, *self._granted))

    @property
    def roots_text(self) -> tuple[str, ...]:
        """The folders as text."""
        return tuple(str(root) for root in self.roots)

    def resolve(self, path: AnyPath, intent: Intent = "read", *, extra_roots: Iterable[AnyPath] = ()) -> Path:
        """Return the real path that `path` names if it may be used so. Raises PathDenied.

        extra_roots: folders allowed for this call, real or not. For `write` a link in the last place stays a link.
        """
        return Path(self._judge(path, intent, extra_roots, keep_last=intent == "write"))

    def allows(self, path: AnyPath, intent: Intent = "read", *, extra_roots: Iterable[AnyPath] = ()) -> bool:
        """Tell whether `resolve` would succeed."""
        try:
            self._judge(path, intent, extra_roots)
        except PathDenied:
            return False
        return True

    def admits(self, real: AnyPath) -> bool:
        """Tell whether an entry found below a resolved folder may be shown and visited; its links are not followed."""
        text = os.fsdecode(real)
        return self._off is None and self._rules.covers(text, self._granted) and not self._rules.is_denied(text)

    def open(
        self,
        path: AnyPath,
        mode: str = "rb",
        *,
        extra_roots: Iterable[AnyPath] = (),
        buffering: int = -1,
        create_mode: int = 0o666,
    ) -> IO[bytes]:
        """Open a regular file in binary. mode: r, w, a or x, with `+` for both ways."""
        letters = mode.replace("b", "")
        if letters.replace("+", "") not in _MODES or len(letters) > 2 or "t" in mode:
            raise InvalidArgument(
                f"mode {mode!r} is not one of rb, wb, ab, xb, with + for both ways", details={"name": "mode"}
            )
        flags = _MODES[letters[0]]
        if "+" in letters:
            flags = flags & ~(os.O_RDONLY | os.O_WRONLY) | os.O_RDWR
        reading = letters == "r"

        def act(folder: int, name: str, given: str) -> int:
            return walk.open_file(folder, name, flags, given, mode=create_mode)

        fd = self._at(path, "read" if reading else "write", act, extra_roots)
        return os.fdopen(fd, letters[0] + "b" + letters[1:], buffering)

    def read(self, path: AnyPath, *, limit: int | None = None, extra_roots: Iterable[AnyPath] = ()) -> bytes:
        """Return the bytes of a file, at most `limit`."""
        with self.open(path, "rb", extra_roots=extra_roots) as file:
            return file.read(-1 if limit is None else limit)

    def replace(
        self, path: AnyPath, data: bytes, *, mode: int | None = None, extra_roots: Iterable[AnyPath] = ()
    ) -> bool:
        """Write a file by temporary file and rename, keeping the mode of an old one; tell whether it is new."""
        if mode is not None and mode & ~0o777:
            raise path_denied(os.fsdecode(path), "set-uid, set-gid and sticky files are not made")

        def act(folder: int, name: str, given: str) -> bool:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                status = None
            if status is not None:
                walk.check_regular(status, given)
            kept = 0o644 if status is None else stat.S_IMODE(status.st_mode) & 0o777
            walk.write_beside(folder, name, data, mode=kept if mode is None else mode)
            return status is None

        return self._at(path, "write", act, extra_roots)

    def stat(self, path: AnyPath, *, follow: bool = True, extra_roots: Iterable[AnyPath] = ()) -> os.stat_result:
        """Return the status of a file, folder or (without `follow`) link."""
        return self._at(
            path,
            "dir",
            lambda folder, name, _: os.stat(name, dir_fd=folder, follow_symlinks=False),
            extra_roots,
            keep_last=not follow,
        )

    def readlink(self, path: AnyPath) -> str:
        """Return where a link points, as written in it."""
        return self._at(path, "dir", lambda folder, name, _: os.readlink(name, dir_fd=folder), keep_last=True)

    def exists(self, path: AnyPath) -> bool:
        """Tell whether anything is there; refused paths still raise."""
        try:
            self.stat(path)
        except StorageError:
            return False
        return True

    def scan(self, path: AnyPath, *, extra_roots: Iterable[AnyPath] = ()) -> list[tuple[str, os.stat_result]]:
        """Return the names in a folder with their own statuses, sorted; links are not followed."""

        def act(folder: int, name: str, _: str) -> list[tuple[str, os.stat_result]]:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                return walk.entries(fd)
            finally:
                os.close(fd)

        return self._at(path, "dir", act, extra_roots)

    def listdir(self, path: AnyPath) -> list[str]:
        """Return the names in a folder, sorted."""
        return [name for name, _ in self.scan(path)]

    def mkdir(
        self, path: AnyPath, *, parents: bool = False, exist_ok: bool = False, extra_roots: Iterable[AnyPath] = ()
    ) -> bool:
        """Make a folder; tell whether it is new."""
        real = self._judge(path, "dir", extra_roots)
        if parents:
            above = os.path.dirname(real)
            if not Path(above).is_dir():
                self.mkdir(above, parents=True, exist_ok=True, extra_roots=extra_roots)

        def act(folder: int, name: str, given: str) -> bool:
            try:
                os.mkdir(name, 0o777, dir_fd=folder)
            except FileExistsError:
                there = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if exist_ok and stat.S_ISDIR(there.st_mode):
                    return False
                raise
            return True

        return self._at(real, "dir", act, extra_roots)

    def remove(self, path: AnyPath, *, recursive: bool = False, extra_roots: Iterable[AnyPath] = ()) -> int:
        """Delete a file, link or empty folder, or with `recursive` a folder with all in it; return how many entries."""

        def act(folder: int, name: str, given: str) -> int:
            if name == "." or self._is_root(given, extra_roots):
                raise path_denied(given, "an allowed folder itself cannot be removed or renamed")
            if recursive:
                return walk.remove_tree(folder, name, depth=self.max_depth, given=given)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
            return 1

        return self._at(path, "write", act, extra_roots, keep_last=True)

    def rename(
        self, source: AnyPath, target: AnyPath, *, overwrite: bool = True, extra_roots: Iterable[AnyPath] = ()
    ) -> None:
        """Rename within the allowed folders; links are renamed themselves. Without `overwrite` raises AlreadyExists."""
        for path in (source, target):
            given = os.fsdecode(path)
            self._judge(path, "write", extra_roots, keep_last=True)
            if self._is_root(given, extra_roots):
                raise path_denied(given, "an allowed folder itself cannot be removed or renamed")

        def into(folder: int, name: str, given: str) -> None:
            def out(source_folder: int, source_name: str, _: str) -> None:
                claimed = not overwrite and self._claim(source_folder, source_name, folder, name, given)
                try:
                    os.rename(source_name, name, src_dir_fd=source_folder, dst_dir_fd=folder)
                except OSError:
                    if claimed:
                        os.unlink(name, dir_fd=folder)
                    raise

            self._at(source, "write", out, extra_roots, keep_last=True)

        self._at(target, "write", into, extra_roots, keep_last=True)

    def _claim(self, source_folder: int, source_name: str, folder: int, name: str, given: str) -> bool:
        """Raise AlreadyExists unless the name is free; for a file take it at once, by an empty one, and return True."""
        status = os.stat(source_name, dir_fd=source_folder, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder))
            return True
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        raise AlreadyExists(f"{given!r} exists already", details={"path": given})

    def _is_root(self, given: str, extra_roots: Iterable[AnyPath]) -> bool:
        real = os.path.realpath(os.path.join(self._cwd, given))
        roots = (
            *(self._rules.roots or ("/",)),
            *self._granted,
            *(os.path.realpath(os.fsdecode(root)) for root in extra_roots),
        )
        return any(is_inside(root, real) for root in roots)

    def _judge(
        self, path: AnyPath, intent: Intent, extra_roots: Iterable[AnyPath] = (), *, keep_last: bool = False
    ) -> str:
        given = os.fsdecode(path)
        if self._off is not None:
            raise path_denied(given.replace("\0", "?"), self._off)
        extra = [os.path.realpath(os.fsdecode(root)) for root in extra_roots]
        return self._rules.judge(given, self._cwd, intent, (*self._granted, *extra), keep_last=keep_last)

    def _at(
        self,
        path: AnyPath,
        intent: Intent,
        act: Callable[[int, str, str], T],
        extra_roots: Iterable[AnyPath] = (),
        *,
        keep_last: bool = False,
    ) -> T:
        """Judge, walk to the folder, act there. A link that appeared after judging is judged again, three times."""
        given = os.fsdecode(path)
        extra = tuple(extra_roots)
        for attempt in range(_TRIES):
            real = self._judge(path, intent, extra, keep_last=keep_last)
            folder, name = os.path.split(real)
            try:
                fd = walk.open_folder(folder)
                try:
                    return act(fd, name or ".", given)
                finally:
                    os.close(fd)
            except LLMSpellError:
                raise
            except OSError as error:
                last = attempt + 1 == _TRIES
                if last or self._judge(path, intent, extra, keep_last=keep_last) == real:
                    raise walk.storage_error(error, given) from error
        raise path_denied(given, "it changes while it is used")
