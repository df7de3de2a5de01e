/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "script/faults.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static const struct str services[] = {{"order", 5}, {"payment", 7}};

static int set(struct faults *f, const char *text, struct err *err)
{
    struct arena *a = arena_new(0);
    struct json table;
    assert_int_equal(json_parse(a, str_from(text), 16, &table, err), 0);
    int failed = faults_set(f, &table, services, 2, err);
    arena_free(a);
    return failed;
}

static void assert_table(struct faults *f, const char *expected)
{
    struct buf out = BUF_INIT;
    faults_write(f, &out);
    assert_string_equal(buf_str(&out).p, expected);
    buf_deinit(&out);
}

static void an_empty_table_does_nothing(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    assert_false(faults_roll(f, STR("payment"), &roll));
    assert_table(f, "{}");
    faults_free(f);
}

static void a_fixed_delay_is_exact(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    struct err err;
    assert_int_equal(set(f, "{\"payment\":{\"delay_ms\":1.5}}", &err), 0);
    assert_true(faults_roll(f, STR("payment"), &roll));
    assert_int_equal(roll.delay_ns, 1500000);
    assert_false(roll.fail);
    assert_false(faults_roll(f, STR("order"), &roll));
    faults_free(f);
}

static void a_range_is_used_whole_and_never_left(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    struct err err;
    int64_t low = INT64_MAX, high = 0;
    assert_int_equal(set(f, "{\"payment\":{\"delay_ms\":[400,620]}}", &err), 0);
    for (int i = 0; i < 10000; i++) {
        assert_true(faults_roll(f, STR("payment"), &roll));
        low = roll.delay_ns < low ? roll.delay_ns : low;
        high = roll.delay_ns > high ? roll.delay_ns : high;
    }
    assert_in_range(low, 400 * NS_PER_MS, 410 * NS_PER_MS);
    assert_in_range(high, 610 * NS_PER_MS, 620 * NS_PER_MS);
    faults_free(f);
}

static void error_rates_of_0_and_1_are_certain(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    struct err err;
    assert_int_equal(set(f, "{\"payment\":{\"error_rate\":1},\"order\":{\"error_rate\":0}}", &err),
                     0);
    for (int i = 0; i < 1000; i++) {
        assert_true(faults_roll(f, STR("payment"), &roll));
        assert_true(roll.fail);
        assert_int_equal(roll.delay_ns, 0);
        assert_false(faults_roll(f, STR("order"), &roll));
    }
    faults_free(f);
}

static void an_error_rate_fails_about_that_share(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    struct err err;
    int failed = 0;
    assert_int_equal(set(f, "{\"payment\":{\"error_rate\":0.1}}", &err), 0);
    for (int i = 0; i < 100000; i++)
        failed += faults_roll(f, STR("payment"), &roll) && roll.fail;
    assert_in_range(failed, 9000, 11000); /* ten times the standard deviation */
    faults_free(f);
}

static void bad_tables_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *table, *message;
    } cases[] = {
        {"[]", "expected an object of services"},
        {"{\"paymnt\":{}}", "unknown service \"paymnt\"; did you mean \"payment\"?"},
        {"{\"xyz\":{}}", "unknown service \"xyz\""},
        {"{\"payment\":3}", "payment: expected an object"},
        {"{\"payment\":{\"delay\":3}}", "payment: unknown member \"delay\""},
        {"{\"payment\":{\"error_rat\":1}}", "did you mean \"error_rate\"?"},
        {"{\"payment\":{\"delay_ms\":-1}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"delay_ms\":[2,1]}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"delay_ms\":[1]}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"delay_ms\":[1,\"2\"]}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"delay_ms\":1e300}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"delay_ms\":null}}", "payment.delay_ms: expected"},
        {"{\"payment\":{\"error_rate\":1.01}}", "payment.error_rate: expected"},
        {"{\"payment\":{\"error_rate\":true}}", "payment.error_rate: expected"},
    };
    struct faults *f = faults_new();
    struct err err;
    assert_int_equal(set(f, "{\"order\":{\"delay_ms\":1}}", &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(set(f, cases[i].table, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_table(f, "{\"order\":{\"delay_ms\":1}}");
    }
    faults_free(f);
}

static void a_new_table_replaces_the_old_one_whole(void **state)
{
    (void)state;
    struct faults *f = faults_new();
    struct faults_roll roll;
    struct err err;
    assert_int_equal(set(f, "{\"order\":{\"delay_ms\":1}}", &err), 0);
    assert_int_equal(set(f, "{\"payment\":{\"delay_ms\":[1,2],\"error_rate\":0.5}}", &err), 0);
    assert_false(faults_roll(f, STR("order"), &roll));
    assert_table(f, "{\"payment\":{\"delay_ms\":[1,2],\"error_rate\":0.5}}");
    faults_clear(f);
    assert_false(faults_roll(f, STR("payment"), &roll));
    assert_table(f, "{}");
    faults_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_does_nothing),
        cmocka_unit_test(a_fixed_delay_is_exact),
        cmocka_unit_test(a_range_is_used_whole_and_never_left),
        cmocka_unit_test(error_rates_of_0_and_1_are_certain),
        cmocka_unit_test(an_error_rate_fails_about_that_share),
        cmocka_unit_test(bad_tables_are_refused_and_change_nothing),
        cmocka_unit_test(a_new_table_replaces_the_old_one_whole),
    };
    return cmocka_run_group_tests_name("script/faults", tests, NULL, NULL);
}
