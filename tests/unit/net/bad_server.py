"""A loopback server that answers as told, and a canary that counts whoever reaches it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager


class Server:
    """Each path has a handler `async (request, writer)`; `hits` holds what arrived."""

    def __init__(self):
        self.handlers = {}
        self.hits = []
        self.port = 0

    def url(self, path="/", host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    def on(self, path, *answers):
        """Answer with these bytes (or handlers) in turn; the last one for ever after."""
        self.handlers[path] = list(answers)

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.hits.append((method, path, headers, body))
                answers = self.handlers.get(path.partition("?")[0])
                if not answers:
                    writer.write(ok(b"canary"))
                    continue
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if callable(answer):
                    await answer(self.hits[-1], writer)
                else:
                    writer.write(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, as some of these tests want
        finally:
            writer.close()


def ok(body=b"", *, status="200 OK", headers=()):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location, status=302):
    return ok(status=f"{status} Moved", headers=(f"Location: {location}",))


@asynccontextmanager
async def running(host="127.0.0.1"):
    server = Server()
    listener = await asyncio.start_server(server.serve, host, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
