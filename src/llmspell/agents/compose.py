"""Agents made of agents: who of the members gets the input, in which order, and whose text is the answer.

Each strategy is one function from a `Team` and a run to an `Outcome`; `STRATEGIES` is the list of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.agents.input import user_text
from llmspell.agents.waiting import side_by_side
from llmspell.base.ids import short
from llmspell.errors import CancelledError, ComponentError, LLMSpellError, ValidationError

if TYPE_CHECKING:
    from llmspell.agents.run import Run

TRIES = 3
COMBINES = {"vote": "vote", "concat": "parallel", "all": "parallel", "first": "first", "judge": "judge"}
DELEGATES = ("first_match", "best_match", "round_robin", "random", "load_balanced", "capability", "function")


class TeamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a composite beyond those of every agent. agents: names. timeout_ms: of one member's run."""

    agents: list[str]
    strategy: str = "sequential"
    timeout_ms: float | None = None
    max_concurrency: int = 8
    separator: str = "\n\n"
    fallback_agent: str | None = None
    threshold: float = 0.5
    capability: str | None = None
    judge: str | None = None
    router: Any = None
    handler: Any = None


class Outcome:
    """What a team came to. outputs: one entry per member that ran, in order."""

    __slots__ = ("data", "extra", "outputs", "text")

    def __init__(self, text: str, outputs: list[dict[str, Any]], data: Any = None, **extra: Any) -> None:
        self.text = text
        self.outputs = outputs
        self.data = data
        self.extra = extra


Strategy = Callable[["Team", "Run", str], Awaitable[Outcome]]


class Team:
    """The members of one composite. find: gives the agent of a name; an `Agent`, which may itself be a team."""

    def __init__(self, name: str, config: TeamConfig, find: Callable[[str], Any]) -> None:
        self.name = name
        self.config = config
        self.find = find
        self.turn = 0
        self.active: Counter[str] = Counter()
        if not config.agents:
            raise ValidationError("a composite needs at least one agent", details={"field": "agents"})
        for member in (*config.agents, *filter(None, (config.fallback_agent, config.judge))):
            find(member)
        if config.strategy not in STRATEGIES:
            raise ValidationError(
                f"strategy must be one of: {', '.join(STRATEGIES)}, got '{config.strategy}'",
                details={"field": "strategy"},
            )
        needed = {"custom": "handler", "function": "router", "judge": "judge"}.get(config.strategy)
        if needed and getattr(config, needed) is None:
            raise ValidationError(f"strategy '{config.strategy}' needs '{needed}'", details={"field": needed})

    async def work(self, run: Run) -> Outcome:
        """Run the members as the strategy says."""
        return await STRATEGIES[self.config.strategy](self, run, user_text(run.asked))

    async def one(self, run: Run, member: str, text: str, **options: Any) -> dict[str, Any]:
        """Run one member; its entry of `outputs` also when it fails."""
        run.stopper.check()
        if self.config.timeout_ms is not None:
            options["timeout_ms"] = self.config.timeout_ms
        value = {"text": text} if not run.asked.media else {"text": text, "media": _media(run)}
        self.active[member] += 1
        try:
            result = await self.find(member).execute(value, options or None, run.context)
        except CancelledError:
            raise
        except LLMSpellError as error:
            return {"agent": member, "text": "", "success": False, "error": error.to_wire(), "raised": error}
        finally:
            self.active[member] -= 1
        return {"agent": member, "text": result["text"], "success": True, "usage": result["usage"], "result": result}

    async def all(self, run: Run, text: str) -> list[dict[str, Any]]:
        """Run all members on the same input, side by side; entries in list order. Raises when all fail."""
        members = self.config.agents
        entries: list[dict[str, Any]] = [{} for _ in members]

        async def job(index: int) -> None:
            entries[index] = await self.one(run, members[index], text)

        await side_by_side([job(index) for index in range(len(members))], max(1, self.config.max_concurrency))
        if not any(entry["success"] for entry in entries):
            raise _failed(entries[0], f"all {len(entries)} members of '{self.name}' failed")
        return entries


