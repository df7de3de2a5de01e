/* SPDX-License-Identifier: MIT */
/* Conversions at their edges: what is just a number, just UTF-8, just near enough, and what is just
 * not. */
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void test_comparison_ignores_case_only_for_ascii_letters(void **state)
{
    (void)state;
    assert_true(str_ieq(STR("Content-Type"), STR("content-tYPE")));
    assert_false(str_ieq(STR("a"), STR("ab")));
    assert_false(str_ieq(STR("["), STR("{"))); /* 0x20 apart, as letters are */
    assert_true(str_ieq((struct str){NULL, 0}, STR("")));
}

static void test_starts_with_prefix(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), (struct str){NULL, 0}));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_false(str_starts(STR("abc"), STR("b")));
}

static void test_hash_is_stable_and_spreads(void **state)
{
    (void)state;
    /* Keys must stay on their workers over restarts and machines: these numbers may never change.
     */
    assert_true(str_hash(STR("")) == UINT64_C(0xefd01f60ba992926));
    assert_true(str_hash((struct str){"order-12", 7}) == UINT64_C(0x491b422e3af0d9a5));
    int buckets[8] = {0};
    for (int i = 0; i < 8000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        buckets[str_hash(str_from(key)) % 8]++;
    }
    for (int i = 0; i < 8; i++)
        assert_in_range(buckets[i], 850, 1150);
}

static void test_integers_up_to_both_ends(void **state)
{
    (void)state;
    int64_t i;
    assert_true(str_to_int(STR("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(str_to_int(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(str_to_int(STR("-0"), &i) && i == 0);
    assert_true(str_to_int(STR("007"), &i) && i == 7);
}

static void test_what_is_no_integer_is_refused_and_leaves_the_result(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "-",
                         "+1",
                         " 1",
                         "1 ",
                         "1.0",
                         "1e3",
                         "0x1",
                         "9223372036854775808",
                         "-9223372036854775809",
                         "99999999999999999999"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        int64_t i = 42;
        assert_false(str_to_int(str_from(bad[k]), &i));
        assert_int_equal(i, 42);
    }
    int64_t i;
    assert_true(str_to_int((struct str){"123456", 3}, &i) && i == 123);
}

static void test_numbers_read_as_strtod_does(void **state)
{
    (void)state;
    const char *good[] = {
        "0",
        "-0",
        "1",
        "-1.5",
        "0.1",
        "25000.0",
        "1e3",
        "1E-7",
        "1.7976931348623157e308",
        "5e-324",
        "123456789012345.6",
        "999999999999999",
        "0.000000000000001",
        "9007199254740993",
        "123456.7890123456",
        "1e+2",
        "2.2250738585072014e-308",
        "0.10000000000000000000000000000000000000000000000000000000000000000000001",
        "1e-400"};
    for (size_t k = 0; k < COUNT(good); k++) {
        double n = 42;
        assert_true(str_to_number(str_from(good[k]), &n));
        double expected = strtod(good[k], NULL);
        assert_memory_equal(&n, &expected, sizeof n);
    }
}

static void test_what_is_no_number_is_refused_and_leaves_the_result(void **state)
{
    (void)state;
    const char *bad[] = {"",   "-",  "inf", "nan", "0x1", " 1",  "1 ",    "+1",     "01",
                         ".5", "1.", "1e",  "1e+", "1,5", "--1", "1e999", "-1e999", "1.5.2"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        double n = 42;
        assert_false(str_to_number(str_from(bad[k]), &n));
        assert_true(n == 42);
    }
}

static void test_number_span_stops_where_the_grammar_does(void **state)
{
    (void)state;
    assert_int_equal(str_number_span(STR("12,3")), 2);
    assert_int_equal(str_number_span(STR("012")), 1);
    assert_int_equal(str_number_span(STR("1.x")), 1);
    assert_int_equal(str_number_span(STR("1.5e+x")), 3);
    assert_int_equal(str_number_span(STR("-1.5e-10]")), 8);
    assert_int_equal(str_number_span(STR("-x")), 0);
    assert_int_equal(str_number_span(STR("")), 0);
}

static void test_utf8_accepts_every_length_at_its_ends(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "plain ascii of more than eight bytes",
                          "\x7F",
                          "\xC2\x80",
                          "\xDF\xBF",
                          "\xE0\xA0\x80",
                          "\xED\x9F\xBF",
                          "\xEE\x80\x80",
                          "\xEF\xBF\xBF",
                          "\xF0\x90\x80\x80",
                          "\xF4\x8F\xBF\xBF",
                          "1234567\xE2\x82\xAC"
                          "1234567\xE2\x82\xAC"};
    for (size_t k = 0; k < COUNT(good); k++)
        assert_true(str_is_utf8(str_from(good[k])));
    assert_true(str_is_utf8((struct str){"a\0b", 3}));
}

static void test_utf8_refuses_overlong_surrogates_and_cut_sequences(void **state)
{
    (void)state;
    const char *bad[] = {"\x80",
                         "\xBF",
                         "\xC0\x80",
                         "\xC1\xBF",
                         "\xC2",
                         "\xC2"
                         "A",
                         "\xE0\x9F\xBF",
                         "\xED\xA0\x80",
                         "\xED\xBF\xBF",
                         "\xE2\x82",
                         "\xE2\x82"
                         "A",
                         "\xF0\x8F\xBF\xBF",
                         "\xF4\x90\x80\x80",
                         "\xF5\x80\x80\x80",
                         "\xF0\x90\x80",
                         "\xFE",
                         "\xFF"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        char text[32];
        snprintf(text, sizeof text, "0123456789%s", bad[k]);
        assert_false(str_is_utf8(str_from(bad[k])));
        assert_int_equal(str_utf8_span(str_from(text)), 10);
    }
    /* A sequence must end inside the string, not in the bytes behind it. */
    assert_false(str_is_utf8((struct str){"\xE2\x82\xAC", 2}));
}

static struct str nearest(const char *s)
{
    static const struct str names[] = {{"timeout_ms", 10}, {"limit", 5}, {"volume", 6}, {"id", 2}};
    return str_nearest(str_from(s), names, COUNT(names));
}

static void test_nearest_suggests_slips_of_the_finger(void **state)
{
    (void)state;
    assert_true(str_eq(nearest("timeuot_ms"), STR("timeout_ms"))); /* a swap is one edit */
    assert_true(str_eq(nearest("Limit"), STR("limit")));
    assert_true(str_eq(nearest("limits"), STR("limit")));
    assert_true(str_eq(nearest("volme"), STR("volume")));
    assert_true(str_eq(nearest("timeout"), STR("timeout_ms"))); /* half of a name is near */
    assert_null(nearest("ti").p);
}

static void test_nearest_keeps_quiet_about_strangers(void **state)
{
    (void)state;
    assert_null(nearest("").p);
    assert_null(nearest("x").p);
    assert_null(nearest("banana").p);
    assert_null(nearest("zz").p);
    assert_null(str_nearest(STR("limit"), NULL, 0).p);
    char long_name[200];
    memset(long_name, 'a', sizeof long_name);
    struct str many = {long_name, sizeof long_name};
    assert_null(str_nearest(many, &many, 1).p);
    assert_null(str_nearest(STR("aaaa"), &many, 1).p);
}

static void test_nearest_prefers_the_nearer_then_the_first(void **state)
{
    (void)state;
    const struct str names[] = {STR("abcdXX"), STR("abcdeX"), STR("abcdeY")};
    assert_true(str_eq(str_nearest(STR("abcdef"), names, 3), STR("abcdeX")));
}

static void test_durations_in_every_unit(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"610ms", 610},    {"10s", 10000},
                {"15m", 900000},   {"72h", 259200000},
                {"2d", 172800000}, {"250", 250},
                {"0", 0},          {"106751991167d", INT64_C(9223372036828800000)}};
    for (size_t k = 0; k < COUNT(good); k++) {
        int64_t ms = -1;
        assert_true(str_to_duration_ms(str_from(good[k].text), &ms));
        assert_true(ms == good[k].ms);
    }
}

