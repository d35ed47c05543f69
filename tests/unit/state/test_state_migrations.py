"""Schema versions: order, steps, and migrations that are all or nothing."""

import pytest

from llmspell.errors import InvalidArgument, ResourceLimitError
from llmspell.state import StateStore
from llmspell.state.migrations import Schema, order


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = StateStore(request.param, str(tmp_path / "state" / "state.db"))
    yield made
    made.close()


def test_versions_are_ordered_as_semantic_versions():
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.2.0", "1.10.0", "2.0.0"]
    assert sorted(set(texts), key=order) == texts
    for bad in ("1", "1.0", "v1.0.0", "1.0.0.0", "", "1.0.0\n"):
        with pytest.raises(InvalidArgument):
            order(bad)


def test_a_migration_runs_every_version_on_the_way_in_order(store):
    store.set("n", 1)
    store.save("user:1", "n", 10)
    register = store.migrations.register
    register(Schema("1.2.0", migrate=lambda key, value, scope: value * 10))
    register(Schema("1.1.0", migrate=lambda key, value, scope: value + 1, scope="global"))
    report = store.migrations.migrate("1.2.0")
    assert (report.success, report.status, report.from_version, report.items_migrated) == (
        True,
        "completed",
        "1.0.0",
        2,
    )
    assert (store.get("n"), store.load("user:1", "n")) == (20, 100)
    assert store.migrations.current == "1.2.0"
    assert store.migrations.migrate("1.2.0").status == "up_to_date"
    assert store.list_scopes() == ["global", "user:1"]


def test_a_failing_item_leaves_everything_as_it_was(store):
    store.set("a", 1)
    store.set("b", "bad")
    store.migrations.register(Schema("1.1.0", migrate=lambda key, value, scope: value + 1))
    report = store.migrations.migrate("1.1.0")
    assert (report.success, report.status) == (False, "failed")
    assert report.errors[0].startswith("global/b: ")
    assert (store.get("a"), store.migrations.current) == (1, "1.0.0")


def test_a_limit_inside_a_function_is_no_failed_item(store):
    def change(key, value, scope):
        raise ResourceLimitError("instructions")

    store.set("a", 1)
    store.migrations.register(Schema("1.1.0", migrate=change))
    with pytest.raises(ResourceLimitError):
        store.migrations.migrate("1.1.0")
    assert store.migrations.current == "1.0.0"


def test_fields_are_renamed_removed_defaulted_and_checked(store):
    store.set("a", {"old": 1, "gone": 2, "kept": 3})
    store.set("plain", 5)
    fields = {
        "old": {"rename": "new"},
        "gone": {"remove": True},
        "status": {"default": "x"},
        "kept": {"type": "integer"},
    }
    store.migrations.register(Schema("1.1.0", fields=fields))
    assert store.migrations.migrate("1.1.0").success
    assert store.get("a") == {"new": 1, "kept": 3, "status": "x"}
    assert store.get("plain") == 5
    store.migrations.register(Schema("1.2.0", fields={"kept": {"type": "string"}}))
    assert not store.migrations.migrate("1.2.0").success
    for bad in ({"x": {"move": "y"}}, {"x": {"type": "date"}}):
        with pytest.raises(InvalidArgument):
            store.migrations.register(Schema("1.3.0", fields=bad))


def test_a_way_back_needs_a_rollback_in_every_version(store):
    store.set("n", 1)
    register = store.migrations.register
    register(Schema("1.1.0", migrate=lambda k, v, s: v + 1, rollback=lambda k, v, s: v - 1))
    register(Schema("1.2.0", migrate=lambda k, v, s: v * 2))
    store.migrations.migrate("1.1.0")
    assert store.migrations.migrate("1.0.0").success
    assert (store.get("n"), store.migrations.current) == (1, "1.0.0")
    store.migrations.migrate("1.2.0")
    report = store.migrations.migrate("1.0.0")
    assert not report.success
    assert "1.2.0 has no rollback" in report.errors[0]
    assert store.get("n") == 4


def test_a_function_that_returns_nothing_removes_the_key(store):
    store.set("a", 1)
    store.migrations.register(Schema("1.1.0", migrate=lambda k, v, s: None))
    store.migrations.migrate("1.1.0")
    assert not store.exists("global", "a")


def test_an_unknown_version_is_refused_and_the_status_tells_the_known_ones(store):
    store.migrations.register(Schema("1.1.0"))
    with pytest.raises(InvalidArgument):
        store.migrations.migrate("3.0.0")
    assert store.migrations.status() == {
        "current_version": "1.0.0",
        "latest_version": "1.1.0",
        "is_latest": False,
        "migration_available": True,
        "total_schemas": 2,
        "migration_targets": ["1.1.0"],
    }
