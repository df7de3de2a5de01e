/* SPDX-License-Identifier: MIT */
/* What the scripts of one generation declared, as the bus goes by it. Tries that run and events
 * that were read with its schema keep a generation in memory after the next one has taken over; the
 * last of them lets it go, and tells its owner. */
#include "bus/inside.h"

#include <assert.h>

static void copy_policy(struct bus_generation *g, const struct bus_policy *from,
                        const struct store_policy *row)
{
    struct bus_policy *p = &g->policies[from->index];
    size_t count = (size_t)from->type_count;
    *p = *from;
    p->service = arena_str(g->arena, from->service);
    p->name = arena_str(g->arena, from->name);
    p->renamed_from = arena_str(g->arena, from->renamed_from);
    p->types = arena_zalloc(g->arena, (count + 1) * sizeof(const struct event_type *));
    struct bus_wanted *wanted = arena_zalloc(g->arena, (count + 1) * sizeof(*wanted));
    for (size_t i = 0; i < count; i++) {
        p->types[i] = from->types[i];
        wanted[i].type = arena_str(g->arena, from->types[i]->name);
        wanted[i].since = row && row->since ? row->since[i] : 0;
    }
    g->wanted[from->index] = wanted;
}

struct bus_generation *bus_generation_new(const struct bus_switch *sw)
{
    struct arena *a = arena_new(0);
    struct bus_generation *g = arena_zalloc(a, sizeof(*g));
    size_t n = (size_t)sw->policy_count + 1;
    atomic_init(&g->refs, 1);
    g->arena = a;
    g->number = sw->switched ? sw->switched->generation : 0;
    g->schema = sw->schema;
    g->program = sw->program;
    g->release = sw->release;
    g->release_ctx = sw->release_ctx;
    g->subscriptions = map_new();
    g->policy_count = sw->policy_count;
    g->policies = arena_zalloc(a, n * sizeof(*g->policies));
    g->wanted = arena_zalloc(a, n * sizeof(struct bus_wanted *));
    g->positions = arena_zalloc(a, n * sizeof(struct bus_position *));
    for (int i = 0; i < sw->policy_count; i++) {
        assert(sw->policies[i].index == i);
        copy_policy(g, &sw->policies[i], sw->switched ? &sw->switched->policies[i] : NULL);
    }
    return g;
}

struct bus_generation *bus_generation_ref(struct bus_generation *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void bus_generation_unref(void *generation)
{
    struct bus_generation *g = generation;
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) > 1)
        return;
    void (*release)(void *ctx) = g->release;
    void *ctx = g->release_ctx;
    map_free(g->subscriptions);
    arena_free(g->arena);
    if (release)
        release(ctx);
}

static void subscribe(struct bus_generation *g, struct bus_position *p,
                      const struct bus_wanted *wanted)
{
    struct bus_subscription *first = map_find(g->subscriptions, wanted->type), *sub = first;
    while (sub && sub->service != p->service)
        sub = sub->next;
    if (!sub) {
        size_t n = (size_t)g->policy_count;
        sub = arena_zalloc(g->arena, sizeof(*sub));
        sub->service = p->service;
        sub->positions = arena_zalloc(g->arena, n * sizeof(struct bus_position *));
        sub->next = first;
        map_set(g->subscriptions, wanted->type, sub);
    }
    if (sub->position_count == 0 || sub->positions[sub->position_count - 1] != p)
        sub->positions[sub->position_count++] = p;
}

void bus_generation_attach(struct bus_generation *g, int policy, struct bus_position *p)
{
    g->positions[policy] = p;
    for (int i = 0; i < g->policies[policy].type_count; i++)
        subscribe(g, p, &g->wanted[policy][i]);
}

void bus_generation_seal(struct bus_generation *g, int position_count)
{
    g->position_count = position_count;
    g->by_position = arena_zalloc(g->arena, ((size_t)position_count + 1) * sizeof(int));
    for (int i = 0; i < g->policy_count; i++)
        g->by_position[g->positions[i]->index] = i + 1;
}

const struct bus_policy *bus_generation_policy(const struct bus_generation *g,
                                               const struct bus_position *p)
{
    int at = p->index < g->position_count ? g->by_position[p->index] : 0;
    return at > 0 ? &g->policies[at - 1] : NULL;
}

const struct bus_wanted *bus_generation_wants(const struct bus_generation *g,
                                              const struct bus_position *p, struct str type)
{
    const struct bus_policy *policy = bus_generation_policy(g, p);
    for (int i = 0; policy && i < policy->type_count; i++) {
        const struct bus_wanted *wanted = &g->wanted[policy->index][i];
        if (str_eq(wanted->type, type))
            return wanted;
    }
    return NULL;
}
