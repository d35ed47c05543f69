"""Who asks, and what policies answer: the context of a caller and the three decisions."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

from llmspell.errors import InvalidArgument

ADMIN_ROLES = frozenset(("admin", "super_admin"))


class SecurityContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for something. attributes: plain data that policies may look at. timestamp: seconds since 1970.

    `key` tells every context from every other and is made once, so that asking for a known decision costs a lookup.
    """

    principal: str
    tenant_id: str | None = None
    roles: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}
    timestamp: float | None = None
    source_ip: str | None = None
    user_agent: str | None = None
    session_id: str | None = None
    correlation_id: str | None = None
    key: bytes = b""

    def __post_init__(self) -> None:
        whole = [getattr(self, name) for name in self.__struct_fields__ if name != "key"]
        msgspec.structs.force_setattr(self, "key", msgspec.msgpack.encode(whole, order="sorted"))

    @property
    def is_admin(self) -> bool:
        """Whether a role lets it into every tenant."""
        return not ADMIN_ROLES.isdisjoint(self.roles)


class FieldFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Only items whose metadata field has one of the values; with `exclude`, only those where it has none of them."""

    field: str
    allowed_values: tuple[Any, ...]
    exclude: bool = False

    def spec(self) -> dict[str, Any]:
        """Return the condition as filters are written."""
        return {self.field: {"nin" if self.exclude else "in": list(self.allowed_values)}}


class Allow(msgspec.Struct, frozen=True):
    """Go ahead."""


class Deny(msgspec.Struct, frozen=True):
    """Stop."""

    reason: str = "denied"


class AllowWithFilters(msgspec.Struct, frozen=True):
    """Go ahead, seeing only what all filters let through."""

    filters: tuple[FieldFilter, ...]


Decision = Allow | Deny | AllowWithFilters


@runtime_checkable
class Policy(Protocol):
    """One rule. name: unique. priority: higher is asked first. A policy is a quick look at its arguments.

    decide: a Decision, or None for nothing to say; whatever else it returns, and any exception, is a Deny.
    A policy with a method `meter(ctx, operation)` has it called for every operation, also when the decision was cached.
    """

    name: str
    priority: int

    def decide(self, ctx: SecurityContext, operation: str, resource: str) -> Decision | None:
        """Answer for one operation on one resource."""


def tenant_of(resource: str) -> str | None:
    """Return the tenant of `tenant:<id>`, `<kind>:tenant:<id>` and of either with `/<what>`, None for anything else.

    No tenant id holds a `/`, so that what stands behind it never belongs to a tenant of another name.
    """
    if not resource.startswith("tenant:"):
        resource = resource.partition(":")[2]
        if not resource.startswith("tenant:"):
            return None
    return resource[7:].partition("/")[0]


def checked_filters(given: Any) -> tuple[FieldFilter, ...]:
    """Return filters given as FieldFilter or as tables `{field, allowed_values, exclude}`. Raises InvalidArgument."""
    try:
        found = tuple(item if isinstance(item, FieldFilter) else msgspec.convert(item, FieldFilter) for item in given)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidArgument(
            f"filters of a policy: {error}", details={"name": "filters", "allowed": "{field, allowed_values, exclude}"}
        ) from error
    if not found:
        raise InvalidArgument("AllowWithFilters needs a filter: use Allow", details={"name": "filters"})
    return found
