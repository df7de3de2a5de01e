/* SPDX-License-Identifier: MIT */
/* JSON in both directions: nothing is lost on the way in and out, nothing malformed gets in, and
 * the layout is the one that clients of the original systems know. Documents are parsed from exact
 * heap copies, so that the address sanitizer sees a read past their end. */
#include "base/json.h"

#include <float.h>
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
#define DEPTH 64

struct fixture {
    struct arena *arena;
    char *text; /* the document: results borrow from it */
    struct json j;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->arena = arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_free(f->arena);
    free(f->text);
    free(f);
    return 0;
}

static int parse_bytes(struct fixture *f, const char *text, size_t n)
{
    free(f->text);
    f->text = xmalloc(n);
    memcpy(f->text, text, n);
    f->err = (struct err){0};
    return json_parse(f->arena, (struct str){f->text, n}, DEPTH, &f->j, &f->err);
}

static int parse(struct fixture *f, const char *text)
{
    return parse_bytes(f, text, strlen(text));
}

/* Parses and writes again. */
static void assert_rewritten(struct fixture *f, const char *text, const char *expected)
{
    struct buf b = BUF_INIT;
    assert_int_equal(parse(f, text), 0);
    json_write(&b, &f->j);
    assert_string_equal(buf_str(&b).p, expected);
    buf_deinit(&b);
}

static void assert_refused(struct fixture *f, const char *text, const char *message)
{
    f->j.type = JSON_BOOL;
    assert_int_equal(parse(f, text), -1);
    assert_int_equal(f->err.code, ERR_INVALID);
    assert_string_equal(f->err.message, message);
    assert_int_equal(f->j.type, JSON_BOOL); /* the result is left alone */
}

static void assert_number(double n, const char *expected)
{
    struct buf b = BUF_INIT;
    json_number(&b, n);
    assert_string_equal(buf_str(&b).p, expected);
    buf_deinit(&b);
}

static void test_documents_come_back_as_they_were(void **state)
{
    const char *texts[] = {"null",
                           "true",
                           "false",
                           "0",
                           "-1",
                           "\"\"",
                           "[]",
                           "{}",
                           "[[],{}]",
                           "{\"a\":[1,2.50,{\"b\":null}],\"c\":\"d\"}",
                           "9223372036854775807",
                           "-9223372036854775808",
                           "9223372036854775808",
                           "1.0E10",
                           "0.10",
                           "123456789012345678901234567890",
                           "-0",
                           "-0.0"};
    for (size_t k = 0; k < COUNT(texts); k++)
        assert_rewritten(*state, texts[k], texts[k]);
    assert_rewritten(*state, " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", "{\"a\":[1,2]}");
}

static void test_integers_stay_integers_as_long_as_they_fit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "9223372036854775807"), 0);
    assert_int_equal(f->j.type, JSON_INT);
    assert_true(f->j.i == INT64_MAX);
    assert_int_equal(parse(f, "9223372036854775808"), 0);
    assert_int_equal(f->j.type, JSON_NUMBER);
    assert_true(f->j.n == 9223372036854775808.0);
    assert_true(str_eq(f->j.raw, STR("9223372036854775808")));
    assert_int_equal(parse(f, "1.0"), 0);
    assert_int_equal(f->j.type, JSON_NUMBER);
    assert_int_equal(parse(f, "-0"), 0);
    assert_int_equal(f->j.type, JSON_NUMBER);
    assert_true(f->j.n == 0 && signbit(f->j.n));
}

static void test_members_are_found_and_the_last_duplicate_wins(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"a\":1,\"b\":2,\"a\":3,\"\\u0061\":4,\"c\":5}"), 0);
    assert_int_equal(f->j.count, 3);
    assert_int_equal(json_find(&f->j, STR("a"))->i, 4);
    assert_int_equal(json_find(&f->j, STR("b"))->i, 2);
    assert_int_equal(json_find(&f->j, STR("c"))->i, 5);
    assert_true(str_eq(f->j.names[0], STR("a")));
    assert_null(json_find(&f->j, STR("d")));
    assert_null(json_find(&f->j.items[0], STR("a")));
    assert_null(json_find(NULL, STR("a")));
    assert_rewritten(f, "{\"\":1,\"x\":0,\"\":2}", "{\"\":2,\"x\":0}");
}

