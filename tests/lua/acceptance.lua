-- @01 engine and print
print(_VERSION, 10/2, 7//2, 1e15, math.type(3), setmetatable({}, {__tostring = function() return "T" end}))
--> Lua 5.4	5.0	3	1e+15	integer	T
-- @02 safe profile
print(io, debug, dofile, string.dump, os.execute, (load("\27Lua")), load("return 1+1")(), getmetatable(""))
--> nil	nil	nil	nil	nil	nil	2	false
-- @03 standard profile  [profile=standard]
io.write("a", 1, 2.0, "\n"):write("b\n"); print((pcall(io.write, nil)), select(2, pcall(io.open, "/outside.txt")).kind)
--> a12.0
--> b
--> false	security
-- @04 clean end  [profile=standard] [exit=3]
print("a"); os.exit(3); print("b")
--> a
-- @05 uncatchable limit  [engines.lua.limits.instructions=1000000] [exit=1]
print("start"); pcall(function() while true do end end); print("never")
--> start
-- @06 arguments  [args: x y --name=Ann --n -5 --out-dir d --dry]
print(ARGS[1], ARGS[2], #ARGS, ARGS.name, ARGS.n, ARGS.out_dir, ARGS.dry, ARGS["1"], arg[2], ARGS.zz)
print(Args.int("n"), Args.get("zz", "d"), Args.bool("dry"))
--> x	y	2	Ann	-5	d	true	x	y	nil
--> -5	d	true
-- @07 return value  [flag --print-result]
return {b = 1.0, a = {}, c = {1, 2}}
--> {"a":{},"b":1.0,"c":[1,2]}
-- @08 JSON round trip
local t = JSON.parse('{"b":[],"a":null,"n":1,"f":1.0}')
print(JSON.stringify(t), t.a == JSON.null, math.type(t.n), math.type(t.f))
print(JSON.stringify(JSON.query({items = {{v = 1}, {v = 2}}}, ".items[].v")), JSON.encode(JSON.array()), JSON.stringify({}))
--> {"a":null,"b":[],"f":1.0,"n":1}	true	integer	float
--> [1,2]	[]	{}
-- @09 conversion without loss
local c = {}; c.a = {b = c}; local ok, e = pcall(JSON.stringify, c)
print(JSON.stringify{1, 2, x = 3}, ok, e.kind, e.message, tostring(select(2, pcall(JSON.stringify, {f = print}))))
--> {"1":1,"2":2,"x":3}	false	validation	cycle at $.a.b	validation error: cannot convert function at $.f
-- @10 errors
local ok, e = pcall(Tool.execute, "no-such-tool", {})
print(ok, e.kind, e.details.code, e.retryable, type("x" .. e), select(2, pcall(error, {x = 1})).x, select(2, pcall(error, "s", 0)))
--> false	tool	not_found	false	string	1	s
-- @11 Tool names and results
print(Tool.execute("base64_encoder", {operation = "encode", input = "hi"}).result.output,
  Tool.invoke("base64-encoder", {parameters = {operation = "decode", input = "aGk="}}).result.output, Tool.get("nope"), Tool.exists("base64_encoder"))
--> aGk=	hi	nil	true
-- @12 custom tools
Tool.register("double", function(p) return {result = p.n * 2} end, {n = {type = "integer", required = true}})
Tool.register("boom", function() error("bad", 0) end)
local b = Tool.batch{{tool = "double", params = {n = 4}}, {tool = "nope"}}
print(Tool.execute("double", {n = 21}).result, Tool.double({n = 1}).result, b[1].result, b[2].success)
print(select(2, pcall(Tool.execute, "double", {})).kind, Tool.try("zzz").error.kind, Tool.execute("boom").success, Tool.execute("boom").error .. "!")
--> 42	2	8	false
--> validation	tool	false	bad!
-- @13 Agent with the echo model
local a = Agent.builder():name("e"):model("echo/x"):build(); local r = a:execute("hello there")
print(r.text, r.usage.input_tokens, r.usage.output_tokens, r.finish_reason, r.data, #r.tool_calls)
print(a:invoke{prompt = "42"}.data, a:get_state(), Agent.get("e") == a, #a:get_history(), Agent.builder().name("d").model("echo/x").build().name)
--> hello there	2	2	stop	nil	0
--> 42	Ready	true	4	d
-- @14 Agent tool loop with the scripted model
Tool.register("add", function(p) return {result = p.a + p.b} end, {a = {type = "integer"}, b = {type = "integer"}})
local a = Agent.create{name = "s", model = "scripted/t", tools = {"add"}, replies = {{tool_calls = {{name = "add", arguments = {a = 2, b = 3}}}},
  function(q) return "sum " .. q.messages[#q.messages].content end}}
local r = a:execute("go"); print(r.text, #r.tool_calls, r.tool_calls[1].name, r.tool_calls[1].result, a:get_metrics().tool_invocations)
print(pcall(a.execute, a, "again"))
--> sum 5	1	add	5	1
--> false	provider error: scripted model: no reply left
-- @15 Agent streaming
local a, n, s = Agent.create{name = "e", model = "echo/x"}, 0, ""
for c in a:stream("a b c") do if c.type == "text" then n = n + 1; s = s .. c end end; print(n, s)
--> 3	a b c
-- @16 Agent lifecycle and alerts
local a = Agent.create{name = "e", model = "echo/x"}; a:pause(); print(a:get_state(), (pcall(a.execute, a, "x"))); a:resume()
a:configure_alerts{name = "many", condition = {type = "metric_threshold", metric_name = "requests_total", operator = ">=", threshold = 1, duration_seconds = 0}}
a:execute("x"); print(a:get_state(), a:get_alerts()[1].name, a:get_metrics().requests_total, a:get_performance().success_rate == 1)
a:destroy(); print(Agent.get("e"), Agent.create{name = "e", model = "echo/x"}.name)
--> Paused	false
--> Ready	many	1	true
--> nil	e
-- @17 composites, agents as tools
for _, n in ipairs{"u", "v"} do
  Agent.create{name = n, model = "scripted/t", settings = {loop = true}, replies = {function(q) return n .. ":" .. q.messages[#q.messages].content end}}
end
local r = Agent.create_composite("team", {"u", "v"}, "sequential"):execute("x")
print(r.text, #r.outputs, Agent.wrap_as_tool("u"), Tool.execute("u_tool", {input = "hi"}).text)
--> v:u:x	2	u_tool	u:hi
-- @18 contexts and shared memory
Agent.create_context("c1", {user = "ann"}); local k = Agent.create_child_context("c1", {type = "session", id = "s"}, "inherit")
Agent.update_context(k, "x", 1); Agent.set_shared_memory("k", {1, 2})
print(Agent.get_context_data(k, "user"), Agent.get_context_data(k, "x"), Agent.get_context_data("c1", "x"), #Agent.get_shared_memory("k"), Agent.get_shared_memory({type = "agent", id = "z"}, "k"))
--> ann	1	nil	2	nil
-- @23 State
State.save("user:1", "k", {1, 2}); print(#State.load("user:1", "k"), State.get("k"), State.get("k", "d"), State.exists("user:1", "k"))
print(State.increment("n"), State.increment("n", 4), State.append("l", "a"), State.compare_and_swap("n", 5, 9), State.get("n"))
print(pcall(State.transaction, function(tx) tx:set("n", 0); error("x", 0) end)); print(State.get("n"))
local b = State.create_backup("b"); State.set("n", 1); State.restore_backup(b); print(State.get("n"), State.validate_backup(b).is_valid)
--> 2	nil	d	true
--> 1	5	1	true	9
--> false	x
--> 9
--> 9	true
-- @29 RAG
RAG.ingest{{id = "d1", content = "Lua is a small scripting language", metadata = {k = "a"}}, {id = "d2", content = "Bread needs flour and water", metadata = {k = "b"}}}
local r = RAG.search("scripting language", {limit = 1}); print(r.success, r.total, r.results[1].id, r.exhausted)
print(#RAG.search("scripting language", {k = 5, filters = {k = "b"}}), RAG.search("x", {collection = "none"}).total, RAG.get_stats("global").total_documents)
RAG.ingest("secret plan", {tenant_id = "t1"}); print(RAG.search("secret plan", {tenant_id = "t2"}).total, RAG.cleanup_scope("tenant", "t1"))
--> true	1	d1	false
--> 1	0	2
--> 0	1
-- @30 Config and Provider  [no provider keys]
print(Config.getDefaultEngine(), type(Config.get()), Config.getPermissions().modify_security, Provider.isAvailable("echo"), Provider.get("nope"))
print(table.concat(Provider.list{builtin = true}, ","), #Provider.list(), select(2, pcall(Config.setSecurity, {allow_file_access = true})).kind)
--> lua	table	false	true	nil
--> echo,scripted	0	security
-- @31 Debug and Logger
local t = Debug.timer("x"); print(t:lap("l"), t:stop() >= 0, t:stop(), Debug.setLevel("warn"), Debug.getLevel(), Debug.setLevel("zz"))
Debug.clearCaptured(); Debug.info("hid"); Debug.warn("seen", "m"); Logger.error("two"); local e = Debug.getCapturedEntries()
print(#e, e[1].message, e[2].level, Logger.isEnabled("info"), Debug.dumpCompact({1, "x", k = true}))
--> true	true	nil	true	WARN	false
--> 2	seen	ERROR	false	{1, "x", k = true}
-- @32 Utils, Metrics
print(Utils.hash("a", "md5"), Utils.join(Utils.split("a,b,c", ","), "-"), Utils.trim("  x "), Utils.parse_duration("1m30s"), Utils.equals({1, {2}}, {1, {2}}))
local c, h = Metrics.counter("jobs", {k = "x"}), Metrics.histogram("t"); c:inc(); c:inc(2); h:observe(1); h:observe(3)
print(c:value(), Metrics.get("jobs", {k = "x"}), h:summary().avg, h:summary().count)
--> 0cc175b9c0f1b6a831c399e269772661	a-b-c	x	90000	true
--> 3	3	2.0	2
-- @33 Streaming
local s = Streaming.create(function() for i = 1, 3 do Streaming.yield(i) end end)
print(s:next(), s:isDone(), table.concat(s:collect(), ","), s:next(), s:isDone())
--> 1	false	2,3	nil	true
-- @34 Async
print(table.concat(Async.map({3, 1, 2}, function(x) Async.sleep(x * 5); return x * 2 end, {max_concurrency = 3}), ","))
print(Async.race{function() Async.sleep(500); return "slow" end, function() Async.sleep(5); return "fast" end})
local t = Async.spawn(function() Async.sleep(10000) end); Async.yield(); print(t:cancel(), (pcall(t.await, t)), t:status())
print(#Async.settled{function() error("x", 0) end, 5}, select(2, pcall(Async.timeout, 10, function() Async.sleep(1000) end)).kind)
--> 6,2,4
--> fast	2
--> true	false	cancelled
--> 2	timeout
-- @35 awaiting inside library callbacks
local t = {3, 1, 2}; table.sort(t, function(a, b) Async.sleep(1); return a < b end)
print(table.concat(t, ","), ("ab"):gsub("%a", function(c) Async.sleep(1); return c:upper() end))
--> 1,2,3	AB	2
-- @36 Display, text output
local h = display("working"); h:update("done"); Display.progress(3):advance(3); Display.json({b = 1, a = {}})
Display.table({{name = "a", n = 10}, {name = "bb", n = 2}}, {columns = {"name", "n"}})
--> working
--> done
--> {
-->   "a": {},
-->   "b": 1
--> }
--> name  n
--> ----  --
--> a     10
--> bb    2
-- @37 reserved names, read-only API
print(Memory, Context, Template, LocalLLM, (pcall(function() Tool.list = 1 end)))
--> nil	nil	nil	nil	false
