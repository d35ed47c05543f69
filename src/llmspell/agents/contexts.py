"""Named contexts and shared memory of one interpreter: data handed from script to agents.

inherit  reads fall through to the parent, writes stay here      copy   a snapshot of what the parent shows
isolate  starts empty                                            share  the parent's own data
"""

from __future__ import annotations

from typing import Any

from llmspell.base.ids import uuid4
from llmspell.errors import ComponentError, ValidationError

INHERITANCE = ("inherit", "isolate", "copy", "share")
SCOPES = ("session", "workflow", "agent", "user")
FIELDS = ("conversation_id", "user_id", "session_id")


def scope_text(scope: Any) -> str:
    """Return `global` or `<type>:<id>`. Raises ValidationError for anything else."""
    kind = scope.get("type") if isinstance(scope, dict) else scope
    if kind is None or kind == "global":
        return "global"
    ident = scope.get("id") if isinstance(scope, dict) else None
    if kind in SCOPES and isinstance(ident, str) and ident:
        return f"{kind}:{ident}"
    raise ValidationError(
        "bad scope: expected 'global' or {type='session', id='...'} with type one of: " + ", ".join(SCOPES),
        details={"field": "scope"},
    )


class Node:
    """One context: its own data and where reads go on."""

    __slots__ = ("config", "data", "ident", "inheritance", "parent", "scope")

    def __init__(self, ident: str, parent: Node | None, scope: str, inheritance: str, config: dict[str, Any]) -> None:
        self.ident = ident
        self.parent = parent
        self.scope = scope
        self.inheritance = inheritance
        self.config = config
        self.data: dict[str, Any] = {}
        if parent is not None and inheritance == "copy":
            self.data = dict(parent.visible())
        elif parent is not None and inheritance == "share":
            self.data = parent.data

    def visible(self) -> dict[str, Any]:
        """Return all data this context shows."""
        if self.parent is not None and self.inheritance in ("inherit", "share"):
            return {**self.parent.visible(), **self.data}
        return self.data


class Contexts:
    """All contexts and the shared memory of one interpreter."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._memory: dict[str, dict[str, Any]] = {}

    def create(self, config: Any = None, data: dict[str, Any] | None = None) -> str:
        """Return the id of a new context: from a config table, or from a name and its data."""
        if isinstance(config, str):
            return self._add(config, None, "global", "inherit", {}, data or {})
        config = config or {}
        if not isinstance(config, dict):
            raise ValidationError("create_context expects a name or a table", details={"field": "config"})
        kept = {key: config[key] for key in (*FIELDS, "security") if config.get(key) is not None}
        initial = config.get("data") or {}
        if not isinstance(initial, dict):
            raise ValidationError("context field 'data' must be a table with string keys", details={"field": "data"})
        scope = scope_text(config.get("scope"))
        return self._add(uuid4(), None, scope, _inheritance(config.get("inheritance")), kept, initial)

    def create_child(self, parent: str, scope: Any, inheritance: Any = None) -> str:
        """Return the id of a child: `(parent, scope, inheritance?)`, or `(parent, name, data)`."""
        node = self._require(parent)
        if isinstance(inheritance, dict):
            return self._add(str(scope), node, node.scope, "inherit", {}, inheritance)
        return self._add(uuid4(), node, scope_text(scope), _inheritance(inheritance), {}, {})

    def _add(
        self,
        ident: str,
        parent: Node | None,
        scope: str,
        inheritance: str,
        config: dict[str, Any],
        data: dict[str, Any],
    ) -> str:
        if ident in self._nodes:
            raise ComponentError(f"context '{ident}' already exists", code="already_exists")
        node = self._nodes[ident] = Node(ident, parent, scope, inheritance, config)
        node.data.update(data)
        return ident

    def _require(self, ident: str) -> Node:
        node = self._nodes.get(ident)
        if node is None:
            raise ComponentError(f"context '{ident}' not found", code="not_found", details={"name": ident})
        return node

    def update(self, ident: str, key: Any, value: Any = None) -> None:
        """Set one key, or all of a table; a None value removes the key."""
        data = self._require(ident).data
        for name, item in (key if isinstance(key, dict) else {str(key): value}).items():
            if item is None:
                data.pop(name, None)
            else:
                data[name] = item

    def data(self, ident: str, key: str | None = None) -> Any:
        """Return one visible value (None if missing), or a copy of all. Raises ComponentError for an unknown id."""
        node = self._require(ident)
        if key is None:
            return dict(node.visible())
        while True:
            if key in node.data:
                return node.data[key]
            if node.parent is None or node.inheritance not in ("inherit", "share"):
                return None
            node = node.parent

    def get(self, ident: str) -> dict[str, Any] | None:
        """Return what is known of a context, or None."""
        node = self._nodes.get(ident)
        if node is None:
            return None
        return {
            "id": ident,
            "parent_id": node.parent.ident if node.parent else None,
            "scope": node.scope,
            "inheritance": node.inheritance,
            "data": dict(node.visible()),
            **self.identity(ident),
        }

    def identity(self, ident: str) -> dict[str, Any]:
        """Return conversation, user and session of a context, looked up through its parents."""
        node: Node | None = self._require(ident)
        found: dict[str, Any] = {}
        while node is not None:
            found = {**node.config, **found}
            node = node.parent
        return found

    def list(self) -> list[dict[str, Any]]:
        """Return all contexts, oldest first."""
        return [entry for ident in self._nodes if (entry := self.get(ident)) is not None]

    def remove(self, ident: str) -> None:
        """Remove a context and its children. Raises ComponentError for an unknown id."""
        node = self._require(ident)
        for child in [other.ident for other in self._nodes.values() if other.parent is node]:
            self.remove(child)
        del self._nodes[ident]

    def set_memory(self, scope: Any, key: str, value: Any) -> None:
        """Set a value in the shared memory of a scope; None removes it."""
        region = self._memory.setdefault(scope_text(scope), {})
        if value is None:
            region.pop(key, None)
        else:
            region[key] = value

    def get_memory(self, scope: Any, key: str) -> Any:
        """Return a value of the shared memory of a scope, or None."""
        return self._memory.get(scope_text(scope), {}).get(key)


def _inheritance(word: Any) -> str:
    if word is None:
        return "inherit"
    if word not in INHERITANCE:
        raise ValidationError(
            f"inheritance must be one of: {', '.join(INHERITANCE)}, got {word!r}", details={"field": "inheritance"}
        )
    return str(word)
