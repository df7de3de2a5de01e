/* SPDX-License-Identifier: MIT */
/* Generations that take over while the bus runs: policies leave, return, are renamed, are new, want
 * other types; with events that wait, run, are held or parked at that moment, and over restarts. */
#include "bus/letters.h"
#include "generations.h"

enum { SHIP, NOTE, PAY, ALL = 1 << SHIP | 1 << NOTE | 1 << PAY };

/* Each try is one of its own generation, event and all. */
static void check_generation(const struct bus_delivery *d)
{
    const struct generation *g = d->program;
    assert_true(d->policy->index < g->policy_count);
    assert_true(str_eq(d->policy->name, g->policies[d->policy->index].name));
    assert_ptr_equal(d->event->type, g->type_list[d->event->type->number]);
    assert_int_equal(d->event->type->field_count, g->odd ? 3 : 2);
    assert_true(d->generation > 0);
}

static enum outcome fail_bad(struct world *w, const struct bus_delivery *d)
{
    check_generation(d);
    return fail_bad_keys(w, d);
}

static enum outcome keep_bad(struct world *w, const struct bus_delivery *d)
{
    check_generation(d);
    return w->bad[key_of(d)] ? KEEP : SUCCEED;
}

static enum outcome give_up_bad(struct world *w, const struct bus_delivery *d)
{
    check_generation(d);
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

static void assert_all_done(struct world *w)
{
    advance(w, 4 * 3600 * 1000);
    assert_once_by_policy(w, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(w->bus->set_count, 0);
}

static void a_policy_that_leaves_and_returns_misses_and_repeats_nothing(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[1] = true;
    open_with_three(w);
    emit_some(w, 50);
    settle(w);
    generation_switch(w, ALL & ~(1 << SHIP));
    settle(w);
    size_t before = count_effects(w, SHIP, 0);
    emit_some(w, 50);
    advance(w, 5000);
    assert_int_equal(count_effects(w, SHIP, 0), before);
    assert_true(count_effects(w, NOTE, 0) > 50);
    assert_int_equal(w->bus->positions[SHIP]->held + w->bus->positions[NOTE]->held +
                         w->bus->positions[PAY]->held,
                     2); /* those of the two that stayed */
    generation_switch(w, ALL);
    settle(w);
    assert_true(count_effects(w, SHIP, 0) > before);
    emit_some(w, 20);
    settle(w);
    w->bad[1] = false;
    assert_all_done(w);
}

static void a_policy_that_returns_after_a_restart_misses_and_repeats_nothing(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[2] = true;
    open_with_three(w);
    emit_some(w, 50);
    settle(w);
    generation_switch(w, 1 << PAY);
    emit_some(w, 30);
    settle(w);
    restart(w); /* with all of them */
    settle(w);
    generation_switch(w, 1 << PAY);
    emit_some(w, 30);
    settle(w);
    w->bad[2] = false;
    generation_switch(w, ALL);
    assert_all_done(w);
}

static void only_payment(struct world *w)
{
    generation_first(w, 1 << PAY);
}

static void a_policy_that_was_missing_at_the_start_is_brought_back_by_a_switch(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[2] = true;
    open_with_three(w);
    emit_some(w, 50);
    settle(w);
    w->before_bus = only_payment;
    restart(w);
    emit_some(w, 40);
    settle(w);
    assert_int_equal(w->bus->position_count, 1);
    generation_switch(w, ALL);
    emit_some(w, 10);
    settle(w);
    w->bad[2] = false;
    assert_all_done(w);
}

static void a_try_that_runs_while_its_policy_leaves_may_end(void **state)
{
    struct world *w = *state;
    struct store_held held = {0};
    w->decide = keep_bad;
    w->bad[1] = w->bad[2] = true;
    open_with_three(w);
    generation_switch(w, 1 << SHIP);
    emit_new(w, PAID, 1); /* 1: kept */
    emit_new(w, PAID, 2); /* 2: kept */
    emit_new(w, PAID, 1);
    emit_new(w, PAID, 2);
    settle(w);
    assert_int_equal(w->kept_count, 2);
    generation_switch(w, 1 << PAY);
    settle(w);
    struct bus_position *p = bus_find(w->bus, 1);
    assert_int_equal(p->open_count, 2);
    assert_int_equal(p->dropped_count, 2);
    struct bus_delivery *good = w->kept[0], *bad = w->kept[1];
    if (good->event->seq != 1) {
        good = w->kept[1];
        bad = w->kept[0];
    }
    w->kept_count = 0;
    end_well(w, good);
    end_failed(w, bad, false, STR("late"));
    settle(w);
    assert_int_equal(count_effects(w, SHIP, 1), 1);
    assert_int_equal(count_held(w, &held), 1);
    assert_int_equal(held.seq, 2);
    assert_int_equal(p->held, 0);
    assert_int_equal(p->open_count, 0);
    assert_int_equal(p->dropped_count, 3);
    memset(w->bad, 0, sizeof(w->bad));
    size_t runs = count_runs(w, SHIP, 2);
    generation_switch(w, ALL);
    settle(w);
    assert_int_equal(count_runs(w, SHIP, 2), runs); /* its pause is kept */
    assert_int_equal(p->held, 1);
    advance(w, 2000);
    assert_int_equal(w->runs[w->run_count - 2].tries, 2);
    assert_int_equal(count_effects(w, SHIP, 0), 4);
    assert_int_equal(count_effects(w, SHIP, 1), 1);
    assert_int_equal(count_held(w, NULL), 0);
}

static void a_try_that_runs_while_its_policy_leaves_and_returns_runs_once(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad;
    w->bad[1] = true;
    open_with_three(w);
    emit_some(w, 40);
    settle(w);
    size_t kept = w->kept_count;
    assert_int_equal(kept, 2);
    generation_switch(w, 1 << NOTE);
    settle(w);
    generation_switch(w, ALL);
    settle(w);
    generation_switch(w, 0);
    generation_switch(w, ALL); /* before any worker saw the one before */
    settle(w);
    memset(w->bad, 0, sizeof(w->bad));
    w->kept_count = 0;
    for (size_t i = 0; i < kept; i++)
        end_well(w, w->kept[i]);
    assert_all_done(w);
}

static void a_renamed_policy_goes_on_where_the_old_one_was(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "send", 1 << PLACED)->renamed_from = STR("ship");
    w->before_bus = first_generation;
    w->policy_count = 1;
    world_open(w);
    w->policy_count = 2;
    for (int i = 0; i < 30; i++)
        emit_new(w, PLACED, i % 5);
    settle(w);
    generation_switch(w, 1 << 1);
    for (int i = 0; i < 30; i++)
        emit_new(w, PLACED, i % 5);
    w->bad[1] = false;
    advance(w, 60 * 1000);
    for (int64_t seq = 1; seq <= 60; seq++)
        assert_int_equal(count_effects(w, 0, seq) + count_effects(w, 1, seq), 1);
    assert_int_equal(count_effects(w, 0, 0), 24);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(w->bus->position_count, 1);
}

static void a_new_policy_begins_with_the_first_event_after_the_switch(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    struct store_switched switched;
    w->decide = fail_bad;
    w->before_bus = only_payment;
    add_policy(w, "delivery", "ship", 1 << PLACED | 1 << PAID);
    add_policy(w, "payment", "refund", 1 << PLACED | 1 << PAID);
    add_policy(w, "payment", "pay", 1 << PLACED | 1 << PAID);
    world_open(w);
    for (int i = 0; i < 10; i++)
        emit_new(w, PAID, i);
    settle(w);
    emit_new(w, PAID, 1);
    loop_turn(w->loop);
    struct arena *a = arena_new(0);
    struct bus_switch sw = generation_prepare(w, ALL, a, &switched);
    assert_int_equal(switched.seq, 11);
    emit_new(w, PAID, 1); /* after the store's switch, before the bus' */
    emit_new(w, PAID, 3);
    settle(w);
    assert_int_equal(count_effects(w, PAY, 12), 0); /* nobody was given them yet */
    assert_int_equal(bus_switch(w->bus, &sw, &err), 0);
    arena_free(a);
    settle(w);
    emit_new(w, PAID, 4);
    settle(w);
    assert_int_equal(count_effects(w, PAY, 0), 14);
    assert_int_equal(count_effects(w, SHIP, 0), 3);
    assert_int_equal(count_effects(w, 1, 0), 3);
    assert_int_equal(count_effects(w, SHIP, 12), 1);
    assert_int_equal(count_effects(w, 1, 11), 0);
    restart(w);
    settle(w);
    assert_int_equal(count_effects(w, SHIP, 0), 0 + 3);
}

static void types_come_and_go_with_the_switch(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[1] = true;
    open_with_three(w);
    w->policies[NOTE].types = w->subscribed[NOTE];
    emit_new(w, PAID, 1);
    emit_new(w, PLACED, 1); /* 2: note holds it */
    emit_new(w, PAID, 2);
    settle(w);
    w->subscribed[NOTE][w->policies[NOTE].type_count++] = &w->types[PAID];
    generation_switch(w, ALL);
    emit_new(w, PAID, 3); /* 4 */
    settle(w);
    assert_int_equal(count_effects(w, NOTE, 0), 1);
    assert_int_equal(count_effects(w, NOTE, 4), 1);
    restart(w); /* its position is behind 2, but not for what it did not want then */
    settle(w);
    assert_int_equal(count_effects(w, NOTE, 0), 1);
    emit_new(w, PAID, 1); /* 5: behind 2 */
    settle(w);
    w->policies[NOTE].type_count = 1;
    w->bad[1] = false;
    generation_switch(w, ALL);
    advance(w, 60 * 1000);
    assert_int_equal(count_effects(w, NOTE, 2), 1);
    assert_int_equal(count_effects(w, NOTE, 5), 0); /* passed over */
    assert_int_equal(count_effects(w, NOTE, 0), 2);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lag_of(w, i).open, 0);
}

