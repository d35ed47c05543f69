"""Every strategy keeps the promises of a chunker, whatever the text."""

import os
import random

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell._core import count_tokens
from llmspell.config import model
from llmspell.rag import chunking
from llmspell.rag.chunkers import _base, code, markdown, names, recursive

CASES = int(os.environ.get("LLMSPELL_CHUNK_CASES", "300"))
STRATEGIES = sorted(names())
ATOMS = [
    "word ", "a", "Longer words of a sentence. ", "Dr. Who paid 3.14 for it! ", "\n", "\n\n", " \r\n\r\n", "\r\n", "  ",
    "e\u0301", "a\u0300\u0316\u0301 ", "\u4eca\u65e5\u306f\u3002", "\u662f\uff01\uff1f", "\u0e33", ". \u0e33", "\u3002\uff9e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "! \U0001f3fd", "\u2028", "\x85",
    "\u0915\u094d\u0937\u093f ", "\ud55c\uad6d\uc5b4. ", "\u1112\u1161\u11ab", "\u05e9\u05c1\u05dc\u05d5\u05dd. ", "# Heading\n", "## Sub\n\n", "Title\n=====\n",
    "```py\nx = 1\n\ny = 2\n```\n", "~~~\nopen", "| a | b |\n|---|---|\n| 1 | 2 |\n", "- item\n", "def f(x):\n    return x\n\n",
    "local function g()\nend\n", "func h() {\n}\n", "/* c */ int main(void)\n{\n}\n", "\0", "\u200b", "\ufeff", "...", "!?\u201d ", "\t",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(ATOMS), st.text(max_size=12)), max_size=60).map("".join)
SIZES = st.sampled_from([
    {"chunk_size": 1, "overlap": 0}, {"chunk_size": 7, "overlap": 3, "max_chunk_size": 20}, {"chunk_size": 20, "overlap": 5},
    {"chunk_size": 60, "overlap": 0, "min_chunk_size": 10, "max_chunk_size": 120}, {"chunk_size": 64, "overlap": 63}, {},
])  # fmt: skip


def encodable(text):
    return text.encode("utf-8", "replace").decode()


def made(text, strategy, name="", **sizes):
    return chunking.chunks(text, chunking.recipe(model.Chunking(), {"strategy": strategy, **sizes}), name)


def borders(text):
    found, at = {0}, 0
    for cluster in regex.findall(r"\X", text):
        at += len(cluster)
        found.add(at)
    return found


def check(text, strategy, sizes):
    pieces = made(text, strategy, **sizes)
    if not text:
        assert pieces == []
        return
    raw, edges, covered = text.encode(), borders(text), 0
    recipe = chunking.recipe(model.Chunking(), sizes)
    largest = max(recipe.options.max_chunk_size, recipe.options.chunk_size)
    for index, piece in enumerate(pieces):
        start, end = piece.char_offset, piece.char_offset + len(piece.content)
        assert piece.index == index
        assert piece.content
        assert text[start:end] == piece.content
        assert raw[piece.byte_offset : piece.byte_offset + piece.byte_length].decode() == piece.content
        assert start in edges
        assert end in edges
        assert start <= covered < end, "a gap, or a piece that adds nothing"
        covered = end
        assert piece.token_count == count_tokens(piece.content)
        if strategy != "none" and len(regex.findall(r"\X", piece.content)) > 1:
            assert piece.token_count <= largest
    assert covered == len(text)
    assert made(text, strategy, **sizes) == pieces
    spaced = 2 * recipe.options.overlap <= recipe.options.chunk_size  # else every window adds but a little
    if strategy in ("sliding_window", "sentence", "recursive", "paragraph", "fixed") and len(pieces) > 1 and spaced:
        tail = text[pieces[-2].char_offset + len(pieces[-2].content) :]
        both = count_tokens(text[pieces[-2].char_offset :])
        assert count_tokens(tail) >= recipe.options.least or both > largest, "a short tail stands alone"


