/* SPDX-License-Identifier: MIT */
/* Calls that share one run cannot hand it to anybody's child: a child ends with its parent. So the
 * run belongs to whoever asked first, and when that one is cancelled the next one begins anew:
 * nobody who waits is lost with another one's request. */
#include "script/flight.h"

#include "script/fail.h"
#include "script/host.h"

#include <lauxlib.h>

#define FLIGHT_METATABLE "moontide.flight"

struct flight {
    struct strand *leader; /* NULL: nobody leads */
    struct list link;      /* leader->flights */
    struct list seats;     /* who waits */
};

struct seat {
    struct op op;
    struct list link;
    struct loop_timer timer;
};

static struct flight *check_flight(lua_State *L)
{
    return luaL_checkudata(L, 1, FLIGHT_METATABLE);
}

static void wake(struct flight *f)
{
    for (struct list *node; (node = list_pop(&f->seats)) != NULL;) {
        struct seat *seat = list_entry(node, struct seat, link);
        struct loop *loop = seat->op.strand->task->host->loop;
        if (loop_timer_armed(&seat->timer))
            loop_timer_stop(loop, &seat->timer);
        op_complete(&seat->op);
    }
}

static void leave(struct flight *f)
{
    f->leader = NULL;
    list_remove(&f->link);
    wake(f);
}

void flight_drop_all(struct strand *s)
{
    while (!list_empty(&s->flights))
        leave(list_entry(s->flights.next, struct flight, link));
}

/* ---- the words ---- */

/* flight(): one that nobody leads. */
static int core_flight(lua_State *L)
{
    struct flight *f = lua_newuserdatauv(L, sizeof(*f), 0);
    memset(f, 0, sizeof(*f));
    list_init(&f->seats);
    luaL_setmetatable(L, FLIGHT_METATABLE);
    return 1;
}

/* lead(flight): true if nobody led it; then the running strand does. */
static int core_lead(lua_State *L)
{
    struct flight *f = check_flight(L);
    bool free = f->leader == NULL;
    if (free) {
        f->leader = strand_check(L, "breaker");
        list_push(&f->leader->flights, &f->link);
    }
    lua_pushboolean(L, free);
    return 1;
}

/* leave(flight): who leads is through, or gives up; everybody wakes. Nothing if another one leads.
 */
static int core_leave(lua_State *L)
{
    struct flight *f = check_flight(L);
    if (f->leader != NULL && f->leader == strand_check(L, "breaker"))
        leave(f);
    return 0;
}

/* wake(flight): everybody who waits looks again. */
static int core_wake(lua_State *L)
{
    wake(check_flight(L));
    return 0;
}

static void seat_cancel(struct op *op)
{
    struct seat *seat = (struct seat *)op;
    if (loop_timer_armed(&seat->timer))
        loop_timer_stop(op->strand->task->host->loop, &seat->timer);
    if (list_linked(&seat->link))
        list_remove(&seat->link);
}

static int seat_push(lua_State *L, struct op *op)
{
    (void)L;
    (void)op;
    return 0;
}

static const struct op_class seat_class = {seat_cancel, seat_push};

static void time_is_over(struct loop_timer *t)
{
    struct seat *seat = list_entry(t, struct seat, timer);
    list_remove(&seat->link);
    op_complete(&seat->op);
}

static bool waits_for_itself(const struct flight *f, const struct strand *s)
{
    while (s != NULL && s != f->leader)
        s = s->parent;
    return s != NULL;
}

/* await(flight, ms?): until it is woken or left, or so long. Without ms another one must lead. */
static int core_await(lua_State *L)
{
    struct flight *f = check_flight(L);
    struct strand *s = strand_check_wait(L, "breaker:call");
    struct loop *loop = s->task->host->loop;
    bool timed = !lua_isnoneornil(L, 2);
    int64_t ms = timed ? luaL_checkinteger(L, 2) : 0;
    if (!timed && waits_for_itself(f, s))
        return fail_misuse(L, "breaker:call: a call with this cache_key waits for itself");
    if (timed && ms <= 0)
        return 0;
    struct seat *seat = (struct seat *)op_new(L, sizeof(*seat), &seat_class);
    list_push(&f->seats, &seat->link);
    seat->timer.fn = time_is_over;
    if (timed) {
        loop_refresh(loop);
        loop_timer_start(loop, &seat->timer, loop_now_ns(loop) + ms * NS_PER_MS);
    }
    return op_await(L, &seat->op);
}

/* request_cache(): a table that lives as long as this run of the task. */
static int core_request_cache(lua_State *L)
{
    struct strand *s = strand_check(L, "breaker");
    while (s->parent != NULL)
        s = s->parent;
    if (s->request_cache == LUA_NOREF) {
        lua_newtable(L);
        s->request_cache = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->request_cache);
    return 1;
}

/* service(): the name of the one whose code runs; nil while scripts load. */
static int core_service(lua_State *L)
{
    const struct host *h = host_of(L);
    if (h == NULL || h->current == NULL)
        return 0;
    struct str name = h->current->service != NULL ? h->current->service->name : STR("");
    lua_pushlstring(L, name.p, name.n);
    return 1;
}

/* loop_ms(): monotonic, for deadlines. */
static int core_loop_ms(lua_State *L)
{
    struct loop *loop = strand_check(L, "breaker")->task->host->loop;
    loop_refresh(loop);
    lua_pushinteger(L, loop_now_ns(loop) / NS_PER_MS);
    return 1;
}

/* The state is being closed, or nobody knows of it any more. */
static int flight_gc(lua_State *L)
{
    struct flight *f = lua_touserdata(L, 1);
    if (f->leader != NULL)
        list_remove(&f->link);
    f->leader = NULL;
    return 0;
}

void flight_add(lua_State *L)
{
    static const luaL_Reg words[] = {
        {"flight", core_flight},   {"lead", core_lead},       {"await", core_await},
        {"wake", core_wake},       {"leave", core_leave},     {"request_cache", core_request_cache},
        {"service", core_service}, {"loop_ms", core_loop_ms}, {NULL, NULL}};
    luaL_setfuncs(L, words, 0);
    luaL_newmetatable(L, FLIGHT_METATABLE);
    lua_pushcfunction(L, flight_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
