/* SPDX-License-Identifier: MIT */
/* What bounds the bus: open deliveries, holes, turns; and who is told when there is room again. */
#include "world.h"

struct request {
    struct bus_waiter waiter;
    int calls;
};

static void on_room(struct bus_waiter *waiter)
{
    list_entry(waiter, struct request, waiter)->calls++;
}

static enum outcome keep_all(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    (void)d;
    return KEEP;
}

static void finish_one(struct world *w)
{
    end_well(w, w->kept[--w->kept_count]);
    settle(w);
}

static void requests_wait_while_too_many_deliveries_are_open(void **state)
{
    struct world *w = *state;
    struct request first = {.waiter.fn = on_room}, second = first, given_up = first;
    w->conf.max_outstanding = 4;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    struct bus_worker *worker = w->places[2].worker;
    bus_worker_wait(worker, &first.waiter);
    assert_int_equal(first.calls, 1); /* at once */
    for (int i = 0; i < 6; i++)
        emit(w, PLACED, i);
    settle(w);
    assert_int_equal(bus_outstanding(w->bus), 6);
    assert_false(bus_has_room(w->bus));
    bus_worker_wait(worker, &first.waiter);
    bus_worker_wait(worker, &given_up.waiter);
    bus_worker_wait(w->places[0].worker, &second.waiter);
    bus_worker_unwait(worker, &given_up.waiter);
    finish_one(w);
    finish_one(w);
    assert_int_equal(bus_outstanding(w->bus), 4);
    assert_int_equal(first.calls, 1);
    finish_one(w);
    assert_true(bus_has_room(w->bus));
    assert_int_equal(first.calls, 2);
    assert_int_equal(second.calls, 1);
    finish_one(w);
    assert_int_equal(first.calls, 2);
    assert_int_equal(given_up.calls, 0);
}

static void a_key_that_is_held_with_many_behind_it_stops_no_request(void **state)
{
    struct world *w = *state;
    struct request request = {.waiter.fn = on_room};
    w->conf.max_outstanding = 4;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    for (int i = 0; i < 100; i++) {
        emit(w, PLACED, 1);
        loop_turn(w->loop);
    }
    settle(w);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(lag_of(w, 0).open, 101);
    bus_worker_wait(w->places[0].worker, &request.waiter);
    assert_int_equal(request.calls, 1);
    w->bad[1] = false;
    advance(w, 2000);
    assert_once_in_order(w, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
}

static void too_many_holes_stop_new_events_of_that_service_until_there_are_fewer(void **state)
{
    struct world *w = *state;
    w->conf.max_holes = 10;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "payment", "pay", 1 << PAID);
    world_open(w);
    for (int i = 0; i < 40; i++) {
        emit(w, PLACED, 1);
        emit(w, PAID, 2);
        settle(w);
    }
    assert_true(lag_of(w, 0).open <= 10);
    assert_true(lag_of(w, 0).behind > 0);
    assert_int_equal(w->bus->services[0]->mode, BUS_BEHIND);
    assert_int_equal(count_effects(w, 1, 0), 40); /* the other service goes on */
    assert_int_equal(lag_of(w, 1).behind, 0);
    w->bad[1] = false;
    advance(w, 3600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(w->bus->services[0]->mode, BUS_LIVE);
    assert_int_equal(lag_of(w, 0).behind, 0);
}

static void a_service_that_lags_does_not_poll(void **state)
{
    struct world *w = *state;
    w->conf.max_holes = 4;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 20; i++)
        emit(w, PLACED, i);
    settle(w); /* comes to rest although there is a backlog */
    assert_true(lag_of(w, 0).open <= 4);
    assert_false(loop_turn(w->loop));
    assert_int_equal(loop_timer_next_ns(w->loop), INT64_MAX);
    while (w->kept_count > 0)
        finish_one(w);
    assert_once_in_order(w, 0);
}

