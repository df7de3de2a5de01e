/* SPDX-License-Identifier: MIT */
/* breaker "name":call(body, fallback?). The way of a closed breaker whose body neither waits nor
 * writes is two locks, two looks at a cheap clock and a protected call: no allocation
 * (script/guard.h). What goes wrong is slower: errors say why, in Hystrix' words. */
#include "script/lib/breaker.h"

#include "script/coroutines.h"
#include "script/fail.h"
#include "script/guard.h"
#include "script/host.h"
#include "script/lib/libs.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>

/* Where a call's stack begins. */
#define BASE LIB_BREAKER_BASE

/* Its address: no other userdata is it, or begins with it. */
static const char mark = 0;

/* ---- the body ---- */

/* The end of the body for the breaker; the guard is gone. */
static struct lib_breaker_failed report(struct guard *g, int64_t now_ns,
                                        enum breaker_outcome outcome)
{
    struct lib_breaker_failed f = {.entry = g->entry, .started_ns = g->permit.started_ns};
    struct breaker *b = registry_lock(g->entry);
    f.fallback_enabled = b->conf.fallback_enabled;
    breaker_leave(b, now_ns, g->permit, outcome);
    registry_unlock(g->entry, now_ns);
    guard_leave(g);
    return f;
}

static void drop_writes(struct strand *s, struct guard *g)
{
    if (!list_empty(&s->children_head))
        strand_abandon_children(s);
    coroutines_close(s, g->coroutines);
    if (g->scope != NULL)
        strand_drop_scopes(s, g->base);
}

/* Later than its time: by its timer, or found so when it was through. */
static int timed_out(lua_State *L, struct strand *s, struct guard *g, int64_t now_ns)
{
    s->unwinding = NULL;
    drop_writes(s, g);
    guard_tell_cancelled(g);
    struct lib_breaker_failed f = report(g, now_ns, BREAKER_TIMEOUT);
    lua_settop(L, BASE);
    lib_breaker_push_reason(L, registry_name(f.entry), ERR_TIMEOUT, LIB_BREAKER_TIMED_OUT);
    return lib_breaker_fall_back(L, &f);
}

static bool is_bad_request(lua_State *L)
{
    lua_getfield(L, -1, "status");
    int status = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return status >= 400 && status < 500;
}

static int body_failed(lua_State *L, struct strand *s, struct guard *g, int64_t now_ns)
{
    drop_writes(s, g);
    if (s->unwinding != NULL) { /* of a breaker around this one */
        guard_tell_cancelled(g);
        report(g, now_ns, BREAKER_CANCELLED);
        return lua_error(L);
    }
    fail_wrap(L);
    enum breaker_outcome outcome = is_bad_request(L) ? BREAKER_BAD_REQUEST : BREAKER_FAILURE;
    if (g->judged)
        outcome = g->outcome;
    struct lib_breaker_failed f = report(g, now_ns, outcome);
    if (outcome != BREAKER_FAILURE)
        return lua_error(L); /* as it is: the fallback is not for it */
    lib_breaker_add_reason(L, registry_name(f.entry));
    lua_copy(L, -1, BASE + 1);
    lua_settop(L, BASE + 1);
    return lib_breaker_fall_back(L, &f);
}

static int body_over(lua_State *L, int status, lua_KContext context)
{
    struct guard *g = (struct guard *)context;
    struct strand *s = g->strand;
    int64_t now_ns = guard_over(g);
    int64_t limit_ns = g->permit.timeout_ms * NS_PER_MS;
    if (s->unwinding == g ||
        (limit_ns > 0 && now_ns - g->permit.started_ns > limit_ns && s->unwinding == NULL))
        return timed_out(L, s, g, now_ns);
    if (status != LUA_OK && status != LUA_YIELD)
        return body_failed(L, s, g, now_ns);
    if (g->scope != NULL) {
        s->scope = g->base;
        store_scope_close(g->scope);
    }
    report(g, now_ns, g->judged ? g->outcome : BREAKER_SUCCESS);
    return lua_gettop(L) - BASE;
}

static int run_body(lua_State *L, struct strand *s, struct registry_entry *entry,
                    struct breaker_permit permit)
{
    struct guard *g = guard_enter(L, s, entry, permit);
    lua_pushvalue(L, 2);
    return body_over(L, lua_pcallk(L, 0, LUA_MULTRET, 0, (lua_KContext)g, body_over),
                     (lua_KContext)g);
}

/* ---- waiting for a place ---- */