static void test_what_is_no_duration_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",   "s",  "-1s",  "1.5s",          "1 s",
                         "1S", "1w", "1msx", "106751991168d", "99999999999999999999"};
    for (size_t k = 0; k < COUNT(bad); k++) {
        int64_t ms = 42;
        assert_false(str_to_duration_ms(str_from(bad[k]), &ms));
        assert_int_equal(ms, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparison_ignores_case_only_for_ascii_letters),
        cmocka_unit_test(test_starts_with_prefix),
        cmocka_unit_test(test_hash_is_stable_and_spreads),
        cmocka_unit_test(test_integers_up_to_both_ends),
        cmocka_unit_test(test_what_is_no_integer_is_refused_and_leaves_the_result),
        cmocka_unit_test(test_numbers_read_as_strtod_does),
        cmocka_unit_test(test_what_is_no_number_is_refused_and_leaves_the_result),
        cmocka_unit_test(test_number_span_stops_where_the_grammar_does),
        cmocka_unit_test(test_utf8_accepts_every_length_at_its_ends),
        cmocka_unit_test(test_utf8_refuses_overlong_surrogates_and_cut_sequences),
        cmocka_unit_test(test_nearest_suggests_slips_of_the_finger),
        cmocka_unit_test(test_nearest_keeps_quiet_about_strangers),
        cmocka_unit_test(test_nearest_prefers_the_nearer_then_the_first),
        cmocka_unit_test(test_durations_in_every_unit),
        cmocka_unit_test(test_what_is_no_duration_is_refused),
    };
    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
