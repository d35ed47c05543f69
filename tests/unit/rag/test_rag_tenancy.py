"""Retrieval for tenants: policies, limits, usage, and that nobody sees, counts or removes what is another's."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.errors import AccessDenied, InvalidArgument, InvalidScope, LimitExceeded, QuotaExceeded, RateLimited
from llmspell.security import Allow, AllowWithFilters, Deny, FieldFilter, SecurityContext

ALICE = SecurityContext(principal="alice", tenant_id="acme")
BOB = SecurityContext(principal="bob", tenant_id="beta")


def open_app(home, *sets):
    config = load(sets=["tenancy.enabled=true", *sets], environ={}, cwd=home, home=home).config
    return App(config, home=home, cwd=home, environ={})


@pytest.fixture
async def app(tmp_path):
    found = open_app(tmp_path)
    for tenant in ("acme", "beta"):
        found.tenants.create(tenant)
    yield found
    await found.close()


def as_caller(app, ctx):
    return app.rag.bound(app.gate(ctx))


def docs(count, word="text"):
    return [{"id": f"d{number}", "content": f"{word} number {number}"} for number in range(count)]


async def test_eight_batches_of_300_under_a_limit_of_1000_three_succeed(app):
    app.tenants.update("acme", limits={"max_vectors": 1000})

    async def batch(number):
        return await app.rag.ingest(
            [{"id": f"{number}-{n}", "content": f"text {number} {n}"} for n in range(300)], tenant_id="acme"
        )

    results = await asyncio.gather(*(batch(number) for number in range(8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, QuotaExceeded)]
    assert len(refused) == 5, results
    assert refused[0].details["resource"] == "vectors"
    assert [event.principal for event in app.access.audit(event="QuotaExceeded")] == ["local"] * 5
    used = app.tenants.usage("acme")
    assert (used.vector_count, used.document_count, used.insert_count, used.reserved) == (900, 900, 900, {})
    stats = app.rag.get_stats("tenant:acme")
    assert (stats["total_vectors"], stats["storage_bytes"]) == (900, used.storage_bytes)


async def test_a_batch_that_does_not_fit_stores_nothing_and_embeds_nothing(app):
    app.tenants.update("acme", limits={"max_documents": 5})
    with pytest.raises(QuotaExceeded):
        await app.rag.ingest(docs(6), tenant_id="acme", batch_size=1)
    assert app.rag.list_documents(tenant_id="acme") == []
    assert app.tenants.usage("acme").embedding_tokens == 0
    await app.rag.ingest(docs(5), tenant_id="acme")
    await app.rag.ingest(docs(5, "other"), tenant_id="acme")  # the same ids: they replace
    assert app.tenants.usage("acme").document_count == 5
    with pytest.raises(QuotaExceeded):
        await app.rag.ingest("one more", tenant_id="acme")
    await app.rag.delete(["d0"], tenant_id="acme")
    await app.rag.ingest("one more", tenant_id="acme")


async def test_other_limits_hold(app):
    for limit, value in (("max_storage_bytes", 100), ("max_embedding_tokens", 1), ("max_dimensions", 100)):
        app.tenants.update("acme", limits={limit: value})
        with pytest.raises(QuotaExceeded):
            await app.rag.ingest("some words that are too many", tenant_id="acme")
        app.tenants.update("acme", limits={limit: None})
    app.tenants.update("acme", limits={"max_queries_per_second": 1})
    mine = as_caller(app, ALICE)
    await mine.search("words")
    await mine.search("words")
    with pytest.raises(RateLimited):
        await mine.search("words")
    app.tenants.update("acme", limits={"max_queries_per_second": None, "max_sessions": 1})
    mine.create_session_collection("s")
    mine.create_session_collection("s")
    with pytest.raises(QuotaExceeded):
        mine.create_session_collection("t")


async def test_usage_counts_what_was_done(app):
    await app.rag.ingest(docs(3), tenant_id="acme")
    for _ in range(4):
        await app.rag.search("number", tenant_id="acme")
    await app.rag.delete(["d1"], tenant_id="acme")
    await app.rag.ingest("a session text", scope="session:tenant:acme/s1")
    used = app.tenants.usage("acme")
    assert (used.vector_count, used.query_count, used.delete_count, used.documents_indexed) == (3, 4, 1, 4)
    assert used.embedding_tokens > 0
    assert used.compute_time_ms > 0
    assert app.tenants.usage("beta").query_count == 0
    assert app.tenants.costs("acme").total_usd > 0


async def test_suspended_and_unknown_tenants_are_denied_everywhere(app):
    await app.rag.ingest("text", tenant_id="acme")
    app.tenants.suspend("acme")
    for tenant in ("acme", "nobody"):
        for call in (
            lambda t=tenant: app.rag.ingest("x", tenant_id=t),
            lambda t=tenant: app.rag.search("x", tenant_id=t),
            lambda t=tenant: app.rag.delete("x", tenant_id=t),
        ):
            with pytest.raises(AccessDenied):
                await call()
        for call in (
            lambda t=tenant: app.rag.get("x", tenant_id=t),
            lambda t=tenant: app.rag.list_documents(tenant_id=t),
            lambda t=tenant: app.rag.get_stats(f"tenant:{t}"),
            lambda t=tenant: app.rag.update_metadata("x", {}, tenant_id=t),
            lambda t=tenant: app.rag.cleanup_scope("tenant", t),
        ):
            with pytest.raises(AccessDenied):
                call()
    app.tenants.resume("acme")
    assert (await app.rag.search("text", tenant_id="acme")).total == 1
    assert app.access.audit(event="AccessDenied", tenant="acme")[0].reason == "inactive"


async def test_a_tenant_stays_in_its_own_place_however_another_is_named(app):
    await app.rag.ingest({"id": "x", "content": "the plan of beta"}, tenant_id="beta")
    await app.rag.ingest({"id": "x", "content": "the plan of everybody"})
    mine = as_caller(app, ALICE)
    told = set()
    for place in (
        {"tenant_id": "beta"}, {"tenant_id": "ghost"}, {"scope": "tenant:beta"}, {"scope": "tenant", "scope_id": "beta"},
        {"scope": "custom:tenant:beta"}, {"scope": "session:tenant:beta/s"}, {"session_id": "tenant:beta/s"},
        {"scope": "user:tenant:beta/u"}, {"scope": "custom:tenant:ghost"},
    ):  # fmt: skip
        with pytest.raises(AccessDenied) as caught:
            await mine.search("plan", **place)
        told.add(caught.value.details["reason"])
        with pytest.raises(AccessDenied):
            mine.get("x", **place)
        with pytest.raises(AccessDenied):
            await mine.ingest("mine now", **place)
        with pytest.raises(AccessDenied):
            await mine.delete("x", **place)
    assert told == {"another tenant"}
    assert (await mine.search("plan")).total == 0
    assert mine.get("x") is None
    assert mine.list_collections() == []
    assert mine.get_stats("default")["total_vectors"] == 0
    for hostile in ("beta/../acme", "beta%00", "beta\0", "Beta ", "beta:x", "*"):
        with pytest.raises((InvalidScope, AccessDenied)):
            await mine.search("plan", tenant_id=hostile)


async def test_every_scope_of_a_tenants_caller_is_inside_of_the_tenant(app):
    alice, bob = as_caller(app, ALICE), as_caller(app, BOB)
    for place in ({}, {"scope": "user:7"}, {"session_id": "s"}, {"scope": "notes"}, {"collection": "c"}):
        await alice.ingest({"id": "same", "content": f"alice {place}"}, **place)
        assert bob.get("same", **place) is None
        await bob.ingest({"id": "same", "content": "bob"}, **place)
        assert alice.get("same", **place)["content"] == f"alice {place}"
        assert app.rag.get("same", **place) is None
    assert app.tenants.usage("acme").document_count == 5
    assert alice.cleanup_scope("user:7") == 1
    assert bob.get("same", scope="user:7")["content"] == "bob"


async def test_collections_and_sessions_of_others_are_neither_listed_nor_dropped(app):
    alice, bob = as_caller(app, ALICE), as_caller(app, BOB)
    await bob.ingest("text of bob", collection="shared")
    assert alice.create_collection("shared", metric="euclidean")["created"]
    await alice.ingest("text of alice", collection="shared")
    made = alice.create_session_collection("s", max_vectors=1)
    assert (made["session_id"], made["namespace"], made["created"]) == ("s", "session_s", True)
    assert bob.create_session_collection("s")["created"]
    await alice.ingest("session text", collection="session_s")
    with pytest.raises(LimitExceeded):
        await alice.ingest("more session text", session_id="s")
    assert (await bob.search("session text", collection="session_s")).total == 0
    assert [(item["name"], item["documents"]) for item in alice.list_collections()] == [
        ("session_s", 1),
        ("shared", 1),
    ]
    assert await alice.drop_collection("session_s") == 1
    assert await alice.drop_collection("shared") == 1
    assert (await bob.search("text of bob", collection="shared")).total == 1
    assert bob.list_collections()[0]["documents"] == 0


async def test_the_cached_vectors_of_a_deleted_tenant_are_gone(app):
    alice = as_caller(app, ALICE)
    await app.rag.ingest(docs(3), tenant_id="beta")
    kept = app.rag._cache.stats()["entries"]
    await alice.ingest(docs(4))
    await alice.ingest(docs(2, "talk"), session_id="s")
    assert app.rag._cache.stats()["entries"] == kept + 6
    assert (await app.tenants.delete("acme")).verified
    assert app.rag._cache.stats()["entries"] == kept


async def test_filters_of_policies_hold_in_every_operation(app):
    class Team:
        name, priority = "team", 60

        def decide(self, ctx, operation, resource):
            if ctx.principal != "alice":
                return None
            return AllowWithFilters((FieldFilter(field="team", allowed_values=("red",)),))

    everything = as_caller(app, SecurityContext(principal="root", roles=("admin",)))
    await everything.ingest(
        [{"id": f"{team}{n}", "content": f"report {n}", "metadata": {"team": team}} for team in ("red", "blue") for n in range(3)],
        tenant_id="acme",
    )  # fmt: skip
    app.access.add(Team())
    mine = as_caller(app, ALICE)
    found = await mine.search("report", k=6)
    assert sorted(item.id for item in found.results) == ["red0", "red1", "red2"]
    assert (await mine.search("report", filters={"team": "blue"})).total == 0
    assert [item["id"] for item in mine.list_documents()] == ["red0", "red1", "red2"]
    assert [item["id"] for item in mine.list_documents(limit=1, after="red0")] == ["red1"]
    assert mine.get("blue0") is None
    assert mine.get("red0") is not None
    assert not mine.update_metadata("blue0", {"x": 1})
    with pytest.raises(AccessDenied):
        mine.update_metadata("red0", {"team": "blue"})
    assert await mine.delete(["blue0", "red0"]) == 1
    for document in ({"id": "n", "content": "x"}, {"id": "blue1", "content": "x", "metadata": {"team": "red"}}):
        with pytest.raises(AccessDenied):
            await mine.ingest(document)
    for call in (lambda: mine.get_stats(), lambda: mine.cleanup_scope("tenant:acme"), lambda: mine.list_collections()):
        with pytest.raises(AccessDenied):
            call()
    assert app.rag.get("blue1", tenant_id="acme")["content"] == "report 1"


async def test_a_change_of_policies_takes_effect_on_the_next_call(app):
    mine = as_caller(app, ALICE)
    await mine.ingest("text")
    app.access.add(lambda ctx, operation, resource: Deny("frozen") if operation == "insert" else Allow(), name="freeze")
    with pytest.raises(AccessDenied, match="frozen"):
        await mine.ingest("more")
    assert (await mine.search("text")).total == 1
    app.access.remove("freeze")
    await mine.ingest("more")


async def test_a_local_user_without_the_role_sees_no_tenant(app):
    await app.rag.ingest("tenant text", tenant_id="acme", collection="c")
    await app.rag.ingest("plain text", collection="c")
    local = as_caller(app, SecurityContext(principal="local"))
    with pytest.raises(AccessDenied):
        await local.search("text", tenant_id="acme")
    assert local.get_stats(collection="c")["total_documents"] == 1
    assert [item["documents"] for item in local.list_collections()] == [1]
    assert await local.drop_collection("c") == 1
    assert (await app.rag.search("text", tenant_id="acme", collection="c")).total == 1


async def test_a_deleted_tenant_is_gone_and_a_late_writer_stores_nothing(app):
    mine = as_caller(app, ALICE)
    await mine.ingest(docs(3))
    await mine.ingest("session text", session_id="s")
    mine.create_session_collection("s")
    await app.rag.ingest(docs(2), tenant_id="beta")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause(step):
        if step.stage == "embed":
            reached.set()
            await go_on.wait()

    late = asyncio.ensure_future(mine.ingest(docs(5, "late"), on_progress=pause))
    await reached.wait()
    deleting = asyncio.ensure_future(app.tenants.delete("acme"))
    while app.tenants.get("acme").active:  # noqa: ASYNC110 - a state on the disk
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(AccessDenied):
        await late
    report = await deleting
    assert report.verified
    assert report.removed["documents"] == 4
    assert app.rag.held_by("acme").documents == 0
    with pytest.raises(AccessDenied):
        await mine.search("text")
    assert app.tenants.usage("beta").document_count == 2
    app.tenants.create("acme")
    assert mine.list_documents() == []


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests_app import open_app
async def main():
    app = open_app(Path(sys.argv[1]))
    stop = int(sys.argv[2])
    def count(step):
        if step.chunks_done >= stop:
            os.kill(os.getpid(), signal.SIGKILL)
    await app.rag.ingest([{"id": str(n), "content": f"text {n}"} for n in range(60)], tenant_id="acme", batch_size=10,
                         on_progress=count)
asyncio.run(main())
"""
APP = """
from llmspell.app import App
from llmspell.config import load
def open_app(home):
    config = load(sets=["tenancy.enabled=true"], environ={}, cwd=home, home=home).config
    return App(config, home=home, cwd=home, environ={})
"""


