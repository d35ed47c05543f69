"""Completion in the REPL: globals, fields, methods, keywords, names inside strings, files, dot-commands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion

if TYPE_CHECKING:
    from prompt_toolkit.document import Document

    from llmspell.cli.repl_session import Repl

KEYWORDS = (
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
)  # fmt: skip
_PATH = re.compile(r"((?:[A-Za-z_]\w*[.:])*)([A-Za-z_]\w*)?$")
_STRING = re.compile(r"""([A-Za-z_][\w.:]*)?\s*\(?\s*(["'])([^"']*)$""")
_FILES_AFTER = (".load", ".save", ".run", ".cd", ".ls")
MAX_FILES = 200


class LuaCompleter(Completer):
    """Completes what stands before the cursor."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield completions of the last word."""
        text = document.text_before_cursor
        for start, word in self.candidates(text):
            yield Completion(word, start_position=-start)

    def candidates(self, text: str) -> list[tuple[int, str]]:
        """Return (characters to replace, word) for each completion of `text`, sorted."""
        line = text.rpartition("\n")[2]
        if text.startswith("."):
            return sorted(set(self._dot(text)), key=lambda pair: pair[1])
        string = _STRING.search(line)
        if string is not None and line[: string.start(2)].count(string[2]) % 2 == 0:
            return sorted(set(self._in_string(string[1] or "", string[3])), key=lambda pair: pair[1])
        return sorted(set(self._names(line)), key=lambda pair: pair[1])

    def _dot(self, text: str) -> Iterator[tuple[int, str]]:
        from llmspell.cli.repl_commands import COMMANDS

        command, blank, rest = text.partition(" ")
        if not blank:
            yield from ((len(command), name) for name in COMMANDS if name.startswith(command))
        elif command in _FILES_AFTER:
            yield from ((len(rest), name) for name in _files(rest))
        elif command in (".tool", ".help", ".h"):
            yield from ((len(rest), name) for name in self._repl.tool_names() if name.startswith(rest))

    def _in_string(self, call: str, start: str) -> Iterator[tuple[int, str]]:
        owner = re.split(r"[.:]", call)[0]
        names = {
            "Tool": self._repl.tool_names,
            "Tools": self._repl.tool_names,
            "Provider": self._repl.provider_names,
            "Agent": self._repl.agent_names,
        }.get(owner)
        words = [name for name in names() if name.startswith(start)] if names is not None else []
        yield from ((len(start), name) for name in words or _files(start))

    def _names(self, line: str) -> Iterator[tuple[int, str]]:
        match = _PATH.search(line)
        if match is None:
            return
        path, start = match[1], match[2] or ""
        if not path:
            if start:
                names = [*KEYWORDS, *self._repl.interp.globals()]
                yield from ((len(start), name) for name in names if name.startswith(start))
            return
        methods_only = path.endswith(":")
        for field in self._repl.interp.fields(re.sub(":", ".", path)[:-1]):
            if field["name"].startswith(start) and (not methods_only or field["type"] == "function"):
                yield len(start), field["name"]


def _files(start: str) -> Iterator[str]:
    folder, name = os.path.split(start)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found)[:MAX_FILES]
    except OSError:
        return  # no such folder: nothing to offer
    for entry, is_folder in entries:
        if entry.startswith(name) and (name or not entry.startswith(".")):
            yield os.path.join(folder, entry) + ("/" if is_folder else "")
