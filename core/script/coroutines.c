/* SPDX-License-Identifier: MIT */
/* Lua closes a coroutine only when somebody asks for it; one that is left behind is collected with
 * its <close> variables unrun. The host asks for those that a task has left. The registry has a
 * userdata for each, under the coroutine's address; strands have them in lists. */
#include "script/coroutines.h"

#include "script/host.h"
#include "script/strand.h"

/* The coroutine is its user value. */
struct kept {
    struct list node; /* strand->coroutines */
    uint64_t number;  /* in the strand */
    lua_State *co;
    struct service *service; /* whose code it runs */
    bool in_view;
};

static void add(struct strand *s, struct kept *k)
{
    k->number = ++s->coroutine_count;
    list_push(&s->coroutines, &k->node);
}

void coroutines_keep(lua_State *L, lua_State *co)
{
    struct host *h = host_of(L);
    if (h == NULL || h->current == NULL || !lua_checkstack(L, 2) || !lua_checkstack(co, 1))
        return;
    struct kept *k = lua_newuserdatauv(L, sizeof(*k), 1);
    *k = (struct kept){.co = co, .service = h->current->service, .in_view = h->current->in_view};
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, co);
    add(h->current, k);
}

void coroutines_forget(lua_State *L, lua_State *co)
{
    struct kept *k = NULL;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, co) == LUA_TUSERDATA)
        k = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (k == NULL)
        return;
    list_remove(&k->node);
    lua_pushnil(L); /* clearing an entry that exists does not allocate */
    lua_rawsetp(L, LUA_REGISTRYINDEX, co);
}

static void close_one(struct strand *s, const struct kept *k)
{
    struct host *h = s->task->host;
    struct budget_frame frame;
    s->service = k->service;
    s->in_view = k->in_view;
    budget_enter(h->budget, &s->task->closing, k->co, &frame);
    lua_resetthread(k->co);
    budget_leave(h->budget, &frame);
    lua_settop(k->co, 0);
    coroutines_forget(h->L, k->co);
}

/* The youngest that came later than the first `since`, or NULL. */
static const struct kept *youngest(const struct strand *s, uint64_t since)
{
    if (list_empty(&s->coroutines))
        return NULL;
    const struct kept *k = list_entry(s->coroutines.prev, struct kept, node);
    return k->number > since ? k : NULL;
}

void coroutines_close(struct strand *s, uint64_t since)
{
    const struct kept *k = youngest(s, since);
    if (k == NULL)
        return;
    struct host *h = s->task->host;
    struct strand *before = h->current;
    struct service *service = s->service;
    bool in_view = s->in_view;
    h->current = s;
    for (; k != NULL; k = youngest(s, since))
        close_one(s, k);
    h->current = before;
    s->service = service;
    s->in_view = in_view;
}

void coroutines_hand_up(struct strand *s)
{
    for (struct list *node; (node = list_pop(&s->coroutines)) != NULL;)
        add(s->parent, list_entry(node, struct kept, node));
}
