/* SPDX-License-Identifier: MIT */
/* Coroutines of scripts. They are Lua's own, but where one waits for the host (a store call inside
 * a generator) the wait passes through whoever resumed it up to the strand, and back down when the
 * answer is there. */
#include "script/coroutines.h"
#include "script/fail.h"
#include "script/guard.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

/* Resumes and moves the results over: their number, or -1 with the error value on L. */
static int resumed(lua_State *L, lua_State *co, int status, int results)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    luaL_checkstack(L, results + 1, "too many results");
    lua_xmove(co, L, results);
    return results;
}

/* Its <close> variables have run, unless there is no budget left: then the end of the task tries.
 */
static int reset(lua_State *L, lua_State *co)
{
    struct budget *b = budget_of(L);
    int status = budget_reset_thread(b, co);
    if (!budget_is_over(b))
        coroutines_forget(L, co);
    return status;
}

static int resume_over(lua_State *L, int status, lua_KContext context);
static int wrap_over(lua_State *L, int status, lua_KContext context);

/* One resume of co with n arguments already on it. Yields upward when co waits for the host. */
static int step(lua_State *L, lua_State *co, int n, lua_KFunction again)
{
    struct host *h = host_of(L);
    bool blocked = h != NULL && !lua_isyieldable(L);
    int results = 0;
    if (blocked)
        h->unyieldable++;
    struct budget *b = budget_of(L);
    budget_switch(b, co);
    int status = lua_resume(co, L, n, &results);
    budget_switch(b, L);
    if (blocked)
        h->unyieldable--;
    bool over = budget_is_over(b); /* out of a hook: it has its hooks off for good */
    if (status == LUA_OK || (status != LUA_YIELD && over))
        coroutines_forget(L, co);
    if (status == LUA_YIELD && over)
        return budget_give_up(L);
    if (status == LUA_YIELD && results == 1 &&
        lua_touserdata(co, -1) == (void *)&strand_wait_token) {
        lua_pop(co, 1);
        lua_pushlightuserdata(L, (void *)&strand_wait_token);
        return lua_yieldk(L, 1, (lua_KContext)co, again);
    }
    return again(L, status, (lua_KContext)(intptr_t)results);
}

static lua_State *check_coroutine(lua_State *L, int index)
{
    lua_State *co = lua_tothread(L, index);
    luaL_argcheck(L, co != NULL, index, "a coroutine");
    if (strand_owns(L, co))
        fail_misuse(L, "this coroutine runs a handler; only coroutines of your own can be resumed "
                       "or closed");
    return co;
}

/* False with a message on L if co cannot be resumed. */
static bool can_resume(lua_State *L, lua_State *co)
{
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) {
        lua_pushliteral(L, "cannot resume dead coroutine");
        return false;
    }
    if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD) {
        lua_pushliteral(L, "cannot resume dead coroutine");
        return false;
    }
    lua_Debug ar;
    if (lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar)) {
        lua_pushliteral(L, "cannot resume a running coroutine");
        return false;
    }
    return true;
}

/* The arguments, on top of L, for co. */
static void give(lua_State *L, lua_State *co, int n, const char *what)
{
    if (!lua_checkstack(co, n))
        fail_misuse(L, "%s: too many arguments", what);
    if (lua_status(co) == LUA_OK)
        coroutines_keep(L, co);
    lua_xmove(L, co, n);
}

static int failed(lua_State *L)
{
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

/* Stack 1: the coroutine. context: the coroutine when its host wait is over, else the number of
 * results. */
static int resume_over(lua_State *L, int status, lua_KContext context)
{
    lua_State *co = lua_tothread(L, 1);
    if (status == LUA_YIELD && context == (lua_KContext)co) {
        if (!can_resume(L, co))
            return failed(L);
        return step(L, co, 0, resume_over);
    }
    int n = resumed(L, co, status, (int)context);
    if (n < 0)
        return guard_is_unwinding(L) ? lua_error(L) : failed(L);
    lua_pushboolean(L, true);
    lua_insert(L, -(n + 1));
    return n + 1;
}

/* coroutine.resume(co, ...) */
static int coroutine_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L, 1);
    int n = lua_gettop(L) - 1;
    if (!can_resume(L, co))
        return failed(L);
    give(L, co, n, "coroutine.resume");
    return step(L, co, n, resume_over);
}

static int wrap_over(lua_State *L, int status, lua_KContext context)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    if (status == LUA_YIELD && context == (lua_KContext)co) {
        if (!can_resume(L, co))
            return lua_error(L);
        return step(L, co, 0, wrap_over);
    }
    int n = resumed(L, co, status, (int)context);
    if (n < 0) {
        reset(L, co);
        return lua_error(L);
    }
    return n;
}

static int call_wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = lua_gettop(L);
    if (!can_resume(L, co))
        return lua_error(L);
    give(L, co, n, "a wrapped coroutine");
    return step(L, co, n, wrap_over);
}

/* coroutine.close(co): true, or false and the error. */
static int coroutine_close(lua_State *L)
{
    lua_Debug ar;
    lua_State *co = check_coroutine(L, 1);
    int status = lua_status(co);
    bool idle = status != LUA_OK || lua_getstack(co, 0, &ar) == 0;
    if (co == L || !idle)
        return fail_misuse(L, "coroutine.close: the coroutine is running");
    if (reset(L, co) == LUA_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_xmove(co, L, 1);
    return failed(L);
}

static int coroutine_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

/* coroutine.wrap(fn) */
static int coroutine_wrap(lua_State *L)
{
    coroutine_create(L);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* coroutine.yield(...): only inside a coroutine of the script's own. */
static int coroutine_yield(lua_State *L)
{
    struct host *h = host_of(L);
    if (h != NULL && h->current != NULL && h->current->L == L)
        return fail_misuse(L, "coroutine.yield: this code does not run in a coroutine of yours");
    if (h != NULL && h->current != NULL && h->current->guard != NULL && h->current->guard->L == L)
        return fail_misuse(L, "coroutine.yield: a breaker's body cannot be left half-way");
    return lua_yield(L, lua_gettop(L));
}

int lib_coroutine_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", coroutine_create}, {"resume", coroutine_resume}, {"wrap", coroutine_wrap},
        {"yield", coroutine_yield},   {"close", coroutine_close},   {NULL, NULL},
    };
    static const char *const originals[] = {"status", "isyieldable", "running"};
    luaL_newlib(L, functions);
    lua_getglobal(L, "coroutine");
    for (size_t i = 0; i < sizeof(originals) / sizeof(*originals); i++) {
        lua_getfield(L, -1, originals[i]);
        lua_setfield(L, -3, originals[i]);
    }
    lua_pop(L, 1);
    return 1;
}
