"""Regular expressions of callers: refused when bad, stopped when slow."""

import time

import pytest

from llmspell.base.patterns import compile_pattern, expansion, timed, until
from llmspell.errors import TimeoutError as TimedOut
from llmspell.errors import ValidationError


def test_a_slow_pattern_is_stopped():
    start = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        timed(compile_pattern("(a|aa)+$").search, "a" * 400 + "b", limit_s=0.2)
    assert caught.value.code == "regex_timeout"
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [("(", ""), ("a**", ""), ("[a", ""), ("x", "q"), ("(" * 1500 + ")" * 1500, ""), ("x" * 5000, ""), ("(?P<1>a)", ""),
     ("(?:(?:(?:x{1000}){1000}){1000}){1000}", ""), ("a{99999999999}{99999999999}", "")],
)  # fmt: skip
def test_a_bad_pattern_is_refused_soon(pattern, flags):
    start = time.monotonic()
    with pytest.raises(ValidationError) as caught:
        compile_pattern(pattern, flags)
    assert caught.value.code == "bad_pattern"
    assert time.monotonic() - start < 3


def test_the_position_of_a_mistake_is_told():
    with pytest.raises(ValidationError) as caught:
        compile_pattern("ab[c")
    assert caught.value.details["position"] == 4


def test_usual_patterns_are_small():
    assert expansion(r"\d{4}-\d{2}-\d{2}T(\d{2}:){2}\d{2}") < 60
    assert expansion("[{}()]{2,3}") == 3
    assert compile_pattern(r"A.b", "is").search("a\nB")


def test_many_slow_matches_share_one_deadline():
    start, late = time.monotonic(), 0
    with until(start + 0.2):
        for _ in range(20):
            try:
                timed(compile_pattern("(a|aa)+$").search, "a" * 400 + "b")
            except TimedOut:
                late += 1
    assert late == 20
    assert time.monotonic() - start < 3
