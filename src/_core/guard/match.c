/* Lua patterns with a budget: find, match, gmatch, gsub, and `match_at` for callbacks that may wait.
 *
 * The stock matcher runs in one C call where no hook fires: a few characters of pattern can keep it busy for years.
 * This one charges its steps to the instruction budget and looks at deadline and interrupt every 4096 of them.
 * Source: Lua 5.4 reference manual, 6.4.1; the backtracking scheme is that of lstrlib.c. */
#include "match.h"

#include <ctype.h>
#include <string.h>

static place match(matcher* m, place s, place p);

static void charge(matcher* m, int steps) {
    m->steps += steps;
    if (m->steps < STEPS_PER_CHECK) return;
    m->steps = 0;
    spell_check(m->L, m->g, STEPS_PER_CHECK);
}

static void charge_bytes(lua_State* L, spell_guard* g, size_t n) {
    if (n >= STEPS_PER_CHECK) spell_check(L, g, (int64_t)(n / 8));
}

/* An error at the level of the script's call: `match_at` is called by a function of the prelude behind a C function. */
int spell_pattern_error(matcher* m, const char* form, int number) {
    lua_checkstack(m->L, 4);
    luaL_where(m->L, m->level);
    const char* where = lua_tolstring(m->L, -1, NULL);
    lua_pushfstring(m->L, form, number);
    lua_pushfstring(m->L, "%s%s", where, lua_tolstring(m->L, -1, NULL));
    return lua_error(m->L);
}

static int open_capture(matcher* m) {
    for (int i = m->captures - 1; i >= 0; i--)
        if (m->capture[i].size == CAPTURE_OPEN) return i;
    return spell_pattern_error(m, "invalid pattern capture", 0);
}

static int check_capture(matcher* m, int digit) {
    int i = digit - '1';
    if (i < 0 || i >= m->captures || m->capture[i].size == CAPTURE_OPEN)
        spell_pattern_error(m, "invalid capture index %%%d", i + 1);
    return i;
}

static place class_end(matcher* m, place p) {
    if (p == m->pattern_end) spell_pattern_error(m, "malformed pattern (ends with '%%')", 0);
    unsigned char c = *p++;
    if (c == ESCAPE) {
        if (p == m->pattern_end) spell_pattern_error(m, "malformed pattern (ends with '%%')", 0);
        return p + 1;
    }
    if (c != '[') return p;
    if (p < m->pattern_end && *p == '^') p++;
    do {
        if (p == m->pattern_end) spell_pattern_error(m, "malformed pattern (missing ']')", 0);
        unsigned char inner = *p++;
        if (inner == ESCAPE) {
            if (p == m->pattern_end) spell_pattern_error(m, "malformed pattern (missing ']')", 0);
            p++;
        }
    } while (p == m->pattern_end || *p != ']');
    return p + 1;
}

static int in_class(int c, int class) {
    int found;
    switch (tolower(class)) {
        case 'a': found = isalpha(c); break;
        case 'c': found = iscntrl(c); break;
        case 'd': found = isdigit(c); break;
        case 'g': found = isgraph(c); break;
        case 'l': found = islower(c); break;
        case 'p': found = ispunct(c); break;
        case 's': found = isspace(c); break;
        case 'u': found = isupper(c); break;
        case 'w': found = isalnum(c); break;
        case 'x': found = isxdigit(c); break;
        case 'z': found = c == 0; break; /* deprecated, still in 5.4 */
        default: return class == c;
    }
    return isupper(class) ? !found : found != 0;
}

/* `p` is at the '[', `last` at the ']' of the set. */
static int in_set(int c, place p, place last) {
    int wanted = 1;
    if (p[1] == '^') {
        wanted = 0;
        p++;
    }
    while (++p < last) {
        if (*p == ESCAPE) {
            p++;
            if (in_class(c, *p)) return wanted;
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if (p[-2] <= c && c <= *p) return wanted;
        } else if (*p == c) {
            return wanted;
        }
    }
    return !wanted;
}

