/* SPDX-License-Identifier: MIT */
/* Over a restart: positions, holes, held events, backlogs; and transactions that did not happen. */
#include "store/sqlite/vfs_fault.h"
#include "world.h"

static enum outcome keep_bad_keys(struct world *w, const struct bus_delivery *d)
{
    return w->bad[key_of(d)] ? KEEP : SUCCEED;
}

static void holes_run_first_after_a_restart_and_nothing_runs_twice(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad_keys;
    w->bad[1] = w->bad[3] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED | 1 << PAID);
    world_open(w);
    for (int i = 0; i < 60; i++)
        emit(w, i % 7 == 0 ? PAID : PLACED, i % 5);
    settle(w);
    assert_int_equal(w->kept_count, 2);
    world_close(w);
    memset(w->bad, 0, sizeof(w->bad));
    world_open(w);
    const struct bus_position *p = w->bus->positions[0];
    assert_int_equal(p->high, 60);
    assert_true(p->dropped_count > 10);
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    restart(w);
    assert_int_equal(w->bus->positions[0]->dropped_count, 0);
    settle(w);
    assert_once_in_order(w, 0);
}

static void held_events_keep_their_tries_and_pause_over_a_restart(void **state)
{
    struct world *w = *state;
    struct store_held held = {0};
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1); /* held before anything of the policy is done: above its high mark */
    emit(w, PLACED, 1);
    advance(w, 4000); /* tries at 0, 1 and about 3 s: the next comes 4 s later */
    assert_int_equal(w->run_count, 3);
    assert_int_equal(count_held(w, &held), 1);
    int64_t due_ms = held.next_at_ms;
    restart(w);
    settle(w);
    assert_int_equal(w->run_count, 3);
    assert_int_equal(lag_of(w, 0).held, 1);
    assert_int_equal(bus_outstanding(w->bus), 0);
    advance(w, due_ms - clock_wall_ms(&w->clock) - 1);
    assert_int_equal(w->run_count, 3);
    advance(w, 1);
    assert_int_equal(w->run_count, 4);
    assert_int_equal(w->runs[3].tries, 4);
    w->bad[1] = false;
    advance(w, 3600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
}

static void an_overdue_held_event_runs_at_once_after_a_restart(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 2);
    emit(w, PLACED, 1);
    emit(w, PLACED, 2);
    emit(w, PLACED, 1);
    settle(w);
    world_close(w);
    clock_advance(&w->clock, 3600 * NS_PER_S);
    w->bad[1] = false;
    world_open(w);
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(lag_of(w, 0).held, 0);
}

static void a_held_event_never_waits_longer_than_a_pause_when_the_clock_was_set_back(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    world_close(w);
    w->clock.fake_wall_ns -= 24 * 3600 * NS_PER_S;
    w->bad[1] = false;
    world_open(w);
    settle(w);
    assert_int_equal(w->run_count, 1);
    advance(w, 66000);
    assert_once_in_order(w, 0);
}

/* The whole thing again and again: closed at random moments, with failures, holes, held events and
 * a backlog. */
static void each_event_once_in_order_over_restarts_at_random_moments(void **state)
{
    struct world *w = *state;
    uint64_t seed = new_seed();
    w->decide = keep_bad_keys;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED | 1 << PAID);
    add_policy(w, "payment", "pay", 1 << PLACED);
    for (int round = 0; round < 12; round++) {
        for (int key = 0; key < 16; key++)
            w->bad[key] = dice(&seed) % 4 == 0;
        w->decide = round % 2 ? keep_bad_keys : fail_bad_keys;
        world_open(w);
        for (int i = 0; i < 60; i++) {
            emit(w, (int)(dice(&seed) % TYPES), (int)(dice(&seed) % 16));
            for (uint32_t turns = dice(&seed) % 3; turns > 0; turns--)
                loop_turn(w->loop);
        }
        clock_advance(&w->clock, dice(&seed) % 2000 * NS_PER_MS);
        world_close(w);
    }
    w->decide = NULL;
    world_open(w);
    advance(w, 3600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
}

