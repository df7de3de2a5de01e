/* SPDX-License-Identifier: MIT */
/* Signals arrive on the loop, and go back to what they did before. */
#include "loop/signals.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <signal.h>
#include <unistd.h>

struct fixture {
    struct clock clock;
    struct loop *loop;
    int numbers[4];
    int n;
};

static void on_signal(void *ctx, int number)
{
    struct fixture *f = ctx;
    assert_true(f->n < 4);
    f->numbers[f->n++] = number;
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

static bool is_default(int number)
{
    struct sigaction now;
    assert_int_equal(sigaction(number, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

static void a_signal_is_delivered_by_the_loop_and_not_before(void **state)
{
    struct fixture *f = *state;
    struct signals *s = signals_new(f->loop, (int[]){SIGUSR1, SIGHUP, 0}, on_signal, f, NULL);
    assert_non_null(s);
    raise(SIGHUP);
    assert_int_equal(f->n, 0);
    assert_true(loop_turn(f->loop));
    assert_int_equal(f->n, 1);
    assert_int_equal(f->numbers[0], SIGHUP);
    raise(SIGUSR1);
    loop_turn(f->loop);
    assert_int_equal(f->n, 2);
    assert_int_equal(f->numbers[1], SIGUSR1);
    signals_free(s);
}

static void freeing_restores_what_signals_did_before(void **state)
{
    struct fixture *f = *state;
    struct signals *s = signals_new(f->loop, (int[]){SIGUSR1, 0}, on_signal, f, NULL);
    assert_non_null(s);
    assert_false(is_default(SIGUSR1));
    signals_free(s);
    assert_true(is_default(SIGUSR1));
    signals_free(NULL);
}

static void a_signal_that_cannot_be_taken_is_an_error_and_takes_none(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    assert_null(signals_new(f->loop, (int[]){SIGUSR1, SIGKILL, 0}, on_signal, f, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.message, "signal 9"));
    assert_true(is_default(SIGUSR1));
}

static void a_write_to_a_closed_pipe_is_an_error_not_a_death(void **state)
{
    struct fixture *f = *state;
    struct signals *s = signals_new(f->loop, (int[]){0}, on_signal, f, NULL);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
    signals_free(s);
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_loop(a_signal_is_delivered_by_the_loop_and_not_before),
        with_loop(freeing_restores_what_signals_did_before),
        with_loop(a_signal_that_cannot_be_taken_is_an_error_and_takes_none),
        with_loop(a_write_to_a_closed_pipe_is_an_error_not_a_death),
    };
    return cmocka_run_group_tests_name("loop/signals", tests, NULL, NULL);
}
