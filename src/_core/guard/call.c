/* The crossing, Lua side: calls to the host, protected calls, coroutines.
 *
 * A call to the host packs its arguments into one string and calls the one host function with (method, string). The
 * answer is a string, status byte first:
 *
 *   V  + packed array      results
 *   E  + packed array of 1 the error to raise
 *
 * or an integer: the host has to wait. The call then yields that integer to the driver and is resumed with such a
 * string. Inside a coroutine of the script the yield must pass through the script's own `resume`: `waiting` tells it
 * from a yield of the script, and the inner coroutine is resumed with the answer when it comes. */
#include <string.h>

#include "api.h"

enum { CANCEL_WAIT = -1 };

/* Lua code runs from here on: the allocator may refuse again, and buffers left behind by an error are free. */
static void enter(spell_guard* g) {
  g->control->outside = 0;
  g->control->waiting = 0;
}

static int call_host(lua_State* L, spell_guard* g, int64_t method, const char* data, size_t size) {
  g->control->outside = 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_host);
  lua_pushinteger(L, method);
  lua_pushlstring(L, data, size);
  lua_callk(L, 2, 1, 0, NULL);
  g->control->outside = 0;
  return lua_type(L, -1);
}

/* Results of the answer on top of the stack, or its error raised. */
static int finish_call(lua_State* L, spell_guard* g) {
  size_t n;
  const char* answer = lua_tolstring(L, -1, &n);
  if (answer == NULL || n < 2) return luaL_error(L, "internal error: the host gave no answer");
  if (answer[0] == 'V') return spell_unpack(L, g, answer + 1, n - 1);
  spell_library(L, "make_error");
  int parts = spell_unpack(L, g, answer + 1, n - 1);
  lua_callk(L, parts, 1, 0, NULL);
  spell_check(L, g, 0);
  return lua_error(L);
}

static int invoke_resumed(lua_State* L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  spell_guard* g = spell_of(L);
  enter(g);
  return finish_call(L, g);
}

static int yield_wait(lua_State* L, spell_guard* g, lua_KContext context, lua_KFunction resumed) {
  if (!lua_isyieldable(L)) {
    lua_pushinteger(L, lua_tointegerx(L, -1, NULL));
    unsigned char packed[11] = {0x91, 0xd3};
    uint64_t token = (uint64_t)lua_tointegerx(L, -1, NULL);
    for (int i = 0; i < 8; i++) packed[2 + i] = (unsigned char)(token >> (56 - 8 * i));
    call_host(L, g, CANCEL_WAIT, (const char*)packed, 10);
    return spell_raise(L, "script", "cannot wait here: inside a metamethod or callback that Lua calls from C", NULL, NULL);
  }
  g->control->waiting = 1;
  g->control->outside = 1;
  return lua_yieldk(L, 1, context, resumed);
}

/* Upvalues: method number, API table (its first argument is dropped when it is this table) or nil, functions allowed. */
int spell_invoke(lua_State* L) {
  spell_guard* g = spell_of(L);
  int n = lua_gettop(L), first = 1;
  if (n > 0 && lua_istable(L, 1) && lua_rawequal(L, 1, upvalue(2))) first = 2;
  while (n >= first && lua_isnil(L, n)) n--;
  if (n > 250) return luaL_error(L, "too many arguments");
  int functions = lua_toboolean(L, upvalue(3));
  spell_buffer* b = spell_buffer_take(L, g);
  int depth = g->buffers_used;
  spell_put_array(L, b, (uint32_t)(n - first + 1));
  for (int i = first; i <= n; i++) spell_pack(L, g, b, i, functions);
  g->buffers_used = depth;
  lua_settop(L, 0);
  lua_checkstack(L, 8);
  int64_t method = lua_tointegerx(L, upvalue(1), NULL);
  g->control->outside = 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_host);
  lua_pushinteger(L, method);
  lua_pushlstring(L, b->data, b->size);
  spell_buffer_give(g);
  lua_callk(L, 2, 1, 0, NULL);
  g->control->outside = 0;
  if (lua_type(L, -1) == LUA_TNUMBER) return yield_wait(L, g, 0, invoke_resumed);
  return finish_call(L, g);
}

