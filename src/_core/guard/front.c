/* Functions of the standard library as scripts see them.
 *
 * Plain arguments go to the stock C function in this very frame, so that its errors carry the names and positions of
 * stock Lua, in a tail call too. What the rule finds unusual goes to a Lua function of the prelude: there callbacks and
 * metamethods may wait, and the count hook sees every turn of a loop. */
#include <string.h>

#include "api.h"

enum rule {
    RULE_TABLE,
    RULE_MOVE,
    RULE_CONCAT,
    RULE_SORT,
    RULE_FORMAT,
    RULE_GSUB,
    RULE_METATABLE,
    RULE_LOAD,
    RULE_TEXTS
};
static const char* const RULES[] = {"table", "move", "concat", "sort", "format", "gsub", "metatable", "load", "texts"};
enum { LONG_MOVE = 100000, LONG_SORT = 200000 };

/* A table whose metatable is not one of the array and object tags: its metamethods may run. */
static int is_foreign(lua_State* L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return 0;
    spell_guard* g = spell_of(L);
    const void* tag = lua_topointer(L, -1);
    lua_pop(L, 1);
    return tag != g->array_tag && tag != g->object_tag;
}

static int is_long_move(lua_State* L) {
    int64_t from = lua_tointegerx(L, 2, NULL), to = lua_tointegerx(L, 3, NULL), at = lua_tointegerx(L, 4, NULL);
    if (!lua_istable(L, 1) || to <= from || (uint64_t)to - (uint64_t)from < LONG_MOVE) return 0;
    if (from <= 0 && to >= INT64_MAX + from) return 0; /* the stock function refuses these two */
    return at <= INT64_MAX - (to - from);
}

/* The first element that is neither string nor number decides: a table may have a text, anything else is an error. */
static int has_handles(lua_State* L) {
    if (!lua_istable(L, 1)) return 0;
    if (lua_istable(L, 2)) return 1;
    int given = lua_gettop(L) >= 3 && !lua_isnil(L, 3);
    int64_t i = given ? lua_tointegerx(L, 3, NULL) : 1;
    int64_t last = lua_gettop(L) >= 4 && !lua_isnil(L, 4) ? lua_tointegerx(L, 4, NULL) : (int64_t)lua_rawlen(L, 1);
    for (; i <= last; i++) {
        int type = lua_rawgeti(L, 1, i);
        lua_pop(L, 1);
        if (type == LUA_TTABLE) return 1;
        if ((type != LUA_TSTRING && type != LUA_TNUMBER) || i == INT64_MAX) return 0;
    }
    return 0;
}

/* The stock sort may do it: nothing to call, and short enough to run without a look at the clock. */
static int sorts_plainly(lua_State* L) {
    if (!lua_istable(L, 1)) return 1;
    uint64_t n = lua_rawlen(L, 1);
    if (n < 2) return 1;
    if (lua_gettop(L) >= 2 && !lua_isnil(L, 2)) return lua_type(L, 2) != LUA_TFUNCTION;
    if (n > LONG_SORT) return 0;
    int first = LUA_TNIL;
    for (uint64_t i = 1; i <= n; i++) {
        int type = lua_rawgeti(L, 1, (int64_t)i);
        lua_pop(L, 1);
        if (i == 1) first = type;
        if (type != first) return 0;
    }
    return first == LUA_TNUMBER || first == LUA_TSTRING;
}

static int formats_plainly(lua_State* L) {
    size_t n;
    if (lua_type(L, 1) != LUA_TSTRING) return 1;
    for (int i = lua_gettop(L); i > 1; i--) {
        int type = lua_type(L, i);
        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TNIL && type != LUA_TBOOLEAN) return 0;
    }
    const char* form = lua_tolstring(L, 1, &n);
    return memchr(form, 'p', n) == NULL;
}

static int calls_back(lua_State* L) {
    luaL_checklstring(L, 1, NULL);
    luaL_checklstring(L, 2, NULL);
    if (lua_type(L, 3) != LUA_TFUNCTION && !is_foreign(L, 3)) return 0;
    luaL_optinteger(L, 4, 0);
    return 1;
}

static int has_finalizer(lua_State* L) {
    if (!lua_istable(L, 2)) return 0;
    lua_pushstring(L, "__gc");
    int found = lua_rawget(L, 2) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

static int is_unusual(lua_State* L, int rule) {
    int type = lua_type(L, 1);
    switch (rule) {
        case RULE_MOVE: return is_foreign(L, 1) || is_foreign(L, 5) || is_long_move(L);
        case RULE_CONCAT: return is_foreign(L, 1) || has_handles(L);
        case RULE_SORT: return is_foreign(L, 1) || !sorts_plainly(L);
        case RULE_FORMAT: return !formats_plainly(L);
        case RULE_GSUB: return calls_back(L);
        case RULE_METATABLE: return has_finalizer(L);
        case RULE_LOAD: return type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TFUNCTION;
        case RULE_TEXTS:
            luaL_checklstring(L, 1, NULL);
            for (int i = 2; i <= lua_gettop(L); i++) luaL_checklstring(L, i, NULL);
            return 1;
        default: return is_foreign(L, 1);
    }
}

/* Upvalues: stock function, Lua function, rule, whether the Lua function only prepares the arguments of the stock one.
 */
static int prepared(lua_State* L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    if (!lua_toboolean(L, upvalue(4))) return lua_gettop(L);
    return lua_tocfunction(L, upvalue(1))(L);
}

static int front(lua_State* L) {
    if (!is_unusual(L, (int)lua_tointegerx(L, upvalue(3), NULL))) return lua_tocfunction(L, upvalue(1))(L);
    lua_checkstack(L, 2);
    lua_pushvalue(L, upvalue(2));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, prepared);
    return prepared(L, LUA_OK, 0);
}

/* front(stock C function, Lua function, rule, prepares?) -> function. */
int spell_front(lua_State* L) {
    lua_settop(L, 4);
    const char* wanted = luaL_checklstring(L, 3, NULL);
    if (lua_tocfunction(L, 1) == NULL) return luaL_argerror(L, 1, "C function expected");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
        if (strcmp(RULES[i], wanted) != 0) continue;
        lua_pushinteger(L, (int64_t)i);
        lua_replace(L, 3);
        lua_pushcclosure(L, front, 4);
        return 1;
    }
    return luaL_argerror(L, 3, "unknown rule");
}

/* less(a, b) for values without metamethods: the error of the comparison, without the position of a Lua line. */
int spell_less(lua_State* L) {
    lua_pushboolean(L, lua_compare(L, 1, 2, 1));
    return 1;
}
