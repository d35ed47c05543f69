"""What a project file may not do: widen permissions, or send a key that is not its own to another address.

A project file arrives with a checkout; running a spell in a folder must not mean trusting whoever wrote it. The same
holds for profiles the project brings along, and for profiles of home that only the project file chose.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.base.profile_limits import LIMITS
from llmspell.config.confine import opens
from llmspell.config.env import key_variables
from llmspell.config.schema import keys
from llmspell.config.secrets import PREFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmspell.config.origin import Entry

_SANDBOX = {"safe": 0, "auto": 1, "standard": 1, "full": 2}
PATH_KEYS = (
    "storage.base_dir", "storage.vectors_dir", "storage.database_path", "runtime.state_persistence.path",
    "rag.vector_storage.persistence_path", "logging.file", "debug.output.file.path",
)  # fmt: skip
_TRUST = "or trust the folder: llmspell config set security.trusted_projects"


class Guard:
    """Judges the entries of untrusted layers against what lies below them."""

    def __init__(self, entries: list[Entry], *, environ: Mapping[str, str], cwd: Path, project: str | None) -> None:
        self.entries = entries
        self.environ = environ
        self.cwd = cwd
        self.project = project or str(cwd)

    def may_expand(self, entry: Entry) -> bool:
        """Return whether references to secrets may be followed in this entry."""
        return entry.layer.trusted or (entry.path.startswith("providers.") and entry.path.endswith(".api_key"))

    def refuses(self, entry: Entry, value: Any, below: dict[str, Any]) -> str | None:
        """Return why an untrusted layer may not set the key to `value`, None when it may."""
        if entry.layer.trusted:
            return None
        path = entry.path
        if path == "security.trusted_projects":
            return f"{path} may only be set in the home file"
        if path.startswith("providers.") and path.endswith(".base_url"):
            return self._base_url(entry)
        if path in PATH_KEYS:
            return self._outside(path, value)
        before = below.get(path, keys()[path].default) if path in keys() else None
        if self._wider(path, value, before):
            return f"a project file may not set {path} wider than the layers below: set it in the home file, {_TRUST}"
        return None

    def _wider(self, path: str, value: Any, before: Any) -> bool:
        name = path.rpartition(".")[2]
        if path == "engines.lua.sandbox":
            return _SANDBOX[value] > _SANDBOX[before]
        if path.startswith("engines.lua.limits."):
            bound = LIMITS["standard"][name] if before is None else before
            return bool(bound) and (value == 0 or value > bound)
        if path == "tools.file_operations.allowed_paths":
            return value is None or not all(self._under(item, before or (".",)) for item in value)
        if not path.startswith("runtime.security."):
            return opens(path, value, before)
        if isinstance(value, bool):
            return value and not before
        if name == "allowed_paths":
            return not all(self._under(item, before) for item in value)
        if name == "env_allow":
            return not set(value) <= set(before)
        return before is not None and value > before

    def _under(self, item: str, roots: tuple[str, ...]) -> bool:
        path = os.path.realpath(self.cwd / Path(item).expanduser())
        for root in roots:
            if root == "*":
                return True
            real = os.path.realpath(self.cwd / Path(root).expanduser())
            if path == real or path.startswith(real.rstrip("/") + "/"):
                return True
        return False

    def _outside(self, path: str, value: Any) -> str | None:
        if value is None or self._under(value, (self.project,)):
            return None
        return f"a project file may only name files in its own folder in {path}: set it in the home file, {_TRUST}"

    def _base_url(self, entry: Entry) -> str | None:
        name = entry.path.split(".")[1]
        own_literal = False
        kinds = {name}
        for other in self.entries:
            if not other.path.startswith(f"providers.{name}."):
                continue
            key = other.path.rpartition(".")[2]
            if key == "provider_type":
                kinds.add(str(other.value).replace("_", "-"))
            elif key in ("api_key", "api_key_env"):
                text = str(other.value)
                literal = key == "api_key" and not text.startswith(PREFIXES) and "${" not in text
                if other.layer.source != entry.layer.source or not literal:
                    return self._foreign(entry.path, name)
                own_literal = True
        if not own_literal and any(self.environ.get(var) for kind in kinds for var in key_variables(kind)):
            return self._foreign(entry.path, name)
        return None

    def _foreign(self, path: str, name: str) -> str:
        return (
            f"a project file may not set {path} because the key of {name} comes from elsewhere: set it there, {_TRUST}"
        )
