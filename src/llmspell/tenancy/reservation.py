"""`Reservation`: what a batch will use, held for it from before it starts until it is settled or released."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from llmspell.base.ids import uuid4


class Keeper(Protocol):
    """Where reservations are kept."""

    def check_reserved(self, reservation: Reservation) -> None:
        """Raise AccessDenied when the reservation is no longer good."""

    def end_reserved(self, reservation: Reservation, used: Mapping[str, int]) -> None:
        """Give the reservation back and count what was used."""


class Reservation:
    """Amounts of one tenant. As a context manager it settles what it reserved, and releases after an exception.

    id: what the store of the rows notes beside them, so that rows and reservation are never counted twice.
    """

    def __init__(self, keeper: Keeper, tenant_id: str, amounts: Mapping[str, int]) -> None:
        self.id = uuid4()
        self.tenant_id = tenant_id
        self.amounts = dict(amounts)
        self._keeper = keeper
        self._ended = False

    def check(self) -> None:
        """Raise AccessDenied when the tenant was suspended or deleted since."""
        self._keeper.check_reserved(self)

    def settle(self, **used: int) -> None:
        """End with what was really used; counters of usage that were not reserved may be among it."""
        self._end(used)

    def release(self) -> None:
        """End with nothing used. Safe to call twice."""
        self._end({})

    def _end(self, used: Mapping[str, int]) -> None:
        if not self._ended:
            self._ended = True
            self._keeper.end_reserved(self, used)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self.amounts if kind is None else {})
