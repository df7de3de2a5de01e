/* SPDX-License-Identifier: MIT */
/* The same guarantees with real threads: a writer, four workers and the main loop, with failures
 * and a restart in the middle. Under the thread sanitizer this is also the proof that what they
 * share is shared properly. */
#include "generations.h"
#include "loop/thread.h"

#define EVENTS_A_ROUND 1500
#define KEYS_USED 50
#define GIVE_UP_NS (120 * NS_PER_S)

struct hand {
    struct world *world;
    int number;
    struct loop *loop;
    struct mailbox *box;
    struct bus_worker *worker;
    struct thread *thread;
    struct mail stop;
    bool stopping;
};

struct stage {
    struct hand hands[WORKERS];
    struct loop_timer tick;
    int64_t give_up_ns;
    atomic_int effects;
    int expected;
    atomic_bool busy[2][KEYS_USED]; /* by service: a key runs one event at a time */
};

/* One test uses it; the handlers reach it through their policies' world only. */
static struct stage stage;

static void stop_if_idle(struct hand *h)
{
    if (h->stopping && h->worker->running == 0)
        loop_stop(h->loop);
}

static atomic_bool *busy_of(const struct bus_delivery *d)
{
    return &stage.busy[str_eq(d->policy->service, STR("delivery"))][key_of(d)];
}

static void on_hand_effect(struct store_unit *u)
{
    struct bus_delivery *d = u->owner;
    struct hand *h = d->owner;
    assert_int_equal(u->verdict, STORE_COMMITTED);
    atomic_store(busy_of(d), false);
    atomic_fetch_add(&stage.effects, 1);
    bus_delivery_done(d);
    stop_if_idle(h);
}

static void hand_deliver(void *ctx, struct bus_delivery *d)
{
    struct hand *h = ctx;
    assert_int_equal(bus_worker_of(h->world->bus, d->policy->service, d->event->key), h->number);
    assert_false(atomic_exchange(busy_of(d), true));
    if ((d->event->seq * 13 + d->tries) % 10 == 0 && d->tries < 4) {
        struct bus_failure why = {false, STR("failed"), STR("no"), STR("x.lua:1")};
        atomic_store(busy_of(d), false);
        bus_delivery_failed(d, &why);
        return;
    }
    d->owner = h;
    struct store_unit *u =
        effect_unit(h->world, number_of(h->world, d->policy), d->event->seq, key_of(d));
    bus_delivery_note(d, u);
    u->home = h->box;
    u->done = on_hand_effect;
    u->owner = d;
    store_submit(h->world->store, u, u);
}

static void on_stop(struct mail *m)
{
    struct hand *h = list_entry(m, struct hand, stop);
    h->stopping = true;
    stop_if_idle(h);
}

static void work(void *arg)
{
    struct hand *h = arg;
    loop_run(h->loop);
    bus_worker_free(h->worker);
}

static void hand_start(struct world *w, int number)
{
    struct err err;
    struct hand *h = &stage.hands[number];
    *h = (struct hand){.world = w, .number = number, .stop.run = on_stop};
    h->loop = loop_new(&w->clock, &err);
    h->box = mailbox_new(h->loop, &err);
    h->worker = bus_worker_new(w->bus, number, h->loop, h->box, hand_deliver, h);
    h->thread = thread_start("worker", work, h, &err);
    assert_non_null(h->thread);
}

static void stage_open(struct world *w)
{
    struct err err = {0};
    w->loop = loop_new(&w->clock, &err);
    w->box = mailbox_new(w->loop, &err);
    struct store_conf conf = {.folder = w->folder, .clock = &w->clock};
    w->store = store_open(&conf, &err);
    assert_non_null(w->store);
    assert_int_equal(store_migrate(w->store, &w->schema, &err), 0);
    w->conf.store = w->store;
    w->conf.schema = &w->schema;
    w->conf.main_loop = w->loop;
    w->conf.main_mailbox = w->box;
    w->conf.policies = w->policies;
    w->conf.policy_count = w->policy_count;
    w->conf.worker_count = WORKERS;
    if (w->before_bus)
        w->before_bus(w);
    w->bus = bus_new(&w->conf, &err);
    assert_non_null(w->bus);
    assert_int_equal(store_start(w->store, bus_hooks(w->bus), &err), 0);
    w->session = store_session_new(w->store, w->loop, &err);
    for (int i = 0; i < WORKERS; i++)
        hand_start(w, i);
    assert_int_equal(bus_start(w->bus, &err), 0);
}

