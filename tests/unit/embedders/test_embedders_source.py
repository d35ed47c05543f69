"""An embedder with its cache: what reaches the model, what is counted, and how it proves what it is."""

import numpy as np
import pytest

from llmspell.embedders._base import Spent
from llmspell.embedders._cache import VectorCache
from llmspell.embedders._source import PROBE, Probe, Source
from llmspell.errors import InvalidArgument, NetworkError


class Letters:
    """Vectors by the sum of letters; keeps what it was asked."""

    name, model, max_tokens, dim, id, tells_queries = "letters", "m", None, 8, "letters:m:8", True

    def __init__(self):
        self.asked = []
        self.shift = 0.0

    async def embed(self, texts, *, query=False, spent=None):
        self.asked.append((list(texts), query))
        if "down" in texts:
            raise NetworkError("down")
        if spent is not None:
            spent.add(Spent(embedded=len(texts), tokens=len(texts), cost_usd=0.5))
        rows = [np.random.default_rng(sum(map(ord, text)) + query).standard_normal(8) + self.shift for text in texts]
        return np.asarray([row / np.linalg.norm(row) for row in rows], np.float32).reshape(-1, 8)


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def source(letters):
    return Source(letters, VectorCache(entries=100, max_bytes=1 << 20, ttl_s=0))


async def test_each_distinct_text_reaches_the_model_once(source, letters):
    rows = await source.run("global").embed(["a", "b", "a", "a", "b"])
    assert letters.asked == [(["a", "b"], False)]
    assert (rows[0] == rows[2]).all()
    assert (rows[1] == rows[4]).all()
    assert not (rows[0] == rows[1]).all()
    assert rows.flags["C_CONTIGUOUS"]


async def test_texts_seen_before_are_not_embedded_again(source, letters):
    first = await source.run("global").embed(["a", "b"])
    run = source.run("global")
    again = await run.embed(["b", "c", "a"])
    assert letters.asked[1:] == [(["c"], False)]
    assert (again[0] == first[1]).all()
    assert (again[2] == first[0]).all()
    assert (run.spent.hits, run.spent.misses, run.spent.embedded, run.spent.cost_usd) == (2, 1, 1, 0.5)


@pytest.mark.parametrize(
    "other",
    [
        lambda source: source.run("tenant:x"),
        lambda source: source.run("global", query=True),
        lambda source: source.run("global", cache=False),
    ],
    ids=["partition", "question", "no cache"],
)
async def test_what_is_kept_apart_is_embedded_again(source, letters, other):
    await source.run("global").embed(["a"])
    await other(source).embed(["a"])
    assert len(letters.asked) == 2


async def test_a_question_shares_the_vector_of_a_document_where_the_model_does_not_tell_them_apart(source, letters):
    letters.tells_queries = False
    await source.run("global").embed(["a"])
    await source.run("global", query=True).embed(["a"])
    assert len(letters.asked) == 1


async def test_without_a_cache_every_call_reaches_the_model(letters):
    run = Source(letters, None).run("global")
    await run.embed(["a", "a"])
    await run.embed(["a"])
    assert [texts for texts, _ in letters.asked] == [["a"], ["a"]]
    assert (run.spent.hits, run.spent.misses) == (0, 0)


async def test_what_fails_is_not_kept(source, letters):
    with pytest.raises(NetworkError):
        await source.run("global").embed(["a", "down"])
    run = source.run("global")
    await run.embed(["a"])
    assert (run.spent.hits, run.spent.misses) == (0, 1)


async def test_a_kept_vector_of_another_length_is_not_used(source, letters):
    await source.run("global").embed(["a"])
    cache = source._cache
    for key, (data, until) in list(cache._kept.items()):
        cache._kept[key] = (data[:-4], until)
    run = source.run("global")
    assert (await run.embed(["a"])).shape == (1, 8)
    assert run.spent.misses == 1


async def test_no_text_asks_nobody(source, letters):
    assert (await source.run("global").embed([])).shape == (0, 8)
    assert letters.asked == []


async def test_what_is_no_text_is_refused(source):
    for bad in ([1], "text", ["\ud800"]):
        with pytest.raises(InvalidArgument):
            await source.run("global").embed(bad)


async def test_the_proof_comes_before_the_first_new_vector_and_once(source, letters):
    seen = []

    async def prove(probe):
        seen.append(probe)

    run = source.run("global", prove=prove)
    await run.embed(["a"])
    await run.embed(["b"])
    assert [texts for texts, _ in letters.asked] == [[PROBE], ["a"], ["b"]]
    assert len(seen) == 1
    await source.run("global", prove=prove).embed(["a"])
    assert len(seen) == 1, "what is kept needs no proof"
    await source.run("global", prove=prove).embed(["c"])
    assert [texts for texts, _ in letters.asked][3:] == [["c"]], "the probe is made once per process"
    assert len(seen) == 2


async def test_a_refused_proof_leaves_nothing_embedded(source, letters):
    async def prove(probe):
        raise InvalidArgument("another model")

    run = source.run("global", prove=prove)
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="another model"):
            await run.embed(["secret"])
    assert [texts for texts, _ in letters.asked] == [[PROBE]]


async def test_a_probe_tells_the_same_model_from_another(letters):
    probe = await Source(letters, None).probe()
    assert probe.matches(None, None)
    assert probe.matches(probe.data, probe.hash)
    near = np.frombuffer(probe.data, np.float32) + np.float32(1e-4)
    assert probe.matches((near / np.linalg.norm(near)).astype(np.float32).tobytes(), "other")
    letters.shift = 0.5
    other = await Source(letters, None).probe()
    assert not probe.matches(other.data, other.hash)
    assert not probe.matches(probe.data[:16], "other")
    assert isinstance(probe, Probe)
