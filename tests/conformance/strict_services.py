"""Embedding services on loopback that refuse whatever the real ones refuse, and fail as they are told.

Sources: the API references of OpenAI, Cohere (v2/embed), Voyage AI, Gemini (batchEmbedContents) and Ollama (/api/embed).
"""

import asyncio
import json
import re
from collections import deque

import numpy as np

KEY = "sk-strict-0123456789abcdef"


def vector(text, dim, kind=""):
    """Return what a model says of a text; kind: question or document, where it tells them apart."""
    seed = int.from_bytes(f"{kind}{text}".encode(), "little") % (2**63)
    return np.random.default_rng(seed).standard_normal(dim) * 3


class Refused(Exception):
    pass


def only(body, required, allowed=()):
    """Refuse fields that are missing or unknown."""
    for name in required:
        if name not in body:
            raise Refused(f"missing required field: {name}")
    unknown = set(body) - set(required) - set(allowed)
    if unknown:
        raise Refused(f"unknown field: {sorted(unknown)[0]}")


def texts_in(texts, most):
    if not isinstance(texts, list) or not 1 <= len(texts) <= most:
        raise Refused(f"between 1 and {most} texts")
    if not all(isinstance(text, str) and text for text in texts):
        raise Refused("texts must be strings that are not empty")
    return texts


class Dialect:
    """One service: its models and dimensions, where it listens, how it reads a request and writes an answer."""

    auth = "authorization"
    model = ""
    native = 8
    sizes = ()
    most = 0
    tells = False
    counts_tokens = True

    def key(self, headers):
        return headers.get("authorization", "").removeprefix("Bearer ")

    def size(self, wanted):
        if wanted is None:
            return self.native
        if wanted not in self.sizes:
            raise Refused(f"this size is not offered: {wanted}")
        return wanted


class OpenAI(Dialect):
    prefix, model, native, sizes, most = "/v1", "text-embedding-3-small", 1536, range(1, 3073), 2048

    def read(self, path, body):
        assert path == "/v1/embeddings"
        only(body, ("model", "input"), ("dimensions", "encoding_format", "user"))
        if "dimensions" in body and not body["model"].startswith("text-embedding-3"):
            raise Refused("This model does not support specifying dimensions.")
        asked = body.get("dimensions")
        if asked is None and body["model"] == "text-embedding-3-large":
            asked = 3072
        return texts_in(body["input"], self.most), self.size(asked), ""

    def write(self, rows, tokens, body):
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}


class Voyage(Dialect):
    prefix, model, native, sizes, most, tells = "/v1", "voyage-3.5", 1024, (256, 512, 1024, 2048), 1000, True

    def read(self, path, body):
        assert path == "/v1/embeddings"
        allowed = ("input_type", "truncation", "output_dimension", "output_dtype", "encoding_format")
        only(body, ("model", "input"), allowed)
        if body.get("input_type") not in (None, "query", "document"):
            raise Refused("input_type")
        return texts_in(body["input"], self.most), self.size(body.get("output_dimension")), body.get("input_type")

    def write(self, rows, tokens, body):
        data = [{"object": "embedding", "embedding": row, "index": at} for at, row in enumerate(rows)]
        return {"object": "list", "data": data, "model": body["model"], "usage": {"total_tokens": tokens}}


class Cohere(Dialect):
    prefix, model, native, sizes, most, tells = "", "embed-v4.0", 1536, (256, 512, 1024, 1536), 96, True

    def read(self, path, body):
        assert path == "/v2/embed"
        allowed = ("texts", "images", "inputs", "max_tokens", "output_dimension", "truncate")
        only(body, ("model", "input_type", "embedding_types"), allowed)
        if body["input_type"] not in ("search_document", "search_query", "classification", "clustering", "image"):
            raise Refused("invalid input_type")
        assert body["embedding_types"] == ["float"]
        kind = body["input_type"].removeprefix("search_")
        return texts_in(body.get("texts"), self.most), self.size(body.get("output_dimension")), kind

    def write(self, rows, tokens, body):
        meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}}
        return {"id": "x", "embeddings": {"float": rows}, "texts": body["texts"], "meta": meta}


