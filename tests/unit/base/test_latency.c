/* SPDX-License-Identifier: MIT */
/* Quantiles of a histogram: near enough, from several threads' parts. */
#include "base/latency.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void nothing_counted_is_zero(void **state)
{
    (void)state;
    struct latency a = {0};
    struct latency *list[] = {&a};
    assert_int_equal(latency_count(list, 1), 0);
    assert_int_equal(latency_quantile(list, 1, 0.5), 0);
}

static void a_quantile_is_never_below_and_at_most_a_quarter_above(void **state)
{
    (void)state;
    for (int64_t ns = 4; ns < INT64_C(400000000000); ns = ns * 9 / 8 + 1) {
        struct latency a = {0};
        struct latency *list[] = {&a};
        latency_add(&a, ns);
        int64_t q = latency_quantile(list, 1, 0.99);
        assert_true(q > ns);
        assert_true(q <= ns + ns / 4 + 1);
    }
}

static void several_are_read_as_one(void **state)
{
    (void)state;
    struct latency a = {0}, b = {0};
    struct latency *list[] = {&a, &b};
    for (int i = 0; i < 99; i++)
        latency_add(&a, 1000);
    latency_add(&b, 1000000);
    assert_int_equal(latency_count(list, 2), 100);
    assert_true(latency_quantile(list, 2, 0.5) < 1300);
    assert_true(latency_quantile(list, 2, 0.99) < 1300);
    assert_true(latency_quantile(list, 2, 1.0) > 1000000);
    assert_int_equal(latency_sum(list, 2), 99 * 1000 + 1000000);
}

static void extremes_fall_into_the_outer_buckets(void **state)
{
    (void)state;
    struct latency a = {0};
    struct latency *list[] = {&a};
    latency_add(&a, -5);
    latency_add(&a, 0);
    assert_int_equal(latency_quantile(list, 1, 1.0), 4);
    latency_add(&a, INT64_MAX);
    assert_int_equal(latency_count(list, 1), 3);
    assert_true(latency_quantile(list, 1, 1.0) > INT64_C(400000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_counted_is_zero),
        cmocka_unit_test(a_quantile_is_never_below_and_at_most_a_quarter_above),
        cmocka_unit_test(several_are_read_as_one),
        cmocka_unit_test(extremes_fall_into_the_outer_buckets),
    };
    return cmocka_run_group_tests_name("base/latency", tests, NULL, NULL);
}