/* api(method, table or nil, functions allowed) -> function. */
int spell_function(lua_State* L) {
  lua_settop(L, 3);
  lua_pushcclosure(L, spell_invoke, 3);
  return 1;
}

/* -------- protected calls -------- */

static int is_memory_error(lua_State* L, int status) {
  if (status == LUA_ERRMEM) return 1;
  size_t n;
  if (lua_type(L, -1) != LUA_TSTRING) return 0;
  const char* s = lua_tolstring(L, -1, &n);
  return n == 17 && memcmp(s, "not enough memory", 17) == 0;
}

/* The error on top becomes what a script may catch; a tripped guard raises it further. */
static void settle_error(lua_State* L, spell_guard* g, int status) {
  enter(g);
  if (__atomic_load_n(&g->control->tripped, __ATOMIC_RELAXED) != SPELL_RUNNING) lua_error(L);
  if (!is_memory_error(L, status)) return;
  lua_pop(L, 1);
  spell_library(L, "memory_error");
  lua_pushinteger(L, g->control->memory_limit);
  lua_pushinteger(L, g->control->memory_used);
  lua_callk(L, 2, 1, 0, NULL);
}

/* The context of a protected call: how many values lie below its results, and the buffers in use when it began. */
#define CALL_CONTEXT(g, below) ((lua_KContext)(g)->buffers_used << 8 | (below))

static int pcall_done(lua_State* L, int status, lua_KContext context) {
  if (status != LUA_OK && status != LUA_YIELD) {
    spell_of(L)->buffers_used = (int)(context >> 8);
    settle_error(L, spell_of(L), status);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)(context & 0xff);
}

int spell_pcall(lua_State* L) {
  if (lua_gettop(L) == 0) return luaL_argerror(L, 1, "value expected");
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  lua_KContext context = CALL_CONTEXT(spell_of(L), 0);
  return pcall_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, context, pcall_done), context);
}

/* Upvalues: a stock function and its name. An error of it gets the position of whoever called the prelude function
 * that ends in this call, and the name that the stock library would have found. */
static int stock_done(lua_State* L, int status, lua_KContext context) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L);
  spell_guard* g = spell_of(L);
  g->buffers_used = (int)(context >> 8);
  size_t n;
  if (lua_type(L, -1) != LUA_TSTRING || is_memory_error(L, status)) return lua_error(L);
  const char* message = lua_tolstring(L, -1, &n);
  const char* unnamed = strstr(message, "to '?'");
  luaL_where(L, 1);
  const char* where = lua_tolstring(L, -1, NULL);
  if (unnamed != NULL && n < 400) {
    char text[400];
    size_t head = (size_t)(unnamed - message) + 4;
    memcpy(text, message, head);
    text[head] = 0;
    lua_pushfstring(L, "%s%s%s%s", where, text, lua_tolstring(L, upvalue(2), NULL), unnamed + 5);
  } else {
    lua_pushfstring(L, "%s%s", where, message);
  }
  return lua_error(L);
}

static int call_stock(lua_State* L) {
  lua_KContext context = CALL_CONTEXT(spell_of(L), 0);
  lua_pushvalue(L, upvalue(1));
  lua_insert(L, 1);
  return stock_done(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, context, stock_done), context);
}

/* stock(function, name) -> function. */
int spell_stock(lua_State* L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushcclosure(L, call_stock, 2);
  return 1;
}

