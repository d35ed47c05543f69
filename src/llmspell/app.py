"""The composition root: `App`, what a process shares, and `Lane`, what belongs to one interpreter and its loop.

Every service is made at first use, so that a command pays for what it runs. This is the only place where siblings
meet: a service gets what it needs here and imports none of its neighbours.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from llmspell.agents import Agents
    from llmspell.base.context import Context
    from llmspell.base.effects import Effects
    from llmspell.config import Config
    from llmspell.config.overlay import Overlay
    from llmspell.metrics import DebugLog, Metrics
    from llmspell.metrics.linefile import LineFile
    from llmspell.net import HttpClient
    from llmspell.providers import Providers
    from llmspell.rag import Rag
    from llmspell.security import AccessPolicies, Security, SecurityContext
    from llmspell.state import StateStore, TenantStores
    from llmspell.tenancy import Gate, Tenants
    from llmspell.tools import Tools
    from llmspell.vectors import VectorStorage


DEFAULT_CAPS_MS = (300_000,)


class App:
    """What the process shares; safe from any thread.

    config: the frozen configuration tree, or what builds it at first use when no layer states anything. home: data
    folder. cwd: relative paths of spells are resolved against it.
    environ: where keys of providers are looked up.
    """

    def __init__(
        self,
        config: Config | Callable[[], Config],
        *,
        home: Path,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if callable(config):
            self._load = config
        else:
            self.__dict__["config"] = config
        self.home = home
        self.cwd = cwd or Path.cwd()
        self.environ = dict(environ or {})

    @cached_property
    def config(self) -> Config:
        """The frozen configuration tree."""
        return self._load()

    def lua_settings(self) -> tuple[Mapping[str, int | None], Sequence[str], Sequence[int]]:
        """Return limits by resource, roots of `require`, and caps of the wall time in ms.

        While the tree is not built nothing was stated, and these are its defaults: half of the start-up of a small
        script would be building it.
        """
        if "config" not in self.__dict__:
            return {}, (), DEFAULT_CAPS_MS
        lua, runtime = self.config.engines.lua, self.config.runtime
        further = runtime.security.max_execution_time_ms
        caps = [int(runtime.script_timeout_seconds * 1000), *([] if further is None else [further])]
        return {name: getattr(lua.limits, name) for name in lua.limits.__struct_fields__}, lua.package_paths, caps

    @cached_property
    def effects(self) -> Effects:
        """The gate of model, tool, HTTP, clock and random calls."""
        from llmspell.base.effects import Direct

        return Direct()

    @cached_property
    def security(self) -> Security:
        """Paths and environment names that may be touched."""
        from llmspell.security import Security

        return Security(self.config, home=self.home, cwd=self.cwd, environ=self.environ)

    @cached_property
    def http(self) -> HttpClient:
        """The one way out to the network, with one connection pool per loop."""
        return make_http(self)

    @cached_property
    def metrics(self) -> Metrics:
        """Counters, gauges and histograms."""
        from llmspell.metrics import Metrics

        return Metrics()

    @property
    def multi_tenant(self) -> bool:
        """Whether policies, limits and usage hold for the places of tenants."""
        return self.config.tenancy.enabled or self.config.rag.multi_tenant

    @cached_property
    def access(self) -> AccessPolicies:
        """Who may use which tenant and scope, and the audit trail."""
        from llmspell.tenancy.opening import open_access

        return open_access(self.home, self.config.tenancy)

    @cached_property
    def tenants(self) -> Tenants:
        """Who may use how much."""
        from llmspell.tenancy.opening import open_tenants

        documents, state = (lambda: self.rag), (lambda: self.tenant_states)
        return open_tenants(self.home, self.config.tenancy, self.access, documents=documents, state=state)

    def admit(self, tenant: str | None) -> str | None:
        """Return the tenant that a run is bound to, None for none. Raises InvalidScope, AccessDenied."""
        from llmspell.tenancy.opening import bound

        return bound(tenant, lambda: self.tenants if self.multi_tenant else None)

    def gate(self, ctx: SecurityContext | None = None) -> Gate:
        """Return the rules for a caller, else the local user: policies always, limits where tenancy is on."""
        from llmspell.tenancy.gate import OWNER, Gate

        return Gate(self.tenants if self.multi_tenant else None, self.access, ctx or OWNER)

    @cached_property
    def state(self) -> StateStore:
        """The one state store."""
        from llmspell.state import open_store

        return open_store(self.config.runtime.state_persistence, home=self.home)

    @cached_property
    def tenant_states(self) -> TenantStores:
        """The state stores of tenants, one each."""
        from llmspell.state import TenantStores

        return TenantStores(self.config.runtime.state_persistence, home=self.home)

    @cached_property
    def providers(self) -> Providers:
        """Model services."""
        from llmspell.providers import Providers

        return Providers(
            self.config.providers,
            effects=self.effects,
            metrics=self.metrics,
            environ=self.environ,
            script_http=lambda: self.http,
            account=self.tenants.models if self.multi_tenant else None,
        )

    @cached_property
    def rag(self) -> Rag:
        """Retrieval: ingestion and search."""
        from llmspell.rag import Rag

        gate = self.gate() if self.multi_tenant else None
        return Rag(self.config.rag, home=self.home, services=lambda: self.providers.for_embedders, gate=gate)

    @cached_property
    def vectors(self) -> VectorStorage:
        """Vectors of the host program, beside the collections of retrieval."""
        from llmspell.vectors import open_configured

        return open_configured(self.config.rag.vector_storage, home=self.home)

    @cached_property
    def tools(self) -> Tools:
        """Tools for Python callers; each interpreter has its own set beside it."""
        return make_tools(self)

    @cached_property
    def agents(self) -> Agents:
        """Agents for Python callers; each interpreter has its own set beside it."""
        return make_agents(self, self.tools)

    async def leave_loop(self) -> None:
        """Close the connections of the running loop, which is about to end; other loops keep theirs."""
        for name in ("providers", "http"):
            service = self.__dict__.get(name)
            if service is not None:
                await service.leave()

    async def close(self) -> None:
        """Close what was opened. Safe to call twice."""
        for name in ("rag", "vectors", "state", "tenant_states", "tenants", "access"):
            service = self.__dict__.pop(name, None)
            if service is not None:
                service.close()
        for name in ("providers", "http"):
            service = self.__dict__.pop(name, None)
            if service is not None:
                await service.close()


class LocalApp(App):
    """The App as the scripts of one interpreter see it: with the configuration they changed for themselves.

    Stores, metrics and effects are the process's own. Services that read what scripts may change (files, network,
    providers, tools) are made again when the sections they read are no longer those of the process.
    """

    def __init__(
        self,
        base: App,
        configuration: Callable[[], Config],
        *,
        tenant: str | None,
        caller: Callable[[], SecurityContext],
    ) -> None:
        self._base = base
        self._configuration = configuration
        self._tenant = tenant
        self._caller = caller
        self._made: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self.home = base.home
        self.cwd = base.cwd
        self.environ = base.environ

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._configuration()

    def _own(self, name: str, sections: Callable[[Config], tuple[Any, ...]], make: Callable[[], Any]) -> Any:
        now = sections(self.config)
        if all(mine is theirs for mine, theirs in zip(now, sections(self._base.config), strict=True)):
            return getattr(self._base, name)
        made = self._made.get(name)
        if made is None or any(mine is not theirs for mine, theirs in zip(now, made[0], strict=True)):
            made = self._made[name] = (now, make())
        return made[1]

    @property
    def effects(self) -> Effects:
        """The gate of the process."""
        return self._base.effects

    @property
    def metrics(self) -> Metrics:
        """The metrics of the process."""
        return self._base.metrics

    @property
    def state(self) -> StateStore:
        """The store of the process, or that of the tenant."""
        return self._base.state if self._tenant is None else self._base.tenant_states.of(self._tenant)

    @property
    def multi_tenant(self) -> bool:
        """As the process was configured, whatever scripts change."""
        return self._base.multi_tenant

    @property
    def rag(self) -> Rag:
        """The retrieval of the process, under the rules for the scripts of this interpreter."""
        if self._tenant is None and not self._base.multi_tenant:
            return self._base.rag
        if "rag" not in self._made:
            self._made["rag"] = ((), self._base.rag.bound(self._base.gate(self._caller())))
        found: Rag = self._made["rag"][1]
        return found

    @property
    def security(self) -> Security:
        """Files and environment under the configuration in force; folders granted so far stay granted."""
        from llmspell.security import Security

        def make() -> Security:
            fresh = Security(self.config, home=self.home, cwd=self.cwd, environ=self.environ)
            for folder in self._base.security.granted:
                fresh.grant(folder)
            return fresh

        found: Security = self._own("security", lambda c: (c.runtime.security, c.tools.file_operations), make)
        return found

    @property
    def http(self) -> HttpClient:
        """The client under the network rules in force."""
        made: HttpClient = self._own("http", lambda c: (c.runtime.security, c.tools.network), lambda: make_http(self))
        return made

    @property
    def providers(self) -> Providers:
        """Model services as configured now, with the scripted models and the usage of the process."""
        found: Providers = self._own(
            "providers",
            lambda c: (c.providers,),
            lambda: self._base.providers.reconfigured(self.config.providers),
        )
        return found

    async def close(self) -> None:
        """Close what was made for this interpreter alone."""
        for name in ("providers", "http"):
            _, service = self._made.pop(name, (None, None))
            if service is not None:
                await service.close()


class Lane:
    """What belongs to one interpreter: its profile, limits, streams, and the services whose objects die with it.

    profile: `safe`, `standard` or `full`. limits: resource -> number, 0 = none. roots: further folders that files may
    be in (the script's own). scheduler: tasks and waits of the interpreter. config: the configuration in force. tenant:
    whose scripts they are, if they see nothing else.
    """

    def __init__(
        self,
        app: App,
        *,
        profile: str,
        limits: Mapping[str, int],
        script: str | None,
        write: Callable[[str, bytes], None],
        used: Callable[[], dict[str, Any]],
        end: Callable[[int], None],
        stdin: Any = None,
        roots: Iterable[Path] = (),
        budget: Mapping[str, float] | None = None,
        tenant: str | None = None,
    ) -> None:
        self.app = app
        self.tenant_id = tenant
        self.profile = profile
        self.limits = dict(limits)
        self.script = script
        self.write = write
        self.used = used
        self.end = end
        self.stdin = stdin
        self.roots = list(roots)
        self.budget = dict(budget or {})
        self.arguments: Any = None
        self.scheduler: Any = None
        self.session_id: str | None = None
        self.local = LocalApp(app, lambda: self.config, tenant=tenant, caller=self._caller)
        self._folder: Path | None = None
        self._debug_file: LineFile | None = None

    def _caller(self) -> SecurityContext:
        from llmspell.tenancy.opening import caller

        ident = self.context.correlation_id
        return caller(self.profile, self.tenant_id, session=self.session_id, correlation=ident)

    @cached_property
    def overrides(self) -> Overlay:
        """What this interpreter's scripts changed of the configuration."""
        from llmspell.config.overlay import Overlay

        return Overlay(self.app.config)

    @property
    def config(self) -> Config:
        """The configuration in force for this interpreter."""
        overlay = self.__dict__.get("overrides")
        return self.app.config if overlay is None else overlay.current

    @cached_property
    def tools(self) -> Tools:
        """Tools of this interpreter: the bundled ones and those its scripts register."""
        tools = make_tools(self.local)
        if "tools" in self.app.__dict__:
            tools.adopt(self.app.tools)
        return tools

    @cached_property
    def _agents(self) -> Agents:
        return make_agents(self.local, self.tools, self)

    @property
    def agents(self) -> Agents:
        """Agents of this interpreter; those built from now on use the providers configured now."""
        agents = self._agents
        agents.providers = self.local.providers
        return agents

    @cached_property
    def debug(self) -> DebugLog:
        """The log of this interpreter's scripts: to the streams and the file that `debug.output` names.

        Standard error gets what `logging.level` lets through.
        """
        from llmspell.metrics.debuglog import RANKS, DebugLog
        from llmspell.metrics.linefile import LineFile
        from llmspell.security import redact_value

        settings, shown = self.config.debug, RANKS[self.config.logging.level]
        file = self._debug_file = LineFile.of(settings)

        def sink(rank: int, line: str) -> None:
            data = (line + "\n").encode("utf-8", "replace")
            if settings.output_stderr and rank <= shown:
                self.write("stderr", data)
            if settings.output_stdout:
                self.write("stdout", data)
            if file is not None:
                file.write(line)

        wanted = settings.output_stderr or settings.output_stdout or file is not None
        log = DebugLog(
            sink=sink if wanted else None,
            as_json=settings.output_format == "json",
            redact=redact_value,
            memory=lambda: int(self.used()["memory_bytes"]["used"]),
            module=self.script,
            level=settings.level,
            enabled=settings.enabled,
            keep=settings.output_buffer_max_entries if settings.output_buffer_enabled else 0,
        )
        for patterns, enabled in ((settings.module_filters_enabled, True), (settings.module_filters_disabled, False)):
            for pattern in patterns:
                log.filters.add_plain(pattern, enabled)
        log.filters.set_default(not settings.module_filters_enabled)
        return log

    @cached_property
    def context(self) -> Context:
        """The context that calls of this interpreter's scripts begin with."""
        from llmspell.base.context import Context

        level = {"safe": "safe", "standard": "restricted", "full": "privileged"}[self.profile]
        ledger = None
        if self.budget:
            from llmspell.base.budget import Budget, Ledger

            ledger = Ledger(Budget.parse(self.budget))
        tenant = self.tenant_id or "default"
        return Context(level=level, session_id=self.session_id, tenant_id=tenant, ledger=ledger)  # type: ignore[arg-type]  # the table holds only levels

    def temporary_folder(self) -> Path:
        """Return the private folder for temporary files, made at first use and removed with the interpreter."""
        if self._folder is None:
            import tempfile

            self._folder = Path(tempfile.mkdtemp(prefix="llmspell-"))
            self.roots.append(self._folder)
        return self._folder

    async def close(self) -> None:
        """Close the agents and what scripts configured for themselves, and remove the temporary folder."""
        if "_agents" in self.__dict__:
            self._agents.close()
        await self.local.close()
        if self._debug_file is not None:
            self._debug_file.close()
            self._debug_file = None
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def make_http(app: App) -> HttpClient:
    """Return a client under the network rules of `app`."""
    from llmspell.net import HttpClient

    enabled = app.config.runtime.security.allow_network_access
    return HttpClient(app.config.tools.network, enabled=enabled, environ=app.environ)


def make_tools(app: App) -> Tools:
    """Return a set of tools over the services of `app`; nothing heavy is made before a tool needs it."""
    from llmspell.tools import Tools

    return Tools(
        app.config.tools, cwd=app.cwd, security=lambda: app.security, http=lambda: app.http, state=lambda: app.state,
        effects=app.effects, metrics=app.metrics,
    )  # fmt: skip


def make_agents(app: App, tools: Tools, lane: Lane | None = None) -> Agents:
    """Return a set of agents that call `tools`; those of a lane run with its level, session and budget."""
    from llmspell.agents import Agents

    agents = Agents(app.providers, tools, state=lambda: app.state, config=app.config.agents, metrics=app.metrics)
    agents.keep_turn = lambda *session, **turn: app.rag.keep_turn(*session, **turn)
    if lane is not None:
        agents.belong(
            lambda: lane.context, untrusted=lane.profile == "safe", strict=lane.config.engines.lua.strict,
            warn=lambda sentence: lane.debug.log("warn", sentence, "agent"),
        )  # fmt: skip
    return agents
