/* SPDX-License-Identifier: MIT */
/* The environment is read once a process, so every case runs in a child with its own. */
#include "base/fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { THREADS = 4, PASSES = 1000 };

/* Passes point n times in a child under MOONTIDE_FAULT=spec; how the child ended, its status
 * telling the passes that failed as bits. */
static int run(const char *spec, const char *point, int n)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO); /* what it complains about is expected */
        if (spec)
            setenv("MOONTIDE_FAULT", spec, 1);
        else
            unsetenv("MOONTIDE_FAULT");
        int hits = 0;
        for (int i = 0; i < n; i++)
            hits |= fault_hit(point) << i;
        _exit(hits);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_hits(const char *spec, const char *point, int expected)
{
    int status = run(spec, point, 4);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

static void test_without_a_setting_nothing_happens(void **state)
{
    (void)state;
    assert_hits(NULL, "bus.deliver", 0);
    assert_hits("", "bus.deliver", 0);
    assert_hits("bus.deliver=fail@9", "bus.deliver", 0);
}

#ifdef MOONTIDE_FAULTS

static void test_fail_at_one_pass_or_at_every(void **state)
{
    (void)state;
    assert_hits("bus.deliver=fail@1", "bus.deliver", 1);
    assert_hits("bus.deliver=fail@3", "bus.deliver", 4);
    assert_hits("bus.deliver=fail@*", "bus.deliver", 15);
}

static void test_points_do_not_touch_each_other(void **state)
{
    (void)state;
    assert_hits("bus.deliver=fail@*", "bus.delive", 0);
    assert_hits("bus.deliver=fail@*", "bus.delivered", 0);
    assert_hits("a=fail@1,b=fail@2,a=fail@4", "a", 9);
    assert_hits("a=fail@1,b=fail@2,a=fail@4", "b", 2);
}

static void test_kill_dies_by_sigkill_at_its_pass_and_not_before(void **state)
{
    (void)state;
    int status = run("writer.committed=kill@3", "writer.committed", 3);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    status = run("writer.committed=kill@3", "writer.committed", 2);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_setting_that_cannot_be_read_aborts(void **state)
{
    (void)state;
    const char *bad[] = {"x",        "x=",        "x=die@1",    "x=fail",  "x=fail@",
                         "x=fail@0", "x=fail@-1", "x=fail@one", "=fail@1", "x=fail@1,,y=fail@1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int status = run(bad[i], "x", 1);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

static void *pass_often(void *arg)
{
    long hits = 0;
    for (int i = 0; i < PASSES; i++)
        hits += fault_hit("shared");
    *(long *)arg = hits;
    return NULL;
}

static void test_passes_are_counted_over_all_threads(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        setenv("MOONTIDE_FAULT", "shared=fail@2500", 1);
        pthread_t threads[THREADS];
        long hits[THREADS] = {0}, sum = 0;
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, pass_often, &hits[i]);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            sum += hits[i];
        }
        _exit((int)sum);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

#else

static void test_a_build_without_faults_has_none(void **state)
{
    (void)state;
    assert_hits("bus.deliver=fail@*", "bus.deliver", 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_setting_nothing_happens),
#ifdef MOONTIDE_FAULTS
        cmocka_unit_test(test_fail_at_one_pass_or_at_every),
        cmocka_unit_test(test_points_do_not_touch_each_other),
        cmocka_unit_test(test_kill_dies_by_sigkill_at_its_pass_and_not_before),
        cmocka_unit_test(test_passes_are_counted_over_all_threads),
        cmocka_unit_test(test_a_setting_that_cannot_be_read_aborts),
#else
        cmocka_unit_test(test_a_build_without_faults_has_none),
#endif
    };
    return cmocka_run_group_tests_name("base/fault", tests, NULL, NULL);
}
