/* SPDX-License-Identifier: MIT */
/* string.*: Lua's own where one call takes time in proportion to a text that fits the budget; ours
 * where a call could run for ever (patterns, rep). They do what the reference manual says. */
#include "script/budget.h"
#include "script/fail.h"
#include "script/lib/libs.h"
#include "script/pattern.h"

#include <lauxlib.h>
#include <lualib.h>

#include <string.h>

#define FORMAT_MAX 65536
#define FORMAT_ARGUMENTS 250

/* Where `position` (negative: from the end) of n bytes begins, from 0; may lie behind the end. */
static size_t start_at(lua_Integer position, size_t n)
{
    if (position > 0)
        return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)n)
        return 0;
    return n - (size_t)-position;
}

/* ---- find, match ---- */

static int found(lua_State *L, const char *text, const char *at, const char *end)
{
    lua_pushinteger(L, at - text + 1);
    lua_pushinteger(L, end - text);
    return 2;
}

static int search(lua_State *L, bool find)
{
    size_t n, pattern_n;
    struct pattern p;
    const char *text = luaL_checklstring(L, 1, &n);
    const char *pattern = luaL_checklstring(L, 2, &pattern_n);
    const char *pattern_end = pattern + pattern_n;
    size_t start = start_at(luaL_optinteger(L, 3, 1), n);
    if (start > n) {
        lua_pushnil(L);
        return 1;
    }
    const char *at = text + start;
    if (find && (lua_toboolean(L, 4) || pattern_is_plain(pattern, pattern_n))) {
        const char *hit = memmem(at, n - start, pattern, pattern_n);
        if (hit != NULL)
            return found(L, text, hit, hit + pattern_n);
        lua_pushnil(L);
        return 1;
    }
    bool anchored = pattern_n > 0 && *pattern == '^';
    pattern_init(&p, L, text, n, pattern_end);
    do {
        const char *end = pattern_match(&p, at, pattern + anchored);
        if (end == NULL)
            continue;
        if (!find)
            return pattern_push_all(&p, at, end);
        found(L, text, at, end);
        return 2 + pattern_push_all(&p, NULL, NULL);
    } while (at++ < p.text_end && !anchored);
    lua_pushnil(L);
    return 1;
}

/* string.find(text, pattern, init?, plain?) */
static int string_find(lua_State *L)
{
    return search(L, true);
}

/* string.match(text, pattern, init?) */
static int string_match(lua_State *L)
{
    return search(L, false);
}

/* ---- gmatch ---- */

struct walk {
    struct pattern p;
    const char *at, *pattern, *last; /* the end of the last match */
};

/* Upvalues: text, pattern, the walk. */
static int walk_on(lua_State *L)
{
    struct walk *w = lua_touserdata(L, lua_upvalueindex(3));
    w->p.L = L;
    for (; w->at <= w->p.text_end; w->at++) {
        const char *at = w->at, *end = pattern_match(&w->p, at, w->pattern);
        if (end == NULL || end == w->last)
            continue;
        w->at = w->last = end;
        return pattern_push_all(&w->p, at, end);
    }
    return 0;
}

/* string.gmatch(text, pattern, init?) */
static int string_gmatch(lua_State *L)
{
    size_t n, pattern_n;
    const char *text = luaL_checklstring(L, 1, &n);
    const char *pattern = luaL_checklstring(L, 2, &pattern_n);
    size_t start = start_at(luaL_optinteger(L, 3, 1), n);
    lua_settop(L, 2);
    struct walk *w = lua_newuserdatauv(L, sizeof(*w), 0);
    pattern_init(&w->p, L, text, n, pattern + pattern_n);
    w->at = start > n ? text + n + 1 : text + start;
    w->pattern = pattern;
    w->last = NULL;
    lua_pushcclosure(L, walk_on, 3);
    return 1;
}

/* ---- gsub ---- */

