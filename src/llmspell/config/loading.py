"""Loading: seven layers into one frozen tree. With nothing stated anywhere it returns the defaults and reads nothing.

1 built-in defaults   2 profiles   3 system and home file   4 project file   5 --config   6 environment   7 flags
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from llmspell.config.env import PREFIX, SPECIAL, provider_keys
from llmspell.config.model import Config, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from llmspell.config.origin import Origin

PROJECT_NAMES = ("llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml")
SYSTEM_FILE = "/etc/llmspell/config.toml"


class Loaded(NamedTuple):
    """The tree, where each stated key comes from (layer word, file, line), and sentences worth a look."""

    config: Config
    origin: dict[str, Origin]
    warnings: tuple[str, ...]


class Found(NamedTuple):
    """The files that take part."""

    system: str | None
    home: str | None
    project: str | None
    explicit: str | None

    @property
    def project_folder(self) -> str | None:
        """Folder of the project: that of the file, without its `config/` or `.config/`."""
        if self.project is None:
            return None
        folder, name = os.path.split(os.path.dirname(self.project))
        return folder if name in ("config", ".config") else os.path.dirname(self.project)


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
    files = find_files(explicit=explicit or environ.get("LLMSPELL_CONFIG") or None, environ=environ, cwd=cwd, home=home)
    profile = profile or environ.get("LLMSPELL_PROFILE") or None
    stated = any(name.startswith(PREFIX) and name not in SPECIAL for name in environ)
    offline = environ.get("LLMSPELL_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if not (any(files) or profile or sets or flags or stated or offline):
        return Loaded(with_keys(Config(), environ), {}, ())
    from llmspell.config.layers import assemble

    return assemble(
        files, profile=profile, sets=sets, environ=environ, cwd=cwd, home=home, flags=flags or {}, offline=offline
    )


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


def with_keys(config: Config, environ: Mapping[str, str]) -> Config:
    """Return `config` with the providers whose keys the environment holds and that no layer defines."""
    found = provider_keys(environ)
    known = {(entry.provider_type or name).replace("_", "-") for name, entry in config.providers.defined.items()}
    missing = {name: variable for name, variable in found.items() if name not in known}
    if not missing:
        return config
    from msgspec.structs import replace

    entries = {name: Provider(api_key_env=variable) for name, variable in missing.items()}
    defined = dict(sorted({**config.providers.defined, **entries}.items()))
    return replace(config, providers=replace(config.providers, defined=defined))


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
