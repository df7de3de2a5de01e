/* SPDX-License-Identifier: MIT */
/* What the three sides of the bus (writer, main loop, workers) share: the policies with their
 * positions, the services with their cursors, and the inboxes of the workers, all under one lock
 * that is held for a few instructions, never across reading, writing or a handler. Whoever leaves
 * the lock wakes those who have something to do, so that no change can forget to. */
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

static bool is_running(const struct bus *b)
{
    return atomic_load(&b->started) && !atomic_load(&b->stopping);
}

void bus_lock(struct bus *b)
{
    pthread_mutex_lock(&b->lock);
}

static void flag_services_with_room(struct bus *b)
{
    if (!is_running(b))
        return;
    for (int i = 0; i < b->service_count; i++) {
        const struct bus_service *s = b->services[i];
        if (s->mode == BUS_BEHIND && !s->reading && bus_commit_has_room(b, s))
            b->flags |= BUS_FLAG_CATCHUP;
    }
}

/* The slots whose mail has to be posted; from here on it counts as posted. */
static struct bus_slot *take_slots(struct bus *b)
{
    struct bus_slot *first = NULL;
    bool room = bus_has_room(b);
    for (int i = b->conf.worker_count - 1; i >= 0; i--) {
        struct bus_slot *slot = &b->slots[i];
        if (slot->waiting && room) {
            slot->waiting = false;
            slot->wake = true;
        }
        if (slot->posted || (list_empty(&slot->inbox) && !slot->wake && !slot->switched))
            continue;
        slot->posted = true;
        slot->next_post = first;
        first = slot;
    }
    return first;
}

static void post_slots(struct bus *b, struct bus_slot *first)
{
    pthread_mutex_lock(&b->post_lock);
    for (struct bus_slot *slot = first, *next; slot; slot = next) {
        next = slot->next_post; /* the worker may be at it before we look again */
        if (slot->mailbox)
            mailbox_post(slot->mailbox, &slot->mail);
    }
    pthread_mutex_unlock(&b->post_lock);
}

void bus_unlock(struct bus *b)
{
    flag_services_with_room(b);
    struct bus_slot *slots = take_slots(b);
    bool post_main = b->flags && !b->main_posted && is_running(b);
    if (post_main)
        b->main_posted = true;
    pthread_mutex_unlock(&b->lock);
    if (slots)
        post_slots(b, slots);
    if (post_main)
        mailbox_post(b->conf.main_mailbox, &b->main_mail);
}

void bus_count(struct bus *b, struct bus_service *s, int64_t n)
{
    s->counted += n;
    atomic_fetch_add(&b->outstanding, n);
    if (n < 0 && s->view.n > 0 && !atomic_load(&b->rebuilt))
        b->flags |= BUS_FLAG_REBUILD;
}

void bus_dispatch(struct bus *b, struct bus_set *set)
{
    list_push(&b->slots[bus_worker_of(b, set->service->name, set->key)].inbox, &set->node);
}

const struct bus_subscription *bus_subscriptions(const struct bus *b, struct str type_name)
{
    return map_find(b->generation->subscriptions, type_name);
}

struct bus_position *bus_find(const struct bus *b, int64_t number)
{
    int low = 0, end = b->position_count;
    while (low < end) {
        int middle = low + (end - low) / 2;
        if (b->by_number[middle]->number < number)
            low = middle + 1;
        else
            end = middle;
    }
    bool found = low < b->position_count && b->by_number[low]->number == number;
    return found ? b->by_number[low] : NULL;
}

static void run_watches(struct bus *b)
{
    for (struct bus_watch *w = b->watches; w; w = b->watch_next) {
        b->watch_next = w->next;
        w->fn(w);
    }
}

static void run_main_mail(struct mail *m)
{
    struct bus *b = list_entry(m, struct bus, main_mail);
    bus_lock(b);
    int flags = b->flags;
    int64_t due_ms = b->timers_due_ms;
    b->flags = 0;
    b->main_posted = false;
    bus_unlock(b);
    if (atomic_load(&b->stopping))
        return;
    if (flags & BUS_FLAG_CATCHUP)
        bus_catchup_wake(b);
    if (flags & BUS_FLAG_TIMERS)
        bus_timers_added(b, due_ms);
    if (flags & BUS_FLAG_WATCH)
        run_watches(b);
    if (flags & BUS_FLAG_REBUILD)
        bus_rebuild_look(b);
}

static void init_slots(struct bus *b)
{
    b->slots = xcalloc((size_t)b->conf.worker_count, sizeof(*b->slots));
    for (int i = 0; i < b->conf.worker_count; i++) {
        b->slots[i].bus = b;
        b->slots[i].mail.run = bus_worker_run_inbox;
        list_init(&b->slots[i].inbox);
    }
}

/* Without a switch of the store: each policy's row by itself. */
static int read_rows(const struct bus_conf *conf, struct arena *a, struct store_policy **ret,
                     struct err *err)
{
    struct store_policy *rows = arena_zalloc(a, (size_t)conf->policy_count * sizeof(*rows) + 1);
    for (int i = 0; i < conf->policy_count; i++) {
        const struct bus_policy *p = &conf->policies[i];
        struct store_switch_policy row = {p->service, p->name, p->renamed_from, NULL,
                                          0,          p->view, p->in_memory};
        if (store_log_policy(conf->store, a, &row, &rows[i], err) < 0)
            return err_wrap(err, "policy %.*s", STR_ARG(p->name));
    }
    *ret = rows;
    return 0;
}

