"""The child process of `jq`: reads framed requests from standard input, answers on standard output.

Run as `python -I _jq_child.py <memory bytes> <folder of the jq package>`. A frame is a count of parts (4 bytes) and
for each its length (8 bytes) and its bytes. Request: header JSON, input JSON. Answer: status, text.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from typing import Any, BinaryIO


def main() -> None:
    """Serve until standard input ends."""
    memory = int(sys.argv[1])
    sys.path.extend(sys.argv[2:])
    for name, limit in (("RLIMIT_AS", memory), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0)):
        resource.setrlimit(getattr(resource, name), (limit, limit))
    os.environ.clear()
    os.unsetenv("LC_CTYPE")
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        parts = read_frame(source)
        if parts is None:
            return
        try:
            answer = serve(parts)
        except MemoryError:
            # The state of libjq is unknown now: ending tells the parent to start a fresh child.
            os._exit(3)
        write_frame(sink, answer)


def serve(parts: list[bytes]) -> list[bytes]:
    """Return status and text of one request."""
    import json

    import jq  # type: ignore[import-not-found,unused-ignore]  # a compiled package without stubs

    header: dict[str, Any] = json.loads(parts[0])
    try:
        program = jq.compile(header["program"], args=header["args"])
        running = iter(program.input_text(parts[1].decode()))
    except ValueError as error:
        return [b"jq_compile", str(error).encode()]
    lines: list[str] = []
    size = 0
    try:
        for item in running:
            lines.append(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
            size += len(lines[-1])
            if size > header["max"]:
                return [b"too_large", b""]
    except ValueError as error:
        return [b"jq_compile" if "compile error" in str(error) else b"jq_runtime", str(error).encode()]
    return [b"ok", "\n".join(lines).encode("utf-8", "replace")]


def read_frame(source: BinaryIO) -> list[bytes] | None:
    """Return the parts of the next frame, or None at the end of the stream."""
    head = source.read(4)
    if len(head) < 4:
        return None
    parts = []
    for _ in range(struct.unpack(">I", head)[0]):
        (size,) = struct.unpack(">Q", source.read(8))
        parts.append(source.read(size))
    return parts


def write_frame(sink: BinaryIO, parts: list[bytes]) -> None:
    """Write one frame."""
    sink.write(struct.pack(">I", len(parts)))
    for part in parts:
        sink.write(struct.pack(">Q", len(part)))
        sink.write(part)
    sink.flush()


if __name__ == "__main__":
    main()
