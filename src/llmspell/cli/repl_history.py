"""Input history in SQLite, for the line editor and for `.history`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from llmspell.errors import StorageFailure

_SCHEMA = "CREATE TABLE IF NOT EXISTS input (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, text TEXT NOT NULL)"


class SqliteHistory(History):
    """The last `limit` inputs of all REPLs. A line that starts with a blank is not kept; secrets are redacted."""

    def __init__(self, path: Path | None, *, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._db: sqlite3.Connection | None = None
        if path is not None and limit > 0:
            self._db = _open(path)

    def load_history_strings(self) -> Iterable[str]:
        """Yield inputs, newest first."""
        return reversed(self.entries())

    def store_string(self, string: str) -> None:
        """Keep an input, unless it repeats the last one or starts with a blank."""
        from llmspell.security.redact import Redactor

        if self._db is None or not string.strip() or string[0] in " \t":
            return
        text = Redactor().redact(string)
        last = self._db.execute("SELECT text FROM input ORDER BY id DESC LIMIT 1").fetchone()
        if last is not None and last[0] == text:
            return
        with self._db:
            self._db.execute("INSERT INTO input (at, text) VALUES (unixepoch(), ?)", (text,))
            self._db.execute(
                "DELETE FROM input WHERE id <= (SELECT id FROM input ORDER BY id DESC LIMIT 1 OFFSET ?)", (self._limit,)
            )

    def entries(self) -> list[str]:
        """Return all kept inputs, oldest first."""
        if self._db is None:
            return []
        return [row[0] for row in self._db.execute("SELECT text FROM input ORDER BY id")]

    def clear(self) -> None:
        """Erase everything, in memory and on disk."""
        self._loaded_strings.clear()
        if self._db is not None:
            with self._db:
                self._db.execute("DELETE FROM input")
            self._db.execute("VACUUM")

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(path, timeout=5, check_same_thread=False)
        db.execute(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailure(
            f"cannot use the history {path}: {error}; use --no-history or --history FILE", details={"path": str(path)}
        ) from error
    return db
