"""Backups: chains, verification, restoring all or nothing, and clean-up that breaks no chain."""

import json
import os

import pytest

from llmspell.errors import Conflict, CorruptData, NotFound, StorageFailure
from llmspell.state import StateStore
from llmspell.state.backup import Backups, Settings


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = StateStore(request.param, str(tmp_path / "state" / "state.db"), backups=tmp_path / "backups")
    yield made
    made.close()


@pytest.fixture
def backups(store):
    return store.backups


def content(store):
    return {scope: store.get_all(scope) for scope in store.list_scopes()}


async def test_each_backup_of_a_chain_restores_what_was_there_when_it_was_made(store, backups):
    made = []
    for n in range(4):
        store.set("n", n)
        store.set(f"only-{n}", n)
        store.save("user:1", "x", {"n": [n]})
        if n:
            store.delete("global", f"only-{n - 1}")
        made.append((await backups.create(incremental=n > 0), content(store)))
    assert [manifest.backup_type for manifest, _ in made] == ["full", *["incremental"] * 3]
    for manifest, expected in [*made, made[0]]:
        done = await backups.restore(manifest.id, backup_current=False)
        assert content(store) == expected
        assert done.entries == sum(map(len, expected.values()))


async def test_an_incremental_backup_holds_only_the_changes(store, backups):
    for n in range(200):
        store.set(f"k{n}", "x" * 50)
    full = await backups.create()
    store.set("k1", "new")
    store.delete("global", "k2")
    small = await backups.create(incremental=True)
    assert (small.entry_count, small.deleted_count, small.parent_id) == (1, 1, full.id)
    assert small.scopes == ["global"]
    empty = await backups.create(incremental=True)
    assert (empty.entry_count, empty.deleted_count) == (0, 0)


async def test_an_incremental_backup_without_a_usable_parent_is_full(store, backups, tmp_path):
    store.set("a", 1)
    first = await backups.create(incremental=True)
    assert not first.incremental
    (tmp_path / "backups" / first.id / first.parts[0].file).write_bytes(b"torn")
    assert not (await backups.create(incremental=True)).incremental
    store.compact()
    store.set("a", 2)
    store.delete("global", "a")
    store.compact()
    assert not (await backups.create(incremental=True)).incremental


async def test_a_backup_of_another_store_is_no_parent(tmp_path):
    for name in ("one", "two"):
        store = StateStore("sqlite", str(tmp_path / name / "state.db"), backups=tmp_path / "backups")
        store.set("a", name)
        assert not (await store.backups.create(incremental=True)).incremental
        store.close()


async def test_restoring_keeps_versions_and_expiry_and_lets_the_store_go_on(store, backups):
    store.set("a", 1)
    store.set("a", 2, ttl=500)
    made = await backups.create()
    store.set("a", 3)
    await backups.restore(made.id)
    assert store.entry("global", "a").version == 2
    assert store.ttl("global", "a") is not None
    assert store.set("a", 9) == 3


async def test_a_safety_backup_brings_back_what_a_restore_replaced(store, backups):
    store.set("a", 1)
    made = await backups.create()
    store.set("a", 2)
    done = await backups.restore(made.id)
    assert store.get("a") == 1
    await backups.restore(done.safety_backup)
    assert store.get("a") == 2


async def test_only_the_named_scopes_are_restored(store, backups):
    store.set("a", 1)
    store.save("user:1", "a", 1)
    made = await backups.create()
    store.set("a", 2)
    store.save("user:1", "a", 2)
    store.save("user:1", "b", 2)
    await backups.restore(made.id, scopes=["user:1"])
    assert content(store) == {"global": {"a": 2}, "user:1": {"a": 1}}


async def test_a_dry_run_changes_nothing(store, backups):
    store.set("a", 1)
    made = await backups.create()
    store.set("a", 2)
    done = await backups.restore(made.id, dry_run=True)
    assert (done.entries, done.safety_backup, store.get("a")) == (1, None, 2)
    assert len(backups.list()) == 1


