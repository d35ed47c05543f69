"""A service on loopback that answers as it is told and keeps what it was asked."""

import asyncio
import json
from collections import deque

import pytest

from llmspell.base.effects import Direct
from llmspell.base.types import Message
from llmspell.config.model import Provider as Settings
from llmspell.config.model import Providers as Section
from llmspell.providers import ModelRequest, Providers

KEY = "sk-test-0123456789abcdef"


class Service:
    """Raw HTTP/1.1 on loopback, one answer per request in order; the last one repeats.

    An answer is (status, headers, body) with a body of bytes or of pieces sent one by one, or None to hang up.
    """

    def __init__(self):
        self.requests = []
        self.answers = deque()
        self.problems = []
        self.check = None
        self.asked = asyncio.Event()
        self._serving = set()

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def close(self):
        self._server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()

    def answer(self, body, status=200, headers=None):
        raw = body if isinstance(body, (bytes, list)) else json.dumps(body).encode()
        self.answers.append((status, headers or {}, raw))
        return self

    def hang_up(self):
        self.answers.append(None)
        return self

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b" ", 2)
                pairs = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                request = {
                    "method": method.decode(),
                    "path": path.decode(),
                    "headers": headers,
                    "body": json.loads(raw) if raw else None,
                }
                self.requests.append(request)
                self.asked.set()
                self._judge(request)
                answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
                if answer is None or not await _send(writer, *answer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    def _judge(self, request):
        if self.check is not None:
            try:
                self.check(request)
            except AssertionError as error:
                self.problems.append(error)


async def _send(writer, status, headers, body):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if isinstance(body, bytes):
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True
    writer.write(f"HTTP/1.1 {status} X\r\n{lines}connection: close\r\n\r\n".encode())
    for piece in body:
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            continue
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    return False


@pytest.fixture
async def service():
    made = await Service().open()
    yield made
    await made.close()
    assert made.problems == []


@pytest.fixture
async def connect(service):
    """Make `Providers` whose provider `name` is the service."""
    made = []

    def build(name="openai", environ=None, path="", **settings):
        settings.setdefault("api_key", KEY)
        settings.setdefault("retry_initial_delay_ms", 1)
        table = Settings(base_url=service.url + path, **settings)
        providers = Providers(Section(defined={name: table}, proxy="none"), effects=Direct(), environ=environ)
        made.append(providers)
        return providers

    yield build
    for providers in made:
        await providers.close()


@pytest.fixture
def offline():
    """`Providers` without any configured service."""
    return Providers(Section(), effects=Direct())


def user(text, **fields):
    return ModelRequest(messages=[Message(role="user", content=text)], **fields)


@pytest.fixture
def ask():
    return user