/* Shared with the breaker until it was woken there: outlives the op. */
struct place {
    struct breaker_waiter waiter;
    struct mail mail;
    struct mailbox *home;
    const struct clock *clock;
    struct registry_entry *entry;
    struct place_op *op; /* NULL: nobody waits any more */
};

struct place_op {
    struct op op;
    struct loop_timer timer;
    struct place *place;
};

static void give_back(struct place *p)
{
    int64_t now_ns = clock_coarse_ns(p->clock);
    if (p->waiter.verdict == BREAKER_ADMITTED) {
        breaker_leave(registry_lock(p->entry), now_ns, p->waiter.permit, BREAKER_CANCELLED);
        registry_unlock(p->entry, now_ns);
    }
    free(p);
}

/* On the thread of who waits. */
static void place_arrives(struct mail *m)
{
    struct place *p = list_entry(m, struct place, mail);
    if (p->op == NULL) {
        give_back(p);
        return;
    }
    loop_timer_stop(p->op->op.strand->task->host->loop, &p->op->timer);
    op_complete(&p->op->op);
}

/* Under the breaker's lock, on any thread. */
static void place_woken(struct breaker_waiter *w)
{
    struct place *p = list_entry(w, struct place, waiter);
    mailbox_post(p->home, &p->mail);
}

/* True if it was still waiting there. */
static bool give_up(struct place *p, bool waited_too_long)
{
    int64_t now_ns = clock_coarse_ns(p->clock);
    bool waited = breaker_give_up(registry_lock(p->entry), now_ns, &p->waiter, waited_too_long);
    registry_unlock(p->entry, now_ns);
    return waited;
}

static void place_cancel(struct op *op)
{
    struct place_op *o = (struct place_op *)op;
    struct place *p = o->place;
    loop_timer_stop(op->strand->task->host->loop, &o->timer);
    p->op = NULL;
    if (op->completed)
        give_back(p);
    else if (give_up(p, false))
        free(p);
}

static void place_too_late(struct loop_timer *t)
{
    struct place_op *o = list_entry(t, struct place_op, timer);
    if (!give_up(o->place, true))
        return; /* the news is on its way */
    o->place->waiter.verdict = BREAKER_REFUSED_QUEUE;
    op_complete(&o->op);
}

static int place_push(lua_State *L, struct op *op)
{
    struct place *p = ((struct place_op *)op)->place;
    struct strand *s = op->strand;
    struct breaker_waiter w = p->waiter;
    struct lib_breaker_failed f = {.entry = p->entry, .refused = w.verdict, .retry_ns = w.retry_ns};
    free(p);
    lua_settop(L, BASE);
    if (w.verdict == BREAKER_ADMITTED)
        return run_body(L, s, f.entry, w.permit);
    f.fallback_enabled = registry_lock(f.entry)->conf.fallback_enabled;
    registry_unlock(f.entry, guard_now(s->task->host));
    return lib_breaker_refused(L, &f);
}

static const struct op_class place_class = {place_cancel, place_push};

/* The queue may have a place. Not on the way of a call that gets one at once. */
static int enter_or_wait(lua_State *L, struct strand *s, struct registry_entry *entry)
{
    struct host *h = s->task->host;
    struct breaker_permit permit;
    struct lib_breaker_failed f = {.entry = entry};
    int64_t now_ns = guard_now(h);
    struct place_op *o = (struct place_op *)op_new(L, sizeof(*o), &place_class);
    struct place *p = xcalloc(1, sizeof(*p));
    *p = (struct place){.waiter.woken = place_woken,
                        .mail.run = place_arrives,
                        .home = h->mailbox,
                        .clock = loop_clock(h->loop),
                        .entry = entry,
                        .op = o};
    struct breaker *b = registry_lock(entry);
    f.refused = breaker_enter(b, now_ns, &p->waiter, &permit, &f.retry_ns);
    f.fallback_enabled = b->conf.fallback_enabled;
    int wait_ms = p->waiter.queue_ms > 0 ? p->waiter.queue_ms : p->waiter.permit.timeout_ms;
    registry_unlock(entry, now_ns);
    if (f.refused != BREAKER_QUEUED) {
        free(p);
        lua_settop(L, BASE);
        return f.refused == BREAKER_ADMITTED ? run_body(L, s, entry, permit)
                                             : lib_breaker_refused(L, &f);
    }
    o->place = p;
    o->timer.fn = place_too_late;
    loop_refresh(h->loop);
    if (wait_ms > 0)
        loop_timer_start(h->loop, &o->timer, loop_now_ns(h->loop) + wait_ms * NS_PER_MS);
    return op_await(L, &o->op);
}

