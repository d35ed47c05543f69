"""Assembling the layers: read, flatten to canonical keys, check every value, merge, build.

Only imported when some layer states something.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.config import env, origin, profiles, schema, values
from llmspell.config.check import cross_check
from llmspell.config.expand import expand
from llmspell.config.flatten import flatten
from llmspell.config.found import Found, Loaded, with_keys
from llmspell.config.guard import PATH_KEYS, Guard
from llmspell.config.origin import Entry, Layer, Problem
from llmspell.config.toml_file import line_numbers, parse, parse_value
from llmspell.errors import ConfigurationError, LLMSpellError, SecurityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def assemble(
    files: Found,
    *,
    profile: str | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path,
    home: Path | None,
    flags: Mapping[str, Any],
    offline: bool,
) -> Loaded:
    """Return the tree of all layers; see `load` for the arguments."""
    problems: list[Problem] = []
    warnings: list[str] = []
    layers = _file_layers(files, problems)
    layers = _profile_layers(files, layers, profile, home, cwd, problems) + layers
    layers.append(_environment(environ, warnings, offline=offline))
    layers.append(_command_line(sets, flags, problems))
    entries = flatten(layers, problems, warnings)
    guard = Guard(entries, environ=environ, cwd=cwd, project=files.project_folder)
    merged: dict[str, Any] = {}
    origins: dict[str, origin.Origin] = {}
    for entry in entries:
        value = _checked(entry, environ, guard, problems)
        if value is _BAD:
            continue
        refused = guard.refuses(entry, value, merged)
        if refused:
            problems.append(Problem(entry.path, refused, *entry.layer.place(entry.given), denied=True))
            continue
        merged[entry.path] = _merge(merged.get(entry.path), value)
        origins[entry.path] = entry.origin
    _places(merged)
    cross_check(merged, origins, problems)
    _raise(problems)
    warnings += _readable_by_others(layers)
    from msgspec.structs import replace

    config = with_keys(replace(schema.build(merged), origins=origins), environ)
    _check_default_provider(config.providers.default_provider, list(config.providers.defined), origins)
    return Loaded(config, origins, tuple(dict.fromkeys(warnings)))


_BAD = object()


def read_layer(word: str, path: str, *, trusted: bool = True) -> Layer:
    """Return one file as a layer. Raises ConfigurationError when it cannot be read or parsed."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise ConfigurationError(f"the configuration file {path} {reason}", details={"path": path}) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the configuration file {path} is not UTF-8 text", details={"path": path}) from error
    return Layer(word, path, parse(text, path), line_numbers(text), trusted=trusted)


def _file_layers(files: Found, problems: list[Problem]) -> list[Layer]:
    layers: list[Layer] = []
    words = (origin.SYSTEM, origin.HOME, origin.PROJECT, origin.FILE)
    for word, path in zip(words, files, strict=True):
        if path is None:
            continue
        try:
            layers.append(read_layer(word, path, trusted=word != origin.PROJECT or _trusted(files, layers)))
        except ConfigurationError as error:
            problems.append(Problem("", error.message, None, error.details.get("line")))
    return layers


def _trusted(files: Found, below: list[Layer]) -> bool:
    folder = os.path.realpath(files.project_folder or "")
    for layer in below:
        section = layer.values.get("security", {})
        listed = section.get("trusted_projects", []) if isinstance(section, dict) else []
        for item in listed if isinstance(listed, list) else []:
            root = os.path.realpath(Path(str(item)).expanduser())
            if folder == root or folder.startswith(root.rstrip("/") + "/"):
                return True
    return False


def _profile_layers(
    files: Found, layers: list[Layer], spec: str | None, home: Path | None, cwd: Path, problems: list[Problem]
) -> list[Layer]:
    trusted = True
    if not spec:
        chooser = next((layer for layer in reversed(layers) if isinstance(layer.values.get("profile"), str)), None)
        if chooser is None:
            return []
        spec, trusted = chooser.values["profile"], chooser.trusted
    project = Path(files.project_folder) if files.project_folder else None
    try:
        found = profiles.resolve(spec, home=home, project=project, cwd=cwd)
    except ConfigurationError as error:
        problems.append(Problem("profile", error.message))
        return []
    untrusted = {layer.word for layer in layers if not layer.trusted}
    theirs = str(project / ".llmspell") + "/" if project and origin.PROJECT in untrusted else None
    return [
        Layer(
            origin.PROFILE,
            item.path,
            item.keys,
            line_numbers(item.text),
            trusted=(trusted or item.path.startswith(profiles.BUNDLED))
            and not (theirs and item.path.startswith(theirs)),
        )
        for item in found
    ]


