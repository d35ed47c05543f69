"""text-manipulator: operations, options in both places, sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.base.effects import Direct
from llmspell.config.model import Tools as ToolsConfig
from llmspell.errors import ValidationError
from llmspell.tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(ToolsConfig(), security=None, http=None, state=None, effects=Direct(), cwd=tmp_path)


async def change(tools: Tools, operation: str, text, **options):
    envelope = await tools.call("text", {"operation": operation, "input": text, **options})
    assert envelope["success"], envelope
    return envelope["result"]["result"]


@pytest.mark.parametrize(
    ("operation", "text", "options", "result"),
    [
        ("upper", "straße", {}, "STRASSE"),
        ("title_case", "don't stop", {}, "Don't Stop"),
        ("reverse", "a😀b", {}, "b😀a"),
        ("snake_case", "HTTPServerName", {}, "http_server_name"),
        ("snake_case", "version2Beta", {}, "version2_beta"),
        ("snake_case", "already_snake case-kebab", {}, "already_snake_case_kebab"),
        ("camel_case", "HELLO WORLD", {}, "helloWorld"),
        ("pascal_case", "", {}, ""),
        ("kebab_case", "ÉcoleNormale", {}, "école-normale"),
        ("slugify", "  Straße & Çafé — 2024! ", {}, "strasse-cafe-2024"),
        ("replace", "aaa", {"from": "a", "to": "b", "count": 2}, "bba"),
        ("replace", "a.b", {"from": ".", "to": "*"}, "a*b"),
        ("replace", "John Smith", {"from": r"(\w+) (?P<last>\w+)", "to": r"\g<last> \1", "regex": True}, "Smith John"),
        ("replace", "aaa", {"from": "a", "to": "b", "count": 1, "regex": True}, "baa"),
        ("substring", "hello", {"start": -3}, "llo"),
        ("substring", "hello", {"start": 3, "end": 99}, "lo"),
        ("substring", "hello", {"start": 4, "end": 2}, ""),
        ("substring", "hello", {"start": -(2**63), "end": 2**63 - 1}, "hello"),
        ("split", "a b c", {"limit": 2}, ["a", "b c"]),
        ("split", "abc", {"delimiter": ""}, ["a", "b", "c"]),
        ("split", "", {"delimiter": ","}, [""]),
        ("join", ["a", 1, None, {"k": True}], {"delimiter": "-"}, 'a-1-null-{"k":true}'),
        ("join", '["a"]', {}, "a"),
        ("sanitize", "a\u200b\u202eb\r\n\tc\x07", {}, "ab\n\tc"),
        ("sanitize", "é a", {"allow_unicode": False}, "a"),
        ("truncate", "hello wonderful world", {"max_length": 14, "word_boundary": True}, "hello..."),
        ("truncate", "hello", {"max_length": 2}, ".."),
        ("truncate", "hello", {"max_length": 0}, ""),
        ("truncate", "hello", {"max_length": 5}, "hello"),
        ("indent", "a\n\nb", {"spaces": 2, "first_line": False}, "a\n\n  b"),
        ("word_wrap", "the quick brown fox", {"width": 10}, "the quick\nbrown fox"),
        ("word_wrap", "abcdefgh ij", {"width": 3}, "abc\ndef\ngh\nij"),
        ("word_wrap", "a\n\nb", {"width": 5}, "a\n\nb"),
        ("pad", "ab", {"width": 7, "fill": "xyz", "side": "both"}, "xyabxyz"),
        ("pad", "abc", {"width": 2}, "abc"),
        ("repeat", "ab", {"count": 0}, ""),
        ("dedent", "\t a\n\t b", {}, "a\nb"),
    ],
)
async def test_an_operation_changes_text(tools, operation, text, options, result):
    assert await change(tools, operation, text, **options) == result
    assert await change(tools, operation, text, options=options) == result


async def test_the_answer_tells_lengths_in_code_points(tools):
    envelope = await tools.call("text", {"operation": "uppercase", "input": "😀é"})
    assert envelope["result"] == {"result": "😀É", "operation": "uppercase", "original_length": 2, "result_length": 2}
    assert envelope["text"] == "😀É"


async def test_a_split_is_data(tools):
    envelope = await tools.call("text", {"operation": "split", "input": "a,b", "delimiter": ","})
    assert envelope["data"] == ["a", "b"]


async def test_count_counts(tools):
    envelope = await tools.call("text", {"operation": "count", "input": "One é.\nTwo! Three", "count_type": "words"})
    numbers = {"characters": 17, "bytes": 18, "words": 4, "lines": 2, "sentences": 3, "count": 4}
    assert {key: envelope["result"][key] for key in numbers} == numbers
    empty = await tools.call("text", {"operation": "count", "input": ""})
    assert (empty["result"]["sentences"], empty["result"]["lines"]) == (0, 0)


async def test_a_value_beside_the_options_wins(tools):
    assert await change(tools, "repeat", "a", count=3, options={"count": 1}) == "aaa"


@pytest.mark.parametrize(
    "params",
    [
        {"operation": "uppercase"},
        {"operation": "replace", "input": "a", "from": "", "to": "b"},
        {"operation": "repeat", "input": "a", "count": 10_001},
        {"operation": "repeat", "input": "a", "count": -1},
        {"operation": "pad", "input": "a", "width": 3, "fill": ""},
        {"operation": "word_wrap", "input": "a", "width": 0},
        {"operation": "join", "input": "not json"},
        {"operation": "join"},
        {"operation": "uppercase", "input": "a", "options": 5},
        {"operation": "uppercase", "input": "a", "options": {"odd": 1}},
        {"operation": "explode", "input": "a"},
    ],
)
async def test_bad_options_are_refused(tools, params):
    with pytest.raises(ValidationError) as caught:
        await tools.call("text", params)
    assert caught.value.code == "schema_violation"


@pytest.mark.parametrize(
    "params",
    [
        {"operation": "repeat", "input": "x" * 10_000, "count": 10_000},
        {"operation": "pad", "input": "a", "width": 2**62},
        {"operation": "replace", "input": "a" * 100_000, "from": "a", "to": "b" * 100_000},
        {"operation": "replace", "input": "a" * 100_000, "from": "a", "to": "b" * 100_000, "regex": True},
        {"operation": "indent", "input": "a\n" * 20_000, "spaces": 1000},
        {"operation": "join", "items": ["a"] * 2000, "delimiter": "x" * 10_000},
        {"operation": "trim", "input": "x" * (10 * 1024 * 1024 + 1)},
    ],
)
async def test_a_result_that_would_be_huge_is_refused_before_it_is_made(tools, params):
    envelope = await tools.call("text", params)
    assert envelope["error"]["code"] == "too_large"


async def test_a_pattern_that_backtracks_ends_in_time(tools):
    params = {"operation": "replace", "input": "a" * 40 + "b", "from": r"^(a+)+$", "to": "x", "regex": True}
    envelope = await tools.call("text", params)
    assert envelope["success"] or envelope["error"]["code"] == "regex_timeout"
    hard = {**params, "input": "a" * 5000 + "!", "from": r"^(a|a?)+\d$"}
    envelope = await tools.call("text", hard)
    assert envelope["success"] or envelope["error"]["code"] == "regex_timeout"


@pytest.mark.parametrize(("pattern", "to"), [("(", "x"), ("a", r"\9"), ("a", r"\g<nope>"), ("a" * 5000, "x")])
async def test_a_bad_pattern_or_replacement_fails(tools, pattern, to):
    params = {"operation": "replace", "input": "a", "from": pattern, "to": to, "regex": True}
    assert (await tools.call("text", params))["error"]["code"] == "bad_pattern"
