"""Scope texts, the key grammar, and physical keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.base import scope
from llmspell.errors import InvalidKey, InvalidScope


@pytest.mark.parametrize(
    ("text", "kind", "ident"),
    [
        (None, "global", ""),
        ("", "global", ""),
        ("global", "global", ""),
        ("user:7", "user", "7"),
        ("user", "user", "default"),
        ("custom:x", "custom", "x"),
        ("tenant:acme", "custom", "tenant:acme"),
        ("anything", "custom", "anything"),
        ("agent:a:b", "agent", "a:b"),
        ("global:x", "custom", "global:x"),
    ],
)
def test_a_scope_text_means_one_kind_and_id(text, kind, ident):
    found = scope.parse(text)
    assert (found.kind, found.ident) == (kind, ident)


def test_a_bare_kind_is_the_current_one_where_there_is_one():
    assert scope.parse("session", {"session": "s1"}).text == "session:s1"
    assert scope.parse("session", {"agent": "a"}).text == "session:default"
    assert scope.parse("global", {"global": "x"}) == scope.GLOBAL


def test_the_canonical_text_parses_to_the_same_scope():
    for text in ("global", "tenant:acme", "agent:a%3Ab", "user"):
        once = scope.parse(text)
        assert scope.parse(once.text) == once


@pytest.mark.parametrize("bad", ["user:", "user:a\nb", "custom:a\0", "x" * 600, "user:\ud800"])
def test_a_scope_that_breaks_a_rule_is_refused(bad):
    with pytest.raises(InvalidScope):
        scope.parse(bad)


@pytest.mark.parametrize("bad", ["", "a..b", "a\\b", "a//b", "a\0b", "a\rb", "a\nb", "__a", "$$a", "k" * 257, "\ud800"])
def test_a_key_that_breaks_a_rule_is_refused_by_its_name(bad):
    with pytest.raises(InvalidKey) as caught:
        scope.physical(scope.GLOBAL, bad)
    assert caught.value.details["rule"] in caught.value.message


def test_a_key_may_have_256_code_points_but_not_512_with_its_scope():
    assert scope.check_key("ü" * 256) == "ü" * 256
    with pytest.raises(InvalidKey):
        scope.physical(scope.parse("custom:" + "s" * 300), "k" * 250)


def test_two_spellings_of_one_text_are_one_key_and_one_scope():
    assert scope.physical(scope.GLOBAL, "e\u0301") == scope.physical(scope.GLOBAL, "\u00e9")
    assert scope.parse("user:e\u0301") == scope.parse("user:\u00e9")


IDENTS = st.text("ab:%3A25", min_size=1, max_size=8)
KEYS = st.text("ab:%3A", min_size=1, max_size=8)


@given(IDENTS, KEYS, IDENTS, KEYS)
def test_two_pairs_never_share_a_physical_key(first_id, first_key, second_id, second_key):
    one = scope.physical(scope.make("user", first_id), first_key)
    two = scope.physical(scope.make("user", second_id), second_key)
    assert (one == two) == ((first_id, first_key) == (second_id, second_key))


@given(st.sampled_from(scope.KINDS[1:]), IDENTS, KEYS)
def test_a_physical_key_splits_into_what_it_was_made_of(kind, ident, key):
    made = scope.make(kind, ident)
    assert scope.split(scope.physical(made, key)) == (made, key)


def test_keys_of_another_family_do_not_split():
    assert scope.split(b"meta::schema_version") is None
    assert scope.split(b"nonsense") is None
