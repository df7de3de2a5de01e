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

static const struct breaker_layer defaults;

/* A layer with one setting. */
static struct breaker_layer with(struct str name, int64_t value)
{
    struct breaker_layer l = {0};
    struct err err;
    const struct json number = {.type = JSON_INT, .i = value};
    assert_int_equal(breaker_layer_set(&l, name, &number, &err), 0);
    return l;
}

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

static struct breaker_view view_of(struct registry_entry *e)
{
    struct breaker_view v;
    registry_view(e, NOW_NS, &v);
    return v;
}

static enum breaker_state state_of(struct registry_entry *e)
{
    return view_of(e).state;
}

/* One call that fails; false if it was refused. */
static bool fail_call(struct registry_entry *e)
{
    struct breaker_permit permit;
    int64_t retry_ns;
    bool admitted =
        breaker_enter(registry_lock(e), NOW_NS, NULL, &permit, &retry_ns) == BREAKER_ADMITTED;
    registry_unlock(e, NOW_NS);
    if (!admitted)
        return false;
    breaker_leave(registry_lock(e), NOW_NS, permit, BREAKER_FAILURE);
    registry_unlock(e, NOW_NS);
    return true;
}

static void fail_calls(struct registry_entry *e, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(fail_call(e));
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
    struct breaker_layer more = with(STR("limit"), 200);
    assert_ptr_equal(registry_declare(r, STR("payment"), &more, NOW_NS), e);
    assert_int_equal(view_of(e).conf.limit, 200);
    assert_int_equal(state_of(e), BREAKER_OPEN);
    assert_int_equal(view_of(e).rolling[BREAKER_EVENT_FAILURE], 20);
}

/* The four layers of Hystrix: built-in < for all < the file's < the administrator's; and cases 83
 * to 89 of its suites. */
static void BREAKER_9_case_83_built_in_values_hold(void **state)
{
    static const struct {
        const char *name;
        int value;
    } hystrix[] = {{"execution.isolation.thread.timeoutInMilliseconds", 1000},
                   {"execution.timeout.enabled", true},
                   {"execution.isolation.semaphore.maxConcurrentRequests", 10},
                   {"fallback.isolation.semaphore.maxConcurrentRequests", 10},
                   {"fallback.enabled", true},
                   {"circuitBreaker.enabled", true},
                   {"circuitBreaker.requestVolumeThreshold", 20},
                   {"circuitBreaker.errorThresholdPercentage", 50},
                   {"circuitBreaker.sleepWindowInMilliseconds", 5000},
                   {"circuitBreaker.forceOpen", false},
                   {"circuitBreaker.forceClosed", false},
                   {"metrics.rollingStats.timeInMilliseconds", 10000},
                   {"metrics.rollingStats.numBuckets", 10},
                   {"metrics.rollingPercentile.timeInMilliseconds", 60000},
                   {"metrics.rollingPercentile.numBuckets", 6},
                   {"requestCache.enabled", true}};
    static const char *const without_effect[] = {
        "execution.isolation.strategy",
        "execution.isolation.thread.interruptOnTimeout",
        "execution.isolation.thread.interruptOnFutureCancel",
        "metrics.rollingPercentile.enabled",
        "metrics.rollingPercentile.bucketSize",
        "metrics.healthSnapshot.intervalInMilliseconds",
        "requestLog.enabled",
        "threadPoolKeyOverride"};
    struct registry_entry *e = registry_declare(*state, STR("a"), &defaults, NOW_NS);
    struct breaker_conf conf = view_of(e).conf;
    for (size_t i = 0; i < sizeof(hystrix) / sizeof(*hystrix); i++) {
        const struct breaker_setting *s = breaker_setting_find(str_from(hystrix[i].name));
        assert_non_null(s);
        assert_int_equal(breaker_setting_get(s, &conf), hystrix[i].value);
    }
    assert_ptr_equal(breaker_setting_find(STR("circuitbreaker.FORCEOPEN")),
                     breaker_setting_find(STR("force_open")));
    for (size_t i = 0; i < sizeof(without_effect) / sizeof(*without_effect); i++) {
        const struct breaker_setting *s = breaker_setting_find(str_from(without_effect[i]));
        assert_non_null(s);
        assert_int_equal(s->kind, BREAKER_SETTING_NONE);
    }
}

