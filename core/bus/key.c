/* SPDX-License-Identifier: MIT */
/* The queue of one key in one service: its events one after the other, the policies of each one
 * after the other. A policy that failed waits on the held list and the events behind it wait with
 * it, which is what keeps their order (G4); nobody else waits. Queues that wait for a timer or an
 * operator do not count as open deliveries, or one bad key would stop all requests. */
#include "base/fault.h"
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

static struct str key_name(struct bus_worker *w, const struct bus_service *s, struct str key)
{
    buf_clear(&w->name);
    buf_add(&w->name, &s->index, sizeof(s->index));
    buf_adds(&w->name, key);
    return buf_str(&w->name);
}

static void on_timer(struct loop_timer *t)
{
    struct bus_key *key = list_entry(t, struct bus_key, timer);
    if (atomic_load(&key->worker->bus->stopping))
        return;
    if (key->state == BUS_KEY_BUSY) {
        bus_delivery_rewrite(key);
        return;
    }
    assert(key->state == BUS_KEY_HELD);
    list_entry(key->sets.next, struct bus_set, node)->at = 0;
    bus_key_next(key);
}

static struct bus_key *get(struct bus_worker *w, const struct bus_set *set)
{
    struct str name = key_name(w, set->service, set->key);
    struct bus_key *key = map_find(w->keys, name);
    if (key)
        return key;
    key = xcalloc(1, sizeof(*key) + name.n);
    key->worker = w;
    key->service = set->service;
    key->counted = true;
    key->timer.fn = on_timer;
    list_init(&key->sets);
    list_init(&key->letters);
    key->name_size = name.n;
    memcpy(key->name, name.p, name.n);
    map_set(w->keys, name, key);
    return key;
}

static void count(struct bus_key *key, int64_t n)
{
    if (n == 0)
        return;
    bus_lock(key->worker->bus);
    bus_count(key->worker->bus, key->service, n);
    bus_unlock(key->worker->bus);
}

static void set_counted(struct bus_key *key, bool counted)
{
    if (key->counted == counted)
        return;
    key->counted = counted;
    count(key, counted ? key->items : -key->items);
}

static bool is_parked(const struct bus_key *key, int64_t seq)
{
    for (size_t i = 0; i < key->parking_count; i++) {
        if (key->parkings[i].seq < seq)
            return true;
    }
    return false;
}

/* The next policy in this pass over the set, or NULL. *ret_due_ns: when one that waits shall be
 * tried again. */
static struct bus_item *next_item(struct bus_set *set, int64_t now_ns, int64_t *ret_due_ns)
{
    int64_t due_ns = INT64_MAX;
    for (int i = set->at; i < set->count; i++) {
        struct bus_item *item = &set->items[i];
        bool due = item->state == BUS_ITEM_HELD && item->due_ns <= now_ns;
        if (item->state != BUS_ITEM_WAITING && !due)
            continue;
        set->at = i + 1;
        return item;
    }
    for (int i = 0; i < set->count; i++) {
        const struct bus_item *item = &set->items[i];
        if (item->state == BUS_ITEM_HELD && item->due_ns < due_ns)
            due_ns = item->due_ns;
    }
    *ret_due_ns = due_ns;
    return NULL;
}

/* Drops the sets that are done. *ret_due_ns: INT64_MAX unless the key has to wait for a try. */
static struct bus_item *next_of_sets(struct bus_key *key, int64_t *ret_due_ns)
{
    *ret_due_ns = INT64_MAX;
    while (!list_empty(&key->sets)) {
        struct bus_set *set = list_entry(key->sets.next, struct bus_set, node);
        if (is_parked(key, set->seq))
            return NULL;
        struct bus_item *item = next_item(set, loop_now_ns(key->worker->loop), ret_due_ns);
        if (item || *ret_due_ns != INT64_MAX)
            return item;
        list_remove(&set->node);
        bus_set_free(set);
    }
    return NULL;
}

static void drop(struct bus_key *key)
{
    assert(key->items == 0);
    map_remove(key->worker->keys, (struct str){key->name, key->name_size});
    bus_key_free(key);
}