def children(home, program, arguments):
    """Start a process per argument; all run at once."""
    (home / "tests_app.py").write_text(APP)
    environ = {**os.environ, "PYTHONPATH": f"{home}:{os.environ.get('PYTHONPATH', '')}"}
    return [
        subprocess.Popen([sys.executable, "-c", program, str(home), argument], env=environ, stdout=subprocess.PIPE)
        for argument in arguments
    ]


async def test_after_a_kill_usage_equals_the_rows_and_the_rest_still_fits(app, tmp_path):
    app.tenants.update("acme", limits={"max_vectors": 60})
    (child,) = children(tmp_path, KILLED, ["20"])
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    used = app.tenants.usage("acme")
    assert used.vector_count == app.rag.get_stats("tenant:acme")["total_vectors"] == 20
    assert used.reserved["vectors"] == 40  # what the dead batch had not stored yet, until its reservation lapses
    with app.tenants.store.writing() as connection:
        connection.execute("UPDATE reservations SET at = at - 61")
    await app.rag.ingest([{"id": str(n), "content": f"text {n}"} for n in range(60)], tenant_id="acme")
    assert app.tenants.usage("acme").vector_count == 60


RACER = """
import asyncio, sys
from pathlib import Path
from tests_app import open_app
from llmspell.errors import QuotaExceeded
async def main():
    app = open_app(Path(sys.argv[1]))
    done = []
    for number in range(2):
        docs = [{"id": f"{sys.argv[2]}-{number}-{n}", "content": f"text {n}"} for n in range(300)]
        try:
            await app.rag.ingest(docs, tenant_id="acme", batch_size=100)
            done.append(1)
        except QuotaExceeded:
            done.append(0)
    print(sum(done))
asyncio.run(main())
"""


