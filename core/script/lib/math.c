/* SPDX-License-Identifier: MIT */
/* math.*: Lua's own, but for the generator that all scripts of a state would share: a seed is the
 * task's, so that nobody can foresee or repeat the numbers of others. */
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>
#include <lualib.h>

#include <stdlib.h>

#define SLOTS 64

/* Sequences of the tasks that gave a seed. Of two whose runs share a slot the older one goes on
 * without its own. */
struct sequences {
    struct {
        uint64_t serial, state;
    } slots[SLOTS];
};

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* From 0 to most, every one alike. */
static uint64_t draw_up_to(uint64_t *state, uint64_t most)
{
    uint64_t mask = most, n;
    for (int shift = 1; shift < 64; shift *= 2)
        mask |= mask >> shift;
    do
        n = draw(state) & mask;
    while (n > most);
    return n;
}

/* math.random(), (n), (m, n). Upvalues: the sequences, Lua's own. */
static int math_random(lua_State *L)
{
    struct sequences *all = lua_touserdata(L, lua_upvalueindex(1));
    struct host *h = host_of(L);
    uint64_t serial = h != NULL && h->current != NULL ? h->current->task->serial : 0;
    uint64_t *state = &all->slots[serial % SLOTS].state;
    if (serial == 0 || all->slots[serial % SLOTS].serial != serial) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_insert(L, 1);
        lua_call(L, lua_gettop(L) - 1, 1);
        return 1;
    }
    if (lua_gettop(L) == 0) {
        lua_pushnumber(L, (double)(draw(state) >> 11) * 0x1p-53);
        return 1;
    }
    lua_Integer low = 1, high = luaL_checkinteger(L, 1);
    if (lua_gettop(L) > 1) {
        low = high;
        high = luaL_checkinteger(L, 2);
    } else if (high == 0) {
        lua_pushinteger(L, (lua_Integer)draw(state));
        return 1;
    }
    luaL_argcheck(L, low <= high, lua_gettop(L) > 1 ? 2 : 1, "interval is empty");
    uint64_t n = draw_up_to(state, (uint64_t)high - (uint64_t)low);
    lua_pushinteger(L, (lua_Integer)((uint64_t)low + n));
    return 1;
}

/* math.randomseed(n): the task's numbers from here on. */
static int math_randomseed(lua_State *L)
{
    struct sequences *all = lua_touserdata(L, lua_upvalueindex(1));
    uint64_t serial = strand_check(L, "math.randomseed")->task->serial;
    lua_Number n = luaL_checknumber(L, 1);
    uint64_t seed;
    int is_integer;
    lua_Integer whole = lua_tointegerx(L, 1, &is_integer);
    memcpy(&seed, &n, sizeof(seed));
    all->slots[serial % SLOTS].serial = serial;
    all->slots[serial % SLOTS].state = is_integer ? (uint64_t)whole : seed;
    return 0;
}

int lib_math_open(lua_State *L)
{
    lua_newtable(L);
    lua_getglobal(L, LUA_MATHLIBNAME);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    struct sequences *all = lua_newuserdatauv(L, sizeof(*all), 0);
    memset(all, 0, sizeof(*all));
    lua_pushvalue(L, -1);
    lua_getfield(L, -3, "random");
    lua_pushcclosure(L, math_random, 2);
    lua_setfield(L, -4, "random");
    lua_pushcclosure(L, math_randomseed, 1);
    lua_setfield(L, -3, "randomseed");
    lua_pop(L, 1);
    return 1;
}
