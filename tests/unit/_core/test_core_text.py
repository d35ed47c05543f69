from __future__ import annotations

import time

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell._core import count_tokens, cut

ODD = [
    "\r\n",
    "e\u0301",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea",
    "क्ष",
    "각",
    "ᄀ\u1161\u11a8",
    "\u0e33",
    ". ",
    "東",
]
texts = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from(ODD)), max_size=40
).map("".join)
ways = st.fixed_dictionaries(
    {
        "size": st.integers(1, 60),
        "unit": st.sampled_from(["tokens", "chars", "bytes"]),
        "at": st.sampled_from(["sentence", "word", "grapheme"]),
    }
)


def parts(text, **how):
    data = text.encode()
    return [data[begin:end].decode() for begin, end in cut(text, **how)]


def boundaries(text):
    places, at = {0}, 0
    for cluster in regex.findall(r"\X", text):
        at += len(cluster.encode())
        places.add(at)
    return places


def measure(text, unit):
    return {"tokens": count_tokens, "chars": len, "bytes": lambda t: len(t.encode())}[unit](text)


@settings(max_examples=300, deadline=None)
@given(texts, ways)
def test_parts_without_overlap_are_the_text(text, how):
    assert "".join(parts(text, **how)) == text


@settings(max_examples=300, deadline=None)
@given(texts, ways, st.data())
def test_windows_keep_their_promises(text, how, data):
    how["overlap"] = data.draw(st.integers(0, how["size"] - 1))
    ranges = cut(text, **how)
    allowed = boundaries(text)
    assert ranges.dtype == np.int64
    assert ranges.shape == (len(ranges), 2)
    covered = 0
    for number, (begin, end) in enumerate(ranges.tolist()):
        part = text.encode()[begin:end].decode()
        assert {begin, end} <= allowed
        assert begin <= covered < end
        if measure(part, how["unit"]) > how["size"]:
            assert len(regex.findall(r"\X", part)) == 1
        if number:
            shared = text.encode()[begin:covered].decode()
            assert measure(shared, how["unit"]) <= how["overlap"] + (how["unit"] == "tokens" and bool(shared))
        covered = end
    assert covered == len(text.encode())


@settings(max_examples=300, deadline=None)
@given(texts)
def test_the_smallest_parts_are_grapheme_clusters(text):
    assert parts(text, size=1, unit="bytes", at="grapheme") == regex.findall(r"\X", text)


def test_a_sentence_end_near_the_limit_is_preferred():
    text = "One two three four five. Six seven eight nine ten eleven twelve."
    assert parts(text, size=30, unit="chars")[0] == "One two three four five. "
    assert parts(text, size=30, unit="chars", at="word")[0] == "One two three four five. Six "
    assert parts(text, size=30, unit="chars", at="grapheme")[0] == "One two three four five. Six s"


@pytest.mark.parametrize(
    "text",
    [
        "We met Dr. Smith there again",
        "It costs 3.50 euros or so now",
        "This is e.g. Tuesday or later",
        "Ask J. Doe about it some time",
        "He left. and nobody ever knew",
    ],
)
def test_abbreviations_and_numbers_do_not_end_a_sentence(text):
    text = "some words " * 9 + text
    first = parts(text, size=text.index(".") + 12, unit="chars")[0]
    assert "." in first
    assert not first.endswith(". ")


def test_ideographs_end_sentences_without_blanks():
    assert parts("今日は晴れです。明日は雨です。", size=9, unit="chars")[0] == "今日は晴れです。"


def test_an_empty_line_ends_a_sentence():
    assert parts("a heading\n\nsome text follows here", size=13, unit="chars")[0] == "a heading\n\n"


def test_overlap_shares_whole_words():
    got = parts("alpha beta gamma delta epsilon zeta eta theta", size=20, overlap=10, unit="chars", at="word")
    assert got[0] == "alpha beta gamma "
    assert got[1].startswith("gamma ")


def test_an_empty_text_has_no_parts_and_no_tokens():
    assert cut("", size=5).shape == (0, 2)
    assert count_tokens("") == 0


def test_tokens_are_near_what_models_count():
    english = "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised by it."
    assert 17 <= count_tokens(english) <= 24
    assert 5 <= count_tokens("今日は晴れです") <= 9
    assert count_tokens("a") == 1


def test_time_is_linear_even_when_windows_share_almost_everything():
    text = "word " * 200_000
    began = time.perf_counter()
    assert len(cut(text, size=2000, overlap=1999, unit="chars")) > 100_000
    cut("e" + "\u0301" * 500_000, size=5)
    assert time.perf_counter() - began < 3.0


@pytest.mark.parametrize(
    "how",
    [
        {"size": 0},
        {"size": 5, "overlap": 5},
        {"size": 5, "overlap": -1},
        {"size": 5, "unit": "words"},
        {"size": 5, "at": "x"},
    ],
)
def test_wrong_options_are_refused(how):
    with pytest.raises(errors.InvalidArgument):
        cut("text", **how)


def test_wrong_text_is_refused():
    with pytest.raises(TypeError):
        count_tokens(b"bytes")
    with pytest.raises(errors.InvalidArgument):
        cut("\ud800", size=3)
