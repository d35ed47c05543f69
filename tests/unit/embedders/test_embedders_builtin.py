"""The built-in embedder and how embedders are found."""

import numpy as np
import pytest

from llmspell import embedders
from llmspell.errors import ComponentError, InvalidArgument


async def test_vectors_have_unit_length_and_are_the_same_each_time():
    found = embedders.find("builtin")
    texts = ["a cat", "", "x" * 10_000, "\u4eca\u65e5"]
    first, second = await found.embed(texts), await found.embed(texts)
    assert first.shape == (4, 384)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert (first == second).all()


async def test_many_texts_give_what_each_alone_gives():
    found = embedders.find("builtin", dimensions=64)
    texts = [f"text number {n} " * 20 for n in range(50)]
    assert ((await found.embed(texts))[7] == (await found.embed(texts[7:8]))[0]).all()


def test_aliases_name_the_builtin_one():
    assert {embedders.find(name).id for name in ("builtin", "local", "hash", "hash-ngram", "hash_ngram")} == {
        embedders.find("builtin").id
    }


def test_the_id_tells_dimensions_apart():
    assert embedders.find("builtin", dimensions=64).id != embedders.find("builtin").id


def test_an_unknown_embedder_is_refused_with_the_known_ones():
    with pytest.raises(ComponentError, match="builtin"):
        embedders.find("bultin")


@pytest.mark.parametrize("dimensions", [0, 31, 5000, -1])
def test_impossible_dimensions_are_refused(dimensions):
    with pytest.raises(InvalidArgument):
        embedders.find("builtin", dimensions=dimensions)


async def test_what_is_no_text_is_refused():
    with pytest.raises(InvalidArgument):
        await embedders.find("builtin").embed([1])
    with pytest.raises(InvalidArgument):
        await embedders.find("builtin").embed(["\ud800"])
