"""Tenants: their life, their limits under races, their usage across kills and processes."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.config.model import Tenancy
from llmspell.errors import (
    AccessDenied,
    AlreadyExists,
    ConfigurationError,
    InvalidArgument,
    InvalidScope,
    QuotaExceeded,
    RateLimited,
)
from llmspell.security.decisions import tenant_of
from llmspell.tenancy import Held, Limits, Tenants, check_id
from llmspell.tenancy.meter import oldest_kept, period_of
from llmspell.tenancy.records import Holder, scope_of


class Rows:
    """What a store of rows does: rows and the note of their reservation appear together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.stored = {}

    def put(self, reservation, vectors):
        with self.lock:
            self.count += vectors
            done = self.stored.setdefault(reservation.id, {"vectors": 0})
            done["vectors"] += vectors

    def measure(self, tenant_id):
        with self.lock:
            return Held(vectors=self.count, stored={key: dict(value) for key, value in self.stored.items()})


@pytest.fixture
def make(tmp_path):
    made = []

    def new(config=None, **options):
        made.append(Tenants(tmp_path / "tenancy", config, **options))
        return made[-1]

    yield new
    for tenants in made:
        tenants.close()


def test_a_tenant_is_made_found_changed_and_listed(make):
    tenants = make()
    made = tenants.create("acme", name="Acme", limits={"max_vectors": 10}, metadata={"plan": "gold"})
    assert (made.tenant_id, made.active, made.scope, made.limits.max_vectors) == ("acme", True, "tenant:acme", 10)
    assert tenants.get("acme") == made
    assert tenants.get("acm") is None
    with pytest.raises(AlreadyExists):
        tenants.create("acme")
    changed = tenants.update("acme", name="Acme Ltd", limits={"max_documents": 5}, vector_config={"m": 8})
    assert (changed.name, changed.limits.max_vectors, changed.limits.max_documents) == ("Acme Ltd", 10, 5)
    assert (changed.vector_config, changed.metadata) == ({"m": 8}, {"plan": "gold"})
    tenants.create("Acme")
    tenants.suspend("Acme")
    assert [item.tenant_id for item in tenants.list()] == ["Acme", "acme"]
    assert [item.tenant_id for item in tenants.list(active=False)] == ["Acme"]
    with pytest.raises(InvalidArgument):
        tenants.update("acme", colour="red")
    with pytest.raises(AccessDenied):
        tenants.update("nobody", name="x")


@pytest.mark.parametrize(
    "bad",
    ["", ".", "..", "-a", "_a", "a/b", "a\\b", "a:b", "a b", "a%2Fb", "a\0", "a\n", "ａ", "é", "e\u0301", "*", "a" * 65, None, 7, b"a"],
)  # fmt: skip
def test_ids_outside_the_grammar_are_refused(make, bad):
    with pytest.raises(InvalidScope):
        make().create(bad)


@given(
    st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._:/%\\-]{0,66}"),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
)
def test_distinct_accepted_ids_never_share_a_scope_and_none_reaches_into_another(given_id, other):
    try:
        check_id(given_id)
    except InvalidScope:
        return
    for tail in ("", "/docs", "/session:s/docs"):
        assert tenant_of(scope_of(given_id) + tail) == given_id
        assert (tenant_of(scope_of(other) + tail) == given_id) == (given_id == other)
    assert not {"/", "\\", "\0", ":"} & set(given_id)
    assert given_id not in (".", "..")


def test_limits_that_are_not_stated_are_those_of_the_configuration(make):
    config = Tenancy(
        default_limits_max_vectors=7, default_limits_max_documents=3, tenants={"big": {"limits": {"max_vectors": 99}}}
    )
    tenants = make(config)
    assert tenants.create("a").limits.max_vectors == 7
    assert tenants.create("b", limits={"max_vectors": None}).limits.max_vectors is None
    assert tenants.create("c", limits=Limits(max_vectors=1)).limits.max_documents == 3
    assert tenants.get("big").limits == Limits(max_vectors=99, max_documents=3)
    for wrong in ({"max_vectors": -1}, {"max_vectors": "many"}, {"unknown": 1}):
        with pytest.raises(InvalidArgument):
            tenants.create("d", limits=wrong)
    assert tenants.create("e", limits={"monthly_cost_limit_usd": 2.5}).limits.monthly_cost_usd == 2.5