/* Appends the replacement text with its captures. Stack 3: the text. */
static void add_text(struct pattern *p, luaL_Buffer *out, const char *at, const char *end)
{
    size_t n;
    lua_State *L = p->L;
    const char *text = lua_tolstring(L, 3, &n), *text_end = text + n;
    while (text < text_end) {
        const char *escape = memchr(text, '%', (size_t)(text_end - text));
        luaL_addlstring(out, text, (size_t)((escape != NULL ? escape : text_end) - text));
        if (escape == NULL)
            return;
        char c = escape[1]; /* at the very end: the NUL */
        text = escape + 2;
        budget_step(L, &p->steps);
        if (c == '%') {
            luaL_addchar(out, c);
        } else if (c == '0') {
            luaL_addlstring(out, at, (size_t)(end - at));
        } else if (c >= '1' && c <= '9') {
            pattern_push(p, c - '1', at, end);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(out);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Appends what takes the place of a match; false if the match itself stays. */
static bool replace(struct pattern *p, luaL_Buffer *out, const char *at, const char *end)
{
    lua_State *L = p->L;
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, pattern_push_all(p, at, end), 1);
    } else if (type == LUA_TTABLE) {
        pattern_push(p, 0, at, end);
        lua_gettable(L, 3);
    } else {
        add_text(p, out, at, end);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, at, (size_t)(end - at));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

/* string.gsub(text, pattern, replacement, count?): the text and the number of matches. */
static int string_gsub(lua_State *L)
{
    size_t n, pattern_n;
    struct pattern p;
    const char *text = luaL_checklstring(L, 1, &n), *at = text, *last = NULL;
    const char *pattern = luaL_checklstring(L, 2, &pattern_n), *pattern_end = pattern + pattern_n;
    int type = lua_type(L, 3);
    luaL_argexpected(L,
                     type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TTABLE ||
                         type == LUA_TFUNCTION,
                     3, "string/function/table");
    lua_Integer left = luaL_optinteger(L, 4, (lua_Integer)n + 1), count = 0;
    bool anchored = pattern_n > 0 && *pattern == '^', changed = false;
    luaL_Buffer out;
    lua_settop(L, 3);
    pattern_init(&p, L, text, n, pattern_end);
    luaL_buffinit(L, &out);
    for (; count < left;) {
        const char *end = pattern_match(&p, at, pattern + anchored);
        if (end != NULL && end != last) {
            count++;
            changed |= replace(&p, &out, at, end);
            at = last = end;
        } else if (at < p.text_end) {
            luaL_addchar(&out, *at++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&out, at, (size_t)(p.text_end - at));
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

/* ---- rep, format ---- */

/* string.rep(text, n, separator?) */
static int string_rep(lua_State *L)
{
    size_t n, separator_n;
    const char *text = luaL_checklstring(L, 1, &n);
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &separator_n);
    luaL_Buffer out;
    if (count <= 0 || n + separator_n == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (n + separator_n > BUDGET_TEXT || (lua_Unsigned)count > BUDGET_TEXT / (n + separator_n))
        return fail_raise(L, ERR_BUDGET, "string.rep: a text of more than 8 MiB");
    size_t total = n * (size_t)count + separator_n * ((size_t)count - 1);
    char *to = luaL_buffinitsize(L, &out, total);
    size_t made = n;
    memcpy(to, text, n);
    if (count > 1) {
        memcpy(to + n, separator, separator_n);
        made += separator_n;
    }
    while (made < total) { /* what is there once more, as often as it fits */
        size_t more = made < total - made ? made : total - made;
        memcpy(to + made, to, more);
        made += more;
    }
    luaL_pushresultsize(&out, total);
    return 1;
}

/* string.format(format, ...): Lua's, upvalue 1. */
static int string_format(lua_State *L)
{
    size_t n;
    luaL_checklstring(L, 1, &n);
    if (n > FORMAT_MAX || lua_gettop(L) > FORMAT_ARGUMENTS)
        return fail_raise(L, ERR_BUDGET, "string.format: more than 64 KiB of format or %d values",
                          FORMAT_ARGUMENTS - 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

int lib_string_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"rep", string_rep},     {NULL, NULL},
    };
    static const char *const linear[] = {"byte", "char", "len",      "lower",  "upper",
                                         "sub",  "pack", "packsize", "unpack", "reverse"};
    luaL_newlib(L, functions);
    lua_getglobal(L, LUA_STRLIBNAME);
    for (size_t i = 0; i < sizeof(linear) / sizeof(*linear); i++) {
        lua_getfield(L, -1, linear[i]);
        lua_setfield(L, -3, linear[i]);
    }
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -3, "format");
    lua_pop(L, 1);
    return 1;
}
