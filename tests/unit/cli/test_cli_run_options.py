"""Options of run: limits, budgets, permissions of one run."""

import pytest

from llmspell.cli.grammar import UsageError, parse
from llmspell.cli.run_options import budget_of, limits_of, sandbox_of, widened
from llmspell.config import Config
from llmspell.config.model import Engines, LuaEngine


def call(*words):
    return parse(["exec", "1", *words])


def test_limits_take_suffixes():
    words = ("--time-limit", "2m", "--memory-limit=64k", "--instruction-limit", "5000", "--output-limit", "1m")
    assert limits_of(call(*words)) == {
        "wall_time_ms": 120_000,
        "memory_bytes": 65_536,
        "instructions": 5000,
        "output_bytes": 1_048_576,
    }
    assert limits_of(call("--time-limit", "500ms")) == {"wall_time_ms": 500}
    assert limits_of(call()) == {}


@pytest.mark.parametrize("words", [("--time-limit", "x"), ("--memory-limit", "-1"), ("--time-limit", "nan")])
def test_bad_limits_are_usage_errors(words):
    with pytest.raises(UsageError):
        limits_of(call(*words))


@pytest.mark.parametrize("words", [("--max-cost", "0"), ("--max-cost", "nan"), ("--max-tokens", "1.5")])
def test_bad_budgets_are_usage_errors(words):
    with pytest.raises(UsageError):
        budget_of(call(*words))


def test_budgets_are_read():
    assert budget_of(call("--max-cost", "0.5", "--max-tokens", "100")) == {"max_cost_usd": 0.5, "max_tokens": 100}


def test_the_sandbox_option_beats_the_configuration():
    config = Config(engines=Engines(lua=LuaEngine(sandbox="safe")))
    assert sandbox_of(call(), config) == "safe"
    assert sandbox_of(call("--sandbox", "full"), config) == "full"
    assert sandbox_of(call(), Config()) == "standard"


def test_nothing_asked_changes_nothing():
    config = Config()
    assert widened(call(), config, {}) is config


def test_permissions_are_added_to_those_of_the_configuration():
    config = widened(call("--allow-path", "/data", "--allow-env", "A", "--allow-host", "example.com"), Config(), {})
    assert config.runtime.security.allowed_paths == (".", "/data")
    assert config.runtime.security.env_allow[-1] == "A"
    assert config.tools.network.allowed_hosts == ("*", "example.com")
    assert not config.tools.network.allow_loopback


@pytest.mark.parametrize("host", ["localhost:80", "127.0.0.1", "[::1]", "::1", "127.0.0.1:8000"])
def test_naming_this_machine_admits_it(host):
    assert widened(call("--allow-host", host), Config(), {}).tools.network.allow_loopback


def test_naming_a_private_address_admits_only_that():
    network = widened(call("--allow-host", "10.1.2.3:80"), Config(), {}).tools.network
    assert (network.allow_private, network.allow_loopback) == (("10.1.2.3",), False)


def test_a_longer_time_limit_lifts_the_limit_of_scripts():
    assert widened(call(), Config(), {"wall_time_ms": 600_000}).runtime.script_timeout_seconds == 600
