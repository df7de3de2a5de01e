/* SPDX-License-Identifier: MIT */
/* A small world for the bus: a real store in a folder of its own, one loop for all parts, a fake
 * clock, and policies whose every try is decided by the test. A policy that succeeds leaves a row
 * behind, so that effects are counted where they count: on disk. */
#pragma once

#include "base/file.h"
#include "base/mem.h"
#include "bus/inside.h"
#include "store/read.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS 4
#define POLICIES 8
#define KEPT 1024
#define KEYS 1024

enum { PLACED, PAID, TYPES };

enum outcome {
    SUCCEED,
    FAIL,
    FAIL_FOR_GOOD,
    KEEP /* goes on until the test ends it */
};

struct run {
    int policy, tries;
    int64_t seq, letter_id, at_ms;
    enum outcome outcome;
};

struct emitted {
    int type, key;
};

struct world;

struct place {
    struct world *world;
    int number;
    struct mailbox *box;
    struct bus_worker *worker;
};

struct world {
    char folder[64];
    struct clock clock;
    struct loop *loop;
    struct mailbox *box;
    struct store *store;
    struct store_session *session;
    struct bus *bus;
    struct bus_conf conf; /* limits; the rest is filled in */
    struct place places[WORKERS];

    struct field fields[3], event_fields[2];
    struct store_table effects;
    struct event_type types[TYPES];
    struct store_table *tables[1];
    struct event_type *type_list[TYPES];
    struct store_schema schema;
    const struct event_type *subscribed[POLICIES][TYPES];
    struct bus_policy policies[POLICIES];
    int policy_count;

    void (*before_bus)(struct world *w); /* on opening: may put another generation into conf */
    const char *stopped;                 /* on opening: this service is stopped */
    void *generation;                    /* of generations.h */
    enum outcome (*decide)(struct world *w, const struct bus_delivery *d);
    bool bad[KEYS]; /* keys that fail_bad_keys fails */
    struct run *runs;
    size_t run_count, run_cap;
    struct bus_delivery *kept[KEPT];
    size_t kept_count;
    struct emitted *log; /* what was emitted: seq - 1 */
    size_t log_count, log_cap;
    _Atomic int64_t next_id;
    enum store_verdict last_verdict;
    struct err last_err;
    int discards, discards_gone;
    struct str busy[KEYS]; /* services that run an event of this key */
};

#define CASE(name, fn)                                                                             \
    {                                                                                              \
        name, fn, world_setup, world_teardown, NULL                                                \
    }

/* ---- the store's side */

static inline void world_init_schema(struct world *w)
{
    static const char *const columns[] = {"policy", "seq", "key"};
    static const char *const names[] = {"Placed", "Paid"};
    for (int i = 0; i < 3; i++)
        w->fields[i] = (struct field){.name = str_from(columns[i]), .type = FIELD_INTEGER};
    w->effects = (struct store_table){.service = STR("shop"),
                                      .name = STR("effects"),
                                      .id_name = STR("id"),
                                      .fields = w->fields,
                                      .field_count = 3};
    w->event_fields[0] = (struct field){.name = STR("id"), .type = FIELD_INTEGER};
    w->event_fields[1] = (struct field){.name = STR("name"), .type = FIELD_TEXT};
    for (int i = 0; i < TYPES; i++) {
        w->types[i] = (struct event_type){.number = i,
                                          .service = STR("shop"),
                                          .name = str_from(names[i]),
                                          .key_name = STR("order"),
                                          .fields = w->event_fields,
                                          .field_count = 2};
        w->type_list[i] = &w->types[i];
    }
    w->tables[0] = &w->effects;
    w->schema = (struct store_schema){w->tables, 1, w->type_list, TYPES};
}

static inline void forgotten(struct store_unit *u)
{
    (void)u;
}

static inline void remember_verdict(struct store_unit *u)
{
    struct world *w = u->owner;
    w->last_verdict = u->verdict;
    w->last_err = u->err;
}

static inline struct store_event *event_init(struct world *w, struct store_unit *u,
                                             struct store_event *e, int type, int key)
{
    char text[64];
    e->type = &w->types[type];
    e->time_ms = clock_wall_ms(&w->clock);
    e->generation = 7;
    snprintf(text, sizeof(text), "order/%d", key);
    e->key = arena_str(u->arena, str_from(text));
    snprintf(text, sizeof(text), "{\"id\":%d,\"name\":\"n%d\"}", key, key);
    e->payload = arena_str(u->arena, str_from(text));
    snprintf(text, sizeof(text), "n%d", key);
    e->values = arena_alloc(u->arena, 2 * sizeof(struct value));
    e->values[0] = value_int(key);
    e->values[1] = value_text(arena_str(u->arena, str_from(text)));
    return e;
}

