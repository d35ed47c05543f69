"""Remote embedders as scripts choose them."""

import io

import pytest
from strict_services import KEY, StrictService

from llmspell.app import App
from llmspell.config import load
from llmspell.embedders._source import PROBE
from llmspell.lua.engine import Interpreter


@pytest.fixture
async def openai():
    made = await StrictService("openai").open()
    yield made
    await made.close()


@pytest.fixture
async def run(tmp_path, openai):
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai.url}

    async def run(source, *sets):
        loaded = load(sets=list(sets), environ=environ, cwd=tmp_path, home=tmp_path / "home")
        app = App(loaded.config, home=tmp_path / "home", cwd=tmp_path, environ=environ)
        out = io.BytesIO()
        interpreter = Interpreter(app, profile="safe", stdout=out, stderr=io.BytesIO())
        outcome = await interpreter.run(source)
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        return out.getvalue().decode().rstrip("\n").split("\n")

    return run


def asked(openai):
    return [text for texts in openai.texts for text in texts if text != PROBE]


async def test_a_script_names_the_embedder_of_a_call(run, openai):
    lines = await run("""
        local done = RAG.ingest({{id = "fox", content = "the red fox"}}, {collection = "far", provider = "openai"})
        print(done.success, done.embedding_cost_usd > 0)
        local r = RAG.search("the red fox", {collection = "far", mode = "vector"})
        print(r.embedder, r[1].id)
        print(#RAG.embed("x"), #RAG.embed("x", {embedder = "openai"}), #RAG.embed("x", {provider = "openai", dimensions = 256}))
        print(#RAG.embed("x", {provider = "openai", model = "text-embedding-3-large", input_type = "query"}))
        local s = RAG.get_stats{collection = "far"}
        print(s.embedder, s.dimensions, s.embedding_tokens > 0, s.embedding_cost_usd > 0)
    """)
    assert lines == [
        "true\ttrue",
        "openai\tfox",
        "384\t1536\t256",
        "3072",
        "openai\t1536\ttrue\ttrue",
    ]


async def test_configure_holds_for_later_calls_and_tells_the_effective_settings(run, openai):
    lines = await run("""
        local c = RAG.configure{provider = "openai", embedding_model = "text-embedding-3-large", vector_dimensions = 512}
        print(c.provider, c.model, c.dimensions, c.cache)
        RAG.ingest("text", {collection = "c"})
        print(RAG.list_collections()[1].dimensions, RAG.get_stats{collection = "c"}.dimensions)
        RAG.configure{cache = false}
        RAG.embed("again") RAG.embed("again")
        RAG.configure{cache = true}
        RAG.embed("again") RAG.embed("again")
        print(RAG.configure{provider = "builtin"}.model, RAG.config.provider)
        print(pcall(RAG.configure, {provider = "builtin", embedding_model = "text-embedding-3-large"}))
    """)
    assert lines[:3] == ["openai\ttext-embedding-3-large\t512\ttrue", "512\t512", "nil\tbuiltin"]
    assert "no model" in lines[3]
    assert asked(openai) == ["text", "again", "again", "again"]
    assert {request["body"]["model"] for request in openai.requests} == {"text-embedding-3-large"}
    assert {request["body"]["dimensions"] for request in openai.requests} == {512}


async def test_a_refusal_is_an_error_of_its_kind(run, openai):
    openai.faults.extend([(400, {}), ("rows", lambda rows: [row[:9] for row in rows])])
    lines = await run("""
        for _, kind in ipairs{"provider", "validation"} do
            local ok, e = pcall(RAG.embed, "x", {provider = "openai"})
            print(ok, e.kind == kind, e.message:find("openai", 1, true) ~= nil)
        end
        RAG.ingest("here", {collection = "near"})
        local _, e = pcall(RAG.ingest, "x", {collection = "near", provider = "openai"})
        print(e.kind, e.details.code)
        local _, e = pcall(RAG.embed, "x", {input_type = "riddle"})
        print(e.kind)
        local _, e = pcall(RAG.configure, {cache = "maybe"})
        print(e.kind)
    """)
    assert lines == ["false\ttrue\ttrue"] * 2 + ["validation\tembedder_mismatch", "validation", "validation"]


async def test_no_script_reaches_another_address_or_folder(run, openai, tmp_path):
    lines = await run(f"""
        for _, options in ipairs{{{{base_url = "{openai.url}/evil"}}, {{directory = "/etc"}}, {{api_key = "x"}}}} do
            options.provider = "openai"
            RAG.embed("x", options)
        end
        print(pcall(RAG.embed, "x", {{provider = "static", directory = "{tmp_path}"}}))
    """)
    assert "rag.embedding.default_provider" in lines[0]
    assert asked(openai) == ["x"]
