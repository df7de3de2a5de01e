/* SPDX-License-Identifier: MIT */
/* Delivery: order per key, what a failure holds back and what it does not, pauses, letters and what
 * an operator does with them. */
#include "world.h"

static void emit_many(struct world *w, uint64_t *seed, int count, int keys)
{
    for (int i = 0; i < count; i++)
        emit(w, (int)(dice(seed) % TYPES), (int)(dice(seed) % (uint32_t)keys));
}

static void each_event_reaches_each_policy_once_in_order_on_the_worker_of_its_key(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    add_policy(w, "delivery", "ship", 1 << PAID);
    add_policy(w, "delivery", "note", 1 << PAID | 1 << PLACED);
    add_policy(w, "payment", "pay", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 10; i++) {
        emit_many(w, &seed, 50, 20);
        if (i % 3 == 0)
            settle(w);
    }
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(w->bus->set_count, 0);
    for (int i = 0; i < WORKERS; i++) /* a key's entry goes with its last event */
        assert_int_equal(map_count(w->places[i].worker->keys), 0);
}

static enum outcome fail_at_random(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    uint64_t seed = (uint64_t)(d->event->seq * 31 + d->policy->index * 7 + d->tries);
    dice(&seed);
    return dice(&seed) % 4 == 0 && d->tries < 6 ? FAIL : SUCCEED;
}

static void order_per_key_holds_under_random_failures(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    w->decide = fail_at_random;
    add_policy(w, "delivery", "ship", 1 << PAID);
    add_policy(w, "delivery", "note", 1 << PAID | 1 << PLACED);
    add_policy(w, "payment", "pay", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 30; i++) {
        emit_many(w, &seed, 20, 12);
        advance(w, dice(&seed) % 3000);
    }
    advance(w, 3600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(count_letters(w, NULL), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
}

static enum outcome fail_first_policy_of_bad_keys(struct world *w, const struct bus_delivery *d)
{
    return d->policy->index == 0 ? fail_bad_keys(w, d) : SUCCEED;
}

static void a_failure_holds_its_own_key_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct store_held held = {0};
    w->decide = fail_first_policy_of_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED);
    add_policy(w, "payment", "pay", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1); /* 1 */
    emit(w, PLACED, 1); /* 2: behind it */
    emit(w, PLACED, 2); /* 3 */
    settle(w);
    assert_int_equal(count_effects(w, 0, 1), 0);
    assert_int_equal(count_effects(w, 1, 1), 1); /* the other policy of the event */
    assert_int_equal(count_effects(w, 1, 2), 0); /* the next event of the key waits */
    assert_int_equal(count_effects(w, 0, 3), 1); /* another key */
    assert_int_equal(count_effects(w, 2, 2), 1); /* another service */
    assert_int_equal(count_held(w, &held), 1);
    assert_int_equal(held.seq, 1);
    assert_int_equal(held.tries, 1);
    struct bus_lag lag = lag_of(w, 0);
    assert_int_equal(lag.behind, 0);
    assert_int_equal(lag.open, 2);
    assert_int_equal(lag.held, 1);
    assert_int_equal(bus_outstanding(w->bus), 0); /* a held key does not count */
    w->bad[1] = false;
    advance(w, 1100);
    assert_once_in_order(w, 0);
    assert_int_equal(count_runs(w, 1, 1), 1); /* the one that succeeded did not run again */
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(lag_of(w, 0).open, 0);
    assert_int_equal(lag_of(w, 0).held, 0);
}

static void pauses_double_up_to_a_minute_and_ten_tries_end_as_a_letter(void **state)
{
    struct world *w = *state;
    struct store_letter letter = {0};
    static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PAID, 1); /* of no interest */
    advance(w, 3600 * 1000);
    assert_int_equal(w->run_count, 10);
    for (size_t i = 0; i + 1 < w->run_count; i++) {
        int64_t pause = w->runs[i + 1].at_ms - w->runs[i].at_ms;
        assert_true(pause >= pauses[i]);
        assert_true(pause <= pauses[i] + pauses[i] / 10);
        assert_int_equal(w->runs[i + 1].tries, (int)i + 2);
    }
    assert_int_equal(count_letters(w, &letter), 1);
    assert_int_equal(letter.seq, 1);
    assert_int_equal(letter.tries, 10);
    assert_int_equal(letter.generation, 7);
    assert_int_equal(letter.time_ms, w->runs[9].at_ms);
    assert_true(str_eq(letter.policy_name, STR("ship")));
    assert_true(str_eq(letter.key, STR("order/1")));
    assert_true(str_eq(letter.error_code, STR("failed")));
    assert_true(str_eq(letter.error, STR("it did not work")));
    assert_true(str_eq(letter.origin, STR("policy.lua:12")));
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(lag_of(w, 0).open, 0);
    assert_int_equal(lag_of(w, 0).held, 0);
    count_letters(w, NULL);
}

