"""What an agent remembers: messages, how they are trimmed, and one run at a time on them.

A run works on a copy and hands it back when it succeeds, so a failed run leaves no half turn behind.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import rfc3339
from llmspell.base.types import Message, ToolCall
from llmspell.errors import ValidationError

if TYPE_CHECKING:
    import asyncio

ROLES = ("system", "user", "assistant", "tool")
BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
"""What a message costs besides its text: role and separators."""


def message(role: str, content: str, **fields: Any) -> Message:
    """Return a message stamped with the time. Raises ValidationError for an unknown role."""
    if role not in ROLES:
        raise ValidationError(
            f"unknown role '{role}', expected one of: {', '.join(ROLES)}", details={"field": "role", "got": role}
        )
    return Message(role=role, content=content, timestamp=rfc3339(), **fields)  # type: ignore[arg-type] # checked above


def estimate(messages: list[Message]) -> int:
    """Return about how many tokens `messages` are: four characters to a token."""
    total = 0
    for item in messages:
        size = len(item.content)
        for call in item.tool_calls:
            size += len(call.name) + len(str(call.arguments))
        total += size // BYTES_PER_TOKEN + MESSAGE_TOKENS
    return total


def size_bytes(messages: list[Message]) -> int:
    """Return about how many bytes `messages` hold."""
    total = 0
    for item in messages:
        total += len(item.content) + sum(len(media.data or b"") for media in item.media)
        total += sum(len(call.name) + len(str(call.arguments)) for call in item.tool_calls)
    return total


def trim(messages: list[Message], *, count: int, tokens: int | None = None, keep_last: bool = True) -> list[Message]:
    """Drop the oldest turns until at most `count` messages of about `tokens` tokens are left.

    A turn starts with a user message. System messages stay, and a tool call stays with its results. keep_last: the
    newest turn stays whatever its size. Costs what it drops, unless `tokens` asks for an estimate of all.
    """
    left = len(messages)
    weight = estimate(messages) if tokens is not None else 0
    room = tokens or 0
    last = _last_turn(messages) if keep_last else left
    system: list[Message] = []
    at = 0
    while at < last and (left > count or weight > room):
        item = messages[at]
        at += 1
        if item.role == "system":
            system.append(item)
            continue
        turn = [item]
        while at < len(messages) and messages[at].role not in ("user", "system"):
            turn.append(messages[at])
            at += 1
        left -= len(turn)
        weight -= estimate(turn) if tokens is not None else 0
    return messages if at == 0 else [*system, *messages[at:]]


def _last_turn(messages: list[Message]) -> int:
    """Return the index of the last user message, or the length when there is none."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    return len(messages)


class Conversation:
    """Messages of one agent; `acquire` and `release` frame a run, and runs queue in order."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._size: int | None = 0
        self.owner: str | None = None
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def messages(self) -> list[Message]:
        """The messages, oldest first; the list itself is never changed in place."""
        return self._messages

    def put(self, messages: list[Message], size: int | None = None) -> None:
        """Replace the messages. size: their `size_bytes`, when it is known."""
        self._messages = messages
        self._size = size

    @property
    def size(self) -> int:
        """About how many bytes the messages hold."""
        if self._size is None:
            self._size = size_bytes(self._messages)
        return self._size

    async def acquire(self, execution_id: str) -> None:
        """Wait until no other run uses the conversation, and take it."""
        while self.owner is not None:
            import asyncio

            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except BaseException:
                if turn in self._queue:
                    self._queue.remove(turn)
                elif self.owner is None:
                    self._next()
                raise
        self.owner = execution_id

    def release(self) -> None:
        """Let the next run in."""
        self.owner = None
        self._next()

    def _next(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def add(self, role: str, content: str) -> None:
        """Append a message by hand."""
        self.put([*self._messages, message(role, content)])

    def clear(self) -> None:
        """Forget everything."""
        self.put([], 0)

    def trim(self, count: int) -> None:
        """Drop the oldest turns until at most `count` messages are left."""
        self.put(trim(self._messages, count=count, keep_last=False))

    def history(self) -> list[dict[str, Any]]:
        """Return the messages as plain data, oldest first."""
        return [to_wire(item) for item in self.messages]

    def replace(self, entries: list[Any]) -> None:
        """Take over messages given as plain data. Raises ValidationError naming the bad entry."""
        self.put(parse_messages(entries))


def to_wire(item: Message) -> dict[str, Any]:
    """Return one message as plain data."""
    wire: dict[str, Any] = {"role": item.role, "content": item.content}
    if item.timestamp is not None:
        wire["timestamp"] = item.timestamp
    if item.tool_calls:
        wire["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in item.tool_calls]
    if item.tool_call_id is not None:
        wire["tool_call_id"] = item.tool_call_id
    if item.name is not None:
        wire["name"] = item.name
    if item.is_error:
        wire["is_error"] = True
    return wire


def parse_messages(entries: Any) -> list[Message]:
    """Return messages from plain data. Raises ValidationError naming the index of a bad entry."""
    if not isinstance(entries, list) and entries != {}:
        raise ValidationError(f"messages must be a list, got {type(entries).__name__}", details={"field": "messages"})
    return [_parse(entry, index) for index, entry in enumerate(entries, 1)]


def _parse(entry: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(entry, dict):
        raise ValidationError(f"{where} must be a table with role and content", details={"field": where})
    role, content = entry.get("role"), entry.get("content", "")
    if role not in ROLES:
        raise ValidationError(f"{where}.role must be one of: {', '.join(ROLES)}", details={"field": f"{where}.role"})
    if not isinstance(content, str):
        raise ValidationError(f"{where}.content must be a string", details={"field": f"{where}.content"})
    calls = []
    for call in entry.get("tool_calls") or []:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ValidationError(f"{where}.tool_calls needs name and arguments", details={"field": where})
        calls.append(ToolCall(id=str(call.get("id", "")), name=call["name"], arguments=call.get("arguments") or {}))
    item = message(role, content, tool_calls=calls)
    item.tool_call_id = entry.get("tool_call_id")
    item.name = entry.get("name")
    item.is_error = bool(entry.get("is_error"))
    if isinstance(entry.get("timestamp"), str):
        item.timestamp = entry["timestamp"]
    return item
