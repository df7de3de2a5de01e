/* SPDX-License-Identifier: MIT */
/* What holds for any message: names and legal characters. */
#include "http/message.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void header_names_are_found_without_case_and_the_first_wins(void **state)
{
    struct http_header headers[] = {
        {STR("Accept"), STR("a")}, {STR("X-One"), STR("1")}, {STR("x-one"), STR("2")}};
    struct http_request r = {.headers = headers, .header_count = 3};
    (void)state;
    assert_true(str_eq(http_header_find(&r, STR("X-ONE")), STR("1")));
    assert_true(str_eq(http_header_find(&r, STR("accept")), STR("a")));
}

static void an_absent_header_is_told_from_an_empty_one(void **state)
{
    struct http_header headers[] = {{STR("X-Empty"), STR("")}};
    struct http_request r = {.headers = headers, .header_count = 1};
    (void)state;
    assert_non_null(http_header_find(&r, STR("x-empty")).p);
    assert_null(http_header_find(&r, STR("x-none")).p);
}

static void methods_are_case_sensitive_and_unknown_ones_are_other(void **state)
{
    (void)state;
    for (int m = HTTP_GET_; m < HTTP_OTHER_; m++) {
        struct str name = str_from(http_method_text((enum http_method)m));
        assert_int_equal(http_method_from(name), m);
    }
    assert_int_equal(http_method_from(STR("get")), HTTP_OTHER_);
    assert_int_equal(http_method_from(STR("")), HTTP_OTHER_);
    assert_int_equal(http_method_from(STR("GETS")), HTTP_OTHER_);
}

static void reasons_are_known_for_every_status_the_host_answers(void **state)
{
    const int statuses[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 412,
                            413, 414, 415, 417, 422, 431, 500, 501, 502, 503, 504, 505, 507};
    (void)state;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        assert_true(strlen(http_reason(statuses[i])) > 0);
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(299), "");
}

static void values_refuse_every_control_byte_but_tab(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool legal = c == '\t' || (c >= 0x20 && c != 0x7f);
        assert_int_equal(http_value_is_valid((struct str){&byte, 1}), legal);
    }
    assert_true(http_value_is_valid(STR("")));
    assert_false(http_value_is_valid(STR("a\r\nSet-Cookie: b")));
}

static void tokens_are_not_empty_and_hold_no_separators(void **state)
{
    (void)state;
    assert_true(http_token_is_valid(STR("X-Correlation-Id")));
    assert_true(http_token_is_valid(STR("!#$%&'*+-.^_`|~09azAZ")));
    assert_false(http_token_is_valid(STR("")));
    assert_false(http_token_is_valid(STR("a b")));
    assert_false(http_token_is_valid(STR("a:")));
    assert_false(http_token_is_valid(STR("a\0b")));
    assert_false(http_token_is_valid(STR("\xc3\xa4")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_names_are_found_without_case_and_the_first_wins),
        cmocka_unit_test(an_absent_header_is_told_from_an_empty_one),
        cmocka_unit_test(methods_are_case_sensitive_and_unknown_ones_are_other),
        cmocka_unit_test(reasons_are_known_for_every_status_the_host_answers),
        cmocka_unit_test(values_refuse_every_control_byte_but_tab),
        cmocka_unit_test(tokens_are_not_empty_and_hold_no_separators),
    };
    return cmocka_run_group_tests_name("http/message", tests, NULL, NULL);
}
