/* SPDX-License-Identifier: MIT */
/* A scope is what can still be forgotten. A row has at most one change in a scope, and a scope that
 * closes puts its changes onto its parent by the same rule by which a second change of a row is put
 * onto the first. So the unit that reaches the writer has one change a row, in order of first
 * change, whatever the script did on the way. */
#include "store/scope.h"

#include "store/read.h"

#include <assert.h>

#define SCAN_MAX 16       /* up to so many changes a walk is cheaper than an index */
#define SEEN_CAP_FIRST 16 /* a power of two, as all capacities here */

/* A change as the scope keeps it: it can be unlinked without a walk. */
struct slot {
    struct store_change change; /* first member: the list is one of changes */
    struct store_change **link; /* what points to it */
    bool gone;                  /* inserted and deleted again; the index may still hold it */
};

/* Open addressing by (table, id); rebuilt larger when half full. */
struct index {
    size_t cap, used;
    struct slot *slots[];
};

struct seen {
    const struct store_table *table; /* NULL: free */
    int64_t id, version;
};

/* Open addressing too: versions as first read, by (table, id). Nothing is ever removed. */
struct store_seen {
    size_t cap, used;
    struct seen *items;
};

static size_t hash_key(int table_number, int64_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)table_number;
    h ^= h >> 32;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return (size_t)(h ^ (h >> 32));
}

static bool is_of(const struct store_change *c, const struct store_table *t, int64_t id)
{
    return c->id == id && c->table->number == t->number;
}

/* Where the slot of that key is or belongs. */
static struct slot **index_place(struct index *x, const struct store_table *t, int64_t id)
{
    size_t i = hash_key(t->number, id) & (x->cap - 1);
    while (x->slots[i] && !is_of(&x->slots[i]->change, t, id))
        i = (i + 1) & (x->cap - 1);
    return &x->slots[i];
}

static void index_put(struct index *x, struct slot *slot)
{
    struct slot **place = index_place(x, slot->change.table, slot->change.id);
    if (!*place)
        x->used++;
    *place = slot;
}

static void index_build(struct store_scope *s)
{
    size_t cap = 4 * SCAN_MAX;
    while (cap < 4 * (size_t)s->change_count)
        cap *= 2;
    struct index *x = arena_zalloc(s->unit->arena, sizeof *x + cap * sizeof(struct slot *));
    x->cap = cap;
    for (struct store_change *c = s->first; c; c = c->next)
        index_put(x, (struct slot *)c);
    s->index = x;
}

/* After slot was linked. */
static void index_add(struct store_scope *s, struct slot *slot)
{
    struct index *x = s->index;
    if (x && 2 * (x->used + 1) <= x->cap)
        index_put(x, slot);
    else if (x || s->change_count > SCAN_MAX)
        index_build(s);
}

static struct slot *find_slot(const struct store_scope *s, const struct store_table *t, int64_t id)
{
    if (s->index) {
        struct slot *slot = *index_place(s->index, t, id);
        return slot && !slot->gone ? slot : NULL;
    }
    for (struct store_change *c = s->first; c; c = c->next) {
        if (is_of(c, t, id))
            return (struct slot *)c;
    }
    return NULL;
}

static void link_slot(struct store_scope *s, struct slot *slot)
{
    slot->change.next = NULL;
    slot->link = s->last;
    *s->last = &slot->change;
    s->last = &slot->change.next;
    s->change_count++;
    s->tables |= UINT64_C(1) << (slot->change.table->number % 64);
    index_add(s, slot);
}

static void unlink_slot(struct store_scope *s, struct slot *slot)
{
    struct store_change *next = slot->change.next;
    *slot->link = next;
    if (next)
        ((struct slot *)next)->link = slot->link;
    else
        s->last = slot->link;
    slot->gone = true;
    s->change_count--;
}

static bool same_sign(int64_t a, int64_t b)
{
    return (a >= 0) == (b >= 0);
}

/* One addition instead of two where that decides alike: the bounds are the same, and going further
 * in one direction cannot come back inside them. */
static bool try_sum(struct store_add *into, const struct store_add *add)
{
    if (into->delta.type != VALUE_INT || add->delta.type != VALUE_INT)
        return false;
    if (!value_eq(&into->min, &add->min) || !value_eq(&into->max, &add->max))
        return false;
    int64_t sum;
    if (!same_sign(into->delta.i, add->delta.i) ||
        __builtin_add_overflow(into->delta.i, add->delta.i, &sum))
        return false;
    into->delta.i = sum;
    return true;
}

static void append_add(struct store_change *c, struct store_add *add)
{
    struct store_add *newest =
        NULL; /* of that column: summing into an older one would pass over its bounds */
    struct store_add **last = &c->adds;
    for (; *last; last = &(*last)->next) {
        if ((*last)->column == add->column)
            newest = *last;
    }
    if (newest && try_sum(newest, add))
        return;
    add->next = NULL;
    *last = add;
}

