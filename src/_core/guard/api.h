/* The part of the Lua 5.4 C API that the guard uses, as function pointers found in the loaded lupa.lua54 binary.
 * No Lua headers and no second copy of Lua: the state belongs to lupa, so the functions must be lupa's own.
 * The constants are those of lua.h 5.4; `spell_open` refuses any other version. */
#ifndef SPELL_API_H
#define SPELL_API_H

#include <stddef.h>
#include <stdint.h>

#include "control.h"

typedef struct lua_State lua_State;
typedef struct lua_Debug lua_Debug;
typedef intptr_t lua_KContext;
typedef int (*lua_CFunction)(lua_State*);
typedef int (*lua_KFunction)(lua_State*, int, lua_KContext);
typedef void (*lua_Hook)(lua_State*, lua_Debug*);
typedef void* (*lua_Alloc)(void*, void*, size_t, size_t);

enum { LUA_OK = 0, LUA_YIELD = 1, LUA_ERRRUN = 2, LUA_ERRSYNTAX = 3, LUA_ERRMEM = 4, LUA_ERRERR = 5 };
enum {
    LUA_TNONE = -1,
    LUA_TNIL,
    LUA_TBOOLEAN,
    LUA_TLIGHTUSERDATA,
    LUA_TNUMBER,
    LUA_TSTRING,
    LUA_TTABLE,
    LUA_TFUNCTION,
    LUA_TUSERDATA,
    LUA_TTHREAD
};
enum { LUA_MULTRET = -1, LUA_MASKCOUNT = 8, LUAI_MAXSTACK = 1000000, LUA_REGISTRYINDEX = -LUAI_MAXSTACK - 1000 };
#define upvalue(i) (LUA_REGISTRYINDEX - (i))

#define SPELL_API(X)                                                             \
    X(double, lua_version, (lua_State*))                                         \
    X(void, lua_sethook, (lua_State*, lua_Hook, int, int))                       \
    X(lua_Alloc, lua_getallocf, (lua_State*, void**))                            \
    X(void, lua_setallocf, (lua_State*, lua_Alloc, void*))                       \
    X(int, lua_gc, (lua_State*, int, ...))                                       \
    X(int, lua_gettop, (lua_State*))                                             \
    X(void, lua_settop, (lua_State*, int))                                       \
    X(int, lua_absindex, (lua_State*, int))                                      \
    X(void, lua_pushvalue, (lua_State*, int))                                    \
    X(void, lua_rotate, (lua_State*, int, int))                                  \
    X(void, lua_copy, (lua_State*, int, int))                                    \
    X(int, lua_checkstack, (lua_State*, int))                                    \
    X(void, lua_xmove, (lua_State*, lua_State*, int))                            \
    X(int, lua_type, (lua_State*, int))                                          \
    X(const char*, lua_typename, (lua_State*, int))                              \
    X(int, lua_isinteger, (lua_State*, int))                                     \
    X(int, lua_iscfunction, (lua_State*, int))                                   \
    X(int, lua_toboolean, (lua_State*, int))                                     \
    X(int64_t, lua_tointegerx, (lua_State*, int, int*))                          \
    X(double, lua_tonumberx, (lua_State*, int, int*))                            \
    X(const char*, lua_tolstring, (lua_State*, int, size_t*))                    \
    X(const void*, lua_topointer, (lua_State*, int))                             \
    X(lua_State*, lua_tothread, (lua_State*, int))                               \
    X(uint64_t, lua_rawlen, (lua_State*, int))                                   \
    X(int, lua_rawequal, (lua_State*, int, int))                                 \
    X(void, lua_pushnil, (lua_State*))                                           \
    X(void, lua_pushboolean, (lua_State*, int))                                  \
    X(void, lua_pushinteger, (lua_State*, int64_t))                              \
    X(void, lua_pushnumber, (lua_State*, double))                                \
    X(const char*, lua_pushlstring, (lua_State*, const char*, size_t))           \
    X(const char*, lua_pushstring, (lua_State*, const char*))                    \
    X(const char*, lua_pushfstring, (lua_State*, const char*, ...))              \
    X(void, lua_pushcclosure, (lua_State*, lua_CFunction, int))                  \
    X(int, lua_pushthread, (lua_State*))                                         \
    X(lua_State*, lua_newthread, (lua_State*))                                   \
    X(void, lua_createtable, (lua_State*, int, int))                             \
    X(int, lua_next, (lua_State*, int))                                          \
    X(int, lua_rawget, (lua_State*, int))                                        \
    X(int, lua_rawgeti, (lua_State*, int, int64_t))                              \
    X(int, lua_rawgetp, (lua_State*, int, const void*))                          \
    X(void, lua_rawset, (lua_State*, int))                                       \
    X(void, lua_rawseti, (lua_State*, int, int64_t))                             \
    X(void, lua_rawsetp, (lua_State*, int, const void*))                         \
    X(int, lua_getmetatable, (lua_State*, int))                                  \
    X(int, lua_setmetatable, (lua_State*, int))                                  \
    X(void, lua_callk, (lua_State*, int, int, lua_KContext, lua_KFunction))      \
    X(int, lua_pcallk, (lua_State*, int, int, int, lua_KContext, lua_KFunction)) \
    X(int, lua_yieldk, (lua_State*, int, lua_KContext, lua_KFunction))           \
    X(int, lua_resume, (lua_State*, lua_State*, int, int*))                      \
    X(int, lua_status, (lua_State*))                                             \
    X(int, lua_isyieldable, (lua_State*))                                        \
    X(int, lua_error, (lua_State*))                                              \
    X(int, lua_getstack, (lua_State*, int, lua_Debug*))                          \
    X(int, luaL_ref, (lua_State*, int))                                          \
    X(void, luaL_unref, (lua_State*, int, int))                                  \
    X(int, luaL_error, (lua_State*, const char*, ...))                           \
    X(int, luaL_argerror, (lua_State*, int, const char*))                        \
    X(int, luaL_typeerror, (lua_State*, int, const char*))                       \
    X(void, luaL_checkany, (lua_State*, int))                                    \
    X(lua_CFunction, lua_tocfunction, (lua_State*, int))                         \
    X(int, lua_compare, (lua_State*, int, int, int))                             \
    X(void, luaL_checktype, (lua_State*, int, int))                              \
    X(const char*, luaL_checklstring, (lua_State*, int, size_t*))                \
    X(int64_t, luaL_checkinteger, (lua_State*, int))                             \
    X(int64_t, luaL_optinteger, (lua_State*, int, int64_t))                      \
    X(void, luaL_traceback, (lua_State*, lua_State*, const char*, int))          \
    X(void, luaL_where, (lua_State*, int))                                       \
    X(int, lua_closethread, (lua_State*, lua_State*))

