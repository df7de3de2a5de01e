/* SPDX-License-Identifier: MIT */
/* One try of one event by one policy, from its start to what is written about its end: success
 * rides on the unit of its effects, failure is a unit of the bus' own, which is written before
 * anything else of that key runs. */
#include "base/log.h"
#include "base/mem.h"
#include "bus/deliver.h"
#include "bus/inside.h"

#include <assert.h>

/* A failure on its way to the store; in the arena of its unit. */
struct write {
    struct list node;
    struct bus_worker *worker; /* NULL when it has gone */
    struct bus_item *item;
};

static struct bus_item *item_of(struct bus_delivery *d)
{
    return list_entry(d, struct bus_item, delivery);
}

static struct bus *bus_of(const struct bus_item *item)
{
    return item->set->bus;
}

static void set_held(struct bus_item *item, bool held)
{
    if (item->held == held)
        return;
    item->held = held;
    bus_lock(bus_of(item));
    item->position->held += held ? 1 : -1;
    bus_unlock(bus_of(item));
}

static void end_letter(struct bus_item *item, bool gone)
{
    struct bus_set *set = item->set;
    if (gone)
        bus_key_unpark(set->owner, set->letter_id);
    list_remove(&set->node);
    bus_set_free(set);
}

/* The item will not run again (gone: nor will its letter, if it is one). */
static void end_item(struct bus_item *item, bool gone)
{
    struct bus_key *key = item->set->owner;
    item->state = BUS_ITEM_ENDED;
    if (item->set->kind == BUS_SET_LETTER) {
        end_letter(item, gone);
    } else {
        set_held(item, false);
        key->items--;
    }
    bus_key_next(key);
}

static void leave_handler(struct bus_item *item)
{
    assert(item->state == BUS_ITEM_RUNNING);
    struct bus_worker *w = item->set->owner->worker;
    bus_generation_unref(item->generation);
    item->generation = NULL;
    w->running--;
    bus_worker_schedule(w);
}

/* For what is written about its end. */
static struct store_unit *new_unit(const struct bus_item *item)
{
    struct store_unit *u = store_unit_new();
    u->in_memory = item->position->in_memory;
    return u;
}

static void submit(struct bus_item *item, struct store_unit *u);

/* Not even the failure could be written (a full disk, say): later, and the key waits. */
static void write_again_later(struct bus_item *item, const struct store_unit *u)
{
    struct bus_key *key = item->set->owner;
    struct loop *loop = key->worker->loop;
    const struct store_note *old = u->notes;
    log_event(LOG_WARN, "the end of a delivery cannot be written",
              LOG_I("policy", item->position->number), LOG_I("seq", item->set->seq),
              LOG_C("error", u->err.message));
    key->rewrite = new_unit(item);
    struct store_note *n = store_unit_note(key->rewrite, old->kind);
    struct store_note *next = n->next;
    *n = *old;
    n->next = next;
    n->key = arena_str(key->rewrite->arena, old->key);
    n->error_code = arena_str(key->rewrite->arena, old->error_code);
    n->error = arena_str(key->rewrite->arena, old->error);
    n->origin = arena_str(key->rewrite->arena, old->origin);
    loop_timer_start(loop, &key->timer,
                     loop_now_ns(loop) + bus_of(item)->conf.first_pause_ms * NS_PER_MS);
}

/* The policy was taken away or stopped while the item was busy: it waits on disk. False if it may
 * run. */
static bool drop_inactive(struct bus_item *item)
{
    struct bus *b = bus_of(item);
    bus_lock(b);
    bool active = bus_service_runs(item->position);
    if (!active && item->set->kind != BUS_SET_LETTER) {
        bus_delivery_drop(item, item->set->owner->counted);
        bus_key_drop(item->set->owner); /* or a later event of the key would run before this one */
    }
    bus_unlock(b);
    if (active)
        return false;
    if (item->set->kind == BUS_SET_LETTER)
        end_letter(item, false);
    else
        item->set->owner->items--;
    return true;
}

static void on_held(struct bus_item *item, const struct store_note *n)
{
    struct loop *loop = item->set->owner->worker->loop;
    int64_t in_ms = n->next_at_ms - clock_wall_ms(loop_clock(loop));
    item->state = BUS_ITEM_HELD;
    item->due_ns = loop_now_ns(loop) + in_ms * NS_PER_MS;
    set_held(item, true);
    struct bus_key *key = item->set->owner;
    drop_inactive(item);
    bus_key_next(key);
}

