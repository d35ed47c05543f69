"""Options of `run`, `exec` and `repl` that change limits and permissions."""

from __future__ import annotations

import os

from llmspell.cli.grammar import UsageError
from llmspell.cli.start import duration, real, size, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.cli.grammar import Call
    from llmspell.config import Config


WIDENING = ("allow_path", "allow_env", "allow_host", "time_limit")


def sandbox_of(call: Call, config: Config | None) -> str:
    """Return the sandbox profile: the option, else the configuration, `auto` being standard, and safe for a tenant."""
    tenant = call.get("tenant")
    own = config.tenancy.tenants.get(tenant, {}).get("sandbox") if config is not None and tenant else None
    chosen: str = call.get("sandbox") or own or ("auto" if config is None else config.engines.lua.sandbox)
    if chosen != "auto":
        return chosen
    return "standard" if tenant in (None, "default") else "safe"


def limits_of(call: Call) -> dict[str, int]:
    """Return the limits that options state, by resource."""
    seconds = duration(call, "time_limit")
    stated = {
        "wall_time_ms": None if seconds is None else max(1, round(seconds * 1000)) if seconds else 0,
        "memory_bytes": size(call, "memory_limit"),
        "instructions": size(call, "instruction_limit"),
        "output_bytes": size(call, "output_limit"),
    }
    return {name: value for name, value in stated.items() if value is not None}


def budget_of(call: Call) -> dict[str, float]:
    """Return the budget of the run tree that options state."""
    stated = {"max_cost_usd": real(call, "max_cost"), "max_tokens": whole(call, "max_tokens")}
    return {name: value for name, value in stated.items() if value is not None}


def widened(call: Call, config: Config, limits: dict[str, int]) -> Config:
    """Return the configuration with `--allow-path`, `--allow-env`, `--allow-host` and a longer `--time-limit` in it."""
    paths, names, hosts = call.get("allow_path"), call.get("allow_env"), call.get("allow_host")
    seconds = limits.get("wall_time_ms", 0) / 1000
    longer = seconds > config.runtime.script_timeout_seconds
    if not (paths or names or hosts or longer):
        return config
    from msgspec.structs import replace

    _check_words(paths or [], names or [], hosts or [])
    security = config.runtime.security
    security = replace(
        security,
        allowed_paths=(*security.allowed_paths, *(os.path.abspath(path) for path in paths or ())),
        env_allow=(*security.env_allow, *(names or ())),
    )
    runtime = replace(config.runtime, security=security)
    if longer:
        runtime = replace(runtime, script_timeout_seconds=seconds)
    return replace(_with_hosts(config, hosts or []), runtime=runtime)


def advice_on(call: Call) -> list[str]:
    """Return a sentence for each name of `--allow-env` that stays hidden all the same."""
    names = call.get("allow_env") or ()
    if not names:
        return []
    from llmspell.base.secret_names import is_secret_name

    return [
        f"--allow-env {name}: it is named like a secret, and scripts never see those"
        for name in names
        if is_secret_name(name)
    ]


def _check_words(paths: list[str], names: list[str], hosts: list[str]) -> None:
    """Refuse words that could never allow anything. Raises UsageError."""
    import re

    for path in paths:
        if not path or "\0" in path:
            raise UsageError("--allow-path: expected a file or folder")
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_*?\[\]!-]+", name):
            raise UsageError(f"--allow-env {name}: expected the name of a variable, or a pattern such as LC_*")
    for host in hosts:
        if not re.fullmatch(r"(\*\.)?[\w.:\[\]-]+(/\d+)?|\*", host):
            raise UsageError(f"--allow-host {host}: expected a name, *.name, an address, a network or host:port")


def _with_hosts(config: Config, hosts: list[str]) -> Config:
    """Return the configuration with hosts allowed; naming this machine or a private address admits just that."""
    if not hosts:
        return config
    from ipaddress import ip_address

    from msgspec.structs import replace

    network = config.tools.network
    loopback, private = network.allow_loopback, list(network.allow_private)
    for host in hosts:
        name = host.strip("[]") if host.count(":") > 1 else host.partition(":")[0]
        if name == "localhost" or name.endswith(".localhost"):
            loopback = True
            continue
        try:
            address = ip_address(name)
        except ValueError:
            continue
        if address.is_loopback:
            loopback = True
        elif address.is_private:
            private.append(str(address))
    network = replace(
        network,
        allowed_hosts=(*network.allowed_hosts, *hosts),
        allow_loopback=loopback,
        allow_private=tuple(private),
    )
    return replace(config, tools=replace(config.tools, network=network))
