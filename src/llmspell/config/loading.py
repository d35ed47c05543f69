"""Loading: seven layers into one frozen tree. With nothing stated anywhere it returns the defaults and reads nothing.

1 built-in defaults   2 profiles   3 system and home file   4 project file   5 --config   6 environment   7 flags
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from llmspell.config.env import PREFIX, SPECIAL
from llmspell.config.found import Found, Loaded, with_keys
from llmspell.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROJECT_NAMES = ("llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml")
SYSTEM_FILE = "/etc/llmspell/config.toml"


def load(
    *,
    explicit: str | Path | None = None,
    profile: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str],
    cwd: Path,
    home: Path | None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Return the effective configuration.

    explicit: file of `--config`. profile: of `--profile`. sets: `KEY=VALUE` texts. flags: values by dotted key.
    Raises ConfigurationError with every mistake of every layer in `details["errors"]`, or SecurityError when a project
    file reaches further than it may.
    """
    if nothing_stated(explicit=explicit, profile=profile, sets=sets, environ=environ, cwd=cwd, home=home, flags=flags):
        from llmspell.config.model import Config

        return Loaded(with_keys(Config(), environ), {}, ())
    from llmspell.config.layers import assemble

    files = find_files(explicit=explicit or environ.get("LLMSPELL_CONFIG") or None, environ=environ, cwd=cwd, home=home)
    profile = profile or environ.get("LLMSPELL_PROFILE") or None
    offline = _offline(environ.get("LLMSPELL_OFFLINE", ""))
    return assemble(
        files, profile=profile, sets=sets, environ=environ, cwd=cwd, home=home, flags=flags or {}, offline=offline
    )


def nothing_stated(
    *,
    explicit: str | Path | None,
    profile: str | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path,
    home: Path | None,
    flags: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether no layer states anything, so that the defaults hold; reads no file and builds no tree."""
    if profile or sets or flags or environ.get("LLMSPELL_PROFILE") or _offline(environ.get("LLMSPELL_OFFLINE", "")):
        return False
    if any(name.startswith(PREFIX) and name not in SPECIAL for name in environ):
        return False
    explicit = explicit or environ.get("LLMSPELL_CONFIG") or None
    return not any(find_files(explicit=explicit, environ=environ, cwd=cwd, home=home))


def _offline(text: str) -> bool:
    """Return what the variable says. A word of no meaning is an error: who wrote it meant to stay offline."""
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    raise ConfigurationError(f"LLMSPELL_OFFLINE = {text!r}: expected 1 or 0", details={"key": "LLMSPELL_OFFLINE"})


def find_files(*, explicit: str | Path | None, environ: Mapping[str, str], cwd: Path, home: Path | None) -> Found:
    """Return the paths of the files that exist; `explicit` is returned unchecked."""
    own = os.path.join(home, "config.toml") if home is not None else ""
    if not _is_file(own):
        base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
        own = os.path.join(base, "llmspell", "config.toml") if base.startswith("/") else ""
    named = os.path.join(cwd, explicit) if explicit is not None else None
    project = _project_file(str(cwd), environ.get("HOME", ""), own)
    return Found(
        SYSTEM_FILE if _is_file(SYSTEM_FILE) else None,
        own if own and own != named and _is_file(own) else None,
        project if project != named else None,
        named,
    )


def _project_file(folder: str, user_home: str, own: str) -> str | None:
    while True:
        for name in PROJECT_NAMES:
            path = os.path.join(folder, name)
            if _is_file(path) and path != own:
                return path
        parent = os.path.dirname(folder)
        if folder in (user_home, parent):
            return None
        folder = parent


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # a dozen questions on the start path; a Path costs ten times as much
