-- Documents of a conversation: a collection per session with a limit and a time to live, and what outlives it.
-- Run: llmspell run sessions.lua
local session = RAG.create_session_collection("visit-7", { ttl = 600, max_vectors = 3 })
print(session.namespace, session.ttl .. " s", session.max_vectors .. " vectors")

RAG.ingest_session("visit-7", {
  { id = "name", content = "The visitor is called Ada and asks about owls." },
  { id = "wish", content = "She would like to see the night house." },
  { id = "ticket", content = "Ticket 4711, valid today.", ttl = 0.05 }, -- a life of its own, in seconds
})
print("found", RAG.search_session("visit-7", "what would she like to see", { k = 1 })[1].id)
print("also as a collection", RAG.search("owls", { collection = "session_visit-7", k = 1 })[1].id)

-- Nobody else sees it, and the limit holds.
print("elsewhere", RAG.search("owls").total)
local ok, problem = pcall(RAG.ingest_session, "visit-7", "One more note.")
print("one more", ok, problem.kind)

-- The ticket is gone the moment its time is up.
Async.sleep(100)
print("after a moment", #RAG.list_documents { session_id = "visit-7" }, RAG.get("ticket", { session_id = "visit-7" }))

-- What is worth keeping moves to the visitor's own place; the session ends.
print("moved", RAG.migrate_session_to_tenant("visit-7", "ada"))
print("ada has", #RAG.list_documents { tenant_id = "ada" }, "the session", #RAG.list_documents { session_id = "visit-7" })

-- A whole session expires, too, or is removed.
RAG.create_session_collection("brief", 0.05)
RAG.ingest_session("brief", "Gone soon.")
Async.sleep(100)
print("brief", RAG.search_session("brief", "soon").total, "removed", RAG.cleanup_scope("session", "brief"))
