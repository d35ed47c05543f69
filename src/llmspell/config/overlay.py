"""Changes of one interpreter on top of the process configuration; nothing here outlives it or reaches another.

A lane owns one overlay as `lane.overrides`; `lane.overrides.current` is the configuration in force for its script.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmspell.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmspell.config.model import Config

MAX_SNAPSHOTS = 100


class Overlay:
    """The configuration of one interpreter. `base` never changes; `current` is replaced at each change."""

    def __init__(self, base: Config) -> None:
        self.base = base
        self.current = base
        self._changed: set[str] = set()
        self._snapshots: dict[int, tuple[Config, set[str]]] = {}

    def check(self, path: str, value: Any) -> dict[str, Any]:
        """Return the checked values by canonical key that setting `path` to `value` means; a table sets its keys.

        Raises ConfigurationError: unknown key, wrong type or range.
        """
        from llmspell.config import aliases, schema, values
        from llmspell.config.flatten import suggestion, tool_tables

        canonical = aliases.canonical(path.replace("-", "_") if not path.startswith("providers.") else path)
        key = schema.find(canonical)
        if key is not None:
            plain = [] if value == {} and key.kind == "array" else value
            try:
                return {canonical: values.check(key, canonical, plain)}
            except ValueError as error:
                raise ConfigurationError(str(error), details={"path": canonical}) from error
        parts = canonical.split(".")
        if parts[0] == "tools" and len(parts) > 2 and parts[1] in tool_tables():
            return {canonical: value}
        tool = len(parts) == 2 and parts[0] == "tools" and parts[1] in tool_tables()
        if isinstance(value, dict) and (tool or schema.is_section(canonical)):
            found: dict[str, Any] = {}
            for name, item in value.items():
                found |= self.check(f"{canonical}.{name}", item)
            return found
        near = suggestion(canonical)
        hint = f", did you mean {near!r}?" if near else ""
        raise ConfigurationError(f"unknown configuration key {path!r}{hint}", details={"path": path})

    def apply(self, checked: Mapping[str, Any]) -> None:
        """Put checked values in force, all of them or none. Raises ConfigurationError when they contradict."""
        from llmspell.config import schema
        from llmspell.config.check import cross_check
        from llmspell.config.origin import Problem

        tree: Any = self.current
        for path, value in checked.items():
            tree = schema.with_value(tree, path, value)
        problems: list[Problem] = []
        plain = {path: schema.value_at(tree, path, mask=False) for path in schema.keys() if path.startswith("rag.")}  # noqa: SIM118  # a function
        cross_check(plain, {}, problems)
        if problems:
            raise ConfigurationError(problems[0].message, details={"path": problems[0].key})
        self.current = tree
        self._changed |= set(checked)

    def origin(self, path: str) -> str:
        """Return the word of the layer that states `path`: `script` for changes made here, `default` for none."""
        if path in self._changed:
            return "script"
        return self.base.origins.get(path, ("default", None, None))[0]

    def snapshot(self) -> int:
        """Keep the configuration in force; return its timestamp, microseconds since 1970, unique."""
        stamp = max(time.time_ns() // 1000, max(self._snapshots, default=0) + 1)
        if len(self._snapshots) >= MAX_SNAPSHOTS:
            del self._snapshots[min(self._snapshots)]
        self._snapshots[stamp] = (self.current, set(self._changed))
        return stamp

    def restore(self, stamp: int) -> None:
        """Put a snapshot in force again. Raises ConfigurationError when there is none of that timestamp."""
        if stamp not in self._snapshots:
            raise ConfigurationError(
                f"no snapshot {stamp}; there are: {self.snapshots()}", code="not_found", details={"snapshot": stamp}
            )
        self.current, changed = self._snapshots[stamp]
        self._changed = set(changed)

    def snapshots(self) -> list[int]:
        """Return the timestamps of all snapshots, oldest first."""
        return sorted(self._snapshots)