static struct bus *new_bus(const struct bus_conf *conf)
{
    struct bus *b = xcalloc(1, sizeof(*b));
    b->conf = *conf;
    b->arena = arena_new(0);
    b->clock = loop_clock(conf->main_loop);
    b->writer = (struct bus_writer){.bus = b};
    b->memory_writer = (struct bus_writer){.bus = b, .in_memory = true};
    b->hooks = (struct store_hooks){&b->writer,           &b->memory_writer,
                                    bus_commit_before,    bus_commit_rolled_back,
                                    bus_commit_committed, bus_commit_switched};
    b->main_mail.run = run_main_mail;
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->post_lock, NULL);
    init_slots(b);
    b->conf.schema = NULL; /* from here on that of b->generation */
    b->conf.policies = NULL;
    b->conf.switched = NULL;
    return b;
}

struct bus *bus_new(const struct bus_conf *conf, struct err *err)
{
    assert(conf->worker_count > 0 && conf->max_holes > 0 && conf->tries > 0);
    struct arena *a = arena_new(0);
    struct bus *b = NULL;
    struct store_policy *rows = conf->switched ? conf->switched->policies : NULL;
    struct bus_switch sw = {conf->schema,  conf->policies, conf->policy_count, conf->switched,
                            conf->program, conf->release,  conf->release_ctx};
    if (rows || read_rows(conf, a, &rows, err) == 0) {
        b = new_bus(conf);
        bus_switch_apply(b, &sw, rows);
        b->last_seq = store_log_last_seq(conf->store);
    }
    arena_free(a);
    return b;
}

static void free_slots(struct bus *b)
{
    for (int i = 0; i < b->conf.worker_count; i++) {
        assert(!b->slots[i].worker);
        struct list *node;
        while ((node = list_pop(&b->slots[i].inbox)) != NULL)
            bus_set_free(list_entry(node, struct bus_set, node));
    }
    free(b->slots);
}

static void free_positions(struct bus *b)
{
    for (int i = 0; i < b->position_count; i++) {
        bus_position_free(b->positions[i]);
        free(b->positions[i]);
    }
    for (int i = 0; i < b->service_count; i++) {
        free(b->services[i]->positions);
        free(b->services[i]->holes);
        free(b->services[i]);
    }
    free(b->positions);
    free(b->by_number);
    free(b->services);
}

static void free_writer(struct bus_writer *w)
{
    free(w->marks);
    free(w->hole_buf);
}

void bus_free(struct bus *b)
{
    if (!b)
        return;
    bus_stop(b);
    free_slots(b);
    assert(atomic_load(&b->set_count) == 0);
    free_positions(b);
    if (b->held_arena)
        arena_free(b->held_arena);
    bus_generation_unref(b->generation);
    free_writer(&b->writer);
    free_writer(&b->memory_writer);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->post_lock);
    arena_free(b->arena);
    free(b);
}

const struct store_hooks *bus_hooks(struct bus *b)
{
    return &b->hooks;
}

int bus_start(struct bus *b, struct err *err)
{
    assert(!atomic_load(&b->started));
    if (bus_catchup_start(b, err) < 0)
        return -1;
    b->rebuild_to = b->last_seq;
    atomic_store(&b->started, true);
    bus_rebuild_look(b);
    bus_timers_start(b);
    bus_lock(b);
    bus_unlock(b); /* wakes the main loop for the services, the workers for parked keys */
    return 0;
}

void bus_stop(struct bus *b)
{
    if (atomic_exchange(&b->stopping, true))
        return;
    bus_lock(b);
    for (int i = 0; i < b->service_count; i++) {
        b->services[i]->mode = BUS_BEHIND;
        b->services[i]->reading = false;
    }
    bus_unlock(b);
    bus_timers_stop(b);
    bus_catchup_stop(b);
}

int64_t bus_outstanding(const struct bus *b)
{
    return atomic_load(&b->outstanding);
}

bool bus_has_room(const struct bus *b)
{
    return bus_outstanding(b) < b->conf.max_outstanding;
}

void bus_watch(struct bus *b, struct bus_watch *w)
{
    w->next = b->watches;
    b->watches = w;
}

void bus_unwatch(struct bus *b, struct bus_watch *w)
{
    for (struct bus_watch **at = &b->watches; *at; at = &(*at)->next) {
        if (*at != w)
            continue;
        if (b->watch_next == w)
            b->watch_next = w->next;
        *at = w->next;
        return;
    }
}

void bus_policy_lag(struct bus *b, int policy_index, struct bus_lag *ret)
{
    bus_lock(b);
    assert(policy_index >= 0 && policy_index < b->generation->policy_count);
    const struct bus_position *p = b->generation->positions[policy_index];
    /* Up to the cursor all is done or open, whatever was written last. */
    int64_t seen = p->high > p->service->cursor ? p->high : p->service->cursor;
    if (p->seen > seen)
        seen = p->seen;
    int64_t behind = b->last_seq > seen ? b->last_seq - seen : 0;
    *ret = (struct bus_lag){behind, (int64_t)(p->open_count + p->dropped_count), p->held};
    bus_unlock(b);
}
