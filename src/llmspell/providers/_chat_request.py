"""Renders a request in the chat completions dialect, by the flags of a profile."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.providers import _media
from llmspell.providers._base import ModelRequest, ToolSchema
from llmspell.providers._chat_wire import message_out
from llmspell.providers._names import simplify, wire_names
from llmspell.providers._profiles import Profile

PARAMETERS = (
    "temperature", "top_p", "top_k", "max_tokens", "seed", "presence_penalty", "frequency_penalty", "user",
)  # fmt: skip
OPTIONAL = frozenset({"top_k"})
RESERVED = frozenset({"model", "messages", "stream"})
_MAX_CACHED = 1024


class ChatRequest:
    """Turns neutral requests into bodies. Tools are rendered once for each schema object."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._refused: dict[str, frozenset[str]] = {}
        self._tools: dict[tuple[int, str], tuple[ToolSchema, msgspec.Raw]] = {}

    def refused(self, model: str) -> frozenset[str]:
        """Return the parameters that the service does not take for `model`."""
        found = self._refused.get(model)
        if found is None:
            profile = self._profile
            found = frozenset({*profile.drop, *profile.model(model).drop, *(OPTIONAL - set(profile.keep))})
            self._refused[model] = found
        return found

    def body(self, request: ModelRequest, *, stream: bool, where: str) -> tuple[dict[str, Any], list[str]]:
        """Return the body and the names of dropped parameters."""
        profile = self._profile
        if any(message.media for message in request.messages):
            _media.check(request.messages, profile.media, where)
        names = wire_names([tool.name for tool in request.tools]) if request.tools else {}
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [message_out(message, names) for message in request.messages],
        }
        dropped = self._parameters(body, request)
        if request.stop:
            self._set(body, "stop", request.stop, request.model, dropped)
        if request.reasoning:
            effort = request.reasoning.get("effort")
            if effort and effort != "none":
                self._set(body, "reasoning_effort", effort, request.model, dropped)
        if request.tools:
            self._add_tools(body, request, names, dropped)
        if request.output_schema is not None:
            self._add_schema(body, request.output_schema)
        if stream:
            body["stream"] = True
            if profile.stream_usage:
                body["stream_options"] = {"include_usage": True}
        if request.extra:
            body.update({key: value for key, value in request.extra.items() if key not in RESERVED})
        return body, dropped

    def _parameters(self, body: dict[str, Any], request: ModelRequest) -> list[str]:
        dropped: list[str] = []
        for name in PARAMETERS:
            value = getattr(request, name)
            if value is not None:
                self._set(body, name, value, request.model, dropped)
        return dropped

    def _set(self, body: dict[str, Any], name: str, value: Any, model: str, dropped: list[str]) -> None:
        if name in self.refused(model):
            dropped.append(name)
        else:
            body[self._profile.parameter_map.get(name, name)] = value

    def _add_tools(
        self, body: dict[str, Any], request: ModelRequest, names: dict[str, str], dropped: list[str]
    ) -> None:
        if not self._profile.tools:
            dropped.append("tools")
            return
        body["tools"] = [self._tool(tool, names[tool.name]) for tool in request.tools]
        choice = request.tool_choice
        if choice == "required":
            body["tool_choice"] = self._profile.required_word
        elif choice in names:
            body["tool_choice"] = {"type": "function", "function": {"name": names[choice]}}
        elif choice != "auto":
            body["tool_choice"] = choice
        if request.parallel_tool_calls is not None:
            self._set(body, "parallel_tool_calls", request.parallel_tool_calls, request.model, dropped)

    def _tool(self, tool: ToolSchema, wire: str) -> msgspec.Raw:
        known = self._tools.get((id(tool), wire))
        if known is not None and known[0] is tool:
            return known[1]
        strict = tool.strict and self._profile.strict_tools
        function: dict[str, Any] = {
            "name": wire,
            "description": tool.description,
            "parameters": simplify(tool.parameters or {"type": "object", "properties": {}}, strict=strict),
        }
        if strict:
            function["strict"] = True
        raw = msgspec.Raw(msgspec.json.encode({"type": "function", "function": function}))
        if len(self._tools) >= _MAX_CACHED:
            self._tools.clear()
        self._tools[(id(tool), wire)] = (tool, raw)
        return raw

    def _add_schema(self, body: dict[str, Any], schema: dict[str, Any]) -> None:
        plain = simplify(schema)
        mode = self._profile.structured
        if mode == "native" and schema.get("type") == "object":
            strict = simplify(schema, strict=True) == plain
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "output", "schema": plain, "strict": strict},
            }
            return
        if mode in ("native", "json_mode") and schema.get("type") == "object":
            body["response_format"] = {"type": "json_object"}
        body["messages"] = [{"role": "system", "content": schema_prompt(plain)}, *body["messages"]]


def schema_prompt(schema: dict[str, Any]) -> str:
    """Return the instruction that asks for an answer by schema, where a service has no other way."""
    text = msgspec.json.encode(schema, order="sorted").decode()
    return f"Answer only with one JSON value that follows this JSON schema, without fences or comments:\n{text}"
