"""Profiles: named TOML files that state a few keys. Found in the package, in home and in the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from llmspell.errors import ConfigurationError

BUNDLED = os.path.join(os.path.dirname(__file__), "profiles")
KINDS = ("bases", "features", "envs", "backends", "presets")
MAX_DEPTH = 10


class Profile(NamedTuple):
    """One profile file: its `[profile]` table and the keys it states."""

    name: str
    kind: str
    path: str
    info: dict[str, Any]
    keys: dict[str, Any]
    text: str

    @property
    def kinds(self) -> list[str]:
        """The kind, and the further kinds the name may be asked for under."""
        return [self.kind, *self.info.get("also", [])]


def folders(home: Path | None, project: Path | None) -> list[str]:
    """Return the folders of profiles; an earlier one hides a later one's names."""
    found = []
    if project is not None:
        found.append(str(project / ".llmspell" / "profiles"))
    if home is not None:
        found.append(str(home / "profiles"))
    return [*found, BUNDLED]


def names(home: Path | None = None, project: Path | None = None) -> dict[str, str]:
    """Return the path of every profile by name."""
    found: dict[str, str] = {}
    for folder in reversed(folders(home, project)):
        try:
            entries = sorted(os.listdir(folder))
        except OSError:
            continue  # a folder of profiles that is not there holds none
        found |= {entry[:-5]: os.path.join(folder, entry) for entry in entries if entry.endswith(".toml")}
    return found


def read(path: str) -> Profile:
    """Return the profile in a file. Raises ConfigurationError."""
    from llmspell.config.toml_file import parse

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read the profile {path}: {error.strerror}", details={"path": path}) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the profile {path} is not UTF-8 text", details={"path": path}) from error
    keys = parse(text, path)
    info = keys.pop("profile", {})
    if not isinstance(info, dict):
        raise ConfigurationError(f"{path}: [profile] must be a table with name, kind, description")
    stem = Path(path).stem
    return Profile(str(info.get("name", stem)), str(info.get("kind", "presets")), path, info, keys, text)


def resolve(spec: str, *, home: Path | None, project: Path | None, cwd: Path) -> list[Profile]:
    """Return the profiles that `spec` names, those they extend before them, in the order they apply.

    spec: comma list of `name`, `kind/name` or `path.toml`. Raises ConfigurationError (unknown name, cycle, depth).
    """
    known = names(home, project)
    result: list[Profile] = []
    for part in spec.split(","):
        if part.strip():
            _add(part.strip(), known, cwd, [], result)
    return result


def _add(spec: str, known: dict[str, str], cwd: Path, above: list[str], result: list[Profile]) -> None:
    profile = read(_path_of(spec, known, cwd))
    if profile.path in above:
        chain = " -> ".join(Path(path).stem for path in [*above, profile.path])
        raise ConfigurationError(f"profiles extend each other in a circle: {chain}")
    if len(above) >= MAX_DEPTH:
        raise ConfigurationError(f"profile {profile.name}: more than {MAX_DEPTH} levels of extends")
    extends = profile.info.get("extends", [])
    for name in [extends] if isinstance(extends, str) else extends:
        _add(str(name), known, cwd, [*above, profile.path], result)
    if all(other.path != profile.path for other in result):
        result.append(profile)


def _path_of(spec: str, known: dict[str, str], cwd: Path) -> str:
    if spec.endswith(".toml"):
        path = cwd / Path(spec).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"no profile file {path}", details={"path": str(path)})
        return str(path)
    kind, slash, name = spec.rpartition("/")
    name = name.replace("_", "-") if name not in known else name
    if name in known and (not slash or kind in read(known[name]).kinds):
        return known[name]
    from llmspell.base.registry import nearest

    near = nearest(name, sorted(known), limit=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(
        f"unknown profile {spec!r}{hint}; known: {', '.join(sorted(known))}", details={"profile": spec}
    )
