/* SPDX-License-Identifier: MIT */
/* Exchanges without a connection: what is collected, what is refused, who is told. */
#include "http/answer.h"
#include "http/loopback.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* What the handler saw and what it shall do. */
struct seen {
    struct http_exchange *x; /* of the last request; NULL if none came */
    bool answer_later, gone;
    int calls, status;
};

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;

static void say_gone(struct http_exchange *x)
{
    ((struct seen *)http_exchange_data(x))->gone = true;
}

static void echo(struct http_exchange *x, int status)
{
    const struct http_request *r = http_exchange_request(x);
    struct http_header headers[] = {{STR("X-Method"), r->method_name}, {STR("X-Path"), r->path}};
    http_answer(x, status, STR("text/plain"), headers, 2, r->body);
}

static void handle(void *ctx, struct http_exchange *x)
{
    struct seen *seen = ctx;
    seen->calls++;
    seen->x = x;
    http_exchange_set_data(x, seen);
    http_exchange_on_gone(x, say_gone);
    if (!seen->answer_later)
        echo(x, seen->status > 0 ? seen->status : 200);
}

static struct http_loopback *start(struct seen *seen, const char *method, const char *target,
                                   const char *body)
{
    struct err err;
    struct http_loopback_request r = {
        .method = str_from(method), .target = str_from(target), .body = str_from(body)};
    struct http_loopback *lb = http_loopback_start(&r, &limits, handle, seen, &err);
    assert_non_null(lb);
    return lb;
}

static void assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static void an_answer_given_at_once_is_collected(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct http_loopback_answer a;
    struct http_loopback *lb = start(&seen, "POST", "/orders/1?x=y", "hello");
    assert_true(http_loopback_done(lb));
    http_loopback_answer(lb, &a);
    assert_int_equal(a.status, 200);
    assert_str(a.content_type, "text/plain");
    assert_str(a.body, "hello");
    assert_int_equal(a.header_count, 2);
    assert_str(a.headers[0].value, "POST");
    assert_str(a.headers[1].value, "/orders/1");
    http_loopback_free(lb);
    assert_false(seen.gone);
}

static void an_answer_given_later_is_collected_then(void **state)
{
    (void)state;
    struct seen seen = {.answer_later = true};
    struct http_loopback_answer a;
    struct http_loopback *lb = start(&seen, "GET", "/x", "");
    assert_false(http_loopback_done(lb));
    http_loopback_answer(lb, &a);
    assert_int_equal(a.status, 0);
    echo(seen.x, 404);
    assert_true(http_loopback_done(lb));
    http_loopback_answer(lb, &a);
    assert_int_equal(a.status, 404);
    http_loopback_free(lb);
    assert_false(seen.gone);
}

static void freed_before_the_answer_the_exchange_is_told_and_may_still_answer(void **state)
{
    (void)state;
    struct seen seen = {.answer_later = true};
    http_loopback_free(start(&seen, "GET", "/x", ""));
    assert_true(seen.gone);
    echo(seen.x, 200);
}

static void a_stream_is_collected_to_its_end(void **state)
{
    (void)state;
    struct seen seen = {.answer_later = true};
    struct http_loopback_answer a;
    struct http_loopback *lb = start(&seen, "GET", "/x", "");
    http_stream_begin(seen.x, 200, STR("text/event-stream"), NULL, 0, NULL);
    assert_true(http_stream_write(seen.x, STR("one ")));
    http_loopback_answer(lb, &a);
    assert_str(a.body, "one ");
    assert_false(http_loopback_done(lb));
    assert_true(http_stream_write(seen.x, STR("two")));
    http_stream_end(seen.x);
    assert_true(http_loopback_done(lb));
    http_loopback_answer(lb, &a);
    assert_str(a.body, "one two");
    http_loopback_free(lb);
}

static void head_and_204_have_no_body(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct http_loopback_answer a;
    struct http_loopback *lb = start(&seen, "HEAD", "/x", "");
    http_loopback_answer(lb, &a);
    assert_int_equal(a.body.n, 0);
    http_loopback_free(lb);
    seen.status = 204;
    lb = start(&seen, "POST", "/x", "body");
    http_loopback_answer(lb, &a);
    assert_int_equal(a.body.n, 0);
    http_loopback_free(lb);
}

static void what_a_server_refuses_is_refused_without_the_handler(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct http_loopback_answer a;
    char body[8] = "too long";
    struct http_limits small = HTTP_LIMITS_DEFAULT;
    small.body_bytes = 4;
    struct http_loopback_request r = {
        .method = STR("POST"), .target = STR("/x"), .body = {body, sizeof(body)}};
    struct err err;
    struct http_loopback *lb = http_loopback_start(&r, &small, handle, &seen, &err);
    assert_non_null(lb);
    http_loopback_answer(lb, &a);
    assert_true(http_loopback_done(lb));
    assert_int_equal(a.status, 413);
    assert_int_equal(seen.calls, 0);
    http_loopback_free(lb);
    lb = start(&seen, "GET", "no slash", "");
    http_loopback_answer(lb, &a);
    assert_int_equal(a.status, 400);
    assert_int_equal(seen.calls, 0);
    http_loopback_free(lb);
}

static void a_body_without_end_or_with_more_behind_is_an_error(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct err err;
    struct http_header longer = {STR("Content-Length"), STR("9")};
    struct http_loopback_request r = {.method = STR("POST"),
                                      .target = STR("/x"),
                                      .headers = &longer,
                                      .header_count = 1,
                                      .body = STR("short")};
    assert_null(http_loopback_start(&r, &limits, handle, &seen, &err));
    assert_int_equal(err.code, ERR_INVALID);
    longer.value = STR("0");
    assert_null(http_loopback_start(&r, &limits, handle, &seen, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(seen.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_given_at_once_is_collected),
        cmocka_unit_test(an_answer_given_later_is_collected_then),
        cmocka_unit_test(freed_before_the_answer_the_exchange_is_told_and_may_still_answer),
        cmocka_unit_test(a_stream_is_collected_to_its_end),
        cmocka_unit_test(head_and_204_have_no_body),
        cmocka_unit_test(what_a_server_refuses_is_refused_without_the_handler),
        cmocka_unit_test(a_body_without_end_or_with_more_behind_is_an_error),
    };
    return cmocka_run_group_tests_name("http/loopback", tests, NULL, NULL);
}