static void a_type_that_came_later_brings_nothing_along_after_a_restart(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[1] = true;
    open_with_three(w);
    emit_new(w, PLACED, 1); /* 1: held, so that the position stays before it */
    emit_new(w, PAID, 2);   /* 2 */
    settle(w);
    w->subscribed[NOTE][w->policies[NOTE].type_count++] = &w->types[PAID];
    generation_switch(w, ALL);
    settle(w);
    restart(w);
    settle(w);
    assert_int_equal(w->bus->generation->positions[1]->high, 0);
    assert_int_equal(count_effects(w, NOTE, 2), 0);
    emit_new(w, PAID, 2); /* 3 */
    settle(w);
    assert_int_equal(count_effects(w, NOTE, 3), 1);
}

static size_t first_run(const struct world *w, int policy, int64_t seq)
{
    size_t i = 0;
    while (i < w->run_count && (w->runs[i].policy != policy || w->runs[i].seq != seq))
        i++;
    return i;
}

static void what_was_missed_takes_its_place_before_later_events(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    open_with_three(w);
    generation_switch(w, 1 << NOTE);
    for (int i = 0; i < 3; i++)
        emit_new(w, PLACED, 1);
    settle(w);
    w->bad[1] = true;
    emit_new(w, PLACED, 1); /* 4: held */
    emit_new(w, PLACED, 1); /* 5: behind it */
    settle(w);
    generation_switch(w, ALL);
    settle(w);
    w->bad[1] = false;
    assert_all_done(w);
    assert_true(first_run(w, SHIP, 1) < first_run(w, SHIP, 4));
    assert_true(first_run(w, SHIP, 4) < first_run(w, NOTE, 5));
}

