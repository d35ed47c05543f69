"""The limits of each sandbox profile: the engine enforces them, the configuration compares with them."""

from __future__ import annotations

LIMITS: dict[str, dict[str, int]] = {
    "safe": {
        "wall_time_ms": 30_000,
        "memory_bytes": 67_108_864,
        "instructions": 1_000_000_000,
        "output_bytes": 1_048_576,
        "script_bytes": 1_048_576,
        "tasks": 256,
    },
    "standard": {
        "wall_time_ms": 300_000,
        "memory_bytes": 268_435_456,
        "instructions": 50_000_000_000,
        "output_bytes": 67_108_864,
        "script_bytes": 10_485_760,
        "tasks": 4096,
    },
    "full": {
        "wall_time_ms": 300_000,
        "memory_bytes": 1_073_741_824,
        "instructions": 50_000_000_000,
        "output_bytes": 268_435_456,
        "script_bytes": 10_485_760,
        "tasks": 4096,
    },
}
