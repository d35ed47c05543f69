"""Other spellings: old keys, old enum values, and sections this build does not have."""

from __future__ import annotations

# old path or prefix -> canonical; `*` stands for one name
KEYS = {
    "log_level": "logging.level",
    "engines.lua.profile": "engines.lua.sandbox",
    "engines.lua.security_level": "engines.lua.sandbox",
    "engines.lua.sandbox_mode": "engines.lua.sandbox",
    "engines.lua.timeout_ms": "engines.lua.limits.wall_time_ms",
    "engines.lua.max_memory_bytes": "engines.lua.limits.memory_bytes",
    "engines.lua.memory_limit": "engines.lua.limits.memory_bytes",
    "runtime.state_persistence.backend": "runtime.state_persistence.backend_type",
    "providers.providers": "providers",
    "providers.*.model": "providers.*.default_model",
    "rag.chunking.chunk_overlap": "rag.chunking.overlap",
    "rag.multi_tenant_settings": "tenancy",
    "rag.security": "tenancy",
    "tenancy.default_limits.monthly_cost_limit_usd": "tenancy.default_limits.monthly_cost_usd",
    "tenancy.quotas": "tenancy.default_limits",
    "tools.http_request": "tools.network",
}

# canonical path -> old value -> value
VALUES = {
    "engines.lua.sandbox": {"privileged": "standard", "unrestricted": "full"},
    "runtime.state_persistence.backend_type": {"sled": "sqlite"},
    "rag.embedding.default_provider": {"local": "builtin", "hash": "builtin", "hash_ngram": "builtin"},
    "rag.vector_storage.hnsw.metric": {
        "l2": "euclidean", "l1": "manhattan", "ip": "inner_product", "innerproduct": "inner_product",
    },
    "rag.vector_storage.hnsw.quantization": {"int8": "i8", "float32": "f32", "none": "f32"},
    "rag.chunking.strategy": {"semantic": "recursive", "sliding": "sliding_window"},
    "logging.level": {"warning": "warn"},
    "debug.level": {"warning": "warn"},
}  # fmt: skip

# accepted with a warning, without effect
_HNSW = (
    "max_elements", "allow_replace_deleted", "parallel_batch_size", "enable_mmap",
)  # fmt: skip
IGNORED = {
    "engines.javascript": "the JavaScript engine is absent",
    "engines.python": "the Python engine is absent",
    "runtime.memory": "it has no effect",
    "runtime.max_concurrent_scripts": "a process runs one script at a time",
    "runtime.enable_streaming": "scripts stream where they ask for it",
    "debug.output.colored": "entries have no colour",
    "debug.module_filters.levels": "modules share one level",
    "debug.performance": "scripts report their timers themselves",
    "debug.stack_trace": "errors carry their traceback anyway",
    "tenancy.usage_flush_ms": "usage is written at once",
    **{f"rag.vector_storage.hnsw.{key}": "the index needs no such setting" for key in _HNSW},
}

# what this build does not contain; a file that relies on it must not load
ABSENT = (
    "kernel", "hooks", "events", "workflows", "telemetry", "sessions", "runtime.sessions", "runtime.hooks",
    "runtime.events", "runtime.state_persistence.backup", "runtime.state_persistence.encryption", "rag.backup",
    "rag.monitoring",
    "tools.web_search", "tools.search", "tools.process", "tools.system", "tools.media", "tools.database", "tools.email",
    "engines.lua.stdlib", "tools.security.egress_policy", "tools.file_operations.validate_file_types",
)  # fmt: skip


def canonical(path: str) -> str:
    """Return the canonical form of a normalised dotted path; the path itself when it is no alias."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        head = parts[:length]
        for pattern in (".".join(head), _starred(head)):
            if pattern in KEYS:
                target = KEYS[pattern].replace("*", head[1], 1) if "*" in pattern else KEYS[pattern]
                return canonical(".".join([target, *parts[length:]]))
    return path


def _starred(head: list[str]) -> str:
    return ".".join(["providers", "*", *head[2:]]) if len(head) > 2 and head[0] == "providers" else ""


def covers(prefixes: tuple[str, ...] | dict[str, str], path: str) -> str | None:
    """Return the prefix of `prefixes` that is `path` or one of its parents."""
    return next((prefix for prefix in prefixes if path == prefix or path.startswith(prefix + ".")), None)