async def test_batches_of_several_processes_do_not_pass_a_limit_together(app, tmp_path):
    app.tenants.update("acme", limits={"max_vectors": 1000})
    assert sum(int(child.communicate()[0]) for child in children(tmp_path, RACER, "0123")) == 3
    assert app.tenants.usage("acme").vector_count == 900


async def test_without_tenancy_places_of_tenants_simply_work(tmp_path):
    config = load(sets=[], environ={}, cwd=tmp_path, home=tmp_path).config
    app = App(config, home=tmp_path, cwd=tmp_path, environ={})
    await app.rag.ingest("text", tenant_id="anybody")
    assert (await app.rag.search("text", tenant_id="anybody")).total == 1
    assert not (tmp_path / "tenancy").exists()
    with pytest.raises(InvalidScope):
        await app.rag.ingest("text", tenant_id="a/../b")
    await app.close()


async def test_the_trail_tells_who_did_what_and_verifies(app):
    mine = as_caller(app, SecurityContext(principal="alice", tenant_id="acme", correlation_id="c-7"))
    await mine.ingest("text")
    await mine.search("text")
    granted = app.access.audit(event="AccessGranted", principal="alice")
    assert [(item.operation, item.resource, item.correlation_id) for item in granted] == [
        ("search", "tenant:acme/default", "c-7"),
        ("insert", "tenant:acme/default", "c-7"),
    ]
    assert app.access.verify().ok
    assert json.loads((next((app.home / "tenancy/audit").glob("*.jsonl"))).read_bytes().splitlines()[0])["seq"] == 1


