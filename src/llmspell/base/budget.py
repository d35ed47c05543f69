"""Budgets of runs: what a tree of agents, workflows and tools may still spend, checked before each call.

A `Ledger` is one node of the run tree with its own budget; a reservation must fit every node up to the root, or none
is charged. Money is counted in whole nano-dollars, so sums equal the records exactly. A node may stand in two trees:
that of its run, and `beside` it the budget an agent keeps for all its runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.errors import ResourceLimitError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmspell.base.types import Usage

_LOCK = Lock()  # protects the counters of every ledger: members of one tree may live on different threads
NANO = 1_000_000_000
MIN_OUTPUT_TOKENS = 64
"""A model call whose answer could not have this many tokens is refused."""

ALIASES = {
    "cost_usd": "max_cost_usd",
    "tokens": "max_tokens",
    "max_tokens_total": "max_tokens",
    "input_tokens": "max_input_tokens",
    "output_tokens": "max_output_tokens",
    "tool_calls": "max_tool_calls",
    "model_calls": "max_model_calls",
    "seconds": "max_seconds",
}


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one node; None is unlimited. per: `execute` (fresh for each run) or `agent` (one for all runs)."""

    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    max_model_calls: int | None = None
    max_seconds: float | None = None
    allow_unpriced: bool = False
    per: str = "execute"

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Budget:
        """Return the budget a table states, aliases included. Raises ValidationError for a bad key or number."""
        values: dict[str, Any] = {}
        for key, value in table.items():
            name = ALIASES.get(key, key)
            if name not in cls.__struct_fields__:
                raise ValidationError(
                    f"unknown budget key '{key}', expected one of: {', '.join(cls.__struct_fields__)}",
                    details={"field": f"budget.{key}"},
                )
            if value is not None:
                values[name] = _checked(name, value)
        return cls(**values)

    @property
    def empty(self) -> bool:
        """Whether nothing is limited."""
        return all(getattr(self, name) is None for name in self.__struct_fields__ if name.startswith("max_"))


