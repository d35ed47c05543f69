"""Documents, tables, exit codes."""

import json

import pytest
import yaml

from llmspell.cli.exit_codes import code_of
from llmspell.cli.output import Output, early_form, to_json, wrap
from llmspell.cli.repl_show import show
from llmspell.errors import (
    CancelledError,
    ConfigurationError,
    LimitExceeded,
    NetworkError,
    NotFound,
    ProviderError,
    ScriptError,
    SecurityError,
    ToolError,
    ValidationError,
)
from llmspell.errors import (
    TimeoutError as TimedOut,
)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_document_has_the_envelope(form, capsys):
    out = Output(form, command="tool list")
    out.warnings.append("w")
    out.emit({"tools": [], "count": 0}, "text", items="tools")
    text = capsys.readouterr().out
    found = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert found == {
        "schema": "llmspell.cli/1", "status": "ok", "command": "tool list", "mode": "embedded", "tools": [], "count": 0,
        "warnings": ["w"],
    }  # fmt: skip


def test_jsonl_writes_items_without_envelope(capsys):
    Output("jsonl").emit({"tools": [{"a": 1}, {"a": 2}]}, "", items="tools")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"a": 1}, {"a": 2}]


def test_errors_of_people_go_to_standard_error_with_their_hint(capsys):
    Output("text").fail({"message": "m", "hint": "h"})
    assert capsys.readouterr() == ("", "error: m\nhint: h\n")


def test_errors_of_programs_are_the_document(capsys):
    Output("json").fail({"kind": "tool", "message": "m"})
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["error"]["message"]) == ("error", "m")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ScriptError("x"), 1),
        (ToolError("x"), 1),
        (ToolError("x", code="not_found"), 4),
        (NotFound("x"), 4),
        (ValidationError("x"), 1),
        (ConfigurationError("x"), 3),
        (SecurityError("x"), 5),
        (ProviderError("x"), 7),
        (NetworkError("x"), 7),
        (TimedOut("x"), 124),
        (CancelledError("x"), 130),
        (LimitExceeded("x", details={"resource": "memory_bytes"}), 1),
        (LimitExceeded("x", details={"resource": "budget_tokens"}), 6),
        (LimitExceeded("x", details={"resource": "wall_time_ms"}), 124),
    ],
)
def test_exit_codes_follow_the_table(error, code):
    assert code_of(error) == code


def test_values_without_json_form_are_refused():
    for value in (float("nan"), b"\xff"):
        with pytest.raises(ValidationError):
            to_json([value])


def test_the_form_is_known_even_when_the_words_do_not_parse():
    assert early_form(["nonsense", "--output", "json"]) == "json"
    assert early_form(["--", "--output", "json"]) == "text"


def test_tables_are_aligned():
    assert Output().table(("A", "B"), [("xx", "y"), (None, 3)]) == "A   B\nxx  y\n    3"
    assert wrap("aaa bbb ccc", 7) == ["aaa bbb", "ccc"]


def test_values_are_shown_as_lua_writes_them():
    assert show({"a": [1, 2.0, True, None], "b c": 'q"\n'}) == '{a = {1, 2.0, true, nil}, ["b c"] = "q\\"\\n"}'
    assert show({"a": {"a": {"a": {"a": {"a": 1}}}}}) == "{a = {a = {a = {a = {...}}}}}"
    assert "... 5 more" in show(list(range(105)))
