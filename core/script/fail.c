/* SPDX-License-Identifier: MIT */
/* Builds and reads the one error value, so that scripts, HTTP and the bus see the same code, status
 * and origin. */
#include "script/fail.h"

#include <lauxlib.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FAIL_METATABLE "moontide.error"
#define MESSAGE_MAX 8192

static int fail_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushliteral(L, "message");
    lua_rawget(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
        lua_pushliteral(L, "error");
    return 1;
}

#define SCRIPTS "moontide.scripts" /* registry: a set of the paths of all scripts */

void fail_know_script(lua_State *L, const char *path)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, SCRIPTS);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, path);
    lua_pop(L, 1);
}

/* "...licies/x/y.lua:4: text" with the whole path: replaces the text at the top. */
static void tell_path_in_full(lua_State *L)
{
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    const char *end = n > 3 && memcmp(text, "...", 3) == 0 ? strstr(text, ".lua:") : NULL;
    if (end == NULL)
        return;
    struct str tail = {text + 3, (size_t)(end - text) + 1}; /* up to and with ".lua" */
    luaL_getsubtable(L, LUA_REGISTRYINDEX, SCRIPTS);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        struct str path;
        lua_pop(L, 1);
        path.p = lua_tolstring(L, -1, &path.n);
        if (path.n < tail.n || memcmp(path.p + path.n - tail.n, tail.p, tail.n) != 0)
            continue;
        lua_pushlstring(L, path.p, path.n);
        lua_pushstring(L, end + 4);
        lua_concat(L, 2);
        lua_replace(L, -4);
        lua_pop(L, 1);
        break;
    }
    lua_pop(L, 1);
}

void fail_open(lua_State *L)
{
    luaL_newmetatable(L, FAIL_METATABLE);
    lua_pushcfunction(L, fail_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "error");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* "path:line" of the innermost function that is a script's, or "". The host's own Lua has chunk
 * names "=moontide/...". */
static void push_origin(lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && ar.source[0] == '@') {
            lua_pushfstring(L, "%s:%d", ar.source + 1, ar.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

int fail_at_script(lua_State *L, const char *fmt, const char *word)
{
    push_origin(L);
    if (lua_rawlen(L, -1) > 0)
        lua_pushliteral(L, ": ");
    else
        lua_pushliteral(L, "");
    lua_pushfstring(L, fmt, word);
    lua_concat(L, 3);
    return lua_error(L);
}

void fail_push_bare(lua_State *L, struct str code, int status, bool retryable, struct str message)
{
    luaL_checkstack(L, 4, "error value");
    lua_createtable(L, 0, 8); /* and what a breaker adds */
    lua_pushlstring(L, code.p, code.n);
    lua_setfield(L, -2, "code");
    lua_pushlstring(L, message.p, message.n);
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, retryable);
    lua_setfield(L, -2, "retryable");
    luaL_setmetatable(L, FAIL_METATABLE);
}

void fail_push(lua_State *L, struct str code, int status, bool retryable, struct str message)
{
    fail_push_bare(L, code, status, retryable, message);
    push_origin(L);
    lua_setfield(L, -2, "origin");
}

int fail_raise(lua_State *L, enum err_code code, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fail_push(L, str_from(err_name(code)), err_status(code), err_retryable(code), str_from(text));
    return lua_error(L);
}

int fail_raise_err(lua_State *L, const struct err *err)
{
    return fail_raise(L, err->code, "%s", err->message);
}

/* "scripts/x.lua:12: text" -> origin and text; anything else is all text. */
static void split_position(struct str s, struct str *ret_origin, struct str *ret_text)
{
    *ret_origin = (struct str){NULL, 0};
    *ret_text = s;
    const char *lua = memmem(s.p, s.n, ".lua:", 5);
    if (lua == NULL)
        return;
    size_t end = (size_t)(lua - s.p) + 5;
    size_t digits = end;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (digits == end || digits + 1 >= s.n || s.p[digits] != ':' || s.p[digits + 1] != ' ')
        return;
    *ret_origin = (struct str){s.p, digits};
    *ret_text = (struct str){s.p + digits + 2, s.n - digits - 2};
}

static bool is_error_value(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, FAIL_METATABLE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* What was raised, as text: never calls a script's __tostring. */
static struct str raised_text(lua_State *L, int index)
{
    size_t n;
    if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
        lua_pushvalue(L, index);
        lua_tostring(L, -1);
        tell_path_in_full(L);
        lua_replace(L, index);
        const char *p = lua_tolstring(L, index, &n);
        return (struct str){p, n};
    }
    return str_from(lua_pushfstring(L, "(a %s was raised as an error)", luaL_typename(L, index)));
}

/* Lua's own limits, in Lua's words. */
static bool is_over(struct str text)
{
    static const struct str starts[] = {STR("stack overflow"), STR("C stack overflow"),
                                        STR("not enough memory"), STR("error in error handling")};
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        if (text.n >= starts[i].n && memcmp(text.p, starts[i].p, starts[i].n) == 0)
            return true;
    return false;
}

void fail_wrap(lua_State *L)
{
    if (is_error_value(L, -1))
        return;
    int index = lua_gettop(L);
    struct str origin, text;
    split_position(raised_text(L, index), &origin, &text);
    fail_push(L, is_over(text) ? STR("budget") : STR("script"), 500, false, text);
    if (origin.n > 0) {
        lua_pushlstring(L, origin.p, origin.n);
        lua_setfield(L, -2, "origin");
    }
    lua_replace(L, index);
    lua_settop(L, index);
}

struct str fail_origin(lua_State *L, struct arena *a)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && ar.source[0] == '@') {
            char line[16];
            int n = snprintf(line, sizeof(line), ":%d", ar.currentline);
            size_t path = strlen(ar.source + 1);
            char *p = arena_alloc(a, path + (size_t)n);
            memcpy(p, ar.source + 1, path);
            memcpy(p + path, line, (size_t)n);
            return (struct str){p, path + (size_t)n};
        }
    }
    return (struct str){NULL, 0};
}

