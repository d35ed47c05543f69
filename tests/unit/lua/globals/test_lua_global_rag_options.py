"""Every function, option and alias of `RAG` does what it says, as scripts call it."""

import io

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.lua.engine import Interpreter

START = """
local function ids(r) local t = {} for i, item in ipairs(r) do t[i] = item.id end return table.concat(t, " ") end
local function kind(f, ...) local ok, e = pcall(f, ...) return ok and "no error" or e.kind end
RAG.ingest({
  {id = "lua", content = "Lua is a small scripting language", metadata = {lang = "en", year = 1993, tags = {"code"}, by = {team = "rio"}}},
  {id = "brot", text = "Brot braucht Mehl und Wasser", metadata = {lang = "de", year = 2001}},
  {id = "bread", content = "Bread needs flour and water", metadata = {lang = "en", year = 2010}, source = "book"},
})
"""


@pytest.fixture
def run(tmp_path):
    async def run(source, *sets, start=START):
        loaded = load(sets=list(sets), environ={}, cwd=tmp_path, home=tmp_path / "home")
        app = App(loaded.config, home=tmp_path / "home", cwd=tmp_path)
        out, err = io.BytesIO(), io.BytesIO()
        interpreter = Interpreter(app, profile="safe", stdout=out, stderr=err)
        outcome = await interpreter.run(start + source)
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        assert err.getvalue() == b""
        return out.getvalue().decode().rstrip("\n").split("\n")

    return run


async def test_ingest_takes_one_a_list_or_a_text_and_counts(run):
    lines = await run("""
        for _, docs in ipairs{"one", {id = "t", content = "two"}, {"three", {text = "four"}}, {}} do
          local r = RAG.ingest(docs, {collection = "c"})
          print(r.success, r.documents_processed, r.vectors_created, r.chunks_created, #r.ids, #r.document_ids, r.total_tokens > 0)
          assert(math.type(r.duration_ms) and r.embedding_cost_usd == 0 and r.documents_failed == 0 and #r.errors == 0)
        end
        local again = RAG.ingest_batch({{id = "t", content = "two"}}, {collection = "c"})
        print(again.documents_unchanged, again.chunks_created, #RAG.list_documents{collection = "c"})
        print(kind(RAG.ingest, {{id = "x"}}), kind(RAG.ingest, {{content = 5}}), kind(RAG.ingest), RAG.ingest({}).documents_processed)
    """)
    assert lines == [
        "true\t1\t1\t1\t1\t1\ttrue",
        "true\t1\t1\t1\t1\t1\ttrue",
        "true\t2\t2\t2\t2\t2\ttrue",
        "true\t0\t0\t0\t0\t0\tfalse",
        "1\t0\t4",
        "validation\tvalidation\tvalidation\t0",
    ]


@pytest.mark.parametrize(
    "options",
    [
        "chunking = {chunk_size = 20, overlap = 4}",
        "chunking = {chunk_size = 20, chunk_overlap = 4}",
        "chunk_size = 20, chunk_overlap = 4",
        "chunk_size = 20, overlap = 4",
        "chunking = {chunk_size = 20}, overlap = 4",
    ],
)
async def test_chunking_may_be_nested_or_flat(run, options):
    lines = await run(f"""
        local text = string.rep("Some words to be cut. ", 40)
        print(RAG.ingest(text, {{collection = "c", {options}}}).chunks_created,
              #RAG.chunk(text, {{{options}}}), RAG.ingest(text, {{collection = "d"}}).chunks_created)
    """)
    cut, told, plain = map(int, lines[0].split("\t"))
    assert cut == told > plain