static void combine_adds(struct store_change *c, struct store_add *adds)
{
    while (adds) {
        struct store_add *next = adds->next;
        append_add(c, adds);
        adds = next;
    }
}

static uint64_t added_columns(const struct store_change *c)
{
    uint64_t mask = 0;
    for (const struct store_add *add = c->adds; add; add = add->next)
        mask |= UINT64_C(1) << add->column;
    return mask;
}

/* The row was built on what the change so far made of it, so it holds its deltas. */
static void combine_update(struct store_change *c, const struct store_change *update)
{
    c->row = update->row;
    if (c->kind == STORE_INSERT)
        return;
    c->mask |= update->mask;
    if (c->kind != STORE_ADD)
        return;
    c->mask |= added_columns(c);
    c->kind = STORE_UPDATE;
    c->base_version = update->base_version;
    c->adds = NULL;
}

static void combine_delete(struct store_scope *s, struct slot *slot,
                           const struct store_change *deletion)
{
    struct store_change *c = &slot->change;
    if (c->kind == STORE_INSERT) {
        unlink_slot(s, slot);
        return;
    }
    if (c->kind == STORE_ADD)
        c->base_version = deletion->base_version;
    c->kind = STORE_DELETE;
    c->row = NULL;
    c->mask = 0;
    c->adds = NULL;
}

/* Puts a change onto what the scope has of that row: the one rule for changes and for closing
 * scopes. */
static void put(struct store_scope *s, struct slot *slot)
{
    struct store_change *change = &slot->change;
    struct slot *before = find_slot(s, change->table, change->id);
    if (!before) {
        link_slot(s, slot);
        return;
    }
    assert(before->change.kind !=
           STORE_DELETE); /* nothing follows a deletion: ids are not used again */
    switch (change->kind) {
    case STORE_INSERT:
        assert(!"a row is inserted once");
        break;
    case STORE_UPDATE:
        combine_update(&before->change, change);
        break;
    case STORE_DELETE:
        combine_delete(s, before, change);
        break;
    case STORE_ADD:
        assert(before->change.kind == STORE_ADD);
        combine_adds(&before->change, change->adds);
        break;
    }
}

static struct slot *new_slot(struct store_scope *s, const struct store_table *t,
                             enum store_change_kind kind, int64_t id)
{
    struct slot *slot = arena_zalloc(s->unit->arena, sizeof *slot);
    slot->change.table = t;
    slot->change.kind = kind;
    slot->change.id = id;
    return slot;
}

static int64_t base_version(struct store_scope *s, const struct store_table *t,
                            const struct store_row *base)
{
    const struct store_change *c = store_scope_find(s, t, base->id);
    if (!c || c->kind == STORE_ADD)
        return store_scope_seen(s, t, base->id, base->version);
    assert(c->kind != STORE_DELETE);
    return c->base_version;
}

static void merge(struct store_scope *s)
{
    struct store_scope *parent = s->parent;
    for (struct store_change *c = s->first, *next; c; c = next) {
        next = c->next;
        put(parent, (struct slot *)c);
    }
    if (s->events) {
        *parent->events_last = s->events;
        parent->events_last = s->events_last;
        parent->event_count += s->event_count;
    }
    if (s->timers) {
        *parent->timers_last = s->timers;
        parent->timers_last = s->timers_last;
    }
    for (int i = 0; i < s->cancel_count; i++)
        store_scope_cancel(parent, s->cancels[i]);
}

struct store_scope *store_scope_open(struct store_scope *parent)
{
    struct store_unit *u = parent ? parent->unit : store_unit_new();
    struct store_scope *s = arena_zalloc(u->arena, sizeof *s);
    s->parent = parent;
    s->unit = u;
    s->last = &s->first;
    s->events_last = &s->events;
    s->timers_last = &s->timers;
    return s;
}

struct store_unit *store_scope_close(struct store_scope *s)
{
    if (s->parent) {
        merge(s);
        return NULL;
    }
    struct store_unit *u = s->unit;
    u->changes = s->first;
    u->events = s->events;
    u->timers = s->timers;
    u->cancels = s->cancels;
    u->cancel_count = s->cancel_count;
    return u;
}

void store_scope_drop(struct store_scope *s)
{
    if (!s->parent)
        store_unit_unref(s->unit); /* the scope itself lives in it */
}

const struct store_change *store_scope_find(const struct store_scope *s,
                                            const struct store_table *t, int64_t id)
{
    for (; s; s = s->parent) {
        const struct slot *slot = find_slot(s, t, id);
        if (slot)
            return &slot->change;
    }
    return NULL;
}

