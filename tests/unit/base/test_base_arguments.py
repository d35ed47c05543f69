"""Script arguments: tokens become values, values stay data."""

import pytest

from llmspell.base.arguments import Arguments, boolean, integer, number
from llmspell.errors import ValidationError


def test_tokens_are_read_as_documented():
    given = Arguments("s.lua", ["x", "y", "--name=Ann", "--n", "-5", "--out-dir", "d", "--dry"])
    assert given.positional == ["x", "y"]
    assert given.named == {"name": "Ann", "n": "-5", "out-dir": "d", "dry": "true"}
    assert given.get("out_dir") == "d"
    assert (given.get(1), given.get("2"), given.get(3)) == ("x", "y", None)


@pytest.mark.parametrize(
    ("tokens", "positional", "named"),
    [
        (["--", "a", "--k"], ["a"], {"k": "true"}),
        (["--", "a", "--", "--k", "--"], ["a", "--k", "--"], {}),
        (["--k="], [], {"k": ""}),
        (["--k=a=b"], [], {"k": "a=b"}),
        (["-x", "-5"], ["-x", "-5"], {}),
        (["--a", "--b", "1"], [], {"a": "true", "b": "1"}),
        (["--k", ""], [], {"k": ""}),
        (["--=v"], ["--=v"], {}),
        (["line\n'\"break"], ["line\n'\"break"], {}),
        ([b"\xff", "--k=\udcff"], [b"\xff"], {"k": b"\xff"}),
    ],
)
def test_every_form_of_a_token(tokens, positional, named):
    given = Arguments(None, tokens)
    assert (given.positional, given.named) == (positional, named)


def test_a_repeated_key_keeps_all_values_and_the_last_wins():
    given = Arguments(None, ["--k=1", "--k=2"])
    assert (given.get("k"), given.values("k"), given.values("zz")) == ("2", ["1", "2"], [])


def test_a_named_number_hides_the_positional_one():
    assert Arguments(None, ["p", "--1=named"]).get("1") == "named"


def test_values_from_a_program_keep_their_type():
    given = Arguments.of({"n": 5, "on": True, "many": [1, 2]})
    assert (given.get("n"), given.get("on"), given.values("many")) == (5, True, [1, 2])
    assert Arguments.of([1, "a"]).positional == [1, "a"]
    assert Arguments.of(None).tokens == []


def test_conversions_refuse_what_is_not_meant():
    assert (integer("n", "-5"), integer("n", 5.0), number("n", "1e3"), number("n", "7")) == (-5, 5, 1000.0, 7)
    assert (boolean("b", "YES"), boolean("b", "off"), boolean("b", 1)) == (True, False, True)
    for convert, value in (
        (integer, "5.5"),
        (integer, "1_0"),
        (integer, "--5"),
        (integer, "9" * 30),
        (integer, True),
        (number, "x"),
        (number, "1_0"),
        (boolean, "maybe"),
        (boolean, 2.5),
        (integer, "٣"),
    ):
        with pytest.raises(ValidationError, match=r"Argument --n must be"):
            convert("n", value)
