"""From a table of settings to an AgentConfig: aliases, nested forms, types, and the overrides of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from llmspell.agents._base import AgentConfig
from llmspell.base.budget import Budget
from llmspell.base.ids import short
from llmspell.base.registry import nearest
from llmspell.errors import ValidationError

ALIASES = {
    "agent_type": "type",
    "system": "system_prompt",
    "instructions": "system_prompt",
    "response_format": "output_schema",
    "allowed_tools": "tools",
    "conversation": "memory_enabled",
    "session_id": "session",
    "max_execution_time_secs": "max_execution_time",
    "max_execution_time_seconds": "max_execution_time",
}
APPEND = {
    "tool": "tools",
    "add_tool": "tools",
    "allow_tool": "tools",
    "capability": "capabilities",
    "fallback": "fallbacks",
    "tag": "tags",
}
LISTS = frozenset({"tools", "capabilities", "fallbacks", "tags", "stop", "replies"})
LIMIT_KEYS = {
    "max_execution_time_secs": "max_execution_time",
    "max_memory_mb": "max_memory_mb",
    "max_tool_calls": "max_tool_calls",
    "max_model_calls": "max_model_calls",
    "max_recursion_depth": "max_recursion_depth",
}
BUDGET_LIMITS = {"max_tokens_total": "max_tokens", "max_cost_usd": "max_cost_usd"}
FIELDS = frozenset(AgentConfig.__struct_fields__)
FREE = frozenset({"custom_config", "settings"})
COUNTS = (
    "max_tool_calls",
    "max_model_calls",
    "max_recursion_depth",
    "max_parallel_tools",
    "max_conversation_length",
    "output_retries",
    "max_result_tokens",
)
OVERRIDES = frozenset(
    {
        "model",
        "provider",
        "system_prompt",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "seed",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "output_schema",
        "output_retries",
        "timeout_ms",
        "max_tool_calls",
        "max_model_calls",
        "on_limit",
        "memory_enabled",
        "budget",
        "reasoning",
        "fallbacks",
        "context_in_prompt",
        "extra",
    }
)
KNOWN = FIELDS | FREE | frozenset(ALIASES) | frozenset(APPEND) | {"resource_limits", "timeout_seconds", "max_retries"}
"""Every key a table of settings may have."""

Warn = Callable[[str], None]


def parse(table: Mapping[str, Any], *, warn: Warn | None = None) -> AgentConfig:
    """Return the settings a table states; `warn` gets a sentence per unknown key.

    Keys of `custom_config` and `settings` that are setters count as if written outside, where the outer ones win; the
    rest goes to the provider as further body fields. Raises ValidationError naming a field of the wrong type.
    """
    values: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for free in ("settings", "custom_config"):
        inner = _table(table.get(free), free)
        known, others = _split(inner)
        values.update(flatten(known, warn=None))
        rest.update(others)
    values.update(flatten(table, warn=warn))
    if rest:
        values["extra"] = {**rest, **_table(values.get("extra"), "extra")}
        values["custom_config"] = {**rest, **_table(values.get("custom_config"), "custom_config")}
    values.setdefault("name", f"agent_{short(8)}")
    config = build(values)
    Budget.parse(config.budget)
    return config


def _split(inner: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    known = {key: value for key, value in inner.items() if key in KNOWN and key not in FREE and key != "name"}
    return known, {key: value for key, value in inner.items() if key not in known}


def flatten(table: Mapping[str, Any], *, warn: Warn | None) -> dict[str, Any]:
    """Return the fields a table sets, under their canonical names."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = ALIASES.get(key, key)
        if value is None or key == "settings":
            continue
        if name in APPEND:
            field = APPEND[name]
            values[field] = [*_listed(values.get(field, table.get(field))), value]
        elif name in _NESTED:
            _NESTED[name](value, table, values)
        elif name in FIELDS:
            if name not in values or name not in APPEND.values():
                values[name] = _listed(value) if name in LISTS else value
        elif warn is not None:
            near = nearest(key, sorted(KNOWN), limit=1)
            warn(f"unknown agent option '{key}'" + (f", did you mean '{near[0]}'?" if near else ""))
    return values


def _model(value: Any, _: Mapping[str, Any], values: dict[str, Any]) -> None:
    if isinstance(value, dict):
        _nested_model(value, values)
    else:
        values["model"] = value


def _resource_limits(value: Any, _: Mapping[str, Any], values: dict[str, Any]) -> None:
    _limits(_table(value, "resource_limits"), values)


def _timeout_seconds(value: Any, _: Mapping[str, Any], values: dict[str, Any]) -> None:
    values["timeout_ms"] = _number(value, "timeout_seconds") * 1000


def _max_retries(value: Any, table: Mapping[str, Any], values: dict[str, Any]) -> None:
    values["retry"] = {**_table(table.get("retry"), "retry"), "max_attempts": _number(value, "max_retries") + 1}


def _reasoning(value: Any, _: Mapping[str, Any], values: dict[str, Any]) -> None:
    values["reasoning"] = {"effort": value} if isinstance(value, str) else value


