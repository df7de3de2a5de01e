/* SPDX-License-Identifier: MIT */
/* A process killed at the points where a commit and its deliveries meet; a second one opens the
 * same folder and must find every event delivered once, in order. */
#include "world.h"

#include <signal.h>
#include <sys/wait.h>

#define EVENTS 400

static enum outcome fail_some(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    return d->tries == 1 && d->event->seq % 9 == 0 ? FAIL : SUCCEED;
}

static struct emitted event_at(int64_t seq)
{
    return (struct emitted){seq % 3 == 0 ? PAID : PLACED, (int)(seq * 7 % 13)};
}

static void declare(struct world *w)
{
    w->decide = fail_some;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED | 1 << PAID);
    add_policy(w, "payment", "pay", 1 << PAID);
}

/* Runs until the fault kills it. */
static _Noreturn void die_at(struct world *w, const char *fault)
{
    setenv("MOONTIDE_FAULT", fault, 1);
    declare(w);
    world_open(w);
    for (int64_t seq = 1; seq <= EVENTS; seq++) {
        struct emitted e = event_at(seq);
        emit(w, e.type, e.key);
        if (seq % 5 == 0)
            advance(w, 30);
    }
    _exit(7); /* was not killed */
}

static _Noreturn void look_after(struct world *w)
{
    declare(w);
    w->next_id = 1000000;
    world_open(w);
    w->log_count = (size_t)store_log_last_seq(w->store);
    vec_reserve(&w->log, &w->log_cap, EVENTS, sizeof(*w->log));
    for (size_t i = 0; i < w->log_count; i++)
        w->log[i] = event_at((int64_t)i + 1);
    assert_true(w->log_count > 0 && w->log_count < EVENTS);
    advance(w, 3600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(count_held(w, NULL), 0);
    assert_int_equal(bus_outstanding(w->bus), 0);
    world_close(w);
    _exit(0);
}

/* Each in a process of its own: the fault points are read once a process. */
static void crash_at(struct world *w, const char *fault)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        die_at(w, fault);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pid = fork();
    if (pid == 0)
        look_after(w);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void after_the_commit(void **state)
{
    crash_at(*state, "bus.committed=kill@37");
}

static void before_the_dispatch(void **state)
{
    crash_at(*state, "bus.dispatch=kill@61");
}

static void before_the_commit(void **state)
{
    crash_at(*state, "writer.before_commit=kill@50");
}

static void before_the_owners_are_told(void **state)
{
    crash_at(*state, "writer.committed=kill@44");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("G3 killed after a commit", after_the_commit),
        CASE("G3 killed before the dispatch", before_the_dispatch),
        CASE("G3 killed before a commit", before_the_commit),
        CASE("G3 killed before the owners are told", before_the_owners_are_told),
    };
    return cmocka_run_group_tests_name("bus/crash", tests, NULL, NULL);
}
