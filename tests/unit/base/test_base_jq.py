"""jq programs: the inline paths agree with libjq, everything else runs confined."""

import asyncio
import os
import time

import pytest

from llmspell.base import children
from llmspell.base.jq import apply_steps, query_now, run_jq, simple_steps
from llmspell.errors import LimitExceeded, ValidationError
from llmspell.errors import TimeoutError as TimedOut

VALUE = {"items": [{"v": 1}, {"v": None}], "a": {"b c": [1, 2, 3]}, "s": "né", "n": -2.5}
SIMPLE = [
    ".",
    ".items",
    ".items[]",
    ".items[0]",
    ".items[-1].v",
    ".items[9]",
    '.a."b c"[1]',
    ".items[].v",
    ".s | length",
    ".a | keys",
    "length",
    ".n|length",
    ".items | keys",
    ".zz.yy",
    ".items | .[] | .v",
    '.["a"]',
    ".items.[0]",
]


@pytest.fixture(autouse=True)
def _no_child_stays():
    yield
    for pool in children._pools.values():
        pool.close()


@pytest.mark.parametrize("program", SIMPLE)
async def test_an_inline_path_gives_what_libjq_gives(program):
    assert await run_jq(program, VALUE) == await run_jq(f"[{program}] | .[]", VALUE)


async def test_a_program_beyond_paths_runs_in_the_child_with_its_arguments():
    assert simple_steps("map(. * $k)") is None
    assert await run_jq("map(. * $k)", [1, 2], {"k": 3}) == [[3, 6]]
    assert await run_jq(".[] | select(. > 1)", None, text="[1, 2, 3]") == [2, 3]


@pytest.mark.parametrize("program", [".[", ".s | .x", ".s[0]", ".s[]", "true | length", 'error("x")', ".a | .[0]"])
async def test_a_bad_program_or_a_failing_one_raises_validation(program):
    with pytest.raises(ValidationError) as caught:
        await run_jq(program, VALUE)
    assert caught.value.code in ("jq_compile", "jq_runtime")


async def test_an_endless_program_is_stopped_and_the_next_one_works():
    start = time.monotonic()
    with pytest.raises(TimedOut):
        await run_jq("def f: f; f", None, timeout_s=0.5)
    assert time.monotonic() - start < 3
    assert await run_jq("1 + 1", None) == [2]


async def test_a_program_that_eats_memory_or_writes_without_end_is_refused(monkeypatch):
    with pytest.raises((LimitExceeded, ValidationError)):
        await run_jq('"x" * 2000000000 | length', None, timeout_s=20)
    monkeypatch.setattr("llmspell.base.jq.MAX_OUTPUT_BYTES", 10_000)
    with pytest.raises(LimitExceeded):
        await run_jq("repeat(1)", None)
    assert await run_jq("1 + 1", None) == [2]


async def test_cancelling_ends_the_child_at_once():
    task = asyncio.create_task(run_jq("def f: f; f", None, timeout_s=30))
    await asyncio.sleep(0.05)
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - start < 3
    assert await run_jq("1 + 1", None) == [2]


async def test_the_environment_of_a_program_is_empty(monkeypatch):
    monkeypatch.setitem(os.environ, "SECRET_FOR_JQ", "x")
    assert await run_jq("[env, $ENV]", None) == [[{}, {}]]


@pytest.mark.parametrize(
    "program",
    [
        "input_filename",
        'import "a" as $d; .',
        'include "x"; .',
        "get_search_list",
        "debug",
        ". | stderr",
        '"\\(debug)"',
        '"a" + "\\("b" + (debug|.))"',
        "{}|modulemeta",
    ],
)
async def test_words_that_look_outside_are_refused_by_token(program):
    with pytest.raises(ValidationError) as caught:
        await run_jq(program, None)
    assert caught.value.code == "jq_forbidden"


@pytest.mark.parametrize(
    "program", [".important", '.debug + ""', '"debug"', "{debug: 1}", "1 as $debug | $debug", "1 # debug", ".a.stderr"]
)
async def test_the_same_letters_elsewhere_are_allowed(program):
    await run_jq(program + "\n| 1", {"debug": "d"})


def test_inline_errors_carry_the_words_of_jq():
    with pytest.raises(ValidationError, match='Cannot index array with "v"'):
        query_now(".items.v", VALUE)
    assert apply_steps([], 5.0) == [5.0]