static void a_backlog_is_read_in_windows_and_never_into_memory(void **state)
{
    struct world *w = *state;
    w->conf.max_outstanding = 100;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    world_close(w); /* the policy is known from here on, and misses all that comes */
    w->policy_count = 0;
    world_open(w);
    for (int i = 0; i < 5000; i++)
        emit(w, PLACED, i % 200);
    settle(w);
    world_close(w);
    w->policy_count = 1;
    world_open(w);
    assert_int_equal(lag_of(w, 0).behind, 5000);
    settle(w);
    assert_once_in_order(w, 0);
    assert_true(w->bus->set_peak <= 200); /* a window on top of max_outstanding */
    assert_int_equal(lag_of(w, 0).behind, 0);
    assert_int_equal(w->bus->services[0]->mode, BUS_LIVE);
    emit(w, PLACED, 1);
    settle(w);
    assert_once_in_order(w, 0);
}

static void events_committed_while_catching_up_come_after_the_backlog(void **state)
{
    struct world *w = *state;
    w->conf.max_outstanding = 10;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 2000; i++) {
        emit(w, PLACED, i % 3);
        if (i % 17 == 0)
            loop_turn(w->loop);
    }
    settle(w);
    assert_once_in_order(w, 0);
    assert_true(w->bus->set_peak <= 20 + 512); /* and at most one batch */
}

static void a_new_policy_starts_at_the_newest_event(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 2);
    settle(w);
    world_close(w);
    add_policy(w, "delivery", "note", 1 << PLACED);
    world_open(w);
    settle(w);
    assert_int_equal(count_effects(w, 1, 0), 0);
    emit(w, PLACED, 1);
    settle(w);
    assert_int_equal(count_effects(w, 0, 0), 3);
    assert_int_equal(count_effects(w, 1, 3), 1);
    assert_int_equal(count_effects(w, 1, 0), 1);
}

static void a_policy_that_returns_catches_up_under_its_new_name_too(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    world_close(w);
    w->policy_count = 1;
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    settle(w);
    world_close(w);
    w->policy_count = 2;
    w->policies[1].name = STR("memo");
    w->policies[1].renamed_from = STR("note");
    world_open(w);
    emit(w, PLACED, 1);
    settle(w);
    for (int policy = 0; policy < 2; policy++)
        for (int64_t seq = 1; seq <= 4; seq++)
            assert_int_equal(count_effects(w, policy, seq), 1);
}

static void an_idle_policy_is_brought_forward(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit(w, PLACED, 1); /* held: a hole that must survive */
    settle(w);
    for (int i = 0; i < BUS_IDLE_LAG + 200; i++) {
        emit(w, PAID, 2);
        if (i % 500 == 0)
            settle(w);
    }
    settle(w);
    emit(w, PAID, 2);
    settle(w);
    world_close(w);
    w->bad[1] = false;
    world_open(w);
    const struct bus_position *p = w->bus->positions[0];
    assert_true(p->high > BUS_IDLE_LAG);
    assert_int_equal(p->dropped_count, 1);
    assert_int_equal(bus_position_next_dropped(p, 0), 1);
    advance(w, 2000);
    assert_once_in_order(w, 0);
}

static void a_hole_whose_type_is_gone_is_passed_over(void **state)
{
    struct world *w = *state;
    w->decide = fail_bad_keys;
    w->bad[1] = w->bad[3] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED | 1 << PAID);
    world_open(w);
    emit(w, PAID, 1);   /* 1: held, a hole */
    emit(w, PLACED, 2); /* 2 */
    emit(w, PLACED, 3); /* 3: held */
    emit(w, PAID, 3);   /* 4: behind it, above the high mark */
    settle(w);
    world_close(w);
    w->policies[0].type_count = 1; /* PLACED alone */
    w->schema.event_count = 1;
    memset(w->bad, 0, sizeof(w->bad));
    world_open(w);
    emit(w, PLACED, 1);
    advance(w, 5000);
    assert_int_equal(count_effects(w, 0, 1), 0);
    assert_int_equal(count_effects(w, 0, 3), 1);
    assert_int_equal(count_effects(w, 0, 5), 1);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(lag_of(w, 0).open, 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    restart(w);
    assert_int_equal(w->bus->positions[0]->dropped_count, 0);
}

