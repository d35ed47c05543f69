"""`Tools`: the one door through which every tool is called, by scripts, agents, the command line and programs.

    name -> normalise -> coerce -> validate -> policy -> limits -> effects gate -> run -> envelope

What a caller did wrong (unknown tool, refused argument, denied call) and cancellation are raised; what the job itself
met is returned as an envelope with success=false.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import monotonic
from llmspell.base.context import Context
from llmspell.base.effects import Direct
from llmspell.base.ids import uuid4
from llmspell.errors import LLMSpellError
from llmspell.tools._base import Services, ToolHeader, violation
from llmspell.tools._catalog import Catalog, matching, ranked
from llmspell.tools._check import bind
from llmspell.tools._envelope import failed, metadata, returned_error, succeeded
from llmspell.tools._policy import Policy, Rates, Slots
from llmspell.tools._run import Job, running
from llmspell.tools._spec import Op, Spec, compile_script
from llmspell.tools._stats import ToolStats

if TYPE_CHECKING:
    from llmspell.base.effects import Effects
    from llmspell.base.types import Level
    from llmspell.config.model import Tools as ToolsConfig
    from llmspell.tools._base import Case
    from llmspell.tools._wrappers import Answers

Envelope = dict[str, Any]
DEFAULT_CONCURRENT = 16
_LONGEST_MS = 24 * 3600 * 1000


class Tools:
    """All tools of one program; safe from any thread and any loop.

    security, http, state: a service, or a callable that makes it at first use. level: ceiling of callers
    that bring no context. cwd: where relative paths start.
    """

    def __init__(
        self,
        config: ToolsConfig,
        *,
        security: Any,
        http: Any,
        state: Any,
        effects: Effects,
        metrics: Any = None,
        level: Level = "restricted",
        cwd: Path | None = None,
    ) -> None:
        self._config = config
        self._services = Services(security=security, http=http, state=state)
        self._metrics = metrics
        self._effects = effects
        self._cwd = cwd or Path.cwd()
        self._anonymous = Context(level=level)
        self.catalog = Catalog(paths=config.paths, enabled=config.enabled, disabled=config.disabled)
        rules = config.security
        self.policy = Policy(
            max_level=rules.max_level,
            allow=rules.allow,
            deny=rules.deny,
            require_approval=rules.require_approval,
        )
        self._slots = Slots(config.max_concurrent)
        self._rates = Rates(rules.rate_limits, config.rate_limit_per_minute)
        self._rated = bool(self._rates)
        self._stats: dict[str, ToolStats] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}
        self._timeouts: dict[str, float] = {}
        self._max_output_bytes = config.max_output_bytes
        # Effects that keep nothing need no key and no callable.
        self._straight = type(effects) is Direct

    @cached_property
    def answers(self) -> Answers:
        """Envelopes kept for callers that asked for it."""
        from llmspell.tools._wrappers import Answers

        return Answers()

    async def call(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        context: Context | None = None,
        *,
        timeout_ms: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Envelope:
        """Run one call and return its envelope.

        options: timeout_ms, retry, cache_ttl_seconds, session. Never suspends for a tool that does not wait.
        Raises ToolError (not_found), ValidationError (schema_violation), SecurityError, RateLimitError, CancelledError.
        """
        begun = self.begin(name, params, context, timeout_ms=timeout_ms, options=options)
        return begun if isinstance(begun, dict) else await begun

    def begin(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        context: Context | None = None,
        *,
        timeout_ms: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Envelope | Coroutine[Any, Any, Envelope]:
        """Run a quick call at once and return its envelope; return what to await for any other. As `call` otherwise."""
        if options:
            return self._call_with_options(name, params or {}, context, {"timeout_ms": timeout_ms, **options})
        spec = self.catalog.require(name)
        stats = self._stats.get(spec.name) or self._new_stats(spec.name)
        started = time.perf_counter()
        try:
            job = self._checked(spec, {} if params is None else params, context or self._anonymous, timeout_ms)
            if not (job.quick and self._straight):
                return self._begun(job, stats, started)
            envelope = self._perform_now(job, stats)
        except LLMSpellError as error:
            _raised(error, spec, stats, started)
            raise
        _returned(envelope, stats, started)
        return envelope

    async def _begun(self, job: Job, stats: ToolStats, started: float) -> Envelope:
        """Run a checked job that waits, or that the effects gate must see."""
        stats.active += 1
        try:
            if self._straight:
                envelope = await self._perform(job, stats)
            else:
                key = {"tool": job.spec.name, "operation": job.op.name, "params": job.values}
                envelope = await self._effects.perform("tool", key, partial(self._perform, job, stats))
        except LLMSpellError as error:
            _raised(error, job.spec, stats, started)
            raise
        finally:
            stats.active -= 1
        _returned(envelope, stats, started)
        return envelope

    async def _call_with_options(
        self, name: str, params: Mapping[str, Any], context: Context | None, options: Mapping[str, Any]
    ) -> Envelope:
        from llmspell.tools._wrappers import call_with_options

        return await call_with_options(
            partial(self.call, name),
            params,
            context or self._anonymous,
            options,
            identity=lambda: self.catalog.require(name).schema_hash,
            answers=lambda: self.answers,
        )

    def _new_stats(self, name: str) -> ToolStats:
        """Return fresh statistics; the series of a script's tool share one label, because scripts choose names."""
        label = name if self.catalog.require(name).source != "script" else "script"
        series: tuple[Any, Any, Any] | None = None
        if self._metrics is not None:
            total = self._metrics.counter("llmspell_tool_calls_total")
            labels = ({"tool": label, "status": status} for status in ("success", "failure"))
            times = self._metrics.histogram("llmspell_tool_seconds").at({"tool": label})
            good, bad = map(total.at, labels)
            series = (good, bad, times)
        return self._stats.setdefault(name, ToolStats(series))

    def nested(self, context: Context) -> Context:
        """Return the context of the script's tool that runs in this task, `context` outside of any.

        A tool written in a script calls others with the level, depth and deadline it was itself called with.
        """
        return running.get() or context

    async def try_call(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        context: Context | None = None,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> Envelope:
        """Run one call; what `call` would raise becomes an envelope with success=false."""
        from llmspell.tools._batch import try_call

        return await try_call(self.call, name, params, context or self._anonymous, options)

    async def batch(
        self,
        ops: Sequence[Any],
        context: Context | None = None,
        *,
        max_concurrency: int = 8,
        fail_fast: bool = False,
    ) -> Sequence[Envelope]:
        """Run `{tool, params, options?}` records concurrently and return their envelopes in order."""
        from llmspell.tools._batch import run_batch

        return await run_batch(
            self.call, ops, context or self._anonymous, max_concurrency=max_concurrency, fail_fast=fail_fast
        )

    def _checked(self, spec: Spec, params: Mapping[str, Any], context: Context, timeout_ms: float | None) -> Job:
        """Return the call as a job that may run. Raises what `call` raises for a call that may not."""
        if type(params) is not dict and not isinstance(params, Mapping):
            raise violation("params", "an object of named parameters expected", keyword="type")
        if "timeout_ms" in params and "timeout_ms" not in spec.names and not spec.open:
            params = dict(params)
            timeout_ms = params.pop("timeout_ms")
        bound = bind(spec, params, loose=context.model_issued)
        op = bound.op
        self.policy.check(spec, op, bound.values, context)
        if self._rated:
            self._rates.take(spec.name, context.tenant_id)
        deadline = self._deadline(spec, op, context, timeout_ms)
        job = Job(spec, op, bound.values, context, deadline, self._services, self.settings(spec.name), self._cwd)
        if bound.coerced or bound.warnings:
            job.notes = {"coerced": bound.coerced, "warnings": bound.warnings}
        return job

    def _perform_now(self, job: Job, stats: ToolStats) -> Envelope:
        """Run a job that is quick and return the envelope of what came out."""
        started, began = time.time(), time.perf_counter()
        try:
            return self._finished(job, stats, job.now(), started, began)
        except Exception as error:  # noqa: BLE001,RUF100 - the roof of a plugin call: sorted into returned and raised
            return self._broken(job, error, started, began)

    async def _perform(self, job: Job, stats: ToolStats) -> Envelope:
        """Run the job in its slot and return the envelope of what came out."""
        spec = job.spec
        started, began = time.time(), time.perf_counter()
        waits = job.op.mode != "inline"
        try:
            if waits:
                await self._slots.take(spec.name, self._concurrent(spec))
            try:
                value = await job.run()
            finally:
                if waits:
                    self._slots.give(spec.name)
            return self._finished(job, stats, value, started, began)
        except Exception as error:  # noqa: BLE001,RUF100 - the roof of a plugin call: sorted into returned and raised
            return self._broken(job, error, started, began)

    def _finished(self, job: Job, stats: ToolStats, value: Any, started: float, began: float) -> Envelope:
        meta = _metadata(job, started, began)
        envelope, size = succeeded(job.op, value, meta, max_bytes=self._max_output_bytes)
        stats.bytes_out += size
        return envelope

    def _broken(self, job: Job, error: Exception, started: float, began: float) -> Envelope:
        """Return the envelope of a failed job; raises `error` if it is the caller's."""
        problem = returned_error(error, script=job.op.script)
        if problem is None:
            raise error
        problem["message"] = _without_secrets(job, problem["message"])
        return failed(job.op, problem, _metadata(job, started, began), partial=error)

    def _deadline(self, spec: Spec, op: Op, context: Context, timeout_ms: float | None) -> float:
        limit = op.timeout_ms or self._timeouts.get(spec.name) or self._timeout_of(spec)
        if timeout_ms is not None:
            if type(timeout_ms) not in (int, float) or not 0 < timeout_ms <= _LONGEST_MS:
                raise violation("timeout_ms", f"a number of milliseconds up to {_LONGEST_MS} expected", keyword="range")
            limit = timeout_ms
        deadline = monotonic() + limit / 1000
        return deadline if context.deadline is None else min(deadline, context.deadline)

    def _timeout_of(self, spec: Spec) -> float:
        configured = self.settings(spec.name).get("timeout_ms")
        limit = float(configured or spec.header.timeout_ms or self._config.default_timeout_ms)
        self._timeouts[spec.name] = limit
        return limit

    def _concurrent(self, spec: Spec) -> int:
        return int(self.settings(spec.name).get("max_concurrent", DEFAULT_CONCURRENT))

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return the tool's own configuration table."""
        found = self._settings.get(name)
        if found is None:
            found = self._settings[name] = self._config.options.get(name.replace("-", "_"), {})
        return found

    def get(self, name: str) -> Spec | None:
        """Return a tool by name or alias, or None."""
        return self.catalog.find(name)

    def list(self, wanted: Mapping[str, Any] | str | None = None, context: Context | None = None) -> list[Envelope]:
        """Return `{name, description, version, category, security_level, aliases, available}`, sorted by name.

        wanted: a category, or category, tag, capabilities, security_level and query; a query sorts best first.
        """
        filters = {"category": wanted} if isinstance(wanted, str) else wanted or {}
        return [self._row(entry, context) for entry in matching(self.catalog.entries(), filters)]

    def search(self, words: str, context: Context | None = None) -> Sequence[Envelope]:
        """Return the tools in which all words are found, best first."""
        return [self._row(entry, context) for entry in ranked(self.catalog.entries(), words)]

    def info(self, name: str, context: Context | None = None) -> Envelope | None:
        """Return the list entry with parameters, operations, limits and requires; None for an unknown tool."""
        entry = self.catalog.entry(name)
        if entry is None:
            return None
        return {
            **self._row(entry, context),
            "parameters": entry["parameters"],
            "operations": entry["operations"],
            "limits": {
                "timeout_ms": int(self.settings(entry["name"]).get("timeout_ms") or entry["timeout_ms"]),
                "max_output_bytes": self._config.max_output_bytes,
                "max_concurrent": int(self.settings(entry["name"]).get("max_concurrent", DEFAULT_CONCURRENT)),
            },
            "requires": {"needs": entry["needs"], "extra": entry["extra"]},
            "source": entry["source"],
        }

    def row(self, name: str, context: Context | None = None) -> Envelope:
        """Return the list entry of one tool. Raises ToolError code not_found."""
        entry = self.catalog.entry(name) or self.catalog.require(name).entry()
        return self._row(entry, context)

    def schema(self, name: str) -> Envelope | None:
        """Return `{name, description, parameters, input_schema, output_schema?, schema_hash}`, or None."""
        spec = self.catalog.find(name)
        if spec is None:
            return None
        wire = {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters(),
            "input_schema": spec.input_schema,
            "schema_hash": spec.schema_hash,
        }
        if spec.output_schema is not None:
            wire["output_schema"] = spec.output_schema
        return wire

    def available(self, name: str, context: Context | None = None) -> bool:
        """Tell whether the tool exists, is enabled, and may run for this caller."""
        entry = self.catalog.entry(name)
        return entry is not None and self.policy.permits(entry["name"], entry["level"], context or self._anonymous)

    def categories(self) -> Sequence[str]:
        """Return the categories in use and the bundled ones, sorted."""
        from llmspell.tools._base import CATEGORIES

        return sorted({*CATEGORIES, *(entry["category"] for entry in self.catalog.entries())})

    def stats(self, name: str | None = None) -> Envelope:
        """Return the statistics of one tool, or of all that were called, by name."""
        if name is not None:
            spec = self.catalog.require(name)
            return (self._stats.get(spec.name) or ToolStats()).to_wire()
        return {tool: stats.to_wire() for tool, stats in sorted(self._stats.items())}

    def needs_approval(self, name: str, params: Mapping[str, Any]) -> bool:
        """Tell whether this call of a model waits for a yes. Raises what `call` raises for bad arguments."""
        spec = self.catalog.require(name)
        bound = bind(spec, params, loose=True)
        return self.policy.needs_approval(spec, bound.op, bound.values)

    def cases(self, name: str) -> Sequence[Case]:
        """Return the offline self-tests of a tool."""
        return self.catalog.require(name).cases

    def register(
        self,
        name: str,
        handler: Callable[[dict[str, Any], dict[str, Any]], Any],
        schema: Mapping[str, Any] | None = None,
        *,
        description: str = "",
        category: str = "custom",
        level: Level = "safe",
        timeout_ms: int = 30_000,
        version: str = "1.0.0",
        tags: Sequence[str] = (),
        output_schema: dict[str, Any] | None = None,
    ) -> Spec:
        """Add a tool made of an async callable `(params, ctx) -> plain data`.

        schema: JSON Schema, list of parameters, or map of name to parameter; None admits anything.
        Raises ToolError code already_exists, ValidationError for a bad name or schema.
        """
        from llmspell.tools._custom import checked_schema

        header = ToolHeader(
            category=category,
            level=level,
            description=description,
            timeout_ms=timeout_ms,
            version=version,
            tags=tags,
        )
        spec = compile_script(name, handler, checked_schema(name, schema), header=header, output_schema=output_schema)
        self.catalog.add(spec)
        return spec

    def adopt(self, other: Tools) -> None:
        """Add the tools that were registered with another set."""
        for spec in other.catalog.added():
            self.catalog.add(spec)

    def unregister(self, name: str) -> bool:
        """Remove a tool made by `register`. Raises SecurityError for any other tool."""
        resolved = self.catalog.resolve(name)
        removed = self.catalog.remove(name)
        if removed and resolved is not None:
            self._stats.pop(resolved, None)
            self._settings.pop(resolved, None)
            self._timeouts.pop(resolved, None)
        return removed

    def _row(self, entry: Mapping[str, Any], context: Context | None) -> Envelope:
        permitted = self.policy.permits(entry["name"], entry["level"], context or self._anonymous)
        return {
            "name": entry["name"],
            "description": entry["description"],
            "version": entry["version"],
            "category": entry["category"],
            "security_level": entry["level"],
            "aliases": list(entry["aliases"]),
            "tags": list(entry["tags"]),
            "available": permitted,
        }


def _raised(error: LLMSpellError, spec: Spec, stats: ToolStats, started: float) -> None:
    stats.ended(time.perf_counter() - started, error.kind, error.message)
    if error.component is None:
        error.component = f"tool:{spec.name}"
        error.details.setdefault("tool", spec.name)


def _returned(envelope: Envelope, stats: ToolStats, started: float) -> None:
    problem = envelope.get("error")
    if problem is None:
        stats.ended(time.perf_counter() - started, None, None)
    else:
        stats.ended(time.perf_counter() - started, problem["kind"], problem["message"])


def _metadata(job: Job, started: float, began: float) -> dict[str, Any]:
    ctx, notes = job.ctx, job.notes
    run = uuid4() if ctx is None else ctx.context.execution_id
    meta = metadata(job.spec, run, started, time.perf_counter() - began)
    if notes is not None:
        meta.update({key: said for key, said in notes.items() if said})
    if ctx is not None and ctx.warnings:
        meta["warnings"] = [*meta.get("warnings", ()), *ctx.warnings]
    return meta


def _without_secrets(job: Job, message: str) -> str:
    for param in job.op.params.values():
        value = job.values.get(param.name) if param.secret else None
        if isinstance(value, str) and len(value) >= 4:
            message = message.replace(value, "***")
    return message
