"""`repl`: an interactive interpreter on a terminal, a chunk reader when standard input is none.

Everything runs on one loop, so that tasks a chunk started go on while the next one is typed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.cli.exit_codes import FAILED, OK
from llmspell.cli.repl_show import show
from llmspell.cli.run_options import sandbox_of
from llmspell.cli.start import load_config, make_app, run_async, started
from llmspell.errors import LLMSpellError
from llmspell.lua.engine import Interpreter, Outcome

if TYPE_CHECKING:
    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.cli.repl_chat import Conversation
    from llmspell.cli.repl_history import SqliteHistory

PROMPT, MORE = "llmspell> ", "      ..> "


def repl(call: Call, out: Output) -> int:
    """Read, run and show until the end of input."""
    config = load_config(call, out).config
    session = Repl(make_app(config, call, out), sandbox_of(call, config), out)
    started()
    return run_async(session.main(call))


class Repl:
    """One session: an interpreter, its inputs, and the numbers of its values."""

    def __init__(self, app: App, profile: str, out: Output) -> None:
        self.app = app
        self.profile = profile
        self.out = out
        self.inputs: list[str] = []
        self.values = 0
        self.perf = False
        self.leave = False
        self.history: SqliteHistory | None = None
        self.handler: Any = None
        self._chat: Conversation | None = None
        self.interp = self.fresh()
        self.builtins = set(self.interp.globals())

    def fresh(self) -> Interpreter:
        """Return a new interpreter of this session."""
        stdout: Any = sys.stdout.buffer
        stderr: Any = sys.stderr.buffer
        stdin: Any = None if sys.stdin is None else sys.stdin.buffer
        return Interpreter(self.app, profile=self.profile, stdout=stdout, stderr=stderr, stdin=stdin, keep_tasks=True)

    async def reset(self) -> None:
        """Start over with a new Lua state."""
        await self.interp.close()
        self.interp = self.fresh()
        self.values = 0

    async def main(self, call: Call) -> int:
        """Run the session and return its exit code."""
        try:
            if call.get("load") and not await self.load(call.get("load")):
                return FAILED
            if sys.stdin.isatty() and sys.stdout.isatty():
                return await self.terminal(call)
            return await self.chunks(keep_going=bool(call.get("keep_going")))
        finally:
            if self.history is not None:
                self.history.close()
            await self.interp.close()
            await self.app.close()

    async def load(self, path: str) -> bool:
        """Run a file in this state."""
        from llmspell.cli.run import read_source

        return await self.run(read_source(path).decode("utf-8", "surrogateescape"), name=f"@{path}")

    async def terminal(self, call: Call) -> int:
        """Read with a line editor."""
        from llmspell.cli.repl_edit import make_session
        from llmspell.cli.repl_history import SqliteHistory

        path = (
            None if call.get("no_history") else Path(call.get("history") or self.app.home / "state" / "history.sqlite")
        )
        self.history = SqliteHistory(path, limit=self.app.config.cli.repl_history_size)
        session = make_session(self, self.history)
        if not call.get("no_banner"):
            from llmspell import __version__

            self.out.write(
                f"llmspell {__version__}, Lua 5.4, profile {self.profile}. .help shows commands, Ctrl-D leaves.\n"
            )
        while not self.leave:
            try:
                text = await session.prompt_async()
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            await self.handle(text)
        return OK

    async def chunks(self, *, keep_going: bool) -> int:
        """Read chunks from standard input, without prompts."""
        loop = asyncio.get_running_loop()
        pending, code = "", OK
        while not self.leave:
            # bytes, as scripts read them: a text layer would read ahead of them
            line = (await loop.run_in_executor(None, sys.stdin.buffer.readline)).decode("utf-8", "surrogateescape")
            pending += line
            if line and self.interp.is_complete(pending)[0] == "incomplete" and not pending.startswith("."):
                continue
            text, pending = pending, ""
            if text.strip() and not await self.handle(text):
                code = FAILED
                if not keep_going:
                    break
            if not line:
                break
        return code

    async def handle(self, text: str) -> bool:
        """Run one input, dot-command or chunk; tell whether it went well."""
        if not text.strip():
            return True
        if text.startswith("."):
            from llmspell.cli.repl_commands import command

            return await command(self, text.strip())
        self.inputs.append(text.rstrip("\n"))
        return await self.run(text)

    async def run(self, text: str, *, name: str = "=repl") -> bool:
        """Run a chunk in this state and show its values or its error."""
        source = text.encode("utf-8", "surrogateescape")
        try:
            outcome = await self.outcome(self.wrapped(source, name), name)
        except LLMSpellError as error:
            self.out.fail(error.to_wire())
            return False
        sys.stdout.flush()
        for warning in outcome.warnings:
            self.out.note(f"warning: {warning}")
        if outcome.exit_code is not None:
            self.leave = True
            return True
        if outcome.error is not None:
            self.out.fail({**outcome.error.to_wire(), "traceback": None})
            return False
        self.show_values(outcome)
        if self.perf:
            used = outcome.used["memory_bytes"]["used"]
            self.out.note(f"{outcome.duration_ms} ms, {used} bytes of Lua memory")
        return True

    async def outcome(self, source: bytes, name: str) -> Outcome:
        """Run source to its end; Ctrl-C interrupts it and keeps the state."""
        with interruptible(self.interp):
            return await self.interp.run(source, name)

    def wrapped(self, source: bytes, name: str) -> bytes:
        """Return an expression as a chunk that also keeps its values in `_` and `_n`; statements as they are."""
        expression = b"return " + source.strip().removesuffix(b";")
        if name != "=repl" or self.interp.check(expression, name) is not None:
            return source
        body = f'for i = 1, t.n do _ENV["_" .. ({self.values} + i)] = t[i] _ = t[i] end return ...'
        keep = f"local t = table.pack(...) {body}"
        wrapped = b"return (function(...) " + keep.encode() + b" end)(" + expression[7:] + b"\n)"
        return wrapped if self.interp.check(wrapped, name) is None else expression

    def show_values(self, outcome: Outcome) -> None:
        """Print the values of the last chunk as `[n]=> value`; a lone nil is not shown."""
        if outcome.unconvertible is None:
            shown = [show(value) for value in outcome.values]
            if shown == ["nil"]:
                self.values += 1
                return
        else:
            shown = self.interp.shown()
        for text in shown:
            self.values += 1
            self.out.write(f"[{self.values}]=> {text}\n")
        sys.stdout.flush()

    def conversation(self) -> Conversation:
        """Return the conversation of `.chat`."""
        from llmspell.cli.repl_chat import Conversation

        if self._chat is None:
            self._chat = Conversation(self.app, self.out)
        return self._chat

    def tool_names(self) -> list[str]:
        """Return the names of all tools."""
        from llmspell.tools._manifest import MANIFEST

        return [str(item["name"]) for item in MANIFEST]

    def provider_names(self) -> list[str]:
        """Return the names of the usable providers."""
        return [entry.name for entry in self.app.providers.list(builtin=True)]

    def agent_names(self) -> list[str]:
        """Return the names of this session's agents."""
        agents = self.interp.lane.__dict__.get("agents")
        return [] if agents is None else sorted(agent.name for agent in agents.instances)


@contextmanager
def interruptible(interp: Interpreter) -> Iterator[None]:
    """Turn SIGINT into an interrupt of the interpreter while the block runs."""

    def stop(_number: int, _frame: object) -> None:
        interp.interrupt()

    before = signal.signal(signal.SIGINT, stop)
    interp.watch_signal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
