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
void spell_enter(spell_guard* g) {
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
int spell_finish_call(lua_State* L, spell_guard* g) {
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
    spell_enter(g);
    return spell_finish_call(L, g);
}

int spell_yield_wait(lua_State* L, spell_guard* g, lua_KContext context, lua_KFunction resumed) {
    if (!lua_isyieldable(L)) {
        lua_pushinteger(L, lua_tointegerx(L, -1, NULL));
        unsigned char packed[11] = {0x91, 0xd3};
        uint64_t token = (uint64_t)lua_tointegerx(L, -1, NULL);
        for (int i = 0; i < 8; i++) packed[2 + i] = (unsigned char)(token >> (56 - 8 * i));
        call_host(L, g, CANCEL_WAIT, (const char*)packed, 10);
        return spell_raise(L, "script", "cannot wait here: inside a metamethod or callback that Lua calls from C", NULL,
                           NULL);
    }
    g->control->waiting = 1;
    g->control->outside = 1;
    return lua_yieldk(L, 1, context, resumed);
}

/* Upvalues: method number, API table (its first argument is dropped when it is this table) or nil, functions allowed.
 */
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
    if (lua_type(L, -1) == LUA_TNUMBER) return spell_yield_wait(L, g, 0, invoke_resumed);
    return spell_finish_call(L, g);
}

/* api(method, table or nil, functions allowed) -> function. */
int spell_function(lua_State* L) {
    lua_settop(L, 3);
    lua_pushcclosure(L, spell_invoke, 3);
    return 1;
}

/* -------- protected calls -------- */

int spell_is_memory_error(lua_State* L, int status) {
    if (status == LUA_ERRMEM) return 1;
    size_t n;
    if (lua_type(L, -1) != LUA_TSTRING) return 0;
    const char* s = lua_tolstring(L, -1, &n);
    return n == 17 && memcmp(s, "not enough memory", 17) == 0;
}

/* The error on top becomes what a script may catch; a tripped guard raises it further. */
void spell_settle_error(lua_State* L, spell_guard* g, int status) {
    spell_enter(g);
    if (__atomic_load_n(&g->control->tripped, __ATOMIC_RELAXED) != SPELL_RUNNING) lua_error(L);
    if (!spell_is_memory_error(L, status)) return;
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
        spell_settle_error(L, spell_of(L), status);
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
    if (lua_type(L, -1) != LUA_TSTRING || spell_is_memory_error(L, status)) return lua_error(L);
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