async def test_every_strategy_has_its_name(run):
    lines = await run("""
        local text = "# One\\n\\nA sentence. Another.\\n\\n## Two\\n\\n" .. string.rep("More words. ", 60)
        for _, s in ipairs{"sliding_window", "sliding", "sentence", "recursive", "semantic", "markdown", "code", "paragraph", "fixed", "none"} do
          print(s, RAG.ingest(text, {collection = s, strategy = s, chunk_size = 30, overlap = 0}).chunks_created)
        end
        print(RAG.search("words", {collection = "markdown"})[1].metadata.headings[2], RAG.chunk(text, {strategy = "code"})[1].metadata.lines[1])
        print(kind(RAG.ingest, text, {strategy = "other"}), kind(RAG.ingest, text, {chunking = 5}), kind(RAG.ingest, text, {chunking = {size = 5}}))
        print(kind(RAG.ingest, text, {chunk_size = 10, overlap = 10}), #RAG.chunk(""), RAG.chunk("def f():\\n  pass\\n", {strategy = "code", name = "a.py"})[1].content)
    """)
    counts = dict(line.split("\t") for line in lines[:10])
    assert counts["sliding_window"] == counts["sliding"]
    assert counts["recursive"] == counts["semantic"]
    assert counts.pop("none") == "1"
    assert all(int(count) > 2 for count in counts.values())
    assert lines[10] == "Two\t1"
    assert lines[11:13] == ["validation\tvalidation\tvalidation", "validation\t0\tdef f():"]


async def test_search_has_aliases_for_its_options(run):
    lines = await run("""
        for _, name in ipairs{"k", "top_k", "limit", "max_results"} do
          print(#RAG.search("flour water", {[name] = 2}), #RAG.search{query = "flour water", [name] = 1})
        end
        for _, name in ipairs{"filters", "filter", "metadata_filter"} do print(ids(RAG.search("water", {[name] = {lang = "de"}}))) end
        for _, name in ipairs{"threshold", "min_score"} do print(ids(RAG.search("flour", {[name] = 0.3})), #RAG.search("flour", {[name] = 0.99})) end
        print(kind(RAG.search, "x", {k = 0}), kind(RAG.search, "x", {k = 1.5}), kind(RAG.search, "x", {k = 2^40}), kind(RAG.search, "x", {k = 0/0}), kind(RAG.search, "x", {filters = 5}))
    """)
    assert lines == ["2\t1"] * 4 + ["brot"] * 3 + ["bread\t0"] * 2 + ["\t".join(["validation"] * 5)]


async def test_search_results_have_the_documented_fields(run):
    lines = await run("""
        local r = RAG.search("small language", {k = 2})
        print(r.success, r.total, r.exhausted, r.query, r.mode, math.type(r.duration_ms) ~= nil, #r.warnings)
        local i = r[1]
        print(i.id, i.document_id, i.chunk_index, i.content == i.text, i.metadata.by.team, i.collection, i.scope, i.source)
        print(i.score <= 1, i.scores.vector > 0, i.scores.keyword > 0, i.scores.fused == i.score, i.vector)
        print(RAG.search("bread", {include_content = false})[1].content, #RAG.search("bread", {include_vector = true})[1].vector)
        print(RAG.search("bread", {mode = "keyword"}).mode, RAG.search("bread", {mode = "vector"})[1].scores.keyword)
        print(#RAG.search("bread", {collection = "none"}), RAG.search("bread", {collection = "none"}).exhausted)
        RAG.ingest({id = "long", content = string.rep("Many words of bread. ", 200)}, {chunk_size = 50, collection = "l"})
        local l = RAG.search("bread", {collection = "l"})
        print(#l, l.exhausted, l[1].document_id, l[1].id == "long#" .. l[1].chunk_index)
    """)
    assert lines == [
        "true\t2\tfalse\tsmall language\thybrid\ttrue\t0",
        "lua\tlua\t0\ttrue\trio\tdefault\tglobal\tnil",
        "true\ttrue\ttrue\ttrue\tnil",
        "nil\t384",
        "keyword\tnil",
        "0\ttrue",
        "10\tfalse\tlong\ttrue",
    ]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ('{lang = "en"}', "bread lua"),
        ('{lang = {"de", "fr"}}', "brot"),
        ('{lang = {eq = "de"}}', "brot"),
        ('{lang = {ne = "en"}}', "brot"),
        ("{year = {gt = 1993}}", "bread brot"),
        ("{year = {gte = 1993, lt = 2010}}", "brot lua"),
        ("{year = {lte = 2001}}", "brot lua"),
        ('{lang = {["in"] = {"de"}}}', "brot"),
        ('{lang = {nin = {"de"}}}', "bread lua"),
        ("{tags = {exists = true}}", "lua"),
        ("{tags = {exists = false}}", "bread brot"),
        ('{tags = {contains = "code"}}', "lua"),
        ('{["by.team"] = "rio"}', "lua"),
        ('{["and"] = {{lang = "en"}, {year = 2010}}}', "bread"),
        ('{["or"] = {{lang = "de"}, {year = 2010}}}', "bread brot"),
        ('{["not"] = {lang = "en"}}', "brot"),
        ("{}", "bread brot lua"),
    ],
)
async def test_filters_have_their_operators(run, filters, found):
    lines = await run(f"""
        for _, mode in ipairs{{"vector", "hybrid"}} do
          local t = {{}}
          for i, item in ipairs(RAG.search("water flour language", {{filters = {filters}, mode = mode, k = 10}})) do t[i] = item.id end
          table.sort(t)
          print(table.concat(t, " "))
        end
    """)
    assert lines == [found, found]


