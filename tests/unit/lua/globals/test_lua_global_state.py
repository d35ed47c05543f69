"""`State` as scripts see it, in a real interpreter, on the memory store and on SQLite."""

import io

import msgspec
import pytest

from llmspell.app import App
from llmspell.config.model import Config
from llmspell.lua.engine import Interpreter


@pytest.fixture(params=["memory", "sqlite"])
def run(request, tmp_path):
    section = msgspec.structs.replace(Config().runtime.state_persistence, backend_type=request.param)
    runtime = msgspec.structs.replace(Config().runtime, state_persistence=section)

    async def run(source):
        app = App(msgspec.structs.replace(Config(), runtime=runtime), home=tmp_path)
        out = io.BytesIO()
        interpreter = Interpreter(app, profile="safe", stdout=out)
        outcome = await interpreter.run(source)
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        return out.getvalue().decode().rstrip("\n").split("\n")

    return run


async def test_every_form_of_arguments_and_every_alias_reaches_its_function(run):
    assert await run("""
        State.set("a", 1) State.set("user:1", "a", 2) State.set_scoped("user:2", "a", 3) State:save("user:3", "a", 4)
        print(State.get("a"), State.load("user:1", "a"), State.get_scoped("user:2", "a"), State:load("user:3", "a"))
        print(State.has("a"), State.exists("user:1", "a"), State.delete("user:1", "a"), State.delete("user:1", "a"))
        print(table.concat(State.keys(), ","), #State.list("user:2"), #State.list_scoped("user:9"),
            State.all("user:2").a)
        print(State.clear_scope("user:2"), State.clear("user:2"), table.concat(State.list_scopes(), ","))
        print(State.increment("user:3", "a"), State.increment("user:3", "a", 2.5), State.increment("a", -1))
        print(State.append("l", {}), State.append("user:3", "l", "x"), State.load("user:3", "l")[1])
        State.agent_set("x", "k", 5) State.tool_set("y", "k", 6)
        print(State.agent_get("x", "k"), State.load("tool:y", "k"), State.tool_get("z", "k"))
        State.save("workflow:w", "step:one:output", "o") State.save("workflow:w", "two", "t")
        print(State.workflow_get("w", "one"), State.workflow_get("w", "two"), #State.workflow_list("w"))
    """) == [
        "1\t2\t3\t4", "true\ttrue\ttrue\tfalse", "a\t1\t0\t3", "1\t0\tglobal,user:3", "5\t7.5\t0", "1\t1\tx",
        "5\t6\tnil", "o\tt\t2",
    ]  # fmt: skip


async def test_a_nil_at_the_end_counts(run):
    assert await run("""
        State.set("user:1", "a", 1) State.set("user:1", "a", nil) print(State.exists("user:1", "a"), #State.keys())
        State.set("a", 1) State.set("a", nil) print(State.exists("a"))
        print(State.cas("a", nil, 1), State.cas("a", nil, 2), State.cas("global", "a", 1, nil), State.get("a"))
        State.transaction(function(tx) tx:set("user:1", "b", 1) tx:set("user:1", "b", nil)
            print(tx:exists("user:1", "b")) end)
    """) == ["false\t0", "false", "true\tfalse\ttrue\tnil", "false"]


async def test_a_table_is_a_scope_and_other_tables_are_not(run):
    assert await run("""
        State.set({type = "user", id = 7}, "a", 1)
        print(State.load("user:7", "a"), State.exists({type = "user", id = "7"}, "a"), State.all({type = "user",
            id = 7}).a)
        print(select(2, pcall(State.get, {})).kind, select(2, pcall(State.all, {id = 1})).kind)
        local b = State.create_backup() print(select(2, pcall(State.all, b)).kind)
    """) == ["1\ttrue\t1", "validation\tvalidation", "validation"]