async def test_files_of_documents_are_written_and_read_within_the_tenant(app, tmp_path):
    alice, bob = as_caller(app, ALICE), as_caller(app, BOB)
    await alice.ingest(docs(4), collection="c")
    assert (await alice.export(tmp_path / "a.jsonl", collection="c"))["documents"] == 4
    for place in ({"tenant_id": "acme"}, {"tenant_id": "ghost"}):
        with pytest.raises(AccessDenied):
            await bob.export(tmp_path / "b.jsonl", collection="c", **place)
    with pytest.raises(AccessDenied):  # the file names the scope that it came from
        await bob.import_documents(tmp_path / "a.jsonl")
    app.tenants.update("beta", limits={"max_documents": 3})
    with pytest.raises(QuotaExceeded):
        await bob.import_documents(tmp_path / "a.jsonl", tenant_id="beta")
    assert app.tenants.usage("beta").document_count == 0
    app.tenants.update("beta", limits={"max_documents": 4})
    assert (await bob.import_documents(tmp_path / "a.jsonl", tenant_id="beta"))["documents"] == 4
    used = app.tenants.usage("beta")
    assert (used.document_count, used.reserved) == (4, {})
    with pytest.raises(AccessDenied):
        await bob.reindex("c")


async def test_a_session_moves_to_its_own_tenant_within_the_limits(app):
    alice = as_caller(app, ALICE)
    await alice.ingest(docs(4), session_id="s")
    with pytest.raises(AccessDenied):
        await alice.migrate_session_to_tenant("s", "beta")
    app.tenants.update("acme", limits={"max_documents": 7})
    with pytest.raises(QuotaExceeded):  # until they are moved, they are there twice
        await alice.migrate_session_to_tenant("s", "acme")
    assert len(alice.list_documents(session_id="s")) == 4
    app.tenants.update("acme", limits={"max_documents": 8})
    assert await alice.migrate_session_to_tenant("s", "acme") == 4
    assert (len(alice.list_documents(session_id="s")), len(alice.list_documents())) == (0, 4)
    assert app.tenants.usage("acme").document_count == 4