async def test_fusion_weights_groups_and_orders(run):
    lines = await run("""
        print(RAG.search("flour", {weights = {vector = 0, keyword = 1}})[1].id, RAG.search("flour", {fusion = "weighted"})[1].id, RAG.search("flour", {fusion = "rrf"})[1].id)
        print(kind(RAG.search, "x", {weights = {other = 1}}), kind(RAG.search, "x", {fusion = "sum"}))
        print(#RAG.search("flour water", {group_by = "lang"}), #RAG.search("flour water", {group_by = "lang", k = 1}))
        print(#RAG.search("flour", {rerank = "mmr", k = 2}), RAG.search("flour", {rerank = {type = "mmr", lambda = 0.3}})[1].id, #RAG.search("flour", {rerank = "none"}), #RAG.search("flour", {candidates = 5}))
        local r = RAG.search("flour", {rerank = function(q, items)
          return {{id = items[3].id, score = 0.5}, items[1].id}
        end})
        print(#r, r[1].score, r[1].scores.rerank, r[2].id)
        print(kind(RAG.search, "flour", {rerank = function() error("no") end, rerank_required = true}), #RAG.search("flour", {rerank = function() error("no") end}).warnings)
        print(kind(RAG.search, "flour", {rerank = "other"}), kind(RAG.search, "flour", {rerank = {type = "mmr", lambda = 3}}))
    """)
    assert lines == [
        "bread\tbread\tbread",
        "validation\tvalidation",
        "2\t1",
        "2\tbread\t3\t3",
        "2\t0.5\t0.5\tbread",
        lines[5],
        "validation\tvalidation",
    ]
    assert lines[5].endswith("\t1")
    assert not lines[5].startswith("no error")


async def test_times_have_windows(run):
    lines = await run("""
        RAG.ingest({
          {id = "old", content = "news", metadata = {timestamp = "2001-02-03T00:00:00Z"}},
          {id = "mid", content = "news", event_time = 1.5e9},
          {id = "new", content = "news", created_at = "2024-01-01T00:00:00Z"},
          {id = "odd", content = "news", metadata = {timestamp = "last week"}},
        }, {collection = "n"})
        local function news(options) options.collection = "n" local t = {} for i, item in ipairs(RAG.search("news", options)) do t[i] = item.id end table.sort(t) return table.concat(t, " ") end
        print(news{event_time_range = {from = "2010-01-01T00:00:00Z"}}, news{event_time_range = {to = 1.5e9}}, news{event_time_range = {from = 0, to = "2020-01-01T00:00:00Z"}})
        print(news{ingestion_time_range = {from = 0}}, news{ingestion_time_range = {to = "2001-01-01T00:00:00Z"}})
        print(RAG.get("odd", {collection = "n"}).metadata.timestamp, RAG.get("mid", {collection = "n"}).event_time)
        print(kind(RAG.search, "news", {event_time_range = {from = "x"}}), kind(RAG.search, "news", {ingestion_time_range = 5}))
    """)
    assert lines == [
        "mid new\told\tmid old",
        "mid new odd old\t",
        "last week\t1500000000.0",
        "validation\tvalidation",
    ]


