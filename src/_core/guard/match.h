/* The matcher of Lua patterns, shared by find, match, gmatch and gsub. */
#ifndef SPELL_MATCH_H
#define SPELL_MATCH_H

#include "api.h"

enum { MAX_CAPTURES = 32, MAX_RECURSION = 200, CAPTURE_OPEN = -1, CAPTURE_POSITION = -2, STEPS_PER_CHECK = 4096 };
static const unsigned char ESCAPE = '%';

typedef struct matcher {
    const unsigned char *subject, *subject_end, *pattern_end;
    lua_State* L;
    spell_guard* g;
    int recursion, steps, captures, level;
    struct {
        const unsigned char* start;
        ptrdiff_t size;
    } capture[MAX_CAPTURES];
} matcher;

typedef const unsigned char* place;

void spell_prepare(matcher* m, lua_State* L, const char* s, size_t ns, const char* p, size_t np);
/* The end of a match that begins at `s`, or NULL. */
place spell_try_at(matcher* m, place s, place p);
int spell_pattern_error(matcher* m, const char* form, int number);
void spell_push_capture(matcher* m, int i, place s, place e);

#endif
