"""The global `Config`: reading the configuration, changing it for this interpreter within the profile's permissions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import rfc3339
from llmspell.config.secrets import PREFIXES, REDACTED
from llmspell.errors import ConfigurationError, SecurityError

if TYPE_CHECKING:
    from collections.abc import Set

    from llmspell.app import App
    from llmspell.config.overlay import Overlay

PERMISSIONS = ("modify_providers", "modify_tools", "modify_runtime", "modify_security", "access_secrets")
PRESETS = {
    "safe": frozenset[str](),
    "standard": frozenset(PERMISSIONS[:3]),
    "full": frozenset(PERMISSIONS),
}
SWITCHES = ("allow_file_access", "allow_network_access", "allow_process_spawn")
MAX_AUDIT = 1000
# keys outside runtime.security that confine scripts, start programs, or name files: changing them is a security matter
CONFINING = (
    "security.", "runtime.security.", "storage.", "logging.file", "debug.output.file.", "engines.lua.sandbox",
    "engines.lua.limits.", "engines.lua.package_paths", "runtime.script_timeout_seconds",
    "runtime.state_persistence.path", "rag.vector_storage.persistence_path",
    "tools.security.", "tools.file_operations.", "tools.network.", "tools.process.", "tools.system.", "tools.database.",
    "tools.email.", "tools.paths", "tools.enabled", "tools.disabled", "tools.service_checker.",
    "tools.environment_manager.", "providers.allow_http_hosts", "providers.proxy", "providers.use_keyring",
    "providers.offline",
)  # fmt: skip
_SECTION_ALIASES = {"state": "runtime.state_persistence"}


class Global:
    """Methods of the table `Config`. Changes live in `lane.overrides`, an Overlay."""

    aliases = {  # noqa: RUF012  # a constant of the contract
        "getSection": "get_section",
        "getDefaultEngine": "get_default_engine",
        "getProvider": "get_provider",
        "listProviders": "list_providers",
        "setProvider": "set_provider",
        "getSecurity": "get_security",
        "setSecurity": "set_security",
        "isFileAccessAllowed": "is_file_access_allowed",
        "isNetworkAccessAllowed": "is_network_access_allowed",
        "isProcessSpawnAllowed": "is_process_spawn_allowed",
        "getTools": "get_tools",
        "addAllowedPath": "add_allowed_path",
        "getPermissions": "get_permissions",
        "restoreSnapshot": "restore_snapshot",
        "listSnapshots": "list_snapshots",
        "toJson": "to_json",
        "toTable": "to_table",
    }

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._lane = lane
        self._overlay: Overlay = lane.overrides
        self._granted = PRESETS.get(lane.profile, PRESETS["safe"])
        self._audit: list[dict[str, Any]] = []

    def get(self, path: str | None = None, default: Any = None) -> Any:
        """Return the whole configuration, or the value at a dotted path."""
        value: Any = self._plain()
        for part in path.split(".") if path else ():
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return default if value is None else value

    def set(self, path: str, value: Any) -> None:
        """Change a key, or all keys of a table, in this interpreter."""
        checked = self._overlay.check(path, value)
        self._refuse_switching_on(checked)
        self._allow("set", path, {self._permission(key) for key in checked})
        self._refuse_foreign_keys(checked)
        self._overlay.apply(checked)

    def get_section(self, name: str) -> Any:
        """Return a top-level section."""
        plain = self._plain()
        path = _SECTION_ALIASES.get(name, name)
        section = self.get(path) if "." in path else plain.get(path)
        if not isinstance(section, dict):
            sections = sorted(key for key, value in plain.items() if isinstance(value, dict))
            raise ConfigurationError(f"no configuration section {name!r}; there are: {', '.join(sections)}")
        return section

    def get_default_engine(self) -> str:
        """Return `lua`."""
        return self._overlay.current.default_engine

    def get_provider(self, name: str) -> Any:
        """Return the table of a provider, or nil."""
        return self._plain()["providers"].get(name) if name in self._overlay.current.providers.defined else None

    def list_providers(self) -> list[str]:
        """Return the names of the configured providers, sorted."""
        return sorted(self._overlay.current.providers.defined)

    def set_provider(self, name: str, cfg: dict[str, Any]) -> None:
        """Define or change a provider for the agents built after this."""
        path = f"providers.{name}"
        if not name or "." in name or f"{path}." in CONFINING or path in ("providers.defined", *CONFINING):
            raise ConfigurationError(f"{name!r} is no name of a provider", details={"path": path})
        self._allow("set_provider", path, {"modify_providers"})
        checked = self._overlay.check(path, cfg or {"enabled": True})
        self._refuse_foreign_keys(checked)
        self._overlay.apply(checked)

    def get_security(self) -> Any:
        """Return the section runtime.security."""
        return self._plain()["runtime"]["security"]

    def set_security(self, cfg: dict[str, Any]) -> None:
        """Change runtime.security; the switches can only be turned off."""
        checked = self._overlay.check("runtime.security", cfg)
        self._allow("set_security", "runtime.security", {"modify_security"})
        self._refuse_switching_on(checked)
        self._overlay.apply(checked)

    def is_file_access_allowed(self) -> bool:
        """Return whether files may be used."""
        return self._overlay.current.runtime.security.allow_file_access

    def is_network_access_allowed(self) -> bool:
        """Return whether the network may be used."""
        return self._overlay.current.runtime.security.allow_network_access

    def is_process_spawn_allowed(self) -> bool:
        """Return whether programs may be started."""
        return self._overlay.current.runtime.security.allow_process_spawn

    def get_tools(self) -> Any:
        """Return the section tools."""
        return self._plain()["tools"]

    def add_allowed_path(self, path: str) -> None:
        """Allow a folder that lies under a root the configuration already grants to scripts or tools."""
        self._allow("add_allowed_path", path, {"modify_tools"})
        real = os.path.realpath(self._app.cwd / Path(path).expanduser())
        if "\0" in path or not any(_under(real, root) for root in self._roots()):
            self._note("add_allowed_path", path, allowed=False)
            raise SecurityError(
                f"{path!r} does not lie under a root that the configuration grants",
                code="path_denied",
                details={"path": path},
            )
        current = self._overlay.current
        changes: dict[str, Any] = {
            "runtime.security.allowed_paths": (*current.runtime.security.allowed_paths, real),
        }
        files = current.tools.file_operations.allowed_paths
        if files is not None:
            changes["tools.file_operations.allowed_paths"] = (*files, real)
        self._overlay.apply(changes)
        self._lane.roots.append(Path(real))

    def get_permissions(self) -> Any:
        """Return what this interpreter may do with the configuration."""
        return {"read": True, **{name: name in self._granted for name in PERMISSIONS}}

    def snapshot(self) -> int:
        """Keep the configuration in force and return its timestamp."""
        return self._overlay.snapshot()

    def restore_snapshot(self, ts: int) -> None:
        """Return to a snapshot."""
        self._allow("restore_snapshot", str(ts), {"modify_runtime"})
        self._overlay.restore(ts)

    def list_snapshots(self) -> list[int]:
        """Return the timestamps of the snapshots."""
        return self._overlay.snapshots()

    def to_json(self, pretty: bool | None = None) -> str:
        """Return the configuration as JSON text."""
        import msgspec

        text = msgspec.json.encode(self._plain(), order="sorted")
        return (msgspec.json.format(text, indent=2) if pretty else text).decode()

    def to_table(self) -> Any:
        """Return the whole configuration."""
        return self._plain()

    def origin(self, path: str) -> str:
        """Return the word of the layer a key comes from."""
        return self._overlay.origin(path)

    def audit(self) -> Any:
        """Return the attempts to change the configuration, oldest first."""
        return [dict(entry) for entry in self._audit]

    def _plain(self) -> dict[str, Any]:
        from llmspell.config.schema import to_plain

        return to_plain(self._overlay.current, mask=False if "access_secrets" in self._granted else lambda _: REDACTED)

    def _permission(self, key: str) -> str:
        if any(key == prefix or (prefix.endswith(".") and key.startswith(prefix)) for prefix in CONFINING):
            return "modify_security"
        section = key.partition(".")[0]
        return {"providers": "modify_providers", "tools": "modify_tools"}.get(section, "modify_runtime")

    def _allow(self, action: str, path: str, needed: Set[str]) -> None:
        missing = sorted(needed - self._granted)
        self._note(action, path, allowed=not missing)
        if missing:
            raise SecurityError(
                f"{path}: permission {missing[0]} is missing in this sandbox profile",
                code="permission_denied",
                details={"permission": missing[0], "path": path},
            )

    def _note(self, action: str, path: str, *, allowed: bool) -> None:
        del self._audit[: len(self._audit) + 1 - MAX_AUDIT]
        self._audit.append({"timestamp": rfc3339(), "action": action, "path": path, "allowed": allowed})

    def _refuse_switching_on(self, checked: dict[str, Any]) -> None:
        security = self._overlay.current.runtime.security
        for name in SWITCHES:
            key = f"runtime.security.{name}"
            if checked.get(key) is True and not getattr(security, name):
                self._note("set", key, allowed=False)
                raise SecurityError(
                    f"{key} can only be turned off by a script", code="permission_denied", details={"path": key}
                )

    def _refuse_foreign_keys(self, checked: dict[str, Any]) -> None:
        """Keep a script from sending a key it cannot read to an address it chose."""
        if "access_secrets" in self._granted:
            return
        for key, value in checked.items():
            parts = key.split(".")
            if parts[0] != "providers" or len(parts) < 3:
                continue
            reference = parts[2] == "api_key_env" or (parts[2] == "api_key" and str(value).startswith(PREFIXES))
            foreign = parts[2] in ("base_url", "provider_type") and not checked.get(f"providers.{parts[1]}.api_key")
            if reference or (foreign and self._has_key(parts[1], checked)):
                self._note("set", key, allowed=False)
                raise SecurityError(
                    f"{key}: permission access_secrets is missing; state a literal api_key in the same call",
                    code="permission_denied",
                    details={"permission": "access_secrets", "path": key},
                )

    def _has_key(self, name: str, checked: dict[str, Any]) -> bool:
        from llmspell.config.env import key_variables
        from llmspell.config.secrets import from_environment

        entry = self._overlay.current.providers.defined.get(name)
        if entry is not None and (entry.api_key or entry.api_key_env):
            return True
        kind = checked.get(f"providers.{name}.provider_type") or (entry.provider_type if entry else None) or name
        return from_environment(key_variables(kind.replace("_", "-"))) is not None

    def _roots(self) -> list[str]:
        import tempfile

        base = self._overlay.base
        files = base.tools.file_operations.allowed_paths
        if files is None:
            files = (".", tempfile.gettempdir(), str(self._app.home / "artifacts"))
        return [
            root if root == "*" else os.path.realpath(self._app.cwd / Path(root).expanduser())
            for root in (*base.runtime.security.allowed_paths, *files)
        ]


def _under(path: str, root: str) -> bool:
    return root == "*" or path == root or path.startswith(root.rstrip("/") + "/")
