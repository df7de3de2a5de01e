/* SPDX-License-Identifier: MIT */
/* The main loop's side: services that lag get their events from the log, a window a turn, in the
 * order of the log, and only while there is room for them: a backlog of any length costs one window
 * of memory. Every service starts like this, from the oldest of its policies' positions; holes from
 * before that come first, so that a key sees its events in order over a restart too. */
#include "base/log.h"
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

#define HOLES_A_STEP 64
#define PAUSE_NS NS_PER_S /* after a read that failed */

/* What one step found, in order. */
struct find {
    struct bus *bus;
    struct bus_service *service;
    struct list sets;
    int64_t last_seq; /* newest one before it */
    int64_t cursor;   /* where the service is; after the step, where it will be */
    bool forgets;
};

struct rows {
    struct store_logged *rows;
    size_t count;
    int64_t next;
};

static const struct store_held *find_held(const struct bus_position *p, int64_t seq)
{
    size_t low = 0, end = p->held_row_count;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        if (p->held_rows[middle].seq < seq)
            low = middle + 1;
        else
            end = middle;
    }
    return low < p->held_row_count && p->held_rows[low].seq == seq ? &p->held_rows[low] : NULL;
}

/* What nobody can run any more must not stay a hole for ever. */
static void forget(struct find *f, struct bus_position *p, int64_t seq)
{
    log_event(LOG_WARN, "event passed over", LOG_S("service", p->service->name),
              LOG_S("policy", p->name), LOG_I("seq", seq));
    struct bus_set *set = bus_set_new(f->bus, BUS_SET_FORGET, p->service, &p, 1);
    set->seq = seq;
    list_push(&f->sets, &set->node);
    f->forgets = true;
}

/* The first dropped event that was not read again yet, or INT64_MAX. Only the main loop opens or
 * drops events of a policy whose service is BEHIND, but the writer moves them. */
static int64_t next_hole(const struct find *f, const struct bus_position *p)
{
    if (p->unread == 0)
        return INT64_MAX;
    pthread_mutex_lock(&f->bus->lock);
    int64_t seq = bus_position_next_dropped(p, p->read_to);
    pthread_mutex_unlock(&f->bus->lock);
    return seq;
}

static void take_hole(struct bus_position *p, int64_t seq)
{
    p->read_to = seq;
    p->unread--;
}

static void forget_holes_below(struct find *f, struct bus_position *p, int64_t seq)
{
    for (int64_t hole; (hole = next_hole(f, p)) < seq;) {
        take_hole(p, hole);
        forget(f, p, hole);
    }
}

/* Does the policy run this event? Marks a hole as read. */
static bool wants(struct find *f, struct bus_position *p, const struct store_logged *row)
{
    int64_t seq = row->event.seq;
    bool hole = next_hole(f, p) == seq;
    const struct bus_wanted *wanted = bus_generation_wants(f->bus->generation, p, row->type_name);
    if (hole)
        take_hole(p, seq);
    else if (seq <= p->seen || (wanted && seq <= wanted->since))
        return false;
    if (wanted && row->event.type && row->event.values)
        return true;
    if (hole || find_held(p, seq))
        forget(f, p, seq);
    else if (wanted)
        log_event(LOG_WARN, "event cannot be read and is passed over", LOG_S("policy", p->name),
                  LOG_S("type", row->type_name), LOG_I("seq", seq));
    return false;
}

static void restore_held(struct bus_set *set)
{
    for (int i = 0; i < set->count; i++) {
        struct bus_item *item = &set->items[i];
        const struct store_held *h = find_held(item->position, set->seq);
        if (!h)
            continue;
        item->state = BUS_ITEM_HELD;
        item->tries = h->tries;
        item->next_at_ms = h->next_at_ms;
        item->held = true;
    }
}

static void add_row(struct find *f, const struct store_logged *row)
{
    struct bus_service *s = f->service;
    struct bus_position **wanted =
        xcalloc((size_t)s->position_count, sizeof(struct bus_position *));
    int count = 0;
    for (int i = 0; i < s->position_count; i++) {
        forget_holes_below(f, s->positions[i], row->event.seq);
        if (wants(f, s->positions[i], row))
            wanted[count++] = s->positions[i];
    }
    if (count > 0) {
        struct bus_set *set = bus_set_new(f->bus, BUS_SET_EVENT, s, wanted, count);
        bus_set_copy(set, &row->event);
        restore_held(set);
        list_push(&f->sets, &set->node);
    }
    free(wanted);
}

/* Reads the log; what is damaged is found by reading one event at a time, and returned without
 * values, so that it can be passed over. Fails only if the log as such cannot be read. */
static int read_log(struct bus *b, struct arena *a, struct store_log_query *q, struct rows *ret,
                    struct err *err)
{
    const struct store_schema *schema = b->generation->schema;
    if (store_log_read(b->session, a, schema, q, &ret->rows, &ret->count, &ret->next, err) == 0)
        return 0;
    q->limit = 1;
    if (store_log_read(b->session, a, schema, q, &ret->rows, &ret->count, &ret->next, err) == 0)
        return 0;
    return store_log_read(b->session, a, NULL, q, &ret->rows, &ret->count, &ret->next, err);
}

