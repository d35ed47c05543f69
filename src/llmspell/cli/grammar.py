"""From words to a call: global options anywhere, one command, its options and arguments, `--` and what follows.

    llmspell [GLOBAL] COMMAND [SUBCOMMAND] [OPTIONS] [ARGS] [-- SCRIPT-ARGS]

A word is an option when it starts with `-` and a letter follows the dashes; so `-5`, `-` and Lua comments are not.
"""

from __future__ import annotations

from llmspell.cli.table import (
    ALIASES,
    COMMANDS,
    GLOBALS,
    GROUPS,
    RESERVED,
    Command,
    Option,
    find,
    subcommands,
    top_level,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class UsageError(Exception):
    """The command line is wrong. hint: what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Call:
    """One parsed command line. `command` is None when only global options were given, `group` then may name one."""

    __slots__ = ("args", "command", "given", "group", "options", "rest")

    def __init__(self) -> None:
        self.command: Command | None = None
        self.group = ""
        self.options: dict[str, Any] = {}
        self.given: dict[str, Any] = {}
        self.args: list[str] = []
        self.rest: list[str] | None = None

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of an option of the command."""
        return self.options.get(key, default)

    def flag(self, key: str) -> Any:
        """Return the value of a global option, None when it is absent."""
        return self.given.get(key)

    @property
    def name(self) -> str:
        """Full name of the command."""
        return self.command.name if self.command else self.group


class _Words:
    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.at = 0
        self.call = Call()
        self.words: list[str] = []

    def parse(self) -> Call:
        self.command_words()
        while self.at < len(self.argv):
            word = self.take()
            if word == "--":
                self.after_dashes()
                break
            if is_option(word):
                self.option(word)
            else:
                self.call.args.append(word)
        return self.call

    def take(self) -> str:
        self.at += 1
        return self.argv[self.at - 1]

    def command_words(self) -> None:
        """Read up to the end of the command's name."""
        while self.at < len(self.argv) and self.call.command is None:
            word = self.take()
            if word == "--":
                self.at -= 1
                return
            if is_option(word):
                self.option(word)
                continue
            if not self.call.group:
                self.first_word(word)
            else:
                self.call.command = find(f"{self.call.group} {word}")
                if self.call.command is None:
                    known = [command.name.partition(" ")[2] for command in subcommands(self.call.group)]
                    raise UsageError(f"unknown command '{self.call.group} {word}'", _suggest(word, known))

    def first_word(self, word: str) -> None:
        word = ALIASES.get(word, word)
        if word in GROUPS:
            self.call.group = word
            return
        self.call.command = find(word)
        if self.call.command is None and word in RESERVED:
            raise UsageError(f"'{word}' is reserved and no command of this version")
        if self.call.command is None:
            raise UsageError(f"unknown command '{word}'", _suggest(word, list(top_level())))

    def option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            option, own = self.find(name)
            self.store(option, own, value if equals else None)
            return
        letters = word[1:]
        while letters:
            option, own = self.find("-" + letters[0])
            letters = letters[1:]
            if option.meta is not None:
                self.store(option, own, letters.removeprefix("=") if letters else None)
                return
            self.store(option, own, None)

    def find(self, name: str) -> tuple[Option, bool]:
        own = self.call.command.options if self.call.command else ()
        for option in own:
            if name in option.names():
                return option, True
        for option in GLOBALS:
            if name in option.names():
                return option, False
        known = [item for option in (*own, *GLOBALS) for item in option.names() if item.startswith("--")]
        where = f" of '{self.call.name}'" if self.call.name else ""
        raise UsageError(f"unknown option '{name}'{where}", _suggest(name, known))

    def store(self, option: Option, own: bool, value: str | None) -> None:
        target = self.call.options if own else self.call.given
        if option.meta is None:
            if value is not None:
                raise UsageError(f"option '{option.long}' takes no value")
            target[option.key] = target.get(option.key, 0) + 1 if option.many else True
            return
        if value is None:
            if self.at >= len(self.argv):
                raise UsageError(f"option '{option.long}' needs a value: {option.long} {option.meta}")
            value = self.take()
        if option.choices:
            value = value.lower()
            if value not in option.choices:
                expected = f"expected one of {', '.join(option.choices)}"
                raise UsageError(
                    f"option '{option.long}': {value!r}: {expected}", _suggest(value, list(option.choices))
                )
        if option.many:
            target.setdefault(option.key, []).append(value)
        else:
            target[option.key] = value

    def after_dashes(self) -> None:
        remaining = self.argv[self.at :]
        if self.call.command is not None and self.call.command.rest:
            needed = self.call.command.least - len(self.call.args)
            self.call.args += remaining[: max(0, needed)]
            self.call.rest = remaining[max(0, needed) :]
        else:
            self.call.args += remaining


def parse(argv: list[str]) -> Call:
    """Return the call that the words mean. Raises UsageError."""
    call = _Words(argv).parse()
    command = call.command
    if command is None or call.flag("help") or call.flag("version"):
        return call
    if len(call.args) < command.least:
        raise UsageError(f"'{command.name}' needs more: llmspell {command.name} {command.args}")
    if command.most is not None and len(call.args) > command.most:
        raise UsageError(f"'{command.name}': unexpected argument {call.args[command.most]!r}")
    return call


def is_option(word: str) -> bool:
    """Return whether a word is an option: dashes, then a letter, and no blank before `=`."""
    if len(word) < 2 or word[0] != "-" or word == "--":
        return False
    name = word.partition("=")[0].lstrip("-")
    return name[:1].isalpha() and name.replace("-", "a").replace("_", "a").isalnum() and not word.startswith("---")


def _suggest(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}" if len(known) < 20 else ""


def all_commands() -> tuple[Command, ...]:
    """Return every command."""
    return COMMANDS
