"""What a crossing costs: synchronous and waiting calls, tables, new interpreters, loops; the peer is bare lupa.

Goals: a synchronous call within 3 us, a waiting one within 10 us. Each figure is microseconds per call, measured inside
one long-running spell and corrected by the empty loop.

    python asv_bench/benchmarks/lua.py
"""

import statistics
import tempfile
import time
from pathlib import Path

SYNC = """
local null, N = JSON.is_null, 100000
local call = Utils.monotonic_ms
local t = os.clock() for i = 1, N do end local empty = os.clock() - t
t = os.clock() for i = 1, N do call() end
return (os.clock() - t - empty) / N * 1e6
"""
SCALAR = """
local N = 100000
State.set("k", 1)
local get = State.get
local t = os.clock() for i = 1, N do get("k") end
return (os.clock() - t) / N * 1e6
"""
WAITING = """
local N = 20000
local t = os.clock() for i = 1, N do Async.sleep(0) end
return (os.clock() - t) / N * 1e6
"""
TABLE = """
local list, N = {}, 200
for i = 1, 1000 do list[i] = {i, "name", true} end
local t = os.clock() for i = 1, N do JSON.equals(list, list) end
return (os.clock() - t) / N * 1e6 / 8000
"""
LOOP = "local t = os.clock() for i = 1, 20000000 do end return (os.clock() - t) / 20 * 1e3"

SPELLS = {"synchronous call": SYNC, "state read": SCALAR, "waiting call": WAITING}


def measure(source):
    """Run a spell in a fresh standard interpreter and return its number."""
    import uvloop

    from llmspell.app import App
    from llmspell.config import load
    from llmspell.lua.engine import Interpreter

    with tempfile.TemporaryDirectory() as home:
        sets = ["runtime.state_persistence.backend_type=memory"]
        loaded = load(sets=sets, environ={}, cwd=Path(home), home=Path(home))

        async def go():
            app = App(loaded.config, home=Path(home))
            interp = Interpreter(app, profile="standard")
            outcome = await interp.run(source)
            await interp.close()
            await app.close()
            if outcome.error:
                raise outcome.error
            return float(outcome.value)

        return uvloop.run(go())


class Crossing:
    params = list(SPELLS)
    param_names = ["call"]
    unit = "us per call"

    def track_cost(self, call):
        return statistics.median(measure(SPELLS[call]) for _ in range(5))


class Interpreters:
    """Time to make an interpreter with all globals, beside an empty lupa runtime."""

    params = ["llmspell", "lupa"]
    param_names = ["engine"]

    def setup(self, engine):
        from lupa import lua54

        from llmspell.app import App
        from llmspell.config import Config
        from llmspell.lua.engine import Interpreter

        self.home = tempfile.TemporaryDirectory()
        app = App(Config(), home=Path(self.home.name))
        self.make = (lambda: Interpreter(app, profile="safe")) if engine == "llmspell" else lua54.LuaRuntime
        self.make()

    def teardown(self, engine):
        self.home.cleanup()

    def time_new(self, engine):
        self.make()


class Loops:
    """Twenty million turns of an empty loop: with the guard armed, and in bare lupa."""

    params = ["llmspell", "lupa"]
    param_names = ["engine"]
    unit = "ns per turn"

    def track_turn(self, engine):
        from lupa import lua54

        if engine == "llmspell":
            return statistics.median(measure(LOOP) for _ in range(3))
        return statistics.median(float(lua54.LuaRuntime().execute(LOOP)) for _ in range(3))


if __name__ == "__main__":
    for name, source in SPELLS.items():
        values = [measure(source) for _ in range(5)]
        print(f"{name:18s} {statistics.median(values):6.2f} us (min {min(values):.2f}, max {max(values):.2f})")
    for engine in Loops.params:
        print(f"loop, {engine:12s} {Loops().track_turn(engine):6.2f} ns a turn")
    for engine in Interpreters.params:
        bench = Interpreters()
        bench.setup(engine)
        times = []
        for _ in range(20):
            started = time.perf_counter()
            bench.make()
            times.append((time.perf_counter() - started) * 1e3)
        print(f"new, {engine:13s} {statistics.median(times):6.2f} ms")
        bench.teardown(engine)
