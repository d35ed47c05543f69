"""Tenants against a model: mixed operations of eight threads, names and ids made to be mistaken for each other.

Every text holds the name of its owner, so a row that crossed shows whatever it came through. Each tenant has a table of
what it should hold; after every operation the answer is compared with it. LLMSPELL_TEST_FULL=1 runs 100,000
operations instead of a few thousand.
"""

import asyncio
import os
import random
import threading
from collections import Counter
from unicodedata import normalize

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.errors import AccessDenied, InvalidScope, LLMSpellError
from llmspell.rag.collections import Collections
from llmspell.rag.place import Place
from llmspell.security import SecurityContext

OPERATIONS = 100_000 if os.environ.get("LLMSPELL_TEST_FULL") else 3_000
THREADS = 8
NAMES = [
    "a", "ab", "A", "a.b", "a-b", "a_b", "aa", "a.", "a..b", "default", "global", "tenant", "session", "a" * 64, "a" * 63,
    "0",
]  # fmt: skip
IDS = ["x", "x#0", "x#1", "../x", "a", "ab", "%00", "x%2Fy", "x/y", "tenant:ab", "*", "é", "e\u0301", "X", "'; --", "1"]
SCOPES = [{}, {"session_id": "s"}, {"session_id": "a/s"}, {"scope": "user:7"}, {"collection": "other"}]
HOSTILE = ["a/../ab", "a:ab", "a%2Fb", "a\0b", "", "ａ", "*", "ab\n", "__global__", "a" * 65, ".a", "tenant:ab"]


class Crossed(AssertionError):
    """A row of one tenant was seen by another, or a table and its model differ."""


