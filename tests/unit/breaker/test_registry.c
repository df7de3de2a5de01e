/* SPDX-License-Identifier: MIT */
/* The registry: names, order, and one breaker that many threads share. */
#include "base/clock.h"
#include "breaker/registry.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define ROUNDS 20000
#define NOW_NS NS_PER_S

static const struct breaker_conf defaults = BREAKER_CONF_DEFAULT;

static int setup(void **state)
{
    *state = registry_new();
    return 0;
}

static int teardown(void **state)
{
    registry_free(*state);
    return 0;
}

static enum breaker_state state_of(struct registry_entry *e)
{
    enum breaker_state s;
    struct breaker_counts counts;
    registry_read(e, NOW_NS, &s, &counts);
    return s;
}

static struct breaker_counts counts_of(struct registry_entry *e)
{
    enum breaker_state s;
    struct breaker_counts counts;
    registry_read(e, NOW_NS, &s, &counts);
    return counts;
}

static void fail_calls(struct registry_entry *e, int count)
{
    for (int i = 0; i < count; i++) {
        struct breaker_permit permit;
        int64_t retry_ns;
        assert_int_equal(registry_enter(e, NOW_NS, &permit, &retry_ns), BREAKER_ADMITTED);
        registry_leave(e, NOW_NS, permit, BREAKER_FAILURE);
    }
}

static void a_declared_breaker_is_found_by_name(void **state)
{
    struct registry *r = *state;
    assert_null(registry_find(r, STR("payment")));
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    assert_ptr_equal(registry_find(r, STR("payment")), e);
    assert_true(str_eq(registry_name(e), STR("payment")));
    assert_null(registry_find(r, STR("pay")));
}

static void the_name_is_copied(void **state)
{
    struct registry *r = *state;
    char name[] = "payment";
    struct registry_entry *e = registry_declare(r, str_from(name), &defaults, NOW_NS);
    name[0] = 'x';
    assert_true(str_eq(registry_name(e), STR("payment")));
    assert_ptr_equal(registry_find(r, STR("payment")), e);
}

static void visits_are_in_order_of_declaration(void **state)
{
    struct registry *r = *state;
    assert_null(registry_next(r, NULL));
    registry_declare(r, STR("c"), &defaults, NOW_NS);
    registry_declare(r, STR("a"), &defaults, NOW_NS);
    registry_declare(r, STR("b"), &defaults, NOW_NS);
    registry_declare(r, STR("c"), &defaults, NOW_NS);
    char names[8] = "";
    size_t n = 0;
    for (struct registry_entry *e = NULL; (e = registry_next(r, e));)
        names[n++] = registry_name(e).p[0];
    assert_string_equal(names, "cab");
}

static void declaring_again_takes_the_conf_and_keeps_the_state(void **state)
{
    struct registry *r = *state;
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    fail_calls(e, 20);
    assert_int_equal(state_of(e), BREAKER_OPEN);
    struct breaker_conf conf = defaults;
    conf.limit = 200;
    assert_ptr_equal(registry_declare(r, STR("payment"), &conf, NOW_NS), e);
    assert_int_equal(registry_conf(e).limit, 200);
    assert_int_equal(state_of(e), BREAKER_OPEN);
    assert_int_equal(counts_of(e).failure, 20);
}

static void one_breaker_s_failures_leave_the_other_closed(void **state)
{
    struct registry *r = *state;
    struct registry_entry *bad = registry_declare(r, STR("bad"), &defaults, NOW_NS);
    struct registry_entry *good = registry_declare(r, STR("good"), &defaults, NOW_NS);
    fail_calls(bad, 20);
    assert_int_equal(state_of(bad), BREAKER_OPEN);
    assert_int_equal(state_of(good), BREAKER_CLOSED);
}

static void freeing_nothing_is_legal(void **state)
{
    (void)state;
    registry_free(NULL);
}

struct hammer {
    struct registry *registry;
    struct registry_entry *entry;
    int rounds;
    int changes; /* results of this thread that changed the state */
    int64_t admitted, refused;
};

static void *hammer_failures(void *arg)
{
    struct hammer *h = arg;
    for (int i = 0; i < h->rounds; i++) {
        struct breaker_permit permit;
        int64_t retry_ns;
        if (registry_enter(h->entry, NOW_NS, &permit, &retry_ns) != BREAKER_ADMITTED) {
            h->refused++;
            continue;
        }
        h->admitted++;
        h->changes += registry_leave(h->entry, NOW_NS, permit, BREAKER_FAILURE);
    }
    return NULL;
}

static void run_hammers(struct hammer *hammers, void *(*fn)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &hammers[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void four_threads_trip_one_breaker_on_their_sum(void **state)
{
    struct registry *r = *state;
    struct breaker_conf conf = defaults;
    conf.volume = 4 * ROUNDS / 2; /* no thread alone gets there */
    struct registry_entry *e = registry_declare(r, STR("payment"), &conf, NOW_NS);
    struct hammer hammers[THREADS];
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.registry = r, .entry = e, .rounds = ROUNDS};
    run_hammers(hammers, hammer_failures);

    int changes = 0;
    int64_t admitted = 0, refused = 0;
    for (int i = 0; i < THREADS; i++) {
        changes += hammers[i].changes;
        admitted += hammers[i].admitted;
        refused += hammers[i].refused;
    }
    struct breaker_counts counts = counts_of(e);
    assert_int_equal(state_of(e), BREAKER_OPEN);
    assert_int_equal(changes, 1);
    assert_int_equal(counts.failure, conf.volume);
    assert_int_equal(counts.in_flight, 0);
    assert_int_equal(counts.refused_open + counts.refused_limit, refused);
    assert_in_range(admitted, conf.volume,
                    conf.volume + THREADS - 1); /* at most the others' late ones */
}

static void *hammer_declarations(void *arg)
{
    struct hammer *h = arg;
    struct breaker_conf conf = defaults;
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%d", i);
        conf.window_ms = 1000 + i;
        struct registry_entry *e = registry_declare(h->registry, str_from(name), &conf, NOW_NS);
        assert_ptr_equal(registry_find(h->registry, str_from(name)), e);
        h->entry = e;
        h->rounds = 1;
        hammer_failures(h);
        registry_next(h->registry, e);
    }
    return NULL;
}

static void four_threads_declare_the_same_names_once_each(void **state)
{
    struct registry *r = *state;
    struct hammer hammers[THREADS];
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.registry = r};
    run_hammers(hammers, hammer_declarations);
    int count = 0;
    for (struct registry_entry *e = NULL; (e = registry_next(r, e));) {
        assert_int_equal(counts_of(e).failure, THREADS);
        count++;
    }
    assert_int_equal(count, 500);
}

#define with_registry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_registry(a_declared_breaker_is_found_by_name),
        with_registry(the_name_is_copied),
        with_registry(visits_are_in_order_of_declaration),
        with_registry(declaring_again_takes_the_conf_and_keeps_the_state),
        with_registry(one_breaker_s_failures_leave_the_other_closed),
        with_registry(four_threads_trip_one_breaker_on_their_sum),
        with_registry(four_threads_declare_the_same_names_once_each),
        cmocka_unit_test(freeing_nothing_is_legal),
    };
    return cmocka_run_group_tests_name("breaker/registry", tests, NULL, NULL);
}