static inline struct store_unit *event_unit(struct world *w, int type, int key)
{
    struct store_unit *u = store_unit_new();
    u->done = forgotten;
    u->events = event_init(w, u, arena_zalloc(u->arena, sizeof(struct store_event)), type, key);
    vec_reserve(&w->log, &w->log_cap, w->log_count + 1, sizeof(*w->log));
    w->log[w->log_count++] = (struct emitted){type, key};
    return u;
}

static inline void emit(struct world *w, int type, int key)
{
    struct store_unit *u = event_unit(w, type, key);
    store_submit(w->store, u, u);
}

static inline void emit_after(struct world *w, int64_t id, int64_t in_ms, int type, int key)
{
    struct store_unit *u = store_unit_new();
    struct store_timer *t = arena_zalloc(u->arena, sizeof(*t));
    t->id = id;
    t->due_ms = clock_wall_ms(&w->clock) + in_ms;
    event_init(w, u, &t->event, type, key);
    u->timers = t;
    u->done = forgotten;
    store_submit(w->store, u, u);
}

/* ---- the handlers' side */

static inline int key_of(const struct bus_delivery *d)
{
    return (int)d->event->values[store_event_field(d->event->type, STR("id"))].i;
}

/* Its number among all policies of the test; in a generation it may have another index. */
static inline int number_of(const struct world *w, const struct bus_policy *p)
{
    for (int i = 0; i < w->policy_count; i++) {
        if (str_eq(w->policies[i].service, p->service) && str_eq(w->policies[i].name, p->name))
            return i;
    }
    fail_msg("an unknown policy");
    return -1;
}

static inline enum outcome fail_bad_keys(struct world *w, const struct bus_delivery *d)
{
    return w->bad[key_of(d)] ? FAIL : SUCCEED;
}

/* Where one event of a key runs at a time. */
static inline struct str queue_of(const struct bus_delivery *d)
{
    return d->policy->view ? d->policy->name : d->policy->service;
}

static inline void leave(struct world *w, struct bus_delivery *d)
{
    if (str_eq(w->busy[key_of(d)], queue_of(d)))
        w->busy[key_of(d)] = (struct str){NULL, 0};
}

static inline void end_failed(struct world *w, struct bus_delivery *d, bool permanent,
                              struct str code)
{
    struct bus_failure why = {permanent, code, STR("it did not work"), STR("policy.lua:12")};
    leave(w, d);
    bus_delivery_failed(d, &why);
}

static inline void on_effect(struct store_unit *u)
{
    struct bus_delivery *d = u->owner;
    struct place *place = d->owner;
    struct world *w = place->world;
    w->last_verdict = u->verdict;
    if (u->verdict == STORE_COMMITTED) {
        leave(w, d);
        bus_delivery_done(d);
    } else {
        end_failed(w, d, false, str_from(err_name(u->err.code)));
    }
}

static inline struct store_unit *effect_unit(struct world *w, int policy, int64_t seq, int key)
{
    struct store_unit *u = store_unit_new();
    struct store_change *c = arena_zalloc(u->arena, sizeof(*c));
    c->table = &w->effects;
    c->kind = STORE_INSERT;
    c->id = ++w->next_id;
    c->row = store_row_new(u->arena, &w->effects);
    c->row->id = c->id;
    c->row->version = 1;
    c->row->values[0] = value_int(policy);
    c->row->values[1] = value_int(seq);
    c->row->values[2] = value_int(key);
    u->changes = c;
    return u;
}

static inline void end_well(struct world *w, struct bus_delivery *d)
{
    struct place *place = d->owner;
    struct store_unit *u = effect_unit(w, number_of(w, d->policy), d->event->seq, key_of(d));
    bus_delivery_note(d, u);
    u->home = place->box;
    u->done = on_effect;
    u->owner = d;
    store_submit(w->store, u, u);
}

static inline void deliver(void *ctx, struct bus_delivery *d)
{
    struct place *place = ctx;
    struct world *w = place->world;
    struct str service = d->policy->service;
    char name[32];
    snprintf(name, sizeof(name), "n%d", key_of(d));
    assert_true(
        str_eq(d->event->values[store_event_field(d->event->type, STR("name"))].s, str_from(name)));
    assert_int_equal(bus_worker_of(w->bus, service, d->event->key), place->number);
    assert_false(str_eq(w->busy[key_of(d)], queue_of(d))); /* one at a time */
    if (w->busy[key_of(d)].n == 0)
        w->busy[key_of(d)] = queue_of(d);
    d->owner = place;
    enum outcome outcome = w->decide ? w->decide(w, d) : SUCCEED;
    vec_reserve(&w->runs, &w->run_cap, w->run_count + 1, sizeof(*w->runs));
    w->runs[w->run_count++] =
        (struct run){number_of(w, d->policy),  d->tries, d->event->seq, d->letter_id,
                     clock_wall_ms(&w->clock), outcome};
    if (outcome == SUCCEED)
        end_well(w, d);
    else if (outcome == KEEP && w->kept_count < KEPT)
        w->kept[w->kept_count++] = d;
    else
        end_failed(w, d, outcome == FAIL_FOR_GOOD, STR("failed"));
}

