/* SPDX-License-Identifier: MIT */
/* Letters are what policies gave up on. A retried one goes through the queue of its key like any
 * event, so that it cannot run beside a later one; only the note that its unit carries differs. */
#include "bus/letters.h"

#include "base/mem.h"
#include "bus/inside.h"

struct discard {
    struct bus *bus;
    struct bus_position *position; /* or NULL */
    struct str key;
    int64_t id;
    void (*done)(void *ctx, bool gone);
    void *ctx;
};

static enum bus_letter_result failed(struct err *err, enum err_code code, const char *why)
{
    err_set(err, code, "%s", why);
    return BUS_LETTER_FAILED;
}

/* The event of the letter, in a. */
static int read_event(struct bus *b, struct store_session *ss, struct arena *a, int64_t seq,
                      struct store_logged **ret, struct err *err)
{
    struct store_log_query q = {.from = seq, .limit = 1, .scan_limit = 1};
    size_t count;
    int64_t next;
    if (store_log_read(ss, a, b->generation->schema, &q, ret, &count, &next, err) < 0)
        return -1;
    if (count == 0 || (*ret)[0].event.seq != seq)
        return err_set(err, ERR_NOT_FOUND, "the letter's event is not in the log any more");
    if (!(*ret)[0].event.type || !(*ret)[0].event.values)
        return err_set(err, ERR_CONFIG, "the letter's event has a type that is not declared");
    return 0;
}

static void queue(struct bus *b, struct bus_position *p, const struct store_letter *l,
                  const struct store_event *e)
{
    struct bus_set *set = bus_set_new(b, BUS_SET_LETTER, p->service, &p, 1);
    bus_set_copy(set, e);
    set->letter_id = l->id;
    set->items[0].tries = l->tries;
    set->items[0].delivery.letter_id = l->id;
    bus_lock(b);
    bus_dispatch(b, set);
    bus_unlock(b);
}

static enum bus_letter_result retry(struct bus *b, struct store_session *ss, struct arena *a,
                                    int64_t id, struct err *err)
{
    struct store_letter l;
    struct store_logged *row;
    int found = store_log_letter(ss, a, id, &l, err);
    if (found < 0)
        return BUS_LETTER_FAILED;
    if (found == 0)
        return BUS_LETTER_GONE;
    struct bus_position *p = bus_find(b, l.policy);
    if (!p || !p->active)
        return BUS_LETTER_NO_POLICY;
    if (atomic_load(&p->service->stopped))
        return BUS_LETTER_STOPPED;
    if (read_event(b, ss, a, l.seq, &row, err) < 0)
        return BUS_LETTER_FAILED;
    queue(b, p, &l, &row->event);
    return BUS_LETTER_QUEUED;
}

enum bus_letter_result bus_letter_retry(struct bus *b, struct store_session *ss, int64_t id,
                                        struct err *err)
{
    if (!atomic_load(&b->started) || atomic_load(&b->stopping))
        return failed(err, ERR_STOPPED, "the bus is not running");
    struct arena *a = arena_new(0);
    enum bus_letter_result result = retry(b, ss, a, id, err);
    arena_free(a);
    return result;
}

static void on_discarded(struct store_unit *u)
{
    struct discard *d = u->owner;
    struct bus *b = d->bus;
    bool gone = u->verdict == STORE_COMMITTED;
    if (gone && d->position && !atomic_load(&b->stopping)) {
        struct bus_set *set = bus_set_command(b, BUS_SET_UNPARK, d->position, d->key, 0, d->id);
        bus_lock(b);
        bus_dispatch(b, set);
        bus_unlock(b);
    }
    d->done(d->ctx, gone);
}

void bus_letter_discard(struct bus *b, struct store_session *ss, int64_t id,
                        void (*done)(void *ctx, bool gone), void *ctx)
{
    struct store_unit *u = store_unit_new();
    struct store_letter l;
    struct err err;
    if (store_log_letter(ss, u->arena, id, &l, &err) <= 0) {
        store_unit_unref(u);
        done(ctx, false);
        return;
    }
    struct discard *d = arena_zalloc(u->arena, sizeof(*d));
    *d = (struct discard){b, bus_find(b, l.policy), l.key, id, done, ctx};
    store_unit_note(u, STORE_NOTE_LETTER_GONE)->letter_id = id;
    u->in_memory = d->position && d->position->in_memory;
    u->home = b->conf.main_mailbox;
    u->done = on_discarded;
    u->owner = d;
    store_submit(b->conf.store, u, u);
}
