/* Entry of the guard: finds the Lua API, counts memory and instructions, and stops what must be stopped.
 *
 * Memory. The allocator refuses, while Lua code runs, whatever would pass the limit: Lua then raises its memory error,
 * which the guard's pcall turns into an API error. While the host runs (`outside` > 0) it never refuses: lupa pushes
 * values outside of any protected call there, and an error would jump over Python frames that hold the GIL.
 *
 * Time. A count hook, inherited by every coroutine, charges one shared budget and reads the clock. Once tripped the
 * error cannot be caught: pcall, xpcall and resume of this unit raise it again. <close> variables get a grace time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"

#define SPELL_DEFINE(result, name, args) result(*name) args;
SPELL_API(SPELL_DEFINE)
#undef SPELL_DEFINE

char spell_key_guard, spell_key_host, spell_key_refs, spell_key_library, spell_key_ids, spell_key_roots,
    spell_key_waiting, spell_key_traceback;

enum { HOOK_PERIOD = 1000 };
static const int64_t GRACE_NS = 100000000, GRACE_INSTRUCTIONS = 1000000;

int64_t spell_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void* counting_alloc(void* ud, void* block, size_t old_size, size_t new_size) {
    spell_control* c = ((spell_guard*)ud)->control;
    int64_t before = block ? (int64_t)old_size : 0;
    if (new_size == 0) {
        __atomic_sub_fetch(&c->memory_used, before, __ATOMIC_RELAXED);
        free(block);
        return NULL;
    }
    int64_t after = c->memory_used + (int64_t)new_size - before;
    int64_t limit = __atomic_load_n(&c->memory_limit, __ATOMIC_RELAXED);
    if (limit > 0 && after > limit && (int64_t)new_size > before && c->outside == 0) return NULL;
    void* fresh = realloc(block, new_size);
    if (fresh == NULL) return NULL;
    __atomic_store_n(&c->memory_used, after, __ATOMIC_RELAXED);
    if (after > c->memory_peak) __atomic_store_n(&c->memory_peak, after, __ATOMIC_RELAXED);
    return fresh;
}

spell_guard* spell_of(lua_State* L) {
    void* ud = NULL;
    lua_getallocf(L, &ud);
    return ud;
}

static int trip(spell_control* c, int reason) {
    int expected = SPELL_RUNNING;
    __atomic_compare_exchange_n(&c->tripped, &expected, reason, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&c->tripped, __ATOMIC_SEQ_CST);
}

void spell_check(lua_State* L, spell_guard* g, int64_t steps) {
    spell_control* c = g->control;
    int64_t used = __atomic_add_fetch(&c->instructions_used, steps, __ATOMIC_RELAXED);
    int tripped = __atomic_load_n(&c->tripped, __ATOMIC_RELAXED);
    int64_t limit = __atomic_load_n(&c->instructions_limit, __ATOMIC_RELAXED);
    int64_t deadline = __atomic_load_n(&c->deadline_ns, __ATOMIC_RELAXED);
    if (!tripped && limit > 0 && used > limit) tripped = trip(c, SPELL_INSTRUCTIONS);
    if (!tripped && deadline > 0 && spell_now() > deadline) tripped = trip(c, SPELL_WALL_TIME);
    if (!tripped) return;
    if (c->grace_ns == 0) {
        c->grace_ns = spell_now() + GRACE_NS;
        c->grace_instructions = used + GRACE_INSTRUCTIONS;
    } else if (used < c->grace_instructions && spell_now() < c->grace_ns) {
        return;
    }
    lua_pushstring(L, "stopped");
    lua_error(L);
}

static void count_hook(lua_State* L, lua_Debug* event) {
    (void)event;
    spell_check(L, spell_of(L), HOOK_PERIOD);
}

spell_buffer* spell_buffer_take(lua_State* L, spell_guard* g) {
    if (g->buffers_used == SPELL_BUFFERS) luaL_error(L, "C stack overflow (values are converted too deeply)");
    spell_buffer* b = &g->buffers[g->buffers_used++];
    b->size = 0;
    return b;
}

void spell_buffer_give(spell_guard* g) {
    spell_buffer* b = &g->buffers[--g->buffers_used];
    if (b->capacity > 1 << 20) {
        free(b->data);
        b->data = NULL;
        b->capacity = 0;
    }
}

void spell_put(lua_State* L, spell_buffer* b, const void* data, size_t n) {
    if (b->size + n > b->capacity) {
        spell_control* c = spell_of(L)->control;
        size_t capacity = b->capacity ? b->capacity * 2 : 256;
        while (capacity < b->size + n) capacity *= 2;
        int64_t limit = __atomic_load_n(&c->memory_limit, __ATOMIC_RELAXED);
        int over = limit > 0 && capacity > 65536 && (int64_t)capacity > limit - c->memory_used;
        char* fresh = over ? NULL : realloc(b->data, capacity);
        if (fresh == NULL) {
            lua_pushstring(L, "not enough memory"); /* without a position: pcall knows it by its text */
            lua_error(L);
        }
        b->data = fresh;
        b->capacity = capacity;
    }
    memcpy(b->data + b->size, data, n);
    b->size += n;
}

