/* SPDX-License-Identifier: MIT */
/* What clients may send for each declared type, what is stored for it, and how it looks on the way
 * out. */
#include "base/field.h"

#include <math.h>
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

struct fixture {
    struct arena *arena;
    struct value v;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *x = xcalloc(1, sizeof *x);
    x->arena = arena_new(0);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    arena_free(x->arena);
    free(x);
    return 0;
}

static const struct field integer = {.type = FIELD_INTEGER}, number = {.type = FIELD_NUMBER},
                          amount = {.type = FIELD_DECIMAL, .scale = 2}, text = {.type = FIELD_TEXT},
                          boolean = {.type = FIELD_BOOLEAN}, timestamp = {.type = FIELD_TIMESTAMP},
                          document = {.type = FIELD_JSON};

static int convert(struct fixture *x, const struct field *f, const char *sent)
{
    struct json j;
    assert_int_equal(json_parse(x->arena, str_from(sent), 8, &j, NULL), 0);
    x->err = (struct err){0};
    x->v = VALUE_NONE;
    return field_from_json(f, &j, x->arena, &x->v, &x->err);
}

/* Sent, then read again. */
static void assert_stored(struct fixture *x, const struct field *f, const char *sent,
                          const char *shown)
{
    struct buf b = BUF_INIT;
    assert_int_equal(convert(x, f, sent), 0);
    field_write_json(&b, f, &x->v);
    assert_string_equal(buf_str(&b).p, shown);
    buf_deinit(&b);
}

static void assert_refused(struct fixture *x, const struct field *f, const char *sent,
                           const char *message)
{
    assert_int_equal(convert(x, f, sent), -1);
    assert_int_equal(x->err.code, ERR_INVALID);
    assert_string_equal(x->err.message, message);
    assert_int_equal(x->v.type, VALUE_NULL);
}

static void test_null_is_null_for_every_type(void **state)
{
    const struct field *all[] = {&integer, &number,    &amount,  &text,
                                 &boolean, &timestamp, &document};
    for (size_t k = 0; k < COUNT(all); k++) {
        assert_stored(*state, all[k], "null", "null");
        assert_int_equal(((struct fixture *)*state)->v.type, VALUE_NULL);
    }
}

static void test_empty_text_is_null_except_for_text(void **state)
{
    const struct field *nulls[] = {&integer, &number, &amount, &boolean, &timestamp};
    for (size_t k = 0; k < COUNT(nulls); k++)
        assert_stored(*state, nulls[k], "\"\"", "null");
    assert_stored(*state, &text, "\"\"", "\"\"");
    assert_stored(*state, &document, "\"\"", "\"\"");
}

static void test_integers(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &integer, "42", "42");
    assert_stored(x, &integer, "2.0", "2");
    assert_stored(x, &integer, "1.5e1", "15");
    assert_stored(x, &integer, "-0", "0");
    assert_stored(x, &integer, "\"-17\"", "-17");
    assert_stored(x, &integer, "\"2.00\"", "2");
    assert_stored(x, &integer, "9223372036854775807", "9223372036854775807");
    assert_stored(x, &integer, "-9223372036854775808", "-9223372036854775808");
    assert_stored(x, &integer, "9007199254740993.0", "9007199254740993"); /* not through a double */
    assert_stored(x, &integer, "0e999999", "0");
    assert_int_equal(x->v.type, VALUE_INT);
}

static void test_integers_refused(void **state)
{
    struct fixture *x = *state;
    assert_refused(x, &integer, "\"x\"", "expected an integer, got \"x\"");
    assert_refused(x, &integer, "1.5", "expected an integer, got 1.5");
    assert_refused(x, &integer, "1e-1", "expected an integer, got 1e-1");
    assert_refused(x, &integer, "true", "expected an integer, got true");
    assert_refused(x, &integer, "[1]", "expected an integer, got a list");
    assert_refused(x, &integer, "{\"a\":1}", "expected an integer, got an object");
    assert_refused(x, &integer, "\" 1\"", "expected an integer, got \" 1\"");
    assert_refused(x, &integer, "9223372036854775808", "is outside the range of integers");
    assert_refused(x, &integer, "-9223372036854775809", "is outside the range of integers");
    assert_refused(x, &integer, "1e300", "is outside the range of integers");
    assert_refused(x, &integer, "\"99999999999999999999\"", "is outside the range of integers");
}

