"""Environment variables: the generated name of every key, flat aliases, provider keys, and the few that are no keys.

Reads only the mapping it is given, except `provider_base_url`, which is asked by services without one.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "LLMSPELL_"

# variables with a meaning of their own
SPECIAL = {
    "LLMSPELL_CONFIG": "extra configuration file",
    "LLMSPELL_PROFILE": "profiles, a comma list",
    "LLMSPELL_OUTPUT": "form of output",
    "LLMSPELL_LOG": "level of diagnostics",
    "LLMSPELL_HOME": "folder of all data",
    "LLMSPELL_OFFLINE": "1 refuses every connection but loopback",
    "LLMSPELL_ENGINE": "engine of scripts",
    "LLMSPELL_SIMD": "instruction set of the compiled core",
}

# flat names that cannot be generated from a key
FLAT = {
    "LLMSPELL_SCRIPT_TIMEOUT_SECONDS": "runtime.script_timeout_seconds",
    "LLMSPELL_ALLOW_FILE_ACCESS": "runtime.security.allow_file_access",
    "LLMSPELL_ALLOW_NETWORK_ACCESS": "runtime.security.allow_network_access",
    "LLMSPELL_ALLOW_PROCESS_SPAWN": "runtime.security.allow_process_spawn",
    "LLMSPELL_ALLOWED_PATHS": "runtime.security.allowed_paths",
    "LLMSPELL_STATE_BACKEND": "runtime.state_persistence.backend_type",
    "LLMSPELL_STATE_PATH": "runtime.state_persistence.path",
    "LLMSPELL_LOG_LEVEL": "logging.level",
    "LLMSPELL_DEFAULT_PROVIDER": "providers.default_provider",
    "LLMSPELL_DEFAULT_MODEL": "providers.default_model",
}
_SECTION_KEYS = ("LLMSPELL_EMBEDDING_API_KEY", "LLMSPELL_RAG_EMBEDDING_API_KEY")
_SHORT_PREFIXES = {"LLMSPELL_HNSW_": "rag.vector_storage.hnsw.", "LLMSPELL_EMBEDDING_": "rag.embedding."}

# provider -> variables that hold its key, after LLMSPELL_<NAME>_API_KEY
PROVIDER_KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "perplexity": ("PERPLEXITY_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "voyage": ("VOYAGE_API_KEY",),
    "replicate": ("REPLICATE_API_TOKEN",),
}
BASE_URLS = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL", "ollama": "OLLAMA_HOST"}


def name_of(path: str) -> str:
    """Return the variable of a key: `rag.chunking.overlap` is `LLMSPELL_RAG__CHUNKING__OVERLAP`."""
    return PREFIX + path.upper().replace("-", "_").replace(".", "__")


def key_variables(provider: str) -> tuple[str, ...]:
    """Return the variables that may hold the key of `provider`, in the order they are asked."""
    own = f"{PREFIX}{provider.upper().replace('-', '_')}_API_KEY"
    return (own, *PROVIDER_KEYS.get(provider, ()))


def provider_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that holds a key for each provider that has one."""
    found = {}
    for provider in PROVIDER_KEYS:
        for name in key_variables(provider):
            if environ.get(name):
                found[provider] = name
                break
    return found


def provider_base_url(provider: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the base URL that the environment states for `provider`; a bare `host:port` of Ollama gets a scheme."""
    name = BASE_URLS.get(provider)
    value = (os.environ if environ is None else environ).get(name, "") if name else ""
    if value and provider == "ollama" and "://" not in value:
        value = f"http://{value}"
    return value or None


def stated(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (variable, path, text, alias) of each variable that states a key, aliases first so that real names win.

    The path of an unknown variable is empty.
    """
    exact: list[tuple[str, str, str, bool]] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in SPECIAL or name.startswith(PREFIX + "PUBLIC_"):
            continue
        if "__" in name:
            path = ".".join(name[len(PREFIX) :].lower().split("__"))
            exact.append((name, path if _known(path) else "", environ[name], False))
        elif not name.endswith("_API_KEY") or name in _SECTION_KEYS:  # the others are keys of providers of any name
            yield name, _flat(name), environ[name], True
    yield from exact


def flat_names() -> dict[str, str]:
    """Return every flat alias with its key, patterns with `*` excluded."""
    from llmspell.config.schema import keys

    names = {PREFIX + path.upper().replace(".", "_"): path for path in keys() if "*" not in path}
    for short, prefix in _SHORT_PREFIXES.items():
        names |= {short + path[len(prefix) :].upper(): path for path in keys() if path.startswith(prefix)}
    return {**names, **FLAT}


def _known(path: str) -> bool:
    from llmspell.config.aliases import canonical
    from llmspell.config.schema import find, is_section

    found = canonical(path)
    return find(found) is not None or is_section(found) or (found.count(".") >= 2 and found.startswith("tools."))


def _flat(name: str) -> str:
    found = flat_names().get(name)
    if found is None and name.startswith(PREFIX + "PROVIDER_"):
        provider, _, key = name[len(PREFIX + "PROVIDER_") :].lower().partition("_")
        for suffix in ("base_url", "api_key", "default_model", "model", "max_tokens", "temperature", "timeout_seconds"):
            if name.lower().endswith("_" + suffix):
                provider, key = name[len(PREFIX + "PROVIDER_") : -len(suffix) - 1].lower(), suffix
                break
        found = f"providers.{provider}.{'default_model' if key == 'model' else key}"
        from llmspell.config.schema import find

        return found if find(found) else ""
    return found or ""
