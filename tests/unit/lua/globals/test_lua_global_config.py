"""The global `Config`: permissions by profile, masking, changes of one interpreter."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from llmspell.config import Config, Provider
from llmspell.config.model import FileOperations, Providers, Tools
from llmspell.config.overlay import Overlay
from llmspell.errors import ConfigurationError, SecurityError
from llmspell.lua.globals.config import Global


def make(profile="standard", cwd="/work", config=None):
    app = SimpleNamespace(config=config or Config(), cwd=Path(cwd), home=Path("/home/x/.llmspell"))
    lane = SimpleNamespace(app=app, profile=profile, overrides=Overlay(app.config), roots=[])
    return Global(app, lane), lane


def test_reading_gives_copies_and_defaults():
    table, _ = make()
    assert table.get("default_engine", "lua") == "lua"
    assert table.get("no.such", 7) == 7
    table.get()["rag"]["enabled"] = "changed"
    assert table.get("rag.enabled") is True


@pytest.mark.parametrize(
    ("profile", "granted"),
    [("safe", set()), ("standard", {"modify_providers", "modify_tools", "modify_runtime"})],
)
def test_permissions_follow_the_profile(profile, granted):
    permissions = make(profile)[0].get_permissions()
    assert {name for name, value in permissions.items() if value} == granted | {"read"}


def test_full_grants_everything():
    assert all(make("full")[0].get_permissions().values())


def test_a_missing_permission_is_named():
    table, _ = make("safe")
    with pytest.raises(SecurityError, match="modify_providers"):
        table.set_provider("x", {"model": "m"})
    assert table.audit()[-1]["allowed"] is False


def test_switches_can_only_be_turned_off():
    table, lane = make("full")
    table.set_security({"allow_file_access": False})
    assert not table.is_file_access_allowed()
    assert lane.overrides.base.runtime.security.allow_file_access
    with pytest.raises(SecurityError):
        table.set_security({"allow_file_access": True})
    with pytest.raises(SecurityError):
        table.set("runtime.security.allow_process_spawn", True)
    with pytest.raises(SecurityError):
        make("standard")[0].set_security({"allow_file_access": True})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tools.network.allow_loopback", True),
        ("tools.network", {"allow_private": ["10.0.0.0/8"]}),
        ("tools.file_operations.allowed_paths", ["/"]),
        ("tools.security.allow", ["*"]),
        ("engines.lua.limits.memory_bytes", 0),
        ("engines.lua.package_paths", ["/"]),
        ("debug.output.file.path", "/etc/x"),
        ("logging.file", "/etc/x"),
        ("runtime.state_persistence.path", "/etc"),
        ("providers.proxy", "http://evil"),
    ],
)
def test_confining_keys_need_modify_security(path, value):
    with pytest.raises(SecurityError, match="modify_security"):
        make("standard")[0].set(path, value)


@pytest.mark.parametrize(
    "cfg",
    [
        {"base_url": "http://evil"},
        {"api_key": "file:/etc/passwd", "base_url": "http://evil"},
        {"api_key": "env:OPENAI_API_KEY"},
        {"api_key_env": "OPENAI_API_KEY"},
    ],
)
def test_a_script_cannot_send_a_key_it_cannot_read(cfg):
    config = Config(providers=Providers(defined={"openai": Provider(api_key="sk-secretsecret")}))
    with pytest.raises(SecurityError, match="access_secrets"):
        make(config=config)[0].set_provider("openai", cfg)


def test_secrets_are_redacted_without_access():
    config = Config(
        providers=Providers(defined={"p": Provider(api_key="sk-secretsecret", headers={"X-Api-Key": "abc"})})
    )
    table, _ = make(config=config)
    assert table.get("providers.p.api_key") == "<REDACTED>"
    assert "secretsecret" not in table.to_json()
    assert table.get_provider("p")["headers"] == {"X-Api-Key": "<REDACTED>"}
    assert make("full", config=config)[0].get("providers.p.api_key") == "sk-secretsecret"


def test_a_new_provider_is_usable_in_this_interpreter_only():
    table, lane = make()
    table.set_provider(
        "mine", {"provider_type": "openai-compatible", "base_url": "http://localhost:1/v1", "model": "m"}
    )
    assert table.list_providers() == ["mine"]
    assert lane.overrides.current.providers.defined["mine"].default_model == "m"
    assert lane.app.config.providers.defined == {}


def test_set_checks_the_schema():
    table, _ = make()
    with pytest.raises(ConfigurationError, match="did you mean"):
        table.set("rag.retrieval.topk", 3)
    with pytest.raises(ConfigurationError, match="expected int"):
        table.set("rag.retrieval.top_k", "x")


def test_sections_are_top_level():
    table, _ = make()
    assert table.get_section("state")["backend_type"] == "sqlite"
    with pytest.raises(ConfigurationError, match="no configuration section"):
        table.get_section("nope")


def test_paths_can_be_added_below_granted_roots_only(tmp_path):
    files = FileOperations(allowed_paths=(".",))
    table, lane = make(cwd=str(tmp_path), config=Config(tools=Tools(file_operations=files)))
    table.add_allowed_path("data")
    assert str(tmp_path / "data") in lane.overrides.current.runtime.security.allowed_paths
    assert lane.roots == [tmp_path / "data"]
    for path in ("/etc", "..", "data/../..", str(tmp_path) + "foo/../../../etc"):
        with pytest.raises(SecurityError):
            table.add_allowed_path(path)


def test_snapshots_return_to_an_earlier_state():
    table, _ = make()
    first, second = table.snapshot(), table.snapshot()
    assert first < second
    table.set("rag.retrieval.top_k", 3)
    table.restore_snapshot(first)
    assert table.get("rag.retrieval.top_k") == 10
    assert table.list_snapshots() == [first, second]
    with pytest.raises(ConfigurationError):
        table.restore_snapshot(1)


def test_origin_tells_script_changes_from_defaults():
    table, _ = make()
    assert table.origin("rag.retrieval.top_k") == "default"
    table.set("rag.retrieval.top_k", 3)
    assert table.origin("rag.retrieval.top_k") == "script"
