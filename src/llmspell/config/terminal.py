"""What the environment wishes for the terminal: colour, form of output, level, editor. Imports only `os`."""

from __future__ import annotations

import os


def color_wish(terminal: bool) -> bool:
    """Return whether colours are wanted on a stream. Source: no-color.org, bixense.com/clicolors."""
    environ = os.environ
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR") or environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return terminal and environ.get("CLICOLOR") != "0" and environ.get("TERM") != "dumb"


def columns() -> int:
    """Return the width that COLUMNS states, else that of the terminal, else 80."""
    stated = os.environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated) > 0:
        return int(stated)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def output_wish() -> str | None:
    """Return the form of output that LLMSPELL_OUTPUT asks for."""
    return os.environ.get("LLMSPELL_OUTPUT") or None


def level_wish() -> str | None:
    """Return the level that LLMSPELL_LOG asks for."""
    return os.environ.get("LLMSPELL_LOG") or None


def engine_wish() -> str | None:
    """Return the engine that LLMSPELL_ENGINE asks for."""
    return os.environ.get("LLMSPELL_ENGINE") or None


def home_folder(given: str | None = None) -> str:
    """Return the folder of all data: `given`, LLMSPELL_HOME, or ~/.llmspell."""
    chosen = given or os.environ.get("LLMSPELL_HOME") or os.path.join("~", ".llmspell")
    return os.path.abspath(os.path.expanduser(chosen))  # pathlib costs 5 ms on the start path


def editor() -> str:
    """Return the command that edits a file."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def environment() -> dict[str, str]:
    """Return a copy of the environment, for the loader."""
    return dict(os.environ)
