/* SPDX-License-Identifier: MIT */
/* Settings of breakers between Lua and core/breaker/conf.c, which alone knows what there is and
 * what makes sense. */
#include "breaker/registry.h"
#include "script/fail.h"
#include "script/lib/libs.h"

#include <lauxlib.h>

/* The value at the top as JSON that borrows from it; false for what no setting can be. */
static bool value_of(lua_State *L, struct json *ret)
{
    *ret = (struct json){.type = JSON_NULL};
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        ret->type = lua_isinteger(L, -1) ? JSON_INT : JSON_NUMBER;
        if (ret->type == JSON_INT)
            ret->i = lua_tointeger(L, -1);
        else
            ret->n = lua_tonumber(L, -1);
        return true;
    case LUA_TBOOLEAN:
        ret->type = JSON_BOOL;
        ret->b = lua_toboolean(L, -1);
        return true;
    case LUA_TSTRING:
        ret->type = JSON_TEXT;
        ret->s.p = lua_tolstring(L, -1, &ret->s.n);
        return true;
    default:
        return false;
    }
}

int lib_breaker_layer(lua_State *L, int index, struct breaker_layer *ret, struct err *err)
{
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    lua_pushnil(L);
    while (lua_istable(L, index) && lua_next(L, index) != 0) {
        struct str name = {NULL, 0};
        struct json value;
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        if (!value_of(L, &value))
            err_set(err, ERR_CONFIG, "breaker option %.*s cannot be a %s", STR_ARG(name),
                    luaL_typename(L, -1));
        else if (breaker_layer_set(ret, name, &value, err) == 0) {
            lua_pop(L, 1);
            continue;
        }
        lua_settop(L, top);
        return -1;
    }
    lua_settop(L, top);
    return 0;
}

/* breaker_settings(): { { name =, hystrix = }, ... }; one without effect has no name. */
int lib_breaker_settings(lua_State *L)
{
    lua_createtable(L, breaker_setting_count, 0);
    for (int i = 0; i < breaker_setting_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, breaker_settings[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, breaker_settings[i].hystrix);
        lua_setfield(L, -2, "hystrix");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* breaker_check(settings of all, settings): what is wrong with them, or nothing. */
int lib_breaker_check(lua_State *L)
{
    struct breaker_layer all = {0}, own = {0};
    struct err err;
    if (lib_breaker_layer(L, 1, &all, &err) == 0 && lib_breaker_layer(L, 2, &own, &err) == 0 &&
        registry_check(&all, &own, &err) == 0)
        return 0;
    lua_pushstring(L, err.message);
    return 1;
}
