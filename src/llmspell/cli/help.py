"""Help of every level, from the table."""

from __future__ import annotations

from llmspell.cli.table import GLOBALS, GROUPS, Command, Option, subcommands, top_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def show(call: Call, out: Output) -> int:
    """Write the help of the level the call names; without any command and without --help that is usage, exit 2."""
    text = command_help(call.command) if call.command else group_help(call.group) if call.group else top_help()
    if call.flag("help"):
        out.emit({"help": text}, text)
        return 0
    from llmspell.cli.grammar import UsageError

    if not call.group:
        if out.plain:
            out.note(text)
            return 2
        raise UsageError("no command", "see llmspell --help")

    known = ", ".join(command.name.partition(" ")[2] for command in subcommands(call.group))
    raise UsageError(f"'{call.group}' needs a command", f"one of {known}")


def top_help() -> str:
    """Return the help of the program."""
    lines = [
        "llmspell: sandboxed Lua spells that orchestrate language models",
        "",
        "Usage: llmspell [GLOBAL] COMMAND [OPTIONS] [ARGS] [-- SCRIPT-ARGS]",
        "",
        "Commands:",
    ]
    words = top_level()
    lines += columns([(word, summary) for word, summary in words.items()])
    return "\n".join([*lines, "", "Global options:", *options(GLOBALS), "", "llmspell COMMAND --help tells more."])


def group_help(group: str) -> str:
    """Return the help of a group of commands."""
    rows = [
        (f"{command.name.partition(' ')[2]} {command.args}".strip(), command.summary) for command in subcommands(group)
    ]
    head = [GROUPS[group], "", f"Usage: llmspell {group} COMMAND [OPTIONS]", "", "Commands:"]
    return "\n".join([*head, *columns(rows)])


def command_help(command: Command) -> str:
    """Return the help of a command."""
    usage = f"Usage: llmspell {command.name} [OPTIONS] {command.args}".rstrip()
    lines = [command.summary, "", usage]
    if command.options:
        lines += ["", "Options:", *options(command.options)]
    return "\n".join([*lines, "", "Global options: llmspell --help"])


def options(items: tuple[Option, ...]) -> list[str]:
    """Return the lines of options."""
    rows = []
    for option in items:
        names = ", ".join(filter(None, (option.short, option.long, *option.also)))
        text = option.text + (" (repeatable)" if option.many and option.meta else "")
        if option.choices and "|".join(option.choices) != option.meta and ", ".join(option.choices) not in option.text:
            text = f"{text}: {', '.join(option.choices)}"
        rows.append((f"{names} {option.meta}" if option.meta else names, text))
    return columns(rows)


def columns(rows: list[tuple[str, str]]) -> list[str]:
    """Return two aligned columns."""
    room = max((len(left) for left, _ in rows), default=0)
    return [f"  {left.ljust(room)}  {right}".rstrip() for left, right in rows]
