/* SPDX-License-Identifier: MIT */
/* Events travel between threads as sets: one event and the policies of one service that want it.
 * One from a commit keeps the unit it was written with alive; one from the log has a copy of its
 * own, because a window read as one block would stay in memory as long as the slowest of its
 * events. */
#include "base/log.h"
#include "base/mem.h"
#include "bus/inside.h"

#include <stdlib.h>

static void count_up(struct bus *b)
{
    int64_t n = atomic_fetch_add(&b->set_count, 1) + 1;
    int64_t peak = atomic_load(&b->set_peak);
    while (n > peak && !atomic_compare_exchange_weak(&b->set_peak, &peak, n))
        ;
}

struct bus_set *bus_set_new(struct bus *b, enum bus_set_kind kind, struct bus_service *s,
                            struct bus_position *const *positions, int count)
{
    struct bus_set *set = xcalloc(1, sizeof(*set) + (size_t)count * sizeof(set->items[0]));
    set->bus = b;
    set->kind = kind;
    set->service = s;
    set->count = count;
    for (int i = 0; i < count; i++) {
        set->items[i].set = set;
        set->items[i].position = positions[i];
    }
    count_up(b);
    return set;
}

static void set_event(struct bus_set *set, const struct store_event *e)
{
    set->event = e;
    set->key = e->key;
    set->seq = e->seq;
}

void bus_set_borrow(struct bus_set *set, struct store_unit *u, const struct store_event *e)
{
    set->unit = store_unit_ref(u);
    set->type_name = e->type->name;
    set->type_service = e->type->service;
    set_event(set, e);
}

static size_t event_size(const struct store_event *e)
{
    size_t fields = e->type ? (size_t)e->type->field_count : 0;
    return sizeof(*e) + 2 * e->payload.n + e->key.n + e->correlation_id.n +
           fields * (sizeof(struct value) + 16) + 128;
}

void bus_set_copy(struct bus_set *set, const struct store_event *e)
{
    set->arena = arena_new(event_size(e));
    struct store_event *copy = arena_zalloc(set->arena, sizeof(*copy));
    bus_set_copy_event(set->arena, e, copy);
    set->type_name = arena_str(set->arena, e->type->name);
    set->type_service = arena_str(set->arena, e->type->service);
    set->generation = bus_generation_ref(set->bus->generation);
    set_event(set, copy);
}

/* The event in the set's own arena, with its payload alone. */
static void own_event(struct bus_set *set)
{
    struct store_event *copy;
    struct arena *a = set->arena;
    if (!a) {
        set->arena = a = arena_new(event_size(set->event));
        copy = arena_zalloc(a, sizeof(*copy));
        struct store_event bare = *set->event;
        bare.type = NULL;
        bus_set_copy_event(a, &bare, copy);
        set->type_name = arena_str(a, set->type_name);
        set->type_service = arena_str(a, set->type_service);
    } else {
        copy = arena_alloc(a, sizeof(*copy));
        *copy = *set->event;
    }
    copy->type = NULL;
    copy->values = NULL;
    set_event(set, copy);
    store_unit_unref(set->unit);
    set->unit = NULL;
    bus_generation_unref(set->generation);
    set->generation = NULL;
}

void bus_set_detach(struct bus_set *set, const struct bus_generation *g)
{
    if (set->event && set->event->type && set->generation != g)
        own_event(set);
}

static bool is_of(const struct store_event *e, const struct store_schema *schema)
{
    return e->type && e->type->number < schema->event_count &&
           schema->events[e->type->number] == e->type;
}

bool bus_set_decode(struct bus_set *set, struct bus_generation *g)
{
    struct err err;
    if (is_of(set->event, g->schema))
        return true;
    const struct event_type *type = store_schema_event(g->schema, set->type_name);
    if (!type || !str_eq(type->service, set->type_service))
        return false;
    own_event(set);
    struct store_event *e = arena_alloc(set->arena, sizeof(*e));
    *e = *set->event;
    e->type = type;
    if (store_event_decode(type, e->payload, set->arena, &e->values, &err) < 0) {
        log_event(LOG_ERROR, "the payload of an event cannot be read", LOG_I("seq", set->seq),
                  LOG_C("error", err.message));
        e->values = arena_zalloc(set->arena, (size_t)type->field_count * sizeof(struct value) + 1);
    }
    set->generation = bus_generation_ref(g);
    set_event(set, e);
    return true;
}

struct bus_set *bus_set_command(struct bus *b, enum bus_set_kind kind, struct bus_position *p,
                                struct str key, int64_t seq, int64_t letter_id)
{
    struct bus_set *set = bus_set_new(b, kind, p->service, &p, 1);
    set->arena = arena_new(key.n + 32);
    set->key = arena_str(set->arena, key);
    set->seq = seq;
    set->letter_id = letter_id;
    return set;
}

void bus_set_free(struct bus_set *set)
{
    atomic_fetch_sub(&set->bus->set_count, 1);
    if (set->unit)
        store_unit_unref(set->unit);
    if (set->arena)
        arena_free(set->arena);
    bus_generation_unref(set->generation);
    for (int i = 0; i < set->count; i++)
        bus_generation_unref(set->items[i].generation);
    free(set);
}

void bus_set_copy_event(struct arena *a, const struct store_event *e, struct store_event *ret)
{
    *ret = *e;
    ret->next = NULL;
    ret->unit = NULL;
    ret->key = arena_str(a, e->key);
    ret->correlation_id = arena_str(a, e->correlation_id);
    ret->payload = arena_str(a, e->payload);
    if (!e->type || !e->values)
        return;
    size_t n = (size_t)e->type->field_count;
    ret->values = arena_alloc(a, (n + 1) * sizeof(*ret->values));
    for (size_t i = 0; i < n; i++) {
        ret->values[i] = e->values[i];
        if (e->values[i].type == VALUE_TEXT)
            ret->values[i].s = arena_str(a, e->values[i].s);
    }
}
