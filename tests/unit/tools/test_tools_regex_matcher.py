"""regex-matcher: positions in code points, groups, and a limit of time."""

import time

import pytest
from pure_tools import make, run_cases

from llmspell.errors import ValidationError


async def test_the_self_tests_pass(tmp_path):
    assert await run_cases(tmp_path, "regex-matcher") == []


@pytest.mark.parametrize("operation", ["match", "find_all", "replace", "split"])
async def test_a_hostile_pattern_returns_soon_with_its_code(tmp_path, operation):
    params = {"operation": operation, "input": "a" * 400 + "b!", "pattern": "^(a|aa)+$"}
    if operation == "replace":
        params["replacement"] = "x"
    start = time.monotonic()
    envelope = await make(tmp_path).call("regex", params)
    assert (envelope["success"], envelope["error"]["code"]) == (False, "regex_timeout")
    assert time.monotonic() - start < 4


async def test_positions_count_code_points_and_flags_apply(tmp_path):
    call = make(tmp_path).call
    found = (await call("regex-matcher", {"input": "é😀AB", "pattern": "b", "flags": "i"}))["result"]["match"]
    assert (found["start"], found["end"], found["text"]) == (3, 4, "B")
    full = await call("regex-matcher", {"operation": "is_match", "input": "ab", "pattern": "a", "full": True})
    assert (full["result"], full["text"]) == ({"matched": False}, "")


async def test_limits_of_matches_and_replacements(tmp_path):
    call = make(tmp_path).call
    found = await call("regex-matcher", {"operation": "find", "input": "aaaa", "pattern": "aa", "overlapped": True})
    assert found["result"]["count"] == 3
    cut = await call("regex-matcher", {"operation": "find_all", "input": "aaaa", "pattern": "a", "limit": 2})
    assert (cut["result"]["count"], cut["metadata"]["truncated"]) == (2, True)
    once = await call(
        "regex-matcher",
        {"operation": "replace", "input": "aa", "pattern": "(?P<x>a)", "replacement": r"[\g<x>]", "count": 1},
    )
    assert once["result"] == {"result": "[a]a", "replacements": 1}


async def test_mistakes_have_codes(tmp_path):
    call = make(tmp_path).call
    bad = await call("regex-matcher", {"input": "x", "pattern": "a["})
    assert (bad["error"]["code"], bad["error"]["details"]["position"]) == ("bad_pattern", 2)
    bad = await call("regex-matcher", {"operation": "replace", "input": "a", "pattern": "a", "replacement": r"\9"})
    assert bad["error"]["code"] == "bad_pattern"
    bomb = {"operation": "replace", "input": "a" * 100_000, "pattern": "a", "replacement": "x" * 10_000}
    assert (await call("regex-matcher", bomb))["error"]["code"] == "too_large"
    with pytest.raises(ValidationError):
        await call("regex-matcher", {"input": "x", "pattern": "a" * 5000})