static int read_window(struct find *f, struct arena *a, struct err *err)
{
    struct store_log_query q = {.from = f->cursor + 1,
                                .limit = bus_commit_window(f->bus, f->service),
                                .scan_limit = BUS_SCAN,
                                .type = f->service->only_type};
    struct rows found;
    if (read_log(f->bus, a, &q, &found, err) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++)
        add_row(f, &found.rows[i]);
    if (found.next > q.from)
        f->cursor = found.next - 1;
    else if (f->cursor < f->last_seq) /* the newest events are gone from the log */
        f->cursor = f->last_seq;
    for (int i = 0; i < f->service->position_count; i++)
        forget_holes_below(f, f->service->positions[i], f->cursor + 1);
    return 0;
}

static int read_hole(struct find *f, struct arena *a, int64_t seq, struct err *err)
{
    struct store_log_query q = {.from = seq, .limit = 1, .scan_limit = 1};
    struct rows found;
    if (read_log(f->bus, a, &q, &found, err) < 0)
        return -1;
    if (found.count == 1 && found.rows[0].event.seq == seq)
        add_row(f, &found.rows[0]);
    for (int i = 0; i < f->service->position_count; i++)
        forget_holes_below(f, f->service->positions[i], seq + 1);
    return 0;
}

static int read_holes(struct find *f, struct arena *a, struct err *err)
{
    struct bus_service *s = f->service;
    int64_t end = bus_commit_window(f->bus, s);
    if (end > HOLES_A_STEP)
        end = HOLES_A_STEP;
    for (int64_t i = 0; i < end && s->hole_next < s->hole_count; i++) {
        if (read_hole(f, a, s->holes[s->hole_next], err) < 0)
            return -1;
        s->hole_next++;
    }
    return 0;
}

/* Under the lock: opens what was found and hands it to the workers; what is to be forgotten stays
 * in f. */
static void dispatch(struct find *f)
{
    list_each (node, &f->sets) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        for (int i = 0; i < set->count; i++) {
            bus_position_open(set->items[i].position, set->seq);
            set->items[i].position->held += set->items[i].held;
        }
        bus_count(f->bus, f->service, set->count);
        if (set->kind != BUS_SET_EVENT)
            continue;
        list_remove(node);
        bus_dispatch(f->bus, set);
    }
}

static void on_forgotten(struct store_unit *u)
{
    if (u->verdict != STORE_COMMITTED) /* the next start finds them again */
        log_event(LOG_WARN, "events passed over could not be marked as done",
                  LOG_C("error", u->err.message));
}

/* Policies in memory have services of their own: a unit is all of one kind. */
static void write_forgotten(struct find *f)
{
    struct store_unit *u = store_unit_new();
    struct list *node;
    while ((node = list_pop(&f->sets)) != NULL) {
        struct bus_set *set = list_entry(node, struct bus_set, node);
        struct store_note *n = store_unit_note(u, STORE_NOTE_DONE);
        n->policy = set->items[0].position->number;
        n->seq = set->seq;
        n->tries = 1; /* it may have a held row */
        u->in_memory = set->items[0].position->in_memory;
        bus_set_free(set);
    }
    u->done = on_forgotten;
    store_submit(f->bus->conf.store, u, u);
}

static void drop(struct find *f)
{
    struct list *node;
    while ((node = list_pop(&f->sets)) != NULL)
        bus_set_free(list_entry(node, struct bus_set, node));
}

/* Ends a step: the service goes live, reads on, or waits for room. */
static void settle(struct find *f)
{
    struct bus *b = f->bus;
    struct bus_service *s = f->service;
    bus_lock(b);
    dispatch(f);
    s->cursor = f->cursor;
    bool holes_left = s->hole_next < s->hole_count;
    if (b->paused) { /* the store has switched meanwhile: bus_switch goes on from here */
        s->reading = false;
    } else if (!holes_left && s->cursor >= b->last_seq) {
        s->mode = BUS_LIVE;
        s->reading = false;
    } else if (!bus_commit_has_room(b, s)) {
        s->reading = false; /* whoever makes room wakes us */
    }
    bus_unlock(b);
    if (f->forgets)
        write_forgotten(f);
}

static void pause_reading(struct bus *b, const struct err *err)
{
    log_event(LOG_ERROR, "the event log cannot be read", LOG_C("error", err->message));
    loop_timer_start(b->conf.main_loop, &b->catchup_pause,
                     loop_now_ns(b->conf.main_loop) + PAUSE_NS);
}

static void park(struct bus *b, struct bus_position *p, const struct store_letter *l)
{
    struct bus_set *set = bus_set_command(b, BUS_SET_PARK, p, l->key, l->seq, l->id);
    bus_lock(b);
    bus_dispatch(b, set);
    bus_unlock(b);
}