def _environment(environ: Mapping[str, str], warnings: list[str], *, offline: bool) -> Layer:
    found: dict[str, Any] = {}
    if offline:
        found = {"providers": {"offline": True}, "tools": {"network": {"offline": True}}}
    for variable, path, text, _ in env.stated(environ):
        if path:
            _put(found, path, text)
        else:
            warnings.append(_unknown_variable(variable))
    return Layer(origin.ENVIRONMENT, "environment", found, {}, text=True)


def _unknown_variable(variable: str) -> str:
    from llmspell.base.registry import nearest

    known = [*env.flat_names(), *env.SPECIAL, *(env.name_of(path) for path in schema.keys())]  # noqa: SIM118  # a function
    near = nearest(variable, known, limit=1)
    return f"unknown variable {variable}" + (f", did you mean {near[0]}?" if near else "")


def _command_line(sets: Sequence[str], flags: Mapping[str, Any], problems: list[Problem]) -> Layer:
    found: dict[str, Any] = {}
    for item in sets:
        key, equals, text = item.partition("=")
        if equals and key.strip():
            _put(found, key.strip(), parse_value(text))
        else:
            problems.append(Problem(item, f"--set {item}: expected KEY=VALUE"))
    for key, value in flags.items():
        _put(found, key, value)
    return Layer(origin.COMMAND_LINE, None, found, {}, text=True)


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            inner = table[name] = {}
        table = inner
    table[last] = value


def _checked(entry: Entry, environ: Mapping[str, str], guard: Guard, problems: list[Problem]) -> Any:
    layer = entry.layer
    place = layer.place(entry.given)
    value = entry.value
    try:
        if layer.folder is not None:
            value = expand(value, environ=environ, base=layer.folder, trusted=guard.may_expand(entry))
    except LLMSpellError as error:
        message = f"{entry.path}: {error.message}"
        problems.append(Problem(entry.path, message, *place, denied=isinstance(error, SecurityError)))
        return _BAD
    key = schema.find(entry.path)
    if key is None:  # an option of a tool, whose type only the tool knows
        return parse_value(value) if layer.word == origin.ENVIRONMENT and isinstance(value, str) else value
    if entry.path in PATH_KEYS and isinstance(value, str):
        value = str((layer.folder or Path()) / Path(value).expanduser())
    try:
        return values.check(key, entry.path, value, text=layer.text)
    except ValueError as error:
        problems.append(Problem(entry.path, str(error), *place))
        return _BAD


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return new


def _places(merged: dict[str, Any]) -> None:
    """Turn `storage.*` into the paths of the stores that state none of their own."""
    base = merged.get("storage.base_dir")
    for target, own, name in (
        ("runtime.state_persistence.path", "storage.database_path", "state"),
        ("rag.vector_storage.persistence_path", "storage.vectors_dir", "vectors"),
    ):
        if merged.get(target) is None:
            path = merged.get(own) or (str(Path(base) / name) if base else None)
            if path:
                merged[target] = path


def _check_default_provider(name: str | None, defined: list[str], origins: dict[str, origin.Origin]) -> None:
    known = [*defined, "echo", "scripted"]
    if name is None or name in known:
        return
    _, file, line = origins.get("providers.default_provider", ("", None, None))
    message = f"providers.default_provider = {name!r}: no such provider is defined; defined: {', '.join(known)}"
    _raise([Problem("providers.default_provider", message, file, line)])


def _readable_by_others(layers: list[Layer]) -> list[str]:
    found = []
    for layer in layers:
        if layer.folder is None or not layer.source or "api_key" not in str(layer.values):
            continue
        if Path(layer.source).stat().st_mode & 0o004 and any(schema.is_secret(path) for path in layer.lines):
            found.append(f"{layer.source} holds a secret and is readable by everyone: chmod 600 {layer.source}")
    return found


def _raise(problems: list[Problem]) -> None:
    if not problems:
        return
    texts = [problem.text() for problem in problems]
    message = texts[0] if len(texts) == 1 else f"{len(texts)} problems:\n  " + "\n  ".join(texts)
    details = {"errors": [problem.plain() for problem in problems], "keys": [problem.key for problem in problems]}
    if all(problem.denied for problem in problems):
        raise SecurityError(message, code="project_denied", details=details)
    raise ConfigurationError(f"invalid configuration: {message}", details=details)