CALLS = {
    "ingest": lambda rag: rag.ingest("x"),
    "search": lambda rag: rag.search("x"),
    "get": lambda rag: rag.get("x"),
    "list_documents": lambda rag: rag.list_documents(),
    "update_metadata": lambda rag: rag.update_metadata("x", {}),
    "delete": lambda rag: rag.delete("x"),
    "embed": lambda rag: rag.embed(["x"]),
    "create_collection": lambda rag: rag.create_collection("c"),
    "drop_collection": lambda rag: rag.drop_collection("c"),
    "list_collections": lambda rag: rag.list_collections(),
    "list_scopes": lambda rag: rag.list_scopes(),
    "get_stats": lambda rag: rag.get_stats(),
    "cleanup_scope": lambda rag: rag.cleanup_scope("global"),
    "remove_scope": lambda rag: rag.remove_scope("user:7"),
    "create_session_collection": lambda rag: rag.create_session_collection("s"),
    "configure_session": lambda rag: rag.configure_session("s"),
    "migrate_session_to_tenant": lambda rag: rag.migrate_session_to_tenant("s", "acme"),
    "export": lambda rag: rag.export("file"),
    "import_documents": lambda rag: rag.import_documents("file.jsonl", tenant_id="acme"),
    "reindex": lambda rag: rag.reindex(),
    "load": lambda rag: rag.load(),
}
HARMLESS = {
    "place": "says where something would be",
    "bound": "the rules of another caller, for Python",
    "held_by": "for the accounts",
    "count_of": "for the accounts",
    "purge": "for the accounts",
    "keep_turn": "stores by `ingest`, which asks",
    "save": "puts on the disk what is there",
    "build_indexes": "puts on the disk what is there",
    "close": "ends the process's retrieval",
    "sweep_sessions": "removes what expired anyway",
    "chunk": "touches no place",
    "check_search": "touches no place",
    "configure": "for the calls of this caller, which ask",
    "read_files": "under the rules for files",
    "embedder": "touches no place",
    "dimensions_of": "touches no place",
    "list_providers": "touches no place",
}


