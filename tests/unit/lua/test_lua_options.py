"""An unknown option is a warning once per call site, or an error in strict mode; a wrong type is always an error."""

import io

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.lua.engine import Interpreter

SCRIPT = "for i = 1, 3 do Async.map({1}, function(x) return x end, {max_concurency = 1}) end\nAsync.all({1}, {max_concurency = 1})"


async def run(source, home, *sets, err=None):
    loaded = load(sets=list(sets), environ={}, cwd=home, home=home)
    app = App(loaded.config, home=home, cwd=home)
    interp = Interpreter(app, stdout=io.BytesIO(), stderr=err or io.BytesIO())
    outcome = await interp.run(source, "=s")
    await interp.close()
    await app.close()
    return outcome


async def test_an_unknown_option_is_one_warning_per_line_with_the_nearest_key(tmp_path):
    err = io.BytesIO()
    outcome = await run(SCRIPT, tmp_path, err=err)
    assert outcome.error is None
    lines = err.getvalue().decode().splitlines()
    assert len(lines) == 2
    assert "s:1: Async.map: unknown option 'max_concurency', did you mean 'max_concurrency'?" in lines[0]
    assert "s:2: Async.all: unknown option 'max_concurency', did you mean 'max_concurrency'?" in lines[1]


async def test_strict_mode_refuses_an_unknown_option(tmp_path):
    outcome = await run(SCRIPT, tmp_path, "engines.lua.strict=true")
    assert outcome.error.kind == "validation"
    assert "did you mean 'max_concurrency'?" in str(outcome.error)


@pytest.mark.parametrize(
    "options", ["{max_concurrency = 'x'}", "{max_concurrency = 0}", "{timeout_ms = 'x'}", "{fail_fast = 1}", "5"]
)
async def test_a_known_option_of_a_wrong_type_is_always_refused(options, tmp_path):
    outcome = await run(f"Async.map({{1}}, print, {options})", tmp_path)
    assert outcome.error.kind == "validation"
