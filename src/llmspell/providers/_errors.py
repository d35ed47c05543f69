"""What an answer that is no answer means: HTTP status and body to one class and code.

400 422        ProviderError   bad_request, context_length, content_filter
401 403        ProviderError   auth
404            ProviderError   model_not_found
408 409 425    ProviderError   unavailable, retryable; so are 500-504 and 529
429            RateLimitError  rate_limit, retryable; quota, not retryable
unreadable     ProviderError   bad_response, retried once
cut off        NetworkError    stream_truncated
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from llmspell.errors import LLMSpellError, NetworkError, ProviderError, RateLimitError

_UNAVAILABLE = frozenset({408, 409, 425, 500, 501, 502, 503, 504, 529})
_CONTEXT = re.compile(
    r"context.?length|context window|maximum context|prompt is too long|input is too long|too many tokens"
    r"|exceeds? the (?:model|available)",
    re.IGNORECASE,
)
_FILTER = re.compile(r"content.?filter|content management policy|content_policy|safety system", re.IGNORECASE)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit balance", re.IGNORECASE)
_KEY_SHAPED = re.compile(r"\b(?:sk|gsk|xai|pplx|fw|hf|AIza)[-_][A-Za-z0-9_*\-]{6,}|Bearer\s+\S+")
_MAX_MESSAGE = 500


def from_status(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str,
    model: str,
    secrets: tuple[str, ...] = (),
    now: float,
) -> LLMSpellError:
    """Return the error of an HTTP answer other than 2xx; `secrets` never appear in it. now: epoch seconds."""
    said, word = _said(body)
    said = mask(said, secrets)
    details: dict[str, Any] = {"provider": provider, "model": model, "status": status}
    request_id = headers.get("x-request-id") or headers.get("request-id")
    if request_id:
        details["request_id"] = request_id[:200]
    if word:
        details["provider_code"] = mask(word, secrets)
    after = retry_after_ms(headers, now)
    where = f"{provider}/{model}" if model else provider
    if status == 429:
        return _throttled(where, said, word, after, details)
    code, advice = _code(status, f"{word} {said}", where)
    retryable = code == "unavailable"
    return ProviderError(
        f"{advice} (status {status}{': ' + said if said else ''})",
        code=code,
        details=details,
        component=f"provider:{provider}",
        retryable=retryable,
        retry_after_ms=after if retryable else None,
    )


def _throttled(where: str, said: str, word: str, after: int | None, details: dict[str, Any]) -> RateLimitError:
    quota = bool(_QUOTA.search(f"{word} {said}"))
    message = f"{where}: the quota is used up, check plan and billing" if quota else f"{where}: too many requests"
    return RateLimitError(
        f"{message} (status 429{': ' + said if said else ''})",
        code="quota" if quota else "rate_limit",
        details={**details, "scope": details["provider"]},
        component=f"provider:{details['provider']}",
        retryable=not quota,
        retry_after_ms=after,
    )


def _code(status: int, text: str, where: str) -> tuple[str, str]:
    if status in (401, 403):
        return "auth", f"{where} refused the key: check it and what it may do"
    if status == 404:
        return "model_not_found", f"{where} is not known to the service: check model and base_url"
    if status in _UNAVAILABLE or status >= 500:
        return "unavailable", f"{where} is not available now"
    if status in (400, 413, 422):
        if _CONTEXT.search(text):
            return "context_length", f"the input is longer than {where} can read"
        if _FILTER.search(text):
            return "content_filter", f"{where} refused the content"
    if 300 <= status < 400:
        return "bad_request", f"{where} answered with a redirect, which is not followed: check base_url"
    return "bad_request", f"{where} refused the request"


def _said(body: bytes) -> tuple[str, str]:
    """Return message and code of an error body, in any of the usual shapes."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return " ".join(body[:_MAX_MESSAGE].decode("utf-8", "replace").split()), ""
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("error") or ""
        return _line(message), str(error.get("code") or error.get("type") or "")
    return _line(error), ""


def _line(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split())[:_MAX_MESSAGE]


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` without the keys in `secrets` and without anything shaped like one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[REDACTED]")
    return _KEY_SHAPED.sub("[REDACTED]", text)


def retry_after_ms(headers: Mapping[str, str], now: float) -> int | None:
    """Return how long the service wants us to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    for name, factor in (("retry-after-ms", 1.0), ("retry-after", 1000.0)):
        value = headers.get(name)
        if value:
            try:
                return max(0, int(float(value) * factor))
            except (ValueError, OverflowError):
                if factor != 1.0:
                    return _until(value, now)
    return None


def _until(date: str, now: float) -> int | None:
    from email.utils import parsedate_to_datetime

    try:
        return max(0, int((parsedate_to_datetime(date).timestamp() - now) * 1000))
    except (ValueError, TypeError, OverflowError):
        return None


def bad_response(provider: str, model: str, reason: str) -> ProviderError:
    """Return the error of an answer that cannot be understood."""
    return ProviderError(
        f"{provider}/{model} gave an answer that cannot be read: {reason}",
        code="bad_response",
        details={"provider": provider, "model": model},
        component=f"provider:{provider}",
        retryable=True,
    )


def truncated(provider: str, model: str) -> NetworkError:
    """Return the error of a stream that ended without its final marker."""
    return NetworkError(
        f"{provider}/{model}: the stream ended before the answer was complete",
        code="stream_truncated",
        details={"provider": provider, "model": model, "phase": "stream"},
        component=f"provider:{provider}",
    )


def unsupported(provider: str, what: str) -> ProviderError:
    """Return the error of something this provider cannot do."""
    return ProviderError(
        f"the provider '{provider}' does not support {what}",
        code="unsupported",
        details={"provider": provider},
        component=f"provider:{provider}",
        retryable=False,
    )
