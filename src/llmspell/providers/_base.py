"""The contract of a provider, and the data that crosses it.

    app.providers                  resolves a model, finds key and address, retries, prices, counts
      -> Provider (one file)       renders one request, sends it, reads one answer; holds no conversation
           -> profile (one .toml)  base URL, names of keys, flags of the dialect

A provider file has one class `Provider` built from `(endpoint, shared)`; it makes no network call before it is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from llmspell.base.types import FinishReason, Media, Message, ToolCall, Usage

if TYPE_CHECKING:
    from llmspell.base.context import Context


class ToolSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model sees it. `parameters` is a JSON schema of type object; `strict` asks for exact arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange with a model, in neutral form.

    model: filled in by `Providers`, without the provider's name. tool_choice: auto, none, required or the name of a
    tool. reasoning: `{effort, max_tokens?}`. extra: further body fields, sent verbatim. context_window: tokens wanted
    of a local model. script: `Turns` of the asking agent, read by the scripted model only.
    """

    messages: list[Message]
    model: str = ""
    tools: list[ToolSchema] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    output_schema: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: list[str] = []
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning: dict[str, Any] | None = None
    cache: Literal["off", "auto", "manual"] = "auto"
    user: str | None = None
    context_window: int | None = None
    extra: dict[str, Any] = {}
    script: Any = None


class ModelResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `native_finish_reason` is the provider's own word; `dropped_parameters` were not supported."""

    message: Message
    usage: Usage = Usage()
    finish_reason: FinishReason = "stop"
    native_finish_reason: str | None = None
    model: str = ""
    provider: str = ""
    request_id: str | None = None
    latency_ms: int = 0
    ttft_ms: int | None = None
    reasoning: str = ""
    dropped_parameters: list[str] = []
    warnings: list[str] = []
    attempts: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        """The answer's text, maybe empty."""
        return self.message.content

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls the model asks for."""
        return self.message.tool_calls


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream: start, deltas, usage, finish, in this order.

    text: of text_delta and reasoning_delta; of tool_call_delta a piece of the argument text. index, id, name: of the
    tool call. arguments: of tool_call_end. response: of finish, everything assembled.
    """

    type: Literal[
        "start",
        "text_delta",
        "reasoning_delta",
        "tool_call_start",
        "tool_call_delta",
        "tool_call_end",
        "media",
        "usage",
        "finish",
        "ping",
    ]
    text: str = ""
    index: int = 0
    id: str | None = None
    name: str | None = None
    model: str | None = None
    arguments: dict[str, Any] | None = None
    media: Media | None = None
    usage: Usage | None = None
    reason: FinishReason | None = None
    response: ModelResponse | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors in the order of the inputs, with what they cost."""

    vectors: list[list[float]]
    model: str
    usage: Usage = Usage()


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can do; unknown limits are None."""

    streaming: bool = True
    multimodal: bool = False
    media_types: tuple[str, ...] = ("text",)
    tools: bool = True
    structured_output: bool = False
    parallel_tools: bool = True
    embeddings: bool = False
    max_context_tokens: int | None = None
    max_output_tokens: int | None = None


class Account(Protocol):
    """Who pays for calls: asked before each, told after it."""

    def before(self, context: Context | None) -> None:
        """Raise when the caller may not spend more."""

    def after(self, context: Context | None, usage: Usage) -> None:
        """Note what a call cost."""


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller sets for its own calls; None leaves the configuration in force.

    max_attempts counts all tries. A `base_url` marked `untrusted` (set by a script in profile `safe`) never receives
    a key from the configuration or the environment.
    """

    base_url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] = {}
    timeout_s: float | None = None
    max_attempts: int | None = None
    backoff_ms: float | None = None
    untrusted: bool = False

    def __repr__(self) -> str:
        return f"CallOptions(base_url={self.base_url!r}, api_key={'set' if self.api_key else None})"


class Rendered(msgspec.Struct, frozen=True):
    """A request as it goes out; `dropped` names the parameters the dialect or the profile does not know."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    dropped: list[str] = []

    def __repr__(self) -> str:
        return f"Rendered({self.method} {self.url}, {len(self.body)} bytes)"


class Provider(Protocol):
    """One model service. Errors are those of `llmspell.errors`, with the codes of `_errors`."""

    def capabilities(self, model: str) -> Capabilities:
        """Return what `model` can do, by the profile's table; unknown models get the profile's defaults."""
        ...

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the bytes to send. Pure: the same request gives the same bytes."""
        ...

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Do one exchange."""
        ...

    def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Do one exchange event by event; closing the iterator closes the connection."""
        ...

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Return one vector per input; raises ProviderError `unsupported`."""
        ...

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the ids the service offers, sorted."""
        ...