const struct store_change *store_scope_find_here(const struct store_scope *s,
                                                 const struct store_table *t, int64_t id)
{
    const struct slot *slot = find_slot(s, t, id);
    return slot ? &slot->change : NULL;
}

static bool touches_here(const struct store_scope *s, const struct store_table *t)
{
    if (!(s->tables >> (t->number % 64) & 1))
        return false;
    for (const struct store_change *c = s->first; c; c = c->next) {
        if (c->table->number == t->number)
            return true;
    }
    return false;
}

bool store_scope_touches(const struct store_scope *s, const struct store_table *t)
{
    for (; s; s = s->parent) {
        if (touches_here(s, t))
            return true;
    }
    return false;
}

static struct seen *seen_place(const struct store_seen *seen, const struct store_table *t,
                               int64_t id)
{
    size_t i = hash_key(t->number, id) & (seen->cap - 1);
    while (seen->items[i].table &&
           (seen->items[i].id != id || seen->items[i].table->number != t->number))
        i = (i + 1) & (seen->cap - 1);
    return &seen->items[i];
}

static void seen_grow(struct arena *a, struct store_seen *seen)
{
    struct store_seen old = *seen;
    seen->cap = old.cap ? 2 * old.cap : SEEN_CAP_FIRST;
    seen->items = arena_zalloc(a, seen->cap * sizeof *seen->items);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.items[i].table)
            *seen_place(seen, old.items[i].table, old.items[i].id) = old.items[i];
    }
}

int64_t store_scope_seen(struct store_scope *s, const struct store_table *t, int64_t id,
                         int64_t version)
{
    while (s->parent)
        s = s->parent;
    if (!s->seen)
        s->seen = arena_zalloc(s->unit->arena, sizeof *s->seen);
    struct store_seen *seen = s->seen;
    if (2 * (seen->used + 1) > seen->cap)
        seen_grow(s->unit->arena, seen);
    struct seen *place = seen_place(seen, t, id);
    if (!place->table) {
        *place = (struct seen){t, id, version};
        seen->used++;
    }
    return place->version;
}

void store_scope_insert(struct store_scope *s, const struct store_table *t, struct store_row *row)
{
    assert(!store_scope_find(s, t, row->id));
    struct slot *slot = new_slot(s, t, STORE_INSERT, row->id);
    slot->change.row = row;
    put(s, slot);
}

void store_scope_update(struct store_scope *s, const struct store_table *t,
                        const struct store_row *base, struct store_row *row, uint64_t mask)
{
    assert(row->id == base->id);
    struct slot *slot = new_slot(s, t, STORE_UPDATE, base->id);
    slot->change.base_version = base_version(s, t, base);
    slot->change.row = row;
    slot->change.mask = mask;
    put(s, slot);
}

void store_scope_delete(struct store_scope *s, const struct store_table *t,
                        const struct store_row *base)
{
    struct slot *slot = new_slot(s, t, STORE_DELETE, base->id);
    slot->change.base_version = base_version(s, t, base);
    put(s, slot);
}

void store_scope_add(struct store_scope *s, const struct store_table *t, int64_t id,
                     struct store_add *adds)
{
    const struct store_change *before = store_scope_find(s, t, id);
    assert(!before || before->kind == STORE_ADD);
    (void)before;
    struct slot *slot = new_slot(s, t, STORE_ADD, id);
    combine_adds(&slot->change, adds);
    put(s, slot);
}

void store_scope_emit(struct store_scope *s, struct store_event *e)
{
    e->next = NULL;
    *s->events_last = e;
    s->events_last = &e->next;
    s->event_count++;
}

void store_scope_timer(struct store_scope *s, struct store_timer *t)
{
    t->next = NULL;
    *s->timers_last = t;
    s->timers_last = &t->next;
}

/* A timer that never was: neither it nor its cancel needs to reach the store. */
static bool forget_timer(struct store_scope *s, int64_t timer_id)
{
    for (struct store_timer **link = &s->timers; *link; link = &(*link)->next) {
        if ((*link)->id != timer_id)
            continue;
        *link = (*link)->next;
        if (!*link)
            s->timers_last = link;
        return true;
    }
    return false;
}

void store_scope_cancel(struct store_scope *s, int64_t timer_id)
{
    if (forget_timer(s, timer_id))
        return;
    if (s->cancel_count == s->cancel_cap) {
        int cap = s->cancel_cap ? 2 * s->cancel_cap : 4;
        int64_t *grown = arena_alloc(s->unit->arena, (size_t)cap * sizeof *grown);
        if (s->cancel_count > 0)
            memcpy(grown, s->cancels, (size_t)s->cancel_count * sizeof *grown);
        s->cancels = grown;
        s->cancel_cap = cap;
    }
    s->cancels[s->cancel_count++] = timer_id;
}
