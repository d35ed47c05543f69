"""`repl`: an interactive interpreter on a terminal, a chunk reader when standard input is none.

Everything runs on one loop, so that tasks a chunk started go on while the next one is typed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.cli.exit_codes import FAILED, OK
from llmspell.cli.repl_commands import command
from llmspell.cli.repl_session import Repl
from llmspell.cli.run_options import sandbox_of
from llmspell.cli.start import load_config, make_app, run_async, started

if TYPE_CHECKING:
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output


def repl(call: Call, out: Output) -> int:
    """Read, run and show until the end of input."""
    config = load_config(call, out).config
    app = make_app(config, call, out)
    session = Repl(app, sandbox_of(call, config), out, command, tenant=call.get("tenant"))
    started()
    return run_async(_main(session, call))


async def _main(repl: Repl, call: Call) -> int:
    """Run the session and return its exit code."""
    try:
        if call.get("load") and not await repl.load(call.get("load")):
            return FAILED
        if sys.stdin.isatty() and sys.stdout.isatty():
            return await _terminal(repl, call)
        return await _chunks(repl, keep_going=bool(call.get("keep_going")))
    finally:
        if repl.history is not None:
            repl.history.close()
        await repl.interp.close()
        await repl.app.close()


async def _terminal(repl: Repl, call: Call) -> int:
    """Read with a line editor."""
    from llmspell.cli.repl_edit import make_session
    from llmspell.cli.repl_history import SqliteHistory

    path = None if call.get("no_history") else Path(call.get("history") or repl.app.home / "state" / "history.sqlite")
    repl.history = SqliteHistory(path, limit=repl.app.config.cli.repl_history_size)
    session = make_session(repl, repl.history)
    if not call.get("no_banner"):
        from llmspell.version import __version__

        repl.out.write(
            f"llmspell {__version__}, Lua 5.4, profile {repl.profile}. .help shows commands, Ctrl-D leaves.\n"
        )
    while not repl.leave:
        try:
            text = await session.prompt_async()
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        await repl.handle(text)
    return OK


async def _chunks(repl: Repl, *, keep_going: bool) -> int:
    """Read chunks from standard input, without prompts."""
    pending, code = "", OK
    while not repl.leave:
        line = (await repl.source.line()).decode("utf-8", "surrogateescape")
        pending += line
        if line and repl.interp.is_complete(pending)[0] == "incomplete" and not pending.startswith("."):
            continue
        text, pending = pending, ""
        if text.strip() and not await repl.handle(text):
            code = FAILED
            if not keep_going:
                break
        if not line:
            break
    return code
