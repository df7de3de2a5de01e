/* SPDX-License-Identifier: MIT */
/* A service that is stopped: nothing of it runs, nothing of it is lost, and nobody else notices. */
#include "bus/letters.h"
#include "generations.h"

enum { SHIP, NOTE, PAY, ALL = 1 << SHIP | 1 << NOTE | 1 << PAY };

static const struct str delivery = {"delivery", 8};

static enum outcome keep_bad(struct world *w, const struct bus_delivery *d)
{
    return w->bad[key_of(d)] && str_eq(d->policy->service, delivery) ? KEEP : SUCCEED;
}

static enum outcome give_up_bad(struct world *w, const struct bus_delivery *d)
{
    return w->bad[key_of(d)] ? FAIL_FOR_GOOD : SUCCEED;
}

static void open_with_three(struct world *w)
{
    add_policy(w, "delivery", "ship", 1 << PLACED | 1 << PAID);
    add_policy(w, "delivery", "note", 1 << PLACED);
    add_policy(w, "payment", "pay", 1 << PLACED | 1 << PAID);
    w->before_bus = first_generation;
    world_open(w);
}

static void emit_some(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        emit_new(w, i % 3 == 0 ? PAID : PLACED, i % 7);
}

/* Generations number their policies in different orders. */
static struct bus_lag lag_of_ship(struct world *w)
{
    struct generation *g = w->generation;
    for (int i = 0; i < g->policy_count; i++) {
        if (str_eq(g->policies[i].name, STR("ship")))
            return lag_of(w, i);
    }
    fail_msg("ship is not declared");
    return (struct bus_lag){0};
}

static size_t effects_of_delivery(struct world *w)
{
    return count_effects(w, SHIP, 0) + count_effects(w, NOTE, 0);
}

static void assert_all_done(struct world *w)
{
    advance(w, 4 * 3600 * 1000);
    assert_once_by_policy(w, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(w->bus->set_count, 0);
}

static void a_stopped_service_runs_nothing_and_catches_up(void **state)
{
    struct world *w = *state;
    open_with_three(w);
    emit_some(w, 20);
    settle(w);
    size_t before = effects_of_delivery(w);
    bus_service_stop(w->bus, delivery);
    emit_some(w, 200);
    advance(w, 60 * 1000);
    assert_int_equal(effects_of_delivery(w), before);
    assert_int_equal(count_effects(w, PAY, 0), 220);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(lag_of_ship(w).behind, 200);
    bus_service_stop(w->bus, delivery); /* twice is once */
    bus_service_start(w->bus, delivery);
    settle(w);
    assert_int_equal(lag_of_ship(w).behind, 0);
    assert_all_done(w);
}

static void what_waits_for_a_stopped_service_holds_up_no_request(void **state)
{
    struct world *w = *state;
    w->conf.max_outstanding = 10;
    open_with_three(w);
    bus_service_stop(w->bus, delivery);
    for (int i = 0; i < 100; i++) {
        emit_some(w, 5);
        settle(w);
        assert_true(bus_has_room(w->bus));
    }
    assert_int_equal(w->bus->set_count, 0); /* it waits on disk */
    bus_service_start(w->bus, delivery);
    assert_all_done(w);
}

static void held_events_of_a_stopped_service_wait(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    w->conf.tries = 1000;
    open_with_three(w);
    emit_some(w, 20);
    settle(w);
    assert_int_equal(count_held(w, NULL), 3);
    bus_service_stop(w->bus, delivery);
    settle(w);
    size_t runs = count_runs(w, SHIP, 2) + count_runs(w, NOTE, 2);
    assert_true(runs > 0);
    advance(w, 3600 * 1000);
    assert_int_equal(count_runs(w, SHIP, 2) + count_runs(w, NOTE, 2), runs);
    assert_int_equal(lag_of_ship(w).held, 0);
    w->bad[1] = false;
    bus_service_start(w->bus, delivery);
    settle(w);
    assert_true(count_runs(w, SHIP, 2) == 2); /* its try was due long ago */
    assert_all_done(w);
}

static void a_try_that_runs_when_its_service_stops_may_end(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad;
    w->bad[1] = w->bad[2] = true;
    open_with_three(w);
    emit_some(w, 20);
    settle(w);
    assert_int_equal(w->kept_count, 2);
    bus_service_stop(w->bus, delivery);
    settle(w);
    w->kept_count = 0;
    end_well(w, w->kept[0]);
    end_failed(w, w->kept[1], false, STR("late"));
    advance(w, 3600 * 1000);
    assert_int_equal(w->kept_count, 0); /* nothing else of their keys was started */
    w->decide = NULL;
    bus_service_start(w->bus, delivery);
    assert_all_done(w);
}

static void a_try_given_back_is_no_try(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad;
    w->bad[1] = true;
    w->conf.tries = 1;
    open_with_three(w);
    for (int i = 0; i < 3; i++)
        emit_new(w, PLACED, 1);
    settle(w);
    assert_int_equal(w->kept_count, 1);
    bus_service_stop(w->bus, delivery);
    settle(w);
    w->kept_count = 0;
    leave(w, w->kept[0]);
    bus_delivery_return(w->kept[0]);
    settle(w);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(count_letters(w, NULL), 0);
    w->decide = NULL;
    bus_service_start(w->bus, delivery);
    assert_all_done(w);
}

static void a_letter_of_a_stopped_service_waits_for_its_operator(void **state)
{
    struct world *w = *state;
    struct store_letter letter = {0};
    struct err err;
    w->decide = give_up_bad;
    w->bad[1] = true;
    open_with_three(w);
    emit_new(w, PAID, 1);
    settle(w);
    assert_int_equal(count_letters(w, &letter), 2);
    bus_service_stop(w->bus, delivery);
    bus_service_stop(w->bus, STR("payment"));
    assert_int_equal(bus_letter_retry(w->bus, w->session, letter.id, &err), BUS_LETTER_STOPPED);
    w->bad[1] = false;
    bus_service_start(w->bus, delivery);
    bus_service_start(w->bus, STR("payment"));
    assert_int_equal(bus_letter_retry(w->bus, w->session, letter.id, &err), BUS_LETTER_QUEUED);
    bus_service_stop(w->bus, delivery); /* on its way already */
    bus_service_stop(w->bus, STR("payment"));
    settle(w);
    assert_int_equal(count_letters(w, &letter), 2);
}

static void a_service_is_stopped_before_it_is_started(void **state)
{
    struct world *w = *state;
    open_with_three(w);
    emit_some(w, 20);
    settle(w);
    size_t before = effects_of_delivery(w);
    bus_service_stop(w->bus, delivery);
    emit_some(w, 20);
    settle(w);
    w->stopped = "delivery";
    restart(w);
    emit_some(w, 20);
    advance(w, 60 * 1000);
    assert_int_equal(effects_of_delivery(w), before);
    assert_int_equal(count_effects(w, PAY, 0), 60);
    w->stopped = NULL;
    bus_service_start(w->bus, delivery);
    assert_all_done(w);
}

static void a_service_that_vanishes_and_returns_is_still_stopped(void **state)
{
    struct world *w = *state;
    open_with_three(w);
    bus_service_stop(w->bus, delivery);
    emit_some(w, 20);
    settle(w);
    generation_switch(w, 1 << PAY);
    emit_some(w, 20);
    settle(w);
    generation_switch(w, ALL);
    emit_some(w, 20);
    advance(w, 60 * 1000);
    assert_int_equal(effects_of_delivery(w), 0);
    assert_int_equal(count_effects(w, PAY, 0), 60);
    bus_service_start(w->bus, delivery);
    assert_all_done(w);
}

static enum outcome at_random(struct world *w, const struct bus_delivery *d)
{
    (void)d;
    uint64_t n = str_hash((struct str){(const char *)&w->run_count, sizeof(w->run_count)}) % 20;
    return n == 0 ? FAIL : n == 1 && w->kept_count < 20 ? KEEP : SUCCEED;
}

static void end_kept(struct world *w, uint64_t *seed)
{
    size_t count = w->kept_count;
    w->kept_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (dice(seed) % 2)
            end_well(w, w->kept[i]);
        else
            end_failed(w, w->kept[i], false, STR("late"));
    }
}