async def test_what_expires_is_not_returned(run):
    lines = await run("""
        for _, key in ipairs{"ttl", "ttl_seconds", "expires_in"} do
          RAG.ingest({id = key, content = "brief", [key] = 0.05}, {collection = "b"})
          RAG.ingest({id = "m" .. key, content = "brief", metadata = {[key] = 0.05}}, {collection = "b"})
        end
        RAG.ingest({id = "long", content = "brief", ttl = 1000}, {collection = "b"})
        Async.sleep(80)
        print(ids(RAG.search("brief", {collection = "b"})), #RAG.search("brief", {collection = "b", exclude_expired = false}), #RAG.list_documents{collection = "b"}, RAG.get("ttl", {collection = "b"}))
    """)
    assert lines == ["long\t7\t1\tnil"]


async def test_places_never_see_each_other(run):
    lines = await run("""
        RAG.ingest({id = "x", content = "in acme"}, {tenant_id = "acme"})
        RAG.ingest({id = "x", content = "of ann"}, {scope = "user", scope_id = "ann"})
        RAG.ingest({id = "x", content = "of s"}, {session_id = "s"})
        for _, place in ipairs{{tenant_id = "acme"}, {scope = "tenant", scope_id = "acme"}, {scope = "tenant:acme"}, {scope = "user:ann"}, {session_id = "s"}, {scope = "session:s"}} do
          print(RAG.get("x", place).content, RAG.search("in of", place).total, RAG.search("in of", place)[1].scope)
        end
        print(RAG.get("x"), kind(RAG.search, "x", {tenant_id = "a", scope = "user:b"}), kind(RAG.search, "x", {scope = {}}))
        RAG.setScope("user", "ann")
        print(RAG.get("x").content, RAG.config.scope)
        RAG.set_scope("tenant:acme")
        print(RAG.get("x").content, RAG.update_metadata("x", {a = 1}), RAG.delete("x"), RAG.get("x"))
        RAG.set_scope()
        print(RAG.get("lua").id, kind(RAG.set_scope, 5))
    """)
    assert lines == [
        "in acme\t1\ttenant:acme",
        "in acme\t1\ttenant:acme",
        "in acme\t1\ttenant:acme",
        "of ann\t1\tuser:ann",
        "of s\t1\tsession:s",
        "of s\t1\tsession:s",
        "nil\tvalidation\tvalidation",
        "of ann\tuser:ann",
        "in acme\ttrue\t1\tnil",
        "lua\tvalidation",
    ]


async def test_documents_are_listed_page_by_page_changed_and_deleted(run):
    lines = await run("""
        local first = RAG.list_documents{limit = 2}
        print(first[1].id, first[2].id, first[1].content, RAG.listDocuments{limit = 2, after = first[2].id}[1].id, #RAG.list_documents{after = "z"})
        print(kind(RAG.list_documents, {limit = 0}), RAG.updateMetadata("lua", {year = 2000, new = true}), RAG.get("lua").metadata.lang, RAG.get("lua").metadata.year, RAG.update_metadata("nobody", {}))
        print(RAG.delete{source = "book"}, RAG.delete({}), RAG.delete({"lua", "nobody"}, {filters = {year = 1993}}), RAG.delete("lua", {source = "book"}))
        print(RAG.delete{filters = {lang = "de"}}, RAG.delete{"lua"}, #RAG.list_documents(), kind(RAG.delete), kind(RAG.delete, {filters = 5}), kind(RAG.delete, {1}))
    """)
    assert lines == [
        "bread\tbrot\tnil\tlua\t0",
        "validation\ttrue\ten\t2000\tfalse",
        "1\t0\t0\t0",
        "1\t1\t0\tvalidation\tvalidation\tvalidation",
    ]