class Model:
    """What one tenant should hold: (place, id) -> text, number."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.rows = {}

    def at(self, place):
        return {ident: row for (where, ident), row in self.rows.items() if where == place}


class Check:
    def __init__(self, app, *, bound):
        self.app = app
        self.bound = bound
        self.models = {name: Model(name) for name in NAMES}
        self.done = Counter()
        self.failure = None

    def caller(self, name):
        """Return the retrieval of a tenant and how it names its places."""
        if not self.bound:
            return self.app.rag, {"tenant_id": name}
        ctx = SecurityContext(principal=f"user of {name}", tenant_id=name)
        return self.app.rag.bound(self.app.gate(ctx)), {}

    def mine(self, model, text):
        if f"<{model.name}>" not in (text or ""):
            raise Crossed(f"{model.name!r} was given {text!r}")

    def same(self, model, found, wanted, what):
        if found != wanted:
            raise Crossed(f"{what} of {model.name!r}: found {found!r}, should be {wanted!r}")

    def run(self, count, threads=THREADS):
        def body(seed):
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(self.work(random.Random(seed), count // threads))
            except Exception as error:
                self.failure = self.failure or error
            finally:
                loop.close()

        workers = [threading.Thread(target=body, args=(seed,)) for seed in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self.failure is not None:
            raise self.failure

    async def work(self, rng, count):
        names = ["ingest", "get", "list", "search", "delete", "update", "stats", "foreign", "hostile", "clear"]
        chances = [18, 20, 10, 20, 8, 5, 5, 8, 5, 1]
        for _ in range(count):
            if self.failure is not None:
                return
            model = self.models[rng.choice(NAMES)]
            step = rng.choices(names, chances)[0]
            with model.lock:
                rag, named = self.caller(model.name)
                place = rng.choice(SCOPES if self.bound else [SCOPES[0], SCOPES[4]])
                await getattr(self, step)(rng, model, rag, {**place, **named}, str(place))
            self.done[step] += 1

    async def ingest(self, rng, model, rag, place, key):
        batch = {}
        for ident in rng.sample(IDS, rng.randint(1, 3)):
            batch[ident] = (f"<{model.name}> holds {rng.choice(IDS)} number {rng.randrange(1000)}", rng.randrange(3))
        documents = [
            {"id": ident, "content": text, "metadata": {"n": n, "owner": model.name}}
            for ident, (text, n) in batch.items()
        ]
        await rag.ingest(documents, **place)
        model.rows |= {(key, normalize("NFC", ident)): row for ident, row in batch.items()}

    async def get(self, rng, model, rag, place, key):
        ident = rng.choice(IDS)
        found = rag.get(ident, **place)
        wanted = model.rows.get((key, normalize("NFC", ident)))
        self.same(model, found and found["content"], wanted and wanted[0], f"{ident!r} in {key}")

    async def list(self, rng, model, rag, place, key):
        after, limit = rng.choice([None, *IDS, "tenant:a", "\uffff"]), rng.choice([1, 3, 100, 10_000])
        found = [item["id"] for item in rag.list_documents(after=after, limit=limit, **place)]
        wanted = sorted(ident for ident in model.at(key) if after is None or ident > after)[:limit]
        self.same(model, found, wanted, f"the list after {after!r} in {key}")

    async def search(self, rng, model, rag, place, key):
        other = rng.choice(NAMES)
        mode = rng.choice(["vector", "hybrid", "keyword"])
        filters = rng.choice(
            [None, {"n": 1}, {"owner": other}, {"or": [{"owner": other}, {"n": 2}]}, {"not": {"n": 7}}]
        )
        found = await rag.search(
            f"<{other}> holds number", k=rng.choice([1, 5, 100]), mode=mode, filters=filters, **place
        )
        held = model.at(key)
        for item in found.results:
            self.mine(model, item.content)
            self.same(model, item.content, held.get(item.id, (None,))[0], f"the hit {item.id!r} in {key}")
        if filters == {"owner": other} and other != model.name:
            self.same(model, found.total, 0, "documents of another owner")
        if filters is None and mode == "vector" and found.exhausted:
            self.same(model, sorted(item.id for item in found.results), sorted(held), f"all of {key}")

    async def delete(self, rng, model, rag, place, key):
        chosen = rng.sample(IDS, 2)
        removed = await rag.delete(chosen, **place)
        gone = [model.rows.pop((key, normalize("NFC", ident)), None) for ident in chosen]
        self.same(model, removed, sum(row is not None for row in gone), f"what was deleted in {key}")

    async def update(self, rng, model, rag, place, key):
        ident, n = normalize("NFC", rng.choice(IDS)), rng.randrange(3)
        known = model.rows.get((key, ident))
        self.same(model, rag.update_metadata(ident, {"n": n}, **place), known is not None, f"the update of {ident!r}")
        if known is not None:
            model.rows[key, ident] = (known[0], n)

    async def stats(self, rng, model, rag, place, key):
        scope = f"tenant:{model.name}"
        found = rag.get_stats(scope, collection=place.get("collection"))["total_documents"]
        main = str({name: value for name, value in place.items() if name == "collection"})
        self.same(model, found, len(model.at(main)), f"the count of {main}")
        if self.bound and self.app.multi_tenant and rng.random() < 0.1:
            self.same(model, self.app.tenants.usage(model.name).document_count, len(model.rows), "usage")

    async def foreign(self, rng, model, rag, place, key):
        """Name another tenant, or one that does not exist: the answer is the same and tells nothing."""
        if not self.bound:
            return
        told = []
        for other in (rng.choice([name for name in NAMES if name != model.name]), "nobody"):
            named = rng.choice([{"tenant_id": other}, {"scope": f"tenant:{other}"}, {"scope": f"custom:tenant:{other}"},
                                {"session_id": f"tenant:{other}/s"}])  # fmt: skip
            calls = [lambda n=named: rag.search("holds", **n), lambda n=named: rag.ingest("mine", **n),
                     lambda n=named: rag.delete(rng.choice(IDS), **n)]  # fmt: skip
            try:
                await rng.choice(calls)()
            except AccessDenied as error:
                told.append((error.details["reason"], error.details["policy"]))
            else:
                raise Crossed(f"{model.name!r} was let into {named}")
        self.same(model, told[0], told[1], "the answers for a foreign and an unknown tenant")

    async def hostile(self, rng, model, rag, place, key):
        """Name what is no tenant: refused, or a place of one's own that holds nothing."""
        text = rng.choice(HOSTILE)
        named = rng.choice([{"tenant_id": text}, {"scope": f"tenant:{text}"}, {"scope": "tenant", "scope_id": text}])
        try:
            found = await rag.search("holds", k=rng.choice([0, -1, 2**31, 2**63, 1e308, 5]), **named)
        except LLMSpellError as error:
            if error.kind not in ("validation", "security"):
                raise
        else:
            for item in found.results:
                self.mine(model, item.content)

    async def clear(self, rng, model, rag, place, key):
        """Remove the tenant's own place from every collection; sessions and other scopes stay."""
        removed = rag.remove_scope(f"tenant:{model.name}")["documents"]
        own = [pair for pair in model.rows if pair[0] in (str(SCOPES[0]), str(SCOPES[4]))]
        self.same(model, removed, len(own), "what was cleared")
        for pair in own:
            del model.rows[pair]


