"""Step 7 of a call: what came out of a tool, as the one envelope every caller gets.

Plain functions over plain data. A tool returns anything; here it becomes plain data, its size is capped, and every
error is sorted into those that are returned and those that are raised.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from llmspell.base.clock import rfc3339
from llmspell.errors import CancelledError, LLMSpellError, SecurityError, ValidationError
from llmspell.tools._base import Result, ToolFailure
from llmspell.tools._check import parsed_json
from llmspell.tools._spec import MISSING, Op, Spec

_SCALARS = frozenset({bool, int, float, type(None)})
_JSON_START = frozenset('{["-0123456789tfn')
_JSON_END = frozenset('}]"0123456789el')


def metadata(spec: Spec, execution_id: str, started: float, duration_s: float) -> dict[str, Any]:
    """Return the metadata every envelope has. started: epoch seconds."""
    return {
        "tool": spec.name,
        "version": spec.version,
        "execution_id": execution_id,
        "timestamp": rfc3339(started),
        "duration_ms": int(duration_s * 1000),
    }


def succeeded(op: Op, value: Any, meta: dict[str, Any], *, max_bytes: int) -> tuple[dict[str, Any], int]:
    """Return the envelope of a job that did what it was asked, and the size of its result in bytes.

    Raises ToolFailure when even cut it is too large.
    """
    label, message, text = op.label, None, None
    if type(value) is Result:
        label, message, text = value.operation or label, value.message, value.text
        if value.metadata:
            # What the pipeline measured stands, whatever a tool says of itself.
            meta.update({key: item for key, item in value.metadata.items() if key not in meta})
        value = value.value
    value, cut, size = capped(value, max_bytes)
    data: Any = MISSING
    if text is None:
        text, data = _primary(op, value)
    elif len(text) > max_bytes:
        text, cut_text, _ = capped(text, max_bytes)
        cut = cut or cut_text
    if cut:
        meta["truncated"] = True
    if message is None:
        message = op.done if label is op.label else f"Operation '{label}' completed successfully"
    if text is None:
        text = message
    elif data is MISSING:
        data = json_value(text)
    envelope = {
        "operation": label,
        "success": True,
        "message": message,
        "result": value,
        "metadata": meta,
        "text": text,
        "data": value if data is MISSING else data,
    }
    return envelope, size


def failed(op: Op | None, error: Mapping[str, Any], meta: dict[str, Any], *, partial: Any = None) -> dict[str, Any]:
    """Return the envelope of a job that ran and failed. partial: the ToolFailure's own result and text, if any."""
    label = op.label if op is not None else "unknown"
    envelope: dict[str, Any] = {
        "operation": label,
        "success": False,
        "message": f"Operation '{label}' failed: {error['message']}",
        "error": dict(error),
        "metadata": meta,
    }
    if isinstance(partial, ToolFailure):
        if partial.result is not None:
            envelope["result"] = partial.result
            envelope["data"] = partial.result
        if partial.text is not None:
            envelope["text"] = partial.text
    return envelope


def json_value(text: str) -> Any:
    """Return the value of a text that is one complete JSON value, MISSING otherwise."""
    stripped = text.strip()
    if not stripped or stripped[0] not in _JSON_START or stripped[-1] not in _JSON_END:
        return MISSING
    return parsed_json(stripped)


def _primary(op: Op, value: Any) -> tuple[str | None, Any]:
    """Return the primary text and the data it reads as, where that needs no reading."""
    if op.text is not None and type(value) is dict:
        found = value.get(op.text)
        if type(found) is int:
            return repr(found), found
        if found is None or type(found) is str:
            return found, MISSING
        return number_text(found), MISSING
    return (value if type(value) is str else None), MISSING