void spell_library(lua_State* L, const char* name) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_library);
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

int spell_raise(lua_State* L, const char* kind, const char* message, const char* key, const char* value) {
    lua_checkstack(L, 8);
    spell_library(L, "raise");
    lua_pushstring(L, kind);
    lua_pushstring(L, message);
    lua_createtable(L, 0, 1);
    if (key != NULL) {
        lua_pushstring(L, key);
        lua_pushstring(L, value);
        lua_rawset(L, -3);
    }
    lua_callk(L, 3, 0, 0, NULL);
    return lua_error(L);
}

static int set_host(lua_State* L) {
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spell_key_host);
    return 0;
}

/* library{...}: the prelude hands over the functions that this unit calls, and the tags it tests for. */
static int set_library(lua_State* L) {
    spell_guard* g = spell_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char* names[] = {"array_tag", "object_tag", "null_tag", "error_tag"};
    const void** slots[] = {&g->array_tag, &g->object_tag, &g->null_tag, &g->error_tag};
    for (int i = 0; i < 4; i++) {
        lua_pushstring(L, names[i]);
        lua_rawget(L, 1);
        *slots[i] = lua_topointer(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, *slots[i]);
    }
    lua_pushstring(L, "null");
    lua_rawget(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, g->null_tag); /* what null_tag stands for, not the tag itself */
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spell_key_library);
    return 0;
}

/* ref(function) -> integer; unref(integer): functions the host may call by number. */
static int ref(lua_State* L) {
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_refs);
    lua_insert(L, 1);
    lua_pushinteger(L, luaL_ref(L, 1));
    return 1;
}

static int unref(lua_State* L) {
    int number = (int)luaL_checkinteger(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_refs);
    luaL_unref(L, -1, number);
    return 0;
}

static int deref(lua_State* L) {
    int64_t number = luaL_checkinteger(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spell_key_refs);
    lua_rawgeti(L, -1, number);
    return 1;
}

static int tripped(lua_State* L) {
    lua_pushboolean(L, __atomic_load_n(&spell_of(L)->control->tripped, __ATOMIC_RELAXED) != SPELL_RUNNING);
    return 1;
}

static int raw_metatable(lua_State* L) {
    if (!lua_getmetatable(L, 1)) lua_pushnil(L);
    return 1;
}

/* getmetatable of scripts: tags of arrays and objects are not theirs to see, those of strings and files are locked. */
static int get_metatable(lua_State* L) {
    spell_guard* g = spell_of(L);
    luaL_checkany(L, 1);
    int locked = lua_type(L, 1) != LUA_TTABLE;
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    const void* tag = lua_topointer(L, -1);
    if (tag == g->array_tag || tag == g->object_tag) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, "__metatable");
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
    lua_pop(L, 1);
    if (locked) lua_pushboolean(L, 0);
    return 1;
}

