"""Writes docs/reference: `python docs/generate.py`. A test fails when the pages are stale.

The command line comes from the table of commands, configuration from the annotations of its model, tools from the
manifest, globals from their classes and companion chunks.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from globals_page import globals_page

REFERENCE = Path(__file__).parent / "reference"
EXIT_CODES = {
    "OK": "success",
    "FAILED": "an error without a code of its own",
    "USAGE": "wrong command line",
    "CONFIGURATION": "wrong or missing configuration",
    "NOT_FOUND": "something named does not exist",
    "DENIED": "denied by the sandbox",
    "BUDGET": "a budget was used up",
    "UNREACHABLE": "a model service failed or cannot be reached",
    "TIME": "a time limit",
    "INTERRUPTED": "interrupted",
    "TERMINATED": "terminated",
}


def row(*cells: object) -> str:
    """Return one line of a table."""
    texts = [" ".join(str(cell).split()).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    """Return the lines of a table, an empty one behind it."""
    return [row(*head), f"|{'---|' * len(head)}", *(row(*cells) for cells in rows), ""]


def page(title: str, source: str, lines: list[str]) -> str:
    """Return a page."""
    head = [f"# {title}", "", f"Generated from {source} by `make docs`; do not edit.", ""]
    return "\n".join([*head, *lines]).rstrip() + "\n"


def cli_page() -> str:
    """Return the page of commands, options and exit codes."""
    from llmspell.cli import exit_codes
    from llmspell.cli.table import ALIASES, COMMANDS, GLOBALS

    lines = ["`llmspell [GLOBAL] COMMAND [OPTIONS] [ARGS] [-- SCRIPT-ARGS]`", "", "## Global options", ""]
    lines += table(("Option", "Meaning"), [_option(option) for option in GLOBALS])
    lines += ["## Commands", ""]
    for command in COMMANDS:
        lines += [
            f"### {command.name}",
            "",
            f"{command.summary}: `llmspell {command.name} {command.args}".rstrip() + "`",
            "",
        ]
        if command.options:
            lines += table(("Option", "Meaning"), [_option(option) for option in command.options])
    lines += [f"`{alias}` is `{name}`." for alias, name in sorted(ALIASES.items())] + ["", "## Exit codes", ""]
    codes = [(getattr(exit_codes, name), meaning) for name, meaning in EXIT_CODES.items()]
    return page("Command line", "`src/llmspell/cli/table.py`", lines + table(("Code", "Meaning"), sorted(codes)))


def _option(option: Any) -> tuple[object, ...]:
    names = ", ".join(filter(None, (option.short, option.long, *option.also)))
    text = f"{option.text} (repeatable)" if option.many and option.meta else option.text
    missing = [choice for choice in option.choices if choice not in option.text]
    shown = f"`{names} {option.meta}`" if option.meta else f"`{names}`"
    return shown, f"{text}: {', '.join(option.choices)}" if missing else text


def config_page() -> str:
    """Return the page of keys, profiles and special variables."""
    import llmspell
    from llmspell.config.env import SPECIAL
    from llmspell.config.schema import keys

    sections: dict[str, list[Any]] = {}
    for path, key in keys().items():
        sections.setdefault(path.rpartition(".")[0], []).append(key)
    lines = [
        "A key `a.b.c` is `c` in the table `[a.b]` of a file, `--set a.b.c=VALUE` on the command line, and the",
        "variable `LLMSPELL_A__B__C`. `*` stands for a name you choose.",
        "",
    ]
    for section, found in sections.items():
        lines += [f"## {section or 'Top level'}", ""]
        lines += table(
            ("Key", "Type", "Default", "Meaning"),
            [(f"`{key.path.rpartition('.')[2]}`", _kind(key), _default(key), _meaning(key)) for key in found],
        )
    lines += ["## Variables that are no keys", ""]
    lines += table(("Variable", "Meaning"), [(f"`{name}`", text) for name, text in SPECIAL.items()])
    lines += ["## Profiles", ""]
    folder = Path(str(llmspell.__file__)).parent / "config" / "profiles"
    profiles = [tomllib.loads(file.read_text(encoding="utf-8"))["profile"] for file in sorted(folder.glob("*.toml"))]
    rows: list[tuple[object, ...]] = [(f"`{item['name']}`", item["kind"], item["description"]) for item in profiles]
    return page("Configuration", "`src/llmspell/config/model.py`", lines + table(("Profile", "Kind", "For"), rows))


def _kind(key: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in key.choices) if key.choices else str(key.kind)


def _default(key: Any) -> str:
    value = key.default
    if value is None or value == () or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = ", ".join(str(item) for item in value) if isinstance(value, tuple) else str(value)
    return f"`{text}`"


def _meaning(key: Any) -> str:
    return f"{key.text} ({key.unit})" if key.unit else str(key.text)


def tools_page() -> str:
    """Return the page of the bundled tools."""
    from llmspell.tools._manifest import MANIFEST

    lines = ["All names also work with `_` for `-`. Levels: safe, restricted, privileged.", ""]
    for entry in MANIFEST:
        aliases = "".join(f", `{alias}`" for alias in entry["aliases"])
        facts = f"{entry['category']}, {entry['level']}"
        lines += [f"## {entry['name']}", "", str(entry["description"]), ""]
        lines += [f"Category and level: {facts}." + (f" Also: {aliases[2:]}." if aliases else ""), ""]
        if entry["parameters"]:
            lines += table(
                ("Parameter", "Type", "Default", "Meaning"), [_parameter(one) for one in entry["parameters"]]
            )
        if len(entry["operations"]) > 1:
            rows: list[tuple[object, ...]] = [
                (f"`{one['name']}`", one["level"], ", ".join(one["required"]), one["description"])
                for one in entry["operations"]
            ]
            lines += table(("Operation", "Level", "Requires", "Meaning"), rows)
    return page("Tools", "the annotations of `src/llmspell/tools`", lines)


def _parameter(one: dict[str, Any]) -> tuple[object, ...]:
    from json import dumps

    kind = ", ".join(f"`{choice}`" for choice in one["enum"]) if one.get("enum") else one["type"]
    default = "required" if one["required"] else f"`{dumps(one['default'])}`" if one.get("default") is not None else ""
    return f"`{one['name']}`", kind, default, one["description"]


def _globals_page() -> str:
    return globals_page(page, table)


PAGES = {"cli.md": cli_page, "config.md": config_page, "tools.md": tools_page, "globals.md": _globals_page}


def render() -> dict[str, str]:
    """Return every page by file name."""
    return {name: make() for name, make in PAGES.items()}


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in render().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
