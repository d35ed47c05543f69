"""Every error llmspell raises, as one tree.

    LLMSpellError
    |- ComponentError        unknown or unusable component, illegal lifecycle step
    |- ConfigurationError    bad or missing configuration, disabled subsystem
    |- ProviderError         a model service answered with an error
    |- ScriptError           Lua code failed
    |- ToolError             a tool cannot start or does not exist
    |- WorkflowError         a workflow failed as a whole
    |- StorageError          a store failed
    |   |- NotFound, AlreadyExists, Conflict, CorruptData, VersionMismatch, StorageFull, StorageFailure
    |- SecurityError         denied by profile, path, network or policy (also PermissionError)
    |   |- PathDenied, NetworkDenied, AccessDenied
    |- ValidationError       bad argument, schema violation (also ValueError)
    |   |- InvalidArgument, InvalidKey, InvalidScope, CycleError, UnsupportedType, MalformedData
    |   |- DimensionMismatch, NonFiniteValue, ZeroVector, DuplicateKey, EmbedderMismatch
    |- ResourceError         temporarily out of something
    |- ResourceLimitError    a limit or budget is used up
    |   |- LimitExceeded, QuotaExceeded
    |- TimeoutError          an operation ran out of time (also the builtin)
    |- NetworkError          connection failed (also ConnectionError)
    |- RateLimitError        throttled
    |   |- RateLimited
    |- SessionError          unknown or wrong-state session, artifact, replay
    |- CancelledError        task, hook or user cancelled the work
    |- InternalError         a defect of llmspell

Imports nothing, so that every floor may import it and no command pays for it.
"""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar


class LLMSpellError(Exception):
    """Root of the tree: a kind for programs, a message for people, and when to try again.

    message: one line that says what was wrong, what was expected and what to do.
    code: a word narrower than the kind (`not_found`, `path_denied`, ...); kept as `details["code"]` in scripts.
    retryable, retry_after_ms: default to those of the class; details: plain data; component: `tool:calculator`, ...
    origin: what a script raised, when the error began there; it goes back into the script unchanged.
    """

    kind: ClassVar[str] = "internal"
    default_code: ClassVar[str | None] = None
    default_retryable: ClassVar[bool] = False
    default_retry_after_ms: ClassVar[int | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        component: str | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.details: dict[str, Any] = dict(details or {})
        if self.code is not None:
            self.details.setdefault("code", self.code)
        self.component = component
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after_ms = retry_after_ms
        if self.retryable and retry_after_ms is None:
            self.retry_after_ms = self.default_retry_after_ms
        self.traceback: str | None = None
        self.origin: object = None

    def __str__(self) -> str:
        return self.message

    def to_wire(self) -> dict[str, Any]:
        """Return the error as plain data: kind, message, retryable, and what else is set."""
        wire: dict[str, Any] = {"kind": self.kind, "message": self.message, "retryable": self.retryable}
        if self.retry_after_ms is not None:
            wire["retry_after_ms"] = self.retry_after_ms
        if self.details:
            wire["details"] = self.details
        if self.component:
            wire["component"] = self.component
        if self.traceback:
            wire["traceback"] = self.traceback
        return wire


class ComponentError(LLMSpellError):
    """An unknown or unusable component, or an illegal lifecycle step."""

    kind: ClassVar[str] = "component"


class ConfigurationError(LLMSpellError):
    """Bad or missing configuration, or a subsystem that is switched off."""

    kind: ClassVar[str] = "configuration"


class ProviderError(LLMSpellError):
    """A model service answered with an error."""

    kind: ClassVar[str] = "provider"
    default_retryable: ClassVar[bool] = True
    default_retry_after_ms: ClassVar[int | None] = 2000


class ScriptError(LLMSpellError):
    """Lua code failed."""

    kind: ClassVar[str] = "script"


class ToolError(LLMSpellError):
    """A tool does not exist or cannot start."""

    kind: ClassVar[str] = "tool"


class WorkflowError(LLMSpellError):
    """A workflow failed as a whole."""

    kind: ClassVar[str] = "workflow"


class StorageError(LLMSpellError):
    """A store failed."""

    kind: ClassVar[str] = "storage"
    default_retry_after_ms: ClassVar[int | None] = 100


class SecurityError(LLMSpellError, PermissionError):
    """Denied by profile, path, network, permission or policy."""

    kind: ClassVar[str] = "security"


class ValidationError(LLMSpellError, ValueError):
    """A bad argument, a schema violation, or a value that cannot be converted."""

    kind: ClassVar[str] = "validation"


class ResourceError(LLMSpellError):
    """Temporarily out of something."""

    kind: ClassVar[str] = "resource"
    default_retryable: ClassVar[bool] = True
    default_retry_after_ms: ClassVar[int | None] = 500


class ResourceLimitError(LLMSpellError):
    """A limit or a budget is used up; details hold resource, limit, used."""

    kind: ClassVar[str] = "resource_limit"


class TimeoutError(LLMSpellError, builtins.TimeoutError):
    """An operation ran out of time."""

    kind: ClassVar[str] = "timeout"
    default_retryable: ClassVar[bool] = True
    default_retry_after_ms: ClassVar[int | None] = 5000


class NetworkError(LLMSpellError, ConnectionError):
    """A connection failed."""

    kind: ClassVar[str] = "network"
    default_retryable: ClassVar[bool] = True
    default_retry_after_ms: ClassVar[int | None] = 1000


class RateLimitError(LLMSpellError):
    """Throttled; `retry_after_ms` says for how long."""

    kind: ClassVar[str] = "rate_limit"
    default_retryable: ClassVar[bool] = True
    default_retry_after_ms: ClassVar[int | None] = 1000


class SessionError(LLMSpellError):
    """An unknown session, artifact or replay, or one in the wrong state."""

    kind: ClassVar[str] = "session"


class CancelledError(LLMSpellError):
    """A task, a hook or the user cancelled the work."""

    kind: ClassVar[str] = "cancelled"


class InternalError(LLMSpellError):
    """A defect of llmspell."""

    kind: ClassVar[str] = "internal"


class NotFound(StorageError):
    """The named thing does not exist."""

    default_code: ClassVar[str | None] = "not_found"


class AlreadyExists(StorageError):
    """The name is taken."""

    default_code: ClassVar[str | None] = "already_exists"


class Conflict(StorageError):
    """Another writer was first; try again."""

    default_code: ClassVar[str | None] = "conflict"
    default_retryable: ClassVar[bool] = True


class CorruptData(StorageError):
    """Stored bytes fail their checksum; details: path, section, offset."""

    default_code: ClassVar[str | None] = "corrupt"


class VersionMismatch(StorageError):
    """Written by a newer format; details: path, found, supported."""

    default_code: ClassVar[str | None] = "version_mismatch"


class StorageFull(StorageError):
    """No space left; nothing was written."""

    default_code: ClassVar[str | None] = "disk_full"
    default_retryable: ClassVar[bool] = True


class StorageFailure(StorageError):
    """The operating system refused; details: path, errno."""

    default_code: ClassVar[str | None] = "io"


class PathDenied(SecurityError):
    """The path lies outside what is allowed; whether it exists is not told."""

    default_code: ClassVar[str | None] = "path_denied"


class NetworkDenied(SecurityError):
    """The address is not allowed."""

    default_code: ClassVar[str | None] = "network_denied"


class AccessDenied(SecurityError):
    """A policy refused, in the same words what does not exist; details: operation, resource, policy, reason."""

    default_code: ClassVar[str | None] = "access_denied"


class InvalidArgument(ValidationError):
    """An argument is out of range or of the wrong form; details: name, value, allowed."""

    default_code: ClassVar[str | None] = "invalid_argument"


class InvalidKey(ValidationError):
    """A state key breaks a rule; details: key, rule."""

    default_code: ClassVar[str | None] = "invalid_key"


class InvalidScope(ValidationError):
    """A scope text breaks a rule; details: scope, rule."""

    default_code: ClassVar[str | None] = "invalid_scope"


class CycleError(ValidationError):
    """A container holds itself; details: path."""

    default_code: ClassVar[str | None] = "cycle"


class UnsupportedType(ValidationError):
    """A value has no encoding; details: path, type."""

    default_code: ClassVar[str | None] = "unsupported_type"


class MalformedData(ValidationError):
    """Bytes do not follow their format; details: offset, reason."""

    default_code: ClassVar[str | None] = "malformed"


class DimensionMismatch(ValidationError):
    """A vector has the wrong length; details: expected, got."""

    default_code: ClassVar[str | None] = "dimension_mismatch"


class NonFiniteValue(ValidationError):
    """A vector holds NaN or Inf; details: row, column."""

    default_code: ClassVar[str | None] = "non_finite"


class ZeroVector(ValidationError):
    """A zero vector has no direction; details: row."""

    default_code: ClassVar[str | None] = "zero_vector"


class DuplicateKey(ValidationError):
    """A key is live or repeated and replace is off; details: key."""

    default_code: ClassVar[str | None] = "duplicate_key"


class EmbedderMismatch(ValidationError):
    """The collection was made with another embedder; details: collection, recorded, given."""

    default_code: ClassVar[str | None] = "embedder_mismatch"


class LimitExceeded(ResourceLimitError):
    """A stated limit was passed; details: resource, limit, used."""

    default_code: ClassVar[str | None] = "limit_exceeded"


class QuotaExceeded(ResourceLimitError):
    """A tenant would pass its limit; nothing was stored. Details: tenant, resource, limit, used, requested."""

    default_code: ClassVar[str | None] = "quota_exceeded"


class RateLimited(RateLimitError):
    """Too many calls in a short time; details: limit, window, retry_after_ms."""

    default_code: ClassVar[str | None] = "rate_limited"


BY_KIND: dict[str, type[LLMSpellError]] = {cls.kind: cls for cls in LLMSpellError.__subclasses__()}


def from_wire(wire: Mapping[str, Any]) -> LLMSpellError:
    """Rebuild an error from `to_wire` data; an unknown kind becomes an InternalError."""
    cls = BY_KIND.get(str(wire.get("kind")), InternalError)
    error = cls(
        str(wire.get("message", "")),
        details=wire.get("details"),
        component=wire.get("component"),
        retryable=wire.get("retryable"),
        retry_after_ms=wire.get("retry_after_ms"),
    )
    error.code = error.details.get("code", error.code)
    error.traceback = wire.get("traceback")
    return error
