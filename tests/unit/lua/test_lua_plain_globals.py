"""JSON, Utils, Args and Display as a script meets them."""

import io

import pytest

from llmspell.app import App
from llmspell.config.model import Config
from llmspell.lua.engine import Interpreter


async def written(folder, script, args=None):
    """Run the script in the profile safe and return its standard output."""
    app = App(Config(), home=folder, cwd=folder)
    out = io.BytesIO()
    interpreter = Interpreter(app, profile="safe", args=args, stdout=out, stderr=io.BytesIO(), script="s.lua")
    try:
        outcome = await interpreter.run(script)
    finally:
        await interpreter.close()
        await app.close()
    assert outcome.error is None, outcome.error
    return out.getvalue().decode()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            """local t = JSON.parse('{"b":[],"a":null,"n":1,"f":1.0}')
            print(JSON.stringify(t), t.a == JSON.null, math.type(t.n), math.type(t.f))
            print(JSON.stringify(JSON.query({items = {{v = 1}, {v = 2}}}, ".items[].v")), JSON.encode(JSON.array()),
              JSON.stringify({}))""",
            '{"a":null,"b":[],"f":1.0,"n":1}\ttrue\tinteger\tfloat\n[1,2]\t[]\t{}\n',
        ),
        (
            """local c = {}; c.a = {b = c}; local ok, e = pcall(JSON.stringify, c)
            print(JSON.stringify{1, 2, x = 3}, ok, e.kind, e.message,
              tostring(select(2, pcall(JSON.stringify, {f = print}))))""",
            '{"1":1,"2":2,"x":3}\tfalse\tvalidation\tcycle at $.a.b\t'
            "validation error: cannot convert function at $.f\n",
        ),
        (
            """print(Utils.hash("a", "md5"), Utils.join(Utils.split("a,b,c", ","), "-"), Utils.trim("  x "),
              Utils.parse_duration("1m30s"), Utils.equals({1, {2}}, {1, {2}}))
            Utils.write("a", 1):write("\\n")""",
            "0cc175b9c0f1b6a831c399e269772661\ta-b-c\tx\t90000\ttrue\na1\n",
        ),
        (
            """local h = display("working"); h:update("done"); Display.progress(3):advance(3)
            Display.json({b = 1, a = {}})
            Display.table({{name = "a", n = 10}, {name = "bb", n = 2}}, {columns = {"name", "n"}})""",
            'working\ndone\n{\n  "a": {},\n  "b": 1\n}\nname  n\n----  --\na     10\nbb    2\n',
        ),
        (
            """local copy = Utils.deep_copy(JSON.parse('{"a":[],"b":[{}]}'))
            print(JSON.stringify(copy), JSON.stringify(Utils.map({1, 2}, function(x) Async.sleep(1); return x * 2 end)))
            print(Utils.retry(function(n) if n < 3 then error("x") end; return n end, {backoff_ms = 1}))
            print(select(2, pcall(Utils.timeout, 5, function() Utils.sleep(1000) end)).kind)""",
            '{"a":[],"b":[{}]}\t[2,4]\n3\ntimeout\n',
        ),
    ],
)
async def test_scripts_write(tmp_path, script, expected):
    assert await written(tmp_path, script) == expected


async def test_arguments_are_read(tmp_path):
    script = """print(ARGS[1], ARGS[2], #ARGS, ARGS.name, ARGS.n, ARGS.out_dir, ARGS.dry, ARGS["1"], arg[2], ARGS.zz)
    print(Args.int("n"), Args.get("zz", "d"), Args.bool("dry"), Args.name)"""
    tokens = ["x", "y", "--name=Ann", "--n", "-5", "--out-dir", "d", "--dry"]
    assert await written(tmp_path, script, tokens) == "x\ty\t2\tAnn\t-5\td\ttrue\tx\ty\tnil\n-5\td\ttrue\tAnn\n"
