"""Send one HTTP request and give its answer: status, headers and body, whatever the status."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from llmspell.base.clock import rfc3339
from llmspell.errors import MalformedData
from llmspell.tools._base import P, Result, ToolContext, ToolFailure, Url, WritePath, tool, violation
from llmspell.tools._files import check_size

if TYPE_CHECKING:
    from llmspell.net import Response

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form")


class Upload(TypedDict, total=False):
    """One file of a form."""

    field: str
    path: str
    filename: str
    mime_type: str


@tool(
    category="web",
    level="restricted",
    label="http_request",
    aliases=("http",),
    timeout_ms=30_000,
    needs=("network",),
    open_world=True,
    tags=("http", "rest", "api", "download"),
    tests=(),
)
async def http_request(
    input: Annotated[Url, P("Address", aliases=("url",))],  # noqa: A002 - the parameter's published name
    method: Annotated[Literal["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"], P("Method")] = "GET",
    headers: Annotated[dict[str, str] | None, P("Headers")] = None,
    query: Annotated[dict[str, Any] | None, P("Fields added to the address")] = None,
    body: Annotated[Any, P("Objects and lists are sent as JSON, text as it is")] = None,
    form: Annotated[dict[str, Any] | None, P("Form fields")] = None,
    files: Annotated[list[Upload] | None, P("Files of the form: field, path, filename?, mime_type?")] = None,
    auth: Annotated[
        dict[str, Any] | None,
        P(
            "type none, basic{username,password}, bearer{token}, api_key{key,header_name,in}, custom{headers}",
            secret=True,
        ),
    ] = None,
    retry: Annotated[dict[str, Any] | None, P("max_attempts, initial_delay_ms, max_delay_ms, retry_on_status")] = None,
    follow_redirects: Annotated[bool, P("Follow redirects")] = True,
    response_type: Annotated[Literal["auto", "json", "text", "base64"], P("Form of the body")] = "auto",
    save_to: Annotated[WritePath | None, P("File that gets the body")] = None,
    fail_on_status: Annotated[bool, P("Statuses of 400 and more are failures")] = False,
    timeout: Annotated[float, P("Seconds", gt=0, le=300)] = 30,  # noqa: ASYNC109 - the parameter's published name
    *,
    ctx: ToolContext,
) -> Result:
    """Send an HTTP request."""
    started = time.monotonic()
    response = await ctx.http.request(
        method,
        input,
        headers=headers,
        params=query,
        timeout=min(timeout, ctx.remaining_s()),
        redirects=None if follow_redirects else 0,
        retry=retry,
        auth=auth,
        **_payload(ctx, body, form, files),
    )
    value, text = _answer(ctx, response, auth, response_type, save_to)
    metadata = {
        "method": method,
        "url": input,
        "duration_ms": int((time.monotonic() - started) * 1000),
        "attempts": response.attempts,
    }
    if fail_on_status and response.status >= 400:
        raise ToolFailure(
            "http_status",
            f"the server answered {response.status} {response.reason}".rstrip(),
            {"status_code": response.status},
            error_kind="network",
            result=value,
            text=text,
        )
    return Result(value, text=text, metadata=metadata)


def _answer(
    ctx: ToolContext, response: Response, auth: Mapping[str, Any] | None, wanted: str, save_to: Path | None
) -> tuple[dict[str, Any], str]:
    """Return the result and its text; the body goes into the file if one is given."""
    value: dict[str, Any] = {
        "status_code": response.status,
        "status_text": response.reason,
        "headers": plain_headers(response),
        "final_url": _shown(response.url, auth),
        "redirects": [_shown(url, auth) for url in response.redirects],
        "timestamp": rfc3339(),
    }
    if save_to is not None:
        check_size(ctx, save_to, len(response.body))
        ctx.security.replace(save_to, response.body)
        value["saved_to"], value["size"] = str(save_to), len(response.body)
        return value, f"Saved {len(response.body)} bytes to {save_to}"
    value["body"], encoding, text = shaped(response, wanted)
    if encoding:
        value["body_encoding"] = encoding
    return value, text


def _shown(url: str, auth: Mapping[str, Any] | None) -> str:
    """Return an address without the key that `auth` put into its query."""
    if not auth or auth.get("type") != "api_key" or auth.get("in") != "query":
        return url
    from yarl import URL

    return str(URL(url).without_query_params(str(auth.get("header_name") or "api_key")))


def plain_headers(response: Response) -> dict[str, str]:
    """Return the headers as a plain table with lower-case names; those sent several times are joined by commas."""
    plain: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        plain[key] = f"{plain[key]}, {value}" if key in plain else value
    return plain


def shaped(response: Response, wanted: str) -> tuple[Any, str | None, str]:
    """Return the body as asked, its encoding if it is base64, and its text. Raises ToolFailure `parse_error`."""
    kind = response.content_type
    is_json = kind == "application/json" or kind.endswith("+json")
    if wanted == "json" or (wanted == "auto" and is_json and response.body):
        try:
            return response.json(), None, response.text()
        except MalformedData as error:
            if wanted == "json":
                raise ToolFailure(
                    "parse_error",
                    "the body of the answer is not JSON",
                    {"status_code": response.status, "content_type": kind},
                    text=response.text()[:10_000],
                ) from error
    if wanted == "base64" or (wanted == "auto" and not _is_text(response, kind)):
        encoded = base64.b64encode(response.body).decode("ascii")
        return encoded, "base64", encoded
    text = response.text()
    return text, None, text


def _is_text(response: Response, kind: str) -> bool:
    if not kind:
        try:
            response.body.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return b"\0" not in response.body
    return kind.startswith(_TEXT_TYPES) or kind.endswith(("+json", "+xml"))


def _payload(ctx: ToolContext, body: Any, form: Mapping[str, Any] | None, files: list[Upload] | None) -> dict[str, Any]:
    """Return the arguments of the request that make its body."""
    if files:
        if body is not None:
            raise violation("files", "expected without body")
        return {"data": form, "files": [_upload(ctx, item) for item in files]}
    if form is not None:
        if body is not None:
            raise violation("form", "expected without body")
        return {"data": form}
    if body is None:
        return {}
    return {"data": body} if isinstance(body, str | bytes) else {"json": body}


def _upload(ctx: ToolContext, item: Upload) -> dict[str, Any]:
    if not item.get("field") or not item.get("path"):
        raise violation("files", "every file needs field and path")
    path = ctx.security.resolve(item["path"], "read")
    check_size(ctx, path, ctx.security.stat(path).st_size)
    return {
        "field": item["field"],
        "content": ctx.security.read(path),
        "filename": item.get("filename") or path.name,
        "mime_type": item.get("mime_type"),
    }
