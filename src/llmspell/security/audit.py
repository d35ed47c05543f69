"""`AuditLog`: what was decided and changed, one JSON line per event, each with the hash of the one before.

    <folder>/2026-01-31.jsonl   the events of a day; the last member of a line is its hash
    <folder>/head               where the chain begins and ends: numbers, hashes, file and its size; mapped, two
                                copies with checksums, written in turn, so that a kill spoils one at most

Any number of threads and processes append; a lock on `head` gives their lines one order. A line is written by one
call, so a killed process leaves whole lines. `verify` finds a changed, missing, moved or added line, also at both ends.
The chain has no key: it shows damage and careless edits, not the work of somebody who may write both files and
recomputes it. Source of the construction: Schneier and Kelsey 1999, "Secure audit logs to support computer forensics".
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from blake3 import blake3

from llmspell.base.clock import rfc3339
from llmspell.base.files import os_error
from llmspell.errors import CorruptData, InvalidArgument

HEAD = "head"
DAY_SECONDS = 86_400
LIGHT = frozenset(("AccessGranted", "RateLimitExceeded"))
"""Events that outlive the process but are not waited for at the disk; every other one is."""
_FORM = Struct("<8sQQQQ32s32s16s")
_SLOT = _FORM.size + 4
_HEAD_SIZE = 2 * _SLOT + 1  # the last byte tells that a line is being written
_MAGIC = b"LSAUDIT1"
_HASH = 64
_TAIL = len(b',"hash":""}') + _HASH
_ZERO = bytes(_HASH // 2)


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. seq: counts from 1 without gaps. time: RFC 3339. prev, hash: BLAKE3 of the line before and of this."""

    seq: int
    time: str
    event: str
    principal: str | None = None
    tenant: str | None = None
    operation: str | None = None
    resource: str | None = None
    decision: str | None = None
    policy: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    prev: str = _ZERO.hex()
    hash: str = ""


class _Head(NamedTuple):
    """first, prev: number of the oldest event kept and the hash before it. seq, hash: of the newest; file, its size."""

    turn: int = 0
    first: int = 1
    seq: int = 0
    size: int = 0
    prev: bytes = _ZERO
    hash: bytes = _ZERO
    file: str = ""

    def packed(self) -> bytes:
        """Return its bytes."""
        data = _FORM.pack(_MAGIC, *self[:-1], self.file.encode())
        return data + crc32(data).to_bytes(4, "little")


class AuditReport(msgspec.Struct, frozen=True):
    """What `verify` found: events that are whole, and the first problem."""

    ok: bool
    events: int
    problem: str | None = None
    seq: int | None = None


