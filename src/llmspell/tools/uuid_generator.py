"""Generate and check UUIDs and readable component ids."""

from __future__ import annotations

import datetime
import secrets
import time
import uuid
from typing import Annotated, Any, Literal

from llmspell.tools._base import Case, P, Result, ToolHeader, operation, violation

_NAMESPACES = {
    "agent": uuid.UUID("6ba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2b"),
    "tool": uuid.UUID("7cb24e6b-4f6e-5b6c-af8f-4e6b3f5e4b3c"),
    "workflow": uuid.UUID("8dc35f7c-5f7f-6c7d-bf9f-5f7c4f6f5c4d"),
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
_GREGORIAN = 0x01B21DD213814000
MAX_COUNT = 1000

Version = Literal["v1", "v3", "v4", "v5", "v6", "v7", "1", "3", "4", "5", "6", "7"]
Form = Literal["standard", "hyphenated", "simple", "urn", "braced"]
Namespace = Annotated[str, P("agent, tool, workflow, dns, url, oid, x500, or a UUID", max_length=64)]
Prefix = Annotated[str, P("First part of the id", max_length=100)]
Short = Annotated[bool, P("8 hex digits in place of a whole UUID")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="generate",
    aliases=("uuid",),
    timeout_ms=5_000,
    inline=True,
    text="uuid",
    tags=("id", "random"),
    idempotent=False,
    tests=(
        Case("generate", {}, {"result": {"version": "v4", "format": "standard"}}),
        Case(
            "name based",
            {"version": "5", "name": "python.org"},
            {
                "result": {"uuid": "886313e1-3b8a-5372-9b90-0c9aee199e5d"},
                "text": "886313e1-3b8a-5372-9b90-0c9aee199e5d",
            },
        ),
        Case("component_id", {"operation": "component_id", "prefix": "job"}, {"result": {"prefix": "job"}}),
        Case("deterministic", {"operation": "deterministic", "name": "a"}, {"result": {"namespace": "agent"}}),
        Case("custom", {"operation": "custom", "suffix": "x", "short": True}, {"result": {"short": True}}),
        Case("validate", {"operation": "validate", "uuid": "no"}, {"result": {"valid": False, "uuid": "no"}}),
    ),
)


@operation("generate")
def generate(
    version: Annotated[Version, P("UUID version")] = "v4",
    format: Annotated[Form, P("Written form")] = "standard",  # noqa: A002 - the parameter's published name
    namespace: Namespace = "dns",
    name: Annotated[str | None, P("Name, for v3 and v5", max_length=65536)] = None,
    count: Annotated[int, P("How many", ge=1, le=MAX_COUNT)] = 1,
) -> dict[str, Any] | Result:
    """Generate UUIDs."""
    number = version[-1]
    if number in "35" and name is None:
        message = f"Missing required parameter 'name': Generate operation requires it for version v{number}"
        raise violation("name", message, keyword="required")
    space = _namespace(namespace)
    made = [_formed(_make(number, space, name or ""), format) for _ in range(count)]
    form = "standard" if format == "hyphenated" else format
    result: dict[str, Any] = {"uuid": made[0], "version": f"v{number}", "format": form}
    if count == 1:
        return result
    return Result({**result, "uuids": made}, text=made[0], metadata={"count": count})


@operation("component_id", aliases=("component",), text="id")
def component_id(prefix: Prefix = "component", short: Short = False) -> dict[str, Any]:
    """Make a readable id of a component."""
    return {"id": f"{prefix}_{_random(short)}", "prefix": prefix, "short": short}


@operation("deterministic", text="id")
def deterministic(
    name: Annotated[str, P("Name the id is made from", max_length=65536)], namespace: Namespace = "agent"
) -> dict[str, Any]:
    """Make the id that the same name always gives."""
    return {"id": str(uuid.uuid5(_namespace(namespace), name)), "namespace": namespace, "name": name}


@operation("custom", text="id")
def custom(
    prefix: Prefix = "component",
    timestamp: Annotated[bool, P("Add unix milliseconds")] = False,
    suffix: Annotated[str | None, P("Last part of the id", max_length=100)] = None,
    short: Short = False,
) -> dict[str, Any]:
    """Make an id of prefix, time, random part and suffix."""
    parts = [prefix, str(time.time_ns() // 1_000_000) if timestamp else "", _random(short), suffix or ""]
    return {"id": "_".join(part for part in parts if part), "timestamp": timestamp, "short": short}


@operation("validate")
def validate(
    uuid: Annotated[str, P("Text to check", aliases=("input",), max_length=1000)],
) -> dict[str, Any]:
    """Check a UUID and tell its version, variant and time."""
    try:
        value = _parse(uuid)
    except ValueError as error:
        return {"valid": False, "uuid": uuid, "error": str(error)}
    result: dict[str, Any] = {"valid": True, "uuid": str(value), "variant": _variant(value)}
    if value.version is not None:
        result["version"] = f"v{value.version}"
    stamp = _timestamp(value)
    if stamp is not None:
        result["timestamp"] = stamp
    return result


def _random(short: bool) -> str:
    return secrets.token_hex(4) if short else str(uuid.uuid4())


def _namespace(name: str) -> uuid.UUID:
    known = _NAMESPACES.get(name.lower())
    if known is not None:
        return known
    try:
        return _parse(name)
    except ValueError as error:
        raise violation("namespace", f"one of {', '.join(_NAMESPACES)} or a UUID expected") from error


def _parse(text: str) -> uuid.UUID:
    """Read the written forms of a UUID, and only those: `uuid.UUID` would also take stray braces and hyphens."""
    bare = text.strip().lower().removeprefix("urn:uuid:")
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1]
    shape = [len(part) for part in bare.split("-")]
    if shape not in ([8, 4, 4, 4, 12], [32]):
        raise ValueError("a UUID has 32 hex digits, with hyphens as 8-4-4-4-12")
    if not all(char in "0123456789abcdef-" for char in bare):
        raise ValueError("a UUID holds hex digits and hyphens only")
    return uuid.UUID(bare)


def _make(number: str, space: uuid.UUID, name: str) -> uuid.UUID:
    if number == "1":
        return uuid.uuid1(node=_random_node())
    if number == "3":
        return uuid.uuid3(space, name)
    if number == "5":
        return uuid.uuid5(space, name)
    if number == "6":
        return _v6()
    return _v7() if number == "7" else uuid.uuid4()


def _random_node() -> int:
    """Return a node id with the multicast bit, so that no hardware address is told. Source: RFC 9562, 6.10."""
    return secrets.randbits(48) | 0x010000000000


def _v6() -> uuid.UUID:
    """Version 1 with its time in sortable order. Source: RFC 9562, 5.6."""
    ticks = time.time_ns() // 100 + _GREGORIAN
    value = (ticks >> 12 & 0xFFFFFFFFFFFF) << 80 | 6 << 76 | (ticks & 0xFFF) << 64
    return uuid.UUID(int=value | 2 << 62 | secrets.randbits(14) << 48 | _random_node())


def _v7() -> uuid.UUID:
    """Unix milliseconds and random bits. Source: RFC 9562, 5.7."""
    millis = time.time_ns() // 1_000_000
    value = (millis & 0xFFFFFFFFFFFF) << 80 | 7 << 76 | secrets.randbits(12) << 64
    return uuid.UUID(int=value | 2 << 62 | secrets.randbits(62))


def _formed(value: uuid.UUID, form: str) -> str:
    if form == "simple":
        return value.hex
    if form == "urn":
        return value.urn
    return f"{{{value}}}" if form == "braced" else str(value)


def _variant(value: uuid.UUID) -> str:
    words = {uuid.RFC_4122: "rfc4122", uuid.RESERVED_NCS: "ncs", uuid.RESERVED_MICROSOFT: "microsoft"}
    return words.get(value.variant or "", "future")


def _timestamp(value: uuid.UUID) -> str | None:
    """Return the RFC 3339 time inside versions 1, 6 and 7."""
    if value.version == 7:
        seconds = (value.int >> 80) / 1000
    elif value.version in (1, 6):
        ticks = value.time if value.version == 1 else (value.int >> 80) << 12 | value.int >> 64 & 0xFFF
        seconds = (ticks - _GREGORIAN) / 10_000_000
    else:
        return None
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        stamp = epoch + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return None
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