static int park_keys(struct bus *b, struct bus_position *p, struct err *err)
{
    int64_t before = 0;
    size_t count;
    do {
        struct arena *a = arena_new(0);
        struct store_letter *letters;
        if (store_log_letters(b->session, a, p->name, before, BUS_WINDOW, &letters, &count, err) <
            0) {
            arena_free(a);
            return err_wrap(err, "load letters of %.*s", STR_ARG(p->name));
        }
        for (size_t i = 0; i < count; i++) {
            before = letters[i].id;
            if (letters[i].policy == p->number)
                park(b, p, &letters[i]);
        }
        arena_free(a);
    } while (count == BUS_WINDOW);
    p->load_parked = false;
    return 0;
}

static void use_held(struct bus *b, struct arena *a, struct store_held *rows, size_t count)
{
    for (int i = 0; i < b->position_count; i++)
        b->positions[i]->held_row_count = 0;
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && rows[i + n].policy == rows[i].policy;)
            n++;
        struct bus_position *p = bus_find(b, rows[i].policy);
        if (!p)
            continue;
        p->held_rows = &rows[i];
        p->held_row_count = n;
    }
    if (b->held_arena)
        arena_free(b->held_arena);
    b->held_arena = a;
    b->load_held = false;
}

/* What must be known before anything is read for a generation: which events are held, and since
 * which try; and which keys are parked. */
static int load(struct bus *b, struct err *err)
{
    struct store_held *rows;
    size_t count;
    if (b->load_held) {
        struct arena *a = arena_new(0);
        if (store_log_held(b->session, a, &rows, &count, err) < 0) {
            arena_free(a);
            return err_wrap(err, "load the held list");
        }
        use_held(b, a, rows, count);
    }
    for (int i = 0; i < b->generation->policy_count; i++) {
        struct bus_position *p = b->generation->positions[i];
        if (p->load_parked && park_keys(b, p, err) < 0)
            return -1;
    }
    return 0;
}

static int read_step(struct find *f, struct arena *a, struct err *err)
{
    const struct bus_service *s = f->service;
    if (load(f->bus, err) < 0)
        return -1;
    return s->hole_next < s->hole_count ? read_holes(f, a, err) : read_window(f, a, err);
}

/* False: reading failed. */
static bool step(struct bus *b, struct bus_service *s)
{
    struct find f = {.bus = b, .service = s};
    list_init(&f.sets);
    bus_lock(b);
    f.cursor = s->cursor;
    f.last_seq = b->last_seq;
    bus_unlock(b);
    struct arena *a = arena_new(0);
    struct err err;
    int rc = read_step(&f, a, &err);
    /* What was found before a failure is dispatched all the same: it counts as read. */
    settle(&f);
    drop(&f);
    arena_free(a);
    if (rc < 0)
        pause_reading(b, &err);
    return rc == 0;
}

static struct bus_service *next_reading(struct bus *b)
{
    struct bus_service *found = NULL;
    bus_lock(b);
    for (int i = 1; i <= b->service_count && !found; i++) {
        int at = (b->catchup_turn + i) % b->service_count;
        if (b->services[at]->reading)
            found = b->services[at];
    }
    bus_unlock(b);
    if (found)
        b->catchup_turn = found->index;
    return found;
}

static void on_turn(struct loop_defer *d)
{
    struct bus *b = list_entry(d, struct bus, catchup);
    struct bus_service *s = next_reading(b);
    if (s && step(b, s))
        loop_defer(b->conf.main_loop, &b->catchup);
    bus_rebuild_look(b); /* a log without events for it has no commit to tell by */
}

static void on_pause_over(struct loop_timer *t)
{
    struct bus *b = list_entry(t, struct bus, catchup_pause);
    loop_defer(b->conf.main_loop, &b->catchup);
}

void bus_catchup_wake(struct bus *b)
{
    bus_lock(b);
    for (int i = 0; i < b->service_count; i++) {
        struct bus_service *s = b->services[i];
        if (s->mode == BUS_BEHIND && !s->reading)
            s->reading = bus_commit_has_room(b, s);
    }
    bus_unlock(b);
    if (!loop_timer_armed(&b->catchup_pause))
        loop_defer(b->conf.main_loop, &b->catchup);
}

int bus_catchup_start(struct bus *b, struct err *err)
{
    b->catchup.fn = on_turn;
    b->catchup_pause.fn = on_pause_over;
    b->session = store_session_new(b->conf.store, b->conf.main_loop, err);
    return b->session ? load(b, err) : -1;
}

void bus_catchup_stop(struct bus *b)
{
    if (!b->session)
        return;
    loop_defer_cancel(b->conf.main_loop, &b->catchup);
    loop_timer_stop(b->conf.main_loop, &b->catchup_pause);
    store_session_free(b->session);
    b->session = NULL;
}
