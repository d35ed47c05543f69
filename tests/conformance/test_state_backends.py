"""What every state backend must do; a new backend is added to the registry and runs here unchanged."""

import errno
import os
import threading

import pytest

from llmspell.errors import Conflict, CorruptData, StorageError, StorageFailure
from llmspell.state.backends._base import Expect, Op, Row, after
from llmspell.state.store import BACKENDS

ALL = BACKENDS.names(outside=False)
PERSISTENT = [name for name in ALL if "persistent" in BACKENDS.get(name).Backend.features]


@pytest.fixture(params=ALL)
def backend(request, tmp_path):
    made = BACKENDS.get(request.param).Backend()
    made.open(str(tmp_path / "state" / "state.db"))
    yield made
    made.close()


def values(rows):
    return [(row.key, row.value) for row in rows]


def test_a_written_row_is_read_back_with_its_times_and_version(backend):
    assert backend.apply([Op(b"a", b"1")], 100) == [1]
    assert backend.apply([Op(b"a", b"2", 900)], 200) == [2]
    row = backend.get_many([b"a", b"b"])
    assert row[1] is None
    assert row[0][:6] == (b"a", b"2", 2, 100, 200, 900)


def test_a_deleted_key_leaves_a_tombstone_and_its_version_goes_on(backend):
    backend.apply([Op(b"a", b"1")], 1)
    backend.apply([Op(b"a", None)], 2)
    assert backend.get_many([b"a"])[0].value is None
    assert backend.apply([Op(b"a", b"3")], 5) == [3]
    assert backend.get_many([b"a"])[0].created == 5


def test_an_expired_row_is_made_anew_when_written_again(backend):
    backend.apply([Op(b"a", b"1", 10)], 1)
    backend.apply([Op(b"a", b"2")], 20)
    assert backend.get_many([b"a"])[0][2:6] == (2, 20, 20, None)


def test_a_scan_is_in_byte_order_and_ends_before_the_high_key(backend):
    keys = [b"p:b", b"p:a", b"p:\xc3\xbc", b"q", b"p:a\0", b"o"]
    backend.apply([Op(key, key) for key in keys], 1)
    assert [row.key for row in backend.scan(b"p:", after(b"p:"))] == [b"p:a", b"p:a\0", b"p:b", b"p:\xc3\xbc"]
    assert [row.key for row in backend.scan(b"", b"\xff", limit=2)] == [b"o", b"p:a"]
    assert list(backend.scan(b"x", b"y")) == []


def test_a_thousand_operations_are_one_commit(backend):
    ops = [Op(b"k%04d" % i, b"v") for i in range(1000)]
    assert backend.apply(ops, 1) == [1] * 1000
    assert sum(1 for _ in backend.scan(b"k", b"l")) == 1000


def test_a_failed_expectation_writes_nothing(backend):
    backend.apply([Op(b"a", b"1")], 1)
    seen = backend.get_many([b"a"])[0]
    good = Expect(b"a", b"a\0", (seen.stamp,))
    absent = Expect(b"b", b"b\0", ())
    assert backend.apply([Op(b"a", b"2"), Op(b"b", b"1")], 2, expect=[good, absent]) == [2, 1]
    with pytest.raises(Conflict):
        backend.apply([Op(b"c", b"1"), Op(b"a", b"3")], 3, expect=[good])
    with pytest.raises(Conflict):
        backend.apply([Op(b"c", b"1")], 3, expect=[absent])
    assert backend.get_many([b"a", b"c"])[1] is None
    assert backend.get_many([b"a"])[0].value == b"2"


def test_an_expected_range_notices_a_key_that_came_and_one_that_went(backend):
    backend.apply([Op(b"r1", b"1"), Op(b"r2", b"1")], 1)
    seen = Expect(b"r", b"s", tuple(row.stamp for row in backend.scan(b"r", b"s")))
    backend.apply([Op(b"x", b"1")], 2, expect=[seen])
    backend.apply([Op(b"r3", b"1")], 2)
    with pytest.raises(Conflict):
        backend.apply([Op(b"x", b"2")], 3, expect=[seen])


def test_an_edit_that_raises_writes_nothing_and_the_backend_goes_on(backend):
    def compute(_rows):
        raise KeyError("x")

    with pytest.raises(KeyError):
        backend.edit([b"a"], compute, 1)
    assert backend.edit([b"a"], lambda rows: [Op(b"a", b"1")] if rows == [None] else [], 1) == [1]


