"""The contract of agents: what an agent is told when it is made, and what one run is asked.

create{...}  -> AgentConfig            frozen; a call's overrides give a changed copy
execute(x)   -> Ask                    one input, parsed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llmspell.base.types import Media, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmspell.base.types import Chunk

    Emit = Callable[[Chunk], Awaitable[Any]] | None


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one agent, as scripts name them. None leaves the model's or the configuration's own value.

    max_execution_time: seconds. handler, on_tool_call, on_approval: async callables. tools: names, globs, specs.
    """

    name: str
    description: str = "LLM-powered agent"
    type: str = "llm"
    model: str | None = None
    provider: str | None = None
    fallbacks: list[str] = []
    base_url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] = {}
    timeout_ms: float | None = None
    retry: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    system_prompt: str | None = None
    prompt_variables: bool = False
    context_in_prompt: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    stop: list[str] = []
    seed: int | None = None
    reasoning: dict[str, Any] | None = None
    cache: Literal["off", "auto", "manual"] = "auto"
    output_schema: dict[str, Any] | None = None
    output_retries: int = 2
    tools: list[Any] = []
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    max_parallel_tools: int = 8
    max_result_tokens: int = 8000
    capabilities: list[str] = []
    tags: list[str] = []
    memory_enabled: bool = True
    session: str | None = None
    conversation_id: str | None = None
    max_conversation_length: int = 100
    context_window: int | None = None
    compaction: Literal["trim", "off"] = "trim"
    max_execution_time: float = 300.0
    max_tool_calls: int = 100
    max_model_calls: int = 50
    max_recursion_depth: int = 10
    max_memory_mb: float = 512
    on_limit: Literal["finish", "raise"] = "finish"
    budget: dict[str, Any] = {}
    circuit_breaker: bool = False
    auto_recovery: bool = True
    guardrails: dict[str, Any] = {}
    handler: Any = None
    on_tool_call: Any = None
    approval: Literal["policy", "always", "never"] | list[str] = "policy"
    approval_wait: Literal["wait", "deny"] = "wait"
    on_approval: Any = None
    replies: list[Any] | None = None
    loop: bool = False
    custom_config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Ask(msgspec.Struct, kw_only=True):
    """What one run is asked: the user's message, further messages, and what this call overrides."""

    text: str = ""
    media: list[Media] = []
    messages: list[Message] = []
    parameters: dict[str, Any] = {}
    context: dict[str, Any] = {}
    context_id: str | None = None
    stream: Any = None
    config: AgentConfig
