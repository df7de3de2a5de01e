/* SPDX-License-Identifier: MIT */
/* Functions of Lua that would let a script act where no hook stops it (a finalizer, and an error
 * handler that runs inside the hook's own error), and those that look at a table raw, for which a
 * frozen one would be empty. */
#include "script/fail.h"
#include "script/frozen.h"
#include "script/guard.h"
#include "script/lib/libs.h"

#include <lauxlib.h>

/* setmetatable(table, metatable): Lua's, without __gc. */
static int base_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return fail_misuse(L, "setmetatable: cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        frozen_see(L, 2); /* a class that a file made */
        lua_pushliteral(L, "__gc");
        lua_rawget(L, 2);
        if (!lua_isnil(L, -1))
            return fail_misuse(L, "setmetatable: __gc is not available to scripts: nothing runs "
                                  "when a value goes; close it with a <close> variable");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int pcall_over(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L);
    if (guard_is_unwinding(L))
        return lua_error(L);
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

/* pcall(f, ...): Lua's, but that the end of a breaker's time is not to be caught. */
static int base_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, true);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, pcall_over);
    return pcall_over(L, status, 0);
}

/* Stack from 1: handler, then its results or its own error. */
static int handled(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pushboolean(L, false);
    lua_replace(L, 1);
    return lua_gettop(L);
}

static int xpcall_called(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD) {
        lua_pushboolean(L, true);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    if (guard_is_unwinding(L))
        return lua_error(L);
    lua_settop(L, 2); /* handler, error */
    lua_pushvalue(L, 1);
    lua_insert(L, 2);
    status = lua_pcallk(L, 1, LUA_MULTRET, 0, 0, handled);
    return handled(L, status, 0);
}

/* xpcall(f, handler, ...): the handler runs after f was left, where it can be stopped like
 * everything else (inside the error of a hook no other hook runs). */
static int base_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_copy(L, 2, 1);
    lua_replace(L, 2); /* handler, f, ... */
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, xpcall_called);
    return xpcall_called(L, status, 0);
}

/* rawget(table, key) */
static int base_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    frozen_see(L, 1);
    lua_rawget(L, 1);
    return 1;
}

/* rawlen(table or text) */
static int base_rawlen(lua_State *L)
{
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    frozen_see(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* next(table, key?) */
static int base_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    frozen_see(L, 1);
    if (lua_next(L, 1) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

void lib_base_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"setmetatable", base_setmetatable},
        {"pcall", base_pcall},
        {"xpcall", base_xpcall},
        {"rawget", base_rawget},
        {"rawlen", base_rawlen},
        {"next", base_next},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
