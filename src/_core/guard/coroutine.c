/* Coroutines of scripts. A wait of the host inside one passes through `resume` and `wrap` up to the driver, and the
 * answer passes back in; the script's own generator never sees it. */
#include <string.h>

#include "api.h"

int spell_in_set(lua_State* L, const void* key, lua_State* co) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    lua_checkstack(co, 2);
    lua_pushthread(co);
    if (co != L) lua_xmove(co, L, 1);
    lua_rawget(L, -2);
    int found = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return found;
}

void spell_put_in_set(lua_State* L, const void* key, lua_State* co, int member) {
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
    if (co == NULL) luaL_typeerror(L, index, "thread");
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
        if (!lua_isyieldable(L)) return spell_yield_wait(L, g, 0, NULL);
        spell_put_in_set(L, &spell_key_waiting, co, 1);
        return lua_yieldk(L, 1, wrapped, resumed);
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        g->buffers_used = buffers;
        spell_settle_error(L, g, status);
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
    if (lua_type(L, -1) == LUA_TSTRING && !spell_in_set(L, &spell_key_waiting, co)) {
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
    spell_put_in_set(L, &spell_key_waiting, co, 0);
    return deliver(L, co, step(L, co, 1, (int)wrapped), (int)wrapped);
}

static int refuse_waiting(lua_State* L, lua_State* co) {
    if (!spell_in_set(L, &spell_key_waiting, co)) return 0;
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
    spell_enter(spell_of(L));
    return spell_finish_call(L, spell_of(L));
}

/* Outside of a coroutine of the script's own, `yield` is a switch point: token 0. */
int spell_co_yield(lua_State* L) {
    if (!spell_in_set(L, &spell_key_roots, L)) return lua_yieldk(L, lua_gettop(L), 0, NULL);
    lua_pushinteger(L, 0);
    return spell_yield_wait(L, spell_of(L), 0, switched);
}

int spell_co_running(lua_State* L) {
    int root = lua_pushthread(L) || spell_in_set(L, &spell_key_roots, L);
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
    else if (spell_in_set(L, &spell_key_waiting, co) || spell_in_set(L, &spell_key_roots, co))
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
    if (strcmp(word, "suspended") != 0 && strcmp(word, "dead") != 0)
        return luaL_error(L, "cannot close a %s coroutine", word);
    int status = lua_closethread(co, L);
    if (status == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    spell_settle_error(L, spell_of(L), status);
    return 2;
}
