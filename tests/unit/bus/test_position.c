/* SPDX-License-Identifier: MIT */
/* The books of a policy: high mark, holes, and what a transaction may take back. */
#include "world.h"

static struct bus_position position_with(int64_t high, int64_t *holes, size_t hole_count)
{
    struct bus_position p = {.high = high, .seen = high};
    bus_position_restore(&p, holes, hole_count);
    return p;
}

static void assert_holes(const struct bus_position *p, const int64_t *expected, size_t count)
{
    int64_t *holes = NULL;
    size_t cap = 0;
    assert_int_equal(bus_position_holes(p, &holes, &cap), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(holes[i], expected[i]);
    free(holes);
}

static void only_open_events_below_the_high_mark_are_holes(void **state)
{
    (void)state;
    struct bus_position p = position_with(10, NULL, 0);
    for (int64_t seq = 11; seq <= 15; seq++)
        bus_position_open(&p, seq);
    assert_true(bus_position_mark(&p, 12));
    assert_true(bus_position_mark(&p, 14));
    p.high = 14;
    assert_holes(&p, (const int64_t[]){11, 13}, 2); /* 15 is above */
    bus_position_settle(&p, 12, true);
    bus_position_settle(&p, 14, true);
    assert_int_equal(p.open_count, 3);
    assert_false(bus_position_is_open(&p, 12));
    assert_true(bus_position_is_open(&p, 13));
    bus_position_free(&p);
}

static void a_mark_is_taken_once_and_can_be_taken_back(void **state)
{
    (void)state;
    struct bus_position p = position_with(0, NULL, 0);
    bus_position_open(&p, 3);
    bus_position_open(&p, 5);
    assert_false(bus_position_mark(&p, 4));
    assert_true(bus_position_mark(&p, 3));
    assert_false(bus_position_mark(&p, 3));
    assert_true(bus_position_is_open(&p, 3));
    bus_position_settle(&p, 3, false);
    assert_int_equal(p.open_count, 2);
    assert_int_equal(p.pending_count, 0);
    p.high = 5;
    assert_holes(&p, (const int64_t[]){3}, 1);
    assert_true(bus_position_mark(&p, 3));
    bus_position_settle(&p, 3, true);
    assert_false(bus_position_mark(&p, 3));
    assert_holes(&p, NULL, 0);
    bus_position_free(&p);
}

static void holes_of_the_start_stay_until_they_are_dispatched_and_done(void **state)
{
    (void)state;
    int64_t holes[] = {2, 4, 6};
    struct bus_position p = position_with(9, holes, 3);
    assert_int_equal(bus_position_next_dropped(&p, 0), 2);
    assert_int_equal(bus_position_next_dropped(&p, 2), 4);
    assert_int_equal(bus_position_next_dropped(&p, 6), INT64_MAX);
    assert_false(bus_position_is_open(&p, 2));
    assert_false(bus_position_mark(&p, 2));
    bus_position_open(&p, 2);
    bus_position_open(&p, 4);
    assert_true(bus_position_mark(&p, 4));
    assert_holes(&p, (const int64_t[]){2, 6}, 2);
    bus_position_settle(&p, 4, true);
    bus_position_open(&p, 6);
    assert_holes(&p, (const int64_t[]){2, 6}, 2);
    bus_position_free(&p);
}

static void done_events_do_not_pile_up_behind_an_open_one(void **state)
{
    (void)state;
    struct bus_position p = position_with(0, NULL, 0);
    bus_position_open(&p, 1);
    for (int64_t seq = 2; seq <= 100000; seq++) {
        bus_position_open(&p, seq);
        assert_true(bus_position_mark(&p, seq));
        bus_position_settle(&p, seq, true);
    }
    assert_int_equal(p.open_count, 1);
    assert_true(p.open_cap <= 64);
    assert_true(bus_position_is_open(&p, 1));
    assert_true(bus_position_mark(&p, 1));
    bus_position_settle(&p, 1, true);
    assert_int_equal(p.open_end, 0);
    bus_position_free(&p);
}

static void what_is_dropped_stays_a_hole_and_is_opened_again(void **state)
{
    (void)state;
    struct bus_position p = position_with(0, NULL, 0);
    for (int64_t seq = 1; seq <= 6; seq++)
        bus_position_open(&p, seq);
    assert_true(bus_position_mark(&p, 3));
    assert_true(bus_position_mark(&p, 6));
    assert_false(bus_position_drop(&p, 3)); /* it is being done */
    bus_position_settle(&p, 3, true);
    bus_position_settle(&p, 6, true);
    p.high = 6;
    assert_true(bus_position_drop(&p, 2));
    assert_true(bus_position_drop(&p, 5));
    assert_false(bus_position_drop(&p, 5));
    assert_false(bus_position_drop(&p, 6));
    assert_holes(&p, (const int64_t[]){1, 2, 4, 5}, 4);
    assert_int_equal(p.open_count, 2);
    assert_int_equal(p.dropped_count, 2);
    assert_int_equal(bus_position_next_dropped(&p, 2), 5);
    bus_position_open(&p, 5);
    bus_position_open(&p, 2);
    assert_int_equal(p.dropped_count, 0);
    assert_true(bus_position_mark(&p, 2));
    bus_position_settle(&p, 2, true);
    assert_holes(&p, (const int64_t[]){1, 4, 5}, 3);
    bus_position_free(&p);
}

static void an_older_event_is_opened_in_its_place(void **state)
{
    (void)state;
    struct bus_position p = position_with(0, NULL, 0);
    bus_position_open(&p, 5);
    bus_position_open(&p, 9);
    bus_position_open(&p, 7);
    bus_position_open(&p, 1);
    p.high = 20;
    assert_holes(&p, (const int64_t[]){1, 5, 7, 9}, 4);
    bus_position_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"PATH-4d only open events below the high mark are holes",
         only_open_events_below_the_high_mark_are_holes, NULL, NULL, NULL},
        {"PATH-4d a mark is taken once and can be taken back",
         a_mark_is_taken_once_and_can_be_taken_back, NULL, NULL, NULL},
        {"PATH-4d holes of the start stay until they are dispatched and done",
         holes_of_the_start_stay_until_they_are_dispatched_and_done, NULL, NULL, NULL},
        {"PATH-4d done events do not pile up behind an open one (G10)",
         done_events_do_not_pile_up_behind_an_open_one, NULL, NULL, NULL},
        {"G3 what is dropped stays a hole and is opened again",
         what_is_dropped_stays_a_hole_and_is_opened_again, NULL, NULL, NULL},
        {"G3 an older event is opened in its place", an_older_event_is_opened_in_its_place, NULL,
         NULL, NULL},
    };
    return cmocka_run_group_tests_name("bus/position", tests, NULL, NULL);
}
