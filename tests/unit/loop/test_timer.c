/* SPDX-License-Identifier: MIT */
/* Timers under a fake clock: order, and what callbacks may do to each other's timers. */
#include "loop/timer.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

#define MANY 10000

struct fixture {
    struct clock clock;
    struct loop *loop;
    char fired[32];
    size_t n;
};

struct alarm {
    struct loop_timer timer;
    struct fixture *f;
    char letter;
    struct alarm *stops; /* when this one fires */
    struct alarm *moves; /* to moves_to_ns, when this one fires */
    int64_t moves_to_ns;
};

static void on_alarm(struct loop_timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;
    struct fixture *f = a->f;
    assert_false(loop_timer_armed(t));
    assert_true(f->n < sizeof(f->fired) - 1);
    f->fired[f->n++] = a->letter;
    if (a->stops)
        loop_timer_stop(f->loop, &a->stops->timer);
    if (a->moves)
        loop_timer_start(f->loop, &a->moves->timer, a->moves_to_ns);
}

static struct alarm make_alarm(struct fixture *f, char letter)
{
    return (struct alarm){.timer = {.fn = on_alarm}, .f = f, .letter = letter};
}

static void start(struct alarm *a, int64_t at_ns)
{
    loop_timer_start(a->f->loop, &a->timer, at_ns);
}

static int setup(void **state)
{
    static struct fixture f; /* cmocka hands over a pointer only */
    f = (struct fixture){0};
    clock_fake_init(&f.clock);
    f.loop = loop_new(&f.clock, NULL);
    *state = &f;
    return f.loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_free(f->loop);
    return 0;
}

static void fires_at_its_deadline_and_not_before(void **state)
{
    struct fixture *f = *state;
    struct alarm a = make_alarm(f, 'a');
    start(&a, loop_now_ns(f->loop) + 10);
    assert_true(loop_timer_armed(&a.timer));
    clock_advance(&f->clock, 9);
    assert_false(loop_turn(f->loop));
    clock_advance(&f->clock, 1);
    assert_true(loop_turn(f->loop));
    assert_string_equal(f->fired, "a");
    assert_false(loop_turn(f->loop));
}

static void fires_in_order_of_deadlines(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b'), c = make_alarm(f, 'c');
    start(&c, now_ns + 30);
    start(&a, now_ns + 10);
    start(&b, now_ns + 20);
    clock_advance(&f->clock, 30);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "abc");
}

static void equal_deadlines_fire_in_order_of_arming(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b'), c = make_alarm(f, 'c');
    start(&b, now_ns);
    start(&a, now_ns);
    start(&c, now_ns);
    start(&b, now_ns); /* armed anew, so the last */
    loop_turn(f->loop);
    assert_string_equal(f->fired, "acb");
}

static void arming_an_armed_timer_moves_it(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b');
    start(&a, now_ns + 10);
    start(&b, now_ns + 20);
    start(&a, now_ns + 30);
    clock_advance(&f->clock, 20);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "b");
    start(&a, now_ns + 20);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "ba");
}

static void a_stopped_timer_does_not_fire(void **state)
{
    struct fixture *f = *state;
    struct alarm a = make_alarm(f, 'a');
    loop_timer_stop(f->loop, &a.timer); /* not armed: legal */
    start(&a, loop_now_ns(f->loop));
    loop_timer_stop(f->loop, &a.timer);
    assert_false(loop_timer_armed(&a.timer));
    assert_false(loop_turn(f->loop));
}

static void a_callback_stops_another_due_timer(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b'), c = make_alarm(f, 'c');
    a.stops = &b;
    start(&a, now_ns);
    start(&b, now_ns);
    start(&c, now_ns);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "ac");
    assert_false(loop_timer_armed(&b.timer));
}

static void a_callback_moves_another_due_timer(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b');
    a.moves = &b;
    a.moves_to_ns = now_ns + 5;
    start(&a, now_ns);
    start(&b, now_ns);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "a");
    clock_advance(&f->clock, 5);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "ab");
}

static void a_callback_stops_a_timer_that_is_not_due(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b');
    a.stops = &b;
    start(&a, now_ns);
    start(&b, now_ns + 1);
    loop_turn(f->loop);
    clock_advance(&f->clock, 1);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "a");
}

static void
a_timer_that_rearms_itself_in_the_past_fires_once_a_turn_and_starves_nobody(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b');
    a.moves = &a;
    a.moves_to_ns = 0;
    start(&a, now_ns - 10);
    start(&b, now_ns);
    loop_turn(f->loop);
    assert_string_equal(f->fired, "ab");
    loop_turn(f->loop);
    assert_string_equal(f->fired, "aba");
    loop_timer_stop(f->loop, &a.timer);
}

static void on_self_free(struct loop_timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;
    a->f->fired[a->f->n++] = a->letter;
    free(a);
}