static void test_duplicates_in_large_objects_are_dropped_alike(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    buf_addc(&b, '{');
    for (int i = 0; i < 20000; i++)
        buf_addf(&b, "%s\"k%d\":%d", i ? "," : "", i % 5000, i);
    buf_addc(&b, '}');
    assert_int_equal(parse_bytes(f, b.p, b.n), 0);
    buf_deinit(&b);
    assert_int_equal(f->j.count, 5000);
    for (int i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%d", i);
        assert_true(str_eq(f->j.names[i], str_from(name)));
        assert_int_equal(f->j.items[i].i, 15000 + i);
    }
}

static void test_text_escapes_are_understood(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        parse(f,
              "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\uD83D\\uDE00 plain to the end\""),
        0);
    assert_true(str_eq(
        f->j.s, STR("\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 plain to the end")));
    assert_int_equal(parse(f, "\"\\uDBFF\\uDFFF\\uFFFF\\uE000\""), 0);
    assert_true(str_eq(f->j.s, STR("\xF4\x8F\xBF\xBF\xEF\xBF\xBF\xEE\x80\x80")));
}

static void test_text_without_escapes_is_borrowed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "\"a longer text than a word of the machine\""), 0);
    assert_ptr_equal(f->j.s.p, f->text + 1);
    assert_int_equal(f->j.s.n, strlen("a longer text than a word of the machine"));
}

static void test_marks_are_found_at_every_place_in_text(void **state)
{
    struct fixture *f = *state;
    const char marks[] = {'"', '\\', '\x1F', '\n', '\x01'};
    for (size_t at = 0; at < 20; at++) {
        for (size_t k = 0; k < COUNT(marks); k++) {
            char text[32] = "\"\xC3\xBF\x7F !#[]^~\xC3\xBFxxxxxxxxxxxxxxxx";
            memset(text + 14, 'y', 16);
            text[30] = '"';
            memset(text + 1, ' ', 13);
            assert_int_equal(parse_bytes(f, text, 31), 0);
            assert_int_equal(f->j.s.n, 29);
            text[1 + at] = marks[k];
            assert_int_equal(parse_bytes(f, text, 31), -1);
        }
    }
}

static void test_what_is_malformed_is_refused_with_its_place(void **state)
{
    const struct {
        const char *text, *message;
    } bad[] = {
        {"", "line 1, column 1: expected a value, got the end"},
        {"  ", "line 1, column 3: expected a value, got the end"},
        {"{\"id\":1,\"qty\":2 x", "line 1, column 17: expected ',' or '}' after an object member"},
        {"{\n  \"a\": [1 2]}", "line 2, column 11: expected ',' or ']' after a list item"},
        {"{\"a\" 1}", "line 1, column 6: expected ':' after a member name"},
        {"{a:1}", "line 1, column 2: expected a member name in quotes"},
        {"{\"a\":1,}", "line 1, column 8: expected a member name in quotes"},
        {"[1,]", "line 1, column 4: expected a value"},
        {"[1", "line 1, column 3: expected ',' or ']' after a list item"},
        {"{", "line 1, column 2: expected a member name in quotes"},
        {"tru", "line 1, column 1: expected a value"},
        {"nul", "line 1, column 1: expected a value"},
        {"NaN", "line 1, column 1: expected a value"},
        {"-", "line 1, column 1: malformed number"},
        {"-x", "line 1, column 1: malformed number"},
        {"01", "line 1, column 2: expected the end of the document"},
        {"1.", "line 1, column 2: expected the end of the document"},
        {"+1", "line 1, column 1: expected a value"},
        {"1e999", "line 1, column 1: number out of range"},
        {"[-1e999]", "line 1, column 2: number out of range"},
        {"1 2", "line 1, column 3: expected the end of the document"},
        {"\"a", "line 1, column 1: text without a closing quote"},
        {"\"a\\", "line 1, column 1: text without a closing quote"},
        {"\"a\\\"", "line 1, column 1: text without a closing quote"},
        {"\"\xC3\xA9\n\"", "line 1, column 3: control character in text"},
        {"\"\\x\"", "line 1, column 3: unknown escape in text"},
        {"\"\\u12\"", "line 1, column 4: expected four hexadecimal digits after \\u"},
        {"\"\\u00g0\"", "line 1, column 4: expected four hexadecimal digits after \\u"},
        {"\"\\u0000\"", "line 1, column 4: \\u0000 is not allowed in text"},
        {"\"\\uD800\"", "line 1, column 8: lone surrogate in text"},
        {"\"\\uD800\\u0041\"", "line 1, column 8: lone surrogate in text"},
        {"\"\\uDC00\\uD800\"", "line 1, column 8: lone surrogate in text"},
        {"{\"a\":\"\xFF\"}", "line 1, column 7: not UTF-8"},
        {"\xEF\xBB\xBF{}", "line 1, column 1: expected a value"},
        {"// x\n1", "line 1, column 1: expected a value"},
        {"['a']", "line 1, column 2: expected a value"},
    };
    for (size_t k = 0; k < COUNT(bad); k++)
        assert_refused(*state, bad[k].text, bad[k].message);
}

