/* SPDX-License-Identifier: MIT */
/* Durable timers: once, in order, after a restart too. */
#include "store/sqlite/vfs_fault.h"
#include "world.h"

#include <sqlite3.h>

static void note_fired(struct world *w, int key)
{
    vec_reserve(&w->log, &w->log_cap, w->log_count + 1, sizeof(*w->log));
    w->log[w->log_count++] = (struct emitted){PLACED, key};
}

static void timers_fire_once_in_the_order_of_their_due_times(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 3000, PLACED, 3);
    emit_after(w, 2, 1000, PLACED, 1);
    emit_after(w, 3, 2000, PLACED, 2);
    settle(w);
    int64_t start_ms = clock_wall_ms(&w->clock);
    advance(w, 999);
    assert_int_equal(w->run_count, 0);
    advance(w, 24 * 3600 * 1000);
    assert_int_equal(w->run_count, 3);
    for (int i = 0; i < 3; i++) {
        note_fired(w, i + 1);
        assert_int_equal(w->runs[i].at_ms, start_ms + (i + 1) * 1000);
    }
    assert_once_in_order(w, 0);
    assert_int_equal(store_log_last_seq(w->store), 3);
}

static void cancelled_timers_do_not_fire(void **state)
{
    struct world *w = *state;
    int64_t cancel = 1;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 1000, PLACED, 1);
    emit_after(w, 2, 1000, PLACED, 2);
    settle(w);
    struct store_unit *u = store_unit_new();
    u->cancels = &cancel;
    u->cancel_count = 1;
    u->done = forgotten;
    store_submit(w->store, u, u);
    advance(w, 10000);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(store_log_last_seq(w->store), 1);
    note_fired(w, 2);
    assert_once_in_order(w, 0);
}

/* The cancel is queued before the firing is, so that the firing is refused. */
static void a_timer_cancelled_while_it_fires_does_not(void **state)
{
    struct world *w = *state;
    int64_t cancel = 1;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 1000, PLACED, 1);
    settle(w);
    clock_advance(&w->clock, NS_PER_S);
    struct store_unit *u = store_unit_new();
    u->cancels = &cancel;
    u->cancel_count = 1;
    u->done = forgotten;
    store_submit(w->store, u, u);
    advance(w, 5000);
    assert_int_equal(store_log_last_seq(w->store), 0);
    assert_int_equal(w->bus->timers.in_flight, 0);
    emit_after(w, 2, 1000, PLACED, 2); /* and timers go on */
    advance(w, 1000);
    assert_int_equal(w->run_count, 1);
}

static void more_timers_than_a_window_fire_in_order(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 600; i++) /* all due when the last comes, the later ones made first */
        emit_after(w, i + 1, 5000 - i, PLACED, (600 - i) % 200);
    settle(w);
    clock_advance(&w->clock, 6 * NS_PER_S);
    settle(w);
    for (int i = 0; i < 600; i++)
        note_fired(w, (i + 1) % 200);
    assert_int_equal(store_log_last_seq(w->store), 600);
    assert_once_in_order(w, 0);
}

static void timers_survive_a_restart(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 1000, PLACED, 1);
    emit_after(w, 2, 60000, PLACED, 2);
    emit_after(w, 3, 90 * 1000, PLACED, 3);
    settle(w);
    advance(w, 1000);
    world_close(w);
    clock_advance(&w->clock, 70 * NS_PER_S);
    world_open(w);
    settle(w);
    assert_int_equal(w->run_count, 2); /* the one that fell due meanwhile; the first not again */
    restart(w);
    advance(w, 3600 * 1000);
    for (int i = 0; i < 3; i++)
        note_fired(w, i + 1);
    assert_int_equal(store_log_last_seq(w->store), 3);
    assert_once_in_order(w, 0);
}

static void a_timer_of_an_undeclared_type_does_not_stop_the_others(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 1000, PAID, 1);
    emit_after(w, 2, 2000, PLACED, 2);
    settle(w);
    w->schema.event_count = 1;
    restart(w);
    advance(w, 5000);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(store_log_last_seq(w->store), 1);
}