async def test_collections_keep_their_settings(run):
    lines = await run("""
        for i, metric in ipairs{"cosine", "euclidean", "inner_product", "manhattan"} do
          local c = RAG[i % 2 == 0 and "createCollection" or "create_collection"](metric, {metric = metric, dimensions = 64})
          print(c.name, c.embedder, c.dimensions, c.created, c.metric, RAG.create_collection(metric).created)
          RAG.ingest({"small text", "other"}, {collection = metric})
          print(RAG.search("small text", {collection = metric, k = 1})[1].content)
        end
        print(kind(RAG.create_collection, "cosine", {metric = "euclidean"}), kind(RAG.create_collection, "cosine", {dimensions = 128}), kind(RAG.create_collection, "x", {metric = "near"}))
        print(#RAG.list_collections(), RAG.listCollections()[1].name, RAG.listCollections()[1].documents, RAG.delete_collection("cosine"), RAG.deleteCollection("cosine"), #RAG.list_collections())
    """)
    assert lines[0::2][:4] == [
        f"{name}\tbuiltin\t64\ttrue\t{name}\tfalse" for name in ("cosine", "euclidean", "inner_product", "manhattan")
    ]
    assert lines[1::2][:4] == ["small text"] * 4
    assert lines[8:] == ["validation\tvalidation\tvalidation", "5\tcosine\t2\t2\t0\t4"]


async def test_a_collection_refuses_another_embedder_until_it_is_embedded_anew(run):
    lines = await run("""
        RAG.create_collection("c", {provider = "builtin", vector_dimensions = 64})
        print(RAG.ingest({id = "a", content = "small text"}, {collection = "c", provider = "local"}).embedder, RAG.ingest("x", {collection = "c", embedder = "hash-ngram"}).embedder)
        RAG.configure{vector_dimensions = 128}
        print(kind(RAG.ingest, "y", {collection = "c"}), RAG.reindex{collection = "c", dimensions = 128}.documents, RAG.ingest("y", {collection = "c"}).success)
        RAG.configure{vector_dimensions = 256}
        print(RAG.ingest("z", {collection = "c", reembed = true}).success, RAG.get_stats{collection = "c"}.dimensions, RAG.reindex("c").dimensions, kind(RAG.reindex, "none"))
    """)
    assert lines == ["builtin\tbuiltin", "validation\t2\ttrue", "true\t256\t256\tstorage"]


