/* SPDX-License-Identifier: MIT */
/* Error answers: members, their order, and the media type for an Accept header. */
#include "http/problem.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void all_members_in_order(void **state)
{
    struct buf out = BUF_INIT;
    struct http_problem p = {.status = 404,
                             .code = STR("not_found"),
                             .message = STR("no \"x\" here"),
                             .path = STR("/x"),
                             .correlation_id = STR("abc"),
                             .wall_ms = INT64_C(1767225600000)};
    (void)state;
    http_problem_write(&out, &p);
    assert_string_equal(
        buf_str(&out).p,
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
        "\"detail\":\"no \\\"x\\\" here\",\"code\":\"not_found\",\"correlationId\":\"abc\","
        "\"timestamp\":\"2026-01-01T00:00:00.000+0000\",\"error\":\"Not Found\","
        "\"message\":\"no \\\"x\\\" here\",\"path\":\"/x\"}");
    buf_deinit(&out);
}

static void extra_members_come_last_and_an_empty_message_is_the_title(void **state)
{
    struct buf out = BUF_INIT;
    struct http_problem p = {.status = 400, .code = STR("invalid"), .extra = STR("\"errors\":[]")};
    (void)state;
    http_problem_write(&out, &p);
    assert_non_null(strstr(buf_str(&out).p, "\"detail\":\"Bad Request\""));
    assert_non_null(strstr(buf_str(&out).p, ",\"path\":\"\",\"errors\":[]}"));
    buf_deinit(&out);
}

static void plain_json_only_where_nothing_else_is_accepted(void **state)
{
    const char *const problem[] = {"",
                                   "*/*",
                                   "application/*",
                                   "text/html",
                                   "application/json, */*;q=0.1",
                                   "application/json;q=0",
                                   "application/problem+json, application/json",
                                   "application/hal+json"};
    const char *const plain[] = {"application/json", "Application/JSON;charset=utf-8",
                                 "text/html, application/json;q=0.5", "application/json, */*;q=0",
                                 "application/json , text/plain"};
    (void)state;
    for (size_t i = 0; i < sizeof(problem) / sizeof(problem[0]); i++)
        assert_true(
            str_eq(http_problem_type(str_from(problem[i])), STR("application/problem+json")));
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        assert_true(str_eq(http_problem_type(str_from(plain[i])), STR("application/json")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_members_in_order),
        cmocka_unit_test(extra_members_come_last_and_an_empty_message_is_the_title),
        cmocka_unit_test(plain_json_only_where_nothing_else_is_accepted),
    };
    return cmocka_run_group_tests_name("http/problem", tests, NULL, NULL);
}