void bus_key_next(struct bus_key *key)
{
    int64_t due_ns;
    key->current = next_of_sets(key, &due_ns);
    if (key->current) {
        set_counted(key, true);
        bus_worker_ready(key->worker, key);
    } else if (due_ns != INT64_MAX) {
        key->state = BUS_KEY_HELD;
        set_counted(key, false);
        loop_timer_start(key->worker->loop, &key->timer, due_ns);
    } else if (!list_empty(&key->letters)) {
        if (!list_empty(&key->sets))
            set_counted(key, false);
        key->current = &list_entry(key->letters.next, struct bus_set, node)->items[0];
        bus_worker_ready(key->worker, key);
    } else if (key->parking_count > 0) {
        key->state = BUS_KEY_PARKED;
        set_counted(key, false);
    } else {
        drop(key);
    }
}

void bus_key_free(struct bus_key *key)
{
    struct list *node;
    loop_timer_stop(key->worker->loop, &key->timer);
    while ((node = list_pop(&key->sets)) != NULL)
        bus_set_free(list_entry(node, struct bus_set, node));
    while ((node = list_pop(&key->letters)) != NULL)
        bus_set_free(list_entry(node, struct bus_set, node));
    if (key->rewrite)
        store_unit_unref(key->rewrite);
    free(key->parkings);
    free(key);
}

void bus_key_park(struct bus_key *key, struct bus_position *p, int64_t letter_id, int64_t seq)
{
    for (size_t i = 0; i < key->parking_count; i++) {
        if (key->parkings[i].letter_id == letter_id) /* it was told of again */
            return;
    }
    vec_reserve(&key->parkings, &key->parking_cap, key->parking_count + 1, sizeof(*key->parkings));
    key->parkings[key->parking_count++] = (struct bus_parking){p, letter_id, seq};
}

void bus_key_unpark(struct bus_key *key, int64_t letter_id)
{
    for (size_t i = 0; i < key->parking_count; i++) {
        if (key->parkings[i].letter_id == letter_id) {
            key->parkings[i] = key->parkings[--key->parking_count];
            return;
        }
    }
}

void bus_key_leave(struct bus_key *key)
{
    key->state = BUS_KEY_LEFT;
    set_counted(key, false);
}

/* When an event that was held before the restart is due. The wall clock may have been set
 * meanwhile: never wait longer than a pause can be. */
static void restore_due(struct bus_worker *w, struct bus_set *set)
{
    int64_t max_ms = w->bus->conf.max_pause_ms + w->bus->conf.max_pause_ms / 10;
    for (int i = 0; i < set->count; i++) {
        struct bus_item *item = &set->items[i];
        if (item->state != BUS_ITEM_HELD)
            continue;
        int64_t in_ms = item->next_at_ms - clock_wall_ms(loop_clock(w->loop));
        in_ms = in_ms < 0 ? 0 : in_ms > max_ms ? max_ms : in_ms;
        item->due_ns = loop_now_ns(w->loop) + in_ms * NS_PER_MS;
    }
}

static int64_t items_left(const struct bus_set *set)
{
    int64_t n = 0;
    for (int i = 0; i < set->count; i++)
        n += set->items[i].state != BUS_ITEM_ENDED;
    return n;
}

static bool has_item(const struct bus_set *set, const struct bus_position *p)
{
    for (int i = 0; i < set->count; i++) {
        if (set->items[i].position == p && set->items[i].state != BUS_ITEM_ENDED)
            return true;
    }
    return false;
}

/* The last set in the queue that is not newer: the queue's end, but for a policy that returned and
 * reads what it missed. What came twice is ended in `set`. */
static struct list *find_place(struct bus_key *key, struct bus_set *set)
{
    struct list *at = key->sets.prev;
    while (at != &key->sets && list_entry(at, struct bus_set, node)->seq > set->seq)
        at = at->prev;
    for (struct list *same = at; same != &key->sets; same = same->prev) {
        const struct bus_set *other = list_entry(same, struct bus_set, node);
        if (other->seq != set->seq)
            break;
        for (int i = 0; i < set->count; i++) {
            if (has_item(other, set->items[i].position) &&
                !fault_hit("bus.again")) /* fail: the copy runs as well */
                set->items[i].state = BUS_ITEM_ENDED;
        }
    }
    return at;
}

