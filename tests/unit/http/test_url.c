/* SPDX-License-Identifier: MIT */
/* Escapes, queries, authorities, absolute URLs. */
#include "http/url.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static int arena_setup(void **state)
{
    *state = arena_new(0);
    return 0;
}

static int arena_teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static void assert_decodes(struct arena *a, const char *in, bool plus, const char *expected)
{
    struct str out;
    assert_true(http_url_decode(a, str_from(in), plus, &out));
    assert_int_equal(out.n, strlen(expected));
    assert_memory_equal(out.p, expected, out.n);
}

static void escapes_are_decoded_and_plus_only_where_asked(void **state)
{
    assert_decodes(*state, "plain", false, "plain");
    assert_decodes(*state, "a%20b%2Fc%2f", false, "a b/c/");
    assert_decodes(*state, "%C3%A4", false, "\xc3\xa4");
    assert_decodes(*state, "a+b", false, "a+b");
    assert_decodes(*state, "a+b%2B", true, "a b+");
    assert_decodes(*state, "", true, "");
}

static void bad_escapes_nul_and_broken_utf8_are_refused_and_leave_the_result(void **state)
{
    const char *const bad[] = {"%",   "%4",  "a%4", "%zz",  "%4g",
                               "%00", "%C3", "%FF", "\xff", "%ED%A0%80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct str out = STR("untouched");
        assert_false(http_url_decode(*state, str_from(bad[i]), false, &out));
        assert_true(str_eq(out, STR("untouched")));
    }
    struct str out;
    assert_false(http_url_decode(*state, STR("a\0b"), false, &out));
    assert_false(http_url_decode(*state, STR("a\0%20"), false, &out));
}

static void queries_are_walked_in_order_with_empty_parts_passed_over(void **state)
{
    struct str query = STR("&a=1&&b&c==x&=v&d="), name, value;
    const char *const expected[][2] = {{"a", "1"}, {"b", ""}, {"c", "=x"}, {"", "v"}, {"d", ""}};
    size_t pos = 0;
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_true(http_query_next(query, &pos, &name, &value));
        assert_true(str_eq(name, str_from(expected[i][0])));
        assert_true(str_eq(value, str_from(expected[i][1])));
    }
    assert_false(http_query_next(query, &pos, &name, &value));
}

static void a_parameter_is_found_by_its_decoded_name(void **state)
{
    struct str value;
    assert_true(http_query_find(*state, STR("x=1&na%6De=J%C3%B6rg+B&name=2"), STR("name"), &value));
    assert_true(str_eq(value, STR("J\xc3\xb6rg B")));
    assert_false(http_query_find(*state, STR("x=1"), STR("y"), &value));
    assert_false(http_query_find(*state, STR("y=%zz"), STR("y"), &value));
    assert_false(http_query_find(*state, STR(""), STR("y"), &value));
}

static void authorities(void **state)
{
    const char *const good[] = {"localhost", "a.b-c.de:8080", "127.0.0.1:0", "x:65535",
                                "[::1]",     "[fe80::1]:80",  "a_b%20c",     "A"};
    const char *const bad[] = {"",    ":80",   "a:",  "a:65536", "a:080000", "a:-1",   "a:8x",
                               "a b", "a/b",   "u@h", "[::1",    "[::1]x",   "[zz]",   "[]",
                               "::1", "a,b:c", "a%2", "a\"b",    "a<",       "a:80:1", "\xc3\xa4"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(http_authority_is_valid(str_from(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(http_authority_is_valid(str_from(bad[i])));
    assert_false(
        http_authority_is_valid(STR("[::1\0.1]:80"))); /* no end for C, but one for others */
}

static void urls_are_split_with_defaults(void **state)
{
    struct str host, target;
    int port;
    (void)state;
    assert_true(http_url_split(STR("http://payment/payments?x=1"), &host, &port, &target));
    assert_true(str_eq(host, STR("payment")) && port == 80);
    assert_true(str_eq(target, STR("/payments?x=1")));
    assert_true(http_url_split(STR("HTTP://[::1]:8080"), &host, &port, &target));
    assert_true(str_eq(host, STR("::1")) && port == 8080 && str_eq(target, STR("/")));
    assert_true(http_url_split(STR("http://h?q"), &host, &port, &target));
    assert_true(str_eq(target, STR("?q")));
}

static void other_urls_are_refused_and_leave_the_results(void **state)
{
    const char *const bad[] = {"",           "http://",       "https://h/",     "/x",
                               "http:///x",  "http://u@h/",   "http://h:x/",    "http://h/a b",
                               "http://h/#", "http://h/\r\n", "http://h:99999", "ftp://h/"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct str host = STR("h0"), target = STR("t0");
        int port = 7;
        assert_false(http_url_split(str_from(bad[i]), &host, &port, &target));
        assert_true(str_eq(host, STR("h0")) && port == 7 && str_eq(target, STR("t0")));
    }
}

static void dots_are_found_however_they_are_written(void **state)
{
    static const char *const dotted[] = {
        "/..",     "/.",        "/a/../b",   "/a/./b",    "/a/%2e%2E", "/a/.%2e/b", "/a/..%2fb",
        "/a%2F..", "/a/..;x/b", "/a/%2e;/b", "/a\\..\\b", "/a/..%5cb", "..",        "/a/..%3bx/b"};
    static const char *const plain[] = {"/",        "",          "/a/.b",       "/a/...", "/a/b..",
                                        "/a/..b/c", "/a/%2e%00", "/a/;../b",    "/a/%2",  "/a//b",
                                        "/a/;..",   "/a.b/c.d",  "/a/%252e%2e", "*"};
    (void)state;
    for (size_t i = 0; i < sizeof(dotted) / sizeof(*dotted); i++)
        if (!http_path_has_dots(str_from(dotted[i])))
            fail_msg("%s has dots", dotted[i]);
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        if (http_path_has_dots(str_from(plain[i])))
            fail_msg("%s has none", plain[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_are_decoded_and_plus_only_where_asked),
        cmocka_unit_test(bad_escapes_nul_and_broken_utf8_are_refused_and_leave_the_result),
        cmocka_unit_test(queries_are_walked_in_order_with_empty_parts_passed_over),
        cmocka_unit_test(a_parameter_is_found_by_its_decoded_name),
        cmocka_unit_test(authorities),
        cmocka_unit_test(urls_are_split_with_defaults),
        cmocka_unit_test(other_urls_are_refused_and_leave_the_results),
        cmocka_unit_test(dots_are_found_however_they_are_written),
    };
    return cmocka_run_group_tests_name("http/url", tests, arena_setup, arena_teardown);
}