#define SPELL_DECLARE(result, name, args) extern result(*name) args;
SPELL_API(SPELL_DECLARE)
#undef SPELL_DECLARE

#define lua_pop(L, n) lua_settop(L, -(n) - 1)
#define lua_insert(L, i) lua_rotate(L, (i), 1)
#define lua_remove(L, i) (lua_rotate(L, (i), -1), lua_pop(L, 1))
#define lua_replace(L, i) (lua_copy(L, -1, (i)), lua_pop(L, 1))
#define lua_isnil(L, i) (lua_type(L, (i)) == LUA_TNIL)
#define lua_istable(L, i) (lua_type(L, (i)) == LUA_TTABLE)

/* Reusable bytes. Buffers live in the guard and are handed out like a stack, because packing may call `__tojson`,
 * which may call the host again; an error that jumps over the giving back is made good by `spell_enter`. */
typedef struct spell_buffer {
    char* data;
    size_t size, capacity;
    int failed;
} spell_buffer;

enum { SPELL_BUFFERS = 24, SPELL_DEPTH = 128 };

/* What the guard keeps for one Lua state besides the shared block. `control` is first: the two share their address. */
typedef struct spell_guard {
    spell_control* control;
    spell_buffer buffers[SPELL_BUFFERS];
    int buffers_used, plain_results;
    const void *array_tag, *object_tag, *null_tag, *error_tag;
} spell_guard;

spell_guard* spell_of(lua_State* L);
int64_t spell_now(void);
/* Raise what was tripped, or return when nothing was or when <close> variables still have time. */
void spell_check(lua_State* L, spell_guard* g, int64_t steps);
/* Raise an API error table of `kind`; details get `key` = value when key is not NULL. Never returns. */
int spell_raise(lua_State* L, const char* kind, const char* message, const char* key, const char* value);

spell_buffer* spell_buffer_take(lua_State* L, spell_guard* g);
void spell_buffer_give(spell_guard* g);
void spell_put(lua_State* L, spell_buffer* b, const void* data, size_t n);

/* Registry slots, by address: only their addresses matter. */
extern char spell_key_guard, spell_key_host, spell_key_refs, spell_key_library, spell_key_ids, spell_key_roots,
    spell_key_waiting, spell_key_traceback;
/* Push library function `name` of the prelude. */
void spell_library(lua_State* L, const char* name);

void spell_pack(lua_State* L, spell_guard* g, spell_buffer* b, int index, int functions);
void spell_put_array(lua_State* L, spell_buffer* b, uint32_t n);
int spell_unpack(lua_State* L, spell_guard* g, const char* data, size_t size);

/* Lua code runs from here on: the allocator may refuse again. */
void spell_enter(spell_guard* g);
/* Results of the host's answer on top of the stack, or its error raised. */
int spell_finish_call(lua_State* L, spell_guard* g);
/* Yield the number on top to the driver; `resumed` goes on with the answer on top. */
int spell_yield_wait(lua_State* L, spell_guard* g, lua_KContext context, lua_KFunction resumed);
int spell_is_memory_error(lua_State* L, int status);
/* The error on top becomes what a script may catch; a tripped guard raises it further. */
void spell_settle_error(lua_State* L, spell_guard* g, int status);
int spell_in_set(lua_State* L, const void* key, lua_State* co);
void spell_put_in_set(lua_State* L, const void* key, lua_State* co, int member);

int spell_tostring(lua_State* L);
int spell_invoke(lua_State* L);
int spell_function(lua_State* L);
int spell_root(lua_State* L);
int spell_plain(lua_State* L);
int spell_stock(lua_State* L);
int spell_front(lua_State* L);
int spell_less(lua_State* L);
int spell_pcall(lua_State* L);
int spell_xpcall(lua_State* L);
int spell_co_create(lua_State* L);
int spell_co_resume(lua_State* L);
int spell_co_wrap(lua_State* L);
int spell_co_yield(lua_State* L);
int spell_co_running(lua_State* L);
int spell_co_status(lua_State* L);
int spell_co_close(lua_State* L);
int spell_find(lua_State* L);
int spell_match(lua_State* L);
int spell_gmatch(lua_State* L);
int spell_gsub(lua_State* L);
int spell_match_at(lua_State* L);

#endif