async def test_a_transaction_has_all_functions_and_ends_with_its_function(run):
    assert await run("""
        State.set("n", 1) local kept
        print(State.transaction(function(tx)
            kept = tx
            tx:set("n", 5) tx:increment("n") tx:append("l", 1) tx:save("user:1", "k", {x = 1})
            print(tx:get("n"), State.get("n"), tx:has("l"), tx:load("user:1", "k").x, #tx:list_scopes(),
                tx:cas("n", 6, 7))
            return tx:get("n"), "two", nil
        end))
        print(State.get("n"), State.load("user:1", "k").x, select(2, pcall(kept.get, kept, "n")).kind)
        local boom = {}
        local ok, e = pcall(State.transaction, function(tx) tx:set("n", 0) error(boom) end)
        print(ok, e == boom, State.get("n"))
        local ok, e = pcall(State.transaction, function(tx) tx:set("n", 0) Async.sleep(1) end)
        print(ok, e.kind, State.get("n"))
    """) == [
        "6\t1\ttrue\t1\t2\ttrue", "7\ttwo\tnil", "7\t1\tstorage", "false\ttrue\t7", "false\tstorage\t7",
    ]  # fmt: skip


async def test_a_conflict_runs_the_function_again_and_at_last_raises(run):
    assert await run("""
        local runs = 0
        State.transaction(function(tx) runs = runs + 1 tx:get("n") if runs < 3 then State.set("n", runs)
            end tx:set("m", runs) end)
        print(runs, State.get("m"))
        runs = 0
        local ok, e = pcall(State.transaction, function(tx) runs = runs + 1 tx:get("n") State.set("n", runs)
            tx:set("m", 0) end)
        print(ok, e.kind, e.retryable, runs, State.get("m"))
    """) == ["3\t3", "false\tstorage\ttrue\t6\t3"]


async def test_an_open_transaction_covers_the_script_until_it_is_ended(run):
    assert await run("""
        State.begin_transaction() State.set("a", 1) State.append("l", 1) print(State.get("a"))
        print(select(2, pcall(State.begin_transaction)).kind, select(2, pcall(State.transaction, function()
            end)).kind)
        State.rollback() print(State.get("a"), State.get("l"))
        State.begin_transaction() State.set("a", 2) State.commit() print(State.get("a"))
        print(select(2, pcall(State.commit)).kind, select(2, pcall(State.rollback)).kind)
    """) == ["1", "storage\tstorage", "nil\tnil", "2", "storage\tstorage"]


async def test_the_default_scope_is_of_this_interpreter(run):
    assert await run("""
        State.setScope("user:1") State.set("a", 1) print(State.get("a"), State.get_scope(), State.load("global", "a"))
        print(State.list_keys()[1], State.increment("a"), State.clear(), #State.list_scopes())
        State.set_scope("tenant:x") print(State.get_scope())
    """) == ["1\tuser:1\tnil", "a\t2\t1\t0", "custom:tenant:x"]


async def test_a_lookup_goes_from_the_component_to_the_global_scope(run):
    assert await run("""
        local o = {component = {type = "agent", id = "a"}, workflow = "w", session = "s"}
        print(State.lookup("k", o)) State.set("k", 1) print(State.lookup("k", o))
        State.save("session:s", "k", 2) print(State.lookup("k", o)) State.save("workflow:w", "k", 3)
            print(State.lookup("k", o))
        State.save("agent:a", "k", 4) print(State.lookup("k", o)) print(State.lookup("k"))
    """) == ["nil\tnil", "1\tglobal", "2\tsession:s", "3\tworkflow:w", "4\tagent:a", "1\tglobal"]


async def test_wrong_arguments_and_values_are_validation_errors(run):
    assert (
        await run("""
        for _, f in ipairs{
            function() State.get() end, function() State.set(nil, 1) end, function() State.set("a..b", 1) end,
            function() State.set("a", print) end, function() State.set("a", {f = {print}}) end,
            function() local t = {} t.t = t State.set("a", t) end, function() State.increment("a", "b", "c") end,
            function() State.set("a", "x") State.increment("a") end, function() State.append("a", 1) end,
            function() State.save("user:1", "k", 1, {ttl_seconds = 0}) end, function() State.migrate("7.7.7") end,
            function() State.save("user:", "k", 1) end, function() State.cleanup_backups(-1) end,
        } do local ok, e = pcall(f) print(ok, e.kind) end
    """)
        == ["false\tvalidation"] * 13
    )