/* A handler must not run once tripped: hooks are off in a handler entered by the hook's own error. */
static int safe_handler(lua_State* L) {
  spell_guard* g = spell_of(L);
  g->control->outside = 0;
  lua_settop(L, 1);
  if (__atomic_load_n(&g->control->tripped, __ATOMIC_RELAXED) != SPELL_RUNNING) return 1;
  lua_pushvalue(L, upvalue(1));
  lua_insert(L, 1);
  lua_callk(L, 1, 1, 0, NULL);
  return 1;
}

int spell_xpcall(lua_State* L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, safe_handler, 1);
  lua_replace(L, 2);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  lua_KContext context = CALL_CONTEXT(spell_of(L), 2);
  return pcall_done(L, lua_pcallk(L, n - 2, LUA_MULTRET, 2, context, pcall_done), context);
}

/* -------- coroutines -------- */

static int in_set(lua_State* L, const void* key, lua_State* co) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  lua_checkstack(co, 2);
  lua_pushthread(co);
  if (co != L) lua_xmove(co, L, 1);
  lua_rawget(L, -2);
  int found = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return found;
}

static void put_in_set(lua_State* L, const void* key, lua_State* co, int member) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  lua_checkstack(co, 2);
  lua_pushthread(co);
  if (co != L) lua_xmove(co, L, 1);
  if (member)
    lua_pushboolean(L, 1);
  else
    lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static lua_State* thread_argument(lua_State* L, int index) {
  lua_State* co = lua_tothread(L, index);
  if (co == NULL) luaL_argerror(L, index, "coroutine expected");
  return co;
}

