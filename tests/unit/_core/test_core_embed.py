from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell._core import HashEmbedder

EMBEDDER = HashEmbedder()


def one(text, embedder=EMBEDDER):
    return embedder.embed([text])[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_every_text_gives_a_finite_unit_vector(texts):
    vectors = EMBEDDER.embed(texts)
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_the_same_text_gives_the_same_bits_always():
    text = "Read the members of a ZIP archive; shuffle a list. Straße ÅNGSTRÖM ﬁne 東京 שלום 😀 ١٢٣"
    digest = hashlib.sha256(one(text).tobytes()).hexdigest()
    assert digest == "572fe726d6d02d98b9dd03f7abca055157d4c0cd24d0400e89b7260e0f480b16"


def test_threads_do_not_change_the_bits():
    texts = [f"text number {n} about things " * (n % 7) for n in range(50)]
    one_thread = EMBEDDER.embed(texts)
    assert np.array_equal(one_thread, EMBEDDER.embed(texts, threads=4))
    assert np.array_equal(one_thread, EMBEDDER.embed(texts, threads=0))
    assert np.array_equal(one_thread, np.stack([one(text) for text in texts]))


def test_folding_agrees_with_unicodedata_for_every_letter():
    texts, folded = [], []
    for code in range(0x80, 0x20000):
        char = chr(code)
        if unicodedata.category(char)[0] not in "LN":
            continue
        decomposed = unicodedata.normalize("NFKD", char)
        text = f"x{char}y"
        again = unicodedata.normalize("NFKD", f"x{decomposed}y".casefold())
        texts.append(text)
        folded.append(unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", again.casefold())))
    for start in range(0, len(texts), 8000):
        block = slice(start, start + 8000)
        assert np.array_equal(EMBEDDER.embed(texts[block]), EMBEDDER.embed(folded[block]))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x11FF, exclude_categories=["Cs", "Cf", "Cn"])))
def test_composed_and_decomposed_spellings_are_one(text):
    assert np.array_equal(one(unicodedata.normalize("NFD", text)), one(unicodedata.normalize("NFC", text)))


def test_related_spellings_are_nearer_than_foreign_words():
    query = one("shuffle a list randomly")
    assert query @ one("Shuffled lists, random order") > 0.2 + query @ one("open a network socket")


def test_function_words_weigh_little():
    query = one("members of the archive")
    assert query @ one("archive members") > 0.6
    assert query @ one("some of the") < 0.4


def test_an_empty_text_has_a_fixed_direction():
    assert np.array_equal(one(""), one(" \n.,;!"))
    assert np.count_nonzero(one("")) == 1


def test_options_change_the_vectors_and_the_id():
    assert EMBEDDER.id == "hash-v1:384:0:3-5:2:1"
    assert EMBEDDER.dim == 384
    other = HashEmbedder(64, seed=7, char_ngrams=(2, 4), word_ngrams=1, lowercase=False)
    assert other.id == "hash-v1:64:7:2-4:1:0"
    assert not np.array_equal(one("Word", other), one("word", other))
    assert np.array_equal(one("Word"), one("word"))
    assert not np.array_equal(one("word", HashEmbedder(seed=1)), one("word"))


def test_a_query_of_most_words_finds_its_passage():
    source = np.random.default_rng(3)
    vocabulary = ["".join(source.choice(list("abcdefghijklmnoprstu"), source.integers(3, 9))) for _ in range(3000)]
    passages = [list(source.choice(vocabulary, source.integers(30, 120))) for _ in range(400)]
    stored = EMBEDDER.embed([" ".join(words) for words in passages])
    queries = []
    for words in passages:
        kept = sorted(source.choice(len(words), int(len(words) * 0.6), replace=False))
        queries.append(" ".join(words[i] for i in kept))
    found = np.argmax(EMBEDDER.embed(queries) @ stored.T, axis=1)
    assert np.mean(found == np.arange(len(passages))) >= 0.95


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 31},
        {"dim": 4097},
        {"seed": -1},
        {"char_ngrams": (0, 3)},
        {"char_ngrams": (4, 3)},
        {"char_ngrams": (3, 9)},
        {"word_ngrams": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(errors.InvalidArgument):
        HashEmbedder(**options)


def test_wrong_input_is_refused():
    with pytest.raises(TypeError):
        EMBEDDER.embed("one text")
    with pytest.raises(TypeError):
        EMBEDDER.embed([b"bytes"])
    with pytest.raises(errors.InvalidArgument):
        EMBEDDER.embed(["\ud800"])
    with pytest.raises(errors.InvalidArgument):
        EMBEDDER.embed(["a"], threads=257)
