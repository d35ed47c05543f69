"""`Meter`: counters that cost one small write each, and survive the process.

Every process appends lines to a file of its own and holds a lock on it as long as it writes there. Anybody folds all
files into the table `usage`, in the transaction that also notes how far each was read, so that no line counts twice.
A second file, locked as long as the process lives, tells whether the owner of a reservation does.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

from llmspell.base.files import os_error
from llmspell.base.ids import short

PERIODS_KEPT = 24
_PREFIX = "usage-"
_LIVE = "live-"
_ROTATE = 1 << 20
_MONTHS_PER_YEAR = 12


def period_of(epoch: float | None = None) -> str:
    """Return the month of a time, such as `2026-01`; default: now."""
    return time.strftime("%Y-%m", time.gmtime(time.time() if epoch is None else epoch))


def oldest_kept(period: str) -> str:
    """Return the first month that is kept in `period`."""
    months = int(period[:4]) * _MONTHS_PER_YEAR + int(period[5:]) - 1 - (PERIODS_KEPT - 1)
    return f"{months // _MONTHS_PER_YEAR:04d}-{months % _MONTHS_PER_YEAR + 1:02d}"


class Meter:
    """The counters of this process, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # protects the descriptors
        self._fd = self._live = -1
        self._size = 0
        self._owner = ""
        self._second = (0, "")
        self._name = ""

    @property
    def owner(self) -> str:
        """The name that reservations of this process carry."""
        with self._lock:
            if self._live < 0:
                self._owner = f"{_LIVE}{short(16)}.lock"
                self._live = self._locked(self._owner)
        return self._owner

    def _locked(self, name: str) -> int:
        """Make a file. It is locked before it has its name, so that nobody takes it for one of the dead."""
        temporary = self._folder / f"{name}.new"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            temporary.rename(self._folder / name)
        except OSError as error:
            raise os_error(error, str(temporary)) from error
        return fd

    def add(self, tenant: str, **amounts: int) -> None:
        """Count. Raises StorageFull, StorageFailure."""
        now = int(time.time())
        if self._second[0] != now:
            self._second = (now, period_of(now))
        counts = " ".join([f"{name}={amount}" for name, amount in amounts.items() if amount])
        line = f"{tenant} {self._second[1]} {counts}\n".encode()
        with self._lock:
            if self._fd < 0:
                name = f"{_PREFIX}{short(16)}.log"
                self._fd, self._name, self._size = self._locked(name), name, 0
            try:
                os.write(self._fd, line)
            except OSError as error:
                raise os_error(error, str(self._folder / self._name)) from error
            self._size += len(line)

    @property
    def is_long(self) -> bool:
        """Whether it is time to fold."""
        return self._size > _ROTATE

    def fold(self, connection: sqlite3.Connection) -> list[Path]:
        """Add what all processes counted to the table, inside the caller's transaction; return files to `discard`."""
        seen = dict(connection.execute("SELECT file, size FROM folded").fetchall())
        sums: Counter[tuple[str, str, str]] = Counter()
        finished = []
        present = set()
        for path in sorted(self._folder.glob(f"{_PREFIX}*.log")):
            present.add(path.name)
            if path.name != self._name and _is_dead(path):
                finished.append(path)
            size = _read(path, seen.get(path.name, 0), sums)
            if size != seen.get(path.name, 0):
                connection.execute("INSERT OR REPLACE INTO folded VALUES (?, ?)", (path.name, size))
        owners = {row[0] for row in connection.execute("SELECT owner FROM reservations").fetchall()}
        finished += [
            path
            for path in self._folder.glob(f"{_LIVE}*.lock")
            if path.name not in owners and not self.is_alive(path.name)
        ]
        for name in seen.keys() - present:
            connection.execute("DELETE FROM folded WHERE file = ?", (name,))
        connection.executemany(ADD, [(*key, amount) for key, amount in sums.items()])
        now = time.time()
        for tenant in {key[0] for key in sums}:
            connection.execute("UPDATE tenants SET accessed = ? WHERE id = ?", (now, tenant))
        return finished

    def discard(self, finished: list[Path]) -> None:
        """Remove files of ended processes, after the transaction that folded them; begin anew where ours is long."""
        for path in finished:
            path.unlink(missing_ok=True)
        with self._lock:
            if self._fd >= 0 and self._size > _ROTATE:
                os.close(self._fd)
                self._fd, self._name, self._size = -1, "", 0

    def is_alive(self, owner: str) -> bool:
        """Tell whether the process that owns a reservation lives."""
        return owner == self._owner or not _is_dead(self._folder / owner)

    def close(self) -> bool:
        """Let go of the files, which the next fold removes; tell whether there were any."""
        with self._lock:
            used = self._fd >= 0 or self._live >= 0
            for fd in (self._fd, self._live):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._live = -1
            self._name = self._owner = ""
        return used


ADD = """INSERT INTO usage(tenant, period, name, amount) SELECT ?1, ?2, ?3, ?4
WHERE EXISTS (SELECT 1 FROM tenants WHERE id = ?1)
ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"""


def _is_dead(path: Path) -> bool:
    """Whether nobody holds the file; a file that just went away was folded by somebody else."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _read(path: Path, start: int, sums: Counter[tuple[str, str, str]]) -> int:
    """Add the whole lines from `start` to the sums; return where they end."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    except FileNotFoundError:
        return start
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode("ascii", "replace").splitlines():
        tenant, period, *amounts = line.split(" ")
        for item in amounts:
            name, _, amount = item.partition("=")
            if amount.lstrip("-").isdigit():
                sums[tenant, period, name] += int(amount)
    return start + len(whole)
