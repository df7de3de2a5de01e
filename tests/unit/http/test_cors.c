/* SPDX-License-Identifier: MIT */
/* What a cross-origin request is told. */
#include "http/cors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct str all[] = {{"*", 1}};
static const struct http_cors open_to_all = {.origins = all,
                                             .origin_count = 1,
                                             .methods = all,
                                             .method_count = 1,
                                             .headers = all,
                                             .header_count = 1,
                                             .credentials = true};

struct asked {
    struct arena *arena;
    struct http_header headers[HTTP_CORS_HEADERS];
    size_t count;
};

static enum http_cors_verdict ask(struct asked *q, const struct http_cors *c,
                                  enum http_method method, struct http_header *sent, size_t n)
{
    struct http_request r = {
        .method = method, .host = STR("shop.example:8088"), .headers = sent, .header_count = n};
    q->arena = arena_new(0);
    return http_cors_judge(c, &r, q->arena, q->headers, &q->count);
}

static void assert_says(struct asked *q, const char *name, const char *value)
{
    for (size_t i = 0; i < q->count; i++)
        if (str_eq(q->headers[i].name, str_from(name))) {
            assert_true(str_eq(q->headers[i].value, str_from(value)));
            return;
        }
    fail_msg("no header %s", name);
}

static void an_origin_is_echoed_with_credentials(void **state)
{
    (void)state;
    struct asked q;
    struct http_header sent[] = {{STR("Origin"), STR("http://other.example")}};
    assert_int_equal(ask(&q, &open_to_all, HTTP_GET_, sent, 1), HTTP_CORS_ALLOWED);
    assert_int_equal(q.count, 3);
    assert_says(&q, "Access-Control-Allow-Origin", "http://other.example");
    assert_says(&q, "Access-Control-Allow-Credentials", "true");
    assert_says(&q, "Vary", "Origin");
    arena_free(q.arena);
}

static void no_origin_or_the_own_one_is_nothing_special(void **state)
{
    (void)state;
    struct asked q;
    struct http_header own[] = {{STR("Origin"), STR("https://SHOP.example:8088")}};
    assert_int_equal(ask(&q, &open_to_all, HTTP_POST_, NULL, 0), HTTP_CORS_NONE);
    assert_int_equal(q.count, 0);
    arena_free(q.arena);
    assert_int_equal(ask(&q, &open_to_all, HTTP_POST_, own, 1), HTTP_CORS_NONE);
    arena_free(q.arena);
}

static void a_preflight_is_told_what_it_asked_for(void **state)
{
    (void)state;
    struct asked q;
    struct http_header sent[] = {{STR("origin"), STR("http://o")},
                                 {STR("access-control-request-method"), STR("PATCH")},
                                 {STR("Access-Control-Request-Headers"), STR("x-a, x-b")}};
    assert_int_equal(ask(&q, &open_to_all, HTTP_OPTIONS_, sent, 3), HTTP_CORS_PREFLIGHT);
    assert_says(&q, "Access-Control-Allow-Methods", "PATCH");
    assert_says(&q, "Access-Control-Allow-Headers", "x-a, x-b");
    assert_says(&q, "Access-Control-Allow-Origin", "http://o");
    assert_says(&q, "Vary",
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    arena_free(q.arena);
}

static void options_without_the_question_is_an_ordinary_request(void **state)
{
    (void)state;
    struct asked q;
    struct http_header sent[] = {{STR("Origin"), STR("http://o")}};
    assert_int_equal(ask(&q, &open_to_all, HTTP_OPTIONS_, sent, 1), HTTP_CORS_ALLOWED);
    arena_free(q.arena);
}

static void lists_refuse_what_they_do_not_name(void **state)
{
    (void)state;
    struct str origins[] = {STR("http://good")}, methods[] = {STR("GET")}, names[] = {STR("X-A")};
    struct str exposed[] = {STR("ETag"), STR("Location")};
    struct http_cors c = {.origins = origins,
                          .origin_count = 1,
                          .methods = methods,
                          .method_count = 1,
                          .headers = names,
                          .header_count = 1,
                          .exposed = exposed,
                          .exposed_count = 2,
                          .max_age_s = 600};
    struct asked q;
    struct http_header bad[] = {{STR("Origin"), STR("http://bad")}};
    assert_int_equal(ask(&q, &c, HTTP_GET_, bad, 1), HTTP_CORS_REFUSED);
    assert_int_equal(q.count, 1);
    assert_says(&q, "Vary", "Origin");
    arena_free(q.arena);
    struct http_header good[] = {{STR("Origin"), STR("http://good")},
                                 {STR("Access-Control-Request-Method"), STR("GET")},
                                 {STR("Access-Control-Request-Headers"), STR("x-a ,, X-A")}};
    assert_int_equal(ask(&q, &c, HTTP_OPTIONS_, good, 3), HTTP_CORS_PREFLIGHT);
    assert_says(&q, "Access-Control-Max-Age", "600");
    arena_free(q.arena);
    good[2].value = STR("x-a, x-b");
    assert_int_equal(ask(&q, &c, HTTP_OPTIONS_, good, 3), HTTP_CORS_REFUSED);
    arena_free(q.arena);
    good[2].value = STR("x-a"), good[1].value = STR("PUT");
    assert_int_equal(ask(&q, &c, HTTP_OPTIONS_, good, 3), HTTP_CORS_REFUSED);
    arena_free(q.arena);
    assert_int_equal(ask(&q, &c, HTTP_GET_, good, 1), HTTP_CORS_ALLOWED);
    assert_says(&q, "Access-Control-Expose-Headers", "ETag, Location");
    arena_free(q.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_echoed_with_credentials),
        cmocka_unit_test(no_origin_or_the_own_one_is_nothing_special),
        cmocka_unit_test(a_preflight_is_told_what_it_asked_for),
        cmocka_unit_test(options_without_the_question_is_an_ordinary_request),
        cmocka_unit_test(lists_refuse_what_they_do_not_name),
    };
    return cmocka_run_group_tests_name("http/cors", tests, NULL, NULL);
}
