"""`State`: values by scope and key, transactions, schema versions, backups. Scopes given as tables: see `state.lua`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, StorageError, ValidationError
from llmspell.lua.globals._base import Handle, check_options

if TYPE_CHECKING:
    from typing import ClassVar

    from llmspell.app import App
    from llmspell.lua.globals._base import Function

NO_WAITING = "State.transaction: the function may not wait"
NO_WAITING_IN_MIGRATION = "State.migrate: the function may not wait"
_ALIASES = {
    "set_scoped": "save",
    "get_scoped": "load",
    "delete_scoped": "delete",
    "has": "exists",
    "keys": "list_keys",
    "list": "list_keys",
    "list_scoped": "list_keys",
    "clear_scope": "clear",
    "setScope": "set_scope",
    "cas": "compare_and_swap",
}

_PLAIN = frozenset(("save", "set", "append", "compare_and_swap", "agent_set", "tool_set"))
"""Functions whose arguments are stored: a Lua function among them is refused by its path."""


def _text(value: Any, index: int, name: str) -> str:
    """Return a string argument; numbers are taken as their text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    words = {type(None): "nil", bool: "boolean", dict: "table", list: "table", bytes: "string that is not UTF-8"}
    got = words.get(type(value), "function")
    raise ValidationError(f"bad argument #{index} to 'State.{name}' (string expected, got {got})")