async def test_one_flipped_bit_is_found_and_the_store_is_left_alone(store, backups, tmp_path):
    store.set("a", "x" * 100)
    whole = await backups.create()
    store.set("a", "y" * 100)
    torn = await backups.create()
    part = tmp_path / "backups" / torn.id / torn.parts[0].file
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    found = await backups.validate(torn.id)
    assert not found.is_valid
    assert torn.parts[0].file in found.errors[0]
    with pytest.raises(CorruptData) as caught:
        await backups.restore(torn.id)
    assert whole.id in caught.value.message
    assert store.get("a") == "y" * 100


@pytest.mark.parametrize("change", ["parent", "manifest", "missing"])
async def test_a_chain_with_a_changed_link_is_refused(store, backups, tmp_path, change):
    store.set("a", 1)
    full = await backups.create()
    store.set("a", 2)
    child = await backups.create(incremental=True)
    path = tmp_path / "backups" / (child.id if change == "manifest" else full.id) / "manifest.json"
    if change == "missing":
        path.unlink()
    else:
        data = json.loads(path.read_text())
        data["entry_count"] += 1
        path.write_text(json.dumps(data))
    assert not (await backups.validate(child.id)).is_valid
    with pytest.raises((CorruptData, NotFound)):
        await backups.restore(child.id)
    assert store.get("a") == 2


@pytest.mark.parametrize("ident", ["nope", "backup_x", "../state", "backup_/../../etc", ""])
async def test_an_unknown_id_is_not_found_and_leads_nowhere(store, backups, ident):
    assert not (await backups.validate(ident)).is_valid
    with pytest.raises(NotFound):
        await backups.restore(ident)
    with pytest.raises(NotFound):
        backups.info(ident)


async def test_backups_are_listed_newest_first_and_files_are_private(store, backups, tmp_path):
    store.set("a", 1)
    made = [(await backups.create(str(n))).id for n in range(3)]
    assert [manifest.id for manifest in backups.list()] == made[::-1]
    for folder in (tmp_path / "backups").iterdir():
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())
    assert backups.usage()["full_backups"] == 3


async def test_clean_up_removes_whole_chains_and_never_the_newest_one(store, backups):
    made = []
    for n in range(6):
        store.set("a", n)
        made.append(await backups.create(incremental=n not in (0, 3)))
    planned = await backups.cleanup(keep=1, dry_run=True)
    assert len(backups.list()) == 6
    done = await backups.cleanup(keep=1)
    assert done.deleted == planned.deleted
    assert {manifest.id for manifest in backups.list()} == {manifest.id for manifest in made[3:]}
    assert done.space_freed > 0
    await backups.cleanup(keep=0, older_than_seconds=0)
    newest = backups.list()[0]
    assert newest.id == made[5].id
    await backups.restore(newest.id)
    assert store.get("a") == 5


async def test_creating_keeps_no_more_than_the_settings_say(store, tmp_path):
    backups = Backups(store, tmp_path / "few", Settings(compression="none", max_backups=2))
    for n in range(5):
        store.set("a", n)
        last = await backups.create()
    found = backups.list()
    assert found[0].id == last.id
    assert found[0].compression["algorithm"] == "none"
    assert len(found) == 3, "the two newest, and the first one of the day"


async def test_a_backup_that_others_stand_on_is_deleted_only_with_them(store, backups):
    store.set("a", 1)
    full = await backups.create()
    await backups.create(incremental=True)
    with pytest.raises(Conflict):
        await backups.delete(full.id)
    await backups.delete(full.id, cascade=True)
    assert backups.list() == []


async def test_a_failure_while_writing_leaves_nothing_behind(store, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailure):
        await Backups(store, tmp_path / "file").create()
    store.set("a", 1)


async def test_what_a_dead_process_left_is_removed_at_the_next_backup(store, backups, tmp_path):
    torn = tmp_path / "backups" / ".partial-999999999-backup_x"
    torn.mkdir(parents=True)
    (torn / "data-000.bin").write_bytes(b"half")
    ours = tmp_path / "backups" / f".partial-{os.getpid()}-backup_y"
    ours.mkdir()
    assert backups.list() == []
    await backups.create()
    assert not torn.exists()
    assert ours.exists()
