"""What every embedder must keep: shape, unit length, order, determinism; and what a service may do to it."""

import asyncio
import json

import numpy as np
import pytest
from model_folders import onnx_folder, static_folder
from strict_services import DIALECTS, KEY, StrictService, vector

from llmspell import embedders
from llmspell._core import count_tokens
from llmspell.base.effects import Direct
from llmspell.config.model import Embedding
from llmspell.config.model import Provider as Settings
from llmspell.config.model import Providers as Section
from llmspell.embedders._base import Spent
from llmspell.errors import (
    ConfigurationError,
    DimensionMismatch,
    InvalidArgument,
    NetworkDenied,
    NetworkError,
    ProviderError,
    RateLimitError,
)
from llmspell.errors import TimeoutError as TimedOut
from llmspell.providers import Providers, _embedding

REMOTE = sorted(DIALECTS)
LOCAL = ["builtin", "onnx", "static"]
FOLDERS = {"static": static_folder, "onnx": onnx_folder}
NO_KEYS = {}


def test_every_embedder_is_under_this_suite():
    assert sorted([*REMOTE, *LOCAL]) == embedders.names()


class Made:
    """An embedder, the service behind it if there is one, and how to make others."""

    def __init__(self, name, service, folder):
        self.name, self.service, self.folder = name, service, folder
        self.providers = []

    def section(self, **more):
        given = {"default_provider": self.name, "max_retries": 0, "dimensions": 0}
        if self.service is not None:
            given |= {"base_url": self.service.url, "api_key": KEY}
        if self.folder is not None:
            given["directory"] = str(self.folder)
        return Embedding(**{**given, **more})

    def build(self, *, environ=NO_KEYS, config=None, model=None, dimensions=None, **more):
        providers = Providers(config or Section(), effects=Direct(), environ=environ)
        self.providers.append(providers)
        return embedders.find(
            self.name,
            model=model,
            dimensions=dimensions,
            section=self.section(**more),
            services=lambda: providers.for_embedders,
        )

    async def close(self):
        for providers in self.providers:
            await providers.close()


async def opened(name, tmp_path):
    service = await StrictService(name).open() if name in DIALECTS else None
    folder = FOLDERS[name](tmp_path / name) if name in FOLDERS else None
    return Made(name, service, folder)


@pytest.fixture(params=embedders.names())
async def any_made(request, tmp_path):
    made = await opened(request.param, tmp_path)
    yield made
    await made.close()
    if made.service is not None:
        await made.service.close()


