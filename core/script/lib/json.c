/* SPDX-License-Identifier: MIT */
/* json.encode, decode: the host's JSON, which loses nothing. cjson.encode, decode: the library's,
 * which knows no bounds and is asked only when the value is within them. */
#include "script/budget.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/lib/libs.h"

#include <lauxlib.h>
#include <lua-cjson.h>

#define DECODE_MAX ((size_t)1 << 20) /* as much as a request may bring */

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

/* json.decode(text): tables, text, numbers; lists stay lists; null is absent in objects and
 * json.null in lists. */
static int json_decode(lua_State *L)
{
    struct str text;
    if (lua_type(L, 1) != LUA_TSTRING)
        return fail_misuse(L, "json.decode: expected a text, got a %s", luaL_typename(L, 1));
    text.p = lua_tolstring(L, 1, &text.n);
    if (text.n > DECODE_MAX)
        return fail_raise(L, ERR_BUDGET, "json.decode: a text of more than 1 MiB");
    lua_settop(L, 1);
    struct arena *a = convert_arena(L);
    struct json j;
    struct err err;
    if (json_parse(a, text, 64, &j, &err) != 0)
        return fail_raise_err(L, &err);
    convert_push_json(L, &j);
    convert_arena_end(L, 2);
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
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL && !convert_is_marked(L, 1))
        return fail_misuse(L, "json.array: this table cannot be changed; copy it first");
    lua_settop(L, 1);
    convert_mark_list(L);
    return 1;
}

int lib_json_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, json_encode);
    lua_setfield(L, -2, "encode");
    lua_pushcfunction(L, json_decode);
    lua_setfield(L, -2, "decode");
    lua_pushcfunction(L, json_array);
    lua_setfield(L, -2, "array");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}

/* ---- cjson ---- */

struct measure {
    size_t bytes;
    int left;
    bool frozen; /* there is a table that the library would take for an empty one */
};

/* What the value at the top costs at least as text. */
static void measure(lua_State *L, struct measure *m, int depth)
{
    if (depth > 64)
        fail_misuse(L, "cjson.encode: nested deeper than 64 (or contains itself)");
    luaL_checkstack(L, 3, "cjson.encode");
    budget_step(L, &m->left);
    m->bytes += 2;
    if (lua_type(L, -1) == LUA_TSTRING)
        m->bytes += lua_rawlen(L, -1);
    if (m->bytes > BUDGET_TEXT)
        fail_raise(L, ERR_BUDGET, "cjson.encode: more than 8 MiB of JSON");
    if (lua_type(L, -1) != LUA_TTABLE)
        return;
    m->frozen |= frozen_see(L, -1);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        measure(L, m, depth + 1);
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING)
            m->bytes += lua_rawlen(L, -1);
    }
}

/* A copy of the table at the top in its place, with those inside of it; they are measured. */
static void thaw(lua_State *L)
{
    if (lua_type(L, -1) != LUA_TTABLE)
        return;
    luaL_checkstack(L, 4, "cjson.encode");
    frozen_see(L, -1);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        thaw(L);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

/* Calls the library's function at 1; what it raises gets the script's line. */
static int call_library(lua_State *L)
{
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return 1;
    fail_wrap(L);
    return lua_error(L);
}

static int cjson_encode(lua_State *L)
{
    struct measure m = {0, 0, false};
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    measure(L, &m, 0);
    if (m.frozen)
        thaw(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return call_library(L);
}

static int cjson_decode(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return fail_misuse(L, "cjson.decode: expected a text, got a %s", luaL_typename(L, 1));
    if (lua_rawlen(L, 1) > DECODE_MAX)
        return fail_raise(L, ERR_BUDGET, "cjson.decode: a text of more than 1 MiB");
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return call_library(L);
}

int lib_cjson_open(lua_State *L)
{
    static const char *const kept[] = {"null", "_NAME", "_VERSION"};
    lua_newtable(L);
    luaopen_cjson(L);
    lua_getfield(L, -1, "encode_keep_buffer"); /* a large text would stay for ever */
    lua_pushboolean(L, false);
    lua_call(L, 1, 0);
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_getfield(L, -1, "encode");
    lua_pushcclosure(L, cjson_encode, 1);
    lua_setfield(L, -3, "encode");
    lua_getfield(L, -1, "decode");
    lua_pushcclosure(L, cjson_decode, 1);
    lua_setfield(L, -3, "decode");
    lua_pop(L, 1);
    return 1;
}
