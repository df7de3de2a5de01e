/* SPDX-License-Identifier: MIT */
/* Token buckets on a clock that the case moves. */
#include "base/clock.h"
#include "http/ratelimit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct http_ratelimit_conf ten = {.rate = 10, .burst = 20, .tokens = 1};

static struct http_ratelimit_verdict take(struct http_ratelimit *r, const char *key,
                                          const struct http_ratelimit_conf *conf, int64_t now_ns)
{
    struct http_ratelimit_verdict v;
    http_ratelimit_take(r, str_from(key), conf, now_ns, &v);
    return v;
}

static void a_burst_passes_and_the_next_is_refused(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    for (int i = 1; i <= 20; i++) {
        struct http_ratelimit_verdict v = take(r, "k", &ten, NS_PER_S);
        assert_true(v.admitted);
        assert_int_equal(v.remaining, 20 - i);
    }
    struct http_ratelimit_verdict v = take(r, "k", &ten, NS_PER_S);
    assert_false(v.admitted);
    assert_int_equal(v.remaining, 0);
    assert_int_equal(v.retry_ns, NS_PER_S / 10);
    http_ratelimit_free(r);
}

static void tokens_come_back_at_the_rate_and_not_beyond_the_burst(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    int64_t now = 5 * NS_PER_S;
    for (int i = 0; i < 20; i++)
        take(r, "k", &ten, now);
    assert_false(take(r, "k", &ten, now + NS_PER_S / 10 - 1).admitted);
    assert_true(take(r, "k", &ten, now + NS_PER_S / 10).admitted);
    assert_false(take(r, "k", &ten, now + NS_PER_S / 10).admitted);
    assert_int_equal(take(r, "k", &ten, now + 1000 * NS_PER_S).remaining, 19);
    http_ratelimit_free(r);
}

static void a_refused_request_costs_nothing(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    struct http_ratelimit_conf one = {.rate = 1, .burst = 1, .tokens = 1};
    assert_true(take(r, "k", &one, NS_PER_S).admitted);
    for (int i = 0; i < 100; i++)
        assert_false(take(r, "k", &one, NS_PER_S + NS_PER_S / 2).admitted);
    assert_true(take(r, "k", &one, 2 * NS_PER_S).admitted);
    http_ratelimit_free(r);
}

static void a_request_may_take_several_tokens(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    struct http_ratelimit_conf dear = {.rate = 1, .burst = 60, .tokens = 25};
    assert_int_equal(take(r, "k", &dear, NS_PER_S).remaining, 35);
    assert_int_equal(take(r, "k", &dear, NS_PER_S).remaining, 10);
    struct http_ratelimit_verdict v = take(r, "k", &dear, NS_PER_S);
    assert_false(v.admitted);
    assert_int_equal(v.remaining, 10);
    assert_int_equal(v.retry_ns, 15 * NS_PER_S);
    http_ratelimit_free(r);
}

static void keys_do_not_know_of_each_other(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    struct http_ratelimit_conf one = {.rate = 1, .burst = 1, .tokens = 1};
    assert_true(take(r, "a", &one, NS_PER_S).admitted);
    assert_true(take(r, "b", &one, NS_PER_S).admitted);
    assert_false(take(r, "a", &one, NS_PER_S).admitted);
    http_ratelimit_free(r);
}

static void a_hundred_thousand_keys_keep_to_the_bound_and_the_newest_are_known(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(100);
    struct http_ratelimit_conf one = {.rate = 1, .burst = 1, .tokens = 1};
    char key[24];
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        assert_true(take(r, key, &one, NS_PER_S).admitted);
    }
    assert_false(take(r, "key-99999", &one, NS_PER_S).admitted);
    assert_false(take(r, "key-99901", &one, NS_PER_S).admitted);
    assert_true(take(r, "key-5", &one, NS_PER_S).admitted); /* forgotten */
    http_ratelimit_free(r);
}

static void a_rate_beyond_the_clock_is_no_limit_and_no_crash(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    struct http_ratelimit_conf fast = {.rate = 2000000000, .burst = 1000000000, .tokens = 1};
    assert_true(take(r, "k", &fast, 0).admitted);
    assert_true(take(r, "k", &fast, 1).admitted);
    http_ratelimit_free(r);
}

struct shared {
    struct http_ratelimit *limit;
    int admitted;
};

static void *hammer(void *arg)
{
    struct shared *s = arg;
    struct http_ratelimit_conf conf = {.rate = 1, .burst = 500, .tokens = 1};
    for (int i = 0; i < 1000; i++)
        s->admitted += take(s->limit, "k", &conf, NS_PER_S).admitted;
    return NULL;
}

static void threads_together_get_the_burst_and_no_more(void **state)
{
    (void)state;
    struct http_ratelimit *r = http_ratelimit_new(10);
    struct shared here = {r, 0}, there = {r, 0};
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, hammer, &there), 0);
    hammer(&here);
    pthread_join(other, NULL);
    assert_int_equal(here.admitted + there.admitted, 500);
    http_ratelimit_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_and_the_next_is_refused),
        cmocka_unit_test(tokens_come_back_at_the_rate_and_not_beyond_the_burst),
        cmocka_unit_test(a_refused_request_costs_nothing),
        cmocka_unit_test(a_request_may_take_several_tokens),
        cmocka_unit_test(keys_do_not_know_of_each_other),
        cmocka_unit_test(a_hundred_thousand_keys_keep_to_the_bound_and_the_newest_are_known),
        cmocka_unit_test(a_rate_beyond_the_clock_is_no_limit_and_no_crash),
        cmocka_unit_test(threads_together_get_the_burst_and_no_more),
    };
    return cmocka_run_group_tests_name("http/ratelimit", tests, NULL, NULL);
}