/* False if it is in the queue already. */
static bool accept_event(struct bus_key *key, struct bus_set *set)
{
    struct list *after = find_place(key, set);
    int64_t n = items_left(set);
    if (n == 0)
        return false;
    restore_due(key->worker, set);
    key->items += n;
    list_push(after->next, &set->node); /* before the one that follows */
    if (!key->counted)
        count(key, -n);
    return true;
}

static bool accept_letter(struct bus_key *key, struct bus_set *set)
{
    list_each (node, &key->letters) {
        if (list_entry(node, struct bus_set, node)->letter_id == set->letter_id)
            return false;
    }
    list_push(&key->letters, &set->node);
    return true;
}

/* True if the key's queue owns the set now. */
static bool enter(struct bus_key *key, struct bus_set *set)
{
    set->owner = key;
    switch (set->kind) {
    case BUS_SET_EVENT:
        return accept_event(key, set);
    case BUS_SET_LETTER:
        return accept_letter(key, set);
    case BUS_SET_PARK:
        bus_key_park(key, set->items[0].position, set->letter_id, set->seq);
        return false;
    case BUS_SET_UNPARK:
        bus_key_unpark(key, set->letter_id);
        return false;
    case BUS_SET_FORGET:
        break;
    }
    assert(!"a kind that no worker gets");
    return false;
}

void bus_key_accept(struct bus_worker *w, struct bus_set *set)
{
    struct bus_key *key = get(w, set);
    if (!enter(key, set))
        bus_set_free(set);
    if (key->state == BUS_KEY_NEW || key->state == BUS_KEY_PARKED)
        bus_key_next(key);
}

void bus_key_drop(struct bus_key *key)
{
    list_each (node, &key->sets) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        for (int i = 0; i < set->count; i++) {
            struct bus_item *item = &set->items[i];
            bool waits = item->state == BUS_ITEM_WAITING || item->state == BUS_ITEM_HELD;
            if (!waits || bus_service_runs(item->position))
                continue;
            bus_delivery_drop(item, key->counted);
            key->items--;
        }
    }
}

static bool is_busy(const struct bus_set *set)
{
    for (int i = 0; i < set->count; i++) {
        if (set->items[i].state == BUS_ITEM_RUNNING || set->items[i].state == BUS_ITEM_WRITING)
            return true;
    }
    return false;
}

/* Letters of policies that are gone or stopped wait for their operator again. True if `current` was
 * one. */
static bool drop_letters(struct bus_key *key, const struct bus_generation *g)
{
    bool current = false;
    list_each (node, &key->letters) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        bool runs = bus_generation_policy(g, set->items[0].position) &&
                    !atomic_load(&key->service->stopped);
        if (is_busy(set) || runs) {
            if (!is_busy(set))
                bus_set_detach(set, g);
            continue;
        }
        current |= key->current == &set->items[0];
        list_remove(node);
        bus_set_free(set);
    }
    return current;
}

static bool drop_parkings(struct bus_key *key, const struct bus_generation *g)
{
    size_t n = 0, before = key->parking_count;
    for (size_t i = 0; i < before; i++) {
        const struct bus_policy *policy = bus_generation_policy(g, key->parkings[i].position);
        if (policy && policy->park)
            key->parkings[n++] = key->parkings[i];
    }
    key->parking_count = n;
    return n < before;
}

void bus_key_adopt(struct bus_key *key)
{
    const struct bus_generation *g = key->worker->generation;
    bool again = drop_parkings(key, g);
    bool letter = drop_letters(key, g);
    list_each (node, &key->sets) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        if (!is_busy(set))
            bus_set_detach(set, g);
    }
    switch (key->state) {
    case BUS_KEY_READY:
        if (!letter && key->current->state != BUS_ITEM_ENDED)
            return;
        list_remove(&key->ready);
        break;
    case BUS_KEY_HELD:
        loop_timer_stop(key->worker->loop, &key->timer);
        break;
    case BUS_KEY_PARKED:
        if (!again)
            return;
        break;
    case BUS_KEY_NEW:
    case BUS_KEY_BUSY:
    case BUS_KEY_LEFT:
        return;
    }
    bus_key_next(key);
}
