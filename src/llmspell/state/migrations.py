"""Schema versions of the stored values, and the way from one to another.

A schema is a semantic version with what leads to it from the version before: a function, declared field changes, or
both; the first version is `1.0.0`. A migration walks through the versions in order, collects the new values, and writes
them in one transaction: an item that fails leaves everything as it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from llmspell.errors import (
    CancelledError,
    InvalidArgument,
    ResourceLimitError,
    StorageError,
    ValidationError,
)
from llmspell.errors import TimeoutError as RunTimeout
from llmspell.state.backends._base import Op, StateBackend
from llmspell.state.transaction import Transaction

FIRST = "1.0.0"
_VERSION_KEY = b"meta::schema_version"
_SEMVER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]{1,64})?")
_FIELD_KEYS = ("rename", "default", "remove", "type")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "table": (dict, list),
    "list": (list,),
}

Change = Callable[[str, Any, str], Any]
"""Called with key, value and scope text; returns the new value, None to remove the key."""


class Store(Protocol):
    """What a migration needs of a store."""

    @property
    def backend(self) -> StateBackend:
        """The backend, opened."""
        ...

    def transaction(self, fn: Callable[[Transaction], int]) -> int:
        """Run `fn` as one commit."""
        ...


class Schema(NamedTuple):
    """One version. `scope` None means every scope; `fields` maps an old field name to rename, default, remove, type."""

    version: str
    scope: str | None = None
    migrate: Change | None = None
    rollback: Change | None = None
    fields: Mapping[str, Mapping[str, Any]] = {}


class Report(NamedTuple):
    """What a migration did. status: completed, up_to_date or failed; `duration_ms` of the whole."""

    success: bool
    status: str
    from_version: str
    to_version: str
    items_migrated: int
    duration_ms: int
    warnings: list[str]
    errors: list[str]


class Migrations:
    """The schemas of one store. Registered schemas live with the process, the current version with the data."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._schemas: dict[str, Schema] = {FIRST: Schema(FIRST)}

    @property
    def current(self) -> str:
        """The version of the stored data."""
        row = self._store.backend.get_many((_VERSION_KEY,))[0]
        return FIRST if row is None or row.value is None else row.value.decode()

    def versions(self) -> list[str]:
        """Return the known versions in order."""
        return sorted(self._schemas, key=order)

    def declare(
        self,
        version: str,
        *,
        scope: str | None = None,
        migrate: Change | None = None,
        rollback: Change | None = None,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Register a schema by its parts."""
        self.register(Schema(version, scope, migrate, rollback, fields or {}))

    def register(self, schema: Schema) -> None:
        """Add or replace a version. Raises InvalidArgument for a text that is none, or a field rule that is wrong."""
        order(schema.version)
        for field, rule in schema.fields.items():
            for name in rule if isinstance(rule, Mapping) else ("?",):
                if name not in _FIELD_KEYS:
                    raise InvalidArgument(
                        f"field {field!r}: unknown rule {name!r}, known are {', '.join(_FIELD_KEYS)}",
                        details={"name": field, "value": name, "allowed": list(_FIELD_KEYS)},
                    )
            if rule.get("type") is not None and rule["type"] not in _TYPES:
                raise InvalidArgument(f"field {field!r}: unknown type {rule['type']!r}, known are {', '.join(_TYPES)}")
        self._schemas[schema.version] = schema

    def status(self) -> dict[str, Any]:
        """Return current_version, latest_version, is_latest, migration_available, total_schemas, migration_targets."""
        current, known = self.current, self.versions()
        return {
            "current_version": current,
            "latest_version": known[-1],
            "is_latest": order(current) >= order(known[-1]),
            "migration_available": order(known[-1]) > order(current),
            "total_schemas": len(known),
            "migration_targets": [version for version in known if version != current],
        }

    def migrate(self, target: str) -> Report:
        """Bring the data to a version, up or down, all or nothing.

        A failing item gives `success` False and its text in `errors`. Raises InvalidArgument for an unknown version;
        a limit, a time-out or a cancellation inside a function passes through.
        """
        order(target)
        if target not in self._schemas:
            raise InvalidArgument(
                f"unknown schema version {target!r}: known are {', '.join(self.versions())}",
                details={"name": "version", "value": target, "allowed": self.versions()},
            )
        started = time.perf_counter()
        current = self.current

        def report(status: str, items: int = 0, errors: list[str] | None = None) -> Report:
            spent = int((time.perf_counter() - started) * 1000)
            return Report(not errors, status, current, target, items, spent, [], errors or [])

        if current == target:
            return report("up_to_date")
        try:
            steps = self._steps(current, target)
            changed = self._store.transaction(lambda tx: self._walk(tx, steps, target))
        except _ItemFailed as failure:
            return report("failed", 0, [str(failure)])
        return report("completed", changed)

    def _steps(self, current: str, target: str) -> list[tuple[Schema, Change | None]]:
        known = self.versions()
        if order(target) > order(current):
            path = [self._schemas[v] for v in known if order(current) < order(v) <= order(target)]
            return [(schema, schema.migrate) for schema in path]
        path = [self._schemas[v] for v in reversed(known) if order(target) < order(v) <= order(current)]
        for schema in path:
            if schema.rollback is None and (schema.migrate is not None or schema.fields):
                raise _ItemFailed(f"version {schema.version} has no rollback")
        return [(schema._replace(fields={}), schema.rollback) for schema in path]

    def _walk(self, tx: Transaction, steps: list[tuple[Schema, Change | None]], target: str) -> int:
        changed: set[tuple[str, str]] = set()
        for schema, change in steps:
            for scope in [schema.scope] if schema.scope is not None else tx.list_scopes():
                for key, value in tx.get_all(scope).items():
                    new = _apply(schema, change, key, value, scope)
                    if new is None:
                        tx.delete(scope, key)
                    else:
                        tx.save(scope, key, new)
                    changed.add((scope, key))
        tx.put_raw(Op(_VERSION_KEY, target.encode()))
        return len(changed)


class _ItemFailed(Exception):  # noqa: N818 - control flow inside migrate, never seen outside
    pass


def order(version: str) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
    """Return the sort key of a semantic version. Raises InvalidArgument. Source: semver.org 2.0.0, section 11."""
    match = _SEMVER.fullmatch(version)
    if match is None:
        raise InvalidArgument(
            f"{version!r} is no semantic version: write it as 1.2.3",
            details={"name": "version", "value": version, "allowed": "MAJOR.MINOR.PATCH"},
        )
    major, minor, patch, tail = match.groups()
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in (tail or "").split(".") if p)
    return int(major), int(minor), int(patch), tail is None, parts


def _apply(schema: Schema, change: Change | None, key: str, value: Any, scope: str) -> Any:
    try:
        if isinstance(value, dict):
            value = _fields(schema.fields, value)
        return value if change is None else change(key, value, scope)
    except (ResourceLimitError, CancelledError, RunTimeout, StorageError):
        raise
    except Exception as error:
        raise _ItemFailed(f"{scope}/{key}: {error}") from error


def _fields(rules: Mapping[str, Mapping[str, Any]], value: dict[str, Any]) -> dict[str, Any]:
    value = dict(value)
    for name, rule in rules.items():
        if rule.get("remove"):
            value.pop(name, None)
            continue
        goal = rule.get("rename") or name
        if goal != name and name in value:
            if goal in value:
                raise ValidationError(f"cannot rename field {name!r}: {goal!r} is there already")
            value[goal] = value.pop(name)
        if goal not in value and rule.get("default") is not None:
            value[goal] = rule["default"]
        kind = rule.get("type")
        if kind is not None and goal in value:
            item = value[goal]
            if not isinstance(item, _TYPES[kind]) or (isinstance(item, bool) and kind in ("integer", "number")):
                raise ValidationError(f"field {goal!r} is not of type {kind}")
    return value
