"""A session of the REPL: running inputs in one interpreter, and showing what they return."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from llmspell.cli.interrupts import interruptible
from llmspell.cli.repl_show import show
from llmspell.cli.streams import Source
from llmspell.errors import LLMSpellError
from llmspell.lua.engine import Interpreter, Outcome

if TYPE_CHECKING:
    from llmspell.app import App
    from llmspell.cli.output import Output
    from llmspell.cli.repl_chat import Conversation
    from llmspell.cli.repl_history import SqliteHistory

Command = Callable[["Repl", str], Awaitable[bool]]


class Repl:
    """One session: an interpreter, its inputs, and the numbers of its values. command: runs a dot-command.

    tenant: whose session it is.
    """

    def __init__(self, app: App, profile: str, out: Output, command: Command, *, tenant: str | None = None) -> None:
        self.app = app
        self.tenant = tenant
        self.command = command
        self.profile = profile
        self.out = out
        self.source = Source()
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
        stdin: Any = self.source
        fresh = Interpreter(
            self.app,
            profile=self.profile,
            stdout=stdout,
            stderr=stderr,
            stdin=stdin,
            tenant=self.tenant,
            keep_tasks=True,
        )
        self.source.used = fresh.used
        return fresh

    async def reset(self) -> None:
        """Start over with a new Lua state."""
        await self.interp.close()
        self.interp = self.fresh()
        self.values = 0

    async def load(self, path: str) -> bool:
        """Run a file in this state."""
        from llmspell.cli.run import read_source

        return await self.run(read_source(path).decode("utf-8", "surrogateescape"), name=f"@{path}")

    async def handle(self, text: str) -> bool:
        """Run one input, dot-command or chunk; tell whether it went well."""
        if not text.strip():
            return True
        if text.startswith("."):
            return await self.command(self, text.strip())
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
        with interruptible(self.interp, self.source):
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
        agents = self.interp.lane.__dict__.get("_agents")
        return [] if agents is None else sorted(agent.name for agent in agents.instances)