@settings(max_examples=CASES, deadline=None)
@given(TEXTS.map(encodable), st.sampled_from(STRATEGIES), SIZES)
def test_chunks_cover_the_text_and_split_no_cluster(text, strategy, sizes):
    check(text, strategy, sizes)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_keeps_its_promises_on_a_fixed_crowd_of_texts(strategy):
    rng = random.Random(strategy)
    for _ in range(CASES // 8):
        check("".join(rng.choices(ATOMS, k=rng.randrange(80))), strategy, {"chunk_size": rng.choice([3, 16, 50, 512])})


UNITS = [
    "word ", "x", "\u4eca", "e\u0301", "A. b ", ".", "\n", "# h\n\nt\n\n", "# h\n", "## h\n\nSome words of it.\n\nMore.\n\n",
    "def f(): pass\n", "|a|\n", "(", "@d\n", "# note\n", "```\n",
]  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_characters_are_counted_a_few_times_however_long_the_text(strategy, monkeypatch):
    counted = 0

    def counting(text):
        nonlocal counted
        counted += len(text)
        return count_tokens(text)

    for module in (chunking, _base, code, markdown, recursive):
        monkeypatch.setattr(module, "count_tokens", counting)
    for unit in UNITS:
        for repeat in (1000, 8000):
            counted = 0
            chunking.parts(unit * repeat, chunking.recipe(model.Chunking(), {"strategy": strategy}))
            assert counted <= 12 * len(unit) * repeat, unit


def headings(text, **sizes):
    return [(piece.content, piece.metadata.get("headings")) for piece in made(text, "markdown", **sizes)]


def test_markdown_sections_know_the_path_to_them():
    text = "intro\n\n# A\n\none\n\n## B\n\ntwo\n\n### C\n\nthree\n\n## D #\n\nfour\n\nE\n=\n\nfive\n\nF\n---\nsix\n"
    assert headings(text) == [
        ("intro\n\n", None),
        ("# A\n\none\n\n", ["A"]),
        ("## B\n\ntwo\n\n", ["A", "B"]),
        ("### C\n\nthree\n\n", ["A", "B", "C"]),
        ("## D #\n\nfour\n\n", ["A", "D"]),
        ("E\n=\n\nfive\n\n", ["E"]),
        ("F\n---\nsix\n", ["E", "F"]),
    ]


def test_a_markdown_heading_with_nothing_below_joins_the_next():
    assert headings("# A\n\n## B\n\ntext\n\n## C\n# D\nend") == [
        ("# A\n\n## B\n\ntext\n\n", ["A", "B"]),
        ("## C\n", ["A", "C"]),
        ("# D\nend", ["D"]),
    ]


@pytest.mark.parametrize(
    "whole",
    [
        "```lua\n# no heading\n" + "local x = 1\n\n" * 30 + "```\n",
        "~~~~\n```\n" + "text\n\n" * 30 + "~~~~\n",
        "| a | b |\n|---|---|\n" + "| one | two |\n" * 20,
        "a | b\n--|--\n" + "one | two\n" * 20,
    ],
)
def test_markdown_fences_and_tables_stay_whole_unless_they_are_larger_than_the_largest_chunk(whole):
    text = "# A\n\n" + "Words before it. " * 9 + "\n\n" + whole + "\n" + "Words after it. " * 9
    sizes = {"chunk_size": 40, "overlap": 0}
    assert sum(whole in piece.content for piece in made(text, "markdown", **sizes)) == 1
    assert all(whole not in piece.content for piece in made(text, "markdown", max_chunk_size=44, **sizes))


def test_markdown_front_matter_is_no_heading():
    assert headings("---\ntitle: x\n---\n# A\ntext\n") == [("---\ntitle: x\n---\n", None), ("# A\ntext\n", ["A"])]


BODY = "    value = value + 1  -- the sum of all that came before it\n" * 12
DEFINITIONS = {
    "a.py": ["import os\n\n", f"@first\n@second(\n    1\n)\ndef one(x):\n{BODY}\n", f"# about\nclass Two:\n{BODY}\n", f"async def three():\n{BODY}"],
    "a.lua": ["local M = {}\n\n", f"-- about\nlocal function one()\n{BODY}end\n\n", f"function M.two()\n{BODY}end\n\n", f"M.three = function()\n{BODY}end\n"],
    "a.ts": ["import x from 'y'\n\n", f"export function one() {{\n{BODY}}}\n\n", f"// about\nclass Two {{\n{BODY}}}\n\n", f"const three = () => {{\n{BODY}}}\n"],
    "a.js": ["'use strict'\n\n", f"function one() {{\n{BODY}}}\n\n", f"async function two() {{\n{BODY}}}\n\n", f"let three = function () {{\n{BODY}}}\n"],
    "a.c": ["#include <x.h>\n\n", f"struct one {{\n{BODY}}};\n\n", f"static int two(int a,\n               int b)\n{{\n{BODY}}}\n\n", f"/* about */\nvoid three(void) {{\n{BODY}}}\n"],
    "a.go": ["package main\n\n", f"// One does.\nfunc One() {{\n{BODY}}}\n\n", f"func (t *T) Two() {{\n{BODY}}}\n\n", f"type Three struct {{\n{BODY}}}\n"],
    "A.java": ["import java.util.List;\n\n", f"public class One {{\n{BODY}}}\n\n", f"/** About. */\n@Two\nfinal class Two {{\n{BODY}}}\n\n", f"enum Three {{\n{BODY}}}\n"],
    "a.sh": ["#!/bin/sh\n\n", f"one() {{\n{BODY}}}\n\n", f"# about\nfunction two {{\n{BODY}}}\n\n", f"three () {{\n{BODY}}}\n"],
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("named", [True, False])
def test_code_is_cut_at_definitions(name, named):
    top, *definitions = DEFINITIONS[name]
    text = top + "".join(definitions)
    pieces = made(text, "code", name if named else "", chunk_size=400, overlap=0)
    assert [piece.content for piece in pieces] == [top + definitions[0], *definitions[1:]]
    for piece in pieces:
        first, last = piece.metadata["lines"]
        assert "".join(text.splitlines(keepends=True)[first - 1 : last]) == piece.content


def test_a_long_definition_is_cut_between_lines_and_unknown_text_at_blank_lines():
    code = "def long():\n" + "    value = call(value, 1)\n" * 100
    pieces = made(code, "code", "a.py", chunk_size=80, overlap=0)
    assert len(pieces) > 5
    assert all(piece.content.endswith("\n") for piece in pieces)
    assert all(piece.token_count <= 80 for piece in pieces[:-1])
    prose = [piece.content for piece in made("Ein Satz.\n\nNoch einer.\n\n" * 40, "code", chunk_size=60, overlap=0)]
    assert all(piece.endswith("\n\n") for piece in prose)


def test_sentences_and_paragraphs_stay_whole():
    text = "Dr. Who paid 3.14 pounds, i.e. little. \u4eca\u65e5\u306f\u3002\u660e\u65e5\u3082\u3002Is it? Yes! " * 20
    for piece in made(text, "sentence", chunk_size=40, overlap=0):
        assert piece.content.rstrip()[-1] in ".\u3002?!"
        assert not piece.content.rstrip().endswith(("Dr.", "3.", "i.", "i.e."))
        assert piece.token_count <= 50
    paragraphs = "A paragraph of some words.\nIts second line.\n\n" * 30
    assert all(p.content.endswith("line.\n\n") for p in made(paragraphs, "paragraph", chunk_size=50, overlap=0))


def test_recursive_cuts_at_the_coarsest_place_and_leaves_no_scraps():
    text = "# A\n\n" + "Some words in a sentence. " * 60 + "\n\n" + "# B\n\nshort\n\n" + "More words here. " * 30
    pieces = made(text, "recursive", chunk_size=100, overlap=0)
    assert any(piece.content.startswith("# B") for piece in pieces)
    assert all(25 <= piece.token_count <= 125 for piece in pieces)


def test_names_of_strategies_have_aliases():
    text = "One sentence. " * 200
    for alias, name in (("sliding", "sliding_window"), ("semantic", "recursive"), ("sliding-window", "sliding_window")):
        assert made(text, alias) == made(text, name)
        assert chunking.recipe(model.Chunking(), {"strategy": alias}).strategy == name