static void on_letter(struct bus_item *item, const struct store_note *n)
{
    struct bus_key *key = item->set->owner;
    const struct bus_policy *policy =
        bus_generation_policy(key->worker->generation, item->position);
    if (policy && policy->park)
        bus_key_park(key, item->position, n->letter_id, item->set->seq);
    end_item(item, true);
}

static bool is_done_already(const struct store_unit *u)
{
    return u->verdict == STORE_CONFLICT ||
           (u->verdict == STORE_FAILED && u->err.code == ERR_CONFLICT);
}

static void on_written(struct store_unit *u)
{
    struct write *write = u->owner;
    struct bus_item *item = write->item;
    if (!write->worker)
        return;
    list_remove(&write->node);
    if (is_done_already(u))
        end_item(item, true);
    else if (u->verdict != STORE_COMMITTED)
        write_again_later(item, u);
    else if (u->notes->kind == STORE_NOTE_HELD)
        on_held(item, u->notes);
    else if (u->notes->kind == STORE_NOTE_LETTER)
        on_letter(item, u->notes);
    else
        end_item(item, false);
}

static void submit(struct bus_item *item, struct store_unit *u)
{
    struct bus_worker *w = item->set->owner->worker;
    struct write *write = arena_zalloc(u->arena, sizeof(*write));
    write->worker = w;
    write->item = item;
    list_push(&w->writes, &write->node);
    u->home = w->mailbox;
    u->done = on_written;
    u->owner = write;
    store_submit(w->bus->conf.store, u, u);
}

/* Doubles up to the limit. Jitter keeps many keys that failed together from coming back together;
 * it only lengthens. */
static int64_t pause_ms(const struct bus_item *item)
{
    const struct bus_conf *conf = &bus_of(item)->conf;
    int64_t ms = conf->first_pause_ms;
    for (int i = 1; i < item->tries && ms < conf->max_pause_ms; i++)
        ms *= 2;
    if (ms > conf->max_pause_ms)
        ms = conf->max_pause_ms;
    int64_t who[3] = {item->position->number, item->set->seq, item->tries};
    uint64_t hash = str_hash((struct str){(const char *)who, sizeof(who)});
    return ms + (int64_t)(hash % (uint64_t)(ms / 10 + 1));
}

static enum store_note_kind note_kind(const struct bus_item *item, bool permanent)
{
    if (item->set->kind == BUS_SET_LETTER)
        return STORE_NOTE_LETTER_FAILED;
    bool exhausted = item->tries >= bus_of(item)->conf.tries;
    return permanent || exhausted ? STORE_NOTE_LETTER : STORE_NOTE_HELD;
}

static struct store_unit *failure_unit(struct bus_item *item, const struct bus_failure *why)
{
    struct store_unit *u = new_unit(item);
    struct store_note *n = store_unit_note(u, note_kind(item, why->permanent));
    int64_t now_ms = clock_wall_ms(loop_clock(item->set->owner->worker->loop));
    n->policy = item->position->number;
    n->seq = item->set->seq;
    n->letter_id = item->set->letter_id;
    n->tries = item->tries;
    n->next_at_ms = now_ms + pause_ms(item);
    n->key = arena_str(u->arena, item->set->key);
    n->error_code = arena_str(u->arena, why->code);
    n->error = arena_str(u->arena, why->message);
    n->origin = arena_str(u->arena, why->origin);
    n->time_ms = now_ms;
    n->generation = item->set->event->generation;
    return u;
}

static bool is_open(struct bus_item *item)
{
    if (item->set->kind == BUS_SET_LETTER)
        return true;
    bus_lock(bus_of(item));
    bool open = bus_position_is_open(item->position, item->set->seq);
    bus_unlock(bus_of(item));
    return open;
}

void bus_delivery_drop(struct bus_item *item, bool counted)
{
    struct bus *b = bus_of(item);
    if (bus_position_drop(item->position, item->set->seq) && counted)
        bus_count(b, item->set->service, -1);
    item->position->held -= item->held;
    item->held = false;
    item->state = BUS_ITEM_ENDED;
}

/* The policy does not want this type any more: as done, so that it does not stay a hole for ever.
 */