async def test_values_keep_their_types(run):
    assert await run("""
        State.set("v", {i = 1, f = 2.0, s = "x", b = false, e = JSON.array(), o = {}, bytes = "\\255", nan = 0/0,
            null = JSON.null})
        local v = State.get("v")
        print(math.type(v.i), math.type(v.f), v.f, v.s, v.b, JSON.stringify(v.e), JSON.stringify(v.o), #v.bytes,
            v.nan ~= v.nan, v.null == JSON.null)
    """) == ["integer\tfloat\t2.0\tx\tfalse\t[]\t{}\t1\ttrue\ttrue"]


async def test_schemas_migrate_all_or_nothing(run):
    assert await run("""
        State.set("n", 1) State.set("t", {old = 1})
        State.register_schema("1.1.0", {migrate = function(k, v, s) if k == "n" then return v + 1 end return v end,
            rollback = function(k, v) if k == "n" then return v - 1 end return v end})
        State.register_schema("1.2.0", {scope = "global", fields = {old = {rename = "new"}}})
        State.register_schema("1.3.0", {migrate = function(k) error("bad " .. k, 0) end})
        print(table.concat(State.get_schema_versions(), " "), State.get_migration_status().migration_available)
        local r = State.migrate("1.2.0") print(r.success, r.status, r.from_version, r.to_version,
            r.current_version, r.items_migrated)
        print(State.get("n"), State.get("t").new, State.migrate("1.2.0").status)
        r = State.migrate("1.3.0") print(r.success, r.status, r.error, #r.errors, r.current_version, State.get("n"))
        r = State.migrate("1.1.0") print(r.success, r.error)
    """) == [
        "1.0.0 1.1.0 1.2.0 1.3.0\ttrue", "true\tcompleted\t1.0.0\t1.2.0\t1.2.0\t2", "2\t1\tup_to_date",
        "false\tfailed\tglobal/n: bad n\t1\t1.2.0\t2", "false\tversion 1.2.0 has no rollback",
    ]  # fmt: skip


async def test_backups_are_handles_that_restore_what_was_there(run):
    assert await run("""
        State.set("a", 1) local b = State.create_backup("first")
        print(b.success, b.id == tostring(b), b.backup_id == b.id, b.name, b.incremental, b.entries, b.parent_id)
        State.set("b", 2) local i = State.create_backup(true) print(i.incremental, i.parent_id == b.id, i.entries)
        State.set("c", 3) local r = State.restore_backup(i) print(r.success, r.backup_id == i.id,
            r.entries_restored, table.concat(State.keys(), ","))
        State.restore_backup(b.id) print(table.concat(State.keys(), ","), State.get("a"))
        print(State.validate_backup(i).is_valid, State.validate_backup("backup_none").is_valid,
            #State.validate_backup("nope").errors)
        local list = State.list_backups() print(#list, list[#list] == b,
            State.get_storage_usage().incremental_backups)
        local c = State.cleanup_backups{keep = 1, dry_run = true} print(c.dry_run,
            c.deleted_count + c.retained_count == #list)
        State.cleanup_backups(0) print(#State.list_backups() >= 1, select(2, pcall(State.restore_backup,
            "backup_none")).kind)
    """) == [
        "true\ttrue\ttrue\tfirst\tfalse\t1\tnil", "true\ttrue\t1", "true\ttrue\t2\ta,b", "a\t1", "true\tfalse\t1",
        "4\ttrue\t1", "true\ttrue", "true\tstorage",
    ]  # fmt: skip


async def test_storage_usage_counts_by_scope(run):
    assert await run("""
        State.set("a", 1) State.save("user:1", "a", 1) State.save("user:1", "b", 1)
        local u = State.get_storage_usage()
        print(u.entries_count, u.by_scope["user:1"].entries, u.bytes_used > 10, u.total_backups)
    """) == ["3\t2\ttrue\t0"]
