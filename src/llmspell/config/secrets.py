"""Which names are secret, how a secret is shown, and how a reference to one is resolved.

The only place that turns `env:NAME`, `file:PATH` and `keyring:SERVICE/USER` into a value.
"""

from __future__ import annotations

import os

from llmspell.base.secret_names import is_secret_name as _is_secret
from llmspell.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

REDACTED = "<REDACTED>"
PREFIXES = ("env:", "file:", "keyring:")


def is_secret_name(name: str) -> bool:
    """Return whether a key of that name holds a secret; `api_key_env` holds the name of a variable and does not."""
    return not name.lower().endswith("_env") and _is_secret(name)


def mask(value: Any) -> Any:
    """Return a secret as people may see it: `sk-…wxyz`; shorter than 12 characters: `…`; a reference as it is."""
    if value is None or value == "":
        return value
    text = str(value)
    if text.startswith(PREFIXES):
        return text
    return "…" if len(text) < 12 else f"{text[:3]}…{text[-4:]}"


def mask_url(text: str) -> str:
    """Return `text` with the password of a URL replaced, `scheme://user:…@host`; other text unchanged."""
    scheme, mark, rest = text.partition("://")
    authority = rest.split("/", 1)[0]
    if not mark or "@" not in authority or ":" not in authority.rpartition("@")[0]:
        return text
    user, _, host = authority.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}:…@{host}{rest[len(authority) :]}"


def resolve(reference: str, *, environ: Mapping[str, str] | None = None, base: Path | None = None) -> str | None:
    """Return the secret that `reference` names, or None when it is not there.

    A literal is returned as it is. Relative paths are under `base`. Raises ConfigurationError when a file cannot be
    read or the keyring package is not installed.
    """
    if reference.startswith("env:"):
        source = os.environ if environ is None else environ
        return source.get(reference[4:].strip()) or None
    if reference.startswith("file:"):
        return _from_file(reference[5:].strip(), base)
    if reference.startswith("keyring:"):
        return _from_keyring(reference[8:].strip())
    return reference or None


def _from_file(name: str, base: Path | None) -> str:
    path = os.path.expanduser(name)  # pathlib costs 5 ms here
    if base is not None and not os.path.isabs(path):  # same
        path = os.path.join(base, path)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(65536).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(
            f"cannot read the secret file {path}: {reason}; create it with mode 0600 or change the reference",
            code="missing_key",
            details={"path": path},
        ) from error


def _from_keyring(name: str) -> str | None:
    service, _, user = name.partition("/")
    try:
        import keyring  # type: ignore[import-not-found, unused-ignore]  # an extra that may be absent
    except ImportError as error:
        raise ConfigurationError(
            f"keyring:{name} needs the keyring package: pip install keyring, or use env:NAME or file:PATH",
            code="extra_missing",
        ) from error
    try:
        found = keyring.get_password(service, user or "api_key")
    except keyring.errors.KeyringError as error:
        raise ConfigurationError(
            f"the system keyring did not answer for keyring:{name}: {error}; use env:NAME or file:PATH instead",
            code="missing_key",
        ) from error
    return str(found) if found is not None else None


def from_environment(names: tuple[str, ...], *, environ: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """Return (name, value) of the first variable of `names` that is set and not empty."""
    source = os.environ if environ is None else environ
    for name in names:
        if source.get(name):
            return name, source[name]
    return None
