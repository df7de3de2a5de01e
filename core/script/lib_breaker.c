/* SPDX-License-Identifier: MIT */
/* breaker "name":call(body, fallback?). The body runs in a strand and scope of its own, so that its
 * timeout can close the coroutine, drop what it changed and give the permit back while the caller
 * goes on. */
#include "script/fail.h"
#include "script/host.h"
#include "script/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <assert.h>

#define BREAKER_METATABLE "moontide.breaker"

/* What `breaker "name"` returns. */
struct handle {
    struct registry_entry *entry; /* found at the first call */
    size_t n;
    char name[];
};

struct breaker_op {
    struct op op;
    struct strand *child;
    struct loop_timer timer;
    int64_t deadline_ns;
    struct registry_entry *entry;
    struct breaker_permit permit;
    bool timed_out;
};

static int64_t now_of(struct host *h)
{
    loop_refresh(h->loop);
    return loop_now_ns(h->loop);
}

static void report(struct breaker_op *o, enum breaker_outcome outcome)
{
    struct host *h = o->op.strand->task->host;
    int64_t now = now_of(h);
    breaker_leave(registry_lock(o->entry), now, o->permit, outcome);
    registry_unlock(o->entry, now);
}

/* The body's strand goes, with all it changed. */
static void drop_child(struct breaker_op *o)
{
    struct strand *child = o->child;
    o->child = NULL;
    if (!child->ended)
        strand_cancel(child);
    strand_drop_scopes(child, o->op.strand->scope);
    strand_free(child);
}

/* ---- the op ---- */

static void breaker_cancel(struct op *op)
{
    struct breaker_op *o = (struct breaker_op *)op;
    loop_timer_stop(op->strand->task->host->loop, &o->timer);
    if (o->child == NULL)
        return; /* timed out and reported already */
    report(o, BREAKER_CANCELLED);
    drop_child(o);
}

static void body_timed_out(struct loop_timer *t)
{
    struct breaker_op *o = list_entry(t, struct breaker_op, timer);
    o->timed_out = true;
    report(o, BREAKER_TIMEOUT);
    drop_child(o);
    op_complete(&o->op);
}

static void body_ended(struct strand *child)
{
    struct breaker_op *o = child->owner;
    struct host *h = child->task->host;
    loop_timer_stop(h->loop, &o->timer);
    if (now_of(h) > o->deadline_ns) {
        o->timed_out = true;
        report(
            o,
            BREAKER_TIMEOUT); /* the body never waited: the clock is looked at when it is through */
    }
    op_complete(&o->op);
}

/* The message after Hystrix' reason texts. */
static void push_refusal(lua_State *L, enum err_code code, struct str name, const char *reason,
                         int64_t retry_ms)
{
    char text[200];
    snprintf(text, sizeof(text), "%.*s %s and no fallback available.", STR_ARG(name), reason);
    fail_push(L, str_from(err_name(code)), err_status(code), err_retryable(code), str_from(text));
    if (retry_ms > 0) {
        lua_pushinteger(L, retry_ms);
        lua_setfield(L, -2, "retry_after_ms");
    }
}

/* What the fallback returned lies above base. */
static int fallback_over(lua_State *L, int status, lua_KContext base)
{
    (void)status;
    return lua_gettop(L) - (int)base;
}

/* With the error value at the top: the fallback's results, or the error. Stack 3: the fallback,
 * which may wait. */
static int fall_back(lua_State *L)
{
    if (!lua_isfunction(L, 3))
        return lua_error(L);
    lua_KContext base = lua_gettop(L) - 1;
    lua_pushvalue(L, 3);
    lua_insert(L, -2);
    lua_callk(L, 1, LUA_MULTRET, base, fallback_over);
    return fallback_over(L, LUA_OK, base);
}

static int body_failed(lua_State *L, struct breaker_op *o)
{
    lua_xmove(o->child->L, L, 1);
    drop_child(o);
    fail_wrap(L);
    lua_getfield(L, -1, "status");
    int status = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    report(o, status >= 400 && status < 500 ? BREAKER_BAD_REQUEST : BREAKER_FAILURE);
    return fall_back(L);
}

