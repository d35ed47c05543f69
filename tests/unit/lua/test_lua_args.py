"""Args: typed access to the arguments of a run."""

from types import SimpleNamespace

import pytest

from llmspell.base.arguments import Arguments
from llmspell.errors import ValidationError
from llmspell.lua.globals.args import Global


def make(*tokens):
    return Global(SimpleNamespace(), SimpleNamespace(arguments=Arguments("s.lua", tokens)))


def test_helpers_read_and_convert():
    args = make("x", "--n", "-5", "--dry", "--l=a,b", "--out-dir", "d")
    assert (args.int("n"), args.get("zz", "d"), args.bool("dry"), args.number("n")) == (-5, "d", True, -5)
    assert (args.list("l"), args.list("zz"), args.list("l", "b")) == (["a", "b"], [], ["a,", ""])
    assert (args.all("n"), args.has("n"), args.has("zz"), args.require("out_dir")) == (["-5"], True, False, "d")
    assert (args.positional(), args.script(), args.raw()[0]) == (["x"], "s.lua", "x")
    assert (args.lookup("n"), args.lookup("1"), args.lookup("zz"), args.get(1)) == ("-5", "x", None, "x")
    assert (args.int("zz", 3), args.bool("zz", False)) == (3, False)


def test_missing_and_bad_values_raise_validation():
    args = make("--n=x")
    with pytest.raises(ValidationError, match=r"^Missing argument: --name$"):
        args.require("name")
    for call in (lambda: args.int("n"), lambda: args.number("n"), lambda: args.bool("n"), lambda: args.get({})):
        with pytest.raises(ValidationError):
            call()


def test_a_spec_gives_types_defaults_and_choices():
    args = make("--n=5", "--mode=fast", "--tags=a,b")
    spec = {
        "n": {"type": "integer"}, "mode": {"type": "string", "choices": ["fast", "slow"]}, "tags": "list",
        "zz": {"type": "number", "default": 1.5}, "none": {"type": "string"},
    }  # fmt: skip
    assert args.parse(spec) == {"n": 5, "mode": "fast", "tags": ["a", "b"], "zz": 1.5}
    for bad in ({"q": {"required": True}}, {"mode": {"choices": ["x"]}}, {"n": {"type": "nope"}}, {"n": 5},
                {"mode": {"type": "integer"}}):  # fmt: skip
        with pytest.raises(ValidationError):
            args.parse(bad)