static int set_raw_metatable(lua_State* L) {
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static const struct {
    const char* name;
    lua_CFunction function;
} FUNCTIONS[] = {
    {"set_host", set_host},
    {"set_library", set_library},
    {"ref", ref},
    {"unref", unref},
    {"deref", deref},
    {"tripped", tripped},
    {"raw_metatable", raw_metatable},
    {"set_raw_metatable", set_raw_metatable},
    {"tostring", spell_tostring},
    {"api", spell_function},
    {"root", spell_root},
    {"plain", spell_plain},
    {"stock", spell_stock},
    {"front", spell_front},
    {"less", spell_less},
    {"getmetatable", get_metatable},
    {"pcall", spell_pcall},
    {"xpcall", spell_xpcall},
    {"create", spell_co_create},
    {"resume", spell_co_resume},
    {"wrap", spell_co_wrap},
    {"yield", spell_co_yield},
    {"running", spell_co_running},
    {"status", spell_co_status},
    {"close", spell_co_close},
    {"find", spell_find},
    {"match", spell_match},
    {"gmatch", spell_gmatch},
    {"gsub", spell_gsub},
    {"match_at", spell_match_at},
};

static void registry_table(lua_State* L, const void* key, const char* mode) {
    lua_createtable(L, 0, 0);
    if (mode != NULL) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, "__mode");
        lua_pushstring(L, mode);
        lua_rawset(L, -3);
        lua_setmetatable(L, -2);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static const char* find_api(const char* path) {
    void* library = dlopen(path, RTLD_NOLOAD | RTLD_NOW);
    if (library == NULL) return "the Lua library is not loaded";
#define SPELL_FIND(result, name, args) \
    if ((*(void**)& name = dlsym(library, #name)) == NULL) return "missing symbol " #name;
    SPELL_API(SPELL_FIND)
#undef SPELL_FIND
    return NULL;
}

__attribute__((visibility("default"))) int spell_open(lua_State* L);

/* Find the API in the library at `path`; the message of what is wrong, or NULL. Called once per process by the host. */
__attribute__((visibility("default"))) const char* spell_attach(const char* path) {
    return find_api(path);
}

/* Free what the guard of a closed state keeps. The host calls it when the last block of the state is gone. */
__attribute__((visibility("default"))) void spell_release(spell_control* control) {
    spell_guard* g = control->guard;
    control->guard = NULL;
    if (g == NULL) return;
    for (int i = 0; i < SPELL_BUFFERS; i++) free(g->buffers[i].data);
    free(g);
}

/* spell_open(address of the control block) -> table of functions. */
int spell_open(lua_State* L) {
    if (lua_version(L) != 504) luaL_error(L, "the guard needs Lua 5.4");
    spell_control* control = (spell_control*)(uintptr_t)luaL_checkinteger(L, 1);
    if (control == NULL || control->magic != SPELL_CONTROL_MAGIC) luaL_error(L, "this is not a control block");
    spell_guard* g = calloc(1, sizeof *g);
    if (g == NULL) luaL_error(L, "not enough memory");
    g->control = control;
    control->guard = g;
    control->outside = 1;
    control->memory_used = (int64_t)lua_gc(L, 3) * 1024 + lua_gc(L, 4);
    lua_setallocf(L, counting_alloc, g);
    lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_PERIOD);
    registry_table(L, &spell_key_refs, NULL);
    registry_table(L, &spell_key_ids, "k");
    registry_table(L, &spell_key_roots, "k");
    registry_table(L, &spell_key_waiting, "k");
    lua_createtable(L, 0, 32);
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        lua_pushstring(L, FUNCTIONS[i].name);
        lua_pushcclosure(L, FUNCTIONS[i].function, 0);
        lua_rawset(L, -3);
    }
    return 1;
}
