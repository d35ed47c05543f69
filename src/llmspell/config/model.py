"""The configuration tree: one frozen class per section; every key has type, default, unit in its name and one sentence.

Environment names, `config schema`, `config init` and the reference page are generated from these annotations by
`schema.py`. A class may hold small sub-tables flat: with `groups = ("retry",)` the field `retry_max_delay_ms` is the
key `retry.max_delay_ms`. `Config()` is the built-in defaults and costs no type resolution.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from llmspell.version import __version__

ENV_ALLOW = (
    "PATH", "HOME", "USER", "SHELL", "TERM", "LANG", "LC_*", "TZ", "TMPDIR", "TEMP", "PWD", "OLDPWD",
    "LLMSPELL_PUBLIC_*",
)  # fmt: skip
BLOCKED_PORTS = (
    7, 9, 13, 17, 19, 21, 22, 23, 25, 53, 110, 111, 135, 137, 138, 139, 143, 389, 445, 465, 514, 587, 993, 995, 1433,
    1521, 2049, 2375, 2376, 3306, 3389, 5432, 5900, 5984, 6379, 8020, 9200, 9300, 11211, 27017,
)  # fmt: skip
DENIED_PATHS = (
    "$LLMSPELL_HOME/config.toml", "$LLMSPELL_HOME/secrets.json", "$LLMSPELL_HOME/kernels/**", "**/.ssh/**",
    "**/.aws/**", "**/.env", "**/*.pem", "**/id_rsa*", "**/id_ed25519*",
)  # fmt: skip


def doc(text: str, *, secret: bool = False, **bounds: Any) -> Meta:
    """Return the annotation of a key: its sentence, whether it is a secret, and the bounds of its value."""
    return Meta(description=text, extra={"secret": True} if secret else None, **bounds)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """engines.lua.limits: limits of one run; absent means the limit of the sandbox profile, 0 unlimited (full only)."""

    wall_time_ms: Annotated[int | None, doc("Wall time of a run, waiting included", ge=0)] = None
    memory_bytes: Annotated[int | None, doc("Bytes held by the Lua state", ge=0)] = None
    instructions: Annotated[int | None, doc("Virtual machine instructions of all coroutines", ge=0)] = None
    output_bytes: Annotated[int | None, doc("Bytes written to the standard streams", ge=0)] = None
    script_bytes: Annotated[int | None, doc("Source text of each chunk", ge=0)] = None
    tasks: Annotated[int | None, doc("Live tasks and pending callbacks", ge=0)] = None


class LuaEngine(msgspec.Struct, frozen=True, kw_only=True):
    """engines.lua: the one script engine."""

    sandbox: Annotated[
        Literal["auto", "safe", "standard", "full"], doc("Profile; auto is standard on the command line")
    ] = "auto"
    limits: Limits = Limits()
    strict: Annotated[bool, doc("Unknown option keys of API functions raise")] = False
    package_paths: Annotated[tuple[str, ...], doc("Further roots of require; must lie under allowed paths")] = ()


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """engines: script engines by name."""

    lua: LuaEngine = LuaEngine()


class RuntimeSecurity(msgspec.Struct, frozen=True, kw_only=True):
    """runtime.security: what scripts may touch outside themselves."""

    allow_file_access: Annotated[bool, doc("false denies every path")] = True
    allow_network_access: Annotated[bool, doc("false denies every connection of scripts and tools")] = True
    allow_process_spawn: Annotated[bool, doc("true lets tools start the allowed programs")] = False
    allowed_paths: Annotated[tuple[str, ...], doc("Folders scripts may use; the script's own is always allowed")] = (
        ".",
    )
    env_allow: Annotated[tuple[str, ...], doc("Patterns of readable environment names; never secret-shaped ones")] = (
        ENV_ALLOW
    )
    max_execution_time_ms: Annotated[int | None, doc("A further wall limit of every run", gt=0)] = None


class StatePersistence(msgspec.Struct, frozen=True, kw_only=True):
    """runtime.state_persistence: the state store."""

    enabled: Annotated[bool, doc("false keeps state in memory only")] = True
    backend_type: Annotated[Literal["memory", "sqlite"], doc("Store")] = "sqlite"
    path: Annotated[str | None, doc("Folder of the store; default is state/ of home")] = None
    max_state_size_bytes: Annotated[int, doc("Largest encoded value", gt=0)] = 10_000_000
    max_total_bytes: Annotated[int, doc("Bytes of the whole store, 0 for no limit", ge=0)] = 0
    max_keys_per_scope: Annotated[int, doc("Keys in one scope", gt=0)] = 1_000_000
    flush_interval_ms: Annotated[int, doc("Group commit bound; 0 makes every write durable at once", ge=0)] = 50
    durability: Annotated[Literal["none", "normal", "full"], doc("Default durability of writes")] = "normal"
    compression_enabled: Annotated[bool, doc("Compress large values")] = True
    compression_threshold_bytes: Annotated[int, doc("Smallest value that is compressed", gt=0)] = 1024
    immediate_flush_patterns: Annotated[tuple[str, ...], doc("Keys written with full durability")] = ("critical:*",)


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """runtime: how spells run."""

    script_timeout_seconds: Annotated[float, doc("Wall limit of a run", gt=0)] = 300
    security: RuntimeSecurity = RuntimeSecurity()
    state_persistence: StatePersistence = StatePersistence()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """providers.NAME: one model service."""

    groups: ClassVar[tuple[str, ...]] = ("rate_limit", "retry")
    provider_type: Annotated[str | None, doc("Profile or dialect; default is the section's name")] = None
    enabled: Annotated[bool, doc("false hides the provider")] = True
    api_key: Annotated[str | None, doc("Key, or env:NAME, file:PATH, keyring:SERVICE/USER", secret=True)] = None
    api_key_env: Annotated[str | None, doc("Name of the variable that holds the key")] = None
    base_url: Annotated[str | None, doc("Address of the service; default by type")] = None
    default_model: Annotated[str | None, doc("Model used when none is named")] = None
    max_tokens: Annotated[int | None, doc("Tokens of one answer", gt=0)] = None
    temperature: Annotated[float | None, doc("Sampling temperature", ge=0, le=2)] = None
    timeout_seconds: Annotated[float, doc("Total time of one call", gt=0)] = 120
    max_retries: Annotated[int, doc("Further attempts after a failure worth repeating", ge=0)] = 3
    organization: Annotated[str | None, doc("Organisation sent with every call")] = None
    rate_limit_requests_per_minute: Annotated[int | None, doc("Calls per minute", gt=0)] = None
    rate_limit_tokens_per_minute: Annotated[int | None, doc("Tokens per minute", gt=0)] = None
    rate_limit_auto_retry: Annotated[bool, doc("Wait and repeat when throttled")] = True
    retry_initial_delay_ms: Annotated[int, doc("First delay", ge=0)] = 500
    retry_max_delay_ms: Annotated[int, doc("Longest delay", ge=0)] = 20_000
    retry_backoff_multiplier: Annotated[float, doc("Growth of the delay", gt=0)] = 2.0
    retry_retry_after_cap_ms: Annotated[int, doc("Longest Retry-After that is waited for", ge=0)] = 30_000
    headers: Annotated[dict[str, str], doc("Further request headers")] = {}
    prices: Annotated[dict[str, Any], doc("Prices per model, replacing the bundled table")] = {}
    models: Annotated[dict[str, Any], doc("Limits and abilities per model")] = {}
    options: Annotated[dict[str, Any], doc("Passed to the adapter")] = {}
    scripts: Annotated[dict[str, Any], doc("Turns of the scripted models by name")] = {}


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """providers: model services; `defined` holds the tables `[providers.NAME]`."""

    default_provider: Annotated[str | None, doc("Provider of models named without one")] = None
    default_model: Annotated[str | None, doc("Model of agents that name none")] = None
    max_concurrent: Annotated[int, doc("Model calls in flight", gt=0)] = 1000
    allow_http_hosts: Annotated[tuple[str, ...], doc("Public hosts that may be reached by plain http")] = ()
    proxy: Annotated[str, doc("env reads HTTPS_PROXY and friends; none; or a URL")] = "env"
    use_keyring: Annotated[bool, doc("Ask the system keyring for missing keys")] = False
    offline: Annotated[bool, doc("true refuses every connection but loopback")] = False
    defined: dict[str, Provider] = {}


class Agents(msgspec.Struct, frozen=True, kw_only=True):
    """agents: defaults of every agent."""

    max_tool_calls: Annotated[int, doc("Tool calls of one execution", gt=0)] = 100
    max_model_calls: Annotated[int, doc("Model calls of one execution", gt=0)] = 50
    max_recursion_depth: Annotated[int, doc("Nested components", gt=0)] = 10
    max_execution_time_secs: Annotated[float, doc("Time of one execution", gt=0)] = 300
    max_cost_usd: Annotated[float | None, doc("Money of one execution", gt=0)] = None
    max_tokens: Annotated[int | None, doc("Tokens of one execution", gt=0)] = None


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """storage: where data lies; `~` and variables are expanded."""

    base_dir: Annotated[str | None, doc("Folder of all data; default is home")] = None
    vectors_dir: Annotated[str | None, doc("Folder of vector collections; default is vectors/ of base_dir")] = None
    database_path: Annotated[str | None, doc("Folder of the state store; default is state/ of base_dir")] = None


class Debug(msgspec.Struct, frozen=True, kw_only=True):
    """debug: the script global `Debug`."""

    groups: ClassVar[tuple[str, ...]] = ("output.file", "output.buffer", "output", "module_filters")
    enabled: Annotated[bool, doc("false drops every entry")] = True
    level: Annotated[Literal["off", "error", "warn", "info", "debug", "trace"], doc("Least important level kept")] = (
        "info"
    )
    output_stdout: Annotated[bool, doc("Write entries to standard output")] = False
    output_stderr: Annotated[bool, doc("Write entries to standard error, as far as logging.level lets them")] = True
    output_format: Annotated[Literal["text", "json"], doc("Form of an entry")] = "text"
    output_file_path: Annotated[str | None, doc("File that gets entries")] = None
    output_file_append: Annotated[bool, doc("Keep the old content of the file")] = True
    output_file_max_size: Annotated[int, doc("Size at which a new file is begun, bytes", gt=0)] = 10_000_000
    output_file_max_files: Annotated[int, doc("Files kept, the newest included", gt=0)] = 5
    output_buffer_enabled: Annotated[bool, doc("Keep entries for getCapturedEntries")] = True
    output_buffer_max_entries: Annotated[int, doc("Entries kept", gt=0)] = 10_000
    module_filters_enabled: Annotated[tuple[str, ...], doc("Modules shown; empty for all")] = ()
    module_filters_disabled: Annotated[tuple[str, ...], doc("Modules hidden")] = ()


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """logging: diagnostics of llmspell itself, on standard error or in a file."""

    level: Annotated[
        Literal["off", "error", "warn", "info", "debug", "trace"], doc("Least important level written")
    ] = "warn"
    format: Annotated[Literal["text", "json"], doc("Form of a line")] = "text"
    file: Annotated[str | None, doc("File instead of standard error")] = None


class Hnsw(msgspec.Struct, frozen=True, kw_only=True):
    """rag.vector_storage.hnsw: the index of a scope. Keys that are set win over the preset."""

    preset: Annotated[
        Literal["none", "small", "medium", "large", "speed", "accuracy", "real_time", "balanced"],
        doc("m, ef_construction and ef_search together; none is 16, 200, 50"),
    ] = "none"
    m: Annotated[int | None, doc("Links of a vector, at least 2; absent means the preset's", ge=1, le=128)] = None
    ef_construction: Annotated[
        int | None, doc("Candidates while building; absent means the preset's", ge=1, le=10_000)
    ] = None
    ef_search: Annotated[int | None, doc("Candidates while searching; absent means the preset's", ge=1, le=100_000)] = (
        None
    )
    exact_below: Annotated[int, doc("Scopes with at most so many vectors are scanned, without a graph", ge=0)] = 2048
    quantization: Annotated[Literal["f32", "i8"], doc("Four bytes or one byte for a number")] = "f32"
    keep_f32: Annotated[bool, doc("With i8: compare the best candidates again by the exact vectors")] = False
    num_threads: Annotated[int, doc("Threads that build; 0 for all processors", ge=0, le=256)] = 0
    seed: Annotated[int, doc("Seed of the graph", ge=0)] = 42
    metric: Annotated[Literal["cosine", "euclidean", "inner_product", "manhattan"], doc("Distance")] = "cosine"


class VectorStorage(msgspec.Struct, frozen=True, kw_only=True):
    """rag.vector_storage: where vectors live."""

    backend: Annotated[Literal["hnsw", "memory"], doc("hnsw keeps collections on disk, memory in the process")] = "hnsw"
    dimensions: Annotated[int, doc("Length of a vector", ge=1, le=65535)] = 384
    persistence_path: Annotated[str | None, doc("Folder of collections; default is vectors/ of home")] = None
    max_memory_mb: Annotated[int, doc("Loaded indexes; the least recently used leave first", gt=0)] = 500
    max_open_tenants: Annotated[int, doc("Files of tenants open at once; others cost no memory", gt=0)] = 128
    durability: Annotated[Literal["none", "normal", "full"], doc("Durability of writes")] = "normal"
    hnsw: Hnsw = Hnsw()


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """rag.embedding: how text becomes a vector."""

    default_provider: Annotated[str, doc("Embedder, or provider that embeds; builtin needs no network")] = "builtin"
    model: Annotated[str | None, doc("Model of the embedder; default by embedder")] = None
    dimensions: Annotated[
        int,
        doc("Length of a vector; 0: the model's own, as for another default_provider", ge=0, le=65535),
    ] = 384
    base_url: Annotated[str | None, doc("Address of the embedding service; default by provider")] = None
    api_key: Annotated[str | None, doc("Its key, or env:NAME, file:PATH, keyring:SERVICE/USER", secret=True)] = None
    directory: Annotated[str | None, doc("Folder of the model that the embedders static and onnx read")] = None
    batch_size: Annotated[int, doc("Texts of one request; a service's maximum is kept", gt=0)] = 32
    timeout_seconds: Annotated[float, doc("Time of one request", gt=0)] = 30
    max_retries: Annotated[int, doc("Further attempts after a failure worth repeating", ge=0)] = 3
    cache_enabled: Annotated[bool, doc("Keep vectors of texts seen before")] = True
    cache_size: Annotated[int, doc("Vectors kept in memory", gt=0)] = 10_000
    cache_max_mb: Annotated[int, doc("Memory they may take", gt=0)] = 100
    cache_ttl_seconds: Annotated[float, doc("Life of a kept vector, 0 for ever", ge=0)] = 3600
    cache_disk: Annotated[bool, doc("Keep them in a file too, for the next process")] = False


class Chunking(msgspec.Struct, frozen=True, kw_only=True):
    """rag.chunking: how documents are cut, in tokens."""

    strategy: Annotated[
        Literal["sliding_window", "sentence", "recursive", "markdown", "code", "paragraph", "fixed", "none"],
        doc("Where cuts are made"),
    ] = "sliding_window"
    chunk_size: Annotated[int, doc("Tokens of a chunk", gt=0)] = 512
    overlap: Annotated[int, doc("Tokens shared by neighbours, less than chunk_size", ge=0)] = 64
    min_chunk_size: Annotated[int, doc("Smaller chunks join their neighbour", ge=0)] = 100
    max_chunk_size: Annotated[int, doc("Largest chunk", gt=0)] = 2048


class Retrieval(msgspec.Struct, frozen=True, kw_only=True):
    """rag.retrieval: how documents are found."""

    mode: Annotated[Literal["hybrid", "vector", "keyword"], doc("Kind of search")] = "hybrid"
    top_k: Annotated[int, doc("Results", gt=0)] = 10
    threshold: Annotated[float | None, doc("Least score of a result")] = None
    fusion: Annotated[Literal["rrf", "weighted"], doc("How vector and keyword results merge")] = "rrf"
    rrf_k: Annotated[int, doc("Constant of reciprocal rank fusion", gt=0)] = 60
    vector_weight: Annotated[float, doc("Weight of vector results", ge=0)] = 0.7
    keyword_weight: Annotated[float, doc("Weight of keyword results", ge=0)] = 0.2
    candidates: Annotated[int, doc("Candidates of each search", gt=0)] = 50
    timeout_seconds: Annotated[float, doc("Time of one search", gt=0)] = 10
    rerank: Annotated[str | None, doc("Reranker")] = None


class Rag(msgspec.Struct, frozen=True, kw_only=True):
    """rag: retrieval."""

    groups: ClassVar[tuple[str, ...]] = ("cache", "sessions")
    enabled: Annotated[bool, doc("false switches the RAG global and the rag commands off")] = True
    multi_tenant: Annotated[bool, doc("true switches tenancy.enabled on")] = False
    default_collection: Annotated[str, doc("Collection used when none is named")] = "default"
    vector_storage: VectorStorage = VectorStorage()
    embedding: Embedding = Embedding()
    chunking: Chunking = Chunking()
    retrieval: Retrieval = Retrieval()
    cache_search_cache_enabled: Annotated[bool, doc("Keep results of searches until something is written there")] = True
    cache_search_cache_size: Annotated[int, doc("Results kept", gt=0)] = 1000
    cache_search_cache_ttl_seconds: Annotated[float, doc("Longest time a result is kept, 0 for no limit", ge=0)] = 300
    cache_document_cache_enabled: Annotated[bool, doc("Keep documents that were asked for by id")] = True
    cache_document_cache_size_mb: Annotated[int, doc("Memory of documents kept", gt=0)] = 100
    sessions_default_ttl_seconds: Annotated[float, doc("Life of a session collection made without one", gt=0)] = 3600
    sessions_max_collections: Annotated[int, doc("Session collections at once", gt=0)] = 1000


class FileOperations(msgspec.Struct, frozen=True, kw_only=True):
    """tools.file_operations: the file sandbox of tools."""

    enabled: Annotated[bool, doc("false refuses every file access of tools")] = True
    allowed_paths: Annotated[tuple[str, ...] | None, doc("Roots; absent: working, temporary and artifacts folder")] = (
        None
    )
    denied_paths: Annotated[tuple[str, ...], doc("Patterns never opened")] = DENIED_PATHS
    max_file_size: Annotated[int, doc("Largest file, bytes", gt=0)] = 52_428_800
    atomic_writes: Annotated[bool, doc("Write beside and rename")] = True
    max_depth: Annotated[int, doc("Depth of recursive operations", gt=0)] = 10
    allowed_extensions: Annotated[tuple[str, ...], doc("Extensions that may be opened; empty for all")] = ()
    blocked_extensions: Annotated[tuple[str, ...], doc("Extensions never opened")] = ("exe", "dll", "so", "dylib")
    follow_symlinks: Annotated[bool, doc("Follow links whose target stays inside")] = True


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """tools.network: the one way out for tools."""

    groups: ClassVar[tuple[str, ...]] = ("retry",)
    allowed_hosts: Annotated[tuple[str, ...], doc("Names, *.names, networks or host:port that may be reached")] = ("*",)
    blocked_hosts: Annotated[tuple[str, ...], doc("As allowed_hosts; blocked wins")] = ()
    allow_loopback: Annotated[bool, doc("true admits this machine")] = False
    allow_private: Annotated[tuple[str, ...], doc("Private networks that may be reached")] = ()
    blocked_ports: Annotated[tuple[int, ...], doc("Ports never reached")] = BLOCKED_PORTS
    max_redirects: Annotated[int, doc("Redirects followed", ge=0)] = 5
    connect_timeout: Annotated[float, doc("Time to connect, seconds", gt=0)] = 10
    read_timeout: Annotated[float, doc("Silence while reading, seconds", gt=0)] = 30
    timeout: Annotated[float, doc("Time of a whole request, seconds", gt=0)] = 30
    max_response_size: Annotated[int, doc("Decompressed bytes of an answer", gt=0)] = 10_485_760
    max_request_size: Annotated[int, doc("Bytes of a request body", gt=0)] = 10_485_760
    max_header_size: Annotated[int, doc("Bytes of the answer's headers", gt=0)] = 65_536
    max_connections: Annotated[int, doc("Connections at once", gt=0)] = 100
    per_host: Annotated[int, doc("Connections to one host", gt=0)] = 8
    rate_limit_per_minute: Annotated[int, doc("Requests to one host, 0 for no limit", ge=0)] = 0
    proxy: Annotated[str | None, doc("env, or the URL of a proxy")] = None
    proxy_trusted: Annotated[bool, doc("The proxy is trusted to resolve names")] = False
    user_agent: Annotated[str, doc("Name sent with requests")] = f"llmspell/{__version__}"
    offline: Annotated[bool, doc("true refuses every connection but loopback")] = False
    retry_max_attempts: Annotated[int, doc("Attempts of a request that asks to be repeated", ge=1, le=20)] = 3
    retry_initial_delay_ms: Annotated[int, doc("First delay", ge=0)] = 1000
    retry_max_delay_ms: Annotated[int, doc("Longest delay", ge=0)] = 30_000
    retry_backoff_factor: Annotated[float, doc("Growth of the delay", gt=0)] = 2.0
    retry_retry_on_status: Annotated[tuple[int, ...], doc("Statuses worth repeating")] = (429, 500, 502, 503, 504)


class ToolSecurity(msgspec.Struct, frozen=True, kw_only=True):
    """tools.security: which tools may run for whom."""

    max_level: Annotated[
        Literal["safe", "restricted", "privileged"] | None, doc("Ceiling; absent: by sandbox profile")
    ] = None
    allow: Annotated[tuple[str, ...], doc("Patterns of tool or tool.operation allowed above the ceiling")] = ()
    deny: Annotated[tuple[str, ...], doc("Patterns of tool or tool.operation refused; deny wins")] = ()
    require_approval: Annotated[tuple[str, ...], doc("Calls of a model that need a yes")] = ("*.privileged",)
    rate_limits: Annotated[dict[str, int], doc("Calls per minute by tool")] = {}


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """tools: which tools exist and within which bounds; `options` holds the tables `[tools.<tool>]`."""

    enabled: Annotated[tuple[str, ...] | None, doc("Patterns of the only tools offered; absent for all")] = None
    disabled: Annotated[tuple[str, ...], doc("Patterns of hidden tools")] = ()
    paths: Annotated[tuple[str, ...], doc("Folders with further tools")] = ()
    rate_limit_per_minute: Annotated[int | None, doc("Calls of each tool", gt=0)] = None
    default_timeout_ms: Annotated[int, doc("Time of one call", gt=0)] = 30_000
    max_output_bytes: Annotated[int, doc("Largest result of a call", gt=0)] = 10_485_760
    max_concurrent: Annotated[int, doc("Calls at once", gt=0)] = 64
    security: ToolSecurity = ToolSecurity()
    file_operations: FileOperations = FileOperations()
    network: Network = Network()
    options: dict[str, dict[str, Any]] = {}

    def option(self, tool: str, key: str, default: Any = None) -> Any:
        """Return `[tools.<tool>] key`, `-` and `_` being one character, or `default`."""
        return self.options.get(tool.replace("-", "_"), {}).get(key, default)


class Tenancy(msgspec.Struct, frozen=True, kw_only=True):
    """tenancy: who may use how much. Without it the scope `tenant:ID` is a place like any other."""

    groups: ClassVar[tuple[str, ...]] = ("default_limits", "costs", "audit")
    enabled: Annotated[bool, doc("true gives every tenant policies, limits, usage and an audit trail")] = False
    max_tenants: Annotated[int, doc("Tenants of this installation, 0 for no limit", ge=0)] = 0
    default_limits_max_vectors: Annotated[int | None, doc("Vectors of a tenant", ge=0)] = None
    default_limits_max_storage_bytes: Annotated[int | None, doc("Text and vectors of a tenant", ge=0)] = None
    default_limits_max_documents: Annotated[int | None, doc("Documents of a tenant", ge=0)] = None
    default_limits_max_queries_per_second: Annotated[float | None, doc("Searches; twice as many at once", gt=0)] = None
    default_limits_max_dimensions: Annotated[int | None, doc("Length of a tenant's vectors", ge=1)] = None
    default_limits_max_embedding_tokens: Annotated[int | None, doc("Tokens embedded in a month", ge=0)] = None
    default_limits_max_sessions: Annotated[int | None, doc("Session collections of a tenant", ge=0)] = None
    default_limits_monthly_cost_usd: Annotated[float | None, doc("Costs of a tenant in a month", ge=0)] = None
    tenants: Annotated[dict[str, Any], doc("Tenants by id, made at first use: name, active, sandbox, limits")] = {}
    costs_storage_usd_per_gb_month: Annotated[float, doc("Price of 10^9 stored bytes for a month", ge=0)] = 0.10
    costs_queries_usd_per_1000: Annotated[float, doc("Price of a thousand searches", ge=0)] = 0.01
    costs_compute_usd_per_hour: Annotated[float, doc("Price of an hour of work", ge=0)] = 0.05
    audit_retention_days: Annotated[int, doc("Days that the audit trail reaches back", gt=0)] = 90
    audit_grant_sample: Annotated[float, doc("Share of the grants that is written down", ge=0, le=1)] = 1.0


class Cli(msgspec.Struct, frozen=True, kw_only=True):
    """cli: the command line."""

    groups: ClassVar[tuple[str, ...]] = ("repl",)
    output: Annotated[Literal["text", "json", "jsonl", "yaml", "pretty"], doc("Form of output")] = "text"
    color: Annotated[Literal["auto", "always", "never"], doc("Colour")] = "auto"
    repl_edit_mode: Annotated[Literal["emacs", "vi"], doc("Keys of the line editor")] = "emacs"
    repl_history_size: Annotated[int, doc("Inputs kept", ge=0)] = 10_000
    repl_autosuggest: Annotated[bool, doc("Offer earlier input while typing")] = True


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration; `Config()` is the built-in defaults."""

    groups: ClassVar[tuple[str, ...]] = ("security",)
    default_engine: Annotated[Literal["lua"], doc("Engine of scripts")] = "lua"
    profile: Annotated[str | None, doc("Profiles of this file, a comma list; later wins")] = None
    engines: Engines = Engines()
    runtime: Runtime = Runtime()
    providers: Providers = Providers()
    agents: Agents = Agents()
    security_trusted_projects: Annotated[
        tuple[str, ...], doc("Folders whose project file may widen permissions; home file only")
    ] = ()
    storage: Storage = Storage()
    debug: Debug = Debug()
    logging: Logging = Logging()
    rag: Rag = Rag()
    tenancy: Tenancy = Tenancy()
    tools: Tools = Tools()
    cli: Cli = Cli()
    origins: dict[str, tuple[str, str | None, int | None]] = {}
    """Layer word, file and line of every key that a layer states; no part of the file."""
