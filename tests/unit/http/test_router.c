/* SPDX-License-Identifier: MIT */
/* Which target serves a path. */
#include "http/router.h"

#include <stdio.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

struct fixture {
    struct http_router *router;
    struct arena *arena;
    struct http_match match;
};

static char list_target, create_target, one_target, search_target, deep_target;

static int setup(void **state)
{
    static struct fixture f; /* cmocka hands it from case to case */
    f.router = http_router_new();
    f.arena = arena_new(0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_router_free(f->router);
    arena_free(f->arena);
    return 0;
}

static void add(struct fixture *f, enum http_method m, const char *pattern, void *target)
{
    struct err err;
    assert_int_equal(http_router_add(f->router, m, str_from(pattern), target, &err), 0);
}

static void *match(struct fixture *f, enum http_method m, const char *path)
{
    memset(&f->match, 0xa5, sizeof(f->match));
    http_router_match(f->router, f->arena, m, str_from(path), &f->match);
    return f->match.target;
}

static void add_orders(struct fixture *f)
{
    add(f, HTTP_GET_, "/orders", &list_target);
    add(f, HTTP_POST_, "/orders", &create_target);
    add(f, HTTP_DELETE_, "/orders/{id}", &one_target);
    add(f, HTTP_GET_, "/orders/search", &search_target);
    add(f, HTTP_PUT_, "/orders/{id}/lines/{line}", &deep_target);
}

static void methods_of_one_path_are_told_apart(void **state)
{
    add_orders(*state);
    assert_ptr_equal(match(*state, HTTP_GET_, "/orders"), &list_target);
    assert_ptr_equal(match(*state, HTTP_POST_, "/orders"), &create_target);
    assert_ptr_equal(match(*state, HTTP_HEAD_, "/orders"), &list_target);
}

static void parameters_are_decoded_in_order(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    assert_ptr_equal(match(f, HTTP_PUT_, "/orders/a%2Fb/lines/%C3%A4"), &deep_target);
    assert_int_equal(f->match.param_count, 2);
    assert_true(str_eq(f->match.params[0], STR("a/b")));
    assert_true(str_eq(f->match.params[1], STR("\xc3\xa4")));
}

static void literals_win_but_hide_only_their_own_methods(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    assert_ptr_equal(match(f, HTTP_GET_, "/orders/search"), &search_target);
    assert_int_equal(f->match.param_count, 0);
    assert_ptr_equal(match(f, HTTP_DELETE_, "/orders/search"), &one_target);
    assert_true(str_eq(f->match.params[0], STR("search")));
    assert_null(match(f, HTTP_POST_, "/orders/search"));
    assert_string_equal(f->match.allow, "GET, HEAD, DELETE, OPTIONS");
}

static void a_literal_that_leads_nowhere_gives_way_to_the_parameter(void **state)
{
    struct fixture *f = *state;
    add(f, HTTP_GET_, "/a/b/c", &list_target);
    add(f, HTTP_GET_, "/{x}/b/d", &one_target);
    assert_ptr_equal(match(f, HTTP_GET_, "/a/b/d"), &one_target);
    assert_int_equal(f->match.param_count, 1);
    assert_true(str_eq(f->match.params[0], STR("a")));
}

static void one_trailing_slash_is_ignored_and_empty_segments_match_nothing(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    add(f, HTTP_GET_, "/", &deep_target);
    assert_ptr_equal(match(f, HTTP_GET_, "/orders/"), &list_target);
    assert_ptr_equal(match(f, HTTP_GET_, "/"), &deep_target);
    assert_null(match(f, HTTP_DELETE_, "/orders//"));
    assert_null(match(f, HTTP_GET_, "//orders"));
    assert_false(f->match.path_known);
    assert_null(match(f, HTTP_GET_, "//"));
}

static void paths_are_case_sensitive_and_compared_decoded(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    assert_null(match(f, HTTP_GET_, "/Orders"));
    assert_false(f->match.path_known);
    assert_ptr_equal(match(f, HTTP_GET_, "/%6Frders"), &list_target);
}

static void another_method_is_told_by_allow_and_options_too(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    assert_null(match(f, HTTP_PATCH_, "/orders"));
    assert_true(f->match.path_known);
    assert_string_equal(f->match.allow, "GET, HEAD, POST, OPTIONS");
    assert_null(match(f, HTTP_OPTIONS_, "/orders/7"));
    assert_true(f->match.path_known);
    assert_string_equal(f->match.allow, "DELETE, OPTIONS");
    assert_null(match(f, HTTP_OTHER_, "/orders"));
    assert_true(f->match.path_known);
    assert_int_equal(f->match.param_count, 0);
}

static void head_of_its_own_goes_before_get(void **state)
{
    add_orders(*state);
    add(*state, HTTP_HEAD_, "/orders", &one_target);
    assert_ptr_equal(match(*state, HTTP_HEAD_, "/orders"), &one_target);
}

static void unknown_undecodable_and_inner_paths_match_nothing(void **state)
{
    struct fixture *f = *state;
    const char *const paths[] = {
        "/x", "/orders/1/lines",    "/orders/%zz", "/orders/%00", "/orders/%ff", "*",
        "",   "/orders/1/lines/2/3"};
    add_orders(f);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_null(match(f, HTTP_DELETE_, paths[i]));
        assert_false(f->match.path_known);
        assert_int_equal(f->match.malformed, strchr(paths[i], '%') != NULL);
    }
}