static void stage_close(struct world *w)
{
    bus_stop(w->bus);
    for (int i = 0; i < WORKERS; i++)
        mailbox_post(stage.hands[i].box, &stage.hands[i].stop);
    for (int i = 0; i < WORKERS; i++)
        thread_join(stage.hands[i].thread);
    store_session_free(w->session);
    store_close(w->store);
    for (int i = 0; i < WORKERS; i++) {
        while (loop_turn(stage.hands[i].loop)) /* what the writer told them too late */
            ;
        mailbox_free(stage.hands[i].box);
        loop_free(stage.hands[i].loop);
    }
    while (loop_turn(w->loop))
        ;
    bus_free(w->bus);
    mailbox_free(w->box);
    loop_free(w->loop);
    w->bus = NULL;
}

static void on_tick(struct loop_timer *t)
{
    struct world *w = stage.hands[0].world;
    int64_t now_ns = loop_now_ns(w->loop);
    if (atomic_load(&stage.effects) >= stage.expected || now_ns > stage.give_up_ns)
        loop_stop(w->loop);
    else
        loop_timer_start(w->loop, t, now_ns + NS_PER_MS);
}

/* Runs the main loop until so many effects are there. */
static void run_until(struct world *w, int expected)
{
    stage.expected = expected;
    stage.give_up_ns = clock_mono_ns(&w->clock) + GIVE_UP_NS;
    stage.tick = (struct loop_timer){.fn = on_tick};
    loop_timer_start(w->loop, &stage.tick, loop_now_ns(w->loop));
    loop_run(w->loop);
    loop_timer_stop(w->loop, &stage.tick);
    assert_true(atomic_load(&stage.effects) >= expected);
}

static int emit_round(struct world *w, uint64_t *seed)
{
    int wanted = 0;
    for (int i = 0; i < EVENTS_A_ROUND; i++) {
        int type = (int)(dice(seed) % TYPES);
        emit(w, type, (int)(dice(seed) % KEYS_USED));
        wanted += type == PLACED ? 2 : 1; /* as the policies below want them */
        if (i % 8 == 0)
            loop_turn(w->loop);
    }
    return wanted;
}

static void once_in_order_with_four_workers_and_a_restart(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    clock_real_init(&w->clock);
    w->conf.first_pause_ms = 2;
    w->conf.max_pause_ms = 10;
    w->conf.max_outstanding = 64;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PAID);
    add_policy(w, "payment", "pay", 1 << PLACED);
    stage_open(w);
    int expected = emit_round(w, &seed);
    run_until(w, expected / 2);
    stage_close(w);
    stage_open(w);
    expected += emit_round(w, &seed);
    run_until(w, expected);
    stage_close(w);
    world_open(w);
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(count_letters(w, NULL), 0);
}

/* Every policy leaves and returns while the others work. */
static void once_in_order_with_four_workers_and_switches(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    clock_real_init(&w->clock);
    atomic_store(&stage.effects, 0);
    memset(stage.busy, 0, sizeof(stage.busy));
    w->conf.first_pause_ms = 2;
    w->conf.max_pause_ms = 10;
    w->conf.max_outstanding = 64;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PAID);
    add_policy(w, "payment", "pay", 1 << PLACED);
    w->before_bus = first_generation;
    stage_open(w);
    int expected = 0;
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < 60; k++) {
            int type = (int)(dice(&seed) % TYPES);
            emit(w, type, (int)(dice(&seed) % KEYS_USED));
            expected += type == PLACED ? 2 : 1;
            if (k % 8 == 0)
                loop_turn(w->loop);
        }
        generation_switch(w, dice(&seed) % 8);
    }
    generation_switch(w, 7);
    run_until(w, expected);
    stage_close(w);
    assert_int_equal(generations_alive, 0);
    w->before_bus = NULL;
    w->conf.switched = NULL;
    w->conf.release = NULL;
    world_open(w);
    settle(w);
    assert_once_by_policy(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(count_letters(w, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("G4 once, in order, with four workers and a restart",
             once_in_order_with_four_workers_and_a_restart),
        CASE("RULES-1a once, in order, with four workers and switches",
             once_in_order_with_four_workers_and_switches),
    };
    return cmocka_run_group_tests_name("bus/threads", tests, NULL, NULL);
}