static void a_try_keeps_its_generation_until_it_ends(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad;
    w->bad[1] = true;
    open_with_three(w);
    const struct generation *g = w->generation;
    settle(w); /* all is read: what comes is given to the workers with its unit */
    emit_new(w, PLACED, 1);
    settle(w);
    size_t kept = w->kept_count;
    assert_int_equal(kept, 2);
    generation_switch(w, ALL);
    generation_switch(w, ALL);
    settle(w);
    assert_int_equal(g->refs, 2); /* the event's unit, and the bus */
    assert_int_equal(generations_alive, 2);
    check_generation(w->kept[0]);
    w->bad[1] = false;
    w->kept_count = 0;
    for (size_t i = 0; i < kept; i++)
        end_well(w, w->kept[i]);
    settle(w);
    assert_int_equal(generations_alive, 1);
    assert_all_done(w);
}

static void a_parked_key_waits_for_its_policy_alone(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    struct store_letter letter = {0};
    w->decide = give_up_bad;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED)->park = true;
    add_policy(w, "delivery", "note", 1 << PAID);
    w->before_bus = first_generation;
    world_open(w);
    emit_new(w, PLACED, 1); /* 1: a letter that parks the key */
    emit_new(w, PAID, 1);   /* 2 */
    emit_new(w, PLACED, 1); /* 3 */
    settle(w);
    w->bad[1] = false;
    assert_int_equal(w->run_count, 1);
    generation_switch(w, 1 << NOTE);
    settle(w);
    assert_int_equal(count_effects(w, NOTE, 2), 1);
    assert_int_equal(count_letters(w, &letter), 1);
    assert_int_equal(bus_letter_retry(w->bus, w->session, letter.id, &err), BUS_LETTER_NO_POLICY);
    generation_switch(w, 1 << NOTE | 1 << SHIP);
    settle(w);
    assert_int_equal(count_effects(w, SHIP, 3), 0); /* parked as before */
    emit_new(w, PAID, 1);
    settle(w);
    assert_int_equal(bus_letter_retry(w->bus, w->session, letter.id, &err), BUS_LETTER_QUEUED);
    generation_switch(w, 1 << NOTE | 1 << SHIP); /* the retry is on its way */
    settle(w);
    assert_int_equal(count_letters(w, NULL), 0);
    assert_int_equal(count_effects(w, SHIP, 0), 2);
    assert_int_equal(count_effects(w, NOTE, 0), 2);
}