def test_edits_of_many_threads_lose_nothing(backend):
    def count(rows):
        old = 0 if rows[0] is None else int(rows[0].value)
        return [Op(b"n", b"%d" % (old + 1))]

    def work():
        for _ in range(50):
            backend.edit([b"n"], count, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.get_many([b"n"])[0].value == b"200"


def test_a_snapshot_does_not_see_later_writes_and_blocks_none(backend):
    backend.apply([Op(b"a", b"1"), Op(b"b", b"1"), Op(b"d", b"1")], 1)
    with backend.snapshot() as view:
        backend.apply([Op(b"a", b"2"), Op(b"c", b"1"), Op(b"d", None)], 2)
        assert values(view.scan(b"", b"\xff")) == [(b"a", b"1"), (b"b", b"1"), (b"d", b"1")]
        assert view.get_many([b"c", b"a"])[0] is None
        backend.apply([Op(b"a", b"3")], 3)
        assert view.get_many([b"a"])[0].value == b"1"
    assert backend.get_many([b"a"])[0].value == b"3"
    with backend.snapshot() as view:
        assert view.get_many([b"a"])[0].value == b"3"


def test_changes_since_a_mark_are_exactly_the_later_writes(backend):
    backend.apply([Op(b"a", b"1"), Op(b"b", b"1")], 1)
    mark = backend.mark()
    backend.apply([Op(b"b", None), Op(b"c", b"1")], 2)
    with backend.snapshot() as view:
        assert sorted(values(view.changes(mark))) == [(b"b", None), (b"c", b"1")]
    assert backend.mark() >= mark


def test_expired_keys_are_found_and_tombstones_are_not(backend):
    backend.apply([Op(b"a", b"1", 10), Op(b"b", b"1", 99), Op(b"c", b"1"), Op(b"d", b"1", 10)], 1)
    backend.apply([Op(b"d", None)], 2)
    assert backend.expired(50, 10) == [b"a"]


def test_replacing_everything_makes_other_keys_tombstones(backend):
    backend.apply([Op(b"a", b"1"), Op(b"b", b"1")], 1)
    mark = backend.mark()
    rows = [Row(b"b", b"new", 7, 3, 4, None, 0), Row(b"z", b"z", 1, 3, 4, 500, 0)]
    assert backend.replace_all(rows, 9) == 2
    live = [row for row in backend.scan(b"", b"\xff") if row.value is not None]
    assert [row[:6] for row in live] == [row[:6] for row in rows]
    with backend.snapshot() as view:
        assert {row.key for row in view.changes(mark)} == {b"a", b"b", b"z"}


def test_replacing_a_range_leaves_the_rest(backend):
    backend.apply([Op(b"a1", b"1"), Op(b"b1", b"1"), Op(b"b2", b"1")], 1)
    backend.replace_all([Row(b"b2", b"2", 1, 1, 1, None, 0)], 9, ranges=[(b"b", b"c")])
    live = [row for row in backend.scan(b"", b"\xff") if row.value is not None]
    assert values(live) == [(b"a1", b"1"), (b"b2", b"2")]


def test_a_replacement_that_fails_half_way_changes_nothing(backend):
    backend.apply([Op(b"a", b"1")], 1)

    def broken():
        yield Row(b"b", b"1", 1, 1, 1, None, 0)
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError):
        backend.replace_all(broken(), 2)
    assert values(backend.scan(b"", b"\xff")) == [(b"a", b"1")]


def test_compacting_removes_tombstones_and_says_up_to_where(backend):
    backend.apply([Op(b"a", b"1"), Op(b"b", b"1")], 1)
    backend.apply([Op(b"a", None)], 2)
    mark = backend.mark()
    backend.compact(mark)
    assert [row.key for row in backend.scan(b"", b"\xff")] == [b"b"]
    assert backend.pruned == mark


def test_verify_and_stats_describe_the_store(backend):
    backend.apply([Op(b"a", b"1"), Op(b"b", b"1")], 1)
    backend.apply([Op(b"a", None)], 2)
    assert backend.verify().errors == []
    assert backend.stats()["entries"] == 1
    assert backend.stats()["bytes"] > 0


@pytest.fixture(params=PERSISTENT)
def persistent(request, tmp_path):
    return BACKENDS.get(request.param).Backend, tmp_path / "state" / "state.db"


def test_a_persistent_store_keeps_rows_and_identity_over_a_reopening(persistent):
    make, path = persistent
    first = make()
    first.open(str(path))
    first.apply([Op(b"a", b"1")], 1)
    identity = first.store_id
    first.close()
    first.close()
    second = make()
    second.open(str(path))
    assert second.get_many([b"a"])[0].value == b"1"
    assert second.store_id == identity
    second.close()


def test_files_are_private_from_the_moment_they_exist(persistent):
    make, path = persistent
    old = os.umask(0)
    try:
        backend = make()
        backend.open(str(path))
        backend.apply([Op(b"a", b"1")], 1)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}
        backend.close()
    finally:
        os.umask(old)


def test_two_connections_of_one_store_see_each_other_at_once(persistent):
    make, path = persistent
    one, two = make(), make()
    one.open(str(path))
    two.open(str(path))
    one.apply([Op(b"a", b"1")], 1)
    assert two.get_many([b"a"])[0].value == b"1"
    two.edit([b"a"], lambda rows: [Op(b"a", rows[0].value + b"2")], 2)
    assert one.get_many([b"a"])[0].value == b"12"
    one.close()
    two.close()


def test_a_file_that_is_no_store_is_reported_and_not_touched(persistent):
    make, path = persistent
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 100)
    before = path.read_bytes()
    with pytest.raises(CorruptData) as caught:
        make().open(str(path))
    assert caught.value.details["path"] == str(path)
    assert path.read_bytes() == before


def test_a_closed_store_refuses_with_a_storage_error(persistent):
    make, path = persistent
    backend = make()
    backend.open(str(path))
    backend.close()
    with pytest.raises(StorageError):
        backend.get_many([b"a"])
    with pytest.raises(StorageError):
        backend.apply([Op(b"a", b"1")], 1)


def test_a_place_that_cannot_be_made_is_a_failure_with_its_errno(persistent, tmp_path):
    make, _ = persistent
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailure) as caught:
        make().open(str(tmp_path / "file" / "state.db"))
    assert caught.value.details["errno"] in (errno.ENOTDIR, errno.EEXIST)


def test_a_symbolic_link_in_place_of_the_file_leads_nowhere(persistent, tmp_path):
    make, path = persistent
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StorageError):
        make().open(str(path))
    assert not (tmp_path / "elsewhere.db").exists()