/* ---- the word ---- */

/* What `breaker "name"` returns. */
struct handle {
    const char *mark;
    struct registry_entry *entry; /* found at the first call */
    size_t n;
    char name[];
};

static struct registry_entry *check_entry(lua_State *L, struct host *h)
{
    struct handle *handle = lua_touserdata(L, 1);
    if (handle == NULL || lua_rawlen(L, 1) < sizeof(*handle) || handle->mark != &mark)
        fail_misuse(L, "breaker: write pay:call(function() ... end) with a colon");
    if (handle->entry == NULL)
        handle->entry = registry_find(h->breakers, (struct str){handle->name, handle->n});
    assert(handle->entry != NULL);
    return handle->entry;
}

/* What they mean is in lua/guards.lua. */
static int call_with_options(lua_State *L)
{
    if (!lua_istable(L, BASE))
        return fail_misuse(L, "breaker:call: fallback must be a function or a table of options");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, BASE, LUA_MULTRET, 0, lib_breaker_results);
    return lua_gettop(L);
}

/* breaker:call(body, fallback?): body's results. Refused, failed or timed out, fallback(err) runs
 * in the caller's scope; without one the error is raised. */
static int breaker_call(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "breaker:call");
    struct lib_breaker_failed f = {.entry = check_entry(L, s->task->host)};
    int64_t now_ns = guard_now(s->task->host);
    struct breaker_permit permit;
    lua_settop(L, BASE);
    if (!lua_isfunction(L, 2))
        return fail_misuse(L, "breaker:call(body, fallback): body must be a function, got a %s",
                           luaL_typename(L, 2));
    int kind = lua_type(L, BASE);
    if (kind != LUA_TFUNCTION && kind != LUA_TNIL && lua_touserdata(L, BASE) != &mark)
        return call_with_options(L);
    struct breaker *b = registry_lock(f.entry);
    if (b->conf.queue > 0) {
        registry_unlock(f.entry, now_ns);
        return enter_or_wait(L, s, f.entry);
    }
    f.refused = breaker_enter(b, now_ns, NULL, &permit, &f.retry_ns);
    f.fallback_enabled = b->conf.fallback_enabled;
    registry_unlock(f.entry, now_ns);
    return f.refused == BREAKER_ADMITTED ? run_body(L, s, f.entry, permit)
                                         : lib_breaker_refused(L, &f);
}

/* breaker_fall_back(handle, error, fallback?): what call does after a failure. */
static int core_fall_back(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "breaker:call");
    struct lib_breaker_failed f = {.entry = check_entry(L, s->task->host)};
    lua_settop(L, BASE);
    lua_pushvalue(L, 2);
    f.fallback_enabled = registry_lock(f.entry)->conf.fallback_enabled;
    registry_unlock(f.entry, guard_now(s->task->host));
    return lib_breaker_fall_back(L, &f);
}

/* ---- inside a body ---- */

static struct guard *body_of(const struct strand *s)
{
    struct guard *g = s->guard;
    while (g != NULL && g->is_fallback)
        g = g->outer;
    return g;
}

static bool is_inside_body(const struct strand *s)
{
    while (s != NULL && body_of(s) == NULL)
        s = s->parent;
    return s != NULL;
}

static struct guard *check_guard(lua_State *L, const char *word)
{
    struct guard *g = body_of(strand_check(L, word));
    if (g == NULL)
        fail_misuse(L, "%s is for the body of a breaker's call", word);
    return g;
}

/* on_cancel(fn): fn() runs when the body is given up, because its time is over or nobody wants its
 * result any more; in a function of task.all or task.race inside of a body, when that function is.
 * It cannot wait. The last one counts. */
static int on_cancel(lua_State *L)
{
    struct strand *s = strand_check(L, "on_cancel");
    struct guard *own = body_of(s);
    int *at = own != NULL ? &own->on_cancel : &s->on_cancel;
    if (own == NULL && !is_inside_body(s))
        check_guard(L, "on_cancel");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, *at);
    *at = LUA_NOREF;
    *at = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* outcome(name): how the body that runs is to be counted, whatever it returns or raises. */