static void test_long_texts_are_not_repeated_in_messages(void **state)
{
    char sent[300];
    memset(sent, 'x', sizeof sent);
    sent[0] = sent[298] = '"';
    sent[299] = '\0';
    assert_refused(*state, &integer, sent, "expected an integer, got a longer text");
    memset(sent, '1', sizeof sent);
    memcpy(sent, "1.", 2);
    sent[299] = '\0';
    assert_refused(*state, &integer, sent, "expected an integer, got a longer number");
}

static void test_numbers(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &number, "25000", "25000.0");
    assert_stored(x, &number, "0.1", "0.1");
    assert_stored(x, &number, "\"1e3\"", "1000.0");
    assert_stored(x, &number, "123456789012345678901", "1.2345678901234568E20");
    assert_int_equal(x->v.type, VALUE_NUMBER);
    assert_refused(x, &number, "\"1,5\"", "expected a number, got \"1,5\"");
    assert_refused(x, &number, "\"NaN\"", "expected a number, got \"NaN\"");
    assert_refused(x, &number, "\"1e999\"", "expected a number, got \"1e999\"");
    assert_refused(x, &number, "false", "expected a number, got false");
    struct buf b = BUF_INIT;
    struct value whole = value_int(7); /* as a database may hand it back */
    field_write_json(&b, &number, &whole);
    assert_string_equal(buf_str(&b).p, "7.0");
    buf_deinit(&b);
}

static void test_decimals_keep_their_digits_and_round_half_away_from_zero(void **state)
{
    const struct {
        const char *sent, *shown;
    } cases[] = {{"1", "1.00"},
                 {"1.5", "1.50"},
                 {"-0.05", "-0.05"},
                 {"0", "0.00"},
                 {"1.005", "1.01"},
                 {"-1.005", "-1.01"},
                 {"1.00499999999999999999999", "1.00"},
                 {"0.005", "0.01"},
                 {"-0.005", "-0.01"},
                 {"0.0049", "0.00"},
                 {"0.0005", "0.00"},
                 {"1e3", "1000.00"},
                 {"12345e-3", "12.35"},
                 {"5e-3", "0.01"},
                 {"5e-4", "0.00"},
                 {"1.2345E+2", "123.45"},
                 {"\"19.99\"", "19.99"},
                 {"9999999999999.99", "9999999999999.99"},
                 {"-9999999999999.99", "-9999999999999.99"},
                 {"0.00e500", "0.00"},
                 {"1e-99999999999999999999", "0.00"},
                 {"8.335", "8.34"},
                 {"-0", "0.00"},
                 {"0.995", "1.00"}};
    for (size_t k = 0; k < COUNT(cases); k++)
        assert_stored(*state, &amount, cases[k].sent, cases[k].shown);
    struct field whole = {.type = FIELD_DECIMAL, .scale = 0},
                 nine = {.type = FIELD_DECIMAL, .scale = 9};
    assert_stored(*state, &whole, "2.5", "3");
    assert_stored(*state, &nine, "-123456.7890123455", "-123456.789012346");
}

static void test_decimals_refused(void **state)
{
    assert_refused(*state, &amount, "10000000000000.00", "has more than 15 significant digits");
    assert_refused(*state, &amount, "9999999999999.995", "has more than 15 significant digits");
    assert_refused(*state, &amount, "1e300", "has more than 15 significant digits");
    assert_refused(*state, &amount, "9223372036854775807", "has more than 15 significant digits");
    assert_refused(*state, &amount, "\"abc\"", "expected a number, got \"abc\"");
    assert_refused(*state, &amount, "[]", "expected a number, got a list");
}

static void test_decimals_from_and_to_doubles(void **state)
{
    (void)state;
    const struct {
        double n;
        int64_t scaled;
    } cases[] = {{1.005, 101},
                 {-1.005, -101},
                 {0.1 + 0.2, 30},
                 {19.99, 1999},
                 {1e10, INT64_C(1000000000000)},
                 {-0.0, 0},
                 {8.335, 834},
                 {1e-300, 0},
                 {9999999999999.99, INT64_C(999999999999999)}};
    for (size_t k = 0; k < COUNT(cases); k++) {
        int64_t scaled = -1;
        assert_true(field_decimal_from_number(&amount, cases[k].n, &scaled));
        assert_int_equal(scaled, cases[k].scaled);
    }
    const double bad[] = {NAN, INFINITY, -INFINITY, 1e13, -1e13, 1e300, 9999999999999.996};
    for (size_t k = 0; k < COUNT(bad); k++) {
        int64_t scaled = 42;
        assert_false(field_decimal_from_number(&amount, bad[k], &scaled));
        assert_int_equal(scaled, 42);
    }
    assert_true(field_decimal_to_number(&amount, 1999) == 19.99);
}

