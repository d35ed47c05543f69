"""`Utils`: identifiers, digests, encodings, time, and facts about the run; tables and text are in `utils.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, ValidationError

if TYPE_CHECKING:
    from llmspell.app import App

ALGORITHMS = ("blake3", "sha256", "sha512", "sha1", "md5")


class Global:
    """See the module."""

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._lane = lane

    def uuid(self) -> str:
        """Return a random UUID, version 4."""
        from llmspell.base.ids import uuid4

        return uuid4()

    def random_id(self, n: int | None = None) -> str:
        """Return `n` random hex digits, 16 if not given."""
        from llmspell.base.ids import short

        count = 16 if n is None else n
        if not 1 <= count <= 1024:
            raise InvalidArgument(f"an id has between 1 and 1024 digits, got {count}")
        return short(count)

    def hash(self, s: Any, algorithm: str | None = None) -> str:
        """Return the digest of a string in hex."""
        data, name = _data(s, "hash"), algorithm or "blake3"
        if name == "blake3":
            from blake3 import blake3

            return str(blake3(data).hexdigest())
        if name not in ALGORITHMS:
            raise InvalidArgument(
                f"unknown hash algorithm '{name}': expected one of {' '.join(ALGORITHMS)}", details={"value": name}
            )
        import hashlib

        return hashlib.new(name, data, usedforsecurity=False).hexdigest()

    def base64_encode(self, s: Any) -> str:
        """Return base64 text with padding."""
        import binascii

        return binascii.b2a_base64(_data(s, "base64_encode"), newline=False).decode()

    def base64_decode(self, s: Any) -> bytes:
        """Return the bytes of base64 text."""
        import binascii

        try:
            return binascii.a2b_base64(_data(s, "base64_decode"), strict_mode=True)
        except binascii.Error as error:
            raise _malformed("base64", error) from error

    def hex_encode(self, s: Any) -> str:
        """Return hex digits, lower case."""
        return _data(s, "hex_encode").hex()

    def hex_decode(self, s: Any) -> bytes:
        """Return the bytes of hex digits."""
        import binascii

        try:
            return binascii.unhexlify(_data(s, "hex_decode"))
        except binascii.Error as error:
            raise _malformed("hex", error) from error

    def url_encode(self, s: Any) -> str:
        """Return the string with everything but unreserved characters percent-encoded. Source: RFC 3986, 2.3."""
        from urllib.parse import quote

        return quote(_data(s, "url_encode"), safe="")

    def url_decode(self, s: Any) -> bytes:
        """Return the string with percent-encoded bytes decoded."""
        import re
        from urllib.parse import unquote_to_bytes

        data = _data(s, "url_decode")
        bad = re.search(rb"%(?![0-9A-Fa-f]{2})", data)
        if bad:
            raise _malformed("URL", f"no two hex digits after % at byte {bad.start() + 1}")
        return unquote_to_bytes(data)

    def now(self) -> str:
        """Return the time as RFC 3339 text in UTC."""
        from llmspell.base.clock import rfc3339

        return rfc3339()

    def now_epoch(self) -> float:
        """Return seconds since 1970."""
        import time

        return self._coarse(time.time() * 1000) / 1000

    def monotonic_ms(self) -> float:
        """Return milliseconds of a clock that never goes back; whole ones in the profile `safe`."""
        from llmspell.base.clock import monotonic

        return self._coarse(monotonic() * 1000)

    def parse_time(self, s: str) -> float:
        """Return seconds since 1970 of an ISO 8601, RFC 3339 or RFC 2822 time; without zone it is UTC."""
        from llmspell.base.times import parse_time

        return parse_time(s)

    def format_time(self, epoch: float, fmt: str | None = None) -> str:
        """Return the time in UTC: RFC 3339, or by a strftime format."""
        from llmspell.base.times import format_time

        return format_time(epoch, fmt)

    def parse_duration(self, text: Any) -> int:
        """Return the milliseconds of `1h30m`, `1.5s`, `250ms`; a number is milliseconds."""
        from llmspell.base import durations

        return durations.parse_ms(text)

    def format_duration(self, ms: float) -> str:
        """Return milliseconds as `1h30m`, `1m30.5s`, `250ms`."""
        from llmspell.base import durations

        return durations.format_ms(ms)

    def format_bytes(self, n: float) -> str:
        """Return a size as `512 B`, `1.5 KB`; a KB has 1024 bytes."""
        from llmspell.base import durations

        return durations.format_bytes(n)

    def count_tokens(self, s: Any, model: str | None = None) -> int:
        """Return the estimated number of model tokens."""
        from llmspell.base.tokens import estimate

        return estimate(_data(s, "count_tokens").decode("utf-8", "replace"))

    def write(self, *parts: Any) -> None:
        """Write strings to standard output as they are."""
        self._lane.write("stdout", b"".join(_data(part, "write") for part in parts))

    def env(self, name: str) -> str | None:
        """Return an environment variable the allow-list grants, else nil."""
        value: str | None = self._app.security.env(name)
        return value

    def version(self) -> str:
        """Return the version of llmspell."""
        from llmspell.version import __version__

        return __version__

    def profile(self) -> str:
        """Return the sandbox profile."""
        return str(self._lane.profile)

    def platform(self) -> dict[str, str]:
        """Return operating system and processor."""
        import os
        import sys

        names = {"darwin": "macos", "win32": "windows"}
        return {"os": names.get(sys.platform, sys.platform), "arch": os.uname().machine}

    def limits(self) -> Any:
        """Return each limited resource with its limit and use."""
        return self._lane.used()

    def capabilities(self) -> dict[str, bool]:
        """Return what this installation and this profile can do."""
        from importlib.util import find_spec

        packages = {
            "excel": "openpyxl", "parquet": "pyarrow", "images": "PIL", "pdf": "pypdfium2", "jq": "jq",
        }  # fmt: skip
        found = {name: find_spec(package) is not None for name, package in packages.items()}
        return {**found, "files": self._lane.profile != "safe", "processes": self._lane.profile == "full"}

    def _coarse(self, ms: float) -> float:
        return float(ms // 1) if self._lane.profile == "safe" else ms


def _data(value: Any, function: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value).encode()
    names = {type(None): "nil", bool: "boolean", dict: "table", list: "table"}
    got = names.get(type(value), "function")
    raise ValidationError(f"bad argument #1 to 'Utils.{function}' (string expected, got {got})")


def _malformed(form: str, reason: Any) -> ValidationError:
    return ValidationError(f"not valid {form}: {reason}", code="malformed", details={"reason": str(reason)})
