"""What tenants cost: one decision, one search in one of a hundred tenants, one idle tenant.

    python asv_bench/benchmarks/tenancy.py [rounds]

prints the search with and without tenancy, in interleaved rounds, medians; figures are of wall time.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from llmspell.app import App
from llmspell.config import load
from llmspell.security import AccessPolicies, OwnerPolicy, SecurityContext, TenantPolicy

DOCUMENTS, QUERIES, ROUNDS, OTHERS, IDLE = 2000, 100, 9, 99, 10_000
ACME = SecurityContext(principal="p", tenant_id="acme")
WORDS = [f"word{number}" for number in range(3000)]


def open_app(home, *sets):
    home.mkdir(exist_ok=True)
    config = load(sets=["rag.cache.search_cache_enabled=false", *sets], environ={}, cwd=home, home=home).config
    return App(config, home=home, cwd=home, environ={})


def documents(count, seed=3):
    rng = random.Random(seed)
    return [{"id": str(number), "content": " ".join(rng.choices(WORDS, k=40))} for number in range(count)]


class Decision:
    """A decision that is remembered: alone, and written into the audit trail."""

    params = (["alone", "with audit"],)
    param_names = ("trail",)

    def setup(self, trail):
        self.folder = tempfile.TemporaryDirectory()
        self.app = open_app(Path(self.folder.name), "tenancy.enabled=true")
        plain = AccessPolicies([TenantPolicy(), OwnerPolicy()])
        self.access = plain if trail == "alone" else self.app.access
        self.access.decide(ACME, "search", "tenant:acme/docs")

    def teardown(self, trail):
        asyncio.run(self.app.close())
        self.folder.cleanup()

    def time_cached(self, trail):
        self.access.decide(ACME, "search", "tenant:acme/docs")


class Idle:
    """Memory of ten thousand tenants of which the newest were asked for."""

    def track_bytes_of_an_idle_tenant(self):
        with tempfile.TemporaryDirectory() as folder:
            app = open_app(Path(folder), "tenancy.enabled=true")
            row = "INSERT INTO tenants(id, name, state, created, limits, metadata, custom, vector)"
            with app.tenants.store.writing() as connection:
                connection.executemany(
                    f"{row} VALUES (?, '', 'active', 0, '{{}}', '{{}}', '{{}}', '{{}}')",
                    [(f"t{number}",) for number in range(IDLE)],
                )
            app.tenants.admit("t0")
            tracemalloc.start()
            for number in range(IDLE):
                app.tenants.admit(f"t{number}")
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            asyncio.run(app.close())
        return held / IDLE

    track_bytes_of_an_idle_tenant.unit = "bytes"


async def searches(folder, rounds=ROUNDS):
    """Return the medians of a search, by mode and side, in microseconds."""
    plain = open_app(folder / "plain")
    ruled = open_app(folder / "ruled", "tenancy.enabled=true")
    await plain.rag.ingest(documents(DOCUMENTS), tenant_id="acme")
    ruled.tenants.create("acme")
    await ruled.rag.ingest(documents(DOCUMENTS), tenant_id="acme")
    for number in range(OTHERS):
        ruled.tenants.create(f"other{number}")
        await ruled.rag.ingest(documents(20, number), tenant_id=f"other{number}")
    sides = {
        "without": (plain.rag, {"tenant_id": "acme"}),
        "with": (ruled.rag.bound(ruled.gate(ACME)), {}),
    }
    rng = random.Random(5)
    queries = [" ".join(rng.choices(WORDS, k=5)) for _ in range(QUERIES)]
    found = {}
    for mode in ("vector", "hybrid"):
        taken = {side: [] for side in sides}
        for query in [query for _ in range(rounds) for query in queries]:
            for side, (rag, place) in sides.items():
                began = time.perf_counter()
                await rag.search(query, mode=mode, cache=False, **place)
                taken[side].append((time.perf_counter() - began) * 1e6)
        found[mode] = {side: statistics.median(times[QUERIES:]) for side, times in taken.items()}
    await plain.close()
    await ruled.close()
    return found


class Search:
    """How much longer a search in one of a hundred tenants takes than without tenancy."""

    timeout = 300
    params = (["vector", "hybrid"],)
    param_names = ("mode",)

    def setup_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(searches(Path(folder)))

    def track_ratio(self, found, mode):
        return found[mode]["with"] / found[mode]["without"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for mode, sides in asyncio.run(
            searches(Path(scratch), int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
        ).items():
            print(f"{mode}: without {sides['without']:.0f} us, with {sides['with']:.0f} us,"
                  f" ratio {sides['with'] / sides['without']:.3f}")  # fmt: skip
    print(f"idle tenant: {Idle().track_bytes_of_an_idle_tenant():.0f} bytes")
    for trail in ("alone", "with audit"):
        bench = Decision()
        bench.setup(trail)
        began = time.perf_counter()
        for _ in range(50_000):
            bench.time_cached(trail)
        print(f"cached decision, {trail}: {(time.perf_counter() - began) / 50_000 * 1e6:.2f} us")
        bench.teardown(trail)