static enum outcome fail_bad_keys_for_good(struct world *w, const struct bus_delivery *d)
{
    return w->bad[key_of(d)] && d->event->seq == 1 ? FAIL_FOR_GOOD : SUCCEED;
}

/* A letter of seq 1, key 1, of policy 0. */
static int64_t make_letter(struct world *w)
{
    struct store_letter letter = {0};
    w->decide = fail_bad_keys_for_good;
    w->bad[1] = true;
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(count_letters(w, &letter), 1);
    int64_t id = letter.id;
    count_letters(w, NULL);
    return id;
}

static void a_permanent_failure_is_a_letter_at_once_and_the_key_goes_on(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    make_letter(w);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(count_runs(w, 0, 1), 1);
    assert_int_equal(count_effects(w, 0, 2), 1);
    assert_int_equal(count_held(w, NULL), 0);
    restart(w); /* a letter is done with: it does not run again by itself */
    settle(w);
    assert_int_equal(count_runs(w, 0, 1), 1);
    assert_int_equal(count_runs(w, 0, 2), 1);
}

static void a_retried_letter_that_succeeds_is_gone(void **state)
{
    struct world *w = *state;
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    int64_t id = make_letter(w);
    w->bad[1] = false;
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    settle(w);
    assert_int_equal(count_runs(w, 0, 1), 2); /* asked for twice, run once */
    assert_int_equal(w->runs[1].letter_id, id);
    assert_int_equal(w->runs[1].tries, 2);
    assert_int_equal(count_letters(w, NULL), 0);
    assert_int_equal(count_effects(w, 0, 1), 1);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_GONE);
    assert_int_equal(bus_outstanding(w->bus), 0);
}

static void a_retried_letter_that_fails_stays_with_one_more_try(void **state)
{
    struct world *w = *state;
    struct store_letter letter = {0};
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    int64_t id = make_letter(w);
    clock_advance(&w->clock, 5 * NS_PER_S);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    advance(w, 3600 * 1000); /* nobody tries it again by itself */
    assert_int_equal(count_runs(w, 0, 1), 2);
    assert_int_equal(count_letters(w, &letter), 1);
    assert_int_equal(letter.id, id);
    assert_int_equal(letter.tries, 2);
    assert_int_equal(letter.time_ms, w->runs[1].at_ms);
    assert_int_equal(count_effects(w, 0, 1), 0);
    count_letters(w, NULL);
}

static enum outcome keep_second(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    return d->event->seq == 1 && !d->letter_id ? FAIL_FOR_GOOD
           : d->event->seq == 2                ? KEEP
                                               : SUCCEED;
}

static void a_retried_letter_waits_until_its_key_is_idle(void **state)
{
    struct world *w = *state;
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    int64_t id = make_letter(w);
    w->decide = keep_second;
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(w->kept_count, 1);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    settle(w);
    assert_int_equal(w->run_count, 2);
    end_well(w, w->kept[--w->kept_count]);
    settle(w);
    assert_int_equal(w->run_count, 4);
    assert_int_equal(w->runs[2].seq, 3);
    assert_int_equal(w->runs[3].letter_id, id);
    assert_int_equal(count_letters(w, NULL), 0);
}

static void a_discarded_letter_is_gone_once(void **state)
{
    struct world *w = *state;
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    int64_t id = make_letter(w);
    bus_letter_discard(w->bus, w->session, id, on_discarded, w);
    bus_letter_discard(w->bus, w->session, id, on_discarded, w);
    settle(w);
    assert_int_equal(w->discards, 2);
    assert_int_equal(w->discards_gone, 1);
    assert_int_equal(count_letters(w, NULL), 0);
    bus_letter_discard(w->bus, w->session, 999, on_discarded, w);
    assert_int_equal(w->discards, 3);
    assert_int_equal(w->discards_gone, 1);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_GONE);
    assert_int_equal(count_effects(w, 0, 0), 0);
}