class Gemini(Dialect):
    prefix, model, native, sizes, most, tells = "/v1beta", "gemini-embedding-001", 3072, range(128, 3073), 100, True
    counts_tokens = False

    def key(self, headers):
        return headers.get("x-goog-api-key", "")

    def read(self, path, body):
        found = re.fullmatch(r"/v1beta/models/([a-z0-9.-]+):batchEmbedContents", path)
        assert found, path
        only(body, ("requests",))
        texts, kinds, sizes = [], set(), set()
        for item in body["requests"]:
            only(item, ("model", "content"), ("taskType", "title", "outputDimensionality"))
            assert item["model"] == f"models/{found[1]}"
            only(item["content"], ("parts",), ("role",))
            (part,) = item["content"]["parts"]
            only(part, ("text",))
            texts.append(part["text"])
            kinds.add(item["taskType"].removeprefix("RETRIEVAL_").lower())
            sizes.add(item.get("outputDimensionality"))
        (kind,), (size,) = kinds, sizes
        return texts_in(texts, self.most), self.size(size), kind

    def write(self, rows, tokens, body):
        return {"embeddings": [{"values": row} for row in rows]}


class Ollama(Dialect):
    prefix, model, native, most = "", "nomic-embed-text", 768, 512

    def read(self, path, body):
        assert path == "/api/embed"
        only(body, ("model", "input"), ("truncate", "options", "keep_alive", "dimensions"))
        return texts_in(body["input"], self.most), self.native, ""

    def write(self, rows, tokens, body):
        return {
            "model": body["model"],
            "embeddings": rows,
            "total_duration": 1,
            "load_duration": 1,
            "prompt_eval_count": tokens,
        }


DIALECTS = {"openai": OpenAI, "voyage": Voyage, "cohere": Cohere, "gemini": Gemini, "ollama": Ollama}


class StrictService:
    """One service. faults: what happens to the next requests instead of an answer, in order; None answers.

    (status, headers) · "cut" · "slow" · ("rows", change), which changes the vectors before they are written.
    """

    def __init__(self, name):
        self.dialect = DIALECTS[name]()
        self.faults = deque()
        self.requests = []
        self.open_now = self.most_open = 0
        self.hold = None
        self.ten = asyncio.Event()
        self._serving = set()

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{self.dialect.prefix}"
        return self

    async def close(self):
        self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def texts(self):
        """The texts of every request."""
        return [request["texts"] for request in self.requests]

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        pairs = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        if self.open_now == 10:
            self.ten.set()
        try:
            if self.hold is not None:
                await self.hold.wait()
            return await self._answer(writer, method, path, headers, raw)
        finally:
            self.open_now -= 1

    async def _answer(self, writer, method, path, headers, raw):
        if self.dialect.key(headers) != KEY:
            return self._send(writer, 401, {"error": {"message": f"bad key {self.dialect.key(headers)}"}})
        assert method == "POST"
        assert headers["content-type"] == "application/json"
        body = json.loads(raw)
        try:
            texts, size, kind = self.dialect.read(path, body)
        except Refused as error:
            return self._send(writer, 400, {"error": {"message": str(error)}})
        fault = self.faults.popleft() if self.faults else None
        self.requests.append({"texts": texts, "kind": kind, "body": body, "fault": fault})
        if fault == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{")
            return False
        if fault == "slow":
            await asyncio.Event().wait()
        if fault is not None and fault[0] != "rows":
            return self._send(writer, fault[0], {"error": {"message": "told to fail"}}, fault[1])
        rows = [vector(text, size, kind).tolist() for text in texts]
        if fault is not None:
            rows = fault[1](rows)
        return self._send(writer, 200, self.dialect.write(rows, 7 * len(texts), body))

    def _send(self, writer, status, body, headers=None):
        raw = json.dumps(body).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode() + raw)
        return True