_NESTED: dict[str, Callable[[Any, Mapping[str, Any], dict[str, Any]], None]] = {
    "model": _model,
    "resource_limits": _resource_limits,
    "timeout_seconds": _timeout_seconds,
    "max_retries": _max_retries,
    "reasoning": _reasoning,
}


def _nested_model(model: dict[str, Any], values: dict[str, Any]) -> None:
    """Read the `model{provider, model_id, temperature?, max_tokens?, settings?}` form of definitions."""
    if model.get("provider") is not None:
        values["provider"] = model["provider"]
    name = model.get("model_id") or model.get("model") or model.get("name")
    if name is not None:
        values["model"] = name
    for key in ("temperature", "max_tokens"):
        if model.get(key) is not None:
            values.setdefault(key, model[key])
    for key, value in _table(model.get("settings"), "model.settings").items():
        if key in FIELDS:
            values.setdefault(key, value)
        else:
            values["extra"] = {**values.get("extra", {}), key: value}


def _limits(limits: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in limits.items():
        if key in LIMIT_KEYS:
            values.setdefault(LIMIT_KEYS[key], value)
        elif key in BUDGET_LIMITS:
            values["budget"] = {BUDGET_LIMITS[key]: value, **_table(values.get("budget"), "budget")}
        else:
            known = ", ".join([*LIMIT_KEYS, *BUDGET_LIMITS])
            raise ValidationError(
                f"unknown key 'resource_limits.{key}', expected one of: {known}",
                details={"field": f"resource_limits.{key}"},
            )


def build(values: dict[str, Any]) -> AgentConfig:
    """Return checked settings from canonical fields. Raises ValidationError."""
    for field in COUNTS:
        value = values.get(field)
        if isinstance(value, float) and value.is_integer():
            values[field] = int(value)
    try:
        config = msgspec.convert(values, AgentConfig)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        field = where.strip("`").removeprefix("$").lstrip(".") or "config"
        raise ValidationError(
            f"agent field '{field}': {what[0].lower()}{what[1:]}", details={"field": field}
        ) from error
    _check_ranges(config)
    _check_functions(config)
    return config


def _check_functions(config: AgentConfig) -> None:
    for field in ("handler", "on_tool_call", "on_approval"):
        if getattr(config, field) is not None and not callable(getattr(config, field)):
            raise ValidationError(f"agent field '{field}' must be a function", details={"field": field})
    for side, checks in config.guardrails.items():
        given = checks if isinstance(checks, list) else [checks]
        if side not in ("input", "output") or not all(callable(check) for check in given):
            raise ValidationError(
                "agent field 'guardrails' must be {input = functions, output = functions}",
                details={"field": f"guardrails.{side}"},
            )


def _check_ranges(config: AgentConfig) -> None:
    if not config.name:
        raise ValidationError("agent field 'name' must not be empty", details={"field": "name"})
    for field in COUNTS:
        if getattr(config, field) < 0:
            raise ValidationError(f"agent field '{field}' must be at least 0", details={"field": field})
    if config.max_execution_time <= 0:
        raise ValidationError(
            "agent field 'max_execution_time' must be above 0 seconds", details={"field": "max_execution_time"}
        )
    for key in ("max_attempts", "backoff_ms"):
        value = config.retry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise ValidationError(
                f"agent field 'retry.{key}' must be a number of at least 0", details={"field": f"retry.{key}"}
            )
    if config.timeout_ms is not None and config.timeout_ms <= 0:
        raise ValidationError("agent field 'timeout_ms' must be above 0", details={"field": "timeout_ms"})


def override(config: AgentConfig, options: Mapping[str, Any]) -> AgentConfig:
    """Return `config` changed by the overrides of one call; other keys of `options` are left alone."""
    changes = {key: value for key, value in flatten(options, warn=None).items() if key in OVERRIDES}
    if not changes:
        return config
    if "model" in changes and "provider" not in changes and "/" in str(changes["model"]):
        changes["provider"] = None
    return build({**{field: getattr(config, field) for field in FIELDS}, **changes})


def to_wire(config: AgentConfig) -> dict[str, Any]:
    """Return the settings as plain data: the key masked, callables and unset fields left out."""
    wire: dict[str, Any] = {}
    for field in AgentConfig.__struct_fields__:
        value = getattr(config, field)
        if value is None or callable(value) or field in ("replies", "guardrails"):
            continue
        wire[field] = value
    if config.api_key is not None:
        wire["api_key"] = "***"
    wire["headers"] = dict.fromkeys(config.headers, "***")
    wire["tools"] = [tool["name"] if isinstance(tool, dict) else tool for tool in config.tools]
    return wire


def _listed(value: Any) -> list[Any]:
    if value is None or value == {}:
        return []
    return list(value) if isinstance(value, list) else [value]


def _table(value: Any, field: str) -> dict[str, Any]:
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise ValidationError(f"agent field '{field}' must be a table", details={"field": field})
    return value


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f"agent field '{field}' must be a number", details={"field": field})
    return value
