"""`completion` writes a static script; `__complete KIND` answers with names the script cannot know."""

from __future__ import annotations

import sys

from llmspell.cli.table import COMMANDS, GLOBALS, GROUPS, Command, Option, subcommands, top_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output

SHELLS = ("bash", "zsh", "fish")


def script(call: Call, out: Output) -> int:
    """Write the completion script of a shell."""
    shell = call.args[0].lower()
    if shell not in SHELLS:
        from llmspell.cli.grammar import UsageError

        raise UsageError(f"unknown shell {call.args[0]!r}", f"one of {', '.join(SHELLS)}")
    text = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()
    out.emit({"shell": shell, "script": text}, text)
    return 0


def complete(words: list[str]) -> int:
    """Write the names of a kind, one per line: tool, provider, key, profile. Unknown kinds have none."""
    kind = words[0] if words else ""
    start = words[1] if len(words) > 1 else ""
    names = sorted(name for name in _names(kind) if name.startswith(start))
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return 0


def _names(kind: str) -> list[str]:
    if kind == "tool":
        from llmspell.tools._manifest import MANIFEST

        return [str(item["name"]) for item in MANIFEST]
    if kind == "provider":
        from llmspell.config.env import PROVIDER_KEYS

        return [*PROVIDER_KEYS, "ollama", "echo", "scripted"]
    if kind == "key":
        from llmspell.config.schema import keys

        return list(keys())
    if kind == "profile":
        from llmspell.config.profiles import names

        return list(names())
    return []


def _options(command: Command) -> list[str]:
    return [name for option in (*command.options, *GLOBALS) for name in option.names()]


def _bash() -> str:
    cases = []
    for command in COMMANDS:
        names = " ".join(_options(command))
        kind = command.complete
        words = {
            "": "",
            "file": 'mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")',
        }.get(kind, f'COMPREPLY+=($(compgen -W "$(llmspell __complete {kind})" -- "$cur"))')
        if command.name == "completion":
            words = f'COMPREPLY+=($(compgen -W "{" ".join(SHELLS)}" -- "$cur"))'
        cases.append(f'    "{command.name}") options="{names}"; [[ $cur != -* ]] && {{ {words or ":"}; }} ;;')
    groups = [
        f'    "{group}") COMPREPLY=($(compgen -W "{" ".join(_leaves(group))}" -- "$cur")); return ;;'
        for group in GROUPS
    ]
    valued = "|".join(
        sorted(
            {name for one in COMMANDS for option in (*one.options, *GLOBALS) if option.meta for name in option.names()}
        )
    )
    return f"""# bash completion of llmspell: eval "$(llmspell completion bash)"
_llmspell() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" command="" word skip=0 i
  local options="{" ".join(name for option in GLOBALS for name in option.names())}"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{COMP_WORDS[i]}}"
    if ((skip)); then skip=0; continue; fi
    case "$word" in
      {valued}) skip=1 ;;
      -*) ;;
      *) case "$command" in
           "") command="$word" ;;
           {"|".join(GROUPS)}) command="$command $word" ;;
         esac ;;
    esac
  done
  if ((skip)); then mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; fi
  case "$command" in
    "") COMPREPLY=($(compgen -W "{" ".join(top_level())}" -- "$cur")) ;;
{chr(10).join(groups)}
{chr(10).join(cases)}
  esac
  [[ $cur == -* ]] && COMPREPLY=($(compgen -W "$options" -- "$cur"))
}}
complete -o filenames -F _llmspell llmspell
"""


def _zsh() -> str:
    return (
        '# zsh completion of llmspell: eval "$(llmspell completion zsh)"\nautoload -U +X bashcompinit && bashcompinit\n'
        + _bash()
    )


def _fish() -> str:
    groups = " ".join(GROUPS)
    first = " ".join(top_level())
    lines = ["# fish completion of llmspell: llmspell completion fish | source", "complete -c llmspell -f"]
    for word, summary in top_level().items():
        lines.append(
            f"complete -c llmspell -n 'not __fish_seen_subcommand_from {first}' -a {word} -d {_quoted(summary)}"
        )
    for group in groups.split():
        leaves = " ".join(_leaves(group))
        for command in subcommands(group):
            leaf = command.name.partition(" ")[2]
            seen = f"__fish_seen_subcommand_from {group}; and not __fish_seen_subcommand_from {leaves}"
            lines.append(f"complete -c llmspell -n '{seen}' -a {leaf} -d {_quoted(command.summary)}")
    lines += [_fish_option(option, "") for option in GLOBALS]
    for command in COMMANDS:
        condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.name.split())
        lines += [_fish_option(option, condition) for option in command.options]
        if command.complete == "file":
            lines.append(f"complete -c llmspell -n '{condition}' -F")
        elif command.complete:
            lines.append(f"complete -c llmspell -n '{condition}' -a '(llmspell __complete {command.complete})'")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option, condition: str) -> str:
    parts = ["complete -c llmspell"]
    if condition:
        parts.append(f"-n '{condition}'")
    parts.append(f"-l {option.long[2:]}")
    if option.short:
        parts.append(f"-s {option.short[1:]}")
    if option.meta:
        parts.append("-r")
    return " ".join([*parts, f"-d {_quoted(option.text)}"])


def _leaves(group: str) -> list[str]:
    return [command.name.partition(" ")[2] for command in subcommands(group)]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