def _media(run: Run) -> list[dict[str, Any]]:
    return [
        {"type": item.type, "data": item.data, "url": item.url, "mime_type": item.mime_type} for item in run.asked.media
    ]


def _failed(entry: dict[str, Any], message: str) -> LLMSpellError:
    error: LLMSpellError = entry["raised"]
    return type(error)(
        f"{message}: {entry['agent']}: {error.message}",
        code=error.code,
        details={**error.details, "agent": entry["agent"]},
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
    )


def _raised(entry: dict[str, Any]) -> LLMSpellError:
    error: LLMSpellError = entry["raised"]
    return error


async def _sequential(team: Team, run: Run, text: str) -> Outcome:
    outputs = []
    for member in team.config.agents:
        entry = await team.one(run, member, text)
        outputs.append(entry)
        if not entry["success"]:
            raise _raised(entry)
        text = entry["text"]
    return Outcome(text, outputs)


async def _parallel(team: Team, run: Run, text: str) -> Outcome:
    outputs = await team.all(run, text)
    return Outcome(team.config.separator.join(entry["text"] for entry in outputs if entry["success"]), outputs)


async def _first(team: Team, run: Run, text: str) -> Outcome:
    outputs = await team.all(run, text)
    return Outcome(next(entry["text"] for entry in outputs if entry["success"]), outputs)


async def _vote(team: Team, run: Run, text: str) -> Outcome:
    outputs = await team.all(run, text)
    votes = Counter(entry["text"].strip() for entry in outputs if entry["success"])
    winner, count = max(votes.items(), key=lambda item: item[1])
    if count / len(outputs) >= team.config.threshold:
        return Outcome(winner, outputs, votes=dict(votes))
    if team.config.fallback_agent is None:
        raise ComponentError(
            f"no answer of '{team.name}' reached the share of {team.config.threshold:g}, the best had "
            f"{count} of {len(outputs)} votes: lower the threshold or set fallback_agent",
            code="no_agreement",
            details={"votes": dict(votes)},
        )
    entry = await team.one(run, team.config.fallback_agent, text)
    outputs.append(entry)
    if not entry["success"]:
        raise _raised(entry)
    return Outcome(entry["text"], outputs, votes=dict(votes))


async def _judge(team: Team, run: Run, text: str) -> Outcome:
    outputs = await team.all(run, text)
    answers = "\n\n".join(f"Answer {n}:\n{entry['text']}" for n, entry in enumerate(outputs, 1) if entry["success"])
    question = f"Question:\n{text}\n\n{answers}\n\nGive the best answer to the question, combining them if that helps."
    entry = await team.one(run, str(team.config.judge), question)
    outputs.append(entry)
    if not entry["success"]:
        raise _raised(entry)
    return Outcome(entry["text"], outputs)


async def _until_success(team: Team, run: Run, text: str, order: list[str]) -> Outcome:
    outputs = []
    for member in order:
        entry = await team.one(run, member, text)
        outputs.append(entry)
        if entry["success"]:
            return Outcome(entry["text"], outputs, delegate=member)
    raise _failed(outputs[-1], f"all {len(outputs)} members of '{team.name}' that were tried failed")


async def _fallback(team: Team, run: Run, text: str) -> Outcome:
    return await _until_success(team, run, text, team.config.agents)


async def _round_robin(team: Team, run: Run, text: str) -> Outcome:
    member = team.config.agents[team.turn % len(team.config.agents)]
    team.turn += 1
    entry = await team.one(run, member, text)
    if not entry["success"]:
        raise _raised(entry)
    return Outcome(entry["text"], [entry], delegate=member)


async def _router(team: Team, run: Run, text: str) -> Outcome:
    members = team.config.agents
    if team.config.router is not None:
        chosen = await run.within(team.config.router(text, list(members)))
    elif len(members) == 1:
        chosen = members[0]
    else:
        chosen = await _let_first_decide(team, run, text)
    if chosen not in members:
        raise ComponentError(
            f"the router of '{team.name}' chose {chosen!r}, expected one of: {', '.join(members)}", code="bad_route"
        )
    entry = await team.one(run, str(chosen), text)
    if not entry["success"]:
        raise _raised(entry)
    return Outcome(entry["text"], [entry], delegate=chosen)


