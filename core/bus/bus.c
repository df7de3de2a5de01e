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
        const struct bus_service *s = &b->services[i];
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
        if (slot->posted || (list_empty(&slot->inbox) && !slot->wake))
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
}

void bus_dispatch(struct bus *b, struct bus_set *set)
{
    list_push(&b->slots[bus_worker_of(b, set->service->name, set->key)].inbox, &set->node);
}

const struct bus_subscription *bus_subscriptions(const struct bus *b, struct str type_name)
{
    return map_find(b->subscriptions, type_name);
}

struct bus_position *bus_find(const struct bus *b, int64_t number)
{
    int low = 0, end = b->conf.policy_count;
    while (low < end) {
        int middle = low + (end - low) / 2;
        if (b->by_number[middle]->number < number)
            low = middle + 1;
        else
            end = middle;
    }
    bool found = low < b->conf.policy_count && b->by_number[low]->number == number;
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
}

static struct bus_service *service_of(struct bus *b, struct str name)
{
    for (int i = 0; i < b->service_count; i++) {
        if (str_eq(b->services[i].name, name))
            return &b->services[i];
    }
    struct bus_service *s = &b->services[b->service_count];
    s->index = b->service_count++;
    s->name = name;
    s->positions =
        arena_zalloc(b->arena, (size_t)b->conf.policy_count * sizeof(struct bus_position *));
    return s;
}

static void subscribe(struct bus *b, struct bus_position *p, struct str type_name)
{
    struct bus_subscription *first = map_find(b->subscriptions, type_name), *sub = first;
    while (sub && sub->service != p->service)
        sub = sub->next;
    if (!sub) {
        sub = arena_zalloc(b->arena, sizeof(*sub));
        sub->service = p->service;
        sub->positions =
            arena_zalloc(b->arena, (size_t)b->conf.policy_count * sizeof(struct bus_position *));
        sub->next = first;
        map_set(b->subscriptions, type_name, sub);
    }
    if (sub->position_count == 0 || sub->positions[sub->position_count - 1] != p)
        sub->positions[sub->position_count++] = p;
}

static int add_policy(struct bus *b, const struct bus_policy *policy, struct err *err)
{
    struct store_policy row;
    if (store_log_policy(b->conf.store, b->arena, policy->service, policy->name,
                         policy->renamed_from, &row, err) < 0)
        return err_wrap(err, "policy %.*s", STR_ARG(policy->name));
    struct bus_position *p = &b->positions[policy->index];
    p->policy = policy;
    p->service = service_of(b, policy->service);
    p->number = row.number;
    p->high = p->start_high = row.high;
    p->holes = row.holes;
    p->hole_count = row.hole_count;
    p->service->positions[p->service->position_count++] = p;
    for (int i = 0; i < policy->type_count; i++)
        subscribe(b, p, policy->types[i]->name);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const struct bus_position *const *p = a, *const *q = b;
    return ((*p)->number > (*q)->number) - ((*p)->number < (*q)->number);
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

static void init_arrays(struct bus *b)
{
    size_t n = (size_t)b->conf.policy_count + 1;
    b->positions = arena_zalloc(b->arena, n * sizeof(*b->positions));
    b->by_number = arena_zalloc(b->arena, n * sizeof(struct bus_position *));
    b->services = arena_zalloc(b->arena, n * sizeof(*b->services));
    b->subscriptions = map_new();
    init_slots(b);
}

struct bus *bus_new(const struct bus_conf *conf, struct err *err)
{
    assert(conf->worker_count > 0 && conf->max_holes > 0 && conf->tries > 0);
    struct bus *b = xcalloc(1, sizeof(*b));
    b->conf = *conf;
    b->arena = arena_new(0);
    b->clock = loop_clock(conf->main_loop);
    b->hooks =
        (struct store_hooks){b, bus_commit_before, bus_commit_rolled_back, bus_commit_committed, NULL};
    b->main_mail.run = run_main_mail;
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->post_lock, NULL);
    init_arrays(b);
    for (int i = 0; i < conf->policy_count; i++) {
        if (add_policy(b, &conf->policies[i], err) < 0) {
            bus_free(b);
            return NULL;
        }
        b->by_number[i] = &b->positions[conf->policies[i].index];
    }
    qsort(b->by_number, (size_t)conf->policy_count, sizeof(struct bus_position *), by_number);
    b->last_seq = store_log_last_seq(conf->store);
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

void bus_free(struct bus *b)
{
    if (!b)
        return;
    bus_stop(b);
    free_slots(b);
    assert(atomic_load(&b->set_count) == 0);
    for (int i = 0; i < b->conf.policy_count; i++)
        bus_position_free(&b->positions[i]);
    for (int i = 0; i < b->service_count; i++)
        free(b->services[i].holes);
    map_free(b->subscriptions);
    free(b->marks);
    free(b->hole_buf);
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
    atomic_store(&b->started, true);
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
        b->services[i].mode = BUS_BEHIND;
        b->services[i].reading = false;
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
    const struct bus_position *p = &b->positions[policy_index];
    bus_lock(b);
    /* Up to the cursor all is done or open, whatever was written last. */
    int64_t seen = p->high > p->service->cursor ? p->high : p->service->cursor;
    int64_t behind = b->last_seq > seen ? b->last_seq - seen : 0;
    *ret = (struct bus_lag){behind, (int64_t)p->open_count, p->held};
    bus_unlock(b);
}