@pytest.mark.parametrize("wrong", [{"a b": {}}, {"a": 7}, {"a": {"colour": 1}}, {"a": {"limits": {"x": 1}}}])
def test_wrong_tenants_in_the_configuration_are_named(make, wrong):
    with pytest.raises(ConfigurationError):
        make(Tenancy(tenants=wrong)).list()


def test_there_may_be_a_greatest_number_of_tenants(make):
    tenants = make(Tenancy(max_tenants=2))
    tenants.create("a")
    tenants.create("b")
    with pytest.raises(QuotaExceeded):
        tenants.create("c")


def race(work, count):
    results = []

    def body():
        try:
            results.append(work())
        except QuotaExceeded as error:
            results.append(error)

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_eight_batches_of_300_exactly_three_fit_under_1000(make):
    rows = Rows()
    tenants = make(measure=rows.measure)
    tenants.create("acme", limits={"max_vectors": 1000})

    def batch():
        with tenants.reserve("acme", vectors=300) as reservation:
            for _ in range(3):  # rows come in parts, and others look at them in between
                rows.put(reservation, 100)

    for round_number in range(10):
        results = race(batch, 8)
        assert sum(result is None for result in results) == 3, round_number
        assert rows.count == 900
        refused = next(result for result in results if result is not None)
        assert refused.details["limit"] == 1000
        assert refused.details["tenant"] == "acme"
        rows.count = 0


def test_a_released_reservation_gives_its_room_back(make):
    rows = Rows()
    tenants = make(measure=rows.measure)
    tenants.create("acme", limits={"max_vectors": 10})
    with pytest.raises(ZeroDivisionError), tenants.reserve("acme", vectors=10):
        raise ZeroDivisionError
    held = tenants.reserve("acme", vectors=10)
    with pytest.raises(QuotaExceeded):
        tenants.reserve("acme", vectors=1)
    assert tenants.usage("acme").reserved == {"vectors": 10}
    held.release()
    held.release()
    assert tenants.usage("acme").reserved == {}


def test_replaced_rows_are_credited_to_the_batch_that_replaces_them(make):
    rows = Rows()
    rows.count = 900
    tenants = make(measure=rows.measure)
    tenants.create("acme", limits={"max_vectors": 1000})
    with tenants.reserve("acme", credit={"vectors": 300}, vectors=300), pytest.raises(QuotaExceeded):
        tenants.reserve("acme", vectors=101)


@pytest.mark.parametrize(
    ("limit", "amounts"),
    [
        ({"max_documents": 2}, {"documents": 3}),
        ({"max_storage_bytes": 100}, {"storage_bytes": 101}),
        ({"max_dimensions": 384}, {"dimensions": 385}),
        ({"max_embedding_tokens": 50}, {"embedding_tokens": 51}),
        ({"max_sessions": 0}, {"sessions": 1}),
        ({"monthly_cost_usd": 0.5}, {"cost_micros": 500_001}),
        ({"custom": {"pages": 4}}, {"pages": 5}),
    ],
)
def test_every_limit_refuses_one_more_and_allows_the_last(make, limit, amounts):
    tenants = make()
    tenants.create("acme", limits=limit)
    with pytest.raises(QuotaExceeded) as caught:
        tenants.reserve("acme", **amounts)
    assert caught.value.kind == "resource_limit"
    ((name, amount),) = amounts.items()
    tenants.reserve("acme", **{name: amount - 1}).release()
    with pytest.raises(InvalidArgument):
        tenants.reserve("acme", nonsense=1)


def test_tokens_and_money_are_settled_and_limit_the_rest_of_the_month(make):
    tenants = make()
    tenants.create("acme", limits={"max_embedding_tokens": 100, "monthly_cost_usd": 1.0})
    tenants.reserve("acme", embedding_tokens=100, cost_micros=10).settle(embedding_tokens=60, cost_micros=900_000)
    used = tenants.usage("acme")
    assert (used.embedding_tokens, used.embedding_cost_cents) == (60, 90.0)
    with pytest.raises(QuotaExceeded):
        tenants.reserve("acme", embedding_tokens=41)
    with pytest.raises(QuotaExceeded):
        tenants.reserve("acme", cost_micros=100_001)
    tenants.reserve("acme", embedding_tokens=40).settle()
    tenants.count("acme", model_cost_micros=100_000)
    with pytest.raises(QuotaExceeded):
        tenants.admit("acme")