static void BREAKER_9_case_85_a_default_set_at_run_time_reaches_what_is_there(void **state)
{
    struct registry *r = *state;
    struct registry_entry *e = registry_declare(r, STR("a"), &defaults, NOW_NS);
    struct breaker_layer all = with(STR("circuitBreaker.sleepWindowInMilliseconds"), 1234);
    struct err err;
    assert_int_equal(registry_admin(r, NULL, &all, 0, NOW_NS, &err), 0);
    assert_int_equal(view_of(e).conf.sleep_ms, 1234);
    e = registry_declare(r, STR("b"), &defaults, NOW_NS);
    assert_int_equal(view_of(e).conf.sleep_ms, 1234); /* and what comes later */
}

static void BREAKER_9_case_86_what_the_file_says_goes_before_a_default(void **state)
{
    struct registry *r = *state;
    struct breaker_layer file = with(STR("sleep_ms"), 5000);
    struct breaker_layer all = with(STR("sleep_ms"), 1234);
    struct registry_entry *e = registry_declare(r, STR("a"), &file, NOW_NS);
    struct err err;
    assert_int_equal(registry_admin(r, NULL, &all, 0, NOW_NS, &err), 0);
    assert_int_equal(view_of(e).conf.sleep_ms, 5000);
}

static void BREAKER_9_case_88_what_is_set_for_the_one_goes_before_all(void **state)
{
    struct registry *r = *state;
    struct breaker_layer file = with(STR("sleep_ms"), 5000), base = with(STR("sleep_ms"), 77);
    struct breaker_layer all = with(STR("sleep_ms"), 1234), own = with(STR("sleep_ms"), 3456);
    struct err err;
    registry_declare_default(r, &base, NOW_NS);
    struct registry_entry *e = registry_declare(r, STR("a"), &file, NOW_NS);
    struct registry_entry *other = registry_declare(r, STR("b"), &defaults, NOW_NS);
    assert_int_equal(view_of(other).conf.sleep_ms, 77);
    assert_int_equal(registry_admin(r, NULL, &all, 0, NOW_NS, &err), 0);
    assert_int_equal(registry_admin(r, e, &own, 0, NOW_NS, &err), 0);
    assert_int_equal(view_of(e).conf.sleep_ms, 3456);
    assert_int_equal(view_of(other).conf.sleep_ms, 1234);
    assert_int_equal(registry_admin(r, e, &defaults, own.set, NOW_NS, &err), 0); /* forgotten */
    assert_int_equal(view_of(e).conf.sleep_ms, 5000);
}

static void an_administrator_s_nonsense_is_refused_whole(void **state)
{
    struct registry *r = *state;
    struct breaker_layer file = with(STR("timeout_ms"), 100);
    struct registry_entry *e = registry_declare(r, STR("payment"), &file, NOW_NS);
    struct breaker_layer slow = with(STR("slow_ms"), 500);
    struct err err;
    assert_int_equal(registry_admin(r, NULL, &slow, 0, NOW_NS, &err), -1);
    assert_string_equal(err.message, "payment: breaker option slow_ms = 500 makes no sense: a call "
                                     "is over after timeout_ms");
    assert_int_equal(view_of(e).conf.slow_ms, 0);
    assert_int_equal(registry_admin_layer(r, NULL).set, 0);
}

static void what_an_administrator_set_gives_way_to_files_that_do_not_go_with_it(void **state)
{
    struct registry *r = *state;
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    struct breaker_layer slow = with(STR("slow_ms"), 500), quick = with(STR("timeout_ms"), 100);
    struct err err;
    assert_int_equal(registry_admin(r, e, &slow, 0, NOW_NS, &err), 0);
    registry_declare(r, STR("payment"), &quick, NOW_NS);
    assert_int_equal(view_of(e).conf.slow_ms, 0);
    assert_int_equal(view_of(e).conf.timeout_ms, 100);
}

