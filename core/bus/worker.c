/* SPDX-License-Identifier: MIT */
/* A worker's turn: what arrived goes into the queues of its keys, and keys that have something to
 * run take turns, a bounded number of them before the loop sees its sockets again. */
#include "base/mem.h"
#include "bus/deliver.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

#define TURN_DELIVERIES 64
#define TURN_NS (2 * NS_PER_MS)
#define DELIVERIES_PER_CLOCK_READ 8
#define RUNNING_MAX 256

static bool may_run(const struct bus_worker *w)
{
    return !list_empty(&w->ready) && w->running < RUNNING_MAX && !atomic_load(&w->bus->stopping);
}

void bus_worker_schedule(struct bus_worker *w)
{
    if (may_run(w))
        loop_defer(w->loop, &w->turn);
}

void bus_worker_ready(struct bus_worker *w, struct bus_key *key)
{
    key->state = BUS_KEY_READY;
    list_push(&w->ready, &key->ready);
    bus_worker_schedule(w);
}

static void on_turn(struct loop_defer *d)
{
    struct bus_worker *w = list_entry(d, struct bus_worker, turn);
    int64_t until_ns = clock_mono_ns(loop_clock(w->loop)) + TURN_NS;
    for (int i = 1; may_run(w) && i <= TURN_DELIVERIES; i++) {
        struct bus_key *key = list_entry(list_pop(&w->ready), struct bus_key, ready);
        bus_delivery_start(key->current);
        if (i % DELIVERIES_PER_CLOCK_READ == 0 && clock_mono_ns(loop_clock(w->loop)) >= until_ns)
            break;
    }
    bus_worker_schedule(w);
}

static void wake_waiters(struct bus_worker *w)
{
    while (!list_empty(&w->waiters) && bus_has_room(w->bus)) {
        struct bus_waiter *waiter = list_entry(list_pop(&w->waiters), struct bus_waiter, node);
        waiter->fn(waiter);
    }
    if (list_empty(&w->waiters))
        return;
    bus_lock(w->bus);
    w->slot->waiting = true;
    bus_unlock(w->bus);
}

/* Under the lock: an event may arrive twice (a test makes it so), and its policy may have left
 * meanwhile; what is done, or waits on disk now, is not run. */
static bool is_open(struct bus_set *set)
{
    bool any = false;
    for (int i = 0; i < set->count; i++) {
        struct bus_item *item = &set->items[i];
        if (!bus_position_is_open(item->position, set->seq))
            item->state = BUS_ITEM_ENDED;
        else if (!bus_service_runs(item->position))
            bus_delivery_drop(item, true);
        else
            any = true;
    }
    return any;
}

static bool is_wanted(struct bus_set *set)
{
    switch (set->kind) {
    case BUS_SET_EVENT:
        return is_open(set);
    case BUS_SET_LETTER:
        return bus_service_runs(set->items[0].position);
    case BUS_SET_PARK:
        return set->items[0].position->active;
    case BUS_SET_FORGET:
    case BUS_SET_UNPARK:
        break;
    }
    return true;
}

static void take_inbox(struct bus_slot *slot, struct list *ret_sets, struct list *ret_dropped)
{
    struct list *node;
    while ((node = list_pop(&slot->inbox)) != NULL) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        list_push(is_wanted(set) ? ret_sets : ret_dropped, node);
    }
}

static void drop_vanished(struct bus_worker *w)
{
    size_t pos = 0;
    struct str name;
    struct bus_key *key;
    while ((key = map_next(w->keys, &pos, &name)) != NULL)
        bus_key_drop(key);
}

/* Under the lock: the newest generation, and what has left. False if there is nothing new; *ret_old
 * is the generation that is not needed any more, or NULL. */
static bool take_news(struct bus_worker *w, struct bus_generation **ret_old)
{
    bool vanished = w->vanished != w->bus->vanished;
    w->slot->switched = false;
    *ret_old = NULL;
    if (w->generation != w->bus->generation) {
        *ret_old = w->generation;
        w->generation = bus_generation_ref(w->bus->generation);
    }
    if (vanished) /* all keys in one go, or a policy that returns in between would find later events
                     before earlier ones */
        drop_vanished(w);
    w->vanished = w->bus->vanished;
    return vanished || *ret_old;
}