static void a_callback_may_free_its_timer(void **state)
{
    struct fixture *f = *state;
    struct alarm *a = calloc(1, sizeof(*a));
    assert_non_null(a);
    *a = make_alarm(f, 'a');
    a->timer.fn = on_self_free;
    start(a, loop_now_ns(f->loop));
    loop_turn(f->loop);
    assert_false(loop_turn(f->loop));
    assert_string_equal(f->fired, "a");
}

static void on_look_at_next(struct loop_timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;
    a->moves_to_ns = loop_timer_next_ns(a->f->loop);
}

static void next_is_the_earliest_deadline_even_within_the_timer_phase(void **state)
{
    struct fixture *f = *state;
    int64_t now_ns = loop_now_ns(f->loop);
    assert_int_equal(loop_timer_next_ns(f->loop), INT64_MAX);
    struct alarm a = make_alarm(f, 'a'), b = make_alarm(f, 'b'), c = make_alarm(f, 'c');
    a.timer.fn = on_look_at_next;
    start(&c, now_ns + 7);
    start(&b, now_ns);
    start(&a, now_ns - 1);
    assert_int_equal(loop_timer_next_ns(f->loop), now_ns - 1);
    loop_turn(f->loop);
    assert_int_equal(a.moves_to_ns, now_ns);
    assert_int_equal(loop_timer_next_ns(f->loop), now_ns + 7);
    loop_timer_stop(f->loop, &c.timer);
    assert_int_equal(loop_timer_next_ns(f->loop), INT64_MAX);
}

struct numbered {
    struct loop_timer timer;
    struct numbered ***next; /* where the order of firing is written */
};

static void on_numbered(struct loop_timer *t)
{
    struct numbered *n = (struct numbered *)(void *)t;
    *(*n->next)++ = n;
}

static int by_deadline(const void *x, const void *y)
{
    const struct numbered *a = *(struct numbered *const *)x, *b = *(struct numbered *const *)y;
    if (a->timer.at_ns != b->timer.at_ns)
        return a->timer.at_ns < b->timer.at_ns ? -1 : 1;
    return a->timer.order < b->timer.order ? -1 : a->timer.order > b->timer.order;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Fires what is due, one step of the clock after the other, until nothing is armed. */
static void run_out(struct fixture *f)
{
    while (loop_timer_next_ns(f->loop) != INT64_MAX) {
        clock_advance(&f->clock, 97);
        loop_turn(f->loop);
    }
}

static void ten_thousand_timers_moved_and_stopped_at_random_fire_sorted(void **state)
{
    struct fixture *f = *state;
    struct numbered *timers = calloc(MANY, sizeof(*timers));
    struct numbered **fired = calloc(MANY, sizeof(*fired)), **next = fired;
    struct numbered **sorted = calloc(MANY, sizeof(*sorted));
    uint64_t seed = 42;
    int64_t now_ns = loop_now_ns(f->loop);
    for (size_t i = 0; i < MANY; i++) {
        timers[i] = (struct numbered){.timer = {.fn = on_numbered}, .next = &next};
        loop_timer_start(f->loop, &timers[i].timer, now_ns + (int64_t)(next_random(&seed) % 5000));
    }
    for (size_t i = 0; i < MANY; i++) {
        struct loop_timer *t = &timers[next_random(&seed) % MANY].timer;
        if (i % 3 == 0)
            loop_timer_stop(f->loop, t);
        else
            loop_timer_start(f->loop, t, now_ns + (int64_t)(next_random(&seed) % 5000));
    }
    size_t armed = 0;
    for (size_t i = 0; i < MANY; i++) {
        if (loop_timer_armed(&timers[i].timer))
            sorted[armed++] = &timers[i];
    }
    qsort(sorted, armed, sizeof(*sorted), by_deadline);
    run_out(f);
    assert_int_equal(next - fired, armed);
    for (size_t i = 0; i < armed; i++)
        assert_ptr_equal(fired[i], sorted[i]);
    free(timers);
    free(fired);
    free(sorted);
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_loop(fires_at_its_deadline_and_not_before),
        with_loop(fires_in_order_of_deadlines),
        with_loop(equal_deadlines_fire_in_order_of_arming),
        with_loop(arming_an_armed_timer_moves_it),
        with_loop(a_stopped_timer_does_not_fire),
        with_loop(a_callback_stops_another_due_timer),
        with_loop(a_callback_moves_another_due_timer),
        with_loop(a_callback_stops_a_timer_that_is_not_due),
        with_loop(a_timer_that_rearms_itself_in_the_past_fires_once_a_turn_and_starves_nobody),
        with_loop(a_callback_may_free_its_timer),
        with_loop(next_is_the_earliest_deadline_even_within_the_timer_phase),
        with_loop(ten_thousand_timers_moved_and_stopped_at_random_fire_sorted),
    };
    return cmocka_run_group_tests_name("loop/timer", tests, NULL, NULL);
}
