/* The first function of a task's coroutine, and `tostring` without addresses. */
#include <string.h>

#include "api.h"

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
    int functions = status == 'E' || !g->plain_results;
    g->plain_results = 0;
    for (int i = first; i <= last; i++) spell_pack(L, g, b, i, functions);
    lua_pushlstring(L, b->data, b->size);
    spell_buffer_give(g);
    return 1;
}

/* plain(...) -> ...; the results of the task that ends with this call go to the host without functions. */
int spell_plain(lua_State* L) {
    spell_of(L)->plain_results = 1;
    return lua_gettop(L);
}

static int pack_results(lua_State* L) {
    spell_guard* g = spell_of(L);
    spell_enter(g);
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
    if (spell_is_memory_error(L, status)) {
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
    spell_put_in_set(L, &spell_key_roots, L, 1);
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
    spell_enter(g);
    return root_done(L, lua_pcallk(L, arguments, LUA_MULTRET, 2, 0, root_done), 0);
}

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
            if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
                return luaL_error(L, "'__tostring' must return a string");
            lua_tolstring(L, -1, NULL);
            return 1;
        }
        lua_pop(L, 1);
        lua_pushstring(L, "__name");
        if (lua_rawget(L, 2) == LUA_TSTRING)
            lua_replace(L, 2);
        else
            lua_settop(L, 1);
    }
    if (lua_type(L, 1) == LUA_TNUMBER) {
        lua_settop(L, 1);
        lua_tolstring(L, 1, NULL);
        return 1;
    }
    const char* name = lua_gettop(L) >= 2 && lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, NULL)
                                                                           : lua_typename(L, lua_type(L, 1));
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
