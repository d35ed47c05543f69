"""`Security`: what tools and scripts may touch, built from the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from llmspell.base.secret_names import is_secret_name
from llmspell.errors import ConfigurationError
from llmspell.security.files import AnyPath, FileAccess
from llmspell.security.rules import PathRules, glob_regex


class Security(FileAccess):
    """Files as tools may use them; `script` is the narrower view of Lua's own io, os and require.

    config: the tree; runtime.security, tools.file_operations and engines.lua.sandbox are read. environ: the mapping
    that `env` reads. Tools may use `tools.file_operations.allowed_paths` (else the working directory, the temporary
    folder, the artifacts of home) and `runtime.security.allowed_paths`; scripts the latter only; both what is granted.
    """

    def __init__(self, config: Any, *, home: Path, cwd: Path, environ: Mapping[str, str] | None = None) -> None:
        self._runtime = config.runtime.security
        self._files = config.tools.file_operations
        self._profile = config.engines.lua.sandbox
        self._home = os.path.realpath(home)
        self._environ = os.environ if environ is None else environ
        granted: list[str] = []
        off = None if self._runtime.allow_file_access else "file access is switched off (runtime.security)"
        tools_off = None if self._files.enabled else "file tools are switched off (tools.file_operations.enabled)"
        depth = self._files.max_depth
        super().__init__(
            self._tool_rules, cwd=os.path.realpath(cwd), granted=granted, off=off or tools_off, max_depth=depth
        )
        self.script = FileAccess(
            self._script_rules, cwd=os.path.realpath(cwd), granted=granted, off=off, max_depth=depth
        )

    @property
    def max_file_size(self) -> int:
        """Bytes of the largest file that tools read or write."""
        return int(self._files.max_file_size)

    @property
    def atomic_writes(self) -> bool:
        """Whether tools write by temporary file and rename."""
        return bool(self._files.atomic_writes)

    @property
    def granted(self) -> tuple[str, ...]:
        """Folders allowed by `grant` so far."""
        return tuple(self._granted)

    def grant(self, path: AnyPath) -> Path:
        """Allow a folder from now on, for tools and scripts; the caller has checked `grantable` or trusts it."""
        real = os.path.realpath(os.path.join(self._cwd, os.fsdecode(path)))
        if real not in self._granted:
            self._granted.append(real)
        return Path(real)

    def grantable(self, path: AnyPath) -> bool:
        """Tell whether a script with permission may be granted the folder: it lies under a configured root."""
        real = os.path.realpath(os.path.join(self._cwd, os.fsdecode(path)))
        return self._rules.covers(real, self.script.roots_text) and not self._rules.is_denied(real)

    def env(self, name: str) -> str | None:
        """Return an environment variable on the allow-list; None for others, and always for secret-shaped names."""
        if is_secret_name(name) or not self._env_allowed.fullmatch(name):
            return None
        return self._environ.get(name)

    @cached_property
    def _env_allowed(self) -> re.Pattern[str]:
        return re.compile("|".join(glob_regex(pattern) for pattern in self._runtime.env_allow) or r"(?!)")

    def _tool_rules(self) -> PathRules:
        roots = self._files.allowed_paths
        if roots is None:
            roots = (self._cwd, self._temporary(), os.path.join(self._home, "artifacts"))
        return self._path_rules((*roots, *self._runtime.allowed_paths), extensions=True)

    def _script_rules(self) -> PathRules:
        return self._path_rules(self._runtime.allowed_paths, extensions=False)

    def _path_rules(self, paths: Iterable[str], *, extensions: bool) -> PathRules:
        paths = tuple(paths)
        roots: list[str] | None = [self._expand(path) for path in paths if path != "*"]
        if "*" in paths:
            if self._profile != "full":
                raise ConfigurationError("the allowed path '*' needs the sandbox profile full")
            roots = None
        return PathRules(
            roots,
            denied=[self._expand(pattern, anchor=False) for pattern in self._files.denied_paths],
            allowed_extensions=self._files.allowed_extensions if extensions else (),
            blocked_extensions=self._files.blocked_extensions if extensions else (),
            links=self._files.follow_symlinks,
        )

    def _expand(self, path: str, *, anchor: bool = True) -> str:
        path = path.replace("$LLMSPELL_HOME", self._home)
        if path == "~" or path.startswith("~/"):
            path = str(Path.home()) + path[1:]
        return os.path.join(self._cwd, path) if anchor else path

    def _temporary(self) -> str:
        # As tempfile.gettempdir does first; importing tempfile costs more than all the rest here.
        for name in ("TMPDIR", "TEMP", "TMP"):
            folder = self._environ.get(name)
            if folder and Path(folder).is_dir():
                return folder
        return "/tmp"  # noqa: S108 - the system's temporary folder, itself under the same rules