async def _let_first_decide(team: Team, run: Run, text: str) -> str | None:
    """Ask the first member, with one tool whose argument is the name of the member to take."""
    chosen: list[str] = []

    async def choose(params: dict[str, Any], _: Any) -> str:
        chosen.append(params["agent"])
        return "chosen"

    names = team.config.agents
    tool = {
        "name": f"choose_agent_{short(8)}",
        "description": "Choose the agent that answers the request.",
        "parameters": {"type": "object", "properties": {"agent": {"enum": names}}, "required": ["agent"]},
        "execute": choose,
    }
    described = "\n".join(f"- {name}: {team.find(name).config.description}" for name in names)
    prompt = f"Call the tool once with the agent that should answer this request.\n{described}\n\nRequest:\n{text}"
    entry = await team.one(run, names[0], prompt, tools=[tool], memory_enabled=False, max_tool_calls=1)
    if not entry["success"]:
        raise _raised(entry)
    return chosen[0] if chosen else None


async def _custom(team: Team, run: Run, text: str) -> Outcome:
    outputs: list[dict[str, Any]] = []
    value = await run.within(team.config.handler(text, list(team.config.agents)))
    if isinstance(value, dict):
        text = str(value.get("text", ""))
        return Outcome(text, list(value.get("outputs") or outputs), value.get("data"))
    return Outcome("" if value is None else str(value), outputs)


async def _delegate(team: Team, run: Run, text: str) -> Outcome:
    return await _until_success(team, run, text, _candidates(team, team.config.strategy, text)[:TRIES])


async def _delegate_by_function(team: Team, run: Run, text: str) -> Outcome:
    return await _router(team, run, text)


def _candidates(team: Team, strategy: str, text: str) -> list[str]:
    members = list(team.config.agents)
    if strategy == "random":
        random.shuffle(members)
    elif strategy == "load_balanced":
        members.sort(key=lambda name: team.active[name])
    elif strategy in ("best_match", "capability"):
        wanted = set(((team.config.capability or "") if strategy == "capability" else text).lower().split())
        members.sort(key=lambda name: -len(wanted & _words(team.find(name))))
    return members


def _words(member: Any) -> set[str]:
    config = member.config
    text = " ".join([*config.capabilities, *config.tags, config.description]).lower()
    return {*text.split(), *text.replace("_", " ").split()}


STRATEGIES: dict[str, Strategy] = {
    "sequential": _sequential,
    "pipeline": _sequential,
    "parallel": _parallel,
    "vote": _vote,
    "fallback": _fallback,
    "round_robin": _round_robin,
    "router": _router,
    "custom": _custom,
    "first": _first,
    "judge": _judge,
    "first_match": _delegate,
    "best_match": _delegate,
    "random": _delegate,
    "load_balanced": _delegate,
    "capability": _delegate,
    "function": _delegate_by_function,
}


def strategy_of(table: dict[str, Any]) -> str:
    """Return the strategy that `strategy`, or `pattern` with its options, names."""
    pattern = table.get("pattern")
    if pattern is None:
        return str(table.get("strategy") or "sequential")
    if pattern == "pipeline":
        return "pipeline"
    if pattern == "ensemble":
        combine = table.get("combine") or "vote"
        if callable(combine):
            return "custom"
        if combine not in COMBINES:
            raise ValidationError(f"combine must be one of: {', '.join(COMBINES)}", details={"field": "combine"})
        return COMBINES[combine]
    if pattern == "delegation":
        strategy = table.get("strategy") or "first_match"
        if strategy not in DELEGATES:
            raise ValidationError(f"strategy must be one of: {', '.join(DELEGATES)}", details={"field": "strategy"})
        return str(strategy)
    raise ValidationError(
        f"pattern must be one of: hierarchical, delegation, pipeline, ensemble, got {pattern!r}",
        details={"field": "pattern"},
    )