def _number(value: Any, index: int, name: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        words = {type(None): "nil", bool: "boolean", str: "string", dict: "table", list: "table"}
        got = words.get(type(value), "function")
        raise ValidationError(f"bad argument #{index} to 'State.{name}' (number expected, got {got})")
    return value


class _Calls:
    """The functions that `State` and a transaction share; `_target` says whose values they touch."""

    _target: Any
    _lane: Any
    _scope: str = "global"

    def save(self, scope: Any = None, key: Any = None, value: Any = None, options: dict | None = None) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Write a value; nil deletes. Option `ttl_seconds`."""
        where, name = _text(scope, 1, "save"), _text(key, 2, "save")
        if options:
            check_options(self._lane, options, ("ttl_seconds",), "State.save")
        ttl = (options or {}).get("ttl_seconds")
        if value is None:
            self._target.delete(where, name)
        else:
            self._target.save(where, name, value, ttl=None if ttl is None else _number(ttl, 4, "save"))

    def load(self, scope: Any = None, key: Any = None, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self._target.load(_text(scope, 1, "load"), _text(key, 2, "load"), default)

    def set(self, *args: Any) -> None:
        """Write `(key, value)` in the default scope or `(scope, key, value)`; nil deletes."""
        if len(args) > 2:
            self.save(_text(args[0], 1, "set"), _text(args[1], 2, "set"), args[2])
        else:
            key, value = (*args, None, None)[:2]
            self.save(self._scope, _text(key, 1, "set"), value)

    def get(self, key: Any = None, default: Any = None) -> Any:
        """Return a value of the default scope, or the default."""
        return self._target.load(self._scope, _text(key, 1, "get"), default)

    def _pair(self, name: str, args: tuple[Any, ...]) -> tuple[str, str]:
        if len(args) > 1 and args[1] is not None:
            return _text(args[0], 1, name), _text(args[1], 2, name)
        return self._scope, _text(args[0] if args else None, 1, name)

    def delete(self, *args: Any) -> bool:
        """Remove `(key)` or `(scope, key)`; tell whether it was there."""
        return bool(self._target.delete(*self._pair("delete", args)))

    def exists(self, *args: Any) -> bool:
        """Tell whether `(key)` or `(scope, key)` has a value."""
        return bool(self._target.exists(*self._pair("exists", args)))

    def list_keys(self, scope: Any = None, prefix: Any = None) -> list[str]:
        """Return the keys of a scope, sorted; with a prefix only those that begin so."""
        start = "" if prefix is None else _text(prefix, 2, "list_keys")
        keys = self._target.list_keys(self._where(scope, "list_keys"))
        return [key for key in keys if key.startswith(start)]

    def _where(self, scope: Any, name: str) -> str:
        return self._scope if scope is None else _text(scope, 1, name)

    def all(self, scope: Any = None) -> dict[str, Any]:
        """Return all values of a scope by key."""
        return dict(self._target.get_all(self._where(scope, "all")))

    def clear(self, scope: Any = None) -> int:
        """Remove all keys of a scope; return how many there were."""
        return int(self._target.clear_scope(self._where(scope, "clear")))

    def list_scopes(self) -> list[str]:
        """Return the scopes that have keys, sorted."""
        return list(self._target.list_scopes())

    def set_scope(self, scope: Any = None) -> None:
        """Set the default scope."""
        from llmspell.base.scope import parse

        self._scope = parse(self._where(scope, "set_scope")).text

    def get_scope(self) -> str:
        """Return the default scope."""
        return self._scope

    def lookup_(self, key: Any = None, options: dict | None = None) -> tuple[Any, str | None]:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return the first value of component, workflow, session and global scope, and the scope it was found in."""
        name, given = _text(key, 1, "lookup"), options or {}
        places = [given["component"]] if given.get("component") is not None else []
        places += [f"{kind}:{given[kind]}" for kind in ("workflow", "session") if given.get(kind) is not None]
        for place in [*places, "global"]:
            if self._target.exists(place, name):
                return self._target.load(place, name), place
        return None, None

    def increment(self, *args: Any) -> int | float:
        """Add to a number `(key, amount?)` or `(scope, key, amount?)`; return the sum."""
        first, second, third = (*args, None, None, None)[:3]
        if isinstance(second, str):
            amount = 1 if third is None else _number(third, 3, "increment")
            return self._sum(_text(first, 1, "increment"), second, amount)
        amount = 1 if second is None else _number(second, 2, "increment")
        return self._sum(self._scope, _text(first, 1, "increment"), amount)

    def _sum(self, scope: str, key: str, amount: float) -> int | float:
        total: int | float = self._target.increment(scope, key, amount)
        return total

    def append(self, *args: Any) -> int:
        """Add to a list `(key, value)` or `(scope, key, value)`; return the new length."""
        if len(args) > 2:
            return int(self._target.append(_text(args[0], 1, "append"), _text(args[1], 2, "append"), args[2]))
        key, value = (*args, None, None)[:2]
        return int(self._target.append(self._scope, _text(key, 1, "append"), value))

    def compare_and_swap(self, *args: Any) -> bool:
        """Write `new` where the value equals `old`: `(key, old, new)` or `(scope, key, old, new)`."""
        if len(args) > 3:
            scope, key = _text(args[0], 1, "compare_and_swap"), _text(args[1], 2, "compare_and_swap")
            old, new = args[2:4]
        else:
            name, old, new = (*args, None, None, None)[:3]
            scope, key = self._scope, _text(name, 1, "compare_and_swap")
        old, new = (self._target.MISSING if value is None else value for value in (old, new))
        return bool(self._target.compare_and_swap(scope, key, old, new))

    def workflow_get(self, workflow: str, step: str) -> Any:
        """Return what a workflow stored for a step."""
        found = self._target.load(f"workflow:{workflow}", step)
        return self._target.load(f"workflow:{workflow}", f"step:{step}:output") if found is None else found

    def workflow_list(self, workflow: str) -> list[str]:
        """Return the keys of a workflow, sorted."""
        return list(self._target.list_keys(f"workflow:{workflow}"))

    def agent_get(self, agent: str, key: str) -> Any:
        """Return a value of an agent."""
        return self._target.load(f"agent:{agent}", key)

    def agent_set(self, agent: str, key: str, value: Any = None) -> None:
        """Write a value of an agent; nil deletes."""
        self.save(f"agent:{agent}", key, value)

    def tool_get(self, tool: str, key: str) -> Any:
        """Return a value of a tool."""
        return self._target.load(f"tool:{tool}", key)

    def tool_set(self, tool: str, key: str, value: Any = None) -> None:
        """Write a value of a tool; nil deletes."""
        self.save(f"tool:{tool}", key, value)


class _InTransaction(_Calls):
    def __init__(self, target: Any, scope: str, lane: Any) -> None:
        self._target = target
        self._lane = lane
        self._scope = scope


class TransactionMethods:
    """Methods of a `tx` handle: every function of `_Calls`, by its transaction."""

    aliases: ClassVar[dict[str, str]] = _ALIASES
    plain: ClassVar[frozenset[str]] = _PLAIN
    of_global: ClassVar[bool] = True

    def __init__(self, owner: Global) -> None:
        self.running = owner.running


def _forward(name: str) -> Any:
    def method(self: TransactionMethods, ident: str, *args: Any) -> Any:
        calls = self.running.get(ident)
        if calls is None:
            raise StorageError("the transaction has ended: use tx only inside its function", code="closed")
        return getattr(calls, name)(*args)

    method.__name__ = name
    method.__doc__ = getattr(_Calls, name).__doc__
    return method


for _name in [name for name in vars(_Calls) if not name.startswith("_")]:
    setattr(TransactionMethods, _name, _forward(_name))


class BackupMethods:
    """A backup handle has fields only; its text is the id."""

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app


class Global(_Calls):
    """See the module."""

    aliases: ClassVar[dict[str, str]] = _ALIASES
    plain: ClassVar[frozenset[str]] = _PLAIN
    handles: ClassVar[dict[str, type]] = {"transaction": TransactionMethods, "backup": BackupMethods}

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._lane = lane
        self._open: Any = None
        self._numbers = count(1)
        self.running: dict[str, _InTransaction] = {}

    @property
    def _target(self) -> Any:
        return self._app.state if self._open is None else self._open

    def transaction(self, fn: Function) -> Any:
        """Run `fn(tx)` and commit; an error in it rolls back and is raised; a write conflict runs it again.

        `tx` is good only inside the function.
        """
        if self._open is not None:
            raise StorageError("a transaction of begin_transaction is open: commit or roll back first", code="nested")
        ident = f"transaction-{next(self._numbers)}"

        def body(tx: Any) -> Any:
            self.running[ident] = _InTransaction(tx, self._scope, self._lane)
            return tuple(fn.sync(Handle("transaction", ident), message=NO_WAITING))

        try:
            return self._app.state.transaction(body)
        finally:
            self.running.pop(ident, None)

    def begin_transaction(self) -> None:
        """Open a transaction; from now on State works inside it."""
        if self._open is not None or self.running:
            raise StorageError("a transaction is open already: commit or roll back first", code="nested")
        self._open = self._app.state.begin()

    def _end(self) -> Any:
        ended, self._open = self._open, None
        if ended is None:
            raise StorageError("no transaction is open: call begin_transaction first", code="closed")
        return ended

    def commit(self) -> None:
        """Write everything since begin_transaction, or raise a conflict."""
        self._end().commit()

    def rollback(self) -> None:
        """Forget everything since begin_transaction."""
        self._end().rollback()

    def register_schema(self, version: str, spec: dict) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Add a version of the stored values: `{scope?, migrate?, rollback?, fields?}`."""

        def change(fn: Any) -> Any:
            if fn is None:
                return None

            def first(key: str, value: Any, scope: str) -> Any:
                results = fn.sync(key, value, scope, message=NO_WAITING_IN_MIGRATION)
                return results[0] if results else None

            return first

        migrate, rollback = change(spec.get("migrate")), change(spec.get("rollback"))
        self._app.state.migrations.declare(
            version, scope=spec.get("scope"), migrate=migrate, rollback=rollback, fields=spec.get("fields") or {}
        )

    async def migrate(self, version: str) -> dict[str, Any]:
        """Bring the values to a version, all or nothing; a backup is made first where values outlive the process."""
        store = self._app.state
        migrations = store.migrations
        if store.persistent and version in migrations.versions() and version != migrations.current:
            await store.backups.create(f"before migration to {version}")
        report = migrations.migrate(version)
        answer = report._asdict()
        answer |= {"current_version": migrations.current, "target_version": version}
        if report.errors:
            answer["error"] = report.errors[0]
        return answer

    def get_migration_status(self) -> dict[str, Any]:
        """Return where the values are and where they could go."""
        return dict(self._app.state.migrations.status())

    def get_schema_versions(self) -> list[str]:
        """Return the known versions in order."""
        return list(self._app.state.migrations.versions())

    async def create_backup(self, name: Any = None) -> Handle:
        """Write a backup; a text is its name, true makes it incremental."""
        incremental = name is True
        given = None if name is None or isinstance(name, bool) else _text(name, 1, "create_backup")
        return _backup(await self._app.state.backups.create(given, incremental=incremental))

    def list_backups(self) -> list[Handle]:
        """Return all backups, newest first."""
        return [_backup(manifest) for manifest in self._app.state.backups.list()]

    async def restore_backup(self, ident: str) -> dict[str, Any]:
        """Make the store hold exactly what the backup holds."""
        if self._open is not None:
            raise StorageError("a transaction is open: commit or roll back before restoring", code="nested")
        done = await self._app.state.backups.restore(ident)
        return {
            "success": True,
            "backup_id": done.backup_id,
            "entries_restored": done.entries,
            "duration_ms": done.duration_ms,
        }

    async def validate_backup(self, ident: str) -> dict[str, Any]:
        """Read a backup back and check it."""
        found = await self._app.state.backups.validate(ident)
        return {"is_valid": found.is_valid, "backup_id": ident, "errors": found.errors}

    async def cleanup_backups(self, options: Any = None) -> dict[str, Any]:
        """Remove old backups: `(keep)`, `(dry_run)` or `{keep?, older_than_seconds?, dry_run?}`."""
        given: dict[str, Any] = {}
        if isinstance(options, bool):
            given = {"dry_run": options}
        elif isinstance(options, dict):
            given = options
        elif options is not None:
            given = {"keep": options}
        keep, age = given.get("keep"), given.get("older_than_seconds")
        for value, name in ((keep, "keep"), (age, "older_than_seconds")):
            if value is not None and _number(value, 1, "cleanup_backups") < 0:
                raise InvalidArgument(
                    f"{name} must not be negative, got {value}", details={"name": name, "value": value}
                )
        done = await self._app.state.backups.cleanup(
            keep=None if keep is None else int(keep), older_than_seconds=age, dry_run=bool(given.get("dry_run"))
        )
        return {
            "success": True,
            "dry_run": done.dry_run,
            "deleted_count": len(done.deleted),
            "retained_count": len(done.retained),
            "space_freed": done.space_freed,
        }

    def get_storage_usage(self) -> dict[str, Any]:
        """Return bytes and entries, in all and by scope, and what backups take."""
        store = self._app.state
        by_scope = {}
        for scope in store.list_scopes():
            used = store.usage(scope)
            by_scope[scope] = {"entries": used["keys"], "bytes": used["bytes"]}
        return {
            "bytes_used": sum(used["bytes"] for used in by_scope.values()),
            "entries_count": sum(used["entries"] for used in by_scope.values()),
            "by_scope": by_scope,
            **store.backups.usage(),
        }


def _backup(manifest: Any) -> Handle:
    fields = {
        "success": True,
        "id": manifest.id,
        "backup_id": manifest.id,
        "name": manifest.name,
        "incremental": manifest.incremental,
        "entries": manifest.entry_count,
        "size_bytes": manifest.stored_bytes,
        "created_at": manifest.created_at,
        "parent_id": manifest.parent_id,
    }
    return Handle("backup", manifest.id, fields=fields)