static int breaker_push(lua_State *L, struct op *op)
{
    struct breaker_op *o = (struct breaker_op *)op;
    struct strand *child = o->child;
    if (o->timed_out) {
        if (child != NULL)
            drop_child(o);
        push_refusal(L, ERR_TIMEOUT, registry_name(o->entry), "timed-out", 0);
        return fall_back(L);
    }
    if (child->status != LUA_OK)
        return body_failed(L, o);
    int n = lua_gettop(child->L);
    luaL_checkstack(L, n, "too many results");
    lua_xmove(child->L, L, n);
    store_scope_close(child->scope);
    child->scope = NULL;
    o->child = NULL;
    strand_free(child);
    report(o, BREAKER_SUCCESS);
    return n;
}

static const struct op_class breaker_class = {breaker_cancel, breaker_push};

/* ---- the word ---- */

static struct registry_entry *check_entry(lua_State *L, struct host *h)
{
    struct handle *handle = luaL_testudata(L, 1, BREAKER_METATABLE);
    if (handle == NULL)
        fail_misuse(L, "breaker: write pay:call(function() ... end) with a colon");
    if (handle->entry == NULL)
        handle->entry = registry_find(h->breakers, (struct str){handle->name, handle->n});
    assert(handle->entry != NULL);
    return handle->entry;
}

static int refused(lua_State *L, struct registry_entry *e, enum breaker_verdict verdict,
                   int64_t retry_ns)
{
    if (verdict == BREAKER_REFUSED_OPEN)
        push_refusal(L, ERR_OPEN, registry_name(e), "short-circuited",
                     (retry_ns + NS_PER_MS - 1) / NS_PER_MS);
    else
        push_refusal(L, ERR_LIMIT, registry_name(e), "could not acquire a semaphore for execution",
                     0);
    return fall_back(L);
}

static void start_body(lua_State *L, struct breaker_op *o, struct strand *s)
{
    struct host *h = s->task->host;
    lua_pushvalue(L, 2);
    o->child = strand_new(L, s, 0);
    o->child->on_end = body_ended;
    o->child->owner = o;
    o->timer.fn = body_timed_out;
    if (o->permit.timeout_ms > 0)
        loop_timer_start(h->loop, &o->timer, o->deadline_ns);
    strand_run(o->child, L);
}

/* breaker:call(body, fallback?): body's results. Refused, failed or timed out, fallback(err) runs
 * in the caller's scope; without one the error is raised. */
static int breaker_call(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "breaker:call");
    struct host *h = s->task->host;
    struct registry_entry *entry = check_entry(L, h);
    lua_settop(L, 3);
    if (!lua_isfunction(L, 2))
        return fail_misuse(L, "breaker:call(body, fallback): body must be a function, got a %s",
                           luaL_typename(L, 2));
    int64_t retry_ns = 0, now = now_of(h);
    struct breaker_op *o = (struct breaker_op *)op_new(L, sizeof(*o), &breaker_class);
    enum breaker_verdict verdict =
        breaker_enter(registry_lock(entry), now, NULL, &o->permit, &retry_ns);
    registry_unlock(entry, now);
    if (verdict != BREAKER_ADMITTED)
        return refused(L, entry, verdict, retry_ns);
    o->entry = entry;
    o->deadline_ns = o->permit.timeout_ms > 0 ? now + o->permit.timeout_ms * NS_PER_MS : INT64_MAX;
    start_body(L, o, s);
    return op_await(L, &o->op);
}

int lib_breaker(lua_State *L)
{
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle) + n + 1, 0);
    handle->entry = NULL;
    handle->n = n;
    memcpy(handle->name, name, n + 1);
    luaL_setmetatable(L, BREAKER_METATABLE);
    return 1;
}

void lib_breaker_open(lua_State *L)
{
    luaL_newmetatable(L, BREAKER_METATABLE);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, breaker_call);
    lua_setfield(L, -2, "call");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