static void a_turn_starts_a_bounded_number_of_deliveries(void **state)
{
    struct world *w = *state;
    size_t before = 0, most = 0;
    w->conf.worker_count = 1;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 300; i++)
        emit(w, PLACED, i);
    while (loop_turn(w->loop)) {
        if (w->run_count - before > most)
            most = w->run_count - before;
        before = w->run_count;
    }
    assert_in_range(most, 1, 64);
    assert_int_equal(w->run_count, 256); /* at once, of one worker */
    w->decide = NULL;
    while (w->kept_count > 0)
        finish_one(w);
    assert_once_in_order(w, 0);
}

struct watcher {
    struct bus_watch watch;
    struct world *world;
    int calls;
    struct watcher *removes;
};

static void on_commit(struct bus_watch *watch)
{
    struct watcher *self = list_entry(watch, struct watcher, watch);
    self->calls++;
    if (self->removes)
        bus_unwatch(self->world->bus, &self->removes->watch);
}

static void watchers_are_told_once_a_batch(void **state)
{
    struct world *w = *state;
    struct watcher one = {.watch.fn = on_commit, .world = w}, two = one, leaver = one;
    struct watcher removed = one, remover = one;
    leaver.removes = &leaver;
    remover.removes = &removed;
    world_open(w);
    bus_watch(w->bus, &one.watch);
    bus_watch(w->bus, &removed.watch);
    bus_watch(w->bus, &remover.watch); /* runs before it, and takes it away */
    bus_watch(w->bus, &leaver.watch);
    bus_watch(w->bus, &two.watch);
    for (int i = 0; i < 5; i++)
        emit(w, PLACED, i);
    settle(w);
    assert_int_equal(one.calls, 1);
    assert_int_equal(two.calls, 1);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(one.calls, 2);
    assert_int_equal(two.calls, 2);
    assert_int_equal(leaver.calls, 1);
    assert_int_equal(remover.calls, 2);
    assert_int_equal(removed.calls, 0);
    bus_unwatch(w->bus, &two.watch);
    emit_after(w, 1, 1000, PLACED, 1); /* brings no event yet */
    settle(w);
    assert_int_equal(one.calls, 2);
    bus_unwatch(w->bus, &one.watch);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(one.calls, 2);
    assert_int_equal(two.calls, 2);
}

static void after_stop_nothing_starts_and_what_runs_may_end(void **state)
{
    struct world *w = *state;
    struct err err;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    emit_after(w, 1, 1000, PLACED, 2);
    settle(w);
    assert_int_equal(w->run_count, 1);
    bus_stop(w->bus);
    emit(w, PLACED, 3);
    finish_one(w);
    advance(w, 5000);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(store_log_last_seq(w->store), 3); /* no timer fired */
    assert_int_equal(count_effects(w, 0, 1), 1);
    assert_int_equal(bus_letter_retry(w->bus, w->session, 1, &err), BUS_LETTER_FAILED);
    w->decide = NULL;
    restart(w);
    settle(w);
    vec_reserve(&w->log, &w->log_cap, w->log_count + 1, sizeof(*w->log));
    w->log[w->log_count++] = (struct emitted){PLACED, 2};
    assert_once_in_order(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("PATH-4h requests wait while too many deliveries are open",
             requests_wait_while_too_many_deliveries_are_open),
        CASE("PATH-4h a key that is held with many behind it stops no request",
             a_key_that_is_held_with_many_behind_it_stops_no_request),
        CASE("PATH-4d too many holes stop new events of that service until there are fewer",
             too_many_holes_stop_new_events_of_that_service_until_there_are_fewer),
        CASE("PATH-4i a service that lags does not poll", a_service_that_lags_does_not_poll),
        CASE("PATH-4h a turn starts a bounded number of deliveries",
             a_turn_starts_a_bounded_number_of_deliveries),
        CASE("watchers are told once a batch", watchers_are_told_once_a_batch),
        CASE("after stop nothing starts and what runs may end",
             after_stop_nothing_starts_and_what_runs_may_end),
    };
    return cmocka_run_group_tests_name("bus/pressure", tests, NULL, NULL);
}