static void forget(struct bus_item *item)
{
    log_event(LOG_WARN, "event passed over", LOG_S("service", item->set->service->name),
              LOG_S("type", item->set->type_name), LOG_I("seq", item->set->seq));
    struct store_unit *u = new_unit(item);
    struct store_note *n = store_unit_note(u, STORE_NOTE_DONE);
    n->policy = item->position->number;
    n->seq = item->set->seq;
    n->tries = item->held ? 1 : 0;
    item->state = BUS_ITEM_WRITING;
    submit(item, u);
}

static void run(struct bus_item *item, const struct bus_policy *policy)
{
    struct bus_worker *w = item->set->owner->worker;
    struct bus_delivery *d = &item->delivery;
    item->state = BUS_ITEM_RUNNING;
    item->tries++;
    item->generation = bus_generation_ref(w->generation);
    d->policy = policy;
    d->generation = w->generation->number;
    d->program = w->generation->program;
    d->event = item->set->event;
    d->tries = item->tries;
    d->owner = NULL;
    d->committed_ns = item->set->committed_ns;
    w->running++;
    w->deliver(w->ctx, d);
}

/* Its type is not declared any more: what can be said of it without running it. */
static void fail_letter(struct bus_item *item)
{
    struct bus_failure why = {true, STR("undeclared"),
                              STR("the letter's event has a type that is not declared"), STR("")};
    item->tries++;
    item->state = BUS_ITEM_WRITING;
    submit(item, failure_unit(item, &why));
}

void bus_delivery_start(struct bus_item *item)
{
    struct bus_key *key = item->set->owner;
    struct bus_worker *w = key->worker;
    key->state = BUS_KEY_BUSY;
    const struct bus_policy *policy;
    while ((policy = bus_generation_policy(w->generation, item->position)) == NULL ||
           atomic_load(&key->service->stopped)) {
        if (drop_inactive(item)) {
            bus_key_next(key);
            return;
        }
        bus_worker_refresh(w);
    }
    struct bus_generation *g = w->generation;
    bool letter = item->set->kind == BUS_SET_LETTER;
    bool wanted = letter || bus_generation_wants(g, item->position, item->set->type_name);
    if (wanted && bus_set_decode(item->set, g))
        run(item, policy);
    else if (letter)
        fail_letter(item);
    else
        forget(item);
}

void bus_delivery_rewrite(struct bus_key *key)
{
    struct store_unit *u = key->rewrite;
    key->rewrite = NULL;
    submit(key->current, u);
}

void bus_delivery_detach(struct bus_worker *w)
{
    struct list *node;
    while ((node = list_pop(&w->writes)) != NULL)
        list_entry(node, struct write, node)->worker = NULL;
}

void bus_delivery_note(struct bus_delivery *d, struct store_unit *u)
{
    const struct bus_item *item = item_of(d);
    bool letter = item->set->kind == BUS_SET_LETTER;
    u->in_memory = item->position->in_memory;
    struct store_note *n = store_unit_note(u, letter ? STORE_NOTE_LETTER_GONE : STORE_NOTE_DONE);
    n->policy = item->position->number;
    n->seq = item->set->seq;
    n->letter_id = item->set->letter_id;
    n->tries = item->held ? item->tries : 0; /* 0: there is no held row to remove */
}

void bus_delivery_done(struct bus_delivery *d)
{
    struct bus_item *item = item_of(d);
    leave_handler(item);
    end_item(item, true);
}

void bus_delivery_failed(struct bus_delivery *d, const struct bus_failure *why)
{
    struct bus_item *item = item_of(d);
    leave_handler(item);
    if (!is_open(item)) { /* it came twice: the other one was the effect */
        end_item(item, true);
        return;
    }
    item->state = BUS_ITEM_WRITING;
    submit(item, failure_unit(item, why));
}

void bus_delivery_return(struct bus_delivery *d)
{
    struct bus_item *item = item_of(d);
    struct bus_key *key = item->set->owner;
    leave_handler(item);
    item->tries--;
    item->state = item->held ? BUS_ITEM_HELD : BUS_ITEM_WAITING;
    item->set->at = 0;
    drop_inactive(item);
    bus_key_next(key);
}

void bus_delivery_abandon(struct bus_delivery *d)
{
    struct bus_item *item = item_of(d);
    leave_handler(item);
    item->tries--;
    item->state = item->held ? BUS_ITEM_HELD : BUS_ITEM_WAITING;
    bus_key_leave(item->set->owner);
}
