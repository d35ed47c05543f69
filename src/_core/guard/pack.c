/* Lua values to MessagePack, by the one conversion of the house; the other direction is in unpack.c.
 *
 *   nil, JSON.null      nil            table with keys 1..n    array
 *   boolean             boolean        tagged array            array
 *   integer, float      int, float64   any other table         map with text keys
 *   string              str if UTF-8, else bin
 *   function            ext 16, its number in the table of references (or refused)
 *   API handle          str, its id or name
 *
 * Traversal is raw except `__tojson`. Nothing is dropped: what has no form raises `validation` with its path. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

typedef struct level {
    const void* table;
    int index; /* of the table on the Lua stack */
    int array;
    int64_t position; /* of the element in work, from 0, in an array */
} level;

typedef struct packer {
    lua_State* L;
    spell_guard* g;
    spell_buffer* b;
    int functions;
    int depth;
    level levels[SPELL_DEPTH + 1];
} packer;

static void pack_value(packer* p, int index);

static void put_byte(packer* p, int byte) {
    unsigned char c = (unsigned char)byte;
    spell_put(p->L, p->b, &c, 1);
}

static void put_sized(packer* p, int head, uint64_t value, int bytes) {
    unsigned char out[9] = {(unsigned char)head};
    for (int i = 0; i < bytes; i++) out[1 + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    spell_put(p->L, p->b, out, (size_t)bytes + 1);
}

static void put_head(packer* p, uint64_t n, int fix, int fix_limit, int head16) {
    if (n < (uint64_t)fix_limit)
        put_byte(p, fix | (int)n);
    else if (n <= 0xffff)
        put_sized(p, head16, n, 2);
    else
        put_sized(p, head16 + 1, n, 4);
}

void spell_put_array(lua_State* L, spell_buffer* b, uint32_t n) {
    packer p = {.L = L, .b = b};
    put_head(&p, n, 0x90, 16, 0xdc);
}

static void put_integer(packer* p, int64_t v) {
    if (v >= 0 && v < 128)
        put_byte(p, (int)v);
    else if (v < 0 && v >= -32)
        put_byte(p, 0xe0 | (int)(v & 0x1f));
    else if (v >= INT32_MIN && v <= INT32_MAX)
        put_sized(p, 0xd2, (uint32_t)(int32_t)v, 4);
    else
        put_sized(p, 0xd3, (uint64_t)v, 8);
}

static void put_float(packer* p, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    put_sized(p, 0xcb, bits, 8);
}

/* Is it UTF-8: no overlong form, no surrogate, nothing past U+10FFFF. */
static int is_utf8(const unsigned char* s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        while (i + 8 <= n && (memcpy(&word, s + i, 8), (word & 0x8080808080808080u) == 0)) i += 8;
        if (i >= n) break;
        unsigned char c = s[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || i + (size_t)more >= n) return 0;
        unsigned char d = s[i + 1];
        if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f))
            return 0;
        for (int k = 1; k <= more; k++)
            if ((s[i + (size_t)k] & 0xc0) != 0x80) return 0;
        i += (size_t)more + 1;
    }
    return 1;
}

static void put_text(packer* p, const char* s, size_t n) {
    if (n > 0xffffffffu) luaL_error(p->L, "string is too long to convert");
    if (is_utf8((const unsigned char*)s, n)) {
        if (n >= 32 && n <= 0xff)
            put_sized(p, 0xd9, n, 1);
        else
            put_head(p, n, 0xa0, 32, 0xda);
    } else if (n <= 0xff) {
        put_sized(p, 0xc4, n, 1);
    } else {
        put_head(p, n, 0, 0, 0xc5);
    }
    spell_put(p->L, p->b, s, n);
}

/* Write the path of the value in work, `$.a.b[3]`, from the keys that the open traversals hold on the Lua stack. */
static void path_of(packer* p, char* out, size_t capacity) {
    size_t n = (size_t)snprintf(out, capacity, "$");
    for (int i = 0; i < p->depth && n + 2 < capacity; i++) {
        level* at = &p->levels[i];
        if (at->array) {
            n += (size_t)snprintf(out + n, capacity - n, "[%lld]", (long long)at->position);
            continue;
        }
        int key = at->index + 1;
        if (lua_type(p->L, key) == LUA_TSTRING)
            n += (size_t)snprintf(out + n, capacity - n, ".%.80s", lua_tolstring(p->L, key, NULL));
        else if (lua_isinteger(p->L, key))
            n += (size_t)snprintf(out + n, capacity - n, ".%lld", (long long)lua_tointegerx(p->L, key, NULL));
        else
            n += (size_t)snprintf(out + n, capacity - n, ".?");
    }
}