static void a_letter_of_a_policy_that_is_not_declared_stays(void **state)
{
    struct world *w = *state;
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    int64_t id = make_letter(w);
    world_close(w);
    w->policies[0].name = STR("other");
    world_open(w);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_NO_POLICY);
    assert_int_equal(count_letters(w, NULL), 1);
}

static void a_parked_key_waits_until_its_letter_is_discarded(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED)->park = true;
    add_policy(w, "delivery", "note", 1 << PLACED);
    w->decide = fail_bad_keys_for_good;
    w->bad[1] = true;
    world_open(w);
    w->decide = keep_second;
    emit(w, PLACED, 1);
    settle(w);
    struct store_letter letter = {0};
    /* both policies gave up, but only one parks */
    assert_int_equal(count_letters(w, &letter), 2);
    w->decide = NULL;
    emit(w, PLACED, 1);
    emit(w, PLACED, 2);
    advance(w, 3600 * 1000);
    assert_int_equal(count_effects(w, 0, 2), 0);
    assert_int_equal(count_effects(w, 1, 2), 0);
    assert_int_equal(count_effects(w, 0, 3), 1);
    assert_int_equal(bus_outstanding(w->bus), 0);
    restart(w); /* it stays parked */
    settle(w);
    assert_int_equal(count_effects(w, 0, 2), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    bus_letter_discard(w->bus, w->session, letter.id, on_discarded,
                       w); /* the one that does not park */
    settle(w);
    assert_int_equal(count_effects(w, 0, 2), 0);
    bus_letter_discard(w->bus, w->session, letter.id - 1, on_discarded, w);
    settle(w);
    assert_int_equal(w->discards_gone, 2);
    assert_int_equal(count_effects(w, 0, 2), 1);
    assert_int_equal(count_effects(w, 1, 2), 1);
    count_letters(w, NULL);
}

static void a_parked_key_goes_on_when_its_letter_succeeds(void **state)
{
    struct world *w = *state;
    struct err err;
    add_policy(w, "delivery", "ship", 1 << PLACED)->park = true;
    int64_t id = make_letter(w);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    settle(w);
    assert_int_equal(count_runs(w, 0, 1), 2); /* it may run, and fails again */
    assert_int_equal(count_runs(w, 0, 2), 0);
    w->bad[1] = false;
    assert_int_equal(bus_letter_retry(w->bus, w->session, id, &err), BUS_LETTER_QUEUED);
    settle(w);
    assert_once_in_order(w, 0);
}

static void what_is_done_already_has_no_second_effect(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    struct store_unit *u = effect_unit(w, 0, 1, 1);
    struct store_note *n = store_unit_note(u, STORE_NOTE_DONE);
    n->policy = w->bus->positions[0]->number;
    n->seq = 1;
    u->owner = w;
    u->done = remember_verdict;
    store_submit(w->store, u, u);
    emit(w, PLACED, 2); /* in the same batch: it must not suffer */
    settle(w);
    assert_int_equal(w->last_verdict, STORE_COMMITTED); /* that of seq 2 */
    assert_int_equal(count_effects(w, 0, 1), 1);
    assert_int_equal(count_effects(w, 0, 2), 1);
}

static enum outcome keep_all(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    (void)d;
    return KEEP;
}

static void two_units_for_one_delivery_are_one_effect(void **state)
{
    struct world *w = *state;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    struct store_unit *extra = effect_unit(w, 0, 1, 1);
    bus_delivery_note(w->kept[0], extra);
    extra->owner = w;
    extra->done = remember_verdict;
    end_well(w, w->kept[0]);
    w->kept_count = 0;
    store_submit(w->store, extra, extra);
    loop_turn(w->loop); /* both in one batch, which runs again unit by unit */
    assert_int_equal(w->last_verdict, STORE_FAILED);
    assert_int_equal(w->last_err.code, ERR_CONFLICT);
    settle(w);
    assert_once_in_order(w, 0);
}

static void a_try_that_was_committed_by_another_counts_as_done(void **state)
{
    struct world *w = *state;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    settle(w);
    struct store_unit *other = effect_unit(w, 0, 1, 1);
    bus_delivery_note(w->kept[0], other);
    other->done = forgotten;
    store_submit(w->store, other, other);
    settle(w);
    w->decide = NULL;
    w->kept_count = 0;
    end_well(w, w->kept[0]);
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
}

