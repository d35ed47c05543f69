"""The dot-commands of the REPL: one table, one function each."""

from __future__ import annotations

import fnmatch
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.cli.output import LEVELS
from llmspell.cli.repl_show import show
from llmspell.errors import LLMSpellError, ValidationError

if TYPE_CHECKING:
    from llmspell.cli.repl_session import Repl

Action = Callable[["Repl", str], Awaitable[None]]


async def command(repl: Repl, text: str) -> bool:
    """Run one dot-command; tell whether it went well."""
    name, _, rest = text.partition(" ")
    name = ALIASES.get(name, name)
    action = COMMANDS.get(name)
    try:
        if action is None:
            from llmspell.base.registry import nearest

            near = nearest(name, list(COMMANDS), limit=1)
            raise ValidationError(f"unknown command {name}" + (f", did you mean {near[0]}?" if near else "; see .help"))
        await action(repl, rest.strip())
    except LLMSpellError as error:
        repl.out.fail(error.to_wire())
        return False
    except (OSError, ValueError) as error:
        repl.out.fail({"message": f"{name}: {error}"})
        return False
    finally:
        sys.stdout.flush()
    return True


async def _help(repl: Repl, rest: str) -> None:
    """.help [TOPIC]: this list, or what a global or tool is"""
    if not rest:
        lines = [str(action.__doc__).partition(": ") for action in COMMANDS.values()]
        table = repl.out.table(("COMMAND", "WHAT IT DOES"), [(usage, text) for usage, _, text in lines])
        repl.out.write(table + "\n")
        return
    if rest in repl.interp.globals():
        names = [f"{field['name']} ({field['type']})" for field in repl.interp.fields(rest)]
        repl.out.write(f"{rest}: {repl.interp.globals()[rest]}\n" + "".join(f"  {name}\n" for name in sorted(names)))
        return
    from llmspell.cli.tool_static import find
    from llmspell.tools._manifest import MANIFEST

    item = find(MANIFEST, rest)
    if item is None:
        raise ValidationError(f"no global and no tool {rest!r}")
    rows = [(one["name"], one.get("type", ""), one.get("description", "")) for one in item["parameters"]]
    table = repl.out.table(("PARAMETER", "TYPE", "DESCRIPTION"), rows) if rows else "no parameters"
    repl.out.write(f"{item['name']}: {item['description']}\n{table}\n")


async def _exit(repl: Repl, _rest: str) -> None:
    """.exit: leave"""
    repl.leave = True


async def _clear(repl: Repl, _rest: str) -> None:
    """.clear: clear the screen"""
    repl.out.write("\033[2J\033[H")


async def _load(repl: Repl, rest: str) -> None:
    """.load FILE: run a file in this state"""
    await repl.load(_needed(rest, ".load FILE"))


async def _save(repl: Repl, rest: str) -> None:
    """.save FILE: save this session's inputs as a script"""
    path = _path(_needed(rest, ".save FILE"))
    path.write_text("".join(f"{text}\n" for text in repl.inputs), encoding="utf-8")
    repl.out.write(f"saved {len(repl.inputs)} inputs to {path}\n")


async def _run(repl: Repl, rest: str) -> None:
    """.run FILE [ARGS]: run a file in a fresh interpreter"""
    from llmspell.cli.interrupts import interruptible
    from llmspell.cli.run import read_source
    from llmspell.lua.engine import Interpreter

    path, *args = shlex.split(_needed(rest, ".run FILE [ARGS]"))
    stdout: Any = sys.stdout.buffer
    stderr: Any = sys.stderr.buffer
    source = read_source(path)
    fresh = Interpreter(
        repl.app, profile=repl.profile, script=path, args=args, stdout=stdout, stderr=stderr, tenant=repl.tenant
    )
    try:
        with interruptible(fresh):
            outcome = await fresh.run(source, f"@{path}")
    finally:
        await fresh.close()
    if outcome.error is not None:
        raise outcome.error


