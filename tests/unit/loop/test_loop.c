/* SPDX-License-Identifier: MIT */
/* The turn and its deferred work: order, phases, and that nothing keeps it from its sockets. */
#include "loop/loop.h"
#include "loop/timer.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <event2/event.h>

#include <unistd.h>

#define STEPS 16

/* What ran, in order, as letters. */
struct trace {
    char text[STEPS + 1];
    size_t n;
};

struct step {
    struct loop_defer defer;
    struct loop *loop;
    struct trace *trace;
    char letter;
    struct step *schedules; /* deferred when this one runs */
    struct step *cancels;   /* cancelled when this one runs */
    bool stops;             /* the loop, when this one runs */
};

struct fixture {
    struct clock clock;
    struct loop *loop;
    struct trace trace;
    struct event *io;
    int pipe[2];
    int64_t io_saw_ns;
    struct loop_timer timer;
    int64_t timer_saw_ns;
    int timer_fired;
    int64_t io_advances_ns; /* of the fake clock, by the io callback */
    int64_t io_starts_ns;   /* the timer is started so much later by the io callback */
};

static void note(struct trace *t, char letter)
{
    assert_true(t->n < STEPS);
    t->text[t->n++] = letter;
}

static void on_step(struct loop_defer *d)
{
    struct step *s = (struct step *)(void *)d;
    note(s->trace, s->letter);
    if (s->schedules)
        loop_defer(s->loop, &s->schedules->defer);
    if (s->cancels)
        loop_defer_cancel(s->loop, &s->cancels->defer);
    if (s->stops)
        loop_stop(s->loop);
}

static struct step make_step(struct fixture *f, char letter)
{
    return (struct step){
        .defer = {.fn = on_step}, .loop = f->loop, .trace = &f->trace, .letter = letter};
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct fixture *f = arg;
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
    note(&f->trace, 'i');
    f->io_saw_ns = loop_now_ns(f->loop);
    if (f->io_advances_ns)
        clock_advance(&f->clock, f->io_advances_ns);
    if (f->io_starts_ns)
        loop_timer_start(f->loop, &f->timer, loop_now_ns(f->loop) + f->io_starts_ns);
}

static void on_timer_stops(struct loop_timer *t)
{
    struct fixture *f = (struct fixture *)(void *)((char *)t - offsetof(struct fixture, timer));
    f->timer_fired++;
    f->timer_saw_ns = loop_now_ns(f->loop);
    note(&f->trace, 't');
    loop_stop(f->loop);
}

static void setup_loop(struct fixture *f)
{
    f->loop = loop_new(&f->clock, NULL);
    assert_non_null(f->loop);
    assert_int_equal(pipe(f->pipe), 0);
    f->io = event_new(loop_base(f->loop), f->pipe[0], EV_READ | EV_PERSIST, on_readable, f);
    assert_int_equal(event_add(f->io, NULL), 0);
    f->timer.fn = on_timer_stops;
}

static int setup_fake(void **state)
{
    static struct fixture f; /* cmocka hands over a pointer only */
    f = (struct fixture){0};
    clock_fake_init(&f.clock);
    setup_loop(&f);
    *state = &f;
    return 0;
}

static int setup_real(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    clock_real_init(&f.clock);
    setup_loop(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    event_free(f->io);
    close(f->pipe[0]);
    close(f->pipe[1]);
    loop_free(f->loop);
    return 0;
}

static void make_readable(struct fixture *f)
{
    assert_int_equal(write(f->pipe[1], "x", 1), 1);
}

static void a_turn_with_nothing_to_do_says_so(void **state)
{
    struct fixture *f = *state;
    assert_false(loop_turn(f->loop));
    struct step a = make_step(f, 'a');
    loop_defer(f->loop, &a.defer);
    assert_true(loop_turn(f->loop));
    assert_false(loop_turn(f->loop));
}

static void deferred_runs_in_order_of_scheduling(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b'), c = make_step(f, 'c');
    loop_defer(f->loop, &b.defer);
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &c.defer);
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "bac");
}

static void deferred_runs_after_io_and_timers(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a');
    loop_defer(f->loop, &a.defer);
    loop_timer_start(f->loop, &f->timer, loop_now_ns(f->loop));
    make_readable(f);
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "ita");
}

static void deferring_twice_is_one_run_at_the_first_place(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b');
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_defer(f->loop, &a.defer);
    loop_turn(f->loop);
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "ab");
}

static void deferred_from_the_deferred_phase_waits_for_the_next_turn(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b');
    a.schedules = &b;
    loop_defer(f->loop, &a.defer);
    assert_true(loop_turn(f->loop));
    assert_string_equal(f->trace.text, "a");
    assert_true(loop_turn(f->loop));
    assert_string_equal(f->trace.text, "ab");
}

static void deferred_again_while_queued_in_the_phase_under_way_is_one_run(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b');
    a.schedules = &b;
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_turn(f->loop);
    assert_false(loop_turn(f->loop));
    assert_string_equal(f->trace.text, "ab");
}

static void work_that_defers_itself_for_ever_does_not_keep_io_away(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a');
    a.schedules = &a;
    loop_defer(f->loop, &a.defer);
    loop_turn(f->loop);
    make_readable(f);
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "aia");
    loop_defer_cancel(f->loop, &a.defer);
}

static void cancelled_work_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b'), c = make_step(f, 'c');
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_defer(f->loop, &c.defer);
    loop_defer_cancel(f->loop, &b.defer);
    loop_defer_cancel(f->loop, &c.defer);
    loop_defer_cancel(f->loop, &c.defer); /* twice is legal */
    loop_defer(f->loop, &b.defer);        /* behind a, the tail having been cancelled */
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "ab");
}

