"""What every chunking strategy must keep: the text covered, in order, no cluster cut, sizes held, time linear."""

import time
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell._core import count_tokens
from llmspell.errors import InvalidArgument
from llmspell.rag.chunkers import cut_text, names
from llmspell.rag.chunkers._base import Options

STRATEGIES = names()
PROSE = (
    "# Title\n\nDr. Smith paid 3.14 dollars, e.g. for tea. She left. \u201cWas it good?\u201d Yes!\n\n## Part\n\n"
    "\u4eca\u65e5\u306f\u826f\u3044\u5929\u6c17\u3067\u3059\u3002\u660e\u65e5\u3082\u3002\n\n```lua\nprint(1)\n\nprint(2)\n```\n\n"
    "e\u0301a\u0308 \U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea ok.\r\n\r\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\ndef f():\n    return 1\n\n"
) * 30
TEXT = st.text(
    st.sampled_from("ab .!?\n\r\t#`|{}()\u0301\u200d\U0001f469\U0001f1e9\u3002\u4eca\u0915\u094d:-=")
    | st.characters(codec="utf-8"),
    min_size=1,
    max_size=400,
)


def check_cover(text, spans):
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    at = 0
    for span in spans:
        assert span.start <= at < span.end
        at = span.end
    starts = [span.start for span in spans]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(text=TEXT, size=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_pieces_cover_any_text(strategy, text, size):
    check_cover(text, cut_text(text, strategy, Options(size, size // 4, 5, 80)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pieces_without_overlap_are_the_text(strategy):
    spans = cut_text(PROSE, strategy, Options(40, 0, 10, 80))
    assert "".join(PROSE[span.start : span.end] for span in spans) == PROSE


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_piece_begins_or_ends_inside_a_grapheme_cluster(strategy):
    edges, at = {0}, 0
    for cluster in regex.findall(r"\X", PROSE):
        at += len(cluster)
        edges.add(at)
    for size in (3, 10, 40):
        for span in cut_text(PROSE, strategy, Options(size, size // 5, 5, 80)):
            assert {span.start, span.end} <= edges


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"none"}))
def test_pieces_hold_the_size_but_for_a_joined_tail(strategy):
    options = Options(60, 0, 10, 120)
    sizes = [count_tokens(PROSE[span.start : span.end]) for span in cut_text(PROSE, strategy, options)]
    assert max(sizes) <= options.chunk_size + options.least + 5
    assert len(sizes) > 5


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_empty_text_has_no_pieces(strategy):
    assert cut_text("", strategy, Options()) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("hostile", ["a(\n", ".", "\u3002", "# # ", "\n ", "#\n", "aB", "```\n", " \t", "x. "])
def test_hostile_text_takes_linear_time(strategy, hostile):
    text = hostile * (200_000 // len(hostile))
    started = time.process_time()
    cut_text(text, strategy, Options())
    assert time.process_time() - started < 2


def test_overlap_is_shared_by_neighbours():
    spans = cut_text("word " * 400, "sliding_window", Options(100, 20, 10, 200))
    assert all(left.end > right.start for left, right in pairwise(spans))


def test_sentences_stay_whole():
    text = "Dr. Smith paid 3.14 dollars. She left at 5 p.m. with e.g. tea. The end came soon. " * 20
    ends = {text[: span.end].rstrip()[-6:] for span in cut_text(text, "sentence", Options(30, 0, 5, 60))}
    assert ends <= {"ollars"[-5:] + ".", "h tea."[-6:], " soon."[-6:], "ollars."[-6:]}


def test_markdown_pieces_know_their_headings_and_keep_fences_whole():
    text = "# A\n\nintro " + "word " * 60 + "\n\n## B\n\n```\n" + "code\n\n" * 20 + "```\n\n# C\n\n" + "tail " * 60
    spans = cut_text(text, "markdown", Options(70, 0, 5, 400))
    paths = [span.metadata["headings"] for span in spans]
    assert ["A"] in paths
    assert ["A", "B"] in paths
    assert ["C"] in paths
    fenced = [text[span.start : span.end] for span in spans if "```" in text[span.start : span.end]]
    assert all(piece.count("```") == 2 for piece in fenced)


def test_code_is_cut_before_definitions_with_what_belongs_to_them():
    text = "import os\n\n" + "".join(
        f"# about f{i}\n@cached\ndef f{i}(x):\n    return x + {i}\n\n\n" for i in range(30)
    )
    spans = cut_text(text, "code", Options(40, 0, 5, 80))
    assert all(text[span.start :].startswith(("# about", "import")) for span in spans)
    assert spans[0].metadata["lines"][0] == 1
    assert spans[1].metadata["lines"][0] == text[: spans[1].start].count("\n") + 1


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(InvalidArgument, match="sentence"):
        cut_text("x", "sentense", Options())


def test_aliases_name_strategies():
    assert cut_text(PROSE, "sliding", Options(50, 0)) == cut_text(PROSE, "sliding_window", Options(50, 0))
    assert cut_text(PROSE, "semantic", Options(50, 0)) == cut_text(PROSE, "recursive", Options(50, 0))