static void refuse(packer* p, const char* what) {
    char path[512], message[640];
    path_of(p, path, sizeof path);
    snprintf(message, sizeof message, "%s at %s", what, path);
    spell_raise(p->L, "validation", message, "path", path);
}

static void refuse_type(packer* p, const char* verb, int type) {
    char what[64];
    snprintf(what, sizeof what, "%s %s", verb, lua_typename(p->L, type));
    refuse(p, what);
}

static void pack_function(packer* p, int index) {
    if (!p->functions) refuse(p, "cannot convert function");
    lua_State* L = p->L;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_refs);
    lua_pushvalue(L, index);
    uint32_t number = (uint32_t)luaL_ref(L, -2);
    lua_pop(L, 1);
    put_byte(p, 0xd6); /* fixext 4 */
    put_byte(p, 16);
    unsigned char bytes[4] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
                              (unsigned char)(number >> 8), (unsigned char)number};
    spell_put(L, p->b, bytes, 4);
}

/* Floats print with 14 digits: does another float key of the table print like this one? Only asked when digits got
 * lost. */
static int has_twin(packer* p, int table, int key, const char* text) {
    lua_State* L = p->L;
    double mine = lua_tonumberx(L, key, NULL), read = strtod(text, NULL);
    if (read == mine) return 0;
    int64_t steps = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        double other = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumberx(L, -1, NULL) : mine;
        char digits[40];
        if (other != mine && fabs(other - mine) <= fabs(mine) * 1e-12) {
            snprintf(digits, sizeof digits, "%.14g", other);
            if (strcmp(digits, text) == 0) return 1;
        }
        if ((++steps & 0xfff) == 0) spell_check(L, p->g, 0x1000);
    }
    return 0;
}

static void pack_key(packer* p, int table, int key) {
    lua_State* L = p->L;
    size_t n;
    int type = lua_type(L, key);
    if (type == LUA_TSTRING) {
        const char* s = lua_tolstring(L, key, &n);
        if (!is_utf8((const unsigned char*)s, n)) refuse(p, "cannot convert a key that is not UTF-8");
        put_text(p, s, n);
        return;
    }
    if (type != LUA_TNUMBER && type != LUA_TBOOLEAN) refuse_type(p, "cannot convert a key of type", type);
    lua_pushcclosure(L, spell_tostring, 0);
    lua_pushvalue(L, key);
    lua_callk(L, 1, 1, 0, NULL);
    const char* text = lua_tolstring(L, -1, &n);
    lua_pushvalue(L, -1);
    int taken = lua_rawget(L, table) != LUA_TNIL;
    lua_pop(L, 1);
    if (taken || (type == LUA_TNUMBER && !lua_isinteger(L, key) && has_twin(p, table, key, text)))
        refuse(p, "two keys have the same text");
    put_text(p, text, n);
    lua_pop(L, 1);
}

static void open_table(packer* p, int index) {
    const void* table = lua_topointer(p->L, index);
    for (int i = 0; i < p->depth; i++)
        if (p->levels[i].table == table) refuse(p, "cycle");
    if (p->depth >= SPELL_DEPTH) refuse(p, "nested deeper than 128 levels");
    if (!lua_checkstack(p->L, 12)) luaL_error(p->L, "stack overflow (values are nested too deeply)");
    level* at = &p->levels[p->depth];
    at->table = table;
    at->index = lua_gettop(p->L);
    at->array = 0;
    at->position = 0;
}

/* The number of entries, and whether their keys are exactly 1..n. */
static uint64_t count_entries(lua_State* L, int index, int* sequence) {
    uint64_t count = 0, n = lua_rawlen(L, index);
    int only_positions = 1;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        count++;
        if (only_positions) {
            int64_t at = lua_isinteger(L, -1) ? lua_tointegerx(L, -1, NULL) : 0;
            only_positions = at >= 1 && (uint64_t)at <= n;
        }
    }
    *sequence = only_positions && count == n && n > 0;
    return count;
}

