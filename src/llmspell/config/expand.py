"""`${NAME}`, `${NAME:-default}`, `${file:PATH}`, `${keyring:NAME}` in strings; `$$` is a dollar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmspell.config.secrets import is_secret_name, resolve
from llmspell.errors import ConfigurationError, SecurityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PART = re.compile(r"\$\$|\$\{([^{}]*)\}")


def expand(value: Any, *, environ: Mapping[str, str], base: Path | None, trusted: bool = True) -> Any:
    """Return `value` with the references in all its strings replaced.

    base: folder of relative `${file:...}` paths. trusted: False for project files, which may not read files, the
    keyring or secret-shaped variables. Raises ConfigurationError, SecurityError.
    """
    if isinstance(value, str):
        return _PART.sub(lambda match: _one(match, environ, base, trusted), value) if "$" in value else value
    if isinstance(value, list):
        return [expand(item, environ=environ, base=base, trusted=trusted) for item in value]
    if isinstance(value, dict):
        return {key: expand(item, environ=environ, base=base, trusted=trusted) for key, item in value.items()}
    return value


def _one(match: re.Match[str], environ: Mapping[str, str], base: Path | None, trusted: bool) -> str:
    inner = match[1]
    if inner is None:
        return "$"
    name, dash, default = inner.partition(":-")
    store = name.startswith(("file:", "keyring:"))
    if not trusted and (store or is_secret_name(name)):
        raise SecurityError(
            f"a project file may not read ${{{name}}}: trust the folder or set the key in the home file"
        )
    found = resolve(name, environ=environ, base=base) if store else environ.get(name)
    if found:
        return found
    if dash:
        return default
    if found is None:
        raise ConfigurationError(f"${{{name}}} is not set: set it, or write ${{{name}:-default}}")
    return found
