/* SPDX-License-Identifier: MIT */
/* The unit of work crosses threads and outlives its task, its scopes and often its request. So it
 * lives inside its own arena: to whoever drops the last reference, on whatever thread, giving it
 * back is one call. */
#include "store/unit.h"

#include <assert.h>

struct store_unit *store_unit_new(void)
{
    struct arena *a = arena_new(0);
    struct store_unit *u = arena_zalloc(a, sizeof *u);
    u->arena = a;
    atomic_init(&u->refs, 1);
    return u;
}

struct store_unit *store_unit_ref(struct store_unit *u)
{
    int before = atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return u;
}

void store_unit_unref(struct store_unit *u)
{
    if (!u)
        return;
    int before = atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    void (*release)(void *ctx) = u->release;
    void *ctx = u->release_ctx;
    arena_free(u->arena);
    if (release)
        release(ctx);
}

bool store_unit_is_empty(const struct store_unit *u)
{
    return !u->changes && !u->events && !u->timers && u->cancel_count == 0 && !u->notes;
}

struct store_note *store_unit_note(struct store_unit *u, enum store_note_kind kind)
{
    struct store_note *n = arena_zalloc(u->arena, sizeof *n);
    n->kind = kind;
    struct store_note **last = &u->notes; /* a unit has one or two */
    while (*last)
        last = &(*last)->next;
    *last = n;
    return n;
}

static size_t row_bytes(const struct store_table *t)
{
    return sizeof(struct store_row) + (size_t)t->field_count * sizeof(struct value);
}

struct store_row *store_row_new(struct arena *a, const struct store_table *t)
{
    return arena_zalloc(a, row_bytes(t)); /* VALUE_NULL is 0 */
}

struct store_row *store_row_copy(struct arena *a, const struct store_table *t,
                                 const struct store_row *row)
{
    struct store_row *copy = arena_alloc(a, row_bytes(t));
    memcpy(copy, row, row_bytes(t));
    for (int i = 0; i < t->field_count; i++) {
        if (copy->values[i].type == VALUE_TEXT)
            copy->values[i].s = arena_str(a, row->values[i].s);
    }
    return copy;
}