async def test_sessions_have_collections_with_a_life(run):
    lines = await run("""
        local s = RAG.createSessionCollection("s", {ttl = 1000, max_vectors = 2})
        print(s.session_id, s.namespace, s.name, s.ttl, s.max_vectors, s.created, RAG.create_session_collection("s").created, RAG.create_session_collection("d").ttl)
        RAG.ingestSession("s", {"one", "two"})
        print(kind(RAG.ingest_session, "s", "three"), RAG.searchSession("s", "one")[1].content, RAG.search_session("s", "one", {k = 1}).total, RAG.search("one", {collection = "session_s"})[1].content)
        local c = RAG.configure_session("s", {vector_ttl = 50, persist = false})
        print(c.session_id, c.vector_ttl, c.auto_ingest, c.persist, c.max_vectors, c.configured, RAG.configureSession{session_id = "t"}.vector_ttl)
        print(kind(RAG.create_session_collection, "", 5), kind(RAG.create_session_collection, "x", -1), kind(RAG.configure_session, "x", {vector_ttl = 0}), kind(RAG.configure_session, "x", {max_vectors = 0.5}))
        RAG.create_session_collection("brief", 0.05)
        RAG.ingest_session("brief", "gone soon")
        Async.sleep(80)
        print(RAG.search_session("brief", "gone").total, RAG.get_stats("session", "brief").total_vectors, #RAG.list_documents{session_id = "brief"})
        print(RAG.migrate_session_to_tenant("s", "acme"), RAG.search("one", {tenant_id = "acme", k = 1})[1].content, RAG.search_session("s", "one").total, RAG.migrateSessionToTenant("s", "acme"))
    """)
    assert lines == [
        "s\tsession_s\tsession_s\t1000\t2\ttrue\tfalse\t3600",
        lines[1],
        "s\t50\tfalse\tfalse\tnil\ttrue\t3600",
        "validation\tvalidation\tvalidation\tvalidation",
        "0\t0\t0",
        lines[5],
    ]
    assert lines[1].endswith("\tone\t1\tone")
    assert lines[5].endswith("\tone\t0\t0")


async def test_agents_of_a_session_may_leave_their_turns_in_it(run):
    lines = await run("""
        local function ask(name, session)
          local agent = Agent.create{name = name, model = "scripted/x", session = session, replies = {"Owls hunt at night."}}
          return agent:execute("When do owls hunt?").text
        end
        print(ask("silent", "s"), #RAG.list_documents{session_id = "s"})
        RAG.configure_session("s", {auto_ingest = true})
        print(ask("keeper", "s"), #RAG.list_documents{session_id = "s"}, ask("other", "t"), #RAG.list_documents{session_id = "t"})
        local hit = RAG.search_session("s", "owls")[1]
        print((hit.content:gsub("%c+", " | ")), hit.metadata.agent, hit.metadata.kind)
        RAG.configure_session("s", {auto_ingest = true, max_vectors = 1})
        print(ask("full", "s"), #RAG.list_documents{session_id = "s"}, #RAG.list_documents() == 3)
    """)
    assert lines == [
        "Owls hunt at night.\t0",
        "Owls hunt at night.\t1\tOwls hunt at night.\t0",
        "When do owls hunt? | Owls hunt at night.\tkeeper\tturn",
        "Owls hunt at night.\t1\ttrue",
    ]


async def test_scopes_are_cleaned_up_in_three_forms(run):
    lines = await run("""
        for _, id in ipairs{"1", "2", "3"} do RAG.ingest({"a", "b"}, {scope = "session", scope_id = id}) end
        print(RAG.cleanup_scope("session:1"), RAG.cleanupScope("session", "2"), RAG.cleanup_scope("session", "none"))
        local r = RAG.cleanup_scope{scope = "session", scope_id = "3", confirm = true}
        print(r.success, r.stats.documents_removed, r.stats.vectors_removed, r.stats.storage_freed_mb > 0)
        print(kind(RAG.cleanup_scope), kind(RAG.cleanup_scope, {}), kind(RAG.cleanup_scope, "tenant:"))
    """)
    assert lines == ["2\t2\t0", "true\t2\t2\ttrue", "validation\tvalidation\tvalidation"]


async def test_statistics_are_complete(run):
    lines = await run("""
        RAG.search("bread") RAG.search("flour")
        local s = RAG.get_stats()
        print(s.total_vectors, s.total_chunks, s.total_documents, s.dimensions, s.embedder, s.namespace_count, s.searches_performed)
        for _, name in ipairs{"storage_bytes", "total_storage_bytes", "embeddings_generated", "embedding_tokens", "last_ingest_at"} do assert(s[name] > 0, name) end
        for _, name in ipairs{"cache_hits", "cache_misses", "embedding_cost_cents", "embedding_cost_usd"} do assert(s[name] >= 0, name) end
        RAG.ingest("other", {collection = "docs"})
        print(RAG.getStats("docs").total_documents, RAG.get_stats{collection = "docs"}.total_documents, RAG.get_stats("global").total_documents, RAG.get_stats("tenant", "none").total_vectors, RAG.get_stats("none").total_vectors)
    """)
    assert lines == ["3\t3\t3\t384\tbuiltin\t1\t2", "1\t1\t3\t0\t0"]