async def _edit(repl: Repl, _rest: str) -> None:
    """.edit: open $VISUAL or $EDITOR on the last input, then run it"""
    import subprocess
    import tempfile

    from llmspell.config.terminal import editor

    with tempfile.TemporaryDirectory(prefix="llmspell-edit-") as folder:
        path = Path(folder) / "input.lua"
        path.write_text(repl.inputs[-1] if repl.inputs else "", encoding="utf-8")
        done = subprocess.run([*shlex.split(editor()), str(path)], check=False)  # noqa: ASYNC221, S603  # the user's editor
        text = path.read_text(encoding="utf-8")
    if done.returncode == 0 and text.strip():
        await repl.handle(text)


async def _history(repl: Repl, rest: str) -> None:
    """.history [N|PATTERN]: list earlier inputs"""
    entries = list(enumerate(repl.history.entries() if repl.history else repl.inputs, 1))
    if rest.isdecimal():
        entries = entries[-int(rest) :]
    elif rest:
        entries = [(number, text) for number, text in entries if rest in text or fnmatch.fnmatch(text, rest)]
    repl.out.write("".join(f"{number:>5}  {text}\n" for number, text in entries))


async def _clear_history(repl: Repl, _rest: str) -> None:
    """.clear-history: erase the history"""
    if repl.history is not None:
        repl.history.clear()
    repl.inputs.clear()


async def _variables(repl: Repl, rest: str) -> None:
    """.variables [PATTERN]: globals of this session: name, type, size"""
    found = {name: kind for name, kind in repl.interp.globals().items() if name not in repl.builtins}
    rows = [
        (name, kind, len(repl.interp.fields(name)) if kind == "table" else "")
        for name, kind in sorted(found.items())
        if not rest or fnmatch.fnmatch(name, rest)
    ]
    repl.out.write(repl.out.table(("NAME", "TYPE", "SIZE"), rows) + "\n" if rows else "no variables\n")


async def _set(repl: Repl, rest: str) -> None:
    """.set NAME VALUE: set a global; VALUE is a Lua expression, else text"""
    name, _, text = rest.partition(" ")
    if not (name.isidentifier() and text.strip()):
        raise ValidationError("usage: .set NAME VALUE")
    source = f"{name} = {text}".encode()
    if repl.interp.check(source, "=set") is not None:
        repl.interp.set_global(name, text)
        return
    outcome = await repl.outcome(source, "=set")
    if outcome.error is not None:
        raise outcome.error


async def _unset(repl: Repl, rest: str) -> None:
    """.unset NAME: remove a global"""
    if not rest.isidentifier():
        raise ValidationError("usage: .unset NAME")
    repl.interp.set_global(rest, None)


async def _cd(repl: Repl, rest: str) -> None:
    """.cd [PATH]: change the working directory"""
    os.chdir(_path(rest or "~"))
    repl.out.write(f"{Path.cwd()}\n")


async def _pwd(repl: Repl, _rest: str) -> None:
    """.pwd: show the working directory"""
    repl.out.write(f"{Path.cwd()}\n")


async def _ls(repl: Repl, rest: str) -> None:
    """.ls [PATH]: list a folder"""
    with os.scandir(_path(rest or ".")) as found:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in found)
    repl.out.write("".join(f"{name}\n" for name in names))


async def _info(repl: Repl, _rest: str) -> None:
    """.info: profile, limits and what was used of them"""
    rows = [(name, one["used"], one["limit"] or "none") for name, one in repl.interp.used().items()]
    repl.out.write(f"profile {repl.profile}, home {repl.app.home}, {len(repl.inputs)} inputs\n")
    repl.out.write(repl.out.table(("RESOURCE", "USED", "LIMIT"), rows) + "\n")


async def _perf(repl: Repl, rest: str) -> None:
    """.perf [on|off]: show time and Lua memory after each run"""
    repl.perf = {"on": True, "off": False}.get(rest.lower(), not repl.perf)
    repl.out.write(f"perf {'on' if repl.perf else 'off'}\n")


async def _reset(repl: Repl, _rest: str) -> None:
    """.reset: start over with a new Lua state"""
    await repl.reset()
    repl.out.write("new Lua state\n")