@pytest.fixture(params=REMOTE)
async def made(request, tmp_path):
    made = await opened(request.param, tmp_path)
    yield made
    await made.close()
    await made.service.close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Take no time between attempts; return the seconds that would have passed."""
    taken = []

    async def pause(seconds):
        taken.append(seconds)

    monkeypatch.setattr(_embedding, "_pause", pause)
    return taken


TEXTS = ["the red fox", "a lazy dog", "", "\u4eca\u65e5\u306f", "fox " * 300, "the red fox"]


async def test_vectors_are_float32_of_unit_length_in_the_order_of_the_texts(any_made):
    found = any_made.build()
    rows = await found.embed(TEXTS)
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), found.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows[0], rows[5], atol=1e-5)
    for at in range(3):
        assert np.allclose(rows[at], (await found.embed(TEXTS[at : at + 1]))[0], atol=1e-5)


async def test_another_instance_gives_the_same_vectors_under_the_same_id(any_made):
    one, other = any_made.build(), any_made.build()
    assert np.allclose(await one.embed(TEXTS[:2]), await other.embed(TEXTS[:2]), atol=1e-5)
    assert one.id == other.id
    assert one.id.startswith(any_made.name) or any_made.name == "builtin"


async def test_no_text_gives_no_vector(any_made):
    found = any_made.build()
    assert (await found.embed([])).shape[0] == 0


async def test_what_is_no_text_is_refused(any_made):
    found = any_made.build()
    for bad in ([1], ["\ud800"], "a text alone", [None]):
        with pytest.raises(InvalidArgument):
            await found.embed(bad)


async def test_what_it_cost_is_added_up(any_made):
    found, spent = any_made.build(), Spent()
    await found.embed(["one two", "three"], spent=spent)
    await found.embed(["four"], spent=spent)
    assert spent.embedded == 3
    assert spent.tokens > 0
    assert spent.requests == (0 if any_made.service is None else 2)


async def test_the_module_names_its_models_and_their_lengths(any_made):
    module = embedders.module(any_made.name)
    found = any_made.build()
    await found.embed(["x"])
    if module.DIMENSIONS is not None:
        assert found.dim == module.DIMENSIONS
        assert module.DIMENSIONS in module.MODELS.values()
    assert found.max_tokens is None or found.max_tokens > 0


async def test_the_vectors_are_those_of_the_service(made):
    found = made.build()
    kind = "document" if made.service.dialect.tells else ""
    expected = vector("the red fox", found.dim, kind)
    assert np.allclose((await found.embed(["the red fox"]))[0], expected / np.linalg.norm(expected), atol=1e-5)


async def test_questions_and_documents_are_told_apart_where_the_service_does(made):
    found = made.build()
    document, question = await found.embed(["fox"]), await found.embed(["fox"], query=True)
    assert found.tells_queries == made.service.dialect.tells
    assert np.allclose(document, question) != found.tells_queries
    if found.tells_queries:
        assert [request["kind"] for request in made.service.requests] == ["document", "query"]


async def test_batches_keep_the_configured_size_and_the_maximum_of_the_service(made):
    most = made.service.dialect.most
    made.service.dialect.native = 4
    texts = [f"text {n}" for n in range(most + 3)]
    rows = await made.build(batch_size=100_000, model="small").embed(texts)
    assert sorted(map(len, made.service.texts)) == [3, most]
    assert np.allclose(rows[-1], (await made.build(model="small").embed(texts[-1:]))[0], atol=1e-5)
    made.service.requests.clear()
    await made.build(batch_size=7, model="small").embed(texts[:20])
    assert sorted(map(len, made.service.texts)) == [6, 7, 7]


async def test_a_request_holds_no_more_tokens_than_the_service_takes(made):
    found = made.build(batch_size=100_000)
    text = "word " * (found.max_request_tokens // 10)
    text = text[: len(text) * (found.max_request_tokens // 10) // count_tokens(text)]
    await found.embed([text] * 11)
    assert len(made.service.requests) == 2


async def test_at_most_ten_requests_are_under_way(made):
    made.service.hold = asyncio.Event()
    task = asyncio.ensure_future(made.build(batch_size=1).embed([f"t{n}" for n in range(30)]))
    await made.service.ten.wait()
    made.service.hold.set()
    rows = await task
    assert made.service.most_open == 10
    assert rows.shape[0] == 30


async def test_a_model_nothing_is_known_of_tells_its_length_with_its_first_answer(made):
    made.service.dialect.native = 24
    found = made.build(model="house-model", batch_size=2)
    assert found.dim == 0
    rows = await found.embed(["a", "b", "c"])
    assert rows.shape == (3, 24)
    assert found.id == f"{made.name}:house-model:24"


async def test_a_shorter_vector_is_asked_for_where_the_service_can(made):
    size = next((n for n in (256, 512) if n in made.service.dialect.sizes), None)
    if size is None:
        with pytest.raises(DimensionMismatch, match=r"rag\.embedding\.dimensions = 768"):
            await made.build(dimensions=256).embed(["x"])
        return
    found = made.build(dimensions=size)
    rows = await found.embed(["x", "y"])
    assert rows.shape == (2, size)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert found.id != made.build().id


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((429, {"retry-after": "7"}), RateLimitError),
        ((500, {}), ProviderError),
        ((503, {"retry-after": "7"}), ProviderError),
    ],
)
async def test_failures_that_pass_are_tried_again(made, fault, kind, pauses):
    made.service.faults.extend([fault] * 3)
    assert (await made.build(max_retries=3).embed(["x"])).shape[0] == 1
    assert len(made.service.requests) == 4
    assert pauses == [7, 7, 7] if fault[1] else all(seconds < 4 for seconds in pauses)
    made.service.faults.extend([fault] * 2)
    with pytest.raises(kind):
        await made.build(max_retries=1).embed(["x"])
    assert len(made.service.requests) == 6


async def test_only_the_batch_that_failed_is_sent_again(made):
    made.service.faults.extend([None, (500, {}), None])
    await made.build(batch_size=1, max_retries=1).embed(["a", "b", "c"])
    failed = made.service.requests[1]["texts"]
    assert sorted(made.service.texts) == sorted([["a"], ["b"], ["c"], failed])


async def test_a_batch_that_fails_for_good_stops_the_others(made):
    made.service.hold = asyncio.Event()
    made.service.faults.append((400, {}))
    task = asyncio.ensure_future(made.build(batch_size=1).embed([f"t{n}" for n in range(200)]))
    await made.service.ten.wait()
    made.service.hold.set()
    with pytest.raises(ProviderError, match="refused the request"):
        await task
    assert len(made.service.requests) < 100


async def test_a_service_that_asks_for_an_hour_is_not_waited_for(made):
    made.service.faults.append((429, {"retry-after": "3600"}))
    with pytest.raises(RateLimitError) as caught:
        await made.build(max_retries=3).embed(["x"])
    assert caught.value.retry_after_ms == 3_600_000
    assert len(made.service.requests) == 1


async def test_a_cut_connection_is_a_network_error(made):
    made.service.faults.append("cut")
    with pytest.raises(NetworkError, match=made.name):
        await made.build().embed(["x"])


async def test_a_slow_answer_ends_with_the_timeout(made):
    made.service.faults.append("slow")
    with pytest.raises(TimedOut, match=made.name):
        await made.build(timeout_seconds=0.05).embed(["x"])


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [[0.0] * len(row) for row in rows],
        lambda rows: [[*row[:-1], "x"] for row in rows],
        lambda rows: [rows[0], *(row[:-1] for row in rows[1:])],
        lambda rows: [[*row[:-1], 1e39] for row in rows],
        lambda rows: [[*row[:-1], None] for row in rows],
    ],
    ids=["too few", "zeros", "words", "uneven", "infinity", "null"],
)
async def test_vectors_that_are_none_are_refused_and_asked_for_once_more(made, change):
    made.service.faults.extend([("rows", change)] * 2)
    with pytest.raises(ProviderError, match="cannot be used") as caught:
        await made.build(max_retries=5).embed(["x", "y"])
    assert caught.value.code == "bad_response"
    assert len(made.service.requests) == 2


async def test_nan_is_refused(made):
    made.service.faults.append(("rows", lambda rows: [[*row[:-1], float("nan")] for row in rows]))
    with pytest.raises(ProviderError):
        await made.build().embed(["x"])


async def test_vectors_of_another_length_are_refused_with_what_to_set(made):
    made.service.faults.append(("rows", lambda rows: [row[:5] for row in rows]))
    with pytest.raises(DimensionMismatch, match=r"gives vectors of 5 dimensions.*rag\.embedding\.dimensions = 5"):
        await made.build(max_retries=3).embed(["x"])
    assert len(made.service.requests) == 1


async def test_a_refused_key_never_appears_in_the_message(made):
    secret = "sk-wrong-9876543210fedcba"
    with pytest.raises(ProviderError, match="refused the key") as caught:
        await made.build(api_key=secret).embed(["x"])
    assert secret not in str(caught.value) + json.dumps(caught.value.to_wire())


async def test_a_missing_key_names_the_variable_and_asks_nobody(made):
    found = made.build(base_url=None, api_key=None)
    if made.name == "ollama":
        assert found.service().name == "ollama"
        return
    with pytest.raises(ConfigurationError, match=f"{made.name.upper()}_API_KEY") as caught:
        await found.embed(["x"])
    assert caught.value.code == "missing_key"


async def test_the_key_is_found_in_the_environment(made):
    variable = {"gemini": "GOOGLE_API_KEY"}.get(made.name, f"{made.name.upper()}_API_KEY")
    found = made.build(environ={variable: KEY}, api_key=None)
    assert (await found.embed(["x"])).shape[0] == 1


async def test_the_key_of_the_section_may_refer_to_a_variable(made):
    found = made.build(environ={"MY_KEY": KEY}, api_key="env:MY_KEY")
    assert (await found.embed(["x"])).shape[0] == 1
    with pytest.raises(ConfigurationError, match="env:MY_KEY") as caught:
        await made.build(api_key="env:MY_KEY").embed(["x"])
    assert caught.value.code == "missing_key"


async def test_availability_is_whether_key_or_address_is_known(made):
    def available(environ, **more):
        providers = Providers(Section(), effects=Direct(), environ=environ)
        section = Embedding(default_provider="builtin", **more)
        return embedders.available(made.name, section, lambda: providers.for_embedders)

    assert not available({})
    for given in ({"api_key": "env:NOWHERE"}, {"base_url": "https://models.example", "api_key": "env:NOWHERE"}):
        section = Embedding(default_provider=made.name, **given)
        providers = Providers(Section(), effects=Direct(), environ={})
        assert not embedders.available(made.name, section, lambda providers=providers: providers.for_embedders)
        assert embedders.available(
            made.name, Embedding(default_provider=made.name, api_key=KEY), lambda p=providers: p.for_embedders
        )
    variable = {"ollama": "OLLAMA_HOST"}.get(made.name, f"{made.name.upper()}_API_KEY")
    assert available({variable: "localhost"})


async def test_an_address_that_holds_the_beginning_of_the_path_is_understood(made):
    further = {"cohere": "/v2", "gemini": "/models", "ollama": "/api"}.get(made.name, "/embeddings")
    for base in (made.service.url + further, made.service.url + further + "/", made.service.url + "/"):
        assert (await made.build(base_url=base).embed(["x"])).shape[0] == 1


async def test_plain_http_goes_to_no_public_address(made):
    with pytest.raises(NetworkDenied) as caught:
        await made.build(base_url="http://93.184.216.34/v1").embed(["x"])
    assert caught.value.code == "url_denied"


async def test_an_embedder_without_services_says_so(made):
    with pytest.raises(ConfigurationError):
        await embedders.find(made.name).embed(["x"])


async def test_rows_of_the_dialect_need_no_numbers_but_right_ones(tmp_path):
    made = await opened("openai", tmp_path)
    honest = made.service.dialect.write

    def numbered(change):
        def write(rows, tokens, body):
            answer = honest(rows, tokens, body)
            for at, row in enumerate(answer["data"][::-1]):
                change(row, at)
            return {**answer, "data": answer["data"][::-1], "usage": None}

        made.service.dialect.write = write

    expected = await made.build().embed(["a", "b"])
    numbered(lambda row, at: row.pop("index"))
    spent = Spent()
    assert np.array_equal(await made.build().embed(["a", "b"], spent=spent), expected)
    assert spent.tokens == count_tokens("a") + count_tokens("b")
    for wrong in (7, 1, -1):
        numbered(lambda row, at, wrong=wrong: row.update(index=wrong))
        with pytest.raises(ProviderError, match="not numbered"):
            await made.build().embed(["a", "b"])
    await made.close()
    await made.service.close()


async def test_another_provider_of_the_dialect_is_an_embedder_with_its_own_address_and_prices():
    service = await StrictService("openai").open()
    service.dialect.native = 16
    table = Settings(
        provider_type="openai-compatible", base_url=service.url, api_key=KEY, prices={"house-*": {"input": 2.0}}
    )
    providers = Providers(Section(defined={"house": table}), effects=Direct(), environ={})
    found = embedders.find("house", model="house-1", section=Embedding(), services=lambda: providers.for_embedders)
    spent = Spent()
    assert (await found.embed(["a", "b"], spent=spent)).shape == (2, 16)
    assert found.id == "house:house-1:16"
    assert (spent.tokens, spent.cost_usd) == (14, pytest.approx(14 * 2 / 1e6))
    assert providers.usage("house")["requests"] == 1
    with pytest.raises(ConfigurationError, match=r"rag\.embedding\.model"):
        embedders.find("house", section=Embedding(), services=lambda: providers.for_embedders)
    await providers.close()
    await service.close()


async def test_tokens_have_the_price_of_the_table(made):
    spent = Spent()
    await made.build().embed(["one"], spent=spent)
    if made.name == "ollama":
        assert (spent.cost_usd, spent.unpriced) == (0, 0)
    else:
        assert spent.cost_usd > 0
        assert spent.tokens == 7 or not made.service.dialect.counts_tokens
    unpriced = Spent()
    made.service.dialect.native = 9
    await made.build(model="gemini-house").embed(["one"], spent=unpriced)
    assert unpriced.unpriced == (0 if made.name == "ollama" else unpriced.tokens)


async def test_a_cancelled_call_leaves_nothing_running(made):
    made.service.hold = asyncio.Event()
    task = asyncio.ensure_future(made.build(batch_size=1).embed([f"t{n}" for n in range(30)]))
    await made.service.ten.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    made.service.hold.set()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [one for one in others if "_one" in repr(one) and "HttpEmbedder" in repr(one)]
