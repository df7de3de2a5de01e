/* SPDX-License-Identifier: MIT */
/* table.*: as the reference manual has them, in loops that look at the budget: __len may say any
 * number, and moving nothing 2^60 times calls no hook. */
#include "script/budget.h"
#include "script/fail.h"
#include "script/lib/libs.h"

#include <lauxlib.h>
#include <lualib.h>

#include <limits.h>

static void check_table(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TTABLE)
        return;
    if (luaL_getmetafield(L, index, "__index") == LUA_TNIL)
        luaL_checktype(L, index, LUA_TTABLE);
    lua_pop(L, 1);
}

/* table.insert(list, position?, value) */
static int table_insert(lua_State *L)
{
    int left = 0;
    check_table(L, 1);
    lua_Integer end = luaL_intop(+, luaL_len(L, 1), 1), position = end;
    int arguments = lua_gettop(L);
    if (arguments != 2 && arguments != 3)
        return luaL_error(L, "wrong number of arguments to 'insert'");
    if (arguments == 3) {
        position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)position - 1u < (lua_Unsigned)end, 2,
                      "position out of bounds");
    }
    for (lua_Integer i = end; i > position; i--) {
        budget_step(L, &left);
        lua_geti(L, 1, i - 1);
        lua_seti(L, 1, i);
    }
    lua_seti(L, 1, position);
    return 0;
}

/* table.remove(list, position?): the value that was there. */
static int table_remove(lua_State *L)
{
    int left = 0;
    check_table(L, 1);
    lua_Integer n = luaL_len(L, 1), position = luaL_optinteger(L, 2, n);
    if (position != n)
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)n, 2,
                      "position out of bounds");
    lua_geti(L, 1, position);
    for (; position < n; position++) {
        budget_step(L, &left);
        lua_geti(L, 1, position + 1);
        lua_seti(L, 1, position);
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

static void move_one(lua_State *L, int to, lua_Integer from_at, lua_Integer to_at, int *left)
{
    budget_step(L, left);
    lua_geti(L, 1, from_at);
    lua_seti(L, to, to_at);
}

/* table.move(from, first, last, at, to?) */
static int table_move(lua_State *L)
{
    int left = 0;
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    lua_Integer at = luaL_checkinteger(L, 4);
    int to = lua_isnoneornil(L, 5) ? 1 : 5;
    check_table(L, 1);
    check_table(L, to);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3,
                      "too many elements to move");
        lua_Integer n = last - first + 1;
        luaL_argcheck(L, at <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        bool forward = at > last || at <= first || (to != 1 && !lua_compare(L, 1, to, LUA_OPEQ));
        for (lua_Integer i = 0; forward && i < n; i++)
            move_one(L, to, first + i, at + i, &left);
        for (lua_Integer i = n - 1; !forward && i >= 0; i--)
            move_one(L, to, first + i, at + i, &left);
    }
    lua_pushvalue(L, to);
    return 1;
}

/* table.concat(list, separator?, first?, last?) */
static int table_concat(lua_State *L)
{
    int left = 0;
    size_t n;
    luaL_Buffer out;
    check_table(L, 1);
    lua_Integer last = luaL_len(L, 1);
    const char *separator = luaL_optlstring(L, 2, "", &n);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    luaL_buffinit(L, &out);
    for (bool more = i <= last; more; more = i++ < last) {
        budget_step(L, &left);
        lua_geti(L, 1, i);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'",
                              (LUAI_UACINT)i);
        luaL_addvalue(&out);
        if (i < last)
            luaL_addlstring(&out, separator, n);
    }
    luaL_pushresult(&out);
    return 1;
}

/* table.unpack(list, first?, last?) */
static int table_unpack(lua_State *L)
{
    int left = 0;
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    if (first > last)
        return 0;
    lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first;
    if (n >= INT_MAX || !lua_checkstack(L, (int)(n + 1)))
        return luaL_error(L, "too many results to unpack");
    for (lua_Unsigned i = 0; i <= n; i++) {
        budget_step(L, &left);
        lua_geti(L, 1, first + (lua_Integer)i);
    }
    return (int)(n + 1);
}

/* ---- sort ---- */

/* Is the value at a (absolute) less than that at b? Stack 2: the comparator or nil. */
static bool less(lua_State *L, int a, int b, int *left)
{
    budget_step(L, left);
    if (lua_isnil(L, 2))
        return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

/* Pushes the greater child of a heap's place and returns where it is. */
static lua_Integer push_greater(lua_State *L, lua_Integer at, lua_Integer n, int *left)
{
    int top = lua_gettop(L);
    lua_Integer child = 2 * at;
    lua_geti(L, 1, child);
    if (child == n)
        return child;
    lua_geti(L, 1, child + 1);
    if (less(L, top + 1, top + 2, left)) {
        lua_replace(L, top + 1);
        return child + 1;
    }
    lua_settop(L, top + 1);
    return child;
}

/* Puts the value at the top of the stack into the heap whose first place is free. */
static void sink(lua_State *L, lua_Integer at, lua_Integer n, int *left)
{
    int value = lua_gettop(L);
    while (at <= n / 2) {
        lua_Integer child = push_greater(L, at, n, left);
        if (!less(L, value, value + 1, left)) {
            lua_settop(L, value);
            break;
        }
        lua_seti(L, 1, at);
        at = child;
    }
    lua_seti(L, 1, at);
}

/* table.sort(list, comparator?): a heap sort, which ends whatever the comparator says. */
static int table_sort(lua_State *L)
{
    int left = 0;
    check_table(L, 1);
    lua_Integer n = luaL_len(L, 1);
    luaL_argcheck(L, n < INT_MAX, 1, "array too big");
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    for (lua_Integer i = n / 2; i >= 1; i--) {
        lua_geti(L, 1, i);
        sink(L, i, n, &left);
    }
    for (lua_Integer i = n; i > 1; i--) {
        lua_geti(L, 1, i);
        lua_geti(L, 1, 1);
        lua_seti(L, 1, i);
        sink(L, 1, i - 1, &left);
    }
    return 0;
}

int lib_table_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"insert", table_insert},
        {"remove", table_remove},
        {"move", table_move},
        {"concat", table_concat},
        {"unpack", table_unpack},
        {"sort", table_sort},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_getglobal(L, LUA_TABLIBNAME);
    lua_getfield(L, -1, "pack");
    lua_setfield(L, -3, "pack");
    lua_pop(L, 1);
    return 1;
}
