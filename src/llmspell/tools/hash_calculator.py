"""Calculate and verify checksums, cryptographic hashes and keyed hashes of text, binary data and files."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from llmspell.tools._base import Case, P, ReadPath, ToolContext, ToolFailure, ToolHeader, operation, violation

MAX_FILE = 1024**3
_CHUNK = 1024 * 1024
_BLAKE3_KEY_CONTEXT = "llmspell hash-calculator keyed blake3"
_ALGORITHMS = {
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha224": "SHA-224",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
    "sha3_256": "SHA3-256",
    "sha3_512": "SHA3-512",
    "blake2b": "BLAKE2b",
    "blake3": "BLAKE3",
    "crc32": "CRC32",
}

Algorithm = Annotated[
    Literal[
        "md5",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "sha3_256",
        "sha3_512",
        "blake2b",
        "blake3",
        "crc32",
    ],
    P("Hash function"),
]
InputType = Annotated[Literal["string", "file", "hex", "base64"], P("What `input` holds, or `file` for `path`")]
Input = Annotated[str | bytes | None, P("Text to hash, or hex or base64 by input_type", aliases=("data",))]
File = Annotated[ReadPath | None, P("File to hash")]
Key = Annotated[str | None, P("Key of a keyed hash (HMAC)", secret=True, max_length=65536)]
Form = Annotated[Literal["hex", "base64"], P("Written form of the hash")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="hash",
    aliases=("hash",),
    text="hash",
    inline=True,
    tags=("checksum", "hmac", "crypto"),
    tests=(
        Case(
            "hash",
            {"input": "abc", "algorithm": "sha1"},
            {"result": {"algorithm": "SHA-1", "hash": "a9993e364706816aba3e25717850c26c9cd0d89d", "size": 3}},
        ),
        Case("hash of hex", {"input": "616263", "input_type": "hex", "algorithm": "crc32"}, {"text": "352441c2"}),
        Case(
            "verify",
            {"operation": "verify", "input": "abc", "algorithm": "crc32", "expected_hash": "352441C2"},
            {"result": {"verified": True}},
        ),
    ),
)


@operation("hash")
def hash_input(
    algorithm: Algorithm = "sha256",
    input_type: InputType = "string",
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    format: Form = "hex",  # noqa: A002 - the parameter's published name
    key: Key = None,
    *,
    ctx: ToolContext,
) -> dict[str, Any]:
    """Calculate a hash."""
    digest, size = _digest(algorithm, _pieces(input_type, input, path, ctx), key)
    return {"algorithm": _ALGORITHMS[algorithm], "hash": _written(digest, format), "format": format, "size": size}


@operation("verify", text="")
def verify(
    expected_hash: Annotated[str, P("The hash it should have", aliases=("expected",), max_length=1000)],
    algorithm: Algorithm = "sha256",
    input_type: InputType = "string",
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    expected_format: Form = "hex",
    key: Key = None,
    *,
    ctx: ToolContext,
) -> dict[str, Any]:
    """Compare a hash with the expected one, in constant time."""
    wanted = _read("expected_hash", expected_hash, expected_format)
    digest, _ = _digest(algorithm, _pieces(input_type, input, path, ctx), key)
    result: dict[str, Any] = {"verified": hmac.compare_digest(digest, wanted), "algorithm": _ALGORITHMS[algorithm]}
    if not result["verified"]:
        result["expected"] = expected_hash
        result["actual"] = _written(digest, expected_format)
    return result


def _pieces(input_type: str, given: str | bytes | None, path: Path | None, ctx: ToolContext) -> Iterator[bytes]:
    if path is not None and given is not None:
        raise violation("path", "give either 'input' or 'path'", keyword="oneOf")
    if path is not None or input_type == "file":
        if path is None:
            raise violation("path", "input_type 'file' needs the parameter 'path'", keyword="required")
        return _file_pieces(path, ctx)
    if given is None:
        raise violation("input", "Missing required parameter 'input': it or 'path' is needed", keyword="required")
    data = given.encode() if isinstance(given, str) else given
    if input_type != "string":
        data = _read("input", data.decode("ascii", "replace"), input_type)
    return iter((data,))


def _file_pieces(path: Path, ctx: ToolContext) -> Iterator[bytes]:
    read = 0
    with ctx.security.open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            read += len(piece)
            if read > MAX_FILE:
                raise ToolFailure("too_large", "the file is larger than 1 GB", {"limit": MAX_FILE})
            ctx.check()
            yield piece


def _digest(algorithm: str, pieces: Iterator[bytes], key: str | None) -> tuple[bytes, int]:
    if algorithm == "crc32":
        if key is not None:
            raise violation("key", "crc32 is a checksum and takes no key", keyword="not")
        return _crc32(pieces)
    hasher = _hasher(algorithm, key)
    size = 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    digest: bytes = hasher.digest()
    return digest, size


def _crc32(pieces: Iterator[bytes]) -> tuple[bytes, int]:
    value = size = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
        size += len(piece)
    return value.to_bytes(4, "big"), size


def _hasher(algorithm: str, key: str | None) -> Any:
    if algorithm == "blake3":
        import blake3

        if key is None:
            return blake3.blake3()
        # BLAKE3 has a keyed mode of its own; a key of another length than 32 is derived by its key function.
        raw = key.encode()
        fixed = raw if len(raw) == 32 else blake3.blake3(raw, derive_key_context=_BLAKE3_KEY_CONTEXT).digest()
        return blake3.blake3(key=fixed)
    make: Callable[[], Any] = getattr(hashlib, algorithm)
    return make() if key is None else hmac.new(key.encode(), digestmod=algorithm)


def _written(digest: bytes, form: str) -> str:
    return digest.hex() if form == "hex" else base64.b64encode(digest).decode()


def _read(name: str, text: str, form: str) -> bytes:
    compact = "".join(text.split())
    try:
        if form == "hex":
            return bytes.fromhex(compact)
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise violation(name, f"not valid {form}: {error}") from error
