"""`config list-profiles`: read with plain text scanning, since a TOML parser would double the start-up time."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def list_profiles(call: Call, out: Output) -> int:
    """List the profiles of the package, of home and of the project."""
    found = []
    for name, path in sorted(_paths(call.flag("home")).items()):
        try:
            found.append(_entry(name, path))
        except (OSError, ValueError) as error:
            out.warn(f"{path} is no profile: {error}")
    order = ("bases", "features", "envs", "backends", "presets")
    found.sort(key=lambda item: (order.index(item["kind"]) if item["kind"] in order else len(order), item["name"]))
    if call.get("detailed"):
        rows = [
            (item["name"], item["kind"], ", ".join(item["extends"]), ", ".join(item["use_cases"]), item["description"])
            for item in found
        ]
        headers: tuple[str, ...] = ("NAME", "KIND", "EXTENDS", "FOR", "DESCRIPTION")
        out.emit({"profiles": found}, lambda: out.table(headers, rows), items="profiles")
        return 0
    out.emit(
        {"profiles": found},
        lambda: out.table(
            ("NAME", "KIND", "DESCRIPTION"), [(one["name"], one["kind"], one["description"]) for one in found]
        ),
        items="profiles",
    )
    return 0


def _paths(home: str | None) -> dict[str, str]:
    from llmspell.config import terminal

    bundled = os.path.join(os.path.dirname(str(terminal.__file__)), "profiles")
    found: dict[str, str] = {}
    for folder in (
        bundled,
        os.path.join(terminal.home_folder(home), "profiles"),
        os.path.join(".llmspell", "profiles"),
    ):
        try:
            entries = os.listdir(folder)
        except OSError:
            continue  # a folder of profiles that is not there holds none
        found |= {entry[:-5]: os.path.join(folder, entry) for entry in entries if entry.endswith(".toml")}
    return found


def _entry(name: str, path: str) -> dict[str, Any]:
    """Return the `[profile]` table of a file. Values that need a parser (several lines, escapes) get one."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    info: dict[str, Any] = {}
    table = ""
    for line in text.splitlines():
        plain = line.strip()
        if plain.startswith("["):
            table = plain
        elif table == "[profile]" and "=" in plain:
            key, _, value = plain.partition("=")
            info[key.strip()] = _value(value.strip())
    if any(value is None for value in info.values()):
        import tomllib

        info = tomllib.loads(text).get("profile", {})
        if not isinstance(info, dict):
            raise ValueError("[profile] must be a table")
    return {
        "name": str(info.get("name", name)),
        "kind": str(info.get("kind", "presets")),
        "description": str(info.get("description", "")),
        "extends": _words(info.get("extends", [])),
        "use_cases": _words(info.get("use_cases", [])),
    }


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _value(text: str) -> str | list[str] | None:
    if len(text) > 1 and text[0] == text[-1] == '"' and "\\" not in text and text.count('"') == 2:
        return text[1:-1]
    if text.startswith("[") and text.endswith("]") and "\\" not in text and "'" not in text:
        return text[1:-1].split('"')[1::2]
    return None
