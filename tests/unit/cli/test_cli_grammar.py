"""Words become calls; mistakes come back with the nearest name."""

import pytest

from llmspell.cli.grammar import UsageError, is_option, parse
from llmspell.cli.table import COMMANDS, GLOBALS, GROUPS, RESERVED


def test_global_options_are_taken_before_and_after_the_command():
    for words in (
        ["--output", "json", "tool", "list"],
        ["tool", "list", "--output=json"],
        ["tool", "--output", "json", "list"],
    ):
        call = parse(words)
        assert call.name == "tool list"
        assert call.flag("output") == "json"


def test_equals_and_blank_mean_the_same():
    assert parse(["exec", "x", "--time-limit=5"]).options == parse(["exec", "x", "--time-limit", "5"]).options


def test_format_is_output_where_the_command_has_none_of_its_own():
    assert parse(["tool", "list", "--format", "json"]).flag("output") == "json"
    assert parse(["config", "show", "--format", "json"]).get("format") == "json"


def test_what_follows_two_dashes_goes_to_the_script_untouched():
    call = parse(["run", "a.lua", "x", "--", "--help", "-5", "--"])
    assert (call.args, call.rest) == (["a.lua", "x"], ["--help", "-5", "--"])


def test_a_script_may_stand_behind_the_dashes():
    call = parse(["run", "--", "-odd.lua", "a"])
    assert (call.args, call.rest) == (["-odd.lua"], ["a"])


@pytest.mark.parametrize("word", ["-", "-5", "-1.5", "--", "-- comment", "---", "--[[x]] print(1)"])
def test_numbers_stdin_and_lua_comments_are_no_options(word):
    assert not is_option(word)


def test_repeated_options_collect():
    assert parse(["exec", "x", "--allow-path", "a", "--allow-path=b"]).get("allow_path") == ["a", "b"]
    assert parse(["-vv", "tool", "list", "-v"]).flag("verbose") == 3


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["toll", "list"], "'tool'"),
        (["tool", "lsit"], "'list'"),
        (["run", "x", "--sandbx", "safe"], "'--sandbox'"),
        (["run", "x", "--sandbox", "saef"], "'safe'"),
        (["--hom", "x"], "'--home'"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest(words, hint):
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ["run"], ["tool", "info"], ["tool", "info", "a", "b"], ["tool", "list", "--category"],
        ["tool", "list", "--aliases=1"],
        ["run", "x", "--session", "new"], ["run", "x", "--connect", "y"], ["run", "x", "--sand", "safe"], ["mcp"],
    ],
)  # fmt: skip
def test_what_is_not_in_the_table_is_refused(words):
    with pytest.raises(UsageError):
        parse(words)


def test_no_two_options_of_a_command_share_a_name():
    for command in COMMANDS:
        names = [name for option in command.options for name in option.names()]
        assert len(names) == len(set(names)), command.name
    assert not set(RESERVED) & ({command.name for command in COMMANDS} | set(GROUPS))
    shorts = [option.short for option in GLOBALS if option.short]
    assert len(shorts) == len(set(shorts))


def test_every_command_has_a_handler_that_exists():
    from importlib import import_module

    for command in COMMANDS:
        module, _, function = command.handler.partition(":")
        assert callable(getattr(import_module(f"llmspell.cli.{module}"), function)), command.name
