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
    """Return what is recorded of a session, expired or not."""
    record: dict[str, Any] | None = collection.note(PREFIX + session)
    return record


def is_over(record: dict[str, Any]) -> bool:
    """Tell whether a session expired."""
    return record.get("expires_at") is not None and record["expires_at"] <= time.time()


def expired(collection: Collection) -> list[str]:
    """Return the ids of the sessions that expired."""
    return [name.removeprefix(PREFIX) for name, record in collection.notes(PREFIX).items() if is_over(record)]


def passing(collection: Collection) -> list[str]:
    """Return the ids of the sessions that are not to outlive the process."""
    notes = collection.notes(PREFIX).items()
    return [name.removeprefix(PREFIX) for name, record in notes if record.get("persist") is False]


def write(collection: Collection, session: str, record: dict[str, Any], *, most: int) -> None:
    """Record a session. most: sessions at once; beyond them it raises LimitExceeded."""
    if find(collection, session) is None:
        used = len(collection.notes(PREFIX))
        if used >= most:
            raise LimitExceeded(
                f"at most {most} session collections (rag.sessions.max_collections): clean up a scope first",
                details={"resource": "session_collections", "limit": most, "used": used},
            )
    collection.set_note(PREFIX + session, record)


def remove(collection: Collection, session: str) -> None:
    """Forget a session."""
    if find(collection, session) is not None:
        collection.set_note(PREFIX + session, None)


def names(collection: Collection) -> list[str]:
    """Return the ids of the sessions with a collection."""
    return [name.removeprefix(PREFIX) for name in collection.notes(PREFIX)]
