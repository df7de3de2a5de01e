/* SPDX-License-Identifier: MIT */
/* The one list of bindings, and the small ones that need no file of their own. */
#include "script/lib/libs.h"

#include "http/url.h"
#include "script/budget.h"
#include "script/code.h"
#include "script/fail.h"
#include "script/flight.h"
#include "script/frozen.h"
#include "script/pattern.h"
#include "script/program.h"

#include <lauxlib.h>

#define HERE_LEVELS 40 /* that core.here looks at */

/* misuse(message): raises it with the script's position. */
static int core_misuse(lua_State *L)
{
    return fail_misuse(L, "%s", luaL_checkstring(L, 1));
}

/* nearest(name, list): the candidate worth suggesting, or nil. */
static int core_nearest(lua_State *L)
{
    struct str candidates[256], name;
    size_t n = 0;
    name.p = luaL_checklstring(L, 1, &name.n);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, 256, "candidates");
    for (; n < 256 && lua_rawgeti(L, 2, (lua_Integer)n + 1) == LUA_TSTRING; n++)
        candidates[n].p = lua_tolstring(L, -1, &candidates[n].n);
    struct str nearest = str_nearest(name, candidates, n);
    if (nearest.n == 0)
        return 0;
    lua_pushlstring(L, nearest.p, nearest.n);
    return 1;
}

/* duration("2s"): its milliseconds. */
static int core_duration(lua_State *L)
{
    lua_pushinteger(L, lib_check_duration(L, 1, "duration"));
    return 1;
}

/* is_origin(url): is it http://HOST or http://HOST:PORT? */
static int core_is_origin(lua_State *L)
{
    struct str url, host, target;
    int port;
    url.p = luaL_checklstring(L, 1, &url.n);
    lua_pushboolean(L, http_url_split(url, &host, &port, &target) && str_eq(target, STR("/")));
    return 1;
}

/* here(): "scripts/x.lua:12" of the innermost script line on the stack, or "?". */
static int core_here(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; level < HERE_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            lua_pushfstring(L, "%s:%d", ar.source + 1, ar.currentline);
            return 1;
        }
    }
    lua_pushliteral(L, "?");
    return 1;
}

/* check_pattern(text): raises what is wrong with it. */
static int core_check_pattern(lua_State *L)
{
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    pattern_check(L, p, n);
    return 0;
}

/* check_default(field): raises what is wrong with its default: "default.n: must be at least 1". */
static int core_check_default(lua_State *L)
{
    program_check_default(L, 1);
    return 0;
}

/* source, chunkname, environment: the function, or raises the syntax error. Text only, no
 * bytecode. */
static int core_compile(lua_State *L)
{
    struct str source;
    source.p = luaL_checklstring(L, 1, &source.n);
    fail_know_script(L, luaL_checkstring(L, 2) + 1);
    code_load(L, source, lua_tostring(L, 2));
    lua_pushvalue(L, 3);
    lua_setupvalue(L, -2, 1);
    return 1;
}

static int compile_and_run(lua_State *L)
{
    core_compile(L);
    lua_call(L, 0, 1);
    return 1;
}

/* run(source, chunkname, environment): what the file returns. Each has a budget of its own. */
static int core_run(lua_State *L)
{
    struct budget *b = budget_of(L);
    struct budget_frame before;
    struct meter meter;
    lua_settop(L, 3);
    lua_pushcfunction(L, compile_and_run);
    lua_insert(L, 1);
    budget_meter_start(&meter, BUDGET_CPU_MS);
    budget_enter(b, &meter, L, &before);
    int status = lua_pcall(L, 3, 1, 0);
    budget_leave(b, &before);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* wrap_error(value): as an error value. */
static int core_wrap_error(lua_State *L)
{
    lua_settop(L, 1);
    fail_wrap(L);
    return 1;
}

/* fail(status, message): ends the task and drops its unit. */
static int core_fail(lua_State *L)
{
    int is_integer;
    lua_Integer status = lua_tointegerx(L, 1, &is_integer);
    if (!is_integer || status < 400 || status > 599)
        return fail_misuse(L, "fail(status, message): status must be an integer from 400 to 599");
    struct str message = STR("the request was refused");
    if (!lua_isnoneornil(L, 2))
        message.p = luaL_tolstring(L, 2, &message.n);
    fail_push(L, STR("failed"), (int)status, status == 503 || status == 504, message);
    return lua_error(L);
}

static void add(lua_State *L, const char *name, lua_CFunction opener)
{
    lua_pushcfunction(L, opener);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, name);
}

void libs_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"misuse", core_misuse},
        {"nearest", core_nearest},
        {"check_pattern", core_check_pattern},
        {"check_default", core_check_default},
        {"duration", core_duration},
        {"is_origin", core_is_origin},
        {"here", core_here},
        {"run", core_run},
        {"wrap_error", core_wrap_error},
        {"fail", core_fail},
        {"call", lib_call},
        {"unit", lib_unit},
        {"breaker", lib_breaker},
        {"breaker_settings", lib_breaker_settings},
        {"breaker_check", lib_breaker_check},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    add(L, "store", lib_store_open);
    add(L, "bus", lib_bus_open);
    add(L, "task", lib_task_open);
    add(L, "json", lib_json_open);
    add(L, "cache", lib_cache_open);
    add(L, "log", lib_log_open);
    add(L, "clock", lib_clock_open);
    add(L, "coroutine", lib_coroutine_open);
    add(L, "cjson", lib_cjson_open);
    add(L, "string", lib_string_open);
    add(L, "table", lib_table_open);
    add(L, "math", lib_math_open);
    lib_base_add(L);
    frozen_add(L);
    lib_request_add(L);
    lib_view_add(L);
    lib_breaker_open(L);
    flight_add(L);
    lua_newtable(L); /* marks the answers made by response() */
    lua_setfield(L, -2, "response_mark");
}