/* There the first values hold for good until a reset; here a reload is enough. */
static void BREAKER_9_case_91_values_of_new_files_take_the_place_of_the_old_ones(void **state)
{
    struct registry *r = *state;
    struct breaker_layer old = with(STR("timeout_ms"), 100), new = with(STR("timeout_ms"), 700);
    struct registry_entry *e = registry_declare(r, STR("a"), &old, NOW_NS);
    assert_int_equal(view_of(e).conf.timeout_ms, 100);
    assert_int_equal(view_of(e).conf.limit, 10);
    registry_declare(r, STR("a"), &new, NOW_NS);
    assert_int_equal(view_of(e).conf.timeout_ms, 700);
    registry_declare(r, STR("a"), &defaults, NOW_NS);
    assert_int_equal(view_of(e).conf.timeout_ms, 1000); /* nothing of the old ones is left */
}

static void remember_change(void *ctx, const struct registry_change *change)
{
    struct registry_change *last = ctx;
    *last = *change;
}

static void changes_are_told_with_what_was_before(void **state)
{
    struct registry *r = *state;
    struct registry_change last = {0};
    registry_on_change(r, remember_change, &last);
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    fail_calls(e, 19);
    assert_null(last.entry);
    fail_calls(e, 1);
    assert_ptr_equal(last.entry, e);
    assert_int_equal(last.from, BREAKER_CLOSED);
    assert_int_equal(last.to, BREAKER_OPEN);
    struct breaker_permit permit;
    int64_t retry_ns, later_ns = NOW_NS + 5 * NS_PER_S;
    breaker_enter(registry_lock(e), later_ns, NULL, &permit, &retry_ns);
    registry_unlock(e, later_ns);
    assert_int_equal(last.from, BREAKER_OPEN);
    assert_int_equal(last.to, BREAKER_HALF_OPEN);
    breaker_leave(registry_lock(e), later_ns, permit, BREAKER_FAILURE);
    registry_unlock(e, later_ns);
    assert_int_equal(last.from, BREAKER_HALF_OPEN);
    assert_int_equal(last.to, BREAKER_OPEN);
}

static void being_forced_is_told_as_a_change_and_nothing_else_is(void **state)
{
    struct registry *r = *state;
    struct registry_change last = {0};
    registry_on_change(r, remember_change, &last);
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    struct breaker_layer open = {0}, more = with(STR("limit"), 7);
    const struct json yes = {.type = JSON_BOOL, .b = true};
    struct err err;
    assert_int_equal(breaker_layer_set(&open, STR("force_open"), &yes, &err), 0);
    assert_int_equal(registry_admin(r, e, &more, 0, NOW_NS, &err), 0);
    assert_null(last.entry);
    assert_int_equal(registry_admin(r, e, &open, 0, NOW_NS, &err), 0);
    assert_ptr_equal(last.entry, e);
    assert_int_equal(last.from, BREAKER_CLOSED);
    assert_int_equal(last.to, BREAKER_CLOSED);
    assert_int_equal(last.was, REGISTRY_UNFORCED);
    assert_int_equal(last.is, REGISTRY_FORCED_OPEN);
    assert_int_equal(registry_admin(r, e, &defaults, open.set, NOW_NS, &err), 0);
    assert_int_equal(last.was, REGISTRY_FORCED_OPEN);
    assert_int_equal(last.is, REGISTRY_UNFORCED);
}

