/* MessagePack to Lua values. The bytes come from the host's own encoder; still, every length is checked before use. */
#include <string.h>

#include "api.h"

typedef struct reader {
    lua_State* L;
    spell_guard* g;
    const unsigned char *at, *end;
} reader;

static void read_value(reader* r, int inside, int depth);

static void need(reader* r, uint64_t n) {
    if ((uint64_t)(r->end - r->at) < n) luaL_error(r->L, "internal error: the host sent a truncated value");
}

static uint64_t read_uint(reader* r, int bytes) {
    need(r, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | *r->at++;
    return v;
}

static void push_bytes(reader* r, uint64_t n) {
    need(r, n);
    lua_pushlstring(r->L, (const char*)r->at, n);
    r->at += n;
}

static void push_array(reader* r, uint64_t n, int depth) {
    need(r, n);
    lua_createtable(r->L, n > 1 << 20 ? 1 << 20 : (int)n, 0);
    for (uint64_t i = 1; i <= n; i++) {
        read_value(r, 1, depth);
        lua_rawseti(r->L, -2, (int64_t)i);
    }
    lua_rawgetp(r->L, LUA_REGISTRYINDEX, r->g->array_tag);
    lua_setmetatable(r->L, -2);
}

static void push_map(reader* r, uint64_t n, int depth) {
    need(r, n * 2);
    lua_createtable(r->L, 0, n > 1 << 20 ? 1 << 20 : (int)n);
    for (uint64_t i = 0; i < n; i++) {
        read_value(r, 1, depth);
        read_value(r, 1, depth);
        lua_rawset(r->L, -3);
    }
}

/* Handles and tagged values: a library function of the prelude makes the table from the parts. */
static void push_made(reader* r, const char* function, uint64_t n, int depth) {
    lua_State* L = r->L;
    need(r, n);
    const unsigned char* end = r->at + n;
    spell_library(L, function);
    read_value(r, 0, depth);
    lua_callk(L, 1, 1, 0, NULL);
    if (r->at != end) luaL_error(L, "internal error: the host sent a malformed value");
}

static void push_big(reader* r, uint64_t n) {
    need(r, n);
    double v = 0;
    int negative = n > 0 && r->at[0] != 0;
    for (uint64_t i = 1; i < n; i++) v = v * 256 + r->at[i];
    r->at += n;
    lua_pushnumber(r->L, negative ? -v : v);
}

static void push_ext(reader* r, uint64_t n, int depth) {
    int code = (signed char)read_uint(r, 1);
    switch (code) {
        case 2: push_big(r, n); return;
        case 16:
            lua_rawgetp(r->L, LUA_REGISTRYINDEX, &spell_key_refs);
            lua_rawgeti(r->L, -1, (int64_t)read_uint(r, 4));
            lua_remove(r->L, -2);
            return;
        case 17: push_made(r, "make_handle", n, depth); return;
        case 18: push_made(r, "make_tagged", n, depth); return;
        default: luaL_error(r->L, "internal error: the host sent an unknown kind of value (%d)", code);
    }
}

static void push_nil(reader* r, int inside) {
    if (inside)
        lua_rawgetp(r->L, LUA_REGISTRYINDEX, r->g->null_tag);
    else
        lua_pushnil(r->L);
}

static void push_float(reader* r, int bytes) {
    uint64_t bits = read_uint(r, bytes);
    double v;
    if (bytes == 8) {
        memcpy(&v, &bits, 8);
    } else {
        uint32_t narrow = (uint32_t)bits;
        float f;
        memcpy(&f, &narrow, 4);
        v = f;
    }
    lua_pushnumber(r->L, v);
}

static void push_unsigned(reader* r, int bytes) {
    uint64_t v = read_uint(r, bytes);
    if (v > INT64_MAX)
        lua_pushnumber(r->L, (double)v);
    else
        lua_pushinteger(r->L, (int64_t)v);
}

static void push_signed(reader* r, int bytes) {
    uint64_t v = read_uint(r, bytes);
    int shift = 64 - 8 * bytes;
    lua_pushinteger(r->L, (int64_t)(v << shift) >> shift);
}

static void read_wide(reader* r, int head, int inside, int depth) {
    switch (head) {
        case 0xc0: push_nil(r, inside); return;
        case 0xc2: lua_pushboolean(r->L, 0); return;
        case 0xc3: lua_pushboolean(r->L, 1); return;
        case 0xc4:
        case 0xc5:
        case 0xc6: push_bytes(r, read_uint(r, 1 << (head - 0xc4))); return;
        case 0xc7:
        case 0xc8:
        case 0xc9: push_ext(r, read_uint(r, 1 << (head - 0xc7)), depth); return;
        case 0xca: push_float(r, 4); return;
        case 0xcb: push_float(r, 8); return;
        case 0xcc:
        case 0xcd:
        case 0xce:
        case 0xcf: push_unsigned(r, 1 << (head - 0xcc)); return;
        case 0xd0:
        case 0xd1:
        case 0xd2:
        case 0xd3: push_signed(r, 1 << (head - 0xd0)); return;
        case 0xd4:
        case 0xd5:
        case 0xd6:
        case 0xd7:
        case 0xd8: push_ext(r, 1u << (head - 0xd4), depth); return;
        case 0xd9:
        case 0xda:
        case 0xdb: push_bytes(r, read_uint(r, 1 << (head - 0xd9))); return;
        case 0xdc:
        case 0xdd: push_array(r, read_uint(r, 2 << (head - 0xdc)), depth); return;
        case 0xde:
        case 0xdf: push_map(r, read_uint(r, 2 << (head - 0xde)), depth); return;
        default: luaL_error(r->L, "internal error: the host sent a reserved byte");
    }
}

static void read_value(reader* r, int inside, int depth) {
    if (depth <= 0) luaL_error(r->L, "internal error: the host sent a value nested too deeply");
    if (!lua_checkstack(r->L, 8)) luaL_error(r->L, "stack overflow (values are nested too deeply)");
    int head = (int)read_uint(r, 1);
    if (head < 0x80)
        lua_pushinteger(r->L, head);
    else if (head < 0x90)
        push_map(r, (uint64_t)(head & 0x0f), depth - 1);
    else if (head < 0xa0)
        push_array(r, (uint64_t)(head & 0x0f), depth - 1);
    else if (head < 0xc0)
        push_bytes(r, (uint64_t)(head & 0x1f));
    else if (head >= 0xe0)
        lua_pushinteger(r->L, head - 256);
    else
        read_wide(r, head, inside, depth - 1);
}

/* Push the elements of one packed array as so many values; returns their number. */
int spell_unpack(lua_State* L, spell_guard* g, const char* data, size_t size) {
    reader r = {L, g, (const unsigned char*)data, (const unsigned char*)data + size};
    int head = (int)read_uint(&r, 1);
    uint64_t n = (head & 0xf0) == 0x90 ? (uint64_t)(head & 0x0f) : head == 0xdc ? read_uint(&r, 2) : read_uint(&r, 4);
    if (n > 200 || !lua_checkstack(L, (int)n + 8)) luaL_error(L, "too many results (%d)", (int)n);
    for (uint64_t i = 0; i < n; i++) read_value(&r, 0, SPELL_DEPTH * 2);
    return (int)n;
}