static void a_damaged_event_is_passed_over_alone(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    world_close(w);
    w->policy_count = 0;
    world_open(w);
    for (int i = 0; i < 30; i++) {
        struct store_unit *u = event_unit(w, PLACED, i % 4);
        if (i == 13)
            u->events->payload = STR("{\"id\":");
        store_submit(w->store, u, u);
    }
    settle(w);
    world_close(w);
    w->policy_count = 1;
    world_open(w);
    settle(w);
    assert_int_equal(count_effects(w, 0, 0), 29);
    assert_int_equal(count_effects(w, 0, 14), 0);
    assert_int_equal(lag_of(w, 0).behind, 0);
}

static void a_batch_that_is_rolled_back_restores_the_positions(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad_keys;
    w->bad[1] = w->bad[2] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    vfs_fault_install();
    world_open(w);
    emit(w, PLACED, 0);
    emit(w, PLACED, 1);
    emit(w, PLACED, 2);
    settle(w);
    const struct bus_position *p = w->bus->positions[0];
    assert_int_equal(p->high, 1);
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 1, true, VFS_FAULT_FULL);
    end_well(w, w->kept[1]); /* seq 3 */
    loop_turn(w->loop);      /* the writer's */
    vfs_fault_clear();
    vfs_fault_remove();
    assert_int_equal(p->high, 1);
    assert_int_equal(p->open_count, 2);
    assert_int_equal(p->pending_count, 0);
    assert_false(p->touched);
    w->bad[2] = false;
    advance(w, 2000); /* the handler reports a failure, the bus tries again */
    assert_int_equal(count_effects(w, 0, 3), 1);
    assert_int_equal(p->high, 3);
    w->kept_count = 1; /* seq 2 is a hole now */
    world_close(w);
    w->bad[1] = false;
    world_open(w);
    settle(w);
    assert_once_in_order(w, 0);
}

static void a_failure_that_cannot_be_written_is_written_later_and_the_key_waits(void **state)
{
    struct world *w = *state;
    w->decide = keep_bad_keys;
    w->bad[1] = true;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    vfs_fault_install();
    world_open(w);
    emit(w, PLACED, 1);
    emit(w, PLACED, 1);
    settle(w);
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 1, true, VFS_FAULT_FULL);
    w->kept_count = 0;
    end_failed(w, w->kept[0], false, STR("failed"));
    advance(w, 5000);
    assert_int_equal(w->run_count, 1);
    vfs_fault_clear();
    vfs_fault_remove();
    advance(w, 900);
    w->bad[1] = false;
    advance(w, 3000);
    assert_int_equal(count_runs(w, 0, 1), 2);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("PATH-4d holes run first after a restart and nothing runs twice",
             holes_run_first_after_a_restart_and_nothing_runs_twice),
        CASE("PATH-4e held events keep their tries and pause over a restart",
             held_events_keep_their_tries_and_pause_over_a_restart),
        CASE("PATH-4e an overdue held event runs at once after a restart",
             an_overdue_held_event_runs_at_once_after_a_restart),
        CASE("PATH-4e a held event never waits longer than a pause when the clock was set back",
             a_held_event_never_waits_longer_than_a_pause_when_the_clock_was_set_back),
        CASE("G3 each event once, in order, over restarts at random moments",
             each_event_once_in_order_over_restarts_at_random_moments),
        CASE("PATH-4i a backlog is read in windows and never into memory",
             a_backlog_is_read_in_windows_and_never_into_memory),
        CASE("PATH-4i events committed while catching up come after the backlog",
             events_committed_while_catching_up_come_after_the_backlog),
        CASE("G3 a new policy starts at the newest event", a_new_policy_starts_at_the_newest_event),
        CASE("G3 a policy that returns catches up, under its new name too",
             a_policy_that_returns_catches_up_under_its_new_name_too),
        CASE("PATH-4d an idle policy is brought forward", an_idle_policy_is_brought_forward),
        CASE("PATH-4i a hole whose type is gone is passed over",
             a_hole_whose_type_is_gone_is_passed_over),
        CASE("PATH-4i a damaged event is passed over alone", a_damaged_event_is_passed_over_alone),
        CASE("PATH-4d a batch that is rolled back restores the positions",
             a_batch_that_is_rolled_back_restores_the_positions),
        CASE("PATH-4e a failure that cannot be written is written later and the key waits",
             a_failure_that_cannot_be_written_is_written_later_and_the_key_waits),
    };
    return cmocka_run_group_tests_name("bus/restart", tests, NULL, NULL);
}