async def test_settings_hold_for_later_calls(run):
    lines = await run("""
        local e = RAG.configure{embedding_provider = "builtin", collection = "c", chunking = {chunk_size = 20}, overlap = 2, threshold = 0.1, search_limit = 2, mode = "vector", cache = true}
        print(e.enabled, e.provider, e.dimensions, e.multi_tenant, e.collection, e.chunking.chunk_size, e.chunking.overlap, e.chunking.strategy, e.threshold, e.k, e.mode, e.cache)
        print(RAG.ingest(string.rep("Some words. ", 60)).chunks_created > 5, #RAG.search("words"), RAG.search("words").mode, RAG.config.k, RAG.config().collection)
        print(RAG.config{k = 3}.k, RAG.configure{chunk_size = 40, chunk_overlap = 4}.chunking.overlap, RAG.configure().k, #RAG.search("words", {k = 1, threshold = 0}))
        for _, bad in ipairs{{k = 0}, {mode = "x"}, {threshold = "x"}, {chunk_size = 0}, {cache = 5}, {collection = ""}, {vector_dimensions = 0}} do
          assert(kind(RAG.configure, bad) == "validation")
        end
        local names = {} for i, p in ipairs(RAG.list_providers()) do names[i] = tostring(p) assert(p.name == names[i] and p.models and p.available ~= nil) end
        print(table.concat(names, " "), #RAG.listProviders() == #names, RAG.get_stats("none").last_ingest_at)
        RAG.save() RAG.load()
        print(#RAG.embed("x"), #RAG.embed({"x", "y", "z"}), math.type(RAG.embed("x", {provider = "builtin"})[1]), #RAG.embed("x", {dimensions = 64}))
    """)
    assert lines == [
        "true\tbuiltin\t384\tfalse\tc\t20\t2\tsliding_window\t0.1\t2\tvector\ttrue",
        "true\t2\tvector\t2\tc",
        "3\t4\t3\t1",
        "builtin cohere gemini ollama onnx openai static voyage\ttrue\tnil",
        "384\t3\tfloat\t64",
    ]


async def test_memory_is_written_to_the_folder_when_asked(run):
    source = "RAG.ingest({id = 'kept', content = 'text'}) RAG.save()"
    await run(source, "rag.vector_storage.backend=memory", start="")
    lines = await run(
        "print(RAG.get('kept')) RAG.load() print(RAG.get('kept').content)",
        "rag.vector_storage.backend=memory",
        start="",
    )
    assert lines == ["nil", "text"]


async def test_hostile_calls_have_kinds(run):
    lines = await run("""
        local deep = {lang = "en"} for _ = 1, 300 do deep = {["not"] = deep} end
        local big = {} for i = 1, 20000 do big["key" .. i] = i end
        print(kind(RAG.search, "x", {filters = deep}), kind(RAG.ingest, {content = "x", metadata = big}), kind(RAG.ingest, {content = "x", id = "a\\nb"}))
        print(#RAG.search('"a OR * (') <= 3, #RAG.search("bread\\0") <= 3, #RAG.search(string.rep("bread ", 150000), {k = 1}), kind(RAG.search, "a\\xff"))
        for _, k in ipairs{0, -1, 2^31, 2^53, 1e308, 0/0, 1/0, "x", true} do assert(kind(RAG.search, "x", {k = k}) == "validation", tostring(k)) end
        print(#RAG.list_documents())
    """)
    assert lines == ["validation\tvalidation\tvalidation", "true\ttrue\t1\tvalidation", "3"]