static void what_was_open_is_open_again_for_what_is_left(void **state)
{
    struct registry *r = *state;
    struct registry_entry *e = registry_declare(r, STR("payment"), &defaults, NOW_NS);
    registry_restore_open(e, 3 * NS_PER_S, 2, NOW_NS);
    assert_int_equal(view_of(e).state, BREAKER_OPEN);
    assert_int_equal(view_of(e).retry_ns, 3 * NS_PER_S);
    assert_int_equal(view_of(e).failed_trials, 2);
    struct registry_entry *other = registry_declare(r, STR("other"), &defaults, NOW_NS);
    registry_restore_open(other, NS_PER_S * 3600, 0, NOW_NS); /* the clock was set back */
    assert_int_equal(view_of(other).retry_ns, 5 * NS_PER_S);
    struct breaker_layer disabled = with(STR("volume"), 1);
    const struct json no = {.type = JSON_BOOL, .b = false};
    struct err err;
    assert_int_equal(breaker_layer_set(&disabled, STR("enabled"), &no, &err), 0);
    struct registry_entry *never = registry_declare(r, STR("never"), &disabled, NOW_NS);
    registry_restore_open(never, NS_PER_S, 0, NOW_NS);
    assert_int_equal(view_of(never).state, BREAKER_CLOSED);
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
    int64_t admitted, refused;
};

static void *hammer_failures(void *arg)
{
    struct hammer *h = arg;
    for (int i = 0; i < h->rounds; i++) {
        if (fail_call(h->entry))
            h->admitted++;
        else
            h->refused++;
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
    const int volume = 4 * ROUNDS / 2; /* no thread alone gets there */
    struct breaker_layer file = with(STR("volume"), volume);
    struct registry_entry *e = registry_declare(r, STR("payment"), &file, NOW_NS);
    struct hammer hammers[THREADS];
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.registry = r, .entry = e, .rounds = ROUNDS};
    run_hammers(hammers, hammer_failures);

    int64_t admitted = 0, refused = 0;
    for (int i = 0; i < THREADS; i++) {
        admitted += hammers[i].admitted;
        refused += hammers[i].refused;
    }
    struct breaker_view v = view_of(e);
    assert_int_equal(v.state, BREAKER_OPEN);
    assert_int_equal(v.epoch, 2); /* it changed once */
    assert_int_equal(v.health.errors, volume);
    assert_int_equal(v.in_flight, 0);
    assert_int_equal(v.rolling[BREAKER_EVENT_FAILURE], admitted);
    assert_int_equal(v.rolling[BREAKER_EVENT_SHORT_CIRCUITED] + v.rolling[BREAKER_EVENT_REJECTED],
                     refused);
    assert_in_range(admitted, volume, volume + THREADS - 1); /* at most the others' late ones */
}

static void *hammer_declarations(void *arg)
{
    struct hammer *h = arg;
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "b%d", i);
        struct breaker_layer file = with(STR("window_ms"), 1000 + i);
        struct registry_entry *e = registry_declare(h->registry, str_from(name), &file, NOW_NS);
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
        assert_int_equal(view_of(e).rolling[BREAKER_EVENT_FAILURE], THREADS);
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
        with_registry(BREAKER_9_case_83_built_in_values_hold),
        with_registry(BREAKER_9_case_85_a_default_set_at_run_time_reaches_what_is_there),
        with_registry(BREAKER_9_case_86_what_the_file_says_goes_before_a_default),
        with_registry(BREAKER_9_case_88_what_is_set_for_the_one_goes_before_all),
        with_registry(BREAKER_9_case_91_values_of_new_files_take_the_place_of_the_old_ones),
        with_registry(an_administrator_s_nonsense_is_refused_whole),
        with_registry(what_an_administrator_set_gives_way_to_files_that_do_not_go_with_it),
        with_registry(changes_are_told_with_what_was_before),
        with_registry(being_forced_is_told_as_a_change_and_nothing_else_is),
        with_registry(what_was_open_is_open_again_for_what_is_left),
        with_registry(one_breaker_s_failures_leave_the_other_closed),
        with_registry(four_threads_trip_one_breaker_on_their_sum),
        with_registry(four_threads_declare_the_same_names_once_each),
        cmocka_unit_test(freeing_nothing_is_legal),
    };
    return cmocka_run_group_tests_name("breaker/registry", tests, NULL, NULL);
}