/* ---- time */

static inline void settle(struct world *w)
{
    for (int i = 0; i < 1000000; i++) {
        if (!loop_turn(w->loop))
            return;
    }
    fail_msg("the loop does not come to rest");
}

/* Runs everything that falls due within ms, each at its time. */
static inline void advance(struct world *w, int64_t ms)
{
    settle(w);
    int64_t end_ns = clock_mono_ns(&w->clock) + ms * NS_PER_MS;
    for (;;) {
        int64_t next_ns = loop_timer_next_ns(w->loop), now_ns = clock_mono_ns(&w->clock);
        if (next_ns > end_ns) {
            clock_advance(&w->clock, end_ns - now_ns);
            settle(w);
            return;
        }
        if (next_ns > now_ns)
            clock_advance(&w->clock, next_ns - now_ns);
        settle(w);
    }
}

/* ---- the whole */

/* types: a mask of 1 << PLACED, 1 << PAID */
static inline struct bus_policy *add_policy(struct world *w, const char *service, const char *name,
                                            int types)
{
    int n = w->policy_count++;
    struct bus_policy *p = &w->policies[n];
    *p = (struct bus_policy){.index = n,
                             .service = str_from(service),
                             .name = str_from(name),
                             .types = w->subscribed[n]};
    for (int i = 0; i < TYPES; i++) {
        if (types & (1 << i))
            w->subscribed[n][p->type_count++] = &w->types[i];
    }
    return p;
}

static inline void world_open(struct world *w)
{
    struct err err = {0};
    w->loop = loop_new(&w->clock, &err);
    w->box = mailbox_new(w->loop, &err);
    struct store_conf conf = {.folder = w->folder, .clock = &w->clock, .inline_loop = w->loop};
    w->store = store_open(&conf, &err);
    if (!w->store)
        fail_msg("%s", err.message);
    assert_int_equal(store_migrate(w->store, &w->schema, &err), 0);
    w->conf.store = w->store;
    w->conf.schema = &w->schema;
    w->conf.main_loop = w->loop;
    w->conf.main_mailbox = w->box;
    w->conf.policies = w->policies;
    w->conf.policy_count = w->policy_count;
    if (w->conf.worker_count == 0)
        w->conf.worker_count = WORKERS;
    if (w->before_bus)
        w->before_bus(w);
    w->bus = bus_new(&w->conf, &err);
    if (!w->bus)
        fail_msg("%s", err.message);
    if (store_start(w->store, bus_hooks(w->bus), &err) < 0)
        fail_msg("%s", err.message);
    w->session = store_session_new(w->store, w->loop, &err);
    for (int i = 0; i < w->conf.worker_count; i++) {
        struct place *p = &w->places[i];
        *p = (struct place){w, i, mailbox_new(w->loop, &err), NULL};
        p->worker = bus_worker_new(w->bus, i, w->loop, p->box, deliver, p);
    }
    memset(w->busy, 0, sizeof(w->busy));
    if (w->stopped)
        bus_service_stop(w->bus, str_from(w->stopped));
    if (bus_start(w->bus, &err) < 0)
        fail_msg("%s", err.message);
}

/* What is kept is given back untried, what was handed over is written. */
static inline void world_close(struct world *w)
{
    if (!w->bus)
        return;
    bus_stop(w->bus);
    for (size_t i = 0; i < w->kept_count; i++)
        bus_delivery_abandon(w->kept[i]);
    w->kept_count = 0;
    settle(w);
    for (int i = 0; i < w->conf.worker_count; i++)
        bus_worker_free(w->places[i].worker);
    store_session_free(w->session);
    store_close(w->store);
    settle(w);
    bus_free(w->bus);
    for (int i = 0; i < w->conf.worker_count; i++)
        mailbox_free(w->places[i].box);
    mailbox_free(w->box);
    loop_free(w->loop);
    w->bus = NULL;
}

static inline void restart(struct world *w)
{
    world_close(w);
    world_open(w);
}

static inline int world_setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    strcpy(w->folder, "/tmp/moontide-bus-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    clock_fake_init(&w->clock);
    w->conf = (struct bus_conf){BUS_DEFAULTS};
    world_init_schema(w);
    *state = w;
    return 0;
}

static inline int remove_file(void *ctx, const char *path, struct err *err)
{
    (void)err;
    char full[256];
    snprintf(full, sizeof(full), "%s/%s", (const char *)ctx, path);
    unlink(full);
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    world_close(w);
    file_each(w->folder, "", remove_file, w->folder, NULL);
    rmdir(w->folder);
    free(w->runs);
    free(w->log);
    free(w);
    return 0;
}

