/* SPDX-License-Identifier: MIT */
/* Lua's own matcher cannot be stopped: "x*x*x*x*y" on a megabyte takes days. This one reads the
 * same patterns, looks at the budget every thousand steps, and goes no deeper than Lua's. */
#include "script/pattern.h"

#include "script/budget.h"

#include <lauxlib.h>

#include <ctype.h>
#include <string.h>

#define DEPTH 200
#define ESCAPE '%'

bool pattern_is_plain(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0 && strchr("^$*+?.([%-", p[i]) != NULL)
            return false;
    return true;
}

void pattern_init(struct pattern *p, lua_State *L, const char *text, size_t text_bytes,
                  const char *end)
{
    p->L = L;
    p->text = text;
    p->text_end = text + text_bytes;
    p->end = end;
    p->steps = 0;
    p->captured = 0;
}

static void take_steps(struct pattern *p, ptrdiff_t cost)
{
    budget_steps(p->L, &p->steps, (size_t)cost);
}

/* ---- one character ---- */

static unsigned char byte_at(const char *s)
{
    return (unsigned char)*s;
}

static bool in_class(int c, int class)
{
    bool in;
    switch (tolower(class)) {
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'g':
        in = isgraph(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    case 'z':
        in = c == 0;
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !in : in;
}

/* The ']' that ends the set after its '['. */
static const char *set_end(struct pattern *p, const char *set)
{
    const char *at = set + 1;
    if (at < p->end && *at == '^')
        at++;
    do { /* a ']' in the first place stands for itself */
        if (at >= p->end)
            luaL_error(p->L, "malformed pattern (missing ']')");
        if (*at++ == ESCAPE)
            at++; /* '%' at the very end is seen above */
    } while (at >= p->end || *at != ']');
    return at;
}

/* Behind the class that begins at `at`. */
static const char *class_end(struct pattern *p, const char *at)
{
    if (*at == ESCAPE) {
        if (at + 1 >= p->end)
            luaL_error(p->L, "malformed pattern (ends with '%%')");
        return at + 2;
    }
    if (*at == '[') {
        const char *end = set_end(p, at);
        take_steps(p, (end - at) / 8);
        return end + 1;
    }
    return at + 1;
}

/* set: its '['; end: its ']'. */
static bool in_set(struct pattern *p, int c, const char *set, const char *end)
{
    bool positive = set[1] != '^';
    const char *at = positive ? set : set + 1;
    take_steps(p, (end - set) / 8);
    while (++at < end) {
        if (*at == ESCAPE) {
            at++;
            if (in_class(c, byte_at(at)))
                return positive;
        } else if (at[1] == '-' && at + 2 < end) {
            at += 2;
            if (byte_at(at - 2) <= c && c <= byte_at(at))
                return positive;
        } else if (byte_at(at) == c) {
            return positive;
        }
    }
    return !positive;
}

/* Does the character at `at` belong to the class from `class` to `after`? */
static bool single(struct pattern *p, const char *at, const char *class, const char *after)
{
    if (at >= p->text_end)
        return false;
    switch (*class) {
    case '.':
        return true;
    case ESCAPE:
        return in_class(byte_at(at), byte_at(class + 1));
    case '[':
        return in_set(p, byte_at(at), class, after - 1);
    default:
        return *class == *at;
    }
}

/* ---- items ---- */

static const char *match(struct pattern *p, const char *at, const char *item);

/* %bxy */
static const char *balanced(struct pattern *p, const char *at, const char *item)
{
    if (item + 1 >= p->end)
        luaL_error(p->L, "malformed pattern (missing arguments to '%%b')");
    if (at >= p->text_end || *at != *item)
        return NULL;
    int open = 1;
    for (const char *s = at + 1; s < p->text_end; s++) {
        take_steps(p, 1);
        if (*s == item[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == *item) {
            open++;
        }
    }
    return NULL;
}

/* %f[set], item at the '[': is here the border of the set? */
static bool frontier(struct pattern *p, const char *at, const char *item, const char **ret_after)
{
    if (item >= p->end || *item != '[')
        luaL_error(p->L, "missing '[' after '%%f' in pattern");
    *ret_after = class_end(p, item);
    int before = at == p->text ? 0 : byte_at(at - 1);
    int here = at >= p->text_end ? 0 : byte_at(at);
    return !in_set(p, before, item, *ret_after - 1) && in_set(p, here, item, *ret_after - 1);
}

/* %1 to %9 */
static const char *same_again(struct pattern *p, const char *at, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= p->captured || p->captures[i].n == PATTERN_OPEN)
        luaL_error(p->L, "invalid capture index %%%d", i + 1);
    ptrdiff_t n = p->captures[i].n;
    if (n == PATTERN_POSITION || p->text_end - at < n)
        return NULL;
    take_steps(p, n / 16 + 1);
    return memcmp(p->captures[i].p, at, (size_t)n) == 0 ? at + n : NULL;
}

/* As many as possible, then fewer. */
static const char *longest(struct pattern *p, const char *at, const char *item, const char *after)
{
    ptrdiff_t i = 0;
    while (single(p, at + i, item, after)) {
        take_steps(p, 1);
        i++;
    }
    for (; i >= 0; i--) {
        const char *end = match(p, at + i, after + 1);
        if (end != NULL)
            return end;
    }
    return NULL;
}

/* As few as possible, then more. */
static const char *shortest(struct pattern *p, const char *at, const char *item, const char *after)
{
    for (;;) {
        const char *end = match(p, at, after + 1);
        if (end != NULL)
            return end;
        if (!single(p, at, item, after))
            return NULL;
        at++;
    }
}

static const char *open_capture(struct pattern *p, const char *at, const char *item, ptrdiff_t what)
{
    if (p->captured >= PATTERN_CAPTURES)
        luaL_error(p->L, "too many captures");
    p->captures[p->captured++] = (struct pattern_capture){at, what};
    const char *end = match(p, at, item);
    if (end == NULL)
        p->captured--;
    return end;
}

static const char *close_capture(struct pattern *p, const char *at, const char *item)
{
    int i = p->captured - 1;
    while (i >= 0 && p->captures[i].n != PATTERN_OPEN)
        i--;
    if (i < 0)
        luaL_error(p->L, "invalid pattern capture");
    p->captures[i].n = at - p->captures[i].p;
    const char *end = match(p, at, item);
    if (end == NULL)
        p->captures[i].n = PATTERN_OPEN;
    return end;
}

/* A class with what follows it. Returns true when *ret_end is the answer; else the match goes on at
 * *at and *item. */
static bool class_item(struct pattern *p, const char **at, const char **item, const char **ret_end)
{
    const char *after = class_end(p, *item);
    char suffix = 0;
    if (after < p->end)
        suffix = *after;
    if (suffix == '*' || suffix == '-') {
        *ret_end = suffix == '*' ? longest(p, *at, *item, after) : shortest(p, *at, *item, after);
        return true;
    }
    bool here = single(p, *at, *item, after);
    if (suffix == '?') {
        *ret_end = here ? match(p, *at + 1, after + 1) : NULL;
        *item = after + 1;
        return *ret_end != NULL;
    }
    *ret_end = NULL;
    if (!here)
        return true;
    if (suffix == '+') {
        *ret_end = longest(p, *at + 1, *item, after);
        return true;
    }
    (*at)++;
    *item = after;
    return false;
}

/* An item that begins with '%' and is no class: true if it was one, *at is NULL if it did not
 * match. */
static bool escaped_item(struct pattern *p, const char **at, const char **item)
{
    if (*item + 1 >= p->end)
        return false;
    char kind = (*item)[1];
    if (kind == 'b') {
        *at = balanced(p, *at, *item + 2);
        *item += 4;
        return true;
    }
    if (kind == 'f') {
        const char *after;
        if (!frontier(p, *at, *item + 2, &after))
            *at = NULL;
        *item = after;
        return true;
    }
    if (!isdigit((unsigned char)kind))
        return false;
    *at = same_again(p, *at, kind);
    *item += 2;
    return true;
}

static const char *match_items(struct pattern *p, const char *at, const char *item)
{
    const char *end;
    while (item < p->end) {
        take_steps(p, 1);
        if (*item == '(' && item + 1 < p->end && item[1] == ')')
            return open_capture(p, at, item + 2, PATTERN_POSITION);
        if (*item == '(')
            return open_capture(p, at, item + 1, PATTERN_OPEN);
        if (*item == ')')
            return close_capture(p, at, item + 1);
        if (*item == '$' && item + 1 == p->end)
            return at == p->text_end ? at : NULL;
        if (*item == ESCAPE && escaped_item(p, &at, &item)) {
            if (at == NULL)
                return NULL;
            continue;
        }
        if (class_item(p, &at, &item, &end))
            return end;
    }
    return at;
}

static const char *match(struct pattern *p, const char *at, const char *item)
{
    if (p->depth-- == 0)
        luaL_error(p->L, "pattern too complex");
    const char *end = match_items(p, at, item);
    p->depth++;
    return end;
}

/* ---- looking through ---- */

static const char *check_parenthesis(struct pattern *p, const char *item)
{
    int i = p->captured;
    if (*item == '(') {
        if (p->captured >= PATTERN_CAPTURES)
            luaL_error(p->L, "too many captures");
        bool position = item + 1 < p->end && item[1] == ')';
        p->captures[p->captured++].n = position ? PATTERN_POSITION : PATTERN_OPEN;
        return item + (position ? 2 : 1);
    }
    while (i > 0 && p->captures[i - 1].n != PATTERN_OPEN)
        i--;
    if (i == 0)
        luaL_error(p->L, "invalid pattern capture");
    p->captures[i - 1].n = 0;
    return item + 1;
}

static const char *check_escape(struct pattern *p, const char *item)
{
    const char *after = class_end(p, item);
    int i = item[1] - '1';
    if (item[1] == 'b') {
        if (p->end - item < 4)
            luaL_error(p->L, "malformed pattern (missing arguments to '%%b')");
        return item + 4;
    }
    if (item[1] == 'f') {
        if (after >= p->end || *after != '[')
            luaL_error(p->L, "missing '[' after '%%f' in pattern");
        return class_end(p, after);
    }
    if (isdigit(byte_at(item + 1)) &&
        (i < 0 || i >= p->captured || p->captures[i].n == PATTERN_OPEN))
        luaL_error(p->L, "invalid capture index %%%d", i + 1);
    return after;
}

void pattern_check(lua_State *L, const char *p, size_t n)
{
    struct pattern all;
    pattern_init(&all, L, p, 0, p + n);
    for (const char *item = p; item < all.end;) {
        if (*item == '(' || *item == ')')
            item = check_parenthesis(&all, item);
        else if (*item == ESCAPE)
            item = check_escape(&all, item);
        else
            item = class_end(&all, item);
    }
    for (int i = 0; i < all.captured; i++)
        if (all.captures[i].n == PATTERN_OPEN)
            luaL_error(L, "unfinished capture");
}

/* ---- the way in and out ---- */

const char *pattern_match(struct pattern *p, const char *at, const char *pattern)
{
    p->depth = DEPTH;
    p->captured = 0;
    return match(p, at, pattern);
}

void pattern_push(struct pattern *p, int i, const char *at, const char *end)
{
    if (i >= p->captured) {
        if (i != 0)
            luaL_error(p->L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(p->L, at, (size_t)(end - at));
        return;
    }
    const struct pattern_capture *c = &p->captures[i];
    if (c->n == PATTERN_OPEN)
        luaL_error(p->L, "unfinished capture");
    if (c->n == PATTERN_POSITION)
        lua_pushinteger(p->L, c->p - p->text + 1);
    else
        lua_pushlstring(p->L, c->p, (size_t)c->n);
}

int pattern_push_all(struct pattern *p, const char *at, const char *end)
{
    int n = p->captured == 0 && at != NULL ? 1 : p->captured;
    luaL_checkstack(p->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        pattern_push(p, i, at, end);
    return n;
}