def number_text(value: Any) -> str:
    """Return the text of a scalar or a container: JSON, without quotes around a string."""
    if type(value) is int:
        return repr(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return repr(value)
    import msgspec

    return msgspec.json.encode(value).decode()


def capped(value: Any, limit: int) -> tuple[Any, bool, int]:
    """Return plain data of at most about `limit` bytes, whether strings were cut for that, and its size."""
    lengths: list[int] = []
    size = _measure(value, lengths)
    if size < 0:
        value = _plain(value)
        lengths.clear()
        size = _measure(value, lengths)
    if size <= limit:
        return value, False, size
    level = _water_level(lengths, limit - (size - sum(lengths)))
    if level is None:
        raise ToolFailure(
            "too_large",
            f"the result has {size} bytes, the limit is {limit}: ask for less",
            {"resource": "output_bytes", "limit": limit, "used": size},
            error_kind="resource_limit",
        )
    return _cut(value, level), True, limit


def _measure(value: Any, lengths: list[int]) -> int:
    """Return the size of plain data in bytes, roughly as JSON; -1 when something in it is not plain."""
    total = 0
    groups: list[Any] = [(value,)]
    for group in groups:
        total += 8 * len(group)
        for item in group:
            kind = type(item)
            if kind is str or kind is bytes:
                size = len(item) if kind is bytes or item.isascii() else len(item.encode("utf-8", "surrogatepass"))
                if size > 64:
                    lengths.append(size)
                total += size
            elif kind in _SCALARS:
                continue
            elif kind is dict:
                for key in item:
                    if type(key) is not str:
                        return -1
                    total += len(key)
                groups.append(item.values())
            elif kind is list:
                groups.append(item)
            else:
                return -1
    return total


def _plain(value: Any) -> Any:
    """Return what a tool returned as plain data; whatever has no such form becomes its text."""
    import msgspec

    made = msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=True, enc_hook=_own_types)
    return _without_tuples(made)


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tuples(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_tuples(item) for item in value]
    return value


def _own_types(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if callable(value):
        raise ToolFailure("unsupported_type", "cannot convert function: the result of a tool is plain data")
    return str(value)


def _water_level(lengths: list[int], room: int) -> int | None:
    """Return the largest length at which all strings together fit into `room` bytes, None when none does."""
    if room < 0:
        return None
    left = len(lengths)
    for length in sorted(lengths):
        if length * left > room:
            return room // left if room // left >= 64 else None
        room -= length
        left -= 1
    return max(lengths, default=0)


def _cut(value: Any, level: int) -> Any:
    if type(value) is str:
        raw = value.encode("utf-8", "surrogatepass")
        return value if len(raw) <= level else raw[:level].decode("utf-8", "ignore")
    if type(value) is bytes:
        return value[:level]
    if type(value) is dict:
        return {key: _cut(member, level) for key, member in value.items()}
    if type(value) is list:
        return [_cut(item, level) for item in value]
    return value


def returned_error(error: Exception, *, script: bool) -> dict[str, Any] | None:
    """Return the `error` part for a failure that is returned, None for one that is raised to the caller.

    script: the job is a script's function, whose every error but a cancellation is a failed job.
    """
    if isinstance(error, CancelledError) or getattr(error, "kind", None) == "cancelled":
        return None
    if not script and (isinstance(error, SecurityError) or is_violation(error)):
        return None
    if isinstance(error, ToolFailure):
        return _error(error.error_kind, error.message, error.code or "failed", error.details)
    if isinstance(error, LLMSpellError):
        return _error(error.kind, error.message, error.code or error.kind, error.details)
    return _foreign(error)


def is_violation(error: Exception) -> bool:
    """Tell whether `error` is a refused argument."""
    return isinstance(error, ValidationError) and error.code == "schema_violation"


def _foreign(error: Exception) -> dict[str, Any]:
    if isinstance(error, TimeoutError):
        return _error("timeout", "the call ran out of time", "timeout", {})
    if isinstance(error, UnicodeError):
        return _error("tool", f"the text is not valid: {error}"[:500], "decode_error", {})
    if isinstance(error, OSError):
        code = "not_found" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "io_error"
        reason = error.strerror or str(error)
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _error("storage", f"{where}{reason}", code, {"errno": error.errno} if error.errno else {})
    if isinstance(error, MemoryError):
        return _error("resource_limit", "the call needed too much memory", "too_large", {"resource": "memory_bytes"})
    if isinstance(error, RecursionError):
        return _error("resource_limit", "the input is nested too deeply", "limit", {"resource": "depth"})
    import logging

    logging.getLogger(__name__).error("a tool failed unexpectedly", exc_info=error)
    return _error("internal", f"the tool failed unexpectedly: {type(error).__name__}: {error}"[:500], "internal", {})


def _error(kind: str, message: str, code: str, details: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in details.items() if key != "code"}
    error: dict[str, Any] = {"kind": kind, "message": message, "code": code}
    if rest:
        error["details"] = rest
    return error
