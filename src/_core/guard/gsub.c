/* gsub with a string or a plain table; functions are called from the prelude, so that they may wait. */
#include <ctype.h>

#include "match.h"

static void add_text(matcher* m, spell_buffer* b, place s, place e) {
    size_t n;
    const char* r = lua_tolstring(m->L, 3, &n);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)r[i] != ESCAPE) {
            spell_put(m->L, b, r + i, 1);
            continue;
        }
        i++;
        if (i < n && (unsigned char)r[i] == ESCAPE) {
            spell_put(m->L, b, r + i, 1);
        } else if (i < n && r[i] == '0') {
            spell_put(m->L, b, s, (size_t)(e - s));
        } else if (i < n && isdigit((unsigned char)r[i])) {
            size_t k;
            int index = r[i] - '1';
            spell_push_capture(m, index, s, e);
            const char* text = lua_tolstring(m->L, -1, &k);
            spell_put(m->L, b, text, k);
            lua_pop(m->L, 1);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

static int add_lookup(matcher* m, spell_buffer* b, place s, place e) {
    size_t n;
    spell_push_capture(m, 0, s, e);
    lua_rawget(m->L, 3);
    if (!lua_toboolean(m->L, -1)) {
        lua_pop(m->L, 1);
        spell_put(m->L, b, s, (size_t)(e - s));
        return 0;
    }
    int type = lua_type(m->L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        return luaL_error(m->L, "invalid replacement value (a %s)", lua_typename(m->L, type));
    const char* text = lua_tolstring(m->L, -1, &n);
    spell_put(m->L, b, text, n);
    lua_pop(m->L, 1);
    return 1;
}

int spell_gsub(lua_State* L) {
    size_t ns, np;
    const char* s = luaL_checklstring(L, 1, &ns);
    const char* p = luaL_checklstring(L, 2, &np);
    int table = lua_istable(L, 3), type = lua_type(L, 3), anchored = np > 0 && *p == '^';
    int64_t most = luaL_optinteger(L, 4, (int64_t)ns + 1), count = 0;
    if (!table && type != LUA_TSTRING && type != LUA_TNUMBER) return luaL_typeerror(L, 3, "string/function/table");
    lua_settop(L, 4);
    matcher m;
    spell_prepare(&m, L, s, ns, p, np);
    spell_buffer* b = spell_buffer_take(L, m.g);
    place at = (place)s, last = NULL;
    while (count < most) {
        place end = spell_try_at(&m, at, (place)p + anchored);
        if (end != NULL && end != last) {
            count++;
            if (table)
                add_lookup(&m, b, at, end);
            else
                add_text(&m, b, at, end);
            at = last = end;
        } else if (at < m.subject_end) {
            spell_put(L, b, at++, 1);
        } else {
            break;
        }
        if (anchored) break;
    }
    if (at < m.subject_end) spell_put(L, b, at, (size_t)(m.subject_end - at));
    lua_pushlstring(L, b->data == NULL ? "" : b->data, b->size);
    spell_buffer_give(m.g);
    lua_pushinteger(L, count);
    return 2;
}