static void adopt_all(struct bus_worker *w)
{
    size_t pos = 0, count = 0;
    struct str name;
    struct bus_key *key, **keys = xcalloc(map_count(w->keys) + 1, sizeof(struct bus_key *));
    while ((key = map_next(w->keys, &pos, &name)) != NULL)
        keys[count++] = key;
    for (size_t i = 0; i < count; i++)
        bus_key_adopt(keys[i]);
    free(keys);
}

void bus_worker_refresh(struct bus_worker *w)
{
    struct bus_generation *old;
    bus_lock(w->bus);
    bool news = take_news(w, &old);
    bus_unlock(w->bus);
    if (!news)
        return;
    bus_generation_unref(old);
    adopt_all(w);
}

void bus_worker_run_inbox(struct mail *m)
{
    struct bus_slot *slot = list_entry(m, struct bus_slot, mail);
    struct bus_generation *old = NULL;
    bool news = false;
    struct list sets, dropped, *node;
    list_init(&sets);
    list_init(&dropped);
    bus_lock(slot->bus);
    struct bus_worker *w = slot->worker;
    bool wake = slot->wake;
    if (w) { /* else the mail came too late, and nobody posts any more */
        slot->posted = slot->wake = false;
        if (slot->switched)
            news = take_news(w, &old);
        take_inbox(slot, &sets, &dropped);
    }
    bus_unlock(slot->bus);
    while ((node = list_pop(&dropped)) != NULL)
        bus_set_free(list_entry(node, struct bus_set, node));
    if (news) {
        bus_generation_unref(old);
        adopt_all(w);
    }
    while ((node = list_pop(&sets)) != NULL)
        bus_key_accept(w, list_entry(node, struct bus_set, node));
    if (w && wake)
        wake_waiters(w);
}

struct bus_worker *bus_worker_new(struct bus *b, int number, struct loop *loop,
                                  struct mailbox *mailbox, bus_deliver_fn *deliver, void *ctx)
{
    assert(number >= 0 && number < b->conf.worker_count);
    struct bus_worker *w = xcalloc(1, sizeof(*w));
    w->bus = b;
    w->slot = &b->slots[number];
    w->loop = loop;
    w->mailbox = mailbox;
    w->deliver = deliver;
    w->ctx = ctx;
    w->keys = map_new();
    w->turn.fn = on_turn;
    list_init(&w->ready);
    list_init(&w->writes);
    list_init(&w->waiters);
    pthread_mutex_lock(&b->post_lock);
    w->slot->mailbox = mailbox;
    pthread_mutex_unlock(&b->post_lock);
    bus_lock(b);
    assert(!w->slot->worker);
    w->slot->worker = w;
    w->generation = bus_generation_ref(b->generation);
    w->vanished = b->vanished;
    bus_unlock(b);
    return w;
}

static void detach(struct bus_worker *w)
{
    struct bus *b = w->bus;
    pthread_mutex_lock(&b->post_lock);
    w->slot->mailbox = NULL;
    pthread_mutex_unlock(&b->post_lock);
    bus_lock(b);
    w->slot->worker = NULL;
    w->slot->waiting = false;
    bus_unlock(b);
}

void bus_worker_free(struct bus_worker *w)
{
    if (!w)
        return;
    detach(w);
    loop_defer_cancel(w->loop, &w->turn);
    bus_delivery_detach(w);
    size_t pos = 0;
    struct str name;
    struct bus_key *key;
    while ((key = map_next(w->keys, &pos, &name)) != NULL)
        bus_key_free(key);
    map_free(w->keys);
    while (list_pop(&w->waiters))
        ;
    bus_generation_unref(w->generation);
    buf_deinit(&w->name);
    free(w);
}

int bus_worker_of(const struct bus *b, struct str service, struct str key)
{
    struct buf name = BUF_INIT;
    buf_adds(&name, service);
    buf_addc(&name, '\0');
    buf_adds(&name, key);
    uint64_t hash = str_hash(buf_str(&name));
    buf_deinit(&name);
    return (int)(hash % (uint64_t)b->conf.worker_count);
}

void bus_worker_wait(struct bus_worker *w, struct bus_waiter *waiter)
{
    if (bus_has_room(w->bus)) {
        waiter->fn(waiter);
        return;
    }
    list_push(&w->waiters, &waiter->node);
    bus_lock(w->bus);
    w->slot->waiting = true; /* unlocking looks whether there is room meanwhile */
    bus_unlock(w->bus);
}

void bus_worker_unwait(struct bus_worker *w, struct bus_waiter *waiter)
{
    (void)w;
    if (list_linked(&waiter->node))
        list_remove(&waiter->node);
}