@pytest.fixture
def make(tmp_path):
    made = []

    def new(*sets):
        config = load(sets=list(sets), environ={}, cwd=tmp_path, home=tmp_path).config
        made.append(App(config, home=tmp_path, cwd=tmp_path, environ={}))
        return made[-1]

    yield new
    for app in made:
        asyncio.run(app.close())


def test_no_row_crosses_between_tenants(make):
    app = make("tenancy.enabled=true", "tenancy.audit.grant_sample=0.05")
    for name in NAMES:
        app.tenants.create(name)
    check = Check(app, bound=True)
    check.run(OPERATIONS)
    assert sum(check.done.values()) == OPERATIONS // THREADS * THREADS
    for model in check.models.values():
        assert app.tenants.usage(model.name).document_count == len(model.rows), model.name
        assert app.tenants.usage(model.name).reserved == {}
    assert app.access.verify().ok


def test_no_row_crosses_between_places_of_tenants_without_tenancy(make):
    Check(make(), bound=False).run(OPERATIONS // 3)


def test_the_check_finds_names_that_are_joined_by_a_prefix(make, monkeypatch):
    place = Collections.place

    def joined(self, **given):
        found = place(self, **given)
        return Place(found.collection, found.scope[: len("tenant:a")])

    monkeypatch.setattr(Collections, "place", joined)
    with pytest.raises(Crossed):
        Check(make(), bound=False).run(2_000)


def test_hostile_names_are_refused_everywhere(make):
    app = make("tenancy.enabled=true")
    for text in HOSTILE:
        for call in (app.tenants.create, app.admit, lambda name: app.rag.get("x", tenant_id=name)):
            with pytest.raises(InvalidScope):
                call(text)


def test_a_tenant_deleted_amid_its_work_is_gone_and_its_neighbour_whole(make):
    app = make("tenancy.enabled=true", "tenancy.audit.grant_sample=0.05")
    for name in ("a", "ab"):
        app.tenants.create(name)
    check = Check(app, bound=True)
    seen = []

    async def work(name, rng):
        model = check.models[name]
        rag, _ = check.caller(name)
        for _ in range(60):
            try:
                ident = rng.choice(IDS)
                await rag.ingest({"id": ident, "content": f"<{name}> text"})
                for item in (await rag.search(f"<{name}> text")).results:
                    check.mine(model, item.content)
            except AccessDenied:
                seen.append(name)
                return

    def body(name, seed):
        asyncio.run(work(name, random.Random(seed)))

    workers = [threading.Thread(target=body, args=(name, seed)) for seed in range(3) for name in ("a", "ab")]
    for worker in workers:
        worker.start()
    report = asyncio.run(app.tenants.delete("a"))
    for worker in workers:
        worker.join()
    assert report.verified
    assert set(seen) <= {"a"}
    assert app.rag.held_by("a").documents == 0
    assert app.tenants.usage("ab").document_count == len(app.rag.list_documents(tenant_id="ab"))