static void a_path_deeper_than_any_pattern_is_no_match(void **state)
{
    char deep[4001];
    add_orders(*state);
    for (size_t i = 0; i < 4000; i += 2)
        memcpy(deep + i, "/a", 2);
    deep[4000] = '\0';
    assert_null(match(*state, HTTP_GET_, deep));
}

static void bad_patterns_are_config_errors_that_name_the_pattern(void **state)
{
    struct fixture *f = *state;
    const char *const bad[] = {
        "",     "orders", "/orders/", "//",     "/a//b",
        "/{}",  "/{a b}", "/x{a}",    "/{a}x",  "/{1a}",
        "/a?b", "/a#b",   "/a b",     "/a%20b", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        int rc = http_router_add(f->router, HTTP_GET_, str_from(bad[i]), &one_target, &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_non_null(strstr(err.message, bad[i]));
    }
    add(f, HTTP_GET_, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", &one_target);
    assert_ptr_equal(match(f, HTTP_GET_, "/1/2/3/4/5/6/7/8"), &one_target);
    assert_int_equal(f->match.param_count, 8);
}

static void the_same_pattern_twice_is_refused_whatever_its_parameter_is_called(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    add_orders(f);
    assert_int_equal(
        http_router_add(f->router, HTTP_DELETE_, STR("/orders/{key}"), &list_target, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_ptr_equal(match(f, HTTP_DELETE_, "/orders/1"), &one_target);
    assert_int_equal(http_router_add(f->router, HTTP_OTHER_, STR("/z"), &list_target, &err), -1);
}

static void a_sealed_path_is_about_nothing_else(void **state)
{
    struct fixture *f = *state;
    add_orders(f);
    add(f, HTTP_GET_, "/{any}/{id}", &deep_target);
    http_router_seal(f->router, STR("/orders/search"));
    assert_ptr_equal(match(f, HTTP_GET_, "/orders/search"), &search_target);
    assert_null(match(f, HTTP_DELETE_, "/orders/search"));
    assert_true(f->match.path_known);
    assert_string_equal(f->match.allow, "GET, HEAD, OPTIONS");
    assert_ptr_equal(match(f, HTTP_DELETE_, "/orders/7"), &one_target);
    assert_ptr_equal(match(f, HTTP_PUT_, "/orders/search/lines/1"), &deep_target);
    assert_ptr_equal(match(f, HTTP_GET_, "/books/search"), &deep_target);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(methods_of_one_path_are_told_apart),
        CASE(parameters_are_decoded_in_order),
        CASE(literals_win_but_hide_only_their_own_methods),
        CASE(a_literal_that_leads_nowhere_gives_way_to_the_parameter),
        CASE(one_trailing_slash_is_ignored_and_empty_segments_match_nothing),
        CASE(paths_are_case_sensitive_and_compared_decoded),
        CASE(a_sealed_path_is_about_nothing_else),
        CASE(another_method_is_told_by_allow_and_options_too),
        CASE(head_of_its_own_goes_before_get),
        CASE(unknown_undecodable_and_inner_paths_match_nothing),
        CASE(a_path_deeper_than_any_pattern_is_no_match),
        CASE(bad_patterns_are_config_errors_that_name_the_pattern),
        CASE(the_same_pattern_twice_is_refused_whatever_its_parameter_is_called),
    };
    return cmocka_run_group_tests_name("http/router", tests, NULL, NULL);
}