int spell_co_create(lua_State* L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State* co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static int resumed(lua_State* L, int status, lua_KContext wrapped);

/* Resume `co` with the n values on top of L. Leaves the results; their number, or -1 with the error on top. */
static int step(lua_State* L, lua_State* co, int n, int wrapped) {
  spell_guard* g = spell_of(L);
  if (!lua_checkstack(co, n)) {
    lua_pop(L, n);
    lua_pushstring(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, n);
  int results = 0, buffers = g->buffers_used;
  int status = lua_resume(co, L, n, &results);
  if (status == LUA_YIELD && g->control->waiting) {
    lua_xmove(co, L, 1);
    if (!lua_isyieldable(L)) return yield_wait(L, g, 0, NULL);
    put_in_set(L, &spell_key_waiting, co, 1);
    return lua_yieldk(L, 1, wrapped, resumed);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    g->buffers_used = buffers;
    settle_error(L, g, status);
    return -1;
  }
  if (!lua_checkstack(L, results + 1)) {
    lua_pop(co, results);
    lua_pushstring(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, results);
  return results;
}

/* What `resume` and the functions of `wrap` return after a step. */
static int deliver(lua_State* L, lua_State* co, int n, int wrapped) {
  if (n >= 0) {
    if (wrapped) return n;
    lua_pushboolean(L, 1);
    lua_insert(L, -(n + 1));
    return n + 1;
  }
  if (!wrapped) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_closethread(co, L);
    lua_settop(co, 0);
  }
  if (lua_type(L, -1) == LUA_TSTRING && !in_set(L, &spell_key_waiting, co)) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    size_t a, b;
    const char *where = lua_tolstring(L, -2, &a), *message = lua_tolstring(L, -1, &b);
    lua_pushfstring(L, "%s%s", where, message);
  }
  return lua_error(L);
}

static int resumed(lua_State* L, int status, lua_KContext wrapped) {
  (void)status;
  lua_State* co = wrapped ? lua_tothread(L, upvalue(1)) : lua_tothread(L, 1);
  put_in_set(L, &spell_key_waiting, co, 0);
  return deliver(L, co, step(L, co, 1, (int)wrapped), (int)wrapped);
}

static int refuse_waiting(lua_State* L, lua_State* co) {
  if (!in_set(L, &spell_key_waiting, co)) return 0;
  lua_pushstring(L, "cannot resume non-suspended coroutine");
  return 1;
}

int spell_co_resume(lua_State* L) {
  lua_State* co = thread_argument(L, 1);
  if (refuse_waiting(L, co)) return deliver(L, co, -1, 0);
  return deliver(L, co, step(L, co, lua_gettop(L) - 1, 0), 0);
}

static int wrapped_step(lua_State* L) {
  lua_State* co = lua_tothread(L, upvalue(1));
  if (refuse_waiting(L, co)) return deliver(L, co, -1, 1);
  return deliver(L, co, step(L, co, lua_gettop(L), 1), 1);
}

int spell_co_wrap(lua_State* L) {
  spell_co_create(L);
  lua_pushcclosure(L, wrapped_step, 1);
  return 1;
}

static int switched(lua_State* L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  enter(spell_of(L));
  return finish_call(L, spell_of(L));
}

/* Outside of a coroutine of the script's own, `yield` is a switch point: token 0. */
int spell_co_yield(lua_State* L) {
  if (!in_set(L, &spell_key_roots, L)) return lua_yieldk(L, lua_gettop(L), 0, NULL);
  lua_pushinteger(L, 0);
  return yield_wait(L, spell_of(L), 0, switched);
}

int spell_co_running(lua_State* L) {
  int root = lua_pushthread(L) || in_set(L, &spell_key_roots, L);
  lua_pushboolean(L, root);
  return 2;
}

int spell_co_status(lua_State* L) {
  lua_State* co = thread_argument(L, 1);
  const char* word = "dead";
  union {
    char room[256]; /* larger than lua_Debug, which only has to exist */
    void* align;
  } debug;
  if (co == L)
    word = "running";
  else if (in_set(L, &spell_key_waiting, co) || in_set(L, &spell_key_roots, co))
    word = "normal";
  else if (lua_status(co) == LUA_YIELD)
    word = "suspended";
  else if (lua_status(co) == LUA_OK && lua_getstack(co, 0, (lua_Debug*)&debug))
    word = "normal";
  else if (lua_status(co) == LUA_OK && lua_gettop(co) > 0)
    word = "suspended";
  lua_pushstring(L, word);
  return 1;
}

int spell_co_close(lua_State* L) {
  lua_State* co = thread_argument(L, 1);
  lua_settop(L, 1);
  spell_co_status(L);
  const char* word = lua_tolstring(L, -1, NULL);
  if (strcmp(word, "suspended") != 0 && strcmp(word, "dead") != 0) return luaL_error(L, "cannot close a %s coroutine", word);
  int status = lua_closethread(co, L);
  if (status == LUA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  settle_error(L, spell_of(L), status);
  return 2;
}

/* -------- the root of a task -------- */

/* Keeps the traceback of the error for the host; the error value passes unchanged. */
static int root_handler(lua_State* L) {
  spell_guard* g = spell_of(L);
  g->control->outside = 1;
  luaL_traceback(L, L, NULL, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &spell_key_traceback);
  return 1;
}

static int root_answer(lua_State* L, spell_guard* g, char status, int first, int last) {
  g->buffers_used = 0;
  spell_buffer* b = spell_buffer_take(L, g);
  spell_put(L, b, &status, 1);
  spell_put_array(L, b, (uint32_t)(last - first + 1));
  for (int i = first; i <= last; i++) spell_pack(L, g, b, i, 1);
  lua_pushlstring(L, b->data, b->size);
  spell_buffer_give(g);
  return 1;
}

static int pack_results(lua_State* L) {
  spell_guard* g = spell_of(L);
  enter(g);
  return root_answer(L, g, 'V', 1, lua_gettop(L));
}

static int pack_error(lua_State* L) {
  spell_guard* g = spell_of(L);
  spell_library(L, "describe_error");
  lua_insert(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_traceback);
  lua_callk(L, 2, 1, 0, NULL);
  lua_settop(L, 1);
  return root_answer(L, g, 'E', 1, 1);
}

static int root_done(lua_State* L, int status, lua_KContext context) {
  (void)context;
  spell_guard* g = spell_of(L);
  spell_control* c = g->control;
  g->buffers_used = 0;
  int stopped = __atomic_load_n(&c->tripped, __ATOMIC_RELAXED) != SPELL_RUNNING;
  c->outside = 1;
  if (stopped) {
    lua_pushlstring(L, "T\x90", 2);
    return 1;
  }
  if (status == LUA_OK || status == LUA_YIELD) {
    lua_pushcclosure(L, pack_results, 0);
    lua_insert(L, 3);
    status = lua_pcallk(L, lua_gettop(L) - 3, 1, 2, 0, NULL);
    if (status == LUA_OK) return 1;
  }
  if (is_memory_error(L, status)) {
    lua_pop(L, 1);
    spell_library(L, "memory_error");
    lua_pushinteger(L, c->memory_limit);
    lua_pushinteger(L, c->memory_used);
    lua_callk(L, 2, 1, 0, NULL);
  }
  lua_pushcclosure(L, pack_error, 0);
  lua_insert(L, -2);
  if (lua_pcallk(L, 1, 1, 0, 0, NULL) != LUA_OK) lua_pushlstring(L, "T\x90", 2);
  c->outside = 1;
  return 1;
}

/* root(reference, packed arguments): the first function of a task's coroutine. Never raises; returns V, E or T. */
int spell_root(lua_State* L) {
  spell_guard* g = spell_of(L);
  put_in_set(L, &spell_key_roots, L, 1);
  lua_settop(L, 2);
  int64_t number = lua_tointegerx(L, 1, NULL);
  lua_pushcclosure(L, root_handler, 0);
  lua_insert(L, 2); /* 1 reference, 2 handler, 3 arguments */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_refs);
  lua_rawgeti(L, -1, number);
  lua_remove(L, -2);
  size_t n = 0;
  const char* packed = lua_tolstring(L, 3, &n);
  int arguments = packed == NULL ? 0 : spell_unpack(L, g, packed, n);
  lua_remove(L, 3);
  enter(g);
  return root_done(L, lua_pcallk(L, arguments, LUA_MULTRET, 2, 0, root_done), 0);
}

/* -------- tostring without addresses -------- */

int spell_tostring(lua_State* L) {
  switch (lua_type(L, 1)) {
    case LUA_TNONE: return luaL_argerror(L, 1, "value expected");
    case LUA_TSTRING: lua_settop(L, 1); return 1;
    case LUA_TNIL: lua_pushstring(L, "nil"); return 1;
    case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false"); return 1;
    default: break;
  }
  lua_settop(L, 1);
  if (lua_getmetatable(L, 1)) {
    lua_pushstring(L, "__tostring");
    if (lua_rawget(L, 2) != LUA_TNIL) {
      lua_pushvalue(L, 1);
      lua_callk(L, 1, 1, 0, NULL);
      if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) return luaL_error(L, "'__tostring' must return a string");
      lua_tolstring(L, -1, NULL);
      return 1;
    }
    lua_pop(L, 1);
    lua_pushstring(L, "__name");
    if (lua_rawget(L, 2) == LUA_TSTRING) lua_replace(L, 2);
    else lua_settop(L, 1);
  }
  if (lua_type(L, 1) == LUA_TNUMBER) {
    lua_settop(L, 1);
    lua_tolstring(L, 1, NULL);
    return 1;
  }
  const char* name = lua_gettop(L) >= 2 && lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, NULL) : lua_typename(L, lua_type(L, 1));
  lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_ids);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_rawgeti(L, -1, 1);
    int64_t id = lua_tointegerx(L, -1, NULL) + 1;
    lua_pop(L, 1);
    lua_pushinteger(L, id);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, id);
    lua_rawset(L, -3);
    lua_pushinteger(L, id);
  }
  lua_pushfstring(L, "%s: %d", name, (int)lua_tointegerx(L, -1, NULL));
  return 1;
}