static void work_cancelled_within_the_phase_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b'), c = make_step(f, 'c');
    a.cancels = &c;
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_defer(f->loop, &c.defer);
    loop_turn(f->loop);
    assert_false(loop_turn(f->loop));
    assert_string_equal(f->trace.text, "ab");
}

static void stop_lets_the_turn_end(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b'), next = make_step(f, 'n');
    a.stops = true;
    a.schedules = &next;
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_run(f->loop);
    assert_string_equal(f->trace.text, "ab");
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "abn");
}

static void stop_before_run_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a');
    loop_defer(f->loop, &a.defer);
    loop_stop(f->loop);
    loop_run(f->loop);
    assert_string_equal(f->trace.text, "");
    a.stops = true;
    loop_run(f->loop);
    assert_string_equal(f->trace.text, "a");
}

static void run_does_not_wait_while_work_is_deferred(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a'), b = make_step(f, 'b'), c = make_step(f, 'c');
    a.schedules = &b;
    b.schedules = &c;
    c.stops = true;
    loop_defer(f->loop, &a.defer);
    loop_run(f->loop); /* waiting once would be waiting for ever: nothing is readable */
    assert_string_equal(f->trace.text, "abc");
}

static void a_fake_clock_fires_timers_when_it_moves(void **state)
{
    struct fixture *f = *state;
    f->io_advances_ns = NS_PER_S;
    loop_timer_start(f->loop, &f->timer, loop_now_ns(f->loop) + NS_PER_S);
    assert_false(loop_turn(f->loop));
    make_readable(f);
    loop_run(f->loop);
    assert_string_equal(f->trace.text, "it");
}

static void a_real_timer_fires_and_never_early(void **state)
{
    struct fixture *f = *state;
    int64_t at_ns = loop_now_ns(f->loop) + 3 * NS_PER_MS + 300;
    loop_timer_start(f->loop, &f->timer, at_ns);
    loop_run(f->loop);
    assert_int_equal(f->timer_fired, 1);
    assert_true(f->timer_saw_ns >= at_ns);
}

static void a_timer_earlier_than_the_armed_one_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    struct loop_timer far = {.fn = on_timer_stops};
    loop_timer_start(f->loop, &far, loop_now_ns(f->loop) + 3600 * NS_PER_S);
    f->io_starts_ns = NS_PER_MS;
    make_readable(f);
    loop_run(f->loop); /* for an hour, were the wait not shortened */
    assert_string_equal(f->trace.text, "it");
    loop_timer_stop(f->loop, &far);
}

static void a_timer_moved_later_than_the_armed_one_still_fires(void **state)
{
    struct fixture *f = *state;
    loop_timer_start(f->loop, &f->timer, loop_now_ns(f->loop) + 2 * NS_PER_MS);
    f->io_starts_ns = 5 * NS_PER_MS;
    make_readable(f);
    loop_run(f->loop);
    assert_int_equal(f->timer_fired, 1);
    assert_true(f->timer_saw_ns >= f->io_saw_ns + 5 * NS_PER_MS);
}

static void callbacks_see_a_time_read_after_the_wait(void **state)
{
    struct fixture *f = *state;
    loop_turn(f->loop);
    int64_t before_ns = clock_mono_ns(&f->clock);
    while (clock_mono_ns(&f->clock) == before_ns)
        continue;
    int64_t after_ns = clock_mono_ns(&f->clock);
    make_readable(f);
    loop_turn(f->loop);
    assert_true(f->io_saw_ns >= after_ns);
}

static void on_time_passes(struct loop_defer *d)
{
    struct step *s = (struct step *)(void *)d;
    const struct clock *clock = loop_clock(s->loop);
    int64_t first_ns = loop_now_ns(s->loop);
    while (clock_mono_ns(clock) <= first_ns)
        continue;
    assert_int_equal(loop_now_ns(s->loop), first_ns);
    loop_refresh(s->loop);
    assert_true(loop_now_ns(s->loop) > first_ns);
    note(s->trace, s->letter);
}

static void time_stands_still_within_a_turn_until_refreshed(void **state)
{
    struct fixture *f = *state;
    struct step a = make_step(f, 'a');
    a.defer.fn = on_time_passes;
    loop_defer(f->loop, &a.defer);
    loop_turn(f->loop);
    assert_string_equal(f->trace.text, "a");
}

#define fake(test) cmocka_unit_test_setup_teardown(test, setup_fake, teardown)
#define real(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake(a_turn_with_nothing_to_do_says_so),
        fake(deferred_runs_in_order_of_scheduling),
        fake(deferred_runs_after_io_and_timers),
        fake(deferring_twice_is_one_run_at_the_first_place),
        fake(deferred_from_the_deferred_phase_waits_for_the_next_turn),
        fake(deferred_again_while_queued_in_the_phase_under_way_is_one_run),
        fake(work_that_defers_itself_for_ever_does_not_keep_io_away),
        fake(cancelled_work_does_not_run),
        fake(work_cancelled_within_the_phase_does_not_run),
        fake(stop_lets_the_turn_end),
        fake(stop_before_run_is_not_lost),
        fake(run_does_not_wait_while_work_is_deferred),
        fake(a_fake_clock_fires_timers_when_it_moves),
        real(run_does_not_wait_while_work_is_deferred),
        real(a_real_timer_fires_and_never_early),
        real(a_timer_earlier_than_the_armed_one_ends_the_wait),
        real(a_timer_moved_later_than_the_armed_one_still_fires),
        real(callbacks_see_a_time_read_after_the_wait),
        real(time_stands_still_within_a_turn_until_refreshed),
    };
    return cmocka_run_group_tests_name("loop/loop", tests, NULL, NULL);
}