/* ---- looking at what happened */

static inline void rows_read(struct store_read *r)
{
    *(bool *)r->owner = true;
}

/* All effects in the order of their commit, in a. */
static inline size_t read_effects(struct world *w, struct arena *a, struct store_row ***ret)
{
    bool done = false;
    struct store_read r = {.kind = STORE_READ_FIND,
                           .table = &w->effects,
                           .order_column = STORE_COLUMN_ID,
                           .arena = a,
                           .done = rows_read,
                           .owner = &done};
    store_read_start(w->session, &r);
    settle(w);
    assert_true(done && !r.failed);
    *ret = r.rows;
    return r.row_count;
}

static inline size_t count_effects(struct world *w, int policy, int64_t seq)
{
    struct store_row **rows;
    struct arena *a = arena_new(0);
    size_t n = 0, count = read_effects(w, a, &rows);
    for (size_t i = 0; i < count; i++)
        n += rows[i]->values[0].i == policy && (seq == 0 || rows[i]->values[1].i == seq);
    arena_free(a);
    return n;
}

static inline bool subscribes(const struct world *w, int policy, int type)
{
    for (int i = 0; i < w->policies[policy].type_count; i++) {
        if (w->policies[policy].types[i] == &w->types[type])
            return true;
    }
    return false;
}

/* Every policy had every event of its types after `from` once; and those of a key in order, in
 * every service. */
static inline void assert_once_in_order(struct world *w, int64_t from)
{
    struct store_row **rows;
    struct arena *a = arena_new(0);
    size_t count = read_effects(w, a, &rows), expected = 0;
    int *seen = xcalloc((w->log_count + 1) * POLICIES, sizeof(int));
    int64_t(*newest)[KEYS] =
        xcalloc(POLICIES, sizeof(*newest)); /* by first policy of the service */
    for (size_t i = 0; i < count; i++) {
        int64_t policy = rows[i]->values[0].i, seq = rows[i]->values[1].i, service = 0;
        while (!str_eq(w->policies[service].service, w->policies[policy].service))
            service++;
        int64_t *last = &newest[service][rows[i]->values[2].i];
        assert_true(seq >= *last);
        *last = seq;
        assert_int_equal(++seen[seq * POLICIES + policy], 1);
    }
    for (int64_t seq = from + 1; seq <= (int64_t)w->log_count; seq++) {
        for (int p = 0; p < w->policy_count; p++) {
            bool wanted = subscribes(w, p, w->log[seq - 1].type);
            expected += wanted;
            assert_int_equal(seen[seq * POLICIES + p], wanted);
        }
    }
    assert_int_equal(count, expected);
    free(seen);
    free(newest);
    arena_free(a);
}

static inline size_t count_letters(struct world *w, struct store_letter *ret_newest)
{
    static struct arena *a; /* of the newest letter shown; the next look frees it */
    struct store_letter *letters;
    size_t count;
    struct err err;
    if (a)
        arena_free(a);
    a = arena_new(0);
    assert_int_equal(
        store_log_letters(w->session, a, (struct str){NULL, 0}, 0, 1000, &letters, &count, &err),
        0);
    if (count > 0 && ret_newest)
        *ret_newest = letters[0];
    if (count == 0 || !ret_newest) {
        arena_free(a);
        a = NULL;
    }
    return count;
}

static inline size_t count_held(struct world *w, struct store_held *ret_first)
{
    struct arena *a = arena_new(0);
    struct store_held *rows;
    size_t count;
    struct err err;
    assert_int_equal(store_log_held(w->session, a, &rows, &count, &err), 0);
    if (count > 0 && ret_first) {
        *ret_first = rows[0];
        ret_first->key = (struct str){NULL, 0};
    }
    arena_free(a);
    return count;
}

/* Tries of (policy, seq) so far. */
static inline size_t count_runs(const struct world *w, int policy, int64_t seq)
{
    size_t n = 0;
    for (size_t i = 0; i < w->run_count; i++)
        n += w->runs[i].policy == policy && w->runs[i].seq == seq;
    return n;
}

static inline struct bus_lag lag_of(struct world *w, int policy)
{
    struct bus_lag lag;
    bus_policy_lag(w->bus, policy, &lag);
    return lag;
}

static inline void on_discarded(void *ctx, bool gone)
{
    struct world *w = ctx;
    w->discards++;
    w->discards_gone += gone;
}

/* A small generator of its own: the seed is printed, a failure can be repeated. */
static inline uint32_t dice(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

static inline uint64_t new_seed(void)
{
    uint64_t seed;
    const char *given = getenv("SEED");
    file_random(&seed, sizeof(seed));
    if (given)
        seed = strtoull(given, NULL, 10);
    print_message("# SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
