/* SPDX-License-Identifier: MIT */
/* Dates against libc's calendar, and clocks that move only when told. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define NEW_YEAR_2026_MS INT64_C(1767225600000)

typedef void format_fn(struct buf *out, int64_t wall_ms);

static void assert_format(format_fn *fn, int64_t wall_ms, const char *expected)
{
    struct buf b = BUF_INIT;
    fn(&b, wall_ms);
    assert_string_equal(buf_str(&b).p, expected);
    buf_deinit(&b);
}

static void test_fake_clock_moves_only_by_advance(void **state)
{
    (void)state;
    struct clock c;
    clock_fake_init(&c);
    assert_int_equal(clock_mono_ns(&c), NS_PER_S);
    assert_int_equal(clock_wall_ms(&c), NEW_YEAR_2026_MS);
    clock_advance(&c, 1500 * NS_PER_MS);
    assert_int_equal(clock_mono_ns(&c), 2500 * NS_PER_MS);
    assert_int_equal(clock_wall_ms(&c), NEW_YEAR_2026_MS + 1500);
}

static void test_real_clock_does_not_run_backwards_and_knows_the_year(void **state)
{
    (void)state;
    struct clock c;
    clock_real_init(&c);
    int64_t before = clock_mono_ns(&c);
    assert_true(clock_mono_ns(&c) >= before);
    assert_true(clock_wall_ms(&c) > INT64_C(1700000000000));
}

static void test_the_three_layouts(void **state)
{
    (void)state;
    assert_format(clock_rfc3339, NEW_YEAR_2026_MS, "2026-01-01T00:00:00.000Z");
    assert_format(clock_compact, NEW_YEAR_2026_MS, "20260101000000");
    assert_format(clock_http_date, NEW_YEAR_2026_MS, "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_format(clock_http_date, INT64_C(784111777000), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_format(clock_rfc3339, 951782400007, "2000-02-29T00:00:00.007Z");
}

static void test_times_before_1970_and_far_out(void **state)
{
    (void)state;
    assert_format(clock_rfc3339, -1, "1969-12-31T23:59:59.999Z");
    assert_format(clock_http_date, -1, "Wed, 31 Dec 1969 23:59:59 GMT");
    assert_format(clock_rfc3339, INT64_C(253402300799999), "9999-12-31T23:59:59.999Z");
    assert_format(clock_rfc3339, INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z");
    assert_format(clock_rfc3339, INT64_C(-62167219200001), "-0001-12-31T23:59:59.999Z");
    struct buf b = BUF_INIT;
    clock_rfc3339(&b, INT64_MAX);
    clock_rfc3339(&b, INT64_MIN);
    assert_true(b.n > 50);
    buf_deinit(&b);
}

static void test_dates_agree_with_libc_over_centuries(void **state)
{
    (void)state;
    for (int64_t day = -200000; day < 200000; day += 37) {
        time_t t = (time_t)(day * 86400 + (day & 0xFFFF));
        struct tm tm;
        gmtime_r(&t, &tm);
        char http[64], plain[64];
        strftime(http, sizeof http, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        strftime(plain, sizeof plain, "%Y-%m-%dT%H:%M:%S.123Z", &tm);
        assert_format(clock_http_date, (int64_t)t * 1000 + 123, http);
        assert_format(clock_rfc3339, (int64_t)t * 1000 + 123, plain);
        int64_t ms;
        assert_true(clock_parse_rfc3339(str_from(plain), &ms));
        assert_true(ms == (int64_t)t * 1000 + 123);
    }
}

static void test_parse_understands_offsets_and_fractions(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"2026-01-01T00:00:00Z", NEW_YEAR_2026_MS},
                {"2026-01-01t00:00:00z", NEW_YEAR_2026_MS},
                {"2026-01-01T01:30:00+01:30", NEW_YEAR_2026_MS},
                {"2025-12-31T19:00:00-05:00", NEW_YEAR_2026_MS},
                {"2026-01-01T00:00:00.5Z", NEW_YEAR_2026_MS + 500},
                {"2026-01-01T00:00:00.123999999Z", NEW_YEAR_2026_MS + 123},
                {"2026-01-01T00:00:00.001-00:00", NEW_YEAR_2026_MS + 1},
                {"2025-12-31T23:59:60Z", NEW_YEAR_2026_MS},
                {"1969-12-31T23:59:59.999Z", -1}};
    for (size_t k = 0; k < COUNT(good); k++) {
        int64_t ms = 42;
        assert_true(clock_parse_rfc3339(str_from(good[k].text), &ms));
        assert_true(ms == good[k].ms);
    }
}

static void test_parse_refuses_everything_else(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "2026-01-01",
                         "2026-01-01T00:00:00",
                         "2026-01-01 00:00:00Z",
                         "2026-1-01T00:00:00Z",
                         "2026-00-01T00:00:00Z",
                         "2026-13-01T00:00:00Z",
                         "2026-02-29T00:00:00Z",
                         "1900-02-29T00:00:00Z",
                         "2026-04-31T00:00:00Z",
                         "2026-01-00T00:00:00Z",
                         "2026-01-01T24:00:00Z",
                         "2026-01-01T00:60:00Z",
                         "2026-01-01T00:00:60Z",
                         "2026-01-01T00:00:00.Z",
                         "2026-01-01T00:00:00.1234567890Z",
                         "2026-01-01T00:00:00+0100",
                         "2026-01-01T00:00:00+24:00",
                         "2026-01-01T00:00:00+01:60",
                         "2026-01-01T00:00:00Zx",
                         "20260101000000",
                         " 2026-01-01T00:00:00Z"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        int64_t ms = 42;
        assert_false(clock_parse_rfc3339(str_from(bad[k]), &ms));
        assert_int_equal(ms, 42);
    }
    int64_t ms;
    assert_false(clock_parse_rfc3339((struct str){"2026-01-01T00:00:00\0", 20}, &ms));
    assert_true(clock_parse_rfc3339(STR("2000-02-29T00:00:00Z"), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fake_clock_moves_only_by_advance),
        cmocka_unit_test(test_real_clock_does_not_run_backwards_and_knows_the_year),
        cmocka_unit_test(test_the_three_layouts),
        cmocka_unit_test(test_times_before_1970_and_far_out),
        cmocka_unit_test(test_dates_agree_with_libc_over_centuries),
        cmocka_unit_test(test_parse_understands_offsets_and_fractions),
        cmocka_unit_test(test_parse_refuses_everything_else),
    };
    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
