/* SPDX-License-Identifier: MIT */
/* What a state must know of its scripts' tables and functions so that nothing which they made while
 * they were loaded can change later: a value that changes would join services which share nothing,
 * and differ from worker to worker. */
#include "script/frozen.h"

#include "script/assigned.h"
#include "script/convert.h"
#include "script/fail.h"

#include <lauxlib.h>

static const char frozen_key = 0; /* in the metatable: the values */

bool frozen_see(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool frozen = lua_rawgetp(L, -1, &frozen_key) == LUA_TTABLE;
    if (frozen)
        lua_copy(L, -1, index < 0 ? index - 2 : index);
    lua_pop(L, 2);
    return frozen;
}

/* metatable(value): it, also a protected one, or nil. */
static int core_metatable(lua_State *L)
{
    luaL_checkany(L, 1);
    return lua_getmetatable(L, 1);
}

/* upvalue(fn, i): name and value; nothing behind the last, and for functions that are no script's.
 */
static int core_upvalue(lua_State *L)
{
    lua_Debug ar;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &ar);
    const char *name =
        ar.source[0] == '@' ? lua_getupvalue(L, 1, (int)luaL_checkinteger(L, 2)) : NULL;
    if (name == NULL)
        return 0;
    lua_pushstring(L, name);
    lua_insert(L, -2);
    return 2;
}

/* set_upvalue(fn, i, value): for all functions that share it. */
static int core_set_upvalue(lua_State *L)
{
    lua_settop(L, 3);
    lua_setupvalue(L, 1, (int)luaL_checkinteger(L, 2));
    return 0;
}

/* defined(fn): "path:line" of a script's function, or nil. */
static int core_defined(lua_State *L)
{
    lua_Debug ar;
    lua_settop(L, 1);
    lua_getinfo(L, ">S", &ar);
    if (ar.source[0] != '@')
        return 0;
    lua_pushfstring(L, "%s:%d", ar.source + 1, ar.linedefined > 0 ? ar.linedefined : 1);
    return 1;
}

static int dump_to(lua_State *L, const void *p, size_t n, void *out)
{
    (void)L;
    buf_adds(out, (struct str){p, n});
    return 0;
}

/* Of the function at the top, a script's or our own: by its code, as Lua writes it. [-0, +0, e] */
static bool find_assigned(lua_State *L, struct assigned *ret)
{
    lua_pushvalue(L, -1); /* lua_dump wants it at the top */
    struct buf *code = convert_buffer(L);
    lua_insert(L, -2);
    lua_dump(L, dump_to, code, 0);
    enum assigned_answer answer = assigned_find(buf_str(code), ret);
    lua_pop(L, 2);
    if (answer == ASSIGNED_UNKNOWN)
        luaL_error(L,
                   "this build cannot tell which functions keep state: the Lua library has another "
                   "form of code than " LUA_RELEASE);
    return answer == ASSIGNED_FOUND;
}

/* assigned(fn): name of a local of the file that fn assigns to, and "path:line" of the assignment;
 * or nothing. */
static int core_assigned(lua_State *L)
{
    struct assigned found;
    lua_Debug ar;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">Su", &ar);
    if (ar.source[0] != '@' || ar.nups == 0 || !find_assigned(L, &found))
        return 0;
    const char *name = lua_getupvalue(L, 1, found.upvalue + 1);
    lua_pushstring(L, name);
    lua_pushfstring(L, "%s:%d", ar.source + 1, found.line);
    return 2;
}

/* A library that is not the one this was built with must not switch the check off unnoticed: what
 * is known to assign has to be found, what does not has to pass. [-0, +0, e] */
static void check_assigned(lua_State *L)
{
    static const char *const probes[] = {
        "local a, b = 1\nreturn function(...)\nreturn function() b = a\nend\nend",
        "local a, b = 1\nreturn function(...)\nlocal c = a\nreturn function() c = b end\nend",
    };
    struct assigned found;
    for (int i = 0; i < 2; i++) {
        if (luaL_loadstring(L, probes[i]) != LUA_OK)
            lua_error(L);
        lua_call(L, 0, 1);
        bool finds = find_assigned(L, &found);
        if (finds != (i == 0) ||
            (finds && (found.line != 3 || strcmp(lua_getupvalue(L, -1, found.upvalue + 1), "b"))))
            luaL_error(L,
                       "this build cannot tell which functions keep state: the Lua library is not "
                       "like " LUA_RELEASE);
        lua_pop(L, finds ? 2 : 1);
    }
}

/* holds_state(value): is it a coroutine, or a function in C that walks one or a text? */
static int core_holds_state(lua_State *L)
{
    int type = lua_type(L, 1);
    if (lua_iscfunction(L, 1) && lua_getupvalue(L, 1, 1) != NULL) {
        type = lua_type(L, -1);
        if (lua_getupvalue(L, 1, 3) != NULL && lua_type(L, -1) == LUA_TUSERDATA)
            type = LUA_TTHREAD;
    }
    lua_pushboolean(L, type == LUA_TTHREAD);
    return 1;
}

void frozen_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"metatable", core_metatable},
        {"upvalue", core_upvalue},
        {"set_upvalue", core_set_upvalue},
        {"assigned", core_assigned},
        {"holds_state", core_holds_state},
        {"defined", core_defined},
        {NULL, NULL},
    };
    check_assigned(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushlightuserdata(L, (void *)&frozen_key);
    lua_setfield(L, -2, "frozen_key");
}
