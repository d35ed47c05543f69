"""diff-calculator: forms of a difference, and the way back by its patch."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pure_tools import make, run_cases

from llmspell.base.textdiff import TextDiff, apply_unified
from llmspell.errors import SecurityError, ValidationError

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "", "-x", "+y"]), max_size=12).map("\n".join)


async def test_the_self_tests_pass(tmp_path):
    assert await run_cases(tmp_path, "diff-calculator") == []


@settings(deadline=None, max_examples=300)
@given(TEXTS, TEXTS, st.integers(0, 3), st.booleans(), st.booleans())
def test_a_unified_difference_applied_as_a_patch_gives_the_new_text(old, new, context, old_end, new_end):
    old, new = old + "\n" * old_end, new + "\n" * new_end
    found = TextDiff(old, new)
    assert found.identical == (old == new)
    if old != new:
        assert apply_unified(old, found.unified(context, ("old", "new")))[0] == new


async def test_forms_of_a_text_difference(tmp_path):
    call = make(tmp_path).call
    sides = {"old_text": "a\nb\nc\n", "new_text": "a\nx\nc\nd\n"}
    unified = await call("diff-calculator", sides)
    assert unified["text"] == "--- old\n+++ new\n@@ -1,3 +1,4 @@\n a\n-b\n+x\n c\n+d\n"
    assert unified["result"]["stats"] == {"old_lines": 3, "new_lines": 4, "added": 2, "removed": 1}
    simple = await call("diff-calculator", {**sides, "format": "simple"})
    assert simple["text"] == "Replaced at lines 2-2\nAdded at lines 4-4\nTotal changes: 2\n"
    inline = await call("diff-calculator", {**sides, "format": "inline"})
    assert inline["text"] == " a\n-b\n+x\n c\n+d\n"
    context = await call("diff-calculator", {**sides, "format": "context"})
    assert "*** 1,3 ****\n  a\n! b\n  c\n--- 1,4 ----\n  a\n! x\n  c\n+ d\n" in context["text"]
    blank = {"old_text": "a  b\n", "new_text": " a b\n", "ignore_whitespace": True}
    assert (await call("diff-calculator", blank))["result"]["identical"] is True


async def test_json_members_have_dotted_paths(tmp_path):
    call = make(tmp_path).call
    old, new = {"a": [1, 2], "b": [1], "k": "s", "gone": 1}, {"a": [1, 3], "b": [1, 2], "k": "s", "new": None}
    found = (await call("diff", {"old_json": old, "new_json": new}))["result"]
    assert found["diff"] == {
        "added": {"new": None},
        "removed": {"gone": 1},
        "modified": {"a[1]": {"old": 2, "new": 3}, "b": {"old": [1], "new": [1, 2]}},
        "unchanged": ["a[0]", "k"],
    }
    back = await call("diff", {"operation": "patch", "input": old, "patch": found["patch"]})
    assert back["result"]["result"] == new
    assert (await call("diff", {"type": "json", "old_json": "{", "new_json": "1"}))["error"]["code"] == "invalid_json"


async def test_patches_that_do_not_fit_name_the_hunk(tmp_path):
    call = make(tmp_path).call
    for text, patch in (("a\n", "@@ -1 +1 @@\n-b\n+c\n"), ("a\n", "nonsense"), ("a\n", "@@ -1,9 +1 @@\n-a\n+b")):
        failed = await call("diff", {"operation": "patch", "input": text, "patch": patch})
        assert failed["error"]["code"] == "patch_failed"
        assert failed["error"]["details"]["hunk"] == 1
    failed = await call("diff", {"operation": "patch", "input": "{}", "patch": [{"op": "remove", "path": "/x"}]})
    assert failed["error"]["code"] == "patch_failed"


async def test_files_are_confined_and_arguments_needed(tmp_path):
    call = make(tmp_path).call
    with pytest.raises(SecurityError):
        await call("diff", {"old_file": "/etc/hosts", "new_text": ""})
    with pytest.raises(ValidationError):
        await call("diff", {"old_text": "a"})
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    assert (await call("diff", {"old_file": "b.bin", "new_text": ""}))["error"]["code"] == "decode_error"


def test_a_last_line_without_newline_is_not_the_same_as_one_before():
    found = TextDiff("a\na", "a")
    assert apply_unified("a\na", found.unified(0, ("old", "new"))) == ("a", 1)


def test_many_equal_lines_do_not_take_quadratic_time():
    start = time.monotonic()
    old, new = "x\ny\n" * 20_000, "y\nx\n" * 20_000 + "z\n"
    assert not TextDiff(old, new).identical
    assert time.monotonic() - start < 5
