"""The line editor of the REPL: keys, highlighting, when Enter runs and when it continues."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout.processors import HighlightMatchingBracketProcessor
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from llmspell.cli.output import colored
from llmspell.cli.repl_complete import KEYWORDS, LuaCompleter

if TYPE_CHECKING:
    from prompt_toolkit.document import Document
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.history import History

    from llmspell.cli.repl_session import Repl

PROMPT, MORE = "llmspell> ", "      ..> "
_TOKEN = re.compile(r"""(--.*$)|("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)|(\b\d[\w.]*)|([A-Za-z_]\w*)|(\s+|.)""")
_STYLE = Style.from_dict(
    {"comment": "ansibrightblack", "string": "ansigreen", "number": "ansicyan", "keyword": "ansiblue bold"}
)


def make_session(repl: Repl, history: History) -> PromptSession[str]:
    """Return the prompt of a session."""
    import sys

    config = repl.app.config.cli
    colours = colored(repl.out.color, sys.stdout)
    return PromptSession(
        PROMPT,
        history=history,
        completer=LuaCompleter(repl),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory() if config.repl_autosuggest else None,
        editing_mode=EditingMode.VI if config.repl_edit_mode == "vi" else EditingMode.EMACS,
        multiline=True,
        key_bindings=bindings(repl),
        prompt_continuation=lambda width, line, wrapped: MORE,
        enable_history_search=True,
        lexer=LuaLexer() if colours else None,
        style=_STYLE if colours else None,
        input_processors=[HighlightMatchingBracketProcessor(chars="[](){}")],
        enable_open_in_editor=True,
    )


def bindings(repl: Repl) -> KeyBindings:
    """Return the keys: Enter runs a complete chunk, Alt-Enter always adds a line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:  # Any: an event of the line editor
        buffer = event.current_buffer
        state, indent = ready(repl, buffer.text)
        if state and buffer.document.is_cursor_at_the_end:
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n" + indent)

    @keys.add("escape", "enter")
    def _(event: Any) -> None:  # Any: an event of the line editor
        event.current_buffer.insert_text("\n")

    return keys


def ready(repl: Repl, text: str) -> tuple[bool, str]:
    """Return whether Enter runs `text`, and the indent of the next line when it does not.

    An invalid chunk runs, and so shows its error, once its last line is blank.
    """
    if text.startswith(".") or not text.strip():
        return True, ""
    state, indent = repl.interp.is_complete(text)
    last_blank = "\n" in text and not text.rpartition("\n")[2].strip()
    return state == "complete" or (state == "invalid" and last_blank), indent


class LuaLexer(Lexer):
    """Colours Lua line by line."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Return the function that colours a line."""
        return lambda number: colour(document.lines[number])


def colour(line: str) -> StyleAndTextTuples:
    """Return a line in styled pieces."""
    pieces: StyleAndTextTuples = []
    for match in _TOKEN.finditer(line):
        comment, string, number, name, other = match.groups()
        if name:
            pieces.append(("class:keyword" if name in KEYWORDS else "", name))
        else:
            style = "class:comment" if comment else "class:string" if string else "class:number" if number else ""
            pieces.append((style, comment or string or number or other))
    return pieces