static void pack_array(packer* p, int index, uint64_t n) {
    open_table(p, index);
    p->levels[p->depth++].array = 1;
    if (n > 0xffffffffu) refuse(p, "too many elements");
    put_head(p, n, 0x90, 16, 0xdc);
    for (uint64_t i = 1; i <= n; i++) {
        p->levels[p->depth - 1].position = (int64_t)i - 1;
        lua_rawgeti(p->L, index, (int64_t)i);
        pack_value(p, lua_gettop(p->L));
        lua_pop(p->L, 1);
    }
    p->depth--;
}

static void pack_map(packer* p, int index, uint64_t n) {
    open_table(p, index);
    p->depth++;
    put_head(p, n, 0x80, 16, 0xde);
    lua_pushnil(p->L);
    while (lua_next(p->L, index)) {
        int top = lua_gettop(p->L);
        pack_key(p, index, top - 1);
        pack_value(p, top);
        lua_pop(p->L, 1);
    }
    p->depth--;
}

/* Tables with a metatable of ours, or with `__tojson`. Returns 0 when the table is an ordinary one. */
static int pack_special(packer* p, int index) {
    lua_State* L = p->L;
    if (!lua_getmetatable(L, index)) return 0;
    const void* tag = lua_topointer(L, -1);
    if (tag == p->g->null_tag) {
        lua_pop(L, 1);
        put_byte(p, 0xc0);
        return 1;
    }
    if (tag == p->g->array_tag || tag == p->g->object_tag) {
        lua_pop(L, 1);
        int sequence;
        uint64_t n = count_entries(L, index, &sequence);
        if (tag == p->g->array_tag && (sequence || n == 0))
            pack_array(p, index, n);
        else
            pack_map(p, index, n);
        return 1;
    }
    lua_pushstring(L, "__handle");
    if (lua_rawget(L, -2) != LUA_TNIL) {
        size_t n;
        lua_pop(L, 2);
        lua_pushcclosure(L, spell_tostring, 0);
        lua_pushvalue(L, index);
        lua_callk(L, 1, 1, 0, NULL);
        const char* text = lua_tolstring(L, -1, &n);
        put_text(p, text, n);
        lua_pop(L, 1);
        return 1;
    }
    lua_pop(L, 1);
    lua_pushstring(L, "__tojson");
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 2);
        return 0;
    }
    lua_remove(L, -2);
    open_table(p, index);
    p->levels[p->depth++].array = 1;
    lua_pushvalue(L, index);
    lua_callk(L, 1, 1, 0, NULL);
    pack_value(p, lua_gettop(L));
    lua_pop(L, 1);
    p->depth--;
    return 1;
}

static void pack_value(packer* p, int index) {
    lua_State* L = p->L;
    size_t n;
    const char* s;
    int sequence;
    switch (lua_type(L, index)) {
        case LUA_TNONE:
        case LUA_TNIL: put_byte(p, 0xc0); return;
        case LUA_TBOOLEAN: put_byte(p, lua_toboolean(L, index) ? 0xc3 : 0xc2); return;
        case LUA_TNUMBER:
            if (lua_isinteger(L, index))
                put_integer(p, lua_tointegerx(L, index, NULL));
            else
                put_float(p, lua_tonumberx(L, index, NULL));
            return;
        case LUA_TSTRING:
            s = lua_tolstring(L, index, &n);
            put_text(p, s, n);
            return;
        case LUA_TTABLE:
            if (!lua_checkstack(L, 12)) luaL_error(L, "stack overflow (values are nested too deeply)");
            if (pack_special(p, index)) return;
            n = count_entries(L, index, &sequence);
            if (sequence)
                pack_array(p, index, n);
            else
                pack_map(p, index, n);
            return;
        case LUA_TFUNCTION: pack_function(p, index); return;
        default: refuse_type(p, "cannot convert", lua_type(L, index));
    }
}

void spell_pack(lua_State* L, spell_guard* g, spell_buffer* b, int index, int functions) {
    packer p;
    p.L = L;
    p.g = g;
    p.b = b;
    p.functions = functions;
    p.depth = 0;
    pack_value(&p, lua_absindex(L, index));
}