static void a_letter_for_what_another_unit_did_is_not_written(void **state)
{
    struct world *w = *state;
    w->decide = keep_all;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    settle(w);
    struct store_unit *other = effect_unit(w, 0, 1, 1);
    bus_delivery_note(w->kept[0], other);
    other->done = forgotten;
    store_submit(w->store, other, other);
    w->decide = NULL;
    w->kept_count = 0;
    end_failed(w, w->kept[0], true, STR("failed")); /* in the same batch, after it */
    settle(w);
    assert_int_equal(count_letters(w, NULL), 0);
    assert_once_in_order(w, 0);
}

static void an_event_that_comes_again_later_is_not_run(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    struct store_unit *u = store_unit_ref(event_unit(w, PLACED, 1));
    store_submit(w->store, u, u);
    settle(w);
    struct bus_position *p = w->bus->positions[0];
    struct bus_set *again = bus_set_new(w->bus, BUS_SET_EVENT, p->service, &p, 1);
    bus_set_borrow(again, u, u->events);
    bus_lock(w->bus);
    bus_dispatch(w->bus, again);
    bus_unlock(w->bus);
    settle(w);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(w->bus->set_count, 0);
    store_unit_unref(u);
}

/* The main loop may read an event from the log before the writer has told of its commit. */
static void an_event_read_before_the_writer_tells_of_it_runs_once(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    struct store_unit *u = store_unit_ref(event_unit(w, PLACED, 1));
    store_submit(w->store, u, u);
    settle(w);
    assert_int_equal(w->bus->services[0]->cursor, 1);
    w->bus->last_seq = 0; /* as it was when the event was read */
    u->next = NULL;
    u->notes = NULL;
    bus_commit_committed(&w->bus->writer, u);
    settle(w);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(bus_outstanding(w->bus), 0);
    emit(w, PLACED, 1);
    settle(w);
    assert_once_in_order(w, 0);
    store_unit_unref(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("PATH-4c each event reaches each policy once, in order, on the worker of its key",
             each_event_reaches_each_policy_once_in_order_on_the_worker_of_its_key),
        CASE("G4 order per key holds under random failures",
             order_per_key_holds_under_random_failures),
        CASE("PATH-4e a failure holds its own key and nothing else",
             a_failure_holds_its_own_key_and_nothing_else),
        CASE("PATH-4e pauses double up to a minute and ten tries end as a letter",
             pauses_double_up_to_a_minute_and_ten_tries_end_as_a_letter),
        CASE("PATH-4f a permanent failure is a letter at once and the key goes on",
             a_permanent_failure_is_a_letter_at_once_and_the_key_goes_on),
        CASE("PATH-4f a retried letter that succeeds is gone",
             a_retried_letter_that_succeeds_is_gone),
        CASE("PATH-4f a retried letter that fails stays with one more try",
             a_retried_letter_that_fails_stays_with_one_more_try),
        CASE("PATH-4f a retried letter waits until its key is idle",
             a_retried_letter_waits_until_its_key_is_idle),
        CASE("PATH-4f a discarded letter is gone once", a_discarded_letter_is_gone_once),
        CASE("PATH-4f a letter of a policy that is not declared stays",
             a_letter_of_a_policy_that_is_not_declared_stays),
        CASE("PATH-4f a parked key waits until its letter is discarded",
             a_parked_key_waits_until_its_letter_is_discarded),
        CASE("PATH-4f a parked key goes on when its letter succeeds",
             a_parked_key_goes_on_when_its_letter_succeeds),
        CASE("G3 what is done already has no second effect",
             what_is_done_already_has_no_second_effect),
        CASE("G3 two units for one delivery are one effect",
             two_units_for_one_delivery_are_one_effect),
        CASE("G3 a try that was committed by another counts as done",
             a_try_that_was_committed_by_another_counts_as_done),
        CASE("G3 a letter for what another unit did is not written",
             a_letter_for_what_another_unit_did_is_not_written),
        CASE("G3 an event that comes again later is not run",
             an_event_that_comes_again_later_is_not_run),
        CASE("G3 an event read before the writer tells of it runs once",
             an_event_read_before_the_writer_tells_of_it_runs_once),
    };
    return cmocka_run_group_tests_name("bus/delivery", tests, NULL, NULL);
}