static void test_a_raw_nul_is_refused_wherever_it_stands(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse_bytes(f, "\0", 1), -1);
    assert_int_equal(parse_bytes(f, "1\0", 2), -1);
    assert_int_equal(parse_bytes(f, "\"a\0\"", 4), -1);
    assert_int_equal(parse_bytes(f, "\"\\\0\"", 4), -1);
    assert_int_equal(parse_bytes(f, "[\0]", 3), -1);
}

static void test_every_prefix_of_a_document_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *text =
        "{\"a\\u00e9\\n\":[1.5e3,true,null,{\"b\":\"\xE2\x82\xAC\\uD83D\\uDE00\"}],\"c\":false}";
    assert_int_equal(parse(f, text), 0);
    for (size_t n = 0; n < strlen(text); n++)
        assert_int_equal(parse_bytes(f, text, n), -1);
}

static void test_depth_is_limited(void **state)
{
    struct fixture *f = *state;
    char text[2 * DEPTH + 3] = "";
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    assert_int_equal(parse_bytes(f, text, 2 * DEPTH), 0);
    memset(text, '[', DEPTH + 1);
    memset(text + DEPTH + 1, ']', DEPTH + 1);
    assert_int_equal(parse_bytes(f, text, 2 * DEPTH + 2), -1);
    assert_string_equal(f->err.message, "line 1, column 65: nested too deeply");
    /* Neighbours do not add up. */
    struct buf b = BUF_INIT;
    buf_lit(&b, "[0");
    for (int i = 0; i < 1000; i++)
        buf_lit(&b, ",[{}]");
    buf_addc(&b, ']');
    assert_int_equal(parse_bytes(f, b.p, b.n), 0);
    assert_int_equal(f->j.count, 1001);
    buf_deinit(&b);
    assert_int_equal(json_parse(f->arena, STR("1"), 0, &f->j, NULL), 0);
    assert_int_equal(json_parse(f->arena, STR("[]"), 0, &f->j, NULL), -1);
}

static void test_text_is_written_with_the_needed_escapes_only(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    json_text(&b, STR("a/b \"q\" \\ \b\f\n\r\t\x01\x1F\x7F \xC3\xA9"));
    assert_string_equal(buf_str(&b).p,
                        "\"a/b \\\"q\\\" \\\\ \\b\\f\\n\\r\\t\\u0001\\u001F\x7F \xC3\xA9\"");
    buf_clear(&b);
    json_text(&b, (struct str){"a\0b", 3});
    json_text(&b, (struct str){NULL, 0});
    assert_string_equal(buf_str(&b).p, "\"a\\u0000b\"\"\"");
    buf_deinit(&b);
}

static void test_what_is_not_utf8_is_written_as_replacement(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    json_text(&b, STR("a\xFF"
                      "b\xE2\x82"
                      "c\"\xC3"));
    assert_string_equal(buf_str(&b).p, "\"a\xEF\xBF\xBD"
                                       "b\xEF\xBF\xBD\xEF\xBF\xBD"
                                       "c\\\"\xEF\xBF\xBD\"");
    assert_int_equal(parse_bytes(f, b.p, b.n), 0);
    buf_deinit(&b);
}

