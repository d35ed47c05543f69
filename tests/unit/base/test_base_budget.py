import pytest

from llmspell.base.budget import Budget, Ledger
from llmspell.base.types import Usage
from llmspell.errors import ResourceLimitError, ValidationError


def refused(call) -> str:
    with pytest.raises(ResourceLimitError) as caught:
        call()
    return caught.value.details["resource"]


def test_a_budget_accepts_the_short_names():
    assert Budget.parse({"tokens": 10, "cost_usd": 1}) == Budget(max_tokens=10, max_cost_usd=1.0)


@pytest.mark.parametrize("table", [{"max_token": 1}, {"max_tokens": -1}, {"max_tokens": "x"}, {"per": "day"}])
def test_a_budget_refuses_unknown_keys_and_bad_numbers(table):
    with pytest.raises(ValidationError):
        Budget.parse(table)


def test_a_reservation_that_does_not_fit_an_ancestor_charges_nobody():
    root = Ledger(Budget(max_tokens=100))
    leaf = root.child(Budget(max_tokens=1000))
    assert refused(lambda: leaf.reserve(input_tokens=60, output_tokens=60)) == "budget_tokens"
    assert leaf.model_calls == root.model_calls == 0
    leaf.reserve(input_tokens=50, output_tokens=50)


def test_two_siblings_cannot_overspend_their_parent_together():
    root = Ledger(Budget(max_cost_usd=0.001))
    one, two = root.child(), root.child()
    held = one.reserve(input_tokens=1, output_tokens=1, cost_usd=0.0006)
    assert refused(lambda: two.reserve(input_tokens=1, output_tokens=1, cost_usd=0.0006)) == "budget_cost_usd"
    one.settle(held, Usage(input_tokens=1, output_tokens=1, cost_usd=0.0001))
    two.reserve(input_tokens=1, output_tokens=1, cost_usd=0.0006)


def test_settling_replaces_the_reservation_by_real_usage_exactly():
    ledger = Ledger(Budget(max_tokens=1000))
    for _ in range(10):
        held = ledger.reserve(input_tokens=10, output_tokens=64, cost_usd=0.5)
        ledger.settle(held, Usage(input_tokens=7, output_tokens=3, cost_usd=0.1))
    assert (ledger.reserved_input, ledger.reserved_output, ledger.reserved_cost) == (0, 0, 0)
    assert (ledger.input_tokens, ledger.output_tokens, ledger.cost_nano) == (70, 30, 1_000_000_000)


def test_a_failed_call_settles_to_nothing():
    ledger = Ledger(Budget(max_tokens=100))
    ledger.settle(ledger.reserve(input_tokens=50, output_tokens=50), None)
    ledger.reserve(input_tokens=50, output_tokens=50)


def test_room_is_what_the_tightest_budget_covers():
    root = Ledger(Budget(max_tokens=500))
    leaf = root.child(Budget(max_cost_usd=0.01))
    assert leaf.room(100) == 400
    assert leaf.room(100, input_price=1e-5, output_price=1e-4) == 90
    assert Ledger().room(100) is None


def test_tool_and_model_calls_are_counted_up_to_their_limit():
    ledger = Ledger(Budget(max_tool_calls=1, max_model_calls=1))
    ledger.tool_call()
    assert refused(ledger.tool_call) == "budget_tool_calls"
    ledger.reserve(input_tokens=0, output_tokens=0)
    assert refused(lambda: ledger.reserve(input_tokens=0, output_tokens=0)) == "budget_model_calls"


def test_seconds_run_from_the_start_of_the_node():
    ledger = Ledger(Budget(max_seconds=0))
    assert refused(lambda: ledger.reserve(input_tokens=0, output_tokens=0)) == "budget_seconds"


def test_a_node_beside_another_budget_is_bound_by_both():
    agent, root = Ledger(Budget(max_model_calls=1)), Ledger(Budget(max_model_calls=5))
    run = Ledger(None, parent=root, beside=agent)
    run.settle(run.reserve(input_tokens=1, output_tokens=1), Usage(input_tokens=1, output_tokens=1))
    again = Ledger(None, parent=root, beside=agent)
    assert refused(lambda: again.reserve(input_tokens=0, output_tokens=0)) == "budget_model_calls"
    assert (root.model_calls, agent.model_calls) == (1, 1)