static void what_waits_for_long_keeps_no_old_generation(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    w->bad[1] = w->bad[2] = true;
    open_with_three(w);
    for (int i = 0; i < 100; i++) {
        emit_some(w, 10);
        if (i % 3 == 0)
            settle(w);
        generation_switch(w, ALL);
        if (i % 2 == 0)
            settle(w);
    }
    settle(w);
    generation_switch(w, ALL);
    settle(w);
    assert_true(lag_of(w, 0).open > 100);
    assert_true(generations_alive <= 2); /* the newest, and what was emitted since */
    memset(w->bad, 0, sizeof(w->bad));
    assert_all_done(w);
    assert_int_equal(generations_alive, 1);
}

static void the_old_generation_goes_on_when_the_next_does_not_come(void **state)
{
    struct world *w = *state;
    struct store_switched switched;
    w->decide = fail_bad;
    open_with_three(w);
    emit_some(w, 20);
    settle(w);
    struct arena *a = arena_new(0);
    void *before = w->generation;
    generation_prepare(w, ALL, a, &switched);
    generation_unref(w->generation);
    w->generation = before;
    emit_some(w, 20);
    settle(w);
    assert_int_equal(lag_of(w, 0).behind, 20);
    bus_resume(w->bus);
    assert_all_done(w);
    arena_free(a);
}

static void timers_fire_with_the_types_of_the_newest_generation(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad;
    open_with_three(w);
    emit_after(w, 5, 10 * 1000, PLACED, 4);
    settle(w);
    generation_switch(w, ALL);
    advance(w, 20 * 1000);
    assert_int_equal(count_effects(w, NOTE, 1), 1);
    generation_switch(w, ALL);
    settle(w);
    assert_int_equal(generations_alive, 1);
}

