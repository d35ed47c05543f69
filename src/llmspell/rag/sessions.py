"""Collections of sessions: a scope `session:<id>` with a time to live, a limit, and a life for what is put in.

They are written as notes of the default collection, so that they outlive the process like the documents do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, LimitExceeded

if TYPE_CHECKING:
    from llmspell.vectors.collection import Collection

PREFIX = "session:"
MAX_SESSIONS = 1000
DEFAULT_TTL_S = 3600


def check_id(session: Any) -> str:
    """Return the id of a session. Raises InvalidArgument."""
    if not isinstance(session, str) or not session or len(session) > 200 or not session.isprintable():
        raise InvalidArgument(
            "the id of a session is a text of 1 to 200 printable characters", details={"name": "session"}
        )
    return session


def seconds(value: Any, name: str) -> int | float | None:
    """Return a length of time, None for endless. Raises InvalidArgument."""
    if value is None or value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise InvalidArgument(
            f"{name} is a number of seconds above 0, got {value!r}", details={"name": name, "value": value}
        )
    return value


def find(collection: Collection, session: str) -> dict[str, Any] | None:
    """Return what is recorded of a session. One that expired is removed with its documents."""
    record: dict[str, Any] | None = collection.notes(PREFIX + session).get(PREFIX + session)
    if record is not None and record.get("expires_at") is not None and record["expires_at"] <= time.time():
        remove(collection, session)
        return None
    return record


def write(collection: Collection, session: str, record: dict[str, Any]) -> None:
    """Record a session. Raises LimitExceeded beyond a thousand."""
    known = collection.notes(PREFIX)
    if PREFIX + session not in known and len(known) >= MAX_SESSIONS:
        for name in list(known):
            find(collection, name.removeprefix(PREFIX))
        used = len(collection.notes(PREFIX))
        if used >= MAX_SESSIONS:
            raise LimitExceeded(
                f"at most {MAX_SESSIONS} session collections: clean up a scope first",
                details={"resource": "session_collections", "limit": MAX_SESSIONS, "used": used},
            )
    collection.set_note(PREFIX + session, record)


def remove(collection: Collection, session: str) -> None:
    """Forget a session and its documents."""
    collection.delete_scope(f"session:{session}")
    collection.set_note(PREFIX + session, None)


def remove_passing(collection: Collection) -> None:
    """Forget the sessions that were not to persist, and those that expired."""
    for name, record in collection.notes(PREFIX).items():
        session = name.removeprefix(PREFIX)
        if record.get("persist") is False:
            remove(collection, session)
        else:
            find(collection, session)


def names(collection: Collection) -> list[str]:
    """Return the ids of the sessions with a collection."""
    return [name.removeprefix(PREFIX) for name in collection.notes(PREFIX)]
