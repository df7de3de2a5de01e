/* SPDX-License-Identifier: MIT */
/* The writer's side. What a transaction marks as done is entered tentatively, written as positions
 * in that same transaction, and settled by its end; so that the marks live and die with the effects
 * (G3). New events are dispatched in the order of the log, each to the worker of its key (G4),
 * unless the service lags: then it reads them from the log later, and what waits stays on disk
 * instead of in memory. */
#include "base/fault.h"
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>

static void touch(struct bus_writer *w, struct bus_position *p)
{
    if (p->touched)
        return;
    p->touched = true;
    p->saved_high = p->high;
    p->next_touched = w->touched;
    w->touched = p;
}

static int mark(struct bus_writer *w, const struct store_note *n, struct err *err)
{
    struct bus_position *p = bus_find(w->bus, n->policy);
    if (!p)
        return 0;
    assert(p->in_memory == w->in_memory);
    if (!bus_position_mark(p, n->seq))
        return err_set(err, ERR_CONFLICT, "event %lld is done already for policy %.*s",
                       (long long)n->seq, STR_ARG(p->name));
    vec_reserve(&w->marks, &w->mark_cap, w->mark_count + 1, sizeof(*w->marks));
    w->marks[w->mark_count++] = (struct bus_mark){p, n->seq};
    touch(w, p);
    if (n->seq > p->high)
        p->high = n->seq;
    return 0;
}

static int mark_all(struct bus_writer *w, const struct store_unit *accepted, struct err *err)
{
    for (const struct store_unit *u = accepted; u; u = u->next) {
        for (const struct store_note *n = u->notes; n; n = n->next) {
            if (n->kind != STORE_NOTE_DONE && n->kind != STORE_NOTE_LETTER)
                continue;
            if (mark(w, n, err) < 0)
                return -1;
        }
    }
    return 0;
}

/* A policy without events for a long time would make the next start scan all that came since.
 * Everything up to the cursor was dispatched, so that high may go there; what is open becomes a
 * hole. No start finds what is in memory. */
static void bring_forward(struct bus_writer *w)
{
    const struct bus_generation *g = w->bus->generation;
    for (int i = 0; i < g->policy_count && !w->in_memory; i++) {
        struct bus_position *p = g->positions[i];
        if (p->in_memory || p->service->cursor - p->high <= BUS_IDLE_LAG)
            continue;
        if (p->open_count - p->pending_count + p->dropped_count > BUS_IDLE_OPEN)
            continue;
        touch(w, p);
        p->high = p->service->cursor;
    }
}

/* Ends the transaction in the books: under the lock. */
static void settle(struct bus_writer *w, bool committed)
{
    for (size_t i = 0; i < w->mark_count; i++) {
        struct bus_position *p = w->marks[i].position;
        bus_position_settle(p, w->marks[i].seq, committed);
        if (committed)
            bus_count(w->bus, p->service, -1);
    }
    w->mark_count = 0;
    for (struct bus_position *p = w->touched; p; p = p->next_touched) {
        p->touched = false;
        if (!committed)
            p->high = p->saved_high;
    }
    w->touched = NULL;
}

static int write_position(struct bus_writer *w, struct store_tx *tx, struct bus_position *p,
                          struct err *err)
{
    bus_lock(w->bus);
    int64_t high = p->high;
    size_t count = bus_position_holes(p, &w->hole_buf, &w->hole_cap);
    bus_unlock(w->bus);
    return store_tx_position(tx, p->number, high, w->hole_buf, count, err);
}

int bus_commit_before(void *ctx, struct store_tx *tx, struct store_unit *accepted, struct err *err)
{
    struct bus_writer *w = ctx;
    bus_lock(w->bus);
    assert(w->mark_count == 0 && !w->touched);
    int rc = mark_all(w, accepted, err);
    if (rc == 0)
        bring_forward(w);
    bus_unlock(w->bus);
    for (struct bus_position *p = w->touched; p && rc == 0; p = p->next_touched)
        rc = write_position(w, tx, p, err);
    if (rc < 0)
        bus_commit_rolled_back(w, accepted);
    return rc;
}

void bus_commit_rolled_back(void *ctx, struct store_unit *accepted)
{
    (void)accepted;
    struct bus_writer *w = ctx;
    bus_lock(w->bus);
    settle(w, false);
    bus_unlock(w->bus);
}

