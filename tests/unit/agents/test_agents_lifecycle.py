import asyncio

import pytest

from llmspell.agents.lifecycle import ALLOWED, Lifecycle
from llmspell.errors import ComponentError, LLMSpellError


@pytest.fixture
def agent(agents):
    return agents.create({"name": "e", "model": "echo/x"})


async def test_a_paused_agent_refuses_to_execute_and_does_not_count_it(agent):
    agent.lifecycle.pause()
    with pytest.raises(ComponentError) as caught:
        await agent.execute("x")
    assert caught.value.code == "invalid_transition"
    assert agent.metrics()["requests_total"] == 0
    agent.lifecycle.resume()
    assert (await agent.execute("x"))["text"] == "x"


@pytest.mark.parametrize("old", sorted(ALLOWED))
def test_only_the_transitions_of_the_table_are_allowed(old):
    for new in ALLOWED:
        machine = Lifecycle("x")
        machine.state = old
        if new in ALLOWED[old]:
            machine.to(new)
            assert machine.state == new
        else:
            with pytest.raises(ComponentError, match=f"Invalid transition: {old} -> {new}"):
                machine.to(new)


async def test_start_keeps_running_between_runs_until_stop(agent):
    agent.lifecycle.start()
    await agent.execute("x")
    assert agent.state == "Running"
    agent.lifecycle.stop()
    assert agent.state == "Ready"


async def test_the_breaker_opens_after_three_failures_in_a_row(agents):
    bad = {"error": {"kind": "validation"}}
    agent = agents.create({"name": "s", "model": "scripted/t", "loop": True, "replies": [bad], "circuit_breaker": True})
    for _ in range(3):
        assert agent.state == "Ready"
        with pytest.raises(LLMSpellError):
            await agent.execute("x")
    assert agent.state == "Error"
    agent.lifecycle.recover()
    assert agent.state == "Ready"


def test_recovery_is_allowed_three_times_in_a_row():
    machine = Lifecycle("x")
    machine.initialize()
    for _ in range(3):
        machine.set_error("bad")
        machine.recover()
    machine.set_error("bad")
    with pytest.raises(ComponentError):
        machine.recover()
    assert machine.recoveries == 3


def test_history_and_statistics_tell_what_happened():
    machine = Lifecycle("x")
    machine.initialize()
    machine.pause()
    assert [(entry["from"], entry["to"]) for entry in machine.history()] == [
        ("Uninitialized", "Initializing"),
        ("Initializing", "Ready"),
        ("Ready", "Paused"),
    ]
    assert machine.statistics()["current_state"] == "Paused"
    assert machine.statistics()["total_transitions"] == 3


async def test_pause_holds_a_run_before_its_next_call_and_resume_continues_it(agents, tools):
    holder = {}

    async def pauser(_, __):
        holder["agent"].lifecycle.pause()
        return "ok"

    tools.register("pauser", pauser)
    replies = [{"tool_calls": [{"name": "pauser", "arguments": {}}]}, "end"]
    holder["agent"] = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "tools": ["pauser"]})
    run = asyncio.ensure_future(holder["agent"].execute("go"))
    await asyncio.sleep(0.02)
    assert not run.done()
    assert holder["agent"].state == "Paused"
    holder["agent"].lifecycle.resume()
    assert (await run)["text"] == "end"
    assert holder["agent"].state == "Ready"


async def test_alerts_fire_after_a_run_and_respect_their_cooldown(agent):
    condition = {"type": "metric_threshold", "metric_name": "requests_total", "operator": ">=", "threshold": 1}
    agent.alerts.configure({"name": "many", "condition": {**condition, "duration_seconds": 0}})
    await agent.execute("x")
    await agent.execute("x")
    (alert,) = agent.alerts.fired
    assert (alert["name"], alert["severity"], alert["value"], alert["agent"]) == ("many", "warning", 1, "e")


def test_an_alert_on_an_unknown_metric_is_refused(agent):
    with pytest.raises(LLMSpellError):
        agent.alerts.configure({"name": "x", "condition": {"type": "metric_threshold", "metric_name": "nope"}})


async def test_health_follows_the_error_rate(agents):
    replies = ["ok", {"error": {"kind": "validation"}}, {"error": {"kind": "validation"}}]
    agent = agents.create({"name": "s", "model": "scripted/t", "loop": True, "replies": replies})
    await agent.execute("x")
    assert agent.health()["status"] == "healthy"
    for _ in range(2):
        with pytest.raises(LLMSpellError):
            await agent.execute("x")
    assert agent.health()["status"] == "unhealthy"
    assert agent.measures.performance()["error_rate"] == pytest.approx(2 / 3)


async def test_runs_are_counted_in_the_metrics_of_the_process(agents, metrics):
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": ["ok"]})
    await agent.execute("x")
    with pytest.raises(LLMSpellError):
        await agent.execute("x")
    runs = metrics.counter("llmspell_agent_runs_total")
    assert [runs.at({"status": status}).value for status in ("success", "failure")] == [1, 1]
