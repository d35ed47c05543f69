"""The audit trail: what is written, found again, and that any edit or gap shows."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from llmspell.errors import CorruptData
from llmspell.security import AccessPolicies, AuditLog, OwnerPolicy, SecurityContext, TenantPolicy

ACME = SecurityContext(principal="bot", tenant_id="acme", correlation_id="c-1")


@pytest.fixture
def log(tmp_path):
    found = AuditLog(tmp_path / "audit")
    yield found
    found.close()


def lines_of(log):
    (path,) = log._files()
    return path, path.read_bytes().splitlines(keepends=True)


def fill(log, count=6):
    for number in range(count):
        log.append("AccessGranted" if number % 2 else "AccessDenied", principal=f"p{number}", tenant="acme")


def test_decisions_are_written_and_found_newest_first(log):
    access = AccessPolicies([TenantPolicy(), OwnerPolicy()], log=log)
    access.decide(ACME, "search", "tenant:acme/docs")
    access.decide(ACME, "search", "tenant:acme/docs")
    access.decide(ACME, "delete", "tenant:other/docs")
    events = access.audit()
    assert [(item.event, item.operation, item.resource, item.tenant) for item in events] == [
        ("AccessDenied", "delete", "tenant:other/docs", "other"),
        ("AccessGranted", "search", "tenant:acme/docs", "acme"),
        ("AccessGranted", "search", "tenant:acme/docs", "acme"),
    ]
    assert (events[0].policy, events[0].decision, events[0].correlation_id) == ("tenant", "deny", "c-1")
    assert log.verify().ok


def test_events_are_found_by_field_time_and_page(log):
    fill(log)
    now = time.time()
    assert [item.principal for item in log.query(principal="p3")] == ["p3"]
    assert [item.seq for item in log.query(event="AccessDenied")] == [5, 3, 1]
    assert [item.seq for item in log.query(limit=2)] == [6, 5]
    assert [item.seq for item in log.query(limit=2, after=5)] == [4, 3]
    assert log.query(tenant="acm") == []
    assert len(log.query(since=now - 60, until=now + 60)) == 6
    assert log.query(since="2100-01-01T00:00:00Z") == []
    assert log.query(until=now - 3600) == []


def edited(lines):
    return [lines[0], lines[1].replace(b"p1", b"p9"), *lines[2:]]


def rehashed(lines):
    from llmspell.security.audit import _TAIL, _hash

    body = lines[1][: -_TAIL - 1].replace(b"p1", b"p9") + b"}"
    return [lines[0], body[:-1] + b',"hash":"' + _hash(body).hex().encode() + b'"}\n', *lines[2:]]


@pytest.mark.parametrize(
    "change",
    [
        edited,
        rehashed,
        lambda lines: lines[:2] + lines[3:],
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:3], lines[2], *lines[3:]],
        lambda lines: [],
    ],
    ids=["edited", "edited with a new hash", "hole", "first gone", "last gone", "swapped", "doubled", "emptied"],
)
def test_an_edit_or_a_gap_is_found(log, change):
    fill(log)
    assert log.verify().ok
    path, lines = lines_of(log)
    path.write_bytes(b"".join(change(lines)))
    report = log.verify()
    assert not report.ok
    assert report.problem


def test_every_changed_byte_is_found(log):
    fill(log, 2)
    path, _ = lines_of(log)
    data = path.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert not log.verify().ok, place


def test_a_missing_head_is_found(log):
    fill(log)
    (log.folder / "head").unlink()
    assert not log.verify().ok
    (log.folder / "head").write_bytes(b"nonsense" * 40)
    with pytest.raises(CorruptData):
        AuditLog(log.folder).append("AccessDenied")


def test_a_torn_last_line_is_cut_and_kept_aside(log):
    fill(log)
    log.close()
    path, lines = lines_of(log)
    path.write_bytes(b"".join(lines) + lines[0][:20])
    fresh = AuditLog(log.folder)
    fresh.append("AccessDenied", principal="later")
    assert fresh.verify().events == 7
    assert [item.name for item in log.folder.glob("*.torn-*")]
    fresh.close()


def test_a_line_written_just_before_a_kill_is_taken_in(log):
    fill(log)
    log.close()
    head = (log.folder / "head").read_bytes()
    log.append("AccessDenied", principal="last")
    log.close()
    (log.folder / "head").write_bytes(head)
    log.append("AccessDenied", principal="next")
    assert [item.principal for item in log.query(limit=2)] == ["next", "last"]
    assert log.verify().ok


def test_days_beyond_the_retention_go_and_the_rest_still_verifies(log, monkeypatch):
    real = time.time()
    for days in (0, 1, 95):
        monkeypatch.setattr(time, "time", lambda days=days: real + days * 86_400)
        fill(log, 2)
    assert len(log._files()) == 1
    assert log.verify().events == 2
    assert log.query()[-1].seq == 5
    log._files()[0].unlink()
    assert not log.verify().ok


def test_the_clock_set_back_does_not_split_the_chain(log, monkeypatch):
    real = time.time()
    fill(log, 2)
    monkeypatch.setattr(time, "time", lambda: real - 3 * 86_400)
    fill(log, 2)
    assert len(log._files()) == 1
    assert log.verify().events == 4


def test_threads_and_processes_share_one_chain(log):
    program = (
        "import sys, pathlib\nfrom llmspell.security import AuditLog\nlog = AuditLog(pathlib.Path(sys.argv[1]))\n"
        "for n in range(50): log.append('AccessGranted', principal=sys.argv[2])\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program, str(log.folder), f"c{n}"]) for n in range(2)]
    threads = [threading.Thread(target=fill, args=(log, 20)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait() for child in children] == [0, 0]
    report = log.verify()
    assert (report.ok, report.events) == (True, 160), report.problem


def test_files_are_the_owners_alone(log):
    fill(log, 1)
    assert stat.S_IMODE(os.stat(log.folder).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in log.folder.iterdir()} == {0o600}


def test_grants_are_sampled_and_roles_that_open_a_tenant_never_left_out(log):
    access = AccessPolicies([TenantPolicy(), OwnerPolicy()], log=log, grant_sample=0.0)
    access.decide(SecurityContext(principal="local"), "search", "global")
    access.decide(ACME, "search", "tenant:acme/docs")
    access.decide(SecurityContext(principal="root", roles=("admin",)), "search", "tenant:acme/docs")
    access.decide(ACME, "search", "global")
    assert [(item.event, item.principal) for item in log.query()] == [
        ("AccessDenied", "bot"),
        ("AccessGranted", "root"),
    ]


def test_many_denials_of_one_principal_are_suspicious_once_a_minute(log):
    access = AccessPolicies([TenantPolicy()], log=log)
    for number in range(15):
        access.decide(ACME, "search", f"tenant:t{number}/docs")
    assert [item.principal for item in log.query(event="SuspiciousActivity")] == ["bot"]
    assert len(log.query(event="AccessDenied")) == 15


def test_changes_of_policies_are_written(log):
    access = AccessPolicies(log=log)
    access.add(TenantPolicy())
    access.remove("tenant")
    assert [(item.policy, item.reason) for item in log.query(event="ConfigurationChanged")] == [
        ("tenant", "policy removed"),
        ("tenant", "policy added"),
    ]


def test_a_head_spoiled_in_the_middle_of_a_write_costs_nothing(log):
    fill(log)
    log.close()
    head = (log.folder / "head").read_bytes()
    half = len(head) // 2
    for start in (0, half):
        spoiled = bytearray(head)
        spoiled[start + 40 : start + 60] = b"x" * 20
        (log.folder / "head").write_bytes(spoiled)
        log.append("AccessDenied", principal="next")
        assert log.verify().ok
        log.close()