async def _tools(repl: Repl, rest: str) -> None:
    """.tools [WORDS]: list or search tools"""
    from llmspell.cli.tool_static import score
    from llmspell.tools._manifest import MANIFEST

    words = rest.lower().split()
    found = [item for item in MANIFEST if not words or score(item, words) > 0]
    found.sort(key=lambda item: (-score(item, words) if words else 0, item["name"]))
    rows = [(item["name"], item["category"], item["description"]) for item in found]
    repl.out.write(repl.out.table(("NAME", "CATEGORY", "DESCRIPTION"), rows) + "\n" if rows else "no tool matches\n")


async def _tool(repl: Repl, rest: str) -> None:
    """.tool NAME JSON: call a tool"""
    from llmspell.base.jsontext import loads

    name, _, text = _needed(rest, ".tool NAME JSON").partition(" ")
    params = loads(text) if text.strip() else {}
    lane = repl.interp.lane
    envelope = await lane.tools.call(name, params, lane.context)
    if not envelope["success"]:
        repl.out.fail(envelope["error"])
        return
    repl.out.write(f"{envelope.get('text') or show(envelope.get('result'))}\n")


async def _agents(repl: Repl, _rest: str) -> None:
    """.agents: list this session's agents"""
    repl.out.write("".join(f"{name}\n" for name in repl.agent_names()) or "no agents\n")


async def _state(repl: Repl, rest: str) -> None:
    """.state [SCOPE] [KEY]: list the keys of a scope, or show a value; the scope is global"""
    parts = rest.split()
    scope = parts[0] if parts else "global"
    if len(parts) > 1:
        repl.out.write(f"{show(repl.app.state.get(parts[1], scope=scope))}\n")
        return
    repl.out.write("".join(f"{key}\n" for key in repl.app.state.list_keys(scope)) or "no keys\n")


async def _trace(repl: Repl, rest: str) -> None:
    """.trace LEVEL: diagnostics on standard error: off, error, warn, info, debug, trace"""
    from llmspell.metrics.logs import install, uninstall

    if rest not in LEVELS:
        raise ValidationError(f"unknown level {rest!r}: one of {', '.join(LEVELS)}")
    if repl.handler is not None:
        uninstall(repl.handler)
    repl.handler = install(rest)
    repl.out.level = rest


async def _chat(repl: Repl, rest: str) -> None:
    """.chat TEXT: say something to a model"""
    await repl.conversation().say(_needed(rest, ".chat TEXT"))


async def _model(repl: Repl, rest: str) -> None:
    """.model [MODEL]: show or choose the model of .chat"""
    chat = repl.conversation()
    if rest:
        repl.app.providers.resolve(rest)
        chat.model = rest
    repl.out.write(f"{chat.model or 'default'}\n")


async def _system(repl: Repl, rest: str) -> None:
    """.system [PROMPT]: show or set the system prompt of .chat"""
    chat = repl.conversation()
    if rest:
        chat.system = rest
    repl.out.write(f"{chat.system or 'none'}\n")


async def _context(repl: Repl, _rest: str) -> None:
    """.context: show the conversation of .chat"""
    repl.out.write("".join(f"{one.role}: {one.content}\n" for one in repl.conversation().messages) or "empty\n")


async def _clear_chat(repl: Repl, _rest: str) -> None:
    """.clearchat: forget the conversation of .chat"""
    repl.conversation().messages.clear()


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _needed(rest: str, usage: str) -> str:
    if not rest:
        raise ValidationError(f"usage: {usage}")
    return rest


COMMANDS: dict[str, Action] = {
    ".help": _help, ".exit": _exit, ".clear": _clear, ".load": _load, ".save": _save, ".run": _run, ".edit": _edit,
    ".history": _history, ".clear-history": _clear_history, ".variables": _variables, ".set": _set, ".unset": _unset,
    ".cd": _cd, ".pwd": _pwd, ".ls": _ls, ".info": _info, ".perf": _perf, ".reset": _reset, ".tools": _tools,
    ".tool": _tool, ".agents": _agents, ".state": _state, ".trace": _trace, ".chat": _chat, ".model": _model,
    ".system": _system, ".context": _context, ".clearchat": _clear_chat,
}  # fmt: skip
ALIASES = {
    ".h": ".help", ".?": ".help", ".quit": ".exit", ".q": ".exit", ".cls": ".clear", ".e": ".edit", ".hist": ".history",
    ".vars": ".variables",
}  # fmt: skip