static void test_every_amount_survives_the_way_through_a_double(void **state)
{
    (void)state;
    for (int64_t scaled = -999999999999999; scaled < 999999999999999;
         scaled += INT64_C(19999999999)) {
        int64_t back;
        assert_true(
            field_decimal_from_number(&amount, field_decimal_to_number(&amount, scaled), &back));
        assert_int_equal(back, scaled);
    }
}

static void test_text(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &text, "\"caf\xC3\xA9 \\\"q\\\"\"", "\"caf\xC3\xA9 \\\"q\\\"\"");
    assert_stored(x, &text, "1.50", "\"1.50\""); /* as it was spelled */
    assert_stored(x, &text, "12345678901234567890123", "\"12345678901234567890123\"");
    assert_stored(x, &text, "true", "\"true\"");
    assert_stored(x, &text, "\"null\"", "\"null\"");
    assert_refused(x, &text, "[\"a\"]", "expected text, got a list");
    assert_refused(x, &text, "{}", "expected text, got an object");
}

static void test_text_is_copied(void **state)
{
    struct fixture *x = *state;
    char sent[] = "\"hello\"";
    assert_int_equal(convert(x, &text, sent), 0);
    memset(sent, 'X', sizeof sent);
    assert_true(str_eq(x->v.s, STR("hello")));
    assert_int_equal(x->v.s.p[5], 0);
}

static void test_text_built_by_scripts_is_checked_too(void **state)
{
    struct fixture *x = *state;
    struct json nul = {.type = JSON_TEXT, .s = {"a\0b", 3}},
                bytes = {.type = JSON_TEXT, .s = STR("\xFF")};
    struct json number_only = {.type = JSON_NUMBER, .n = 2.5};
    assert_int_equal(field_from_json(&text, &nul, x->arena, &x->v, &x->err), -1);
    assert_string_equal(x->err.message, "must not contain NUL");
    assert_int_equal(field_from_json(&text, &bytes, x->arena, &x->v, &x->err), -1);
    assert_string_equal(x->err.message, "is not valid UTF-8");
    assert_int_equal(field_from_json(&text, &number_only, x->arena, &x->v, &x->err), 0);
    assert_true(str_eq(x->v.s, STR("2.5")));
    assert_int_equal(field_from_json(&amount, &number_only, x->arena, &x->v, &x->err), 0);
    assert_int_equal(x->v.i, 250);
    number_only.n = NAN;
    assert_int_equal(field_from_json(&integer, &number_only, x->arena, &x->v, &x->err), -1);
    assert_int_equal(field_from_json(&number, &number_only, x->arena, &x->v, &x->err), -1);
}

static void test_booleans(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &boolean, "true", "true");
    assert_stored(x, &boolean, "\"false\"", "false");
    assert_int_equal(x->v.type, VALUE_BOOL);
    assert_refused(x, &boolean, "1", "expected true or false, got 1");
    assert_refused(x, &boolean, "\"yes\"", "expected true or false, got \"yes\"");
    struct buf b = BUF_INIT;
    struct value one = value_int(1), zero = value_int(0); /* as a database hands them back */
    field_write_json(&b, &boolean, &one);
    field_write_json(&b, &boolean, &zero);
    assert_string_equal(buf_str(&b).p, "truefalse");
    buf_deinit(&b);
}

static void test_timestamps(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &timestamp, "\"2026-01-01T02:00:00+02:00\"", "\"2026-01-01T00:00:00.000Z\"");
    assert_stored(x, &timestamp, "1767225600001", "\"2026-01-01T00:00:00.001Z\"");
    assert_stored(x, &timestamp, "\"1767225600001\"", "\"2026-01-01T00:00:00.001Z\"");
    assert_stored(x, &timestamp, "1.767225600001E12", "\"2026-01-01T00:00:00.001Z\"");
    assert_stored(x, &timestamp, "-1", "\"1969-12-31T23:59:59.999Z\"");
    assert_refused(x, &timestamp, "\"yesterday\"",
                   "expected an RFC 3339 time or epoch milliseconds, got \"yesterday\"");
    assert_refused(x, &timestamp, "1.5",
                   "expected an RFC 3339 time or epoch milliseconds, got 1.5");
    assert_refused(x, &timestamp, "253402300800000",
                   "expected an RFC 3339 time or epoch milliseconds, got 253402300800000");
    assert_refused(x, &timestamp, "1e300",
                   "expected an RFC 3339 time or epoch milliseconds, got 1e300");
}