static struct str read_text(lua_State *L, int table, const char *name, struct arena *a)
{
    lua_pushstring(L, name);
    lua_rawget(L, table);
    size_t n = 0;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    struct str copy = p == NULL ? (struct str){NULL, 0} : arena_str(a, (struct str){p, n});
    lua_pop(L, 1);
    return copy;
}

static int64_t read_integer(lua_State *L, int table, const char *name, int64_t otherwise)
{
    lua_pushstring(L, name);
    lua_rawget(L, table);
    int is_number = 0;
    double n = lua_tonumberx(L, -1, &is_number);
    lua_pop(L, 1);
    return is_number && n > -1e15 && n < 1e15 ? (int64_t)n : otherwise;
}

/* A message travels to logs, answers and letters. */
static struct str cut(struct str s)
{
    if (s.n <= MESSAGE_MAX)
        return s;
    s.n = MESSAGE_MAX;
    while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xC0) == 0x80)
        s.n--;
    return s;
}

void fail_read(lua_State *L, struct arena *a, struct task_error *ret)
{
    fail_wrap(L);
    int table = lua_gettop(L);
    memset(ret, 0, sizeof(*ret));
    ret->code = read_text(L, table, "code", a);
    ret->message = cut(read_text(L, table, "message", a));
    ret->origin = read_text(L, table, "origin", a);
    ret->details = read_text(L, table, "details", a);
    ret->status = (int)read_integer(L, table, "status", 500);
    if (ret->status < 400 || ret->status > 599)
        ret->status = 500;
    ret->retry_after_ms = read_integer(L, table, "retry_after_ms", 0);
    ret->failed_on_purpose = str_eq(ret->code, STR("failed"));
    lua_pushliteral(L, "retryable");
    lua_rawget(L, table);
    ret->retryable = lua_toboolean(L, -1);
    lua_settop(L, table - 1);
    if (ret->code.n == 0)
        ret->code = STR("script");
}

void fail_from_err(struct arena *a, const struct err *err, struct task_error *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->code = str_from(err_name(err->code));
    ret->message = arena_str(a, str_from(err->message));
    ret->status = err_status(err->code);
    ret->retryable = err_retryable(err->code);
}

/* "x.lua:12": where the colon before the line is, or the end. */
static size_t path_end(struct str origin, int64_t *ret_line)
{
    for (size_t i = origin.n; i > 0; i--)
        if (origin.p[i - 1] == ':')
            return str_to_int((struct str){origin.p + i, origin.n - i}, ret_line) ? i - 1
                                                                                  : origin.n;
    return origin.n;
}

struct log_field fail_log_script(struct str origin)
{
    int64_t line;
    return LOG_S("script", ((struct str){origin.p, path_end(origin, &line)}));
}

struct log_field fail_log_line(struct str origin)
{
    int64_t line = 0;
    if (path_end(origin, &line) == origin.n)
        return LOG_S("line", STR(""));
    return LOG_I("line", line);
}

int fail_status(const struct task_error *e)
{
    return str_eq(e->code, STR("http")) ? 502 : e->status;
}
