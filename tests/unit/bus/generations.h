/* SPDX-License-Identifier: MIT */
/* Generations for the small world: each with a schema of its own in its own memory, in which types
 * and policies have other numbers and events another shape than in the one before; freed when the
 * bus and the last unit let go of it, so that the address sanitizer sees who comes too late. */
#pragma once

#include "world.h"

/* How many there are at present, and ever were: counted from any thread. */
static atomic_int generations_alive, generations_made;

struct generation {
    atomic_int refs;
    int number;
    bool odd;
    struct field event_fields[3], fields[4];
    struct event_type types[TYPES];
    struct event_type *type_list[TYPES];
    struct store_table effects, other;
    struct store_table *tables[2];
    struct store_schema schema;
    const struct event_type *subscribed[POLICIES][TYPES];
    struct bus_policy policies[POLICIES];
    struct str type_names[POLICIES][TYPES];
    struct store_switch_policy rows[POLICIES];
    int policy_count;
};

static inline void generation_unref(void *ctx)
{
    struct generation *g = ctx;
    if (atomic_fetch_sub(&g->refs, 1) > 1)
        return;
    atomic_fetch_sub(&generations_alive, 1);
    free(g);
}

static inline void generation_schema(struct world *w, struct generation *g)
{
    int shift = g->odd ? 1 : 0;
    g->event_fields[0] = (struct field){.name = STR("extra"), .type = FIELD_TEXT};
    g->event_fields[shift] = (struct field){.name = STR("id"), .type = FIELD_INTEGER};
    g->event_fields[shift + 1] = (struct field){.name = STR("name"), .type = FIELD_TEXT};
    for (int i = 0; i < TYPES; i++) {
        struct event_type *t = &g->types[i];
        *t = w->types[i];
        t->number = g->odd ? TYPES - 1 - i : i;
        t->fields = g->event_fields;
        t->field_count = 2 + shift;
        g->type_list[t->number] = t;
    }
    memcpy(g->fields, w->fields, sizeof(w->fields));
    g->effects = (struct store_table){.service = STR("shop"),
                                      .name = STR("effects"),
                                      .id_name = STR("id"),
                                      .fields = g->fields,
                                      .field_count = 3};
    g->other = g->effects;
    g->other.name = STR("other");
    g->effects.number = shift;
    g->other.number = 1 - shift;
    g->tables[shift] = &g->effects;
    g->tables[1 - shift] = &g->other;
    g->schema = (struct store_schema){g->tables, 2, g->type_list, TYPES};
}

static inline void generation_policy(struct world *w, struct generation *g, int number)
{
    int n = g->policy_count++;
    struct bus_policy *p = &g->policies[n];
    *p = w->policies[number];
    p->index = n;
    p->types = g->subscribed[n];
    for (int i = 0; i < p->type_count; i++) {
        g->subscribed[n][i] = &g->types[w->policies[number].types[i] - w->types];
        g->type_names[n][i] = g->subscribed[n][i]->name;
    }
    g->rows[n] =
        (struct store_switch_policy){p->service,    p->name, p->renamed_from, g->type_names[n],
                                     p->type_count, p->view, p->in_memory};
}

/* With the policies of the test whose bits are set in mask. */
static inline struct generation *generation_new(struct world *w, unsigned mask)
{
    struct generation *g = xcalloc(1, sizeof(*g));
    g->number = atomic_fetch_add(&generations_made, 1) + 1;
    atomic_fetch_add(&generations_alive, 1);
    atomic_init(&g->refs, 1);
    g->odd = g->number % 2 == 1;
    generation_schema(w, g);
    for (int i = 0; i < w->policy_count; i++) {
        int number = g->odd ? w->policy_count - 1 - i : i;
        if (mask >> number & 1)
            generation_policy(w, g, number);
    }
    return g;
}

static inline struct bus_switch generation_prepare(struct world *w, unsigned mask, struct arena *a,
                                                   struct store_switched *switched)
{
    struct err err = {0};
    struct generation *g = generation_new(w, mask);
    struct store_switch sw = {.schema = &g->schema,
                              .policies = g->rows,
                              .policy_count = g->policy_count,
                              .origin = STR("test"),
                              .arena = a};
    if (store_switch(w->store, &sw, switched, &err) < 0)
        fail_msg("%s", err.message);
    w->generation = g;
    return (struct bus_switch){
        &g->schema, g->policies, g->policy_count, switched, g, generation_unref, g};
}

static inline void generation_switch(struct world *w, unsigned mask)
{
    struct err err = {0};
    struct store_switched switched;
    struct arena *a = arena_new(0);
    struct bus_switch sw = generation_prepare(w, mask, a, &switched);
    if (bus_switch(w->bus, &sw, &err) < 0)
        fail_msg("%s", err.message);
    arena_free(a);
}

/* For world.before_bus. Borrowed by bus_new for its call alone. */
static inline void generation_first(struct world *w, unsigned mask)
{
    static struct arena *a; /* of the newest world; the next one frees it */
    static struct store_switched switched;
    if (a)
        arena_free(a);
    a = arena_new(0);
    struct bus_switch sw = generation_prepare(w, mask, a, &switched);
    w->conf.schema = sw.schema;
    w->conf.policies = sw.policies;
    w->conf.policy_count = sw.policy_count;
    w->conf.switched = sw.switched;
    w->conf.program = sw.program;
    w->conf.release = sw.release;
    w->conf.release_ctx = sw.release_ctx;
}

static inline void first_generation(struct world *w)
{
    generation_first(w, (1U << w->policy_count) - 1);
}

/* An event written with the newest generation's types, which its unit keeps alive. */
static inline void emit_new(struct world *w, int type, int key)
{
    struct generation *g = w->generation;
    struct store_unit *u = event_unit(w, type, key);
    struct store_event *e = u->events;
    struct value *values = arena_zalloc(u->arena, 3 * sizeof(*values));
    values[g->odd] = e->values[0];
    values[g->odd + 1] = e->values[1];
    e->type = &g->types[type];
    e->values = values;
    atomic_fetch_add(&g->refs, 1);
    u->release = generation_unref;
    u->release_ctx = g;
    store_submit(w->store, u, u);
}

/* Every policy had every event of its types after `from` once, and those of a key in order. */
static inline void assert_once_by_policy(struct world *w, int64_t from)
{
    struct store_row **rows;
    struct arena *a = arena_new(0);
    size_t count = read_effects(w, a, &rows), expected = 0;
    int64_t(*newest)[KEYS] = xcalloc(POLICIES, sizeof(*newest));
    for (size_t i = 0; i < count; i++) {
        int64_t *last = &newest[rows[i]->values[0].i][rows[i]->values[2].i];
        assert_true(rows[i]->values[1].i > *last);
        *last = rows[i]->values[1].i;
    }
    for (int64_t seq = from + 1; seq <= (int64_t)w->log_count; seq++) {
        for (int p = 0; p < w->policy_count; p++)
            expected += subscribes(w, p, w->log[seq - 1].type);
    }
    assert_int_equal(count, expected); /* and no two alike */
    free(newest);
    arena_free(a);
}
