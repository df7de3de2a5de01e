/* SPDX-License-Identifier: MIT */
/* Which route of a gateway takes a request, and the path behind it. */
#include "base/buf.h"
#include "http/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct http_gateway *gateway;
    struct arena *arena;
    struct http_gateway_match match;
};

static char first_target, second_target;

static int setup(void **state)
{
    static struct fixture f; /* cmocka hands it from case to case */
    f.gateway = http_gateway_new();
    f.arena = arena_new(0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_gateway_free(f->gateway);
    arena_free(f->arena);
    return 0;
}

static void add_conf(struct fixture *f, struct http_gateway_conf conf)
{
    struct err err;
    if (conf.target == NULL)
        conf.target = &first_target;
    assert_int_equal(http_gateway_add(f->gateway, &conf, &err), 0);
}

static void add(struct fixture *f, const char *path, void *target)
{
    struct str paths[] = {str_from(path)};
    add_conf(f, (struct http_gateway_conf){.paths = paths, .path_count = 1, .target = target});
}

static void *match_request(struct fixture *f, struct http_request r)
{
    http_gateway_match(f->gateway, &r, f->arena, &f->match);
    return f->match.target;
}

static void *match(struct fixture *f, const char *path)
{
    return match_request(f, (struct http_request){.path = str_from(path), .host = STR("h:1")});
}

static void assert_path(struct fixture *f, const char *path, const char *expected)
{
    assert_non_null(match(f, path));
    assert_true(str_eq(f->match.path, str_from(expected)));
}

static void assert_refused(struct fixture *f, struct http_gateway_conf conf, const char *words)
{
    struct err err;
    struct str paths[] = {STR("/x")};
    if (conf.paths == NULL)
        conf.paths = paths, conf.path_count = 1;
    assert_int_equal(http_gateway_add(f->gateway, &conf, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.message, words));
    assert_null(match(f, "/x"));
}

static void stars_at_the_end_serve_everything_below_and_the_place_itself(void **state)
{
    struct fixture *f = *state;
    add(f, "/orders/**", &first_target);
    assert_ptr_equal(match(f, "/orders"), &first_target);
    assert_ptr_equal(match(f, "/orders/"), &first_target);
    assert_ptr_equal(match(f, "/orders/1"), &first_target);
    assert_ptr_equal(match(f, "/orders/1/lines/2"), &first_target);
    assert_null(match(f, "/ordersX"));
    assert_null(match(f, "/Orders/1"));
    assert_null(match(f, "/"));
}

static void a_star_and_a_name_are_one_segment(void **state)
{
    struct fixture *f = *state;
    add(f, "/a/*/c", &first_target);
    add(f, "/b/{id}", &second_target);
    assert_ptr_equal(match(f, "/a/x/c"), &first_target);
    assert_null(match(f, "/a/c"));
    assert_null(match(f, "/a//c"));
    assert_null(match(f, "/a/x/y/c"));
    assert_ptr_equal(match(f, "/b/7"), &second_target);
    assert_ptr_equal(match(f, "/b/7/"), &second_target);
    assert_null(match(f, "/b"));
}

static void stars_in_the_middle_try_every_place(void **state)
{
    struct fixture *f = *state;
    add(f, "/a/**/b/{x}/c", &first_target);
    assert_non_null(match(f, "/a/b/1/c"));
    assert_non_null(match(f, "/a/b/b/b/1/c"));
    assert_non_null(match(f, "/a/p/q/b/1/c"));
    assert_null(match(f, "/a/b/1/c/d"));
    assert_null(match(f, "/b/1/c"));
}

static void a_path_of_many_segments_costs_no_more_than_its_length(void **state)
{
    struct fixture *f = *state;
    char path[4000];
    add(f, "/**/a/**/a/**/a/**/b", &first_target);
    for (size_t i = 0; i + 2 <= sizeof(path); i += 2)
        memcpy(path + i, "/a", 2);
    path[sizeof(path) - 1] = '\0';
    assert_null(match(f, path));
    path[2 * 31] = '\0';
    assert_null(match(f, path));
}

static void the_first_route_that_takes_it_wins(void **state)
{
    struct fixture *f = *state;
    add(f, "/x/special", &first_target);
    add(f, "/x/**", &second_target);
    assert_ptr_equal(match(f, "/x/special"), &first_target);
    assert_ptr_equal(match(f, "/x/other"), &second_target);
}

static void methods_are_asked_for_and_told(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/x")};
    add_conf(f, (struct http_gateway_conf){
                    .paths = paths, .path_count = 1, .methods = 1u << HTTP_GET_ | 1u << HTTP_PUT_});
    struct http_request get = {.method = HTTP_GET_, .path = STR("/x")};
    struct http_request post = {.method = HTTP_POST_, .path = STR("/x")};
    assert_non_null(match_request(f, get));
    assert_null(match_request(f, post));
    assert_int_equal(f->match.allowed, 1u << HTTP_GET_ | 1u << HTTP_PUT_);
}

static void hosts_are_names_without_case_and_port(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/**")}, hosts[] = {STR("shop.example"), STR("**.Example.org")};
    add_conf(f, (struct http_gateway_conf){
                    .paths = paths, .path_count = 1, .hosts = hosts, .host_count = 2});
    struct http_request r = {.path = STR("/x"), .host = STR("SHOP.example:8088")};
    assert_non_null(match_request(f, r));
    r.host = STR("a.b.example.org");
    assert_non_null(match_request(f, r));
    r.host = STR("example.org");
    assert_non_null(match_request(f, r));
    r.host = STR("example.org.evil");
    assert_null(match_request(f, r));
    r.host = STR("badexample.org");
    assert_null(match_request(f, r));
}

static void headers_and_query_are_tested_whole(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/x")};
    struct http_gateway_test tests[] = {{HTTP_GATEWAY_HEADER, STR("X-Version"), STR("v[12]|beta")},
                                        {HTTP_GATEWAY_QUERY, STR("q"), {NULL, 0}}};
    add_conf(f, (struct http_gateway_conf){
                    .paths = paths, .path_count = 1, .tests = tests, .test_count = 2});
    struct http_header header = {STR("x-version"), STR("v2")};
    struct http_request r = {
        .path = STR("/x"), .query = STR("a=1&q="), .headers = &header, .header_count = 1};
    assert_non_null(match_request(f, r));
    header.value = STR("v22");
    assert_null(match_request(f, r));
    header.value = STR("beta");
    assert_non_null(match_request(f, r));
    r.query = STR("a=1");
    assert_null(match_request(f, r));
    r.query = STR("q=1"), r.header_count = 0;
    assert_null(match_request(f, r));
}

static void one_of_several_headers_of_a_name_is_enough(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/x")};
    struct http_gateway_test tests[] = {{HTTP_GATEWAY_HEADER, STR("A"), STR("yes")}};
    add_conf(f, (struct http_gateway_conf){
                    .paths = paths, .path_count = 1, .tests = tests, .test_count = 1});
    struct http_header headers[] = {{STR("a"), STR("no")}, {STR("A"), STR("yes")}};
    struct http_request r = {.path = STR("/x"), .headers = headers, .header_count = 2};
    assert_non_null(match_request(f, r));
}

static void prefixes_are_stripped_and_put_before(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/name/**")};
    add_conf(f, (struct http_gateway_conf){.paths = paths, .path_count = 1, .strip_prefix = 2});
    assert_path(f, "/name/blue/red", "/red");
    assert_path(f, "/name/blue/red/", "/red/");
    assert_path(f, "/name/blue", "/");
    assert_path(f, "/name", "/");
    struct str others[] = {STR("/in/**")};
    add_conf(f, (struct http_gateway_conf){
                    .paths = others, .path_count = 1, .strip_prefix = 1, .prefix_path = STR("/p")});
    assert_path(f, "/in/x", "/p/x");
    assert_path(f, "/in", "/p/");
}

static void a_path_is_rewritten_by_an_expression(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/red/**")}, others[] = {STR("/every/**")};
    add_conf(f, (struct http_gateway_conf){.paths = paths,
                                           .path_count = 1,
                                           .rewrite = STR("^/red/?(.*)$"),
                                           .to = STR("/$1;$$$9x")});
    assert_path(f, "/red/blue/green", "/blue/green;$x");
    assert_path(f, "/red", "/;$x");
    add_conf(f, (struct http_gateway_conf){
                    .paths = others, .path_count = 1, .rewrite = STR("[ae]"), .to = STR("<$0>")});
    assert_path(f, "/every/a", "/<e>v<e>ry/<a>");
}

static void an_expression_that_matches_nothing_at_all_ends(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/**")};
    add_conf(f, (struct http_gateway_conf){
                    .paths = paths, .path_count = 1, .rewrite = STR("z*"), .to = STR("-")});
    assert_path(f, "/ab", "/-/-a-b-");
}

static void a_path_is_set_from_what_the_pattern_named(void **state)
{
    struct fixture *f = *state;
    struct str paths[] = {STR("/c/{customer}/o/{order}")};
    add_conf(f, (struct http_gateway_conf){.paths = paths,
                                           .path_count = 1,
                                           .set_path = STR("/orders/{order}/{nothing}x")});
    assert_path(f, "/c/7/o/9%20", "/orders/9%20/x");
}

static void an_untouched_path_is_not_copied(void **state)
{
    struct fixture *f = *state;
    const char *path = "/orders/1";
    add(f, "/orders/**", &first_target);
    assert_non_null(match(f, path));
    assert_ptr_equal(f->match.path.p, path);
}

static void what_is_wrong_is_refused_by_name_and_leaves_no_route(void **state)
{
    struct fixture *f = *state;
    struct str bad[] = {STR("x")}, odd[] = {STR("/a{b}")}, hosts[] = {STR("")};
    struct http_gateway_test broken[] = {{HTTP_GATEWAY_HEADER, STR("A"), STR("ok")},
                                         {HTTP_GATEWAY_HEADER, STR("B"), STR("(")}};
    struct http_gateway_test nameless[] = {{HTTP_GATEWAY_QUERY, {NULL, 0}, STR("x")}};
    assert_refused(f, (struct http_gateway_conf){.paths = bad, .path_count = 1},
                   "path: \"x\" must begin with /");
    assert_refused(f, (struct http_gateway_conf){.paths = odd, .path_count = 1}, "\"a{b}\"");
    assert_refused(f, (struct http_gateway_conf){.hosts = hosts, .host_count = 1}, "host: ");
    assert_refused(f, (struct http_gateway_conf){.tests = broken, .test_count = 2},
                   "headers: \"(\" is no regular expression");
    assert_refused(f, (struct http_gateway_conf){.tests = nameless, .test_count = 1},
                   "query: a name is empty");
    assert_refused(f, (struct http_gateway_conf){.rewrite = STR("[")}, "rewrite_path: ");
    assert_refused(f, (struct http_gateway_conf){.strip_prefix = -1}, "strip_prefix: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            stars_at_the_end_serve_everything_below_and_the_place_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_star_and_a_name_are_one_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(stars_in_the_middle_try_every_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_of_many_segments_costs_no_more_than_its_length,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_route_that_takes_it_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(methods_are_asked_for_and_told, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_are_names_without_case_and_port, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_and_query_are_tested_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_several_headers_of_a_name_is_enough, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(prefixes_are_stripped_and_put_before, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_is_rewritten_by_an_expression, setup, teardown),
        cmocka_unit_test_setup_teardown(an_expression_that_matches_nothing_at_all_ends, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_path_is_set_from_what_the_pattern_named, setup, teardown),
        cmocka_unit_test_setup_teardown(an_untouched_path_is_not_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_refused_by_name_and_leaves_no_route, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("http/gateway", tests, NULL, NULL);
}
