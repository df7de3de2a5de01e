/* SPDX-License-Identifier: MIT */
/* json.encode, decode: the host's JSON, which loses nothing. */
#include "script/convert.h"
#include "script/fail.h"
#include "script/libs.h"

#include <lauxlib.h>

/* json.encode(value): compact JSON text. Rows and events are objects, {} is an object, json.array{}
 * a list. */
static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct buf *out = convert_buffer(L);
    convert_json(L, 1, out);
    struct str s = buf_str(out);
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

static int arena_gc(lua_State *L)
{
    struct arena **owner = lua_touserdata(L, 1);
    if (*owner != NULL)
        arena_free(*owner);
    *owner = NULL;
    return 0;
}

/* json.decode(text): tables, text, numbers; lists stay lists; null is absent in objects and
 * json.null in lists. */
static int json_decode(lua_State *L)
{
    struct str text;
    if (lua_type(L, 1) != LUA_TSTRING)
        return fail_misuse(L, "json.decode: expected a text, got a %s", luaL_typename(L, 1));
    text.p = lua_tolstring(L, 1, &text.n);
    struct arena **owner = lua_newuserdatauv(L, sizeof(*owner), 0);
    *owner = NULL;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    *owner = arena_new(text.n + 256);
    struct json j;
    struct err err;
    if (json_parse(*owner, text, 64, &j, &err) != 0)
        return fail_raise_err(L, &err);
    convert_push_json(L, &j);
    arena_free(*owner);
    *owner = NULL;
    return 1;
}

/* json.array(table?): marks it as a list, so that it is one also when it is empty. */
static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        lua_newtable(L);
    else
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    convert_mark_list(L);
    return 1;
}

int lib_json_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, json_encode);
    lua_setfield(L, -2, "encode");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, arena_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcclosure(L, json_decode, 1);
    lua_setfield(L, -2, "decode");
    lua_pushcfunction(L, json_array);
    lua_setfield(L, -2, "array");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
