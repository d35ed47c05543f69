"""`llmspell tenant` and `llmspell audit`."""

import json

import pytest

from llmspell.cli.entry import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        assert main(["--output", "json", *words]) == code, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    return run


def test_a_tenant_is_made_shown_suspended_and_deleted(call):
    made = call("tenant", "create", "acme", "--name", "Acme", "--limit", "max_vectors=10", "--metadata", "plan=gold")
    assert (made["limits"]["max_vectors"], made["metadata"]) == (10, {"plan": "gold"})
    assert call("tenant", "suspend", "acme")["active"] is False
    assert [item["tenant_id"] for item in call("tenant", "list", "--suspended")["tenants"]] == ["acme"]
    assert call("tenant", "list", "--active")["count"] == 0
    assert call("tenant", "resume", "acme")["active"] is True
    assert call("tenant", "show", "acme")["name"] == "Acme"
    assert call("tenant", "usage", "acme")["vector_count"] == 0
    assert call("tenant", "usage")["tenants"][0]["costs"]["total_usd"] == 0
    assert call("tenant", "delete", "acme", code=2)["error"]["kind"] == "validation"
    assert call("tenant", "delete", "acme", "--yes")["verified"]
    events = [item["event"] for item in call("audit", "list", "--tenant", "acme")["events"]]
    assert events[0] == "TenantDeleted"
    assert events[-1] == "TenantCreated"
    assert call("audit", "list", "--limit", "1")["events"][0]["principal"] == "local"
    assert call("audit", "verify")["ok"]


def test_what_is_not_there_or_no_id_is_named(call):
    for words in (("show", "x"), ("suspend", "x"), ("usage", "x")):
        assert call("tenant", *words, code=4)["error"]["details"]["id"] == "x"
    assert call("tenant", "create", "a/../b", code=1)["error"]["kind"] == "validation"
    assert call("tenant", "create", "a", "--limit", "max_vectors", code=2)["error"]["kind"] == "validation"
    assert call("tenant", "create", "a", "--limit", "colour=1", code=1)["error"]["kind"] == "validation"
    assert call("tenant", "usage", "--period", "2026-13", code=2)["error"]["kind"] == "validation"


def test_an_edited_event_makes_verify_fail(call, tmp_path):
    call("tenant", "create", "acme")
    (path,) = (tmp_path / "home" / "tenancy" / "audit").glob("*.jsonl")
    path.write_text(path.read_text().replace("acme", "evil"))
    report = call("audit", "verify", code=1)
    assert not report["ok"]
    assert "event 1 was changed" in report["problem"]


def test_a_script_run_for_a_tenant_is_untrusted_and_sees_this_tenant_alone(call):
    call("exec", "RAG.ingest('a plan'); State.save('global', 'k', 1)", "--tenant", "acme")
    read = "return {Utils.profile(), RAG.search('plan').total, State.load('global', 'k') or false}"
    assert call("exec", read, "--tenant", "acme")["result"] == ["safe", 1, 1]
    assert call("exec", read, "--tenant", "beta")["result"] == ["safe", 0, False]
    assert call("exec", read, "--tenant", "default")["result"][:2] == ["standard", 0]
    assert call("exec", read, "--tenant", "a/b", code=1)["error"]["kind"] == "validation"
    owner = ("--set", "tenancy.tenants.acme.sandbox=full", "exec", read, "--tenant", "acme")
    assert call(*owner)["result"][0] == "full"
    assert (
        call("--set", "tenancy.enabled=true", "exec", read, "--tenant", "ghost", code=5)["error"]["kind"] == "security"
    )
