"""Calls of a small tool per second: from a script, from Python, and beside `langchain-core`, where that is installed.

Every call is checked, judged, measured and answered with a whole envelope. The peer wraps the same function as a
`StructuredTool` and calls it by `ainvoke`. Rates are per second of processor time; peers alternate.

    python asv_bench/benchmarks/tools.py [rounds]
"""

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

CALLS = 20_000
PEER_CALLS = 2_000
ROUNDS = 5
PEERS = ("llmspell from Lua", "llmspell from Python", "langchain-core")
SPELL = """
local execute, text = Tool.execute, nil
for _ = 1, %d do text = execute("calculator", {input = "1+1"}).text end
return text
"""


def from_lua() -> float:
    """Return calls per second of a script."""
    from llmspell.app import App
    from llmspell.config.model import Config
    from llmspell.lua.engine import Interpreter

    async def go(home: Path) -> float:
        app = App(Config(), home=home)
        interpreter = Interpreter(app, profile="safe")
        interpreter.begin(SPELL % 10, "=warm") or await interpreter.finish()
        started = time.process_time()
        outcome = interpreter.begin(SPELL % CALLS, "=bench") or await interpreter.finish()
        seconds = time.process_time() - started
        await interpreter.close()
        await app.close()
        assert outcome.value == "2", outcome.error
        return CALLS / seconds

    with tempfile.TemporaryDirectory() as home:
        return asyncio.run(go(Path(home)))


def from_python() -> float:
    """Return calls per second of a program."""
    from llmspell.app import App
    from llmspell.config.model import Config

    async def go(home: Path) -> float:
        app = App(Config(), home=home)
        call = app.tools.call
        for _ in range(10):
            await call("calculator", {"input": "1+1"})
        started = time.process_time()
        for _ in range(CALLS):
            envelope = await call("calculator", {"input": "1+1"})
        seconds = time.process_time() - started
        await app.close()
        assert envelope["text"] == "2"
        return CALLS / seconds

    with tempfile.TemporaryDirectory() as home:
        return asyncio.run(go(Path(home)))


def langchain() -> float:
    """Return calls per second of a StructuredTool around the same function."""
    from langchain_core.tools import StructuredTool

    from llmspell.tools.calculator import evaluate_expression

    async def calculator(input: str) -> dict:  # noqa: A002 - the published name of the parameter
        """Evaluate an expression."""
        return evaluate_expression(input)

    async def go() -> float:
        tool = StructuredTool.from_function(coroutine=calculator)
        for _ in range(10):
            await tool.ainvoke({"input": "1+1"})
        started = time.process_time()
        for _ in range(PEER_CALLS):
            answer = await tool.ainvoke({"input": "1+1"})
        assert answer["result"] == 2
        return PEER_CALLS / (time.process_time() - started)

    return asyncio.run(go())


MEASURES = dict(zip(PEERS, (from_lua, from_python, langchain), strict=True))


class ToolCalls:
    """Calls of the calculator per second of processor time."""

    timeout = 120
    params = PEERS
    param_names = ("peer",)

    def setup(self, peer):
        if peer == "langchain-core" and find_spec("langchain_core") is None:
            raise NotImplementedError("langchain-core is not installed")

    def track_calls_per_second(self, peer):
        return MEASURES[peer]()

    track_calls_per_second.unit = "calls/s"


def main(rounds: int) -> None:
    """Write one report."""
    here = [peer for peer in PEERS if peer != "langchain-core" or find_spec("langchain_core")]
    rates: dict[str, list[float]] = {peer: [] for peer in here}
    for number in range(rounds):
        for peer in here if number % 2 == 0 else reversed(here):
            gc.collect()
            rates[peer].append(MEASURES[peer]())
    report = {
        peer: {"median": round(statistics.median(found)), "rounds": [round(rate) for rate in found]}
        for peer, found in rates.items()
    }
    sys.stdout.write(json.dumps({"calls_per_s": report, "python": sys.version.split()[0]}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
