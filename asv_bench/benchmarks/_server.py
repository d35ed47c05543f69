"""A mock of an OpenAI-compatible service with canned answers, made to be faster than any client it measures.

Run as a process of its own: `python _server.py` writes its port on the first line and serves until its input closes.
Requests are framed by Content-Length; `"stream":true` in the body gets server-sent events, anything else one JSON
answer. A request that offers tools and holds no tool message yet gets one call of the first tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

WORDS = 200
CHUNKS = 500
TEXT = " ".join(f"word{i % 10}" for i in range(WORDS))
USAGE = {"prompt_tokens": 12, "completion_tokens": WORDS, "total_tokens": WORDS + 12}


def _answer(message: dict, reason: str) -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "bench",
            "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
            "usage": USAGE,
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _stream() -> bytes:
    lines = []
    for i in range(CHUNKS):
        delta = {"role": "assistant", "content": f"w{i} "} if i == 0 else {"content": f"w{i} "}
        chunk = {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "bench",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
        lines.append(f"data: {json.dumps(chunk)}\n\n")
    last = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "bench",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    body = ("".join(lines) + f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n").encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


PLAIN = _answer({"role": "assistant", "content": TEXT}, "stop")
STREAM = _stream()
CALL = _answer(
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "calculator", "arguments": '{"input": "1+1"}'}}
        ],
    },
    "tool_calls",
)


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests may be pipelined."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer = self.buffer + data if self.buffer else data
        while True:
            head, mark, rest = self.buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            self.transport.write(_choose(body))


def _choose(body):
    if b'"stream":true' in body or b'"stream": true' in body:
        return STREAM
    if b'"tools"' in body and b'"role":"tool"' not in body and b'"role": "tool"' not in body:
        return CALL
    return PLAIN


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class MockServer:
    """The server in its own process: `with MockServer() as base_url`."""

    def __init__(self, cpus: set[int] | None = None) -> None:
        self._cpus = cpus

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._cpus:
            import os

            with contextlib.suppress(OSError):
                os.sched_setaffinity(self._process.pid, self._cpus)
        return f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"

    def __exit__(self, *error) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())