static enum outcome at_random(struct world *w, const struct bus_delivery *d)
{
    check_generation(d);
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

static void a_thousand_switches_under_load(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    int most = 0;
    w->decide = at_random;
    w->conf.max_outstanding = 50;
    w->conf.tries = 1000;
    w->conf.max_pause_ms = 2000;
    open_with_three(w);
    int made = generations_made;
    for (int i = 0; i < 1000; i++) {
        emit_some(w, (int)(dice(&seed) % 4));
        for (uint32_t n = dice(&seed) % 6; n > 0; n--)
            loop_turn(w->loop);
        if (dice(&seed) % 8 == 0)
            advance(w, dice(&seed) % 1500);
        if (dice(&seed) % 8 == 0)
            end_kept(w, &seed);
        if (dice(&seed) % 100 == 0)
            restart(w);
        generation_switch(w, dice(&seed) % (ALL + 1));
        if (generations_alive > most)
            most = generations_alive;
    }
    assert_true(generations_made - made >= 1000);
    print_message("# at most %d generations at a time\n", most);
    assert_true(most < 60); /* 20 tries that are kept, and what waits for the workers' next mail */
    w->decide = fail_bad;
    generation_switch(w, ALL);
    settle(w);
    end_kept(w, &seed);
    assert_all_done(w);
    generation_switch(w, ALL);
    settle(w);
    assert_int_equal(generations_alive, 1);
    world_close(w);
    assert_int_equal(generations_alive, 0);
}

struct switch_later {
    struct loop_defer defer;
    struct world *world;
};

static void switch_away(struct loop_defer *d)
{
    generation_switch(list_entry(d, struct switch_later, defer)->world, 1 << PAY);
}

/* The verdicts on failed tries are on their way when their policy leaves, and so many that the
 * worker hears of that a turn later: the next event of a key must not run meanwhile. */
static void the_order_of_a_key_survives_the_absence_of_its_policy(void **state)
{
    struct world *w = *state;
    enum { MANY = 400 };
    struct switch_later later = {{.fn = switch_away}, w};
    w->decide = keep_bad;
    open_with_three(w);
    generation_switch(w, 1 << SHIP);
    for (int key = 0; key < MANY; key++) {
        w->bad[key] = true;
        emit_new(w, PAID, key);
    }
    settle(w);
    assert_int_equal(w->kept_count, MANY);
    memset(w->bad, 0, sizeof(w->bad));
    for (int key = 0; key < MANY; key++)
        emit_new(w, PAID, key);
    settle(w);
    for (int i = 0; i < MANY; i++)
        end_failed(w, w->kept[i], false, STR("late"));
    w->kept_count = 0;
    loop_defer(w->loop, &later.defer); /* after the writer */
    settle(w);
    assert_int_equal(count_held(w, NULL), MANY);
    assert_int_equal(count_effects(w, SHIP, 0), 0);
    generation_switch(w, ALL);
    assert_all_done(w);
    assert_int_equal(count_effects(w, SHIP, 0), 2 * MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("G3 a policy that leaves and returns misses and repeats nothing",
             a_policy_that_leaves_and_returns_misses_and_repeats_nothing),
        CASE("G3 a policy that returns after a restart misses and repeats nothing",
             a_policy_that_returns_after_a_restart_misses_and_repeats_nothing),
        CASE("G3 a policy that was missing at the start is brought back by a switch",
             a_policy_that_was_missing_at_the_start_is_brought_back_by_a_switch),
        CASE("G5 a try that runs while its policy leaves may end",
             a_try_that_runs_while_its_policy_leaves_may_end),
        CASE("G5 a try that runs while its policy leaves and returns runs once",
             a_try_that_runs_while_its_policy_leaves_and_returns_runs_once),
        CASE("G3 a renamed policy goes on where the old one was",
             a_renamed_policy_goes_on_where_the_old_one_was),
        CASE("G3 a new policy begins with the first event after the switch",
             a_new_policy_begins_with_the_first_event_after_the_switch),
        CASE("G3 types come and go with the switch", types_come_and_go_with_the_switch),
        CASE("G3 a type that came later brings nothing along after a restart",
             a_type_that_came_later_brings_nothing_along_after_a_restart),
        CASE("G4 what was missed takes its place before later events",
             what_was_missed_takes_its_place_before_later_events),
        CASE("G5 a try keeps its generation until it ends",
             a_try_keeps_its_generation_until_it_ends),
        CASE("RULES-3a a parked key waits for its policy alone",
             a_parked_key_waits_for_its_policy_alone),
        CASE("RULES-1a what waits for long keeps no old generation",
             what_waits_for_long_keeps_no_old_generation),
        CASE("RULES-3a the old generation goes on when the next does not come",
             the_old_generation_goes_on_when_the_next_does_not_come),
        CASE("RULES-3a timers fire with the types of the newest generation",
             timers_fire_with_the_types_of_the_newest_generation),
        CASE("RULES-1a a thousand switches under load", a_thousand_switches_under_load),
        CASE("G4 the order of a key survives the absence of its policy",
             the_order_of_a_key_survives_the_absence_of_its_policy),
    };
    return cmocka_run_group_tests_name("bus/switch", tests, NULL, NULL);
}
