"""No script leaves the sandbox, none hangs or kills the process, each ends within its limit and a second."""

import asyncio
import io
import subprocess
import sys
import time

import pytest
from escapes import ESCAPES, HOST
from runaways import CLEAN, LOOPS, MEMORY, OUTPUT, PATTERNS, TABLES, TASKS

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter

LIMITS = {"wall_time_ms": 300, "memory_bytes": 64 << 20, "output_bytes": 100_000, "tasks": 64}


def attempt(source, home, profile="safe", **limits):
    app = App(Config(), home=home, cwd=home)
    interp = Interpreter(app, profile=profile, limits=LIMITS | limits, stdout=io.BytesIO(), stderr=io.BytesIO())

    async def go():
        started = time.perf_counter()
        outcome = await interp.run(source, "=attack")
        taken = time.perf_counter() - started
        after = await interp.run("local t = {} for i = 1, 10 do t[i] = i end return #t, ('x'):upper()", "=after")
        await interp.close()
        await app.close()
        return outcome, taken, after

    outcome, taken, after = asyncio.run(go())
    assert after.values == [10, "X"], after.error  # the next chunk works
    return outcome, taken


@pytest.mark.parametrize("source", ESCAPES, ids=lambda s: s[:60])
def test_an_escape_gets_nothing(source, tmp_path):
    outcome, taken = attempt(source, tmp_path)
    assert taken < 1.3
    assert not (outcome.values and outcome.values[0]), outcome.values


@pytest.mark.parametrize("source", [*LOOPS, *PATTERNS, *TABLES, *OUTPUT, *TASKS], ids=lambda s: s[:60])
def test_a_runaway_ends_within_its_limit(source, tmp_path):
    outcome, taken = attempt(source, tmp_path)
    assert taken < 1.3
    assert outcome.error is not None
    assert outcome.error.kind == "resource_limit", outcome.error


@pytest.mark.parametrize("source", MEMORY, ids=lambda s: s[:60])
def test_a_hungry_script_is_refused_memory(source, tmp_path):
    outcome, _taken = attempt(source, tmp_path, wall_time_ms=20_000)
    assert outcome.error is not None
    assert outcome.error.kind in ("resource_limit", "script"), outcome.error
    assert outcome.used["memory_bytes"]["used"] <= 65 << 20


@pytest.mark.parametrize("source", CLEAN, ids=lambda s: s[:60])
def test_a_pathological_script_ends_cleanly(source, tmp_path):
    outcome, taken = attempt(source, tmp_path, wall_time_ms=1000)
    assert taken < 2.3
    assert outcome.status in ("ok", "error")


@pytest.mark.parametrize("source", [*LOOPS[:8], *PATTERNS[:2]], ids=lambda s: s[:60])
def test_instructions_are_a_limit_of_their_own(source, tmp_path):
    outcome, taken = attempt(source, tmp_path, wall_time_ms=20_000, instructions=1_000_000)
    assert taken < 2
    assert outcome.error.details["resource"] == "instructions"


def test_there_are_at_least_one_hundred_and_fifty_attacks():
    assert len({*ESCAPES, *LOOPS, *PATTERNS, *TABLES, *MEMORY, *CLEAN, *OUTPUT, *TASKS}) >= 150


def test_what_one_interpreter_poisons_another_never_sees(tmp_path):
    app = App(Config(), home=tmp_path, cwd=tmp_path)
    first, second = (Interpreter(app, profile="safe") for _ in range(2))
    assert (
        first.begin("string.upper = function() return 'poison' end; print = nil; Tool.extra = 1; JSON.extra = 2").error
        is None
    )
    outcome = second.begin("return ('x'):upper(), type(print), Tool.extra, JSON.extra")
    assert outcome.values == ["X", "function", None, None]


def test_the_reachable_names_are_exactly_the_allowed_ones(tmp_path):
    app = App(Config(), home=tmp_path, cwd=tmp_path)
    names = """
      local list = {}
      for _, lib in ipairs{"_G", "string", "table", "math", "utf8", "os", "coroutine", "package", "io"} do
        for k in pairs(_G[lib] or {}) do list[#list + 1] = lib .. "." .. tostring(k) end
      end
      table.sort(list) return list
    """
    stock = {
        "string": "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
        "table": "concat insert move pack remove sort unpack",
        "math": "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi rad random randomseed sin sqrt tan tointeger type ult",
        "utf8": "char charpattern codepoint codes len offset",
        "coroutine": "close create isyieldable resume running status wrap yield",
    }
    safe = stock | {"os": "clock date difftime time", "package": "config loaded preload"}
    standard = stock | {
        "os": "clock date difftime exit getenv remove rename time tmpname",
        "package": "config loaded path preload searchpath",
        "io": "close lines open read stderr stdin stdout type write",
    }
    for profile, wanted in (("safe", safe), ("standard", standard)):
        found = Interpreter(app, profile=profile).begin(names).values[0]
        libraries = {name for name in found if not name.startswith("_G.")}
        assert libraries == {f"{lib}.{name}" for lib, members in wanted.items() for name in members.split()}


BARE = """
import sys
from lupa import lua54
runtime = lua54.LuaRuntime()
try:
    result = runtime.execute(sys.argv[1])
except Exception:
    result = None
first = result[0] if isinstance(result, tuple) else result
print("ESCAPED" if first else "held")
"""


def test_the_same_list_against_a_bare_runtime_shows_that_these_tests_can_fail():
    program = "import sys\nfrom lupa import lua54\nescaped = 0\nfor source in sys.stdin.read().split('\\0'):\n    try:\n        result = lua54.LuaRuntime().execute(source)\n    except Exception:\n        continue\n    first = result[0] if isinstance(result, tuple) else result\n    escaped += bool(first)\nprint(escaped)"
    harmless = [
        s
        for s in ESCAPES
        if not any(word in s for word in ("Async", "Tool", "JSON", "Utils", "os.exit", "1 << 40", "maxinteger", "2^31"))
    ]
    run = subprocess.run(
        [sys.executable, "-c", program],
        input="\0".join(harmless),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(run.stdout.split()[-1]) > len(harmless) // 3
    assert len(HOST) > 20


@pytest.mark.parametrize("source", [LOOPS[0], LOOPS[4], PATTERNS[0], TABLES[3]], ids=lambda s: s[:40])
def test_a_bare_runtime_does_not_end_these_loops(source):
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", BARE, source], capture_output=True, timeout=2.0, check=False)