static int single(matcher* m, place s, place p, place end) {
    if (s >= m->subject_end) return 0;
    switch (*p) {
        case '.': return 1;
        case '%': return in_class(*s, p[1]);
        case '[': return in_set(*s, p, end - 1);
        default: return *p == *s;
    }
}

static place match_balance(matcher* m, place s, place p) {
    if (p >= m->pattern_end - 1) spell_pattern_error(m, "malformed pattern (missing arguments to '%%b')", 0);
    if (s >= m->subject_end || *s != *p) return NULL;
    int opened = 1;
    place start = s;
    while (++s < m->subject_end) {
        if (*s == p[1]) {
            if (--opened == 0) {
                charge(m, (int)((s - start) / 8));
                return s + 1;
            }
        } else if (*s == *p) {
            opened++;
        }
    }
    charge(m, (int)((s - start) / 8) & 0xfffff);
    return NULL;
}

static place greedy(matcher* m, place s, place p, place end) {
    ptrdiff_t n = 0;
    while (single(m, s + n, p, end)) {
        n++;
        charge(m, 1);
    }
    for (; n >= 0; n--) {
        charge(m, 1);
        place found = match(m, s + n, end + 1);
        if (found != NULL) return found;
    }
    return NULL;
}

static place lazy(matcher* m, place s, place p, place end) {
    for (;;) {
        charge(m, 1);
        place found = match(m, s, end + 1);
        if (found != NULL) return found;
        if (!single(m, s, p, end)) return NULL;
        s++;
    }
}

static place start_capture(matcher* m, place s, place p, ptrdiff_t kind) {
    if (m->captures >= MAX_CAPTURES) spell_pattern_error(m, "too many captures", 0);
    m->capture[m->captures].start = s;
    m->capture[m->captures].size = kind;
    m->captures++;
    place found = match(m, s, p);
    if (found == NULL) m->captures--;
    return found;
}

static place end_capture(matcher* m, place s, place p) {
    int i = open_capture(m);
    m->capture[i].size = s - m->capture[i].start;
    place found = match(m, s, p);
    if (found == NULL) m->capture[i].size = CAPTURE_OPEN;
    return found;
}

static place match_back(matcher* m, place s, int digit) {
    int i = check_capture(m, digit);
    ptrdiff_t n = m->capture[i].size;
    if (n < 0) return NULL; /* a position has no text */
    charge(m, (int)(n / 8) & 0xfffff);
    if (m->subject_end - s < n || memcmp(m->capture[i].start, s, (size_t)n) != 0) return NULL;
    return s + n;
}

static int at_frontier(matcher* m, place s, place set, place end) {
    unsigned char before = s == m->subject ? 0 : s[-1], here = s == m->subject_end ? 0 : *s;
    return !in_set(before, set, end - 1) && in_set(here, set, end - 1);
}

/* Items that begin with '%' and are more than a class. Sets `done` when the whole rest has been matched or refused;
 * otherwise moves `s` and `p` past the item. */
static place match_escape(matcher* m, place* s, place* p, int* done) {
    place at = *p;
    *done = 1;
    if (at + 1 == m->pattern_end) return NULL;
    if (at[1] == 'b') {
        place after = match_balance(m, *s, at + 2);
        if (after == NULL) return NULL;
        *s = after;
        *p = at + 4;
    } else if (at[1] == 'f') {
        at += 2;
        if (at >= m->pattern_end || *at != '[') spell_pattern_error(m, "missing '[' after '%%f' in pattern", 0);
        place end = class_end(m, at);
        if (!at_frontier(m, *s, at, end)) return NULL;
        *p = end;
    } else {
        place after = match_back(m, *s, at[1]);
        if (after == NULL) return NULL;
        *s = after;
        *p = at + 2;
    }
    *done = 0;
    return NULL;
}

static int is_escape_item(matcher* m, place p) {
    return *p == ESCAPE && p + 1 < m->pattern_end && (p[1] == 'b' || p[1] == 'f' || isdigit(p[1]));
}

