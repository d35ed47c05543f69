"""`RAG` as scripts see it, in a real interpreter."""

import io

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.lua.engine import Interpreter


@pytest.fixture
def run(tmp_path):
    async def run(source, *sets):
        loaded = load(sets=list(sets), environ={}, cwd=tmp_path, home=tmp_path / "home")
        app = App(loaded.config, home=tmp_path / "home", cwd=tmp_path)
        out, err = io.BytesIO(), io.BytesIO()
        interpreter = Interpreter(app, profile="safe", stdout=out, stderr=err)
        outcome = await interpreter.run(source)
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        return out.getvalue().decode().rstrip("\n").split("\n"), err.getvalue().decode()

    return run


async def test_results_count_and_index_like_a_list(run):
    lines, _ = await run("""
        local d1 = {id = "d1", content = "Lua is a small language", metadata = {lang = "en"}}
        RAG.ingest({d1, "bread"}, {collection = "docs"})
        local r = RAG.search("small language", {k = 3, collection = "docs", filters = {lang = "en"}})
        print(r.total, r.results[1].id, r.exhausted, #r, r[1].text == r[1].content, r[2], r.nothing)
        for i, item in ipairs(r) do print(i, item.id, item.scope, item.collection) end
        print(#RAG.search{query = "small language", top_k = 1, collection = "docs"}, RAG:search("bread", {collection = "docs"})[1].content)
    """)
    assert lines == ["1\td1\ttrue\t1\ttrue\tnil\tnil", "1\td1\tglobal\tdocs", "1\tbread"]


async def test_settings_of_the_interpreter_hold_for_later_calls(run):
    lines, _ = await run("""
        print(RAG.config.provider, RAG.config().dimensions, RAG.config.chunking.chunk_size, RAG:config().k)
        local e = RAG.config{k = 1, collection = "docs", chunk_size = 100}
        RAG.ingest{"one text", "two text"}
        print(e.k, e.collection, e.chunking.chunk_size, #RAG.search("text"), RAG.get_stats("docs").total_documents)
        print(pcall(function() RAG.config.k = 5 end))
        for _, bad in ipairs{{k = 0}, {mode = "x"}, {provider = "none"}, {embedding_model = "x"}, {overlap = 900}} do
            print(select(2, pcall(RAG.configure, bad)).kind, RAG.config.k)
        end
    """)
    assert lines[:2] == ["builtin\t384\t512\t10", "1\tdocs\t100\t1\t2"]
    assert "read only" in lines[2]
    assert lines[3:] == ["validation\t1", "validation\t1", "component\t1", "validation\t1", "validation\t1"]


async def test_functions_of_the_script_may_order_and_listen(run):
    lines, _ = await run("""
        local steps = 0
        RAG.ingest({"lua language", "bread language"}, {on_progress = function(p) steps = steps + 1; Async.sleep(1) end})
        local r = RAG.search("language bread", {rerank = function(q, items) return {items[2], items[1]} end})
        local broken = RAG.search("language bread", {rerank = function() error("broken") end})
        print(steps > 0, r[1].content, broken[1].content, broken.warnings[1]:match("broken"))
        print(pcall(RAG.ingest, "x", {on_progress = function() error("stop") end}))
    """)
    assert lines[0] == "true\tlua language\tbread language\tbroken"
    assert lines[1].startswith("false")
    assert "stop" in lines[1]


async def test_sessions_and_scopes_are_places_of_their_own(run):
    lines, _ = await run("""
        RAG.configure{collection = "docs"}
        local s = RAG.create_session_collection("s1", 60)
        RAG.ingestSession("s1", "session text")
        print(s.namespace, s.ttl, s.created, RAG.searchSession("s1", "text").total, RAG.search("text", {collection = "session_s1"}).total)
        print(RAG.configure_session("s1", {}).vector_ttl, RAG.configure_session("s1", {auto_ingest = true}).auto_ingest)
        RAG.setScope("tenant", "acme")
        RAG.ingest("tenant text")
        print(RAG.search("text")[1].scope, RAG.config.scope)
        RAG.setScope()
        print(RAG.search("text").total, RAG.cleanup_scope("session:s1"))
        local z = RAG.cleanup_scope{scope = "tenant", scope_id = "acme"}
        print(z.success, z.stats.vectors_removed, z.stats.documents_removed)
    """)
    assert lines == [
        "session_s1\t60\ttrue\t1\t1",
        "3600\ttrue",
        "tenant:acme\ttenant:acme",
        "0\t1",
        "true\t1\t1",
    ]


async def test_documents_and_collections_are_managed(run):
    lines, _ = await run("""
        RAG.ingest{id = "a", content = "text"}
        print(RAG.get("a").content, RAG.get("b"), RAG.update_metadata("a", {x = 1}), RAG.get("a").metadata.x, #RAG.list_documents())
        print(RAG.delete("a"), RAG.delete{"a", "b"}, RAG.get("a"))
        print(RAG.createCollection("m", {metric = "euclidean"}).created, #RAG.list_collections(), RAG.delete_collection("m"))
        print(tostring(RAG.list_providers()[1]), #RAG.embed("x"), #RAG.embed{"x", "y"})
        RAG.save() RAG.load()
    """)
    assert lines == ["text\tnil\ttrue\t1\t1", "1\t0\tnil", "true\t2\t0", "builtin\t384\t2"]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("RAG.search('x', {k = 0})", "validation"),
        ("RAG.search('')", "validation"),
        ("RAG.search()", "validation"),
        ("RAG.ingest({{id = 'x'}})", "validation"),
        ("RAG.ingest('x', {provider = 'nobody'})", "component"),
        ("RAG.ingest('x', {provider = 'openai'})", "configuration"),
        ("RAG.ingest({path = '/etc/passwd'})", "security"),
        ("RAG.ingest('a\\xff')", "validation"),
        ("RAG.search('x', {filters = {a = {bad = 1}}})", "validation"),
        ("RAG.search('x', {collection = ''})", "validation"),
        ("RAG.cleanup_scope({})", "validation"),
        ("RAG.search('x', {tenant_id = ''})", "validation"),
    ],
)
async def test_what_cannot_be_is_refused(run, call, kind):
    lines, _ = await run(f"print(select(2, pcall(function() return {call} end)).kind)")
    assert lines == [kind]


async def test_unknown_options_warn_once_and_raise_in_strict_mode(run):
    _, shown = await run("for i = 1, 3 do RAG.search('x', {colection = 'docs'}) end")
    assert shown.count("did you mean 'collection'") == 1
    lines, _ = await run("print(select(2, pcall(RAG.search, 'x', {colection = 'd'})).kind)", "engines.lua.strict=true")
    assert lines == ["validation"]


async def test_files_are_read_where_the_script_may_read(run, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Lua\n\nA small language.")
    lines, _ = await run(
        "local r = RAG.ingest{path = 'docs', metadata = {k = 1}} local f = RAG.search('small language')[1] "
        "print(r.documents_processed, f.id, f.metadata.source, f.metadata.k)",
        f'runtime.security.allowed_paths=["{tmp_path}/docs"]',
        "runtime.security.allow_file_access=true",
    )
    assert lines == ["1\tdocs/a.md\tdocs/a.md\t1"]