def _checked(name: str, value: Any) -> Any:
    if name == "per":
        if value not in ("execute", "agent"):
            raise ValidationError(f"budget.per must be 'execute' or 'agent', got {value!r}", details={"field": name})
        return value
    if name == "allow_unpriced":
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValidationError(f"budget.{name} must be a number of at least 0, got {value!r}", details={"field": name})
    return float(value) if name in ("max_cost_usd", "max_seconds") else int(value)


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What was set aside for one model call, until `settle`."""

    input_tokens: int
    output_tokens: int
    cost_nano: int


class Ledger:
    """One node of a run tree: what its budget allows, what is reserved, what is spent."""

    __slots__ = (
        "beside",
        "budget",
        "cost_nano",
        "input_tokens",
        "model_calls",
        "output_tokens",
        "parent",
        "reserved_cost",
        "reserved_input",
        "reserved_output",
        "started",
        "tool_calls",
        "unpriced_calls",
    )

    def __init__(
        self, budget: Budget | None = None, *, parent: Ledger | None = None, beside: Ledger | None = None
    ) -> None:
        self.budget = budget or Budget()
        self.parent = parent
        self.beside = beside
        self.started = monotonic()
        self.input_tokens = self.output_tokens = self.cost_nano = 0
        self.reserved_input = self.reserved_output = self.reserved_cost = 0
        self.model_calls = self.tool_calls = self.unpriced_calls = 0

    def child(self, budget: Budget | None = None) -> Ledger:
        """Return a node below this one."""
        return Ledger(budget, parent=self)

    @property
    def cost_usd(self) -> float:
        """Money spent so far, in US dollars; unpriced calls count 0."""
        return self.cost_nano / NANO

    @property
    def limits_cost(self) -> bool:
        """Whether a node up to the root limits money and refuses unpriced models."""
        return any(n.budget.max_cost_usd is not None and not n.budget.allow_unpriced for n in self.nodes())

    def nodes(self) -> Iterator[Ledger]:
        """Yield this node, its ancestors, and those beside it."""
        node: Ledger | None = self
        while node is not None:
            yield node
            if node.beside is not None:
                yield from node.beside.nodes()
            node = node.parent

    def room(self, input_tokens: int, *, input_price: float = 0.0, output_price: float = 0.0) -> int | None:
        """Return how many output tokens every enclosing budget covers after `input_tokens`, or None if unlimited.

        Prices are US dollars per token.
        """
        with _LOCK:
            rooms = [
                room
                for node in self.nodes()
                for room in node._rooms(input_tokens, input_price, output_price)  # noqa: SLF001 - nodes of one tree
            ]
        return min(rooms) if rooms else None

    def _rooms(self, input_tokens: int, input_price: float, output_price: float) -> Iterator[int]:
        limits = self.budget
        used_output = self.output_tokens + self.reserved_output
        if limits.max_tokens is not None:
            used = self.input_tokens + self.reserved_input + used_output
            yield limits.max_tokens - used - input_tokens
        if limits.max_output_tokens is not None:
            yield limits.max_output_tokens - used_output
        if limits.max_cost_usd is not None and output_price > 0:
            left = limits.max_cost_usd - (self.cost_nano + self.reserved_cost) / NANO - input_tokens * input_price
            yield int(left / output_price)

    def reserve(self, *, input_tokens: int, output_tokens: int, cost_usd: float = 0.0) -> Reservation:
        """Set aside one model call in every node up to the root, or raise and charge none.

        Raises ResourceLimitError with resource `budget_model_calls`, `budget_seconds`, `budget_input_tokens`,
        `budget_output_tokens`, `budget_tokens` or `budget_cost_usd`.
        """
        wanted = Reservation(input_tokens=input_tokens, output_tokens=output_tokens, cost_nano=round(cost_usd * NANO))
        with _LOCK:
            for node in self.nodes():
                node._check(wanted)  # noqa: SLF001 - nodes of one tree
            for node in self.nodes():
                node.reserved_input += wanted.input_tokens
                node.reserved_output += wanted.output_tokens
                node.reserved_cost += wanted.cost_nano
                node.model_calls += 1
        return wanted

    def _check(self, wanted: Reservation) -> None:
        limits = self.budget
        input_used = self.input_tokens + self.reserved_input
        output_used = self.output_tokens + self.reserved_output
        _refuse("budget_model_calls", limits.max_model_calls, self.model_calls, 1)
        if limits.max_seconds is not None and monotonic() - self.started >= limits.max_seconds:
            raise exhausted("budget_seconds", limits.max_seconds, round(monotonic() - self.started, 3))
        _refuse("budget_input_tokens", limits.max_input_tokens, input_used, wanted.input_tokens)
        _refuse("budget_output_tokens", limits.max_output_tokens, output_used, wanted.output_tokens)
        total = wanted.input_tokens + wanted.output_tokens
        _refuse("budget_tokens", limits.max_tokens, input_used + output_used, total)
        if limits.max_cost_usd is not None:
            used = self.cost_nano + self.reserved_cost
            if (
                used + wanted.cost_nano > round(limits.max_cost_usd * NANO)
                or limits.max_cost_usd <= 0 < wanted.cost_nano
            ):
                raise exhausted("budget_cost_usd", limits.max_cost_usd, used / NANO)

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        """Replace a reservation by what the call really used; None means it used nothing."""
        cost = 0 if usage is None or usage.cost_usd is None else round(usage.cost_usd * NANO)
        with _LOCK:
            for node in self.nodes():
                node.reserved_input -= reservation.input_tokens
                node.reserved_output -= reservation.output_tokens
                node.reserved_cost -= reservation.cost_nano
                if usage is not None:
                    node.input_tokens += usage.input_tokens
                    node.output_tokens += usage.output_tokens
                    node.cost_nano += cost
                    node.unpriced_calls += usage.cost_usd is None

    def tool_call(self) -> None:
        """Count one tool call in every node, or raise ResourceLimitError (`budget_tool_calls`) and count none."""
        with _LOCK:
            for node in self.nodes():
                _refuse("budget_tool_calls", node.budget.max_tool_calls, node.tool_calls, 1)
            for node in self.nodes():
                node.tool_calls += 1

    def to_wire(self) -> dict[str, Any]:
        """Return what was spent as plain data."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "cost_usd": self.cost_usd,
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "seconds": round(monotonic() - self.started, 3),
        }


def _refuse(resource: str, limit: int | None, used: int, wanted: int) -> None:
    if limit is not None and used + wanted > limit:
        raise exhausted(resource, limit, used)


def exhausted(resource: str, limit: float, used: float) -> ResourceLimitError:
    """Return the error of a limit that leaves no room for the next call."""
    return ResourceLimitError(
        f"Resource limit exceeded: {resource} (limit {limit:g}, used {used:g})",
        details={"resource": resource, "limit": limit, "used": used},
    )
