"""Collections of sessions of a `Rag`: made, configured, looked up."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument
from llmspell.rag import sessions
from llmspell.rag.collections import Collections
from llmspell.rag.place import SESSION_COLLECTION, Place

if TYPE_CHECKING:
    from llmspell.tenancy import Reservation
    from llmspell.vectors.collection import Collection

DEFAULT: Any = object()  # stands for what the configuration says


class SessionCollections(Collections):
    """Scopes `session:<id>` of the default collection, with a life and a limit. Their records: `sessions`."""

    def _base(self) -> Collection:
        return self._made(self.config.default_collection)[0]

    def _session(self, where: Place) -> dict[str, Any]:
        """Return what is recorded of the session of a place, empty for any other place."""
        session = where.scope.removeprefix(sessions.PREFIX)
        return (self._session_record(session) if session != where.scope else None) or {}

    def _write(self, base: Collection, session: str, record: dict[str, Any]) -> None:
        self.sweep_sessions()
        sessions.write(base, session, record, most=self.config.sessions_max_collections)

    def _room_for(self, where: Place, old: dict[str, Any] | None) -> Reservation | None:
        return None if old else self._reserve(where, {"sessions": 1})

    def create_session_collection(
        self, session_id: str, ttl: float | None = DEFAULT, *, max_vectors: int | None = None
    ) -> dict[str, Any]:
        """Make the collection of a session. ttl: seconds, None for ever, without it the configured ones."""
        self._check_enabled()
        ttl = self.config.sessions_default_ttl_seconds if ttl is DEFAULT else ttl
        session, life = self._own_session(sessions.check_id(session_id)), sessions.seconds(ttl, "ttl")
        where = Place(self.config.default_collection, f"{sessions.PREFIX}{session}")
        self._enter("insert", where)
        base = self._base()
        old = self._session_record(session)
        expires = None if life is None else time.time() + life
        record = {**(old or {}), "ttl": life, "expires_at": expires, "max_vectors": _limit(max_vectors)}
        with self._room_for(where, old) or nullcontext():
            self._write(base, session, record)
        name = f"{SESSION_COLLECTION}{session_id}"
        return {"session_id": session_id, "namespace": name, "name": name, **record, "created": old is None}

    def configure_session(
        self,
        session_id: str,
        *,
        vector_ttl: float | None = DEFAULT,
        auto_ingest: bool = False,
        persist: bool = True,
        max_vectors: int | None = None,
    ) -> dict[str, Any]:
        """Say how long vectors of a session live, how many there may be, and whether they outlive the process.

        auto_ingest: what agents of the session are asked and answer becomes documents of it, see `Rag.keep_turn`.
        """
        self._check_enabled()
        session = self._own_session(sessions.check_id(session_id))
        where = Place(self.config.default_collection, f"{sessions.PREFIX}{session}")
        self._enter("insert", where)
        base = self._base()
        old = self._session_record(session)
        life = self.config.sessions_default_ttl_seconds if vector_ttl is DEFAULT else vector_ttl
        record = {
            "vector_ttl": sessions.seconds(life, "vector_ttl"),
            "persist": bool(persist),
            "auto_ingest": auto_ingest is True,
            "max_vectors": _limit(max_vectors),
        }
        with self._room_for(where, old) or nullcontext():
            self._write(base, session, {**(old or {}), **record})
        return {"session_id": session_id, **record, "configured": True}


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"max_vectors is a whole number above 0, got {value!r}", details={"name": "max_vectors"})
    return value