static place match_from(matcher* m, place s, place p) {
    while (p < m->pattern_end) {
        charge(m, 1);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')' ? start_capture(m, s, p + 2, CAPTURE_POSITION)
                                                         : start_capture(m, s, p + 1, CAPTURE_OPEN);
        if (*p == ')') return end_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end) return s == m->subject_end ? s : NULL;
        if (is_escape_item(m, p)) {
            int done;
            place found = match_escape(m, &s, &p, &done);
            if (done) return found;
            continue;
        }
        place end = class_end(m, p);
        unsigned char suffix = end < m->pattern_end ? *end : 0;
        if (suffix == '*') return greedy(m, s, p, end);
        if (suffix == '-') return lazy(m, s, p, end);
        int here = single(m, s, p, end);
        if (suffix == '+') return here ? greedy(m, s + 1, p, end) : NULL;
        if (suffix == '?') {
            if (here) {
                place found = match(m, s + 1, end + 1);
                if (found != NULL) return found;
            }
            p = end + 1;
            continue;
        }
        if (!here) return NULL;
        s++;
        p = end;
    }
    return s;
}

static place match(matcher* m, place s, place p) {
    if (--m->recursion == 0) spell_pattern_error(m, "pattern too complex", 0);
    place found = match_from(m, s, p);
    m->recursion++;
    return found;
}

void spell_push_capture(matcher* m, int i, place s, place e) {
    if (i >= m->captures) {
        if (i != 0) spell_pattern_error(m, "invalid capture index %%%d", i + 1);
        lua_pushlstring(m->L, (const char*)s, (size_t)(e - s));
        return;
    }
    ptrdiff_t n = m->capture[i].size;
    if (n == CAPTURE_OPEN) spell_pattern_error(m, "unfinished capture", 0);
    if (n == CAPTURE_POSITION)
        lua_pushinteger(m->L, m->capture[i].start - m->subject + 1);
    else
        lua_pushlstring(m->L, (const char*)m->capture[i].start, (size_t)n);
}

static int push_captures(matcher* m, place s, place e) {
    int n = m->captures == 0 && s != NULL ? 1 : m->captures;
    if (!lua_checkstack(m->L, n + 4)) spell_pattern_error(m, "stack overflow (too many captures)", 0);
    for (int i = 0; i < n; i++) spell_push_capture(m, i, s, e);
    return n;
}

void spell_prepare(matcher* m, lua_State* L, const char* s, size_t ns, const char* p, size_t np) {
    m->L = L;
    m->g = spell_of(L);
    m->subject = (place)s;
    m->subject_end = (place)s + ns;
    m->pattern_end = (place)p + np;
    m->recursion = MAX_RECURSION;
    m->steps = 0;
    m->captures = 0;
    m->level = 1;
}

place spell_try_at(matcher* m, place s, place p) {
    m->captures = 0;
    m->recursion = MAX_RECURSION;
    return match(m, s, p);
}

static size_t start_position(int64_t init, size_t n) {
    if (init > 0) return (size_t)init - 1;
    if (init == 0) return 0;
    if (init < -(int64_t)n) return 0;
    return n - (size_t)-init;
}

/* Plain search; memmem is linear-time in glibc and musl, and its time is charged by the byte. */
static const char* find_plain(lua_State* L, spell_guard* g, const char* s, size_t ns, const char* p, size_t np) {
    charge_bytes(L, g, ns);
    if (np == 0) return s;
    if (np > ns) return NULL;
    const char* last = s + (ns - np);
    size_t compared = 0;
    while (s <= last) {
        const char* hit = memchr(s, p[0], (size_t)(last - s) + 1);
        if (hit == NULL) return NULL;
        if (memcmp(hit, p, np) == 0) return hit;
        compared += np / 64 + 1;
        if (compared >= STEPS_PER_CHECK) {
            spell_check(L, g, (int64_t)compared);
            compared = 0;
        }
        s = hit + 1;
    }
    return NULL;
}

