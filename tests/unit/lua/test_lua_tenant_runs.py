"""Spells of a tenant: documents, sessions and state of this tenant alone, whatever they name."""

import pytest

import llmspell
from llmspell.errors import AccessDenied, InvalidScope


@pytest.fixture(params=[False, True], ids=["tenancy off", "tenancy on"])
async def app(request, tmp_path):
    config = {"tenancy.enabled": request.param}
    async with llmspell.open(config, home=tmp_path, cwd=tmp_path) as found:
        if request.param:
            for tenant in ("acme", "beta"):
                found.tenants.create(tenant)
        yield found


async def spell(app, source, **options):
    outcome = await llmspell.run(source, app=app, thread=False, **options)
    assert outcome.error is None, outcome.error
    return outcome.stdout.splitlines()


async def test_documents_and_sessions_are_the_tenants_own(app):
    await spell(app, "RAG.ingest('plan of acme'); RAG.ingestSession('s', 'talk of acme')", tenant="acme")
    assert await spell(
        app,
        "print(RAG.search('plan').total, RAG.search('plan of acme', {tenant_id = 'beta'}).total,"
        "RAG.searchSession('s', 'talk').total, #RAG.list_documents(), RAG.get_stats().total_documents)",
        tenant="beta",
    ) == ["0\t0\t0\t0\t0"]
    assert await spell(app, "print(RAG.search('plan').total, RAG.searchSession('s', 'talk').total)", tenant="acme") == [
        "1\t1"
    ]
    assert (await app.rag.search("plan", tenant_id="acme")).total == 1
    assert (await app.rag.search("plan")).total == 0


@pytest.mark.parametrize(
    "call",
    [
        "RAG.search('x', {tenant_id = 'beta'})",
        "RAG.search('x', {tenant_id = 'ghost'})",
        "RAG.ingest('x', {scope = 'tenant:beta'})",
        "RAG.get('x', {scope = 'tenant', scope_id = 'beta'})",
        "RAG.delete('x', {scope = 'custom:tenant:beta'})",
        "RAG.list_documents{tenant_id = 'beta'}",
        "RAG.update_metadata('x', {}, {tenant_id = 'beta'})",
        "RAG.get_stats('tenant', 'beta')",
        "RAG.cleanup_scope('tenant:beta')",
        "RAG.searchSession('tenant:beta/s', 'x')",
        "(function() RAG.setScope('tenant:beta') RAG.search('x') end)()",
    ],
)
async def test_naming_another_tenant_is_denied_in_one_wording(app, call):
    (line,) = await spell(
        app,
        f"local ok, e = pcall(function() return {call} end) print(ok, e.kind, e.details.code, e.details.reason)",
        tenant="acme",
    )
    assert line == "false\tsecurity\taccess_denied\tanother tenant"


async def test_state_is_the_tenants_own(app):
    await spell(app, "State.save('global', 'k', 'of acme'); State.save('user:7', 'k', 1)", tenant="acme")
    read = "print(State.load('global', 'k'), State.load('user:7', 'k'), #State.list_scopes(), State.load('tenant:acme', 'k'))"
    assert await spell(app, read, tenant="beta") == ["nil\tnil\t0\tnil"]
    assert await spell(app, read, tenant="acme") == ["of acme\t1\t2\tnil"]
    assert await spell(app, read, sandbox="standard") == ["nil\tnil\t0\tnil"]


async def test_a_deleted_tenants_state_is_gone(app, tmp_path):
    if not app.multi_tenant:
        return
    await spell(app, "State.save('global', 'k', 'of acme')", tenant="acme")
    report = await app.tenants.delete("acme")
    assert (report.verified, report.removed["state"]) == (True, 1)
    assert not list((tmp_path / "state" / "tenants").iterdir())
    app.tenants.create("acme")
    assert await spell(app, "print(State.load('global', 'k'))", tenant="acme") == ["nil"]


async def test_only_active_tenants_run(app):
    with pytest.raises(InvalidScope):
        await llmspell.run("return 1", app=app, tenant="a/b")
    assert (await llmspell.run("return 1", app=app, tenant="default")).value == 1
    if app.multi_tenant:
        with pytest.raises(AccessDenied):
            await llmspell.run("return 1", app=app, tenant="ghost")
        app.tenants.suspend("acme")
        with pytest.raises(AccessDenied):
            await llmspell.run("return 1", app=app, tenant="acme")


async def test_an_untrusted_spell_without_a_tenant_sees_none_where_tenancy_is_on(app):
    await app.rag.ingest("plan of acme", tenant_id="acme")
    read = "local ok, r = pcall(RAG.search, 'plan', {tenant_id = 'acme'}) print(ok and r.total or r.kind)"
    assert await spell(app, read, sandbox="safe") == ["security" if app.multi_tenant else "1"]
    assert await spell(app, read, sandbox="standard") == ["1"]
    assert await spell(app, "print(RAG.config.multi_tenant)") == [str(app.multi_tenant).lower()]


async def test_model_calls_are_on_the_tenants_account(tmp_path):
    config = {
        "tenancy.enabled": True,
        "tenancy.tenants.acme.limits.monthly_cost_usd": 1.0,
    }
    async with llmspell.open(config, home=tmp_path, cwd=tmp_path) as app:
        source = (
            "Provider.scripted('m', {{text = 'one', usage = {input_tokens = 1, output_tokens = 1, cost_usd = 1.5}}}, {loop = true})"
            "return Agent.create{name = 'a', model = 'scripted/m'}:execute('hello').usage.cost_usd"
        )
        first = await llmspell.run(source, app=app, tenant="acme", thread=False)
        assert first.error is None, first.error
        assert first.value > 0
        assert app.tenants.usage("acme").model_cost_micros == round(first.value * 1e6)
        assert app.tenants.costs("acme").model_usd == pytest.approx(first.value)
        again = await llmspell.run(source, app=app, tenant="acme", thread=False)
        assert again.error.details["code"] == "quota_exceeded"
        assert (await llmspell.run(source, app=app, thread=False)).error is None