def test_overflow_can_be_written_down_instead_of_refused(make):
    tenants = make()
    tenants.create("acme", limits={"max_vectors": 1, "allow_overflow": True})
    tenants.reserve("acme", vectors=5).release()
    assert tenants.usage("acme").overflows == 1


def test_searches_come_from_a_bucket_that_holds_twice_the_rate(make, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("llmspell.tenancy.accounts.monotonic", lambda: now[0])
    tenants = make()
    tenants.create("acme", limits={"max_queries_per_second": 5})
    other = make()
    for _ in range(5):
        tenants.admit("acme")
        other.admit("acme")
    with pytest.raises(RateLimited) as caught:
        other.admit("acme")
    assert (caught.value.retryable, caught.value.retry_after_ms) == (True, 200)
    now[0] += 0.2
    tenants.admit("acme")
    with pytest.raises(RateLimited):
        tenants.admit("acme")


def test_suspended_and_unknown_tenants_are_denied_at_once_in_every_process(make):
    tenants, other = make(), make()
    tenants.create("acme")
    other.admit("acme")
    tenants.suspend("acme")
    for service in (tenants, other):
        with pytest.raises(AccessDenied) as caught:
            service.admit("acme")
        assert caught.value.details["reason"] == "inactive"
        with pytest.raises(AccessDenied):
            service.reserve("acme", vectors=1)
    other.resume("acme")
    tenants.admit("acme")
    with pytest.raises(AccessDenied):
        tenants.reserve("nobody", vectors=1)


def test_counters_of_all_processes_are_summed_exactly_once(make):
    tenants, other = make(), make()
    tenants.create("acme")
    for _ in range(100):
        tenants.count("acme", query_count=1, compute_us=2000)
        other.count("acme", query_count=2)
    assert tenants.usage("acme").query_count == 300
    assert other.usage("acme").compute_time_ms == 200.0
    other.close()
    assert len(list(tenants.store.folder.glob("usage-*.log"))) == 1
    tenants.count("acme", query_count=1)
    assert [tenants.usage("acme").query_count for _ in range(3)] == [301] * 3
    assert len(list(tenants.store.folder.glob("usage-*.log"))) == 1
    costs = tenants.costs("acme")
    assert costs.total_usd == costs.queries_usd + costs.compute_usd
    assert costs.queries_usd == pytest.approx(301 / 1000 * 0.01)


def test_long_files_of_counters_are_begun_anew_and_lose_nothing(make, monkeypatch):
    monkeypatch.setattr("llmspell.tenancy.meter._ROTATE", 200)
    tenants = make()
    tenants.create("acme")

    def body():
        for _ in range(50):
            tenants.count("acme", query_count=1)

    assert race(body, 8) == [None] * 8
    assert tenants.usage("acme").query_count == 400
    assert len(list(tenants.store.folder.glob("usage-*.log"))) <= 2


KILLED = """
import os, pathlib, signal, sys
from llmspell.tenancy import Tenants
tenants = Tenants(pathlib.Path(sys.argv[1]))
tenants.reserve("acme", vectors=800)
for _ in range(37):
    tenants.count("acme", query_count=1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counters_survive_a_kill_and_reservations_of_the_dead_lapse(make, monkeypatch):
    tenants = make()
    tenants.create("acme", limits={"max_vectors": 1000})
    child = subprocess.run([sys.executable, "-c", KILLED, str(tenants.store.folder)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert tenants.usage("acme").query_count == 37
    with pytest.raises(QuotaExceeded):
        tenants.reserve("acme", vectors=300)
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 61)
    held = tenants.reserve("acme", vectors=1000)
    monkeypatch.setattr(time, "time", lambda: real + 200)
    with pytest.raises(QuotaExceeded):  # the owner lives: its reservation does not lapse
        tenants.reserve("acme", vectors=1)
    held.release()


def test_months_are_apart_and_kept_for_two_years(make, monkeypatch):
    tenants = make()
    tenants.create("acme")
    january = 1_767_300_000.0
    monkeypatch.setattr(time, "time", lambda: january)
    tenants.count("acme", query_count=5)
    assert tenants.usage("acme").period == "2026-01"
    monkeypatch.setattr(time, "time", lambda: january + 40 * 86_400)
    tenants.count("acme", query_count=1)
    assert [tenants.usage("acme", period=month).query_count for month in ("2026-01", "2026-02")] == [5, 1]
    assert (oldest_kept("2027-12"), oldest_kept("2026-01")) == ("2026-01", "2024-02")
    monkeypatch.setattr(time, "time", lambda: january + 24 * 31 * 86_400)
    tenants.count("acme", query_count=1)
    assert tenants.usage("acme", period="2026-01").query_count == 0


def test_a_reset_sets_counters_to_nought_and_keeps_what_is_stored(make):
    rows = Rows()
    rows.count = 4
    tenants = make(measure=rows.measure)
    tenants.create("acme")
    tenants.count("acme", query_count=5)
    tenants.reset("acme")
    used = tenants.usage("acme")
    assert (used.query_count, used.vector_count) == (0, 4)
    assert used.last_reset is not None
    assert [(item["tenant_id"], item["vector_count"]) for item in tenants.report()] == [("acme", 4)]
    assert tenants.report()[0]["period"] == period_of()


async def test_deleting_removes_counts_and_leaves_a_tombstone(make):
    data = {"acme": 3, "acme2": 5}
    events = []
    holder = Holder(lambda tenant: data.get(tenant, 0), lambda tenant: data.pop(tenant, 0))
    tenants = make(holders={"vectors": holder}, note=lambda *what: events.append(what))
    tenants.create("acme")
    tenants.create("acme2")
    late = tenants.reserve("acme", vectors=1)
    deleting = asyncio.ensure_future(tenants.delete("acme"))
    await asyncio.sleep(0)
    with pytest.raises(AccessDenied):
        late.check()
    late.release()
    report = await deleting
    assert (report.verified, report.removed, report.remaining) == (True, {"vectors": 3}, {"vectors": 0})
    assert data == {"acme2": 5}
    assert tenants.get("acme") is None
    assert [item.tenant_id for item in tenants.list()] == ["acme2"]
    for call in (lambda: tenants.reserve("acme", vectors=1), lambda: tenants.admit("acme")):
        with pytest.raises(AccessDenied):
            call()
    assert [event for event, tenant, _ in events if tenant == "acme"][-1] == "TenantDeleted"
    data["acme"] = 1
    with pytest.raises(AlreadyExists):
        tenants.create("acme")
    assert (await tenants.delete("acme")).verified
    assert tenants.create("acme").active


async def test_a_purge_that_leaves_something_is_told_and_can_be_repeated(make):
    left = [2]
    holder = Holder(lambda tenant: left[0], lambda tenant: left.__setitem__(0, left[0] - 1) or 1)
    tenants = make(holders={"stuck": holder})
    tenants.create("acme")
    assert not (await tenants.delete("acme")).verified
    with pytest.raises(AccessDenied):
        tenants.admit("acme")
    assert (await tenants.delete("acme")).verified


def test_ten_thousand_idle_tenants_cost_next_to_nothing(make):
    tenants = make()
    with tenants.store.writing() as connection:
        connection.executemany(
            "INSERT INTO tenants(id, name, state, created, limits, metadata, custom, vector)"
            " VALUES (?, '', 'active', 0, '{}', '{}', '{}', '{}')",
            [(f"t{number}",) for number in range(10_000)],
        )
    tenants.admit("t0")
    tracemalloc.start()
    try:
        for number in range(10_000):
            tenants.admit(f"t{number}")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / 10_000 < 2048
    assert len(tenants._entries) == 1000


def test_files_are_the_owners_alone(make):
    tenants = make()
    tenants.create("acme")
    tenants.count("acme", query_count=1)
    tenants.reserve("acme", vectors=1)
    assert stat.S_IMODE(os.stat(tenants.store.folder).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in tenants.store.folder.iterdir()} == {0o600}


def test_a_limit_stated_by_another_process_meanwhile_counts_the_rows(make):
    rows = Rows()
    rows.count = 10
    tenants, other = make(measure=rows.measure), make()
    tenants.create("acme")
    tenants.admit("acme")
    real = tenants._changes

    def changes(tenant_id):
        tenants._changes = real
        other.update("acme", limits={"max_vectors": 10})
        return real(tenant_id)

    tenants._changes = changes
    with pytest.raises(QuotaExceeded):
        tenants.reserve("acme", vectors=1)