static int has_specials(const char* p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strchr("^$*+?.([%-", p[i]) != NULL && p[i] != 0) return 1;
    return 0;
}

static int search(lua_State* L, int find) {
    size_t ns, np;
    const char* s = luaL_checklstring(L, 1, &ns);
    const char* p = luaL_checklstring(L, 2, &np);
    size_t init = start_position(luaL_optinteger(L, 3, 1), ns);
    if (init > ns) {
        lua_pushnil(L);
        return 1;
    }
    spell_guard* g = spell_of(L);
    if (find && (lua_toboolean(L, 4) || !has_specials(p, np))) {
        const char* hit = find_plain(L, g, s + init, ns - init, p, np);
        if (hit == NULL) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, hit - s + 1);
        lua_pushinteger(L, hit - s + (int64_t)np);
        return 2;
    }
    matcher m;
    spell_prepare(&m, L, s, ns, p, np);
    place at = (place)s + init, pattern = (place)p;
    int anchored = np > 0 && *p == '^';
    pattern += anchored;
    do {
        place end = spell_try_at(&m, at, pattern);
        if (end == NULL) continue;
        if (!find) return push_captures(&m, at, end);
        lua_pushinteger(L, at - m.subject + 1);
        lua_pushinteger(L, end - m.subject);
        return push_captures(&m, NULL, NULL) + 2;
    } while (at++ < m.subject_end && !anchored);
    lua_pushnil(L);
    return 1;
}

int spell_find(lua_State* L) {
    return search(L, 1);
}
int spell_match(lua_State* L) {
    return search(L, 0);
}

/* match_at(s, pattern, position) -> start, next position, captures...; the first match at or after the position. */
int spell_match_at(lua_State* L) {
    size_t ns, np;
    const char* s = luaL_checklstring(L, 1, &ns);
    const char* p = luaL_checklstring(L, 2, &np);
    size_t init = (size_t)luaL_checkinteger(L, 3) - 1;
    if (init > ns) return 0;
    matcher m;
    spell_prepare(&m, L, s, ns, p, np);
    m.level = 3;
    int anchored = np > 0 && *p == '^';
    place at = (place)s + init;
    do {
        place end = spell_try_at(&m, at, (place)p + anchored);
        if (end == NULL) continue;
        lua_pushinteger(L, at - m.subject + 1);
        lua_pushinteger(L, end - m.subject + 1);
        return push_captures(&m, at, end) + 2;
    } while (at++ < m.subject_end && !anchored);
    return 0;
}

/* Upvalues: subject, pattern, position of the next try, end of the last match (0 = none). */
static int gmatch_step(lua_State* L) {
    size_t ns, np;
    const char* s = lua_tolstring(L, upvalue(1), &ns);
    const char* p = lua_tolstring(L, upvalue(2), &np);
    place at = (place)s + lua_tointegerx(L, upvalue(3), NULL);
    int64_t last = lua_tointegerx(L, upvalue(4), NULL);
    matcher m;
    spell_prepare(&m, L, s, ns, p, np);
    for (; at <= m.subject_end; at++) {
        place end = spell_try_at(&m, at, (place)p);
        if (end == NULL || end - m.subject + 1 == last) continue;
        lua_pushinteger(L, end - m.subject);
        lua_copy(L, -1, upvalue(3));
        lua_pushinteger(L, end - m.subject + 1);
        lua_copy(L, -1, upvalue(4));
        lua_settop(L, 0);
        return push_captures(&m, at, end);
    }
    return 0;
}

int spell_gmatch(lua_State* L) {
    size_t ns;
    luaL_checklstring(L, 1, &ns);
    luaL_checklstring(L, 2, NULL);
    size_t init = start_position(luaL_optinteger(L, 3, 1), ns);
    if (init > ns) init = ns + 1;
    lua_settop(L, 2);
    lua_pushinteger(L, (int64_t)init);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_step, 4);
    return 1;
}
