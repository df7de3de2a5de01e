/* SPDX-License-Identifier: MIT */
/* Threads: named, and with the process' signals blocked. */
#include "loop/thread.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <signal.h>
#include <string.h>

struct seen {
    char name[16];
    sigset_t blocked;
    bool ran;
};

static void look_around(void *arg)
{
    struct seen *s = arg;
    pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
    pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
    s->ran = true;
}

static struct seen run_thread(const char *name)
{
    struct seen seen = {0};
    struct thread *t = thread_start(name, look_around, &seen, NULL);
    assert_non_null(t);
    thread_join(t);
    return seen;
}

static void join_waits_for_the_end(void **state)
{
    (void)state;
    assert_true(run_thread("worker").ran);
    thread_join(NULL);
}

static void a_thread_carries_its_name_up_to_15_bytes(void **state)
{
    (void)state;
    assert_string_equal(run_thread("worker-3").name, "worker-3");
    assert_string_equal(run_thread("fifteen-letters").name, "fifteen-letters");
}

static void a_thread_takes_no_signal_but_its_own_faults(void **state)
{
    (void)state;
    struct seen seen = run_thread("worker");
    const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM};
    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++)
        assert_int_equal(sigismember(&seen.blocked, blocked[i]), 1);
    assert_int_equal(sigismember(&seen.blocked, SIGSEGV), 0);
    assert_int_equal(sigismember(&seen.blocked, SIGBUS), 0);
}

static void starting_a_thread_leaves_the_caller_s_mask_alone(void **state)
{
    (void)state;
    sigset_t mask;
    run_thread("worker");
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join_waits_for_the_end),
        cmocka_unit_test(a_thread_carries_its_name_up_to_15_bytes),
        cmocka_unit_test(a_thread_takes_no_signal_but_its_own_faults),
        cmocka_unit_test(starting_a_thread_leaves_the_caller_s_mask_alone),
    };
    return cmocka_run_group_tests_name("loop/thread", tests, NULL, NULL);
}
