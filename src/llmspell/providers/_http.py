"""One exchange with a service over HTTP: send, judge the status, decode. Shared by the providers of real services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from time import time
from typing import Any, TypeVar

import msgspec

from llmspell.errors import LLMSpellError, NetworkError
from llmspell.errors import TimeoutError as TimedOut
from llmspell.providers._base import Capabilities, Rendered
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import bad_response, from_status, mask
from llmspell.providers._shared import Shared

IDLE_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0

T = TypeVar("T")


class Channel:
    """The HTTP side of one provider."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        self.endpoint = endpoint
        self._shared = shared
        self.name = endpoint.name
        self.profile = endpoint.profile

    def capabilities(self, model: str) -> Capabilities:
        """Return what the profile says of `model`."""
        return self.profile.capabilities(model)

    async def send(self, rendered: Rendered, model: str, *, timeout_s: float) -> tuple[bytes, Mapping[str, str]]:
        """Return body and headers of a 2xx answer; raises the error any other status stands for."""
        try:
            status, headers, body = await self._exchange(rendered, timeout_s)
        except LLMSpellError as error:
            raise self._foreign(error, model, streaming=False) from error
        if not 200 <= status < 300:
            raise self._refused(status, headers, body, model)
        if self.profile.rate_limit_prefix:
            self._shared.note_headers(self.name, self.profile.rate_limit_prefix, headers)
        if not body:
            raise bad_response(self.name, model, "it is empty")
        return body, headers

    async def _exchange(self, rendered: Rendered, timeout_s: float) -> tuple[int, Mapping[str, str], bytes]:
        """Send on the short road; with a general client where a proxy is in between or the rules of tools hold."""
        untrusted = self.endpoint.untrusted
        direct = None if untrusted else self._shared.direct
        if direct is not None:
            target = self._shared.http.check(rendered.url)
            answer = await direct.send(rendered.method, target, rendered.headers, rendered.body, timeout_s=timeout_s)
            return answer.status, answer.headers, answer.body
        stream = self._shared.client_for(untrusted=untrusted).post_stream(
            rendered.url,
            rendered.headers,
            rendered.body or None,
            method=rendered.method,
            connect_timeout=CONNECT_TIMEOUT_S,
            first_byte_timeout=timeout_s,
            idle_timeout=timeout_s,
            total_timeout=timeout_s,
        )
        async with stream as general:
            body = await general.read()
        return general.status, general.headers, body

    async def receive(
        self, rendered: Rendered, model: str, *, timeout_s: float, headers: list[Mapping[str, str]]
    ) -> AsyncIterator[bytes]:
        """Give the pieces of a 2xx answer as they come; its headers are put into `headers` first."""
        stream = self._shared.client_for(untrusted=self.endpoint.untrusted).post_stream(
            rendered.url,
            rendered.headers,
            rendered.body,
            connect_timeout=CONNECT_TIMEOUT_S,
            first_byte_timeout=min(self.profile.first_token_s, timeout_s),
            idle_timeout=min(IDLE_TIMEOUT_S, timeout_s),
            total_timeout=timeout_s,
        )
        started = False
        try:
            async with stream as answer:
                if not 200 <= answer.status < 300:
                    raise self._refused(answer.status, answer.headers, await answer.read(), model)
                if self.profile.rate_limit_prefix:
                    self._shared.note_headers(self.name, self.profile.rate_limit_prefix, answer.headers)
                headers.append(answer.headers)
                async for chunk in answer:
                    started = True
                    yield chunk
        except (NetworkError, TimedOut) as error:
            raise self._foreign(error, model, streaming=True, started=started) from error

    def decode(self, body: bytes | str, decoder: msgspec.json.Decoder[T], model: str) -> T:
        """Return the decoded body; raises ProviderError `bad_response` naming what is wrong with it."""
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = body[:80] if isinstance(body, str) else body[:80].decode("utf-8", "replace")
            start = mask(" ".join(text.split()), self.endpoint.secrets)
            raise bad_response(self.name, model, f"{error}; it starts with {start!r}") from error

    def stream_error(self, said: Any, model: str) -> LLMSpellError:
        """Return the error a service puts into a stream that began well."""
        body = msgspec.json.encode({"error": said})
        status = 500
        if isinstance(said, dict):
            code = said.get("code") or said.get("status")
            if isinstance(code, int) and 400 <= code < 600:
                status = code
            elif "rate_limit" in str(said.get("type", "")) + str(code):
                status = 429
            elif "invalid_request" in str(said.get("type", "")):
                status = 400
            elif "overloaded" in str(said.get("type", "")):
                status = 529
        return from_status(status, {}, body, provider=self.name, model=model, secrets=self.endpoint.secrets, now=time())

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> LLMSpellError:
        """Return the error of a status other than 2xx."""
        return from_status(
            status, headers, body, provider=self.name, model=model, secrets=self.endpoint.secrets, now=time()
        )

    def _foreign(self, error: LLMSpellError, model: str, *, streaming: bool, started: bool = False) -> LLMSpellError:
        """Return an error of the transport in the words of providers: who, which model, which phase."""
        if error.code == "bad_response":
            return bad_response(self.name, model, error.message)
        details = {**error.details, "provider": self.name, "model": model}
        message = mask(f"{self.name}/{model}: {error.message}", self.endpoint.secrets)
        code, phase = error.code, details.get("phase")
        if isinstance(error, TimedOut):
            if phase == "read":
                phase = details["phase"] = "idle" if started else "first_token" if streaming else "total"
            message = f"{message} (phase {phase})"
            return TimedOut(
                message, code=code, details=details, component=f"provider:{self.name}", retryable=phase != "total"
            )
        if isinstance(error, NetworkError):
            if streaming and started and code in ("disconnected", "connect"):
                code = details["code"] = "stream_truncated"
            return NetworkError(
                message, code=code, details=details, component=f"provider:{self.name}", retryable=error.retryable
            )
        return error
