/* SPDX-License-Identifier: MIT */
/* Another generation takes over while the bus runs. Services and positions stay for good, by their
 * names; a switch only says which of them are active. From the commit of the store's switch on
 * nothing new is dispatched (bus_commit_switched), so that whatever was committed after it meets
 * the new subscriptions; then every service reads on from the log, from the oldest place that one
 * of its policies has to see, and each policy takes from that what it has not seen. */
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

struct bus_service *bus_switch_service(struct bus *b, struct str name, struct str view)
{
    for (int i = 0; i < b->service_count; i++) {
        if (str_eq(b->services[i]->name, name) && str_eq(b->services[i]->view, view))
            return b->services[i];
    }
    struct bus_service *s = xcalloc(1, sizeof(*s));
    s->index = b->service_count;
    s->name = arena_str(b->arena, name);
    s->view = arena_str(b->arena, view);
    atomic_init(&s->stopped, bus_service_is_stopped(b, name));
    vec_reserve(&b->services, &b->service_cap, (size_t)b->service_count + 1,
                sizeof(struct bus_service *));
    b->services[b->service_count++] = s;
    return s;
}

static int by_number(const void *a, const void *b)
{
    const struct bus_position *const *p = a, *const *q = b;
    return ((*p)->number > (*q)->number) - ((*p)->number < (*q)->number);
}

static struct bus_position *new_position(struct bus *b, const struct store_policy *row,
                                         const struct bus_policy *policy)
{
    struct bus_position *p = xcalloc(1, sizeof(*p));
    size_t n = (size_t)b->position_count;
    p->index = b->position_count++;
    p->service = bus_switch_service(b, row->service, policy->view ? row->name : STR(""));
    p->in_memory = policy->in_memory;
    p->number = row->number;
    p->high = p->seen = row->high;
    bus_position_restore(p, row->holes, row->hole_count);
    vec_reserve(&b->positions, &b->position_cap, n + 1, sizeof(struct bus_position *));
    vec_reserve(&b->by_number, &b->by_number_cap, n + 1, sizeof(struct bus_position *));
    b->positions[n] = b->by_number[n] = p;
    qsort(b->by_number, n + 1, sizeof(struct bus_position *), by_number);
    return p;
}

static struct bus_position *position_of(struct bus *b, const struct store_policy *row,
                                        const struct bus_policy *policy)
{
    struct bus_position *p = bus_find(b, row->number);
    if (!p)
        p = new_position(b, row, policy);
    if (!str_eq(p->name, row->name))
        p->name = arena_str(b->arena, row->name);
    return p;
}

static void add_hole(struct bus_service *s, size_t *cap, int64_t seq)
{
    vec_reserve(&s->holes, cap, s->hole_count + 1, sizeof(*s->holes));
    s->holes[s->hole_count++] = seq;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Holes up to the cursor, of all policies, each once. Those above are met when the log is read. */
static void collect_holes(struct bus_service *s)
{
    size_t n = 0, cap = s->hole_cap;
    s->hole_count = s->hole_next = 0;
    for (int i = 0; i < s->position_count; i++) {
        const struct bus_position *p = s->positions[i];
        for (int64_t seq = 0; (seq = bus_position_next_dropped(p, seq)) <= s->cursor;)
            add_hole(s, &cap, seq);
    }
    s->hole_cap = cap;
    if (s->hole_count > 1)
        qsort(s->holes, s->hole_count, sizeof(*s->holes), ascending);
    for (size_t i = 0; i < s->hole_count; i++) {
        if (n == 0 || s->holes[n - 1] != s->holes[i])
            s->holes[n++] = s->holes[i];
    }
    s->hole_count = n;
}

static struct str find_only_type(const struct bus_generation *g, const struct bus_service *s)
{
    struct str only = {NULL, 0}, none = {NULL, 0};
    for (int i = 0; i < s->position_count; i++) {
        const struct bus_policy *policy = bus_generation_policy(g, s->positions[i]);
        for (int j = 0; j < policy->type_count; j++) {
            struct str type = g->wanted[policy->index][j].type;
            if (only.n > 0 && !str_eq(only, type))
                return none;
            only = type;
        }
    }
    return only;
}

void bus_switch_restart(const struct bus_generation *g, struct bus_service *s)
{
    s->mode = BUS_BEHIND;
    s->reading = false;
    s->only_type = find_only_type(g, s);
    for (int i = 0; i < s->position_count; i++) {
        struct bus_position *p = s->positions[i];
        p->read_to = 0;
        p->unread = p->dropped_count;
        if (i == 0 || p->seen < s->cursor)
            s->cursor = p->seen;
    }
    collect_holes(s);
}

static void add_to_service(struct bus_position *p)
{
    struct bus_service *s = p->service;
    vec_reserve(&s->positions, &s->position_cap, (size_t)s->position_count + 1,
                sizeof(struct bus_position *));
    s->positions[s->position_count++] = p;
}

/* What was dispatched to those that are active now: up to where their service is. */
static void settle_positions(struct bus *b)
{
    for (int i = 0; i < b->position_count; i++) {
        struct bus_position *p = b->positions[i];
        p->was_active = p->active;
        if (p->active && p->service->cursor > p->seen)
            p->seen = p->service->cursor;
        p->active = false;
    }
    for (int i = 0; i < b->service_count; i++)
        b->services[i]->position_count = 0;
}

static void activate(struct bus_generation *g, int policy, struct bus_position *p)
{
    bool parks = g->policies[policy].park;
    bus_generation_attach(g, policy, p);
    add_to_service(p);
    p->active = true;
    p->load_parked |= parks && (!p->was_active || !p->parks);
    p->parks = parks;
}

/* Under the lock. */
static void apply(struct bus *b, struct bus_generation *g, const struct store_policy *rows)
{
    settle_positions(b);
    for (int i = 0; i < g->policy_count; i++)
        activate(g, i, position_of(b, &rows[i], &g->policies[i]));
    bus_generation_seal(g, b->position_count);
    for (int i = 0; i < b->position_count; i++)
        b->vanished += b->positions[i]->was_active && !b->positions[i]->active;
    b->generation = g;
    for (int i = 0; i < b->service_count; i++)
        bus_switch_restart(g, b->services[i]);
    b->load_held = true;
    b->paused = false;
    for (int i = 0; i < b->conf.worker_count; i++)
        b->slots[i].switched = b->slots[i].worker != NULL; /* a later one starts with it */
}

void bus_switch_apply(struct bus *b, const struct bus_switch *sw, const struct store_policy *rows)
{
    struct bus_generation *old = b->generation, *g = bus_generation_new(sw);
    bus_lock(b);
    apply(b, g, rows);
    bus_unlock(b);
    bus_generation_unref(old);
}

int bus_switch(struct bus *b, const struct bus_switch *sw, struct err *err)
{
    if (atomic_load(&b->stopping))
        return err_set(err, ERR_STOPPED, "the bus is not running");
    assert(sw->switched && sw->switched->policy_count == sw->policy_count);
    bus_switch_apply(b, sw, sw->switched->policies);
    return 0;
}

void bus_resume(struct bus *b)
{
    bus_lock(b);
    b->paused = false;
    bus_unlock(b);
}
