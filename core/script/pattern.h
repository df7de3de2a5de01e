/* SPDX-License-Identifier: MIT */
#pragma once

#include <lua.h>

#include <stdbool.h>
#include <stddef.h>

/* Lua's patterns (reference manual 6.4.1), matched in steps that count against the budget. */
#define PATTERN_CAPTURES 32

struct pattern_capture {
    const char *p;
    ptrdiff_t n; /* or one of the two below */
};
#define PATTERN_OPEN ((ptrdiff_t)-1)
#define PATTERN_POSITION ((ptrdiff_t)-2)

struct pattern {
    lua_State *L; /* for errors: who calls */
    const char *text, *text_end, *end;
    int depth, steps;
    int captured;
    struct pattern_capture captures[PATTERN_CAPTURES];
};

/* Has the pattern any character that means something? If not, it is its own match. */
bool pattern_is_plain(const char *p, size_t n);
/* Raises what is wrong with a pattern, without matching. [-0, +0, e] */
void pattern_check(lua_State *L, const char *p, size_t n);
/* Borrows text and pattern, which must stay while p is used. */
void pattern_init(struct pattern *p, lua_State *L, const char *text, size_t text_bytes,
                  const char *end);
/* Matches at `at` only, from `pattern` (without '^') to the end of it: the end of the match, or
 * NULL. Raises on malformed patterns and over budget. [-0, +0, e] */
const char *pattern_match(struct pattern *p, const char *at, const char *pattern);
/* Pushes capture i of a match from at to end; with none, capture 0 is the match. [-0, +1, e] */
void pattern_push(struct pattern *p, int i, const char *at, const char *end);
/* Pushes all, or the match if there are none and at is not NULL. Returns their number. [-0, +n, e]
 */
int pattern_push_all(struct pattern *p, const char *at, const char *end);
