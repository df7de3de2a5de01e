/* SPDX-License-Identifier: MIT */
/* What a failed call gives instead: its fallback's results, or an error that says why there are
 * none. An error value costs more than the whole of a refused call, so none is made for a fallback
 * that takes none. */
#include "script/guard.h"
#include "script/host.h"
#include "script/lib/breaker.h"

#include <lauxlib.h>

#include <assert.h>

#define BASE LIB_BREAKER_BASE

static void push_refusal(lua_State *L, const struct lib_breaker_failed *f)
{
    lib_breaker_push_refusal(L, registry_name(f->entry), f->refused,
                             (f->retry_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* What failed is told after all: where no error was made there is nil at BASE + 1. */
static void need_error(lua_State *L, const struct lib_breaker_failed *f)
{
    if (!lua_isnil(L, BASE + 1))
        return;
    push_refusal(L, f);
    lua_replace(L, BASE + 1);
}

static int thrown(lua_State *L, const struct lib_breaker_failed *f, enum breaker_event event,
                  enum lib_breaker_end end)
{
    int64_t now_ns = guard_now(host_of(L));
    breaker_thrown(registry_lock(f->entry), now_ns, f->started_ns, event);
    registry_unlock(f->entry, now_ns);
    lib_breaker_push_end(L, registry_name(f->entry), end);
    return lua_error(L);
}

static void end_fallback(struct guard *g, enum breaker_event event)
{
    int64_t now_ns = guard_over(g);
    breaker_fallback_leave(registry_lock(g->entry), now_ns, g->permit.started_ns, event);
    registry_unlock(g->entry, now_ns);
    guard_leave(g);
}

/* Stack: BASE, the error, then the fallback's results or its error. */
static int fallback_over(lua_State *L, int status, lua_KContext context)
{
    struct guard *g = (struct guard *)context;
    struct lib_breaker_failed f = {
        .entry = g->entry, .refused = g->refused, .retry_ns = g->retry_ns};
    bool ok = status == LUA_OK || status == LUA_YIELD;
    bool unwinding = guard_is_unwinding(L);
    end_fallback(g, ok          ? BREAKER_EVENT_FALLBACK_SUCCESS
                    : unwinding ? BREAKER_EVENT_CANCELLED
                                : BREAKER_EVENT_FALLBACK_FAILURE);
    if (ok)
        return lua_gettop(L) - BASE - 1;
    if (unwinding)
        return lua_error(L);
    need_error(L, &f);
    lib_breaker_push_end(L, registry_name(f.entry), LIB_BREAKER_FAILED);
    return lua_error(L);
}

/* Does the function at BASE take an error? If not, none is made for it. */
static bool fallback_takes_error(lua_State *L)
{
    lua_Debug ar;
    lua_pushvalue(L, BASE);
    lua_getinfo(L, ">u", &ar);
    return ar.nparams > 0 || ar.isvararg;
}

static int run_fallback(lua_State *L, const struct lib_breaker_failed *f)
{
    struct guard *g = guard_enter(L, host_of(L)->current, f->entry,
                                  (struct breaker_permit){.started_ns = f->started_ns});
    g->is_fallback = true;
    g->refused = f->refused;
    g->retry_ns = f->retry_ns;
    lua_pushvalue(L, BASE);
    lua_pushvalue(L, BASE + 1);
    return fallback_over(L, lua_pcallk(L, 1, LUA_MULTRET, 0, (lua_KContext)g, fallback_over),
                         (lua_KContext)g);
}

int lib_breaker_fall_back(lua_State *L, const struct lib_breaker_failed *f)
{
    assert(lua_gettop(L) == BASE + 1);
    int kind = lua_type(L, BASE);
    if (kind == LUA_TLIGHTUSERDATA) { /* one try of several: lua/guards.lua goes on */
        lua_pushboolean(L, false);
        lua_insert(L, -2);
        return 2;
    }
    if (kind != LUA_TFUNCTION)
        return thrown(L, f, BREAKER_EVENT_FALLBACK_MISSING, LIB_BREAKER_MISSING);
    if (!f->fallback_enabled)
        return thrown(L, f, BREAKER_EVENT_FALLBACK_DISABLED, LIB_BREAKER_DISABLED);
    int64_t now_ns = guard_now(host_of(L));
    bool entered = breaker_fallback_enter(registry_lock(f->entry), now_ns);
    registry_unlock(f->entry, now_ns);
    if (!entered) {
        need_error(L, f);
        lib_breaker_push_end(L, registry_name(f->entry), LIB_BREAKER_REJECTED);
        return lua_error(L);
    }
    return run_fallback(L, f);
}

int lib_breaker_refused(lua_State *L, const struct lib_breaker_failed *f)
{
    if (f->fallback_enabled && lua_isfunction(L, BASE) && !fallback_takes_error(L))
        lua_pushnil(L);
    else
        push_refusal(L, f);
    return lib_breaker_fall_back(L, f);
}