static void test_numbers_have_the_layout_of_java(void **state)
{
    (void)state;
    const struct {
        double n;
        const char *text;
    } cases[] = {{25000, "25000.0"},
                 {1e10, "1.0E10"},
                 {1e-5, "1.0E-5"},
                 {1.234e-5, "1.234E-5"},
                 {0, "0.0"},
                 {-0.0, "-0.0"},
                 {1, "1.0"},
                 {-1.5, "-1.5"},
                 {0.1, "0.1"},
                 {0.001, "0.001"},
                 {0.00099, "9.9E-4"},
                 {9999999, "9999999.0"},
                 {1e7, "1.0E7"},
                 {12345678.9, "1.23456789E7"},
                 {100.25, "100.25"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {2.0 / 3, "0.6666666666666666"},
                 {-123456.7890123, "-123456.7890123"},
                 {1234567.1234567, "1234567.1234567"},
                 {DBL_MAX, "1.7976931348623157E308"},
                 {DBL_MIN, "2.2250738585072014E-308"},
                 {5e-324, "5.0E-324"},
                 {123456789012345680.0, "1.2345678901234568E17"},
                 {9007199254740993.0, "9.007199254740992E15"},
                 {0.0123456789, "0.0123456789"},
                 {3.0000001, "3.0000001"},
                 {0.000001, "1.0E-6"},
                 {NAN, "null"},
                 {INFINITY, "null"},
                 {-INFINITY, "null"}};
    for (size_t k = 0; k < COUNT(cases); k++)
        assert_number(cases[k].n, cases[k].text);
}

static void assert_round_trip(double n)
{
    struct buf b = BUF_INIT;
    double back;
    json_number(&b, n);
    assert_true(str_to_number(buf_str(&b), &back));
    assert_memory_equal(&back, &n, sizeof n);
    assert_non_null(strchr(b.p, '.'));
    buf_deinit(&b);
}

static void test_every_number_reads_back_the_same(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int i = 0; i < 50000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t bits = random ^ random >> 29;
        double n;
        memcpy(&n, &bits, sizeof n);
        if (isfinite(n))
            assert_round_trip(n);
        assert_round_trip((double)(int64_t)(random >> 30) / 1000);
        assert_round_trip((double)(int64_t)(random >> 44) / 1e6);
    }
}

static void test_constructed_documents_are_written_too(void **state)
{
    (void)state;
    struct json items[] = {{.type = JSON_INT, .i = -5},
                           {.type = JSON_NUMBER, .n = 2.5},
                           {.type = JSON_TEXT, .s = STR("x")}};
    struct json list = {.type = JSON_LIST, .items = items, .count = 3};
    struct buf b = BUF_INIT;
    json_write(&b, &list);
    assert_string_equal(buf_str(&b).p, "[-5,2.5,\"x\"]");
    buf_deinit(&b);
}

static void assert_indented(const char *compact, const char *expected)
{
    struct buf b = BUF_INIT;
    char *copy = xmalloc(strlen(compact)); /* without its NUL */
    memcpy(copy, compact, strlen(compact));
    json_indent(&b, (struct str){copy, strlen(compact)});
    assert_string_equal(buf_str(&b).p, expected);
    free(copy);
    buf_deinit(&b);
}

static void test_indentation_is_that_of_the_original_systems(void **state)
{
    (void)state;
    assert_indented("{\"_embedded\":{\"books\":[{\"id\":1,\"tags\":[1,2]},{\"id\":2,\"tags\":[]}]},"
                    "\"page\":{}}",
                    "{\n"
                    "  \"_embedded\" : {\n"
                    "    \"books\" : [ {\n"
                    "      \"id\" : 1,\n"
                    "      \"tags\" : [ 1, 2 ]\n"
                    "    }, {\n"
                    "      \"id\" : 2,\n"
                    "      \"tags\" : [ ]\n"
                    "    } ]\n"
                    "  },\n"
                    "  \"page\" : { }\n"
                    "}");
    assert_indented("[]", "[ ]");
    assert_indented("{}", "{ }");
    assert_indented("[[1],[]]", "[ [ 1 ], [ ] ]");
    assert_indented("12", "12");
    assert_indented("", "");
}

static void test_indentation_leaves_text_alone(void **state)
{
    (void)state;
    assert_indented("{\"a{,\":\"[:\\\"},\\\\\",\"b\":\"\"}",
                    "{\n  \"a{,\" : \"[:\\\"},\\\\\",\n  \"b\" : \"\"\n}");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_documents_come_back_as_they_were),
        CASE(test_integers_stay_integers_as_long_as_they_fit),
        CASE(test_members_are_found_and_the_last_duplicate_wins),
        CASE(test_duplicates_in_large_objects_are_dropped_alike),
        CASE(test_text_escapes_are_understood),
        CASE(test_text_without_escapes_is_borrowed),
        CASE(test_marks_are_found_at_every_place_in_text),
        CASE(test_what_is_malformed_is_refused_with_its_place),
        CASE(test_a_raw_nul_is_refused_wherever_it_stands),
        CASE(test_every_prefix_of_a_document_is_refused),
        CASE(test_depth_is_limited),
        CASE(test_text_is_written_with_the_needed_escapes_only),
        CASE(test_what_is_not_utf8_is_written_as_replacement),
        CASE(test_numbers_have_the_layout_of_java),
        CASE(test_every_number_reads_back_the_same),
        CASE(test_constructed_documents_are_written_too),
        CASE(test_indentation_is_that_of_the_original_systems),
        CASE(test_indentation_leaves_text_alone),
    };
    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