async def settled(call, rag):
    done = call(rag)
    return await done if asyncio.iscoroutine(done) else done


async def test_every_public_method_asks_before_it_works(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {name for name in dir(type(app.rag)) if not name.startswith("_")}
    assert names == CALLS.keys() | HARMLESS.keys()
    owner_file = tmp_path / "file.jsonl"
    await app.rag.ingest(docs(1), tenant_id="beta")
    await app.rag.export(owner_file, tenant_id="beta")
    app.tenants.suspend("acme")
    mine = as_caller(app, ALICE)
    for name, call in CALLS.items():
        with pytest.raises(AccessDenied):
            await settled(call, mine)
        assert app.access.audit(limit=1)[0].principal == "alice", name
    assert app.rag.held_by("acme").documents == 0


async def test_a_tenants_own_index_settings_are_those_of_its_places(app):
    app.tenants.update("acme", vector_config={"m": 8, "exact_below": 10, "dimensions": 64})
    await app.rag.ingest(docs(30), tenant_id="acme")
    await app.rag.ingest(docs(30), tenant_id="beta")
    assert app.rag.get_stats("tenant:acme")["dimensions"] == 64
    assert app.rag.get_stats("tenant:beta")["dimensions"] == 384
    assert (await app.rag.search("text number", k=30, tenant_id="acme")).total == 30
    app.tenants.update("beta", vector_config={"m": "many"})
    with pytest.raises(InvalidArgument):
        await app.rag.ingest("text", tenant_id="beta", collection="fresh")