class AuditLog:
    """The trail in a folder, made at the first event. retention_days: older files of days are removed."""

    def __init__(self, folder: Path, *, retention_days: int = 90) -> None:
        self.folder = folder
        self._retention = retention_days
        self._lock = threading.Lock()  # protects the descriptors and _head
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._lock_fd = -1
        self._open_name = ""
        self._head = _Head()
        self._raw = b""

    def append(self, event: str, **facts: str | None) -> None:
        """Write one event. facts: the other fields of AuditEvent; None leaves one out.

        Denials and changes are on the disk at return, grants outlive the process. Raises StorageFull, StorageFailure.
        """
        self.append_frame(self.frame(event, facts), synced=event not in LIGHT)

    @staticmethod
    def frame(event: str, facts: Mapping[str, str | None]) -> bytes:
        """Return the members of an event that do not change when it happens again, as its line has them."""
        record = AuditEvent(seq=0, time="", event=event, **facts)  # type: ignore[arg-type]  # texts
        return msgspec.json.encode(record)[len(b'{"seq":0,"time":"",') : -1]

    def append_frame(self, members: bytes, *, synced: bool) -> None:
        """Write one event given as `frame` makes it; synced: on the disk at return."""
        with self._lock:
            if self._map is None:
                self._open()
            assert self._map is not None
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                text = rfc3339()
                self._settle(text)
                _, first, seq, size, prev, newest, file = head = self._head
                body = b'{"seq":%d,"time":"%s",%s,"prev":"%s"}' % (
                    seq + 1, text.encode(), members, newest.hex().encode(),
                )  # fmt: skip
                found = blake3(body).digest()
                line = b'%s,"hash":"%s"}\n' % (body[:-1], found.hex().encode())
                self._map[-1] = 1
                _write(self._fd, line, self.folder)
                self._keep(_Head(head.turn, first, seq + 1, size + len(line), prev, found, file))
                self._map[-1] = 0
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            if synced:
                os.fdatasync(self._fd)

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = os.open(self.folder / HEAD, os.O_RDWR | os.O_CREAT, 0o600)
            if os.fstat(self._lock_fd).st_size < _HEAD_SIZE:
                os.ftruncate(self._lock_fd, _HEAD_SIZE)
            self._map = mmap.mmap(self._lock_fd, _HEAD_SIZE)
        except OSError as error:
            raise os_error(error, str(self.folder)) from error

    def _settle(self, now: str) -> None:
        """Take what other processes wrote, and the file of today."""
        assert self._map is not None
        if self._fd < 0 or self._map[:] != self._raw:
            self._reload()
        if now[:10] > self._head.file[:10]:
            self._begin(f"{now[:10]}.jsonl")

    def _reload(self) -> None:
        assert self._map is not None
        self._head = _read_head(self.folder, self._map[: 2 * _SLOT])
        self._map[-1] = 0
        self._raw = self._map[:]
        if not self._head.file:
            return
        self._take(self._head.file)
        size = os.fstat(self._fd).st_size
        if size > self._head.size:
            self._recover(size)

    def _recover(self, size: int) -> None:
        """Take in the lines written after `head` by a process that was killed in between; cut a torn last one."""
        head = self._head
        data = os.pread(self._fd, size - head.size, head.size)
        whole, _, torn = data.rpartition(b"\n")
        for line in whole.split(b"\n") if whole else ():
            record = _parsed(line)
            if record is None or record.prev != head.hash.hex():
                break  # an edit: verify will name it
            head = head._replace(seq=record.seq, hash=bytes.fromhex(record.hash), size=head.size + len(line) + 1)
        if torn and head.size + len(torn) == size:
            path = self.folder / f"{head.file}.torn-{time.time_ns()}"
            path.touch(mode=0o600)
            path.write_bytes(torn)
            os.ftruncate(self._fd, head.size)
        self._keep(head._replace(size=os.fstat(self._fd).st_size))

    def _keep(self, head: _Head) -> None:
        assert self._map is not None
        self._head = head = _Head(head.turn + 1, *head[1:])
        start = head.turn % 2 * _SLOT
        self._map[start : start + _SLOT] = head.packed()
        self._raw = self._map[:-1] + b"\0"

    def _take(self, name: str) -> None:
        if name == self._open_name and self._fd >= 0:
            return
        try:
            fd = os.open(self.folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise os_error(error, str(self.folder / name)) from error
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._open_name = fd, name

    def _begin(self, name: str) -> None:
        """Start the file of a day, after those beyond the retention are gone."""
        self._take(name)
        head = self._head._replace(file=name, size=0)
        oldest = f"{rfc3339(time.time() - self._retention * DAY_SECONDS)[:10]}.jsonl"
        for path in [path for path in self._files() if path.name < oldest]:
            record = _parsed(path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2])
            if record is not None:
                head = head._replace(first=record.seq + 1, prev=bytes.fromhex(record.hash))
            path.unlink()
        self._keep(head)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("????-??-??.jsonl"))

    def query(
        self,
        *,
        principal: str | None = None,
        tenant: str | None = None,
        event: str | None = None,
        since: Any = None,
        until: Any = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[AuditEvent]:
        """Return events, newest first. since, until: half-open, datetime, seconds, RFC 3339. after: below that seq."""
        begin, end = _moment(since), _moment(until)
        wanted = {"principal": principal, "tenant": tenant, "event": event}
        texts = [msgspec.json.encode(value) for value in wanted.values() if value is not None]
        found: list[AuditEvent] = []
        for path in reversed(self._files()):
            day = path.name[:10]
            if (end and day > end[:10]) or (begin and day < begin[:10]):
                continue
            for line in reversed(path.read_bytes().split(b"\n")):
                if len(found) >= limit:
                    return found
                if not line or not all(text in line for text in texts):
                    continue
                record = _parsed(line)
                if record is None or (after is not None and record.seq >= after):
                    continue
                fits = all(value is None or getattr(record, name) == value for name, value in wanted.items())
                if fits and (not begin or record.time >= begin) and (not end or record.time < end):
                    found.append(record)
        return found

    def verify(self) -> AuditReport:
        """Read the whole trail and return the first edit or gap, if there is one."""
        if not (self.folder / HEAD).exists():
            left = self._files()
            return AuditReport(not left, 0, f"{HEAD} is missing beside {left[0].name}" if left else None)
        with self._lock:
            if self._map is None:
                self._open()
            assert self._map is not None
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                head = _read_head(self.folder, self._map[: 2 * _SLOT])
                files = self._files()
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
        number, before, count = head.first, head.prev.hex(), 0
        for path in files:
            data = path.read_bytes()
            for line in data[: head.size if path.name == head.file else None].removesuffix(b"\n").split(b"\n"):
                problem = _problem(line, number, before) if line else None
                if problem is not None:
                    return AuditReport(False, count, f"{path.name}: {problem}", number)
                if line:
                    record = msgspec.json.decode(line, type=AuditEvent)
                    number, before, count = number + 1, record.hash, count + 1
        if (number - 1, before) != (head.seq, head.hash.hex()):
            return AuditReport(False, count, f"the trail ends at {number - 1}, not at {head.seq}", number)
        return AuditReport(True, count)

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        with self._lock:
            for fd in (self._fd, self._lock_fd):
                if fd >= 0:
                    os.close(fd)
            if self._map is not None:
                self._map.close()
            self._fd = self._lock_fd = -1
            self._map = None
            self._open_name = ""


def _read_head(folder: Path, data: bytes) -> _Head:
    slots = [data[start : start + _SLOT] for start in (0, _SLOT)]
    whole = [slot[:-4] for slot in slots if crc32(slot[:-4]).to_bytes(4, "little") == slot[-4:]]
    heads = [_FORM.unpack(slot)[1:] for slot in whole if slot.startswith(_MAGIC)]
    if not heads and not data.strip(b"\0"):
        return _Head()
    if not heads:
        raise CorruptData(
            f"{folder / HEAD} is damaged: move the folder away to begin a new audit trail",
            details={"path": str(folder / HEAD), "section": "head", "offset": 0},
        )
    *fields, file = max(heads)
    return _Head._make([*fields, file.rstrip(b"\0").decode("ascii", "replace")])


def _hash(body: bytes) -> bytes:
    return blake3(body).digest()


def _write(fd: int, line: bytes, path: Path) -> None:
    try:
        written = os.write(fd, line)
        if written < len(line):
            os.ftruncate(fd, os.fstat(fd).st_size - written)
            raise OSError(28, "No space left on device")
    except OSError as error:
        raise os_error(error, str(path)) from error


def _parsed(line: bytes) -> AuditEvent | None:
    """Return the event of a line whose hash is right, else None."""
    if len(line) <= _TAIL or line[-2 - _HASH : -2] != _hash(line[:-_TAIL] + b"}").hex().encode():
        return None
    try:
        return msgspec.json.decode(line, type=AuditEvent)
    except msgspec.DecodeError:
        return None


def _problem(line: bytes, number: int, before: str) -> str | None:
    record = _parsed(line)
    if record is None:
        return f"event {number} was changed"
    if record.seq != number:
        return f"event {number} is missing: {record.seq} stands in its place"
    return None if record.prev == before else f"event {number} does not follow the one before"


def _moment(value: Any) -> str:
    """Return a time as events write it, "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        from llmspell.base.times import parse_time

        return rfc3339(parse_time(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return rfc3339(value)
    try:
        return rfc3339(value.timestamp())
    except AttributeError as error:
        raise InvalidArgument(
            f"expected a time, got {value!r}", details={"name": "since, until", "value": repr(value)}
        ) from error
