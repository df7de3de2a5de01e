/* SPDX-License-Identifier: MIT */
/* Breakers are on the way of every call that matters: a closed one must cost next to nothing. So
 * the body has no coroutine of its own, and clock, timer and scope are left alone until they are
 * needed. */
#include "script/guard.h"

#include "script/host.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>

#define UNWINDING "the time of the breaker's body is over"

int64_t guard_now(const struct host *h)
{
    return clock_coarse_ns(h->clock);
}

/* ---- deadlines ---- */

static bool is_inside(const struct guard *g, const struct guard *of)
{
    while (g != NULL && g != of)
        g = g->outer;
    return g != NULL;
}

/* The strand waits, or what it waited for has come and it has not gone on yet. */
static void time_is_over(struct loop_timer *t)
{
    struct guard *g = list_entry(t, struct guard, timer);
    struct strand *s = g->strand;
    if (s->unwinding != NULL) {
        if (is_inside(s->unwinding, g))
            s->unwinding = g;
        return;
    }
    assert(s->op != NULL);
    s->op->class->cancel(s->op);
    s->op->completed = true;
    s->unwinding = g;
    strand_make_ready(s);
}

/* When it began is known to a tick of the kernel; a body waits soon, so that now is nearer. */
static void find_start(struct guard *g, int64_t now_ns, int64_t tick_ns)
{
    int64_t latest_ns = g->permit.started_ns + tick_ns;
    if (tick_ns > 0)
        g->permit.started_ns = latest_ns < now_ns ? latest_ns : now_ns;
}

void guard_arm(struct strand *s)
{
    struct host *h = s->task->host;
    loop_refresh(h->loop);
    int64_t now_ns = loop_now_ns(h->loop), tick_ns = clock_coarse_tick_ns(h->clock);
    for (struct guard *g = s->guard; g != NULL && !g->waited; g = g->outer) {
        g->waited = true;
        if (g->is_fallback)
            continue;
        find_start(g, now_ns, tick_ns);
        if (g->permit.timeout_ms > 0)
            loop_timer_start(h->loop, &g->timer,
                             g->permit.started_ns + g->permit.timeout_ms * NS_PER_MS);
    }
}

int64_t guard_over(struct guard *g)
{
    struct host *h = g->strand->task->host;
    int64_t now_ns = guard_now(h);
    bool begun = g->permit.started_ns > 0; /* else the fallback of a call that was refused */
    if (!begun || (!g->waited && now_ns == g->permit.started_ns))
        return now_ns;
    loop_refresh(h->loop);
    now_ns = loop_now_ns(h->loop);
    if (!g->waited)
        find_start(g, now_ns, clock_coarse_tick_ns(h->clock));
    return now_ns;
}

/* ---- coming and going ---- */

struct guard *guard_enter(lua_State *L, struct strand *s, struct registry_entry *entry,
                          struct breaker_permit permit)
{
    struct host *h = s->task->host;
    struct guard *g = h->idle_guards;
    if (g != NULL)
        h->idle_guards = g->outer;
    else
        g = xcalloc(1, sizeof(*g));
    g->outer = s->guard;
    g->strand = s;
    g->L = L;
    g->entry = entry;
    g->permit = permit;
    g->is_fallback = g->waited = g->judged = false;
    g->timer.fn = time_is_over;
    g->base = g->scope = NULL;
    g->coroutines = s->coroutine_count;
    g->on_cancel = LUA_NOREF;
    s->guard = g;
    return g;
}

void guard_leave(struct guard *g)
{
    struct host *h = g->strand->task->host;
    while (g->strand->guard != g) /* left by an error of the host's own */
        guard_leave(g->strand->guard);
    if (loop_timer_armed(&g->timer))
        loop_timer_stop(h->loop, &g->timer);
    if (g->on_cancel != LUA_NOREF)
        luaL_unref(h->L, LUA_REGISTRYINDEX, g->on_cancel);
    g->strand->guard = g->outer;
    g->outer = h->idle_guards;
    h->idle_guards = g;
}

static void open_scope(struct strand *s, struct guard *g)
{
    if (g == NULL || g->scope != NULL)
        return;
    open_scope(s, g->outer);
    if (g->is_fallback)
        return;
    g->base = strand_own_scope(s);
    g->scope = s->scope = store_scope_open(g->base);
}

void guard_open_scopes(struct strand *s)
{
    open_scope(s, s->guard);
}

/* [light userdata reference] */
static int call_on_cancel(lua_State *L)
{
    const int *reference = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, *reference);
    lua_call(L, 0, 0);
    return 0;
}

static void tell(struct strand *s, int *on_cancel)
{
    struct host *h = s->task->host;
    struct strand *before = h->current;
    struct budget_frame frame;
    struct err err;
    if (*on_cancel == LUA_NOREF)
        return;
    h->current = s;
    h->unyieldable++;
    budget_enter(h->budget, &s->task->closing, h->L, &frame);
    if (host_protected(h, call_on_cancel, on_cancel, &err) != 0)
        log_event(LOG_WARN, "on_cancel failed", LOG_C("error", err.message));
    budget_leave(h->budget, &frame);
    h->unyieldable--;
    h->current = before;
}

void guard_tell_cancelled(struct guard *g)
{
    tell(g->strand, &g->on_cancel);
}

void guard_tell_strand(struct strand *s)
{
    tell(s, &s->on_cancel);
}

void guard_drop_all(struct strand *s, enum breaker_outcome outcome)
{
    s->unwinding = NULL;
    while (s->guard != NULL) {
        struct guard *g = s->guard;
        int64_t now_ns = guard_over(g);
        guard_tell_cancelled(g);
        struct breaker *b = registry_lock(g->entry);
        if (g->is_fallback)
            breaker_fallback_leave(b, now_ns, g->permit.started_ns, BREAKER_EVENT_CANCELLED);
        else
            breaker_leave(b, now_ns, g->permit, outcome);
        registry_unlock(g->entry, now_ns);
        guard_leave(g);
    }
}

int guard_unwind(lua_State *L)
{
    lua_pushliteral(L, UNWINDING);
    return lua_error(L);
}

bool guard_is_unwinding(lua_State *L)
{
    struct host *h = host_of(L);
    return h != NULL && h->current != NULL && h->current->unwinding != NULL &&
           lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), UNWINDING) == 0;
}

void guard_pool_free(struct host *h)
{
    while (h->idle_guards != NULL) {
        struct guard *g = h->idle_guards;
        h->idle_guards = g->outer;
        free(g);
    }
}
