/* SPDX-License-Identifier: MIT */
/* Coroutines of the host: taken from a pool (making one costs more than running a small handler),
 * resumed here and nowhere else, and closed when their task no longer needs them. */
#include "script/strand.h"

#include "script/coroutines.h"
#include "script/fail.h"
#include "script/flight.h"
#include "script/guard.h"
#include "script/host.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdlib.h>

/* An idle coroutine, anchored in the registry. */
struct coroutine {
    struct coroutine *next;
    lua_State *L;
    int ref;
};

/* What a waiting strand yields. Scripts cannot make one; script/lib/coroutine.c passes it on. */
const char strand_wait_token = 0;

static int make_coroutine(lua_State *L)
{
    struct coroutine *c = lua_touserdata(L, 1);
    c->L = lua_newthread(L);
    lua_pushboolean(L, true);
    lua_rawsetp(L, LUA_REGISTRYINDEX, c->L);
    c->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool strand_owns(lua_State *L, lua_State *co)
{
    bool owned = lua_rawgetp(L, LUA_REGISTRYINDEX, co) == LUA_TBOOLEAN;
    lua_pop(L, 1);
    return owned;
}

static struct strand *strand_take(struct task *t)
{
    struct host *h = t->host;
    struct coroutine *c = h->idle_coroutines;
    if (c == NULL) {
        struct err err;
        c = xcalloc(1, sizeof(*c));
        if (host_protected(h, make_coroutine, c, &err) != 0)
            abort(); /* a host that cannot make a coroutine cannot report it either */
    } else {
        h->idle_coroutines = c->next;
    }
    struct strand *s = xcalloc(1, sizeof(*s));
    s->task = t;
    s->L = c->L;
    s->ref = c->ref;
    free(c);
    list_init(&s->children_head);
    list_init(&s->coroutines);
    list_init(&s->flights);
    s->on_cancel = s->request_cache = LUA_NOREF;
    list_push(&t->strands, &s->node);
    return s;
}

struct strand *strand_root(struct task *t, lua_CFunction fn)
{
    struct strand *s = strand_take(t);
    s->service = t->service;
    lua_pushcfunction(s->L, fn); /* a light function and a light pointer: neither allocates */
    lua_pushlightuserdata(s->L, t);
    return s;
}

struct strand *strand_new(lua_State *L, struct strand *parent, int n)
{
    struct strand *s = strand_take(parent->task);
    s->service = parent->service;
    s->depth = parent->depth;
    s->snapshot = parent->snapshot;
    s->parent = parent;
    s->scope = store_scope_open(strand_scope(parent));
    list_push(&parent->children_head, &s->sibling);
    budget_pause(parent->task->host->budget);
    lua_checkstack(s->L, n + 1);
    budget_resume(parent->task->host->budget);
    lua_xmove(L, s->L, n + 1);
    return s;
}

/* [light userdata strand] */
static int push_stopped(lua_State *L)
{
    struct strand *s = lua_touserdata(L, 1);
    budget_push_error(L, &s->task->meter);
    lua_checkstack(s->L, 1);
    lua_xmove(L, s->L, 1);
    return 0;
}

/* Over budget and stopped by the hook: like an error, for whoever waits for it. */
static void stopped(struct strand *s)
{
    struct err err;
    if (host_protected(s->task->host, push_stopped, s, &err) != 0)
        lua_pushnil(s->L);
}

void strand_run(struct strand *s, lua_State *from)
{
    struct host *h = s->task->host;
    struct strand *before = h->current;
    struct budget_frame frame;
    /* A fresh coroutine holds its function and arguments, a waiting one resumes its continuation
     * without any. */
    int args = s->op == NULL ? lua_gettop(s->L) - 1 : 0;
    int results = 0;
    s->op = NULL;
    h->current = s;
    budget_enter(h->budget, &s->task->meter, s->L, &frame);
    int status = lua_resume(s->L, from, args, &results);
    budget_leave(h->budget, &frame);
    h->current = before;
    if (status == LUA_YIELD) {
        lua_pop(s->L, results);
        if (s->op != NULL)
            return;
        assert(s->task->meter.over);
        stopped(s);
        status = LUA_ERRRUN;
    } else if (status != LUA_OK) {
        s->raised_over = s->task->meter.over;
    }
    s->op = NULL;
    s->status = status;
    if (status == LUA_OK && s->parent != NULL)
        coroutines_hand_up(s);
    else
        coroutines_close(s, 0);
    s->ended = true;
    budget_pause(h->budget);
    if (s->guard != NULL) /* stopped by its budget: no error has passed them on its way */
        guard_drop_all(s, s->task->meter.over ? BREAKER_FAILURE : BREAKER_CANCELLED);
    flight_drop_all(s);
    s->on_end(s);
    budget_resume(h->budget);
}

/* Runs <close> variables; they cannot wait, and have a small budget of their own. */
static void close_coroutine(struct strand *s)
{
    struct host *h = s->task->host;
    struct strand *before = h->current;
    struct budget_frame frame;
    h->current = s;
    budget_enter(h->budget, &s->task->closing, s->L, &frame);
    lua_resetthread(s->L);
    budget_leave(h->budget, &frame);
    h->current = before;
    lua_settop(s->L, 0);
}

void strand_cancel(struct strand *s)
{
    list_each (node, &s->children_head) {
        struct strand *child = list_entry(node, struct strand, sibling);
        strand_cancel(child);
    }
    if (s->ended)
        return;
    struct op *op = s->op;
    s->op = NULL;
    if (op != NULL && s->unwinding == NULL)
        op->class->cancel(op);
    coroutines_close(s, 0);
    close_coroutine(s);
    guard_drop_all(s, BREAKER_CANCELLED);
    guard_tell_strand(s);
    flight_drop_all(s);
    s->ended = true;
    s->status = LUA_ERRRUN;
}

void strand_abandon_children(struct strand *s)
{
    list_each (node, &s->children_head) {
        struct strand *child = list_entry(node, struct strand, sibling);
        if (!child->ended)
            strand_cancel(child);
        strand_abandon_children(child);
        if (child->scope != NULL)
            strand_drop_scopes(child, s->scope);
        strand_free(child);
    }
}

static void leave_ready_queue(struct strand *s)
{
    struct host *h = s->task->host;
    struct strand **at = &h->ready_first;
    while (*at != s)
        at = &(*at)->next_ready;
    *at = s->next_ready;
    if (h->ready_last == &s->next_ready)
        h->ready_last = at;
    s->ready = false;
}

void strand_close_snapshot(struct strand *s)
{
    if (s->owns_snapshot)
        store_snapshot_close(s->snapshot);
    s->snapshot = NULL;
    s->owns_snapshot = false;
}

/* It is collected as it is: its <close> variables could not be stopped. */
static void forget_coroutine(struct host *h, struct strand *s)
{
    lua_pushnil(h->L); /* clearing entries that exist does not allocate */
    lua_rawsetp(h->L, LUA_REGISTRYINDEX, s->L);
    luaL_unref(h->L, LUA_REGISTRYINDEX, s->ref);
}

void strand_free(struct strand *s)
{
    struct host *h = s->task->host;
    assert(s->ended && list_empty(&s->children_head) && list_empty(&s->coroutines));
    if (s->ready)
        leave_ready_queue(s);
    if (list_linked(&s->sibling))
        list_remove(&s->sibling);
    list_remove(&s->node);
    strand_close_snapshot(s);
    luaL_unref(h->L, LUA_REGISTRYINDEX, s->request_cache);
    luaL_unref(h->L, LUA_REGISTRYINDEX, s->on_cancel);
    if (s->anchored) {
        lua_pushnil(h->L); /* nor does this */
        lua_rawsetp(h->L, LUA_REGISTRYINDEX, s);
    }
    if (s->raised_over) {
        forget_coroutine(h, s);
        free(s);
        return;
    }
    if (s->status != LUA_OK)
        close_coroutine(s);
    lua_settop(s->L, 0);
    lua_sethook(s->L, NULL, 0, 0);
    struct coroutine *c = xcalloc(1, sizeof(*c));
    c->L = s->L;
    c->ref = s->ref;
    c->next = h->idle_coroutines;
    h->idle_coroutines = c;
    free(s);
}

void strand_pool_free(struct host *h)
{
    while (h->idle_coroutines != NULL) {
        struct coroutine *c = h->idle_coroutines;
        h->idle_coroutines = c->next;
        free(c);
    }
}

void strand_make_ready(struct strand *s)
{
    struct host *h = s->task->host;
    if (s->ready)
        return;
    s->ready = true;
    s->next_ready = NULL;
    *h->ready_last = s;
    h->ready_last = &s->next_ready;
    loop_defer(h->loop, &h->run_ready);
}

static void unit_released(void *program)
{
    program_unref(program);
}

/* The task's first scope. Its unit points into the program's schema and keeps it, wherever it goes.
 */
static struct store_scope *open_root(struct strand *s)
{
    struct store_scope *scope = store_scope_open(NULL);
    scope->unit->release = unit_released;
    scope->unit->release_ctx = program_ref(s->task->host->program);
    return scope;
}

struct store_scope *strand_scope(struct strand *s)
{
    if (s->guard != NULL)
        guard_open_scopes(s);
    return strand_own_scope(s);
}

struct store_scope *strand_own_scope(struct strand *s)
{
    if (s->scope == NULL)
        s->scope = s->parent == NULL ? open_root(s) : store_scope_open(strand_scope(s->parent));
    return s->scope;
}

void strand_drop_scopes(struct strand *s, struct store_scope *until)
{
    while (s->scope != until) {
        struct store_scope *parent = s->scope->parent;
        store_scope_drop(s->scope);
        s->scope = parent;
    }
}

struct strand *strand_check(lua_State *L, const char *word)
{
    struct host *h = host_of(L);
    if (h == NULL || h->current == NULL)
        fail_at_script(L, "%s cannot be used while scripts load", word);
    return h->current;
}

struct strand *strand_check_effect(lua_State *L, const char *word)
{
    struct strand *s = strand_check(L, word);
    if (s->in_view)
        fail_misuse(L,
                    "%s cannot be used in a view: it changes the row that it is given, and "
                    "nothing else",
                    word);
    return s;
}

struct strand *strand_check_wait(lua_State *L, const char *word)
{
    struct host *h = host_of(L);
    struct strand *s = h != NULL ? h->current : NULL;
    if (s == NULL || s->in_view)
        strand_check_effect(L, word); /* raises */
    if (s->unwinding != NULL || !lua_isyieldable(L) || h->unyieldable > 0)
        luaL_error(L,
                   "%s may have to wait and cannot be used here (inside a sort or gsub callback, a "
                   "metamethod "
                   "called from C, or a <close> variable)",
                   word);
    return s;
}