static int core_outcome(lua_State *L)
{
    static const char *const names[] = {"success", "failure", "bad_request", "ignore", NULL};
    static const enum breaker_outcome outcomes[] = {BREAKER_SUCCESS, BREAKER_FAILURE,
                                                    BREAKER_BAD_REQUEST, BREAKER_IGNORED};
    struct guard *g = check_guard(L, "a classifier");
    g->outcome = outcomes[luaL_checkoption(L, 1, NULL, names)];
    g->judged = true;
    return 0;
}

/* read_only(): raises if the body that runs has changed or emitted something: others get what it
 * gives, whatever becomes of the unit of who happens to run it. */
static int core_read_only(lua_State *L)
{
    const struct store_scope *s = check_guard(L, "a shared body")->scope;
    if (s == NULL ||
        (s->change_count == 0 && s->event_count == 0 && s->timers == NULL && s->cancel_count == 0))
        return 0;
    return fail_misuse(L, "a body whose result other requests share must not write: what it "
                          "changes would be undone with the request that happens to run it");
}

/* breaker_about(handle): its name, and whether it has a request cache. */
static int core_about(lua_State *L)
{
    struct host *h = strand_check(L, "breaker")->task->host;
    struct registry_entry *entry = check_entry(L, h);
    struct str name = registry_name(entry);
    bool cache = registry_lock(entry)->conf.request_cache;
    registry_unlock(entry, guard_now(h));
    lua_pushlstring(L, name.p, name.n);
    lua_pushboolean(L, cache);
    return 2;
}

/* note(handle, "hedge" | "cached" | "collapsed" | "retry" | "retried", n?): counts n times; false
 * for a retry that has no place in the budget. */
static int core_note(lua_State *L)
{
    static const char *const names[] = {"hedge", "cached", "collapsed", "retry", "retried", NULL};
    static const enum breaker_event events[] = {BREAKER_EVENT_HEDGE, BREAKER_EVENT_FROM_CACHE,
                                                BREAKER_EVENT_COLLAPSED};
    enum { RETRY = 3 };
    struct host *h = strand_check(L, "breaker")->task->host;
    struct registry_entry *entry = check_entry(L, h);
    int64_t now_ns = guard_now(h);
    int what = luaL_checkoption(L, 2, NULL, names);
    lua_Integer n = luaL_optinteger(L, 3, 1);
    bool granted = true;
    struct breaker *b = registry_lock(entry);
    for (lua_Integer i = 0; what < RETRY && i < n; i++)
        breaker_note(b, now_ns, events[what]);
    if (what == RETRY)
        granted = breaker_retry_enter(b, now_ns);
    else if (what > RETRY)
        breaker_retry_leave(b);
    registry_unlock(entry, now_ns);
    lua_pushboolean(L, granted);
    return 1;
}

int lib_breaker(lua_State *L)
{
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle) + n + 1, 0);
    handle->mark = &mark;
    handle->entry = NULL;
    handle->n = n;
    memcpy(handle->name, name, n + 1);
    luaL_setmetatable(L, LIB_BREAKER_METATABLE);
    return 1;
}

/* breaker_method(name, fn): a word of all handles. */
static int core_method(lua_State *L)
{
    luaL_getmetatable(L, LIB_BREAKER_METATABLE);
    lua_getfield(L, -1, "__index");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, luaL_checkstring(L, 1));
    return 0;
}

/* breaker_options(fn): fn(handle, body, options) is what call does with options. */
static int core_options(lua_State *L)
{
    luaL_getmetatable(L, LIB_BREAKER_METATABLE);
    lua_getfield(L, -1, "__index");
    lua_getfield(L, -1, "call");
    lua_pushvalue(L, 1);
    lua_setupvalue(L, -2, 1);
    return 0;
}

void lib_breaker_open(lua_State *L)
{
    static const luaL_Reg words[] = {{"on_cancel", on_cancel},
                                     {"outcome", core_outcome},
                                     {"read_only", core_read_only},
                                     {"note", core_note},
                                     {"breaker_about", core_about},
                                     {"breaker_fall_back", core_fall_back},
                                     {"breaker_options", core_options},
                                     {"breaker_method", core_method},
                                     {NULL, NULL}};
    luaL_setfuncs(L, words, 0);
    luaL_newmetatable(L, LIB_BREAKER_METATABLE);
    lua_createtable(L, 0, 2);
    lua_pushnil(L);
    lua_pushcclosure(L, breaker_call, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -5, "breaker_call");
    lua_setfield(L, -2, "call");
    lua_pushvalue(L, -1); /* what is not there is asked of its own __index: lua/guards.lua */
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&mark); /* a fallback: what fails is given back */
    lua_setfield(L, -2, "breaker_try");
}
