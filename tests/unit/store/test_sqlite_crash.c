/* SPDX-License-Identifier: MIT */

/* A process that dies: a child commits and is gone, the parent looks at what it left. The parent
 * runs no writer before it forks, so that a child reads its fault points afresh. */

#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#define UNITS 8

struct report {
    int64_t last_id;
    int committed;
};

/* The child: commits orders one by one, telling the parent of each that was acknowledged, and
 * leaves without closing. */
static void child(struct fixture *f, int pipe_fd, const char *fault)
{
    if (fault)
        setenv("MOONTIDE_FAULT", fault, 1);
    fixture_open(f);
    struct report report = {0};
    for (int i = 0; i < UNITS; i++) {
        int64_t id = fixture_id(f, ORDERS);
        struct store_unit *u = store_unit_new();
        fixture_insert_order(f, u, id, i);
        fixture_emit(f, u, id);
        report.last_id = id;
        report.committed += fixture_commit(f, u) == STORE_COMMITTED;
        if (write(pipe_fd, &report, sizeof(report)) != sizeof(report))
            _exit(2);
    }
    _exit(0);
}

/* Runs the child; what it said last, and how it ended. */
static struct report run_child(struct fixture *f, const char *fault, int *ret_status)
{
    int fds[2];
    struct report report = {0}, next;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(f, fds[1], fault);
    close(fds[1]);
    while (read(fds[0], &next, sizeof(next)) == sizeof(next))
        report = next;
    close(fds[0]);
    assert_int_equal(waitpid(pid, ret_status, 0), pid);
    return report;
}

/* Opens without a writer: reading is enough. */
static void open_to_look(struct fixture *f)
{
    struct err err = {0};
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    fixture_expect_ok(f->store ? 0 : -1, &err);
    fixture_expect_ok(store_migrate(f->store, &f->schema, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
}

static void exit_without_close(void **state)
{
    struct fixture *f = *state;
    int status;
    struct report report = run_child(f, NULL, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(report.committed, UNITS);
    open_to_look(f);
    assert_int_equal(fixture_count(f, ORDERS), UNITS);
    assert_int_equal(store_log_last_seq(f->store), UNITS);
    for (int64_t id = 1; id <= UNITS; id++)
        assert_non_null(fixture_get(f, ORDERS, id));
    int64_t id = fixture_id(f, ORDERS); /* the rest of the block is skipped */
    assert_int_equal(id, ENGINE_ID_BLOCK + 1);
    assert_true(id > report.last_id);
}

/* fault kills in the third commit; in_file: whether that one is there afterwards. */
static void expect_killed(struct fixture *f, const char *fault, int64_t in_file)
{
    int status;
    struct report report = run_child(f, fault, &status);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(report.committed, 2);
    open_to_look(f);
    assert_int_equal(fixture_count(f, ORDERS), in_file);
    assert_int_equal(store_log_last_seq(f->store), in_file);
}

static void killed_while_applying(void **state)
{
    expect_killed(*state, "writer.apply=kill@3", 2);
}

static void killed_before_commit(void **state)
{
    expect_killed(*state, "writer.before_commit=kill@3", 2);
}

static void killed_after_commit(void **state)
{
    expect_killed(*state, "writer.committed=kill@3", 3); /* more than was told is no loss */
}

static void failing_point_fails_its_unit(void **state)
{
    struct fixture *f = *state;
    int status;
    struct report report = run_child(f, "writer.before_commit=fail@2,writer.apply=fail@4", &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(report.committed, UNITS - 2);
    open_to_look(f);
    assert_int_equal(fixture_count(f, ORDERS), UNITS - 2);
    assert_int_equal(store_log_last_seq(f->store), UNITS - 2);
}

#define CLOSED(name, fn)                                                                           \
    {                                                                                              \
        name, fn, fixture_setup_closed, fixture_teardown, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED("PATH-3g after a crash committed rows are there and ids are skipped, never reused",
               exit_without_close),
        CLOSED("killed while applying: nothing of the unit is there", killed_while_applying),
        CLOSED("killed before COMMIT: nothing of the unit is there", killed_before_commit),
        CLOSED("killed after COMMIT: the unit is there", killed_after_commit),
        CLOSED("a point that fails fails its unit alone", failing_point_fails_its_unit),
    };
    return cmocka_run_group_tests_name("store/sqlite_crash", tests, NULL, NULL);
}
