"""What an agent may call: its list of names, globs, inline tools and agents, resolved against the registry of tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from llmspell.base.registry import canonical, nearest
from llmspell.errors import ToolError, ValidationError

if TYPE_CHECKING:
    from llmspell.providers._base import ToolSchema
    from llmspell.tools import Tools

GLOB = frozenset("*?[")
SPEC_OPTIONS = ("description", "category", "timeout_ms", "version", "tags", "output_schema")


class Toolbox:
    """The tools of one agent.

    names: in the order of the list, globs expanded. wrap: gives the tool name of an agent's name, or None.
    Raises ToolError for an unknown entry. `own` lists the inline tools registered for it.
    """

    def __init__(self, entries: list[Any], tools: Tools, *, wrap: Callable[[str], str | None]) -> None:
        self._tools = tools
        self.own: list[str] = []
        self._schemas: list[ToolSchema] | None = None
        found: dict[str, str] = {}
        try:
            for entry in entries:
                for name in self._resolve(entry, wrap):
                    found[canonical(name)] = name
        except BaseException:
            self.close()
            raise
        self._found = found

    def _resolve(self, entry: Any, wrap: Callable[[str], str | None]) -> list[str]:
        if isinstance(entry, dict):
            return [self._register(entry)]
        if not isinstance(entry, str):
            raise ValidationError(
                f"a tool must be a name, a tool table or an agent, got {type(entry).__name__}",
                details={"field": "tools"},
            )
        if GLOB.intersection(entry):
            pattern = canonical(entry)
            return [row["name"] for row in self._tools.list() if fnmatchcase(canonical(row["name"]), pattern)]
        spec = self._tools.get(entry)
        if spec is not None:
            return [spec.name]
        wrapped = wrap(entry)
        if wrapped is not None:
            return [wrapped]
        near = nearest(entry, [row["name"] for row in self._tools.list()])
        hint = f", did you mean {' or '.join(repr(item) for item in near)}?" if near else ""
        raise ToolError(
            f"Tool '{entry}' not found{hint}",
            code="not_found",
            details={"tool": entry, "suggestions": near},
            component=f"tool:{entry}",
        )

    def _register(self, spec: dict[str, Any]) -> str:
        name = spec.get("name")
        handler = spec.get("execute") or spec.get("handler")
        if not isinstance(name, str) or not callable(handler):
            raise ValidationError("an inline tool needs a name and an execute function", details={"field": "tools"})
        options = {key: spec[key] for key in SPEC_OPTIONS if spec.get(key) is not None}
        level = spec.get("security_level") or spec.get("level")
        if level is not None:
            options["level"] = level
        schema = spec.get("parameters") if spec.get("parameters") is not None else spec.get("schema")
        self._tools.register(name, handler, schema, **options)
        self.own.append(name)
        return name

    @property
    def names(self) -> list[str]:
        """The names a model may call."""
        return list(self._found.values())

    def allowed(self, name: str) -> str | None:
        """Return the proper name when the tool may be called, else None."""
        return self._found.get(name) or self._found.get(canonical(name))

    def serial(self, name: str) -> bool:
        """Whether calls of this tool must not run side by side."""
        spec = self._tools.get(name)
        return spec is not None and not spec.header.hints.get("idempotentHint", True)

    def needs_approval(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether the policy of the tools wants a yes for this call. Raises what bad arguments raise."""
        return self._tools.needs_approval(name, params)

    def schemas(self) -> list[ToolSchema]:
        """Return what the model is shown; read from the registry once."""
        if self._schemas is None:
            from llmspell.providers._base import ToolSchema

            self._schemas = [
                ToolSchema(name=wire["name"], description=wire["description"], parameters=wire["input_schema"])
                for name in self._found.values()
                if (wire := self._tools.schema(name)) is not None
            ]
        return self._schemas

    def metadata(self, name: str) -> Mapping[str, Any] | None:
        """Return `{name, description, version, category, schema}` of an allowed tool, or None."""
        proper = self.allowed(name)
        info = None if proper is None else self._tools.info(proper)
        if proper is None or info is None:
            return None
        wire = self._tools.schema(proper) or {}
        return {
            "name": info["name"],
            "description": info["description"],
            "version": info["version"],
            "category": info["category"],
            "schema": wire.get("input_schema"),
        }

    def close(self) -> None:
        """Remove the inline tools."""
        for name in self.own:
            self._tools.unregister(name)
        self.own.clear()