static void test_json_is_stored_compactly_and_whole(void **state)
{
    struct fixture *x = *state;
    assert_stored(x, &document, "{ \"a\" : [ 1.50, [], {} ] }", "{\"a\":[1.50,[],{}]}");
    assert_int_equal(x->v.type, VALUE_TEXT);
    assert_stored(x, &document, "\"text\"", "\"text\"");
    assert_stored(x, &document, "12345678901234567890", "12345678901234567890");
}

static void assert_check(const struct field *f, struct value v, const char *message)
{
    struct err err = {0};
    assert_int_equal(field_check(f, &v, &err), message ? -1 : 0);
    if (message)
        assert_string_equal(err.message, message);
}

static void test_required_fields_must_not_be_null(void **state)
{
    (void)state;
    struct field f = {.type = FIELD_TEXT, .required = true, .max_length = 3};
    assert_check(&f, VALUE_NONE, "must not be null");
    assert_check(&f, value_text(STR("")), NULL);
    f.required = false;
    assert_check(&f, VALUE_NONE, NULL);
}

static void test_bounds_are_inclusive_and_in_the_fields_own_unit(void **state)
{
    (void)state;
    struct field f = {
        .type = FIELD_INTEGER, .has_min = true, .min = 1, .has_max = true, .max = 1000000};
    assert_check(&f, value_int(1), NULL);
    assert_check(&f, value_int(0), "must be at least 1");
    assert_check(&f, value_int(1000000), NULL);
    assert_check(&f, value_int(1000001), "must be at most 1000000");
    assert_check(&f, VALUE_NONE, NULL);
    struct field price = {.type = FIELD_DECIMAL, .scale = 2, .has_min = true, .min = 0.05};
    assert_check(&price, value_int(5), NULL);
    assert_check(&price, value_int(4), "must be at least 0.05");
    struct field n = {.type = FIELD_NUMBER, .has_max = true, .max = 0.5};
    assert_check(&n, (struct value){.type = VALUE_NUMBER, .n = 0.5}, NULL);
    assert_check(&n, (struct value){.type = VALUE_NUMBER, .n = 0.51}, "must be at most 0.5");
    assert_check(&n, (struct value){.type = VALUE_NUMBER, .n = NAN}, "must be at most 0.5");
}

static void test_length_counts_characters(void **state)
{
    (void)state;
    struct field f = {.type = FIELD_TEXT, .max_length = 3};
    assert_check(&f, value_text(STR("\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA9")), NULL);
    assert_check(&f, value_text(STR("abcd")), "must be at most 3 characters long");
    f.max_length = 0;
    assert_check(&f, value_text(STR("abcd")), NULL);
}

static void test_every_type_has_its_name(void **state)
{
    (void)state;
    const char *names[] = {"integer", "number", "decimal", "text", "boolean", "timestamp", "json"};
    for (int t = FIELD_INTEGER; t <= FIELD_JSON; t++)
        assert_string_equal(field_type_name((enum field_type)t), names[t]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_null_is_null_for_every_type),
        CASE(test_empty_text_is_null_except_for_text),
        CASE(test_integers),
        CASE(test_integers_refused),
        CASE(test_long_texts_are_not_repeated_in_messages),
        CASE(test_numbers),
        CASE(test_decimals_keep_their_digits_and_round_half_away_from_zero),
        CASE(test_decimals_refused),
        CASE(test_decimals_from_and_to_doubles),
        CASE(test_every_amount_survives_the_way_through_a_double),
        CASE(test_text),
        CASE(test_text_is_copied),
        CASE(test_text_built_by_scripts_is_checked_too),
        CASE(test_booleans),
        CASE(test_timestamps),
        CASE(test_json_is_stored_compactly_and_whole),
        CASE(test_required_fields_must_not_be_null),
        CASE(test_bounds_are_inclusive_and_in_the_fields_own_unit),
        CASE(test_length_counts_characters),
        CASE(test_every_type_has_its_name),
    };
    return cmocka_run_group_tests_name("base/field", tests, NULL, NULL);
}