static void a_timer_that_cannot_be_written_fires_later(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    vfs_fault_install();
    world_open(w);
    emit_after(w, 1, 1000, PLACED, 1);
    emit_after(w, 2, 24 * 3600 * 1000, PLACED, 2);
    settle(w);
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 1, true, VFS_FAULT_FULL);
    advance(w, 1500);
    vfs_fault_clear();
    vfs_fault_remove();
    assert_int_equal(w->run_count, 0);
    advance(w, 1000);
    assert_int_equal(w->run_count, 1);
    note_fired(w, 1);
    assert_once_in_order(w, 0);
}

/* Damages the stored payload of timer id. */
static void damage(struct world *w, int id)
{
    char path[128], sql[128];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/moontide.db", w->folder);
    snprintf(sql, sizeof(sql), "UPDATE _moontide_timers SET payload='{\"no' WHERE id=%d", id);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

static void a_damaged_timer_is_set_aside_and_the_others_fire(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 1; i <= 3; i++)
        emit_after(w, i, 1000 * i, PLACED, i);
    settle(w);
    damage(w, 2);
    advance(w, 5000);
    assert_int_equal(w->run_count, 2);
    note_fired(w, 1);
    note_fired(w, 3);
    assert_int_equal(w->bus->timers.next_due_ms == INT64_MAX, true); /* nothing is tried for ever */
    restart(w);
    emit_after(w, 4, 1000, PLACED, 4);
    settle(w);
    advance(w, 3600 * 1000);
    note_fired(w, 4);
    assert_once_in_order(w, 0);
    assert_int_equal(store_log_last_seq(w->store), 3);
}

static void timers_of_a_stopped_service_wait(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    emit_after(w, 1, 1000, PLACED, 1);
    emit_after(w, 2, 60000, PLACED, 2);
    settle(w);
    bus_service_stop(w->bus, STR("shop")); /* whose events they are; the store does not know yet */
    advance(w, 5000);
    assert_int_equal(store_log_last_seq(w->store), 0);
    bus_service_start(w->bus, STR("shop"));
    advance(w, 1000);
    assert_int_equal(store_log_last_seq(w->store), 1);
    struct store_unit *u = store_unit_new();
    store_unit_note(u, STORE_NOTE_SERVICE_STOPPED)->key = STR("shop");
    store_submit(w->store, u, u);
    settle(w);
    w->stopped = "shop";
    restart(w);
    advance(w, 3600 * 1000);
    assert_int_equal(store_log_last_seq(w->store), 1);
    u = store_unit_new();
    store_unit_note(u, STORE_NOTE_SERVICE_STARTED)->key = STR("shop");
    store_submit(w->store, u, u);
    settle(w);
    bus_service_start(w->bus, STR("shop"));
    settle(w);
    note_fired(w, 1);
    note_fired(w, 2);
    assert_int_equal(store_log_last_seq(w->store), 2);
    assert_once_in_order(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("PATH-4g timers fire once, in the order of their due times",
             timers_fire_once_in_the_order_of_their_due_times),
        CASE("PATH-4g cancelled timers do not fire", cancelled_timers_do_not_fire),
        CASE("PATH-4g a timer cancelled while it fires does not",
             a_timer_cancelled_while_it_fires_does_not),
        CASE("PATH-4g more timers than a window fire in order",
             more_timers_than_a_window_fire_in_order),
        CASE("PATH-4g timers survive a restart", timers_survive_a_restart),
        CASE("PATH-4g a timer that cannot be written fires later",
             a_timer_that_cannot_be_written_fires_later),
        CASE("SHOP-4d timers of a stopped service wait", timers_of_a_stopped_service_wait),
        CASE("PATH-4g a timer of an undeclared type does not stop the others",
             a_timer_of_an_undeclared_type_does_not_stop_the_others),
        CASE("PATH-4g a damaged timer is set aside, and the others fire",
             a_damaged_timer_is_set_aside_and_the_others_fire),
    };
    return cmocka_run_group_tests_name("bus/timers", tests, NULL, NULL);
}