/* A stop, a start or a switch, and sometimes one at once after the other. */
static void change_something(struct world *w, uint64_t *seed)
{
    struct str service = dice(seed) % 2 ? delivery : STR("payment");
    switch (dice(seed) % 5) {
    case 0:
    case 1:
        bus_service_stop(w->bus, service);
        break;
    case 2:
    case 3:
        bus_service_start(w->bus, service);
        break;
    default:
        generation_switch(w, dice(seed) % (ALL + 1));
    }
}

static void a_thousand_stops_under_load(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    w->decide = at_random;
    w->conf.max_outstanding = 50;
    w->conf.tries = 1000;
    w->conf.max_pause_ms = 2000;
    open_with_three(w);
    for (int i = 0; i < 2000; i++) {
        emit_some(w, (int)(dice(&seed) % 4));
        for (uint32_t n = dice(&seed) % 6; n > 0; n--)
            loop_turn(w->loop);
        if (dice(&seed) % 8 == 0)
            advance(w, dice(&seed) % 1500);
        if (dice(&seed) % 8 == 0)
            end_kept(w, &seed);
        if (dice(&seed) % 200 == 0) {
            w->stopped = dice(&seed) % 2 ? "delivery" : "payment";
            restart(w);
        }
        change_something(w, &seed);
    }
    w->decide = fail_bad_keys;
    bus_service_start(w->bus, delivery);
    bus_service_start(w->bus, STR("payment"));
    generation_switch(w, ALL);
    settle(w);
    end_kept(w, &seed);
    assert_all_done(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("SHOP-4d a stopped service runs nothing and catches up",
             a_stopped_service_runs_nothing_and_catches_up),
        CASE("SHOP-4d what waits for a stopped service holds up no request",
             what_waits_for_a_stopped_service_holds_up_no_request),
        CASE("SHOP-4d held events of a stopped service wait",
             held_events_of_a_stopped_service_wait),
        CASE("SHOP-4d a try that runs when its service stops may end",
             a_try_that_runs_when_its_service_stops_may_end),
        CASE("SHOP-4d a try given back is no try", a_try_given_back_is_no_try),
        CASE("SHOP-4d a letter of a stopped service waits for its operator",
             a_letter_of_a_stopped_service_waits_for_its_operator),
        CASE("SHOP-4d a service is stopped before it is started",
             a_service_is_stopped_before_it_is_started),
        CASE("SHOP-4d a service that vanishes and returns is still stopped",
             a_service_that_vanishes_and_returns_is_still_stopped),
        CASE("SHOP-4d a thousand stops under load", a_thousand_stops_under_load),
    };
    return cmocka_run_group_tests_name("bus/service", tests, NULL, NULL);
}
