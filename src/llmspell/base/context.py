"""Who is asking, for whom, and within which limits: the record every component call carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.base.ids import uuid4
from llmspell.base.types import Level
from llmspell.errors import ResourceLimitError

if TYPE_CHECKING:
    from llmspell.base.budget import Ledger

MAX_DEPTH = 10


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a run tree. `child` is the only constructor of nested contexts.

    level: the ceiling for tools. deadline: monotonic seconds. model_issued: the call was asked for by a model.
    depth: number of components around this one. data: values visible as `{{context.key}}`.
    """

    execution_id: str = msgspec.field(default_factory=uuid4)
    parent_id: str | None = None
    correlation_id: str = msgspec.field(default_factory=uuid4)
    tenant_id: str = "default"
    session_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    agent: str | None = None
    workflow: str | None = None
    level: Level = "restricted"
    deadline: float | None = None
    depth: int = 0
    max_depth: int = MAX_DEPTH
    model_issued: bool = False
    ledger: Ledger | None = None
    data: dict[str, Any] = {}

    def child(self, **changes: Any) -> Context:
        """Return a nested context one level deeper; its deadline is never later than the parent's.

        Raises ResourceLimitError (resource `recursion_depth`) past `max_depth`.
        """
        depth = self.depth + 1
        limit = changes.get("max_depth", self.max_depth)
        if depth > limit:
            raise ResourceLimitError(
                f"Resource limit exceeded: recursion_depth (limit {limit}, used {depth})",
                details={"resource": "recursion_depth", "limit": limit, "used": depth},
            )
        deadline = changes.pop("deadline", None)
        if self.deadline is not None:
            deadline = self.deadline if deadline is None else min(deadline, self.deadline)
        return msgspec.structs.replace(
            self, execution_id=uuid4(), parent_id=self.execution_id, depth=depth, deadline=deadline, **changes
        )

    def remaining_s(self) -> float | None:
        """Return the seconds left until the deadline (never below 0), or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())