static bool is_full(const struct bus *b, const struct bus_service *s)
{
    if (s->counted >= 2 * (int64_t)b->conf.max_outstanding)
        return true;
    for (int i = 0; i < s->position_count; i++) {
        if (s->positions[i]->open_count >= (size_t)b->conf.max_holes)
            return true;
    }
    return false;
}

static void dispatch_to(struct bus *b, const struct bus_subscription *sub, struct store_unit *u,
                        const struct store_event *e)
{
    struct bus_service *s = sub->service;
    if (s->mode != BUS_LIVE || e->seq <= s->cursor) /* or read from the log before we got here */
        return;
    if (is_full(b, s)) {
        s->mode = BUS_BEHIND;
        s->reading = false;
        s->cursor = e->seq - 1;
        return;
    }
    int copies = fault_hit("bus.twice") ? 2 : 1; /* fail: every delivery comes twice */
    for (int i = 0; i < copies; i++) {
        struct bus_set *set = bus_set_new(b, BUS_SET_EVENT, s, sub->positions, sub->position_count);
        bus_set_borrow(set, u, e);
        set->committed_ns = b->committed_ns;
        bus_dispatch(b, set);
    }
    for (int i = 0; i < sub->position_count; i++)
        bus_position_open(sub->positions[i], e->seq);
    bus_count(b, s, sub->position_count);
}

static void take_events(struct bus *b, struct store_unit *u)
{
    for (const struct store_event *e = u->events; e; e = e->next) {
        const struct bus_subscription *sub = bus_subscriptions(b, e->type->name);
        for (; sub; sub = sub->next)
            dispatch_to(b, sub, u, e);
        assert(e->seq > b->last_seq);
        b->last_seq = e->seq;
        b->flags |= BUS_FLAG_WATCH;
    }
}

static void take_timers(struct bus *b, const struct store_unit *u)
{
    for (const struct store_timer *t = u->timers; t; t = t->next) {
        if (!(b->flags & BUS_FLAG_TIMERS) || t->due_ms < b->timers_due_ms)
            b->timers_due_ms = t->due_ms;
        b->flags |= BUS_FLAG_TIMERS;
    }
}

void bus_commit_committed(void *ctx, struct store_unit *accepted)
{
    struct bus_writer *w = ctx;
    struct bus *b = w->bus;
    fault_hit("bus.committed");
    bus_lock(b);
    b->committed_ns = clock_mono_ns(b->clock);
    settle(w, true);
    for (struct store_unit *u = accepted; u; u = u->next) {
        take_events(b, u);
        take_timers(b, u);
    }
    for (int i = 0; i < b->service_count; i++) {
        struct bus_service *s = b->services[i];
        if (s->mode == BUS_LIVE && s->cursor < b->last_seq)
            s->cursor = b->last_seq;
    }
    fault_hit("bus.dispatch");
    bus_unlock(b);
}

/* What is committed from here on is read from the log, by the next generation. */
void bus_commit_switched(void *ctx)
{
    struct bus *b = ((struct bus_writer *)ctx)->bus;
    bus_lock(b);
    b->paused = true;
    for (int i = 0; i < b->service_count; i++) {
        b->services[i]->mode = BUS_BEHIND;
        b->services[i]->reading = false;
    }
    bus_unlock(b);
}

int64_t bus_commit_window(const struct bus *b, const struct bus_service *s)
{
    int64_t n = BUS_WINDOW, max = b->conf.max_outstanding;
    if (n > b->conf.max_holes / 2)
        n = b->conf.max_holes / 2;
    if (s->view.n > 0)
        max /= 4;
    if (n > max)
        n = max;
    return n > 0 ? n : 1;
}

/* A view reads all of the log. That must not fill up what requests wait for. */
static bool may_read_view(const struct bus *b, const struct bus_service *s)
{
    int64_t max = b->conf.max_outstanding;
    return s->counted == 0 || (s->counted <= max / 4 && bus_outstanding(b) <= max / 2);
}

bool bus_commit_has_room(const struct bus *b, const struct bus_service *s)
{
    size_t window = (size_t)bus_commit_window(b, s);
    if (b->paused || s->position_count == 0 || atomic_load(&s->stopped))
        return false;
    if (s->counted > b->conf.max_outstanding || (s->view.n > 0 && !may_read_view(b, s)))
        return false;
    for (int i = 0; i < s->position_count; i++) {
        const struct bus_position *p = s->positions[i];
        if (p->open_count > 0 && p->open_count + window > (size_t)b->conf.max_holes)
            return false;
    }
    return true;
}
