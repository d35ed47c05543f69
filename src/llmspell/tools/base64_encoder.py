"""Encode and decode base64, of text, hex or files."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from llmspell.tools._base import (
    Case,
    P,
    ReadPath,
    Result,
    ToolContext,
    ToolFailure,
    ToolHeader,
    WritePath,
    operation,
    violation,
)

MAX_SIZE = 100 * 1024 * 1024
_STANDARD = re.compile(r"[^A-Za-z0-9+/]")
_URL_SAFE = re.compile(r"[^A-Za-z0-9_-]")
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")

Variant = Annotated[Literal["standard", "url-safe"], P("Alphabet")]
Input = Annotated[str | bytes | None, P("Text", aliases=("data",))]
File = Annotated[ReadPath | None, P("File to read in place of input", aliases=("input_file",))]
Padding = Annotated[bool, P("Fill up with `=`")]
Target = Annotated[WritePath | None, P("File that takes the output", aliases=("output_file",))]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    aliases=("base64",),
    text="output",
    inline=True,
    tags=("encoding",),
    tests=(
        Case(
            "encode", {"operation": "encode", "input": "hi"}, {"result": {"output": "aGk=", "size": 2}, "text": "aGk="}
        ),
        Case("decode", {"operation": "decode", "input": "a Gk"}, {"result": {"output": "hi", "binary": False}}),
        Case("decode binary", {"operation": "decode", "input": "/w=="}, {"result": {"output": "ff", "binary": True}}),
    ),
)


@operation("encode")
def encode(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    variant: Variant = "standard",
    padding: Padding = True,
    binary_input: Annotated[bool, P("`input` is hex")] = False,
    target_path: Target = None,
    *,
    ctx: ToolContext,
) -> dict[str, Any] | Result:
    """Encode as base64."""
    data = _source(input, path, ctx)
    if binary_input and path is None:
        data = _from_hex(data)
    encoded = base64.urlsafe_b64encode(data) if variant == "url-safe" else base64.b64encode(data)
    if not padding:
        encoded = encoded.rstrip(b"=")
    result: dict[str, Any] = {"variant": variant, "binary": binary_input, "size": len(data)}
    if target_path is not None:
        return _written(target_path, encoded, result, ctx)
    return {"output": encoded.decode(), **result}


@operation("decode")
def decode(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    variant: Variant = "standard",
    padding: Padding = True,
    target_path: Target = None,
    *,
    ctx: ToolContext,
) -> dict[str, Any] | Result:
    """Decode base64; what is not UTF-8 text is given as hex."""
    data = _decoded(_source(input, path, ctx), variant)
    if target_path is not None:
        return _written(target_path, data, {"variant": variant, "binary": not _is_text(data)}, ctx)
    if _is_text(data):
        return {"output": data.decode(), "variant": variant, "binary": False}
    return {"output": data.hex(), "variant": variant, "binary": True}


def _source(given: str | bytes | None, path: Path | None, ctx: ToolContext) -> bytes:
    if path is not None:
        if given is not None:
            raise violation("path", "give either 'input' or 'path'", keyword="oneOf")
        with ctx.security.open(path, "rb") as file:
            data: bytes = file.read(MAX_SIZE + 1)
    elif given is None:
        raise violation("input", "Missing required parameter 'input': it or 'path' is needed", keyword="required")
    else:
        data = given.encode() if isinstance(given, str) else given
    if len(data) > MAX_SIZE:
        raise ToolFailure("too_large", "the input is larger than 100 MB", {"limit": MAX_SIZE})
    return data


def _decoded(data: bytes, variant: str) -> bytes:
    """Decode strictly: stray characters, a bad length and wrong padding are errors with their position."""
    text = data.decode("ascii", "replace")
    compact = "".join(text.split())
    body = compact.rstrip("=")
    stray = (_URL_SAFE if variant == "url-safe" else _STANDARD).search(body)
    if stray is not None:
        raise _bad(text, stray.start(), f"'{stray[0]}' does not belong to the {variant} alphabet")
    if len(body) % 4 == 1:
        raise _bad(text, max(0, len(body) - 1), "the text is cut off")
    fill = len(compact) - len(body)
    if fill and fill != -len(body) % 4:
        raise _bad(text, len(body), "the padding has the wrong length")
    padded = body + "=" * (-len(body) % 4)
    return base64.b64decode(padded, b"-_" if variant == "url-safe" else None)


def _bad(text: str, compact_at: int, reason: str) -> Exception:
    """Return the violation; `compact_at` counts characters that are not white space."""
    seen = -1
    position = len(text)
    for index, char in enumerate(text):
        if not char.isspace():
            seen += 1
            if seen == compact_at:
                position = index
                break
    return violation("input", f"not valid base64 at position {position}: {reason}", position=position)


def _from_hex(data: bytes) -> bytes:
    text = "".join(data.decode("ascii", "replace").split())
    stray = _NOT_HEX.search(text)
    if stray is not None:
        position = stray.start()
        raise violation("input", f"not valid hex at position {position}", position=position)
    if len(text) % 2:
        raise violation("input", "not valid hex: an odd number of digits", position=len(text))
    return bytes.fromhex(text)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _written(path: Path, data: bytes, result: dict[str, Any], ctx: ToolContext) -> Result:
    with ctx.security.open(path, "wb") as file:
        file.write(data)
    message = f"Wrote {len(data)} bytes to {path}"
    return Result(result, text=message, metadata={"file_path": str(path), "file_size": len(data)})
