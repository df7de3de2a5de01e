/* SPDX-License-Identifier: MIT */
/* Which proxies are believed, and what. */
#include "http/forwarded.h"

#include <stdio.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static struct http_trusted trust(struct arena *a, const char *list)
{
    struct http_trusted t = {NULL, 0};
    struct str wrong;
    assert_true(http_trusted_read(a, str_from(list), &t, &wrong));
    return t;
}

static void networks_hold_their_addresses_and_no_others(void **state)
{
    static const struct {
        const char *list, *in, *out;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", "127.0.0.2"},
        {"10.0.0.0/8", "10.255.1.2", "11.0.0.0"},
        {"10.1.2.128/25", "10.1.2.129", "10.1.2.127"},
        {"0.0.0.0/0", "200.1.1.1", "::1"},
        {"::1", "::1", "127.0.0.1"},
        {"fd00::/8", "fd12:3456::1", "fe12::1"},
        {" 1.2.3.4 ,\t5.6.7.8", "5.6.7.8", "1.2.3.5"},
        {"1.2.3.4", "::ffff:1.2.3.4", "1.2.3.4.5"},
        {"1.2.3.4", "1.2.3.4", ""},
    };
    (void)state;
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct http_trusted t = trust(a, rows[i].list);
        assert_true(http_trusted_has(&t, str_from(rows[i].in)));
        assert_false(http_trusted_has(&t, str_from(rows[i].out)));
    }
    struct http_trusted none = trust(a, "");
    assert_false(http_trusted_has(&none, STR("127.0.0.1")));
    arena_free(a);
}

static void what_is_no_network_is_named(void **state)
{
    static const char *const wrong[] = {"nonsense", "1.2.3",      "1.2.3.4/33", "1.2.3.4/",
                                        "::/129",   "1.2.3.4/-1", "localhost"};
    (void)state;
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        char list[64];
        struct http_trusted t = {NULL, 7};
        struct str named;
        snprintf(list, sizeof(list), "10.0.0.1, %s", wrong[i]);
        assert_false(http_trusted_read(a, str_from(list), &t, &named));
        assert_true(str_eq(named, str_from(wrong[i])));
        assert_int_equal(t.count, 7);
    }
    arena_free(a);
}

/* An origin as "client host scheme". */
static void expect(const char *list, const char *peer, const char *forwarded, const char *expected)
{
    struct arena *a = arena_new(0);
    struct http_trusted t = trust(a, list);
    struct http_header headers[] = {
        {STR("x-forwarded-for"), str_from(forwarded)},
        {STR("X-Forwarded-Host"), STR("evil.example, shop.example:8443")},
        {STR("X-Forwarded-Proto"), STR("http, https")},
    };
    struct http_request r = {.headers = headers, .header_count = 3, .host = STR("inside:80")};
    struct http_origin o;
    char text[200];
    http_origin_find(&t, &r, str_from(peer), &o);
    snprintf(text, sizeof(text), "%.*s %.*s %s", STR_ARG(o.client), STR_ARG(o.host),
             o.https ? "https" : "http");
    assert_string_equal(text, expected);
    arena_free(a);
}

static void only_what_trusted_proxies_added_counts(void **state)
{
    (void)state;
    expect("", "10.0.0.1", "9.9.9.9", "10.0.0.1 inside:80 http");
    expect("10.0.0.1", "10.0.0.2", "9.9.9.9", "10.0.0.2 inside:80 http");
    expect("10.0.0.1", "10.0.0.1", "9.9.9.9", "9.9.9.9 shop.example:8443 https");
    expect("10.0.0.1", "10.0.0.1", "6.6.6.6, 9.9.9.9", "9.9.9.9 shop.example:8443 https");
    expect("10.0.0.0/8", "10.0.0.1", "6.6.6.6, 9.9.9.9, 10.3.3.3",
           "9.9.9.9 shop.example:8443 https");
    expect("10.0.0.0/8", "10.0.0.1", "10.2.2.2, 10.3.3.3", "10.2.2.2 shop.example:8443 https");
    expect("10.0.0.0/8", "10.0.0.1", "6.6.6.6, unknown", "10.0.0.1 shop.example:8443 https");
    expect("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1 shop.example:8443 https");
}

static void what_is_malformed_is_taken_from_the_request(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    struct http_trusted t = trust(a, "10.0.0.1");
    struct http_header headers[] = {
        {STR("X-Forwarded-For"), STR("6.6.6.6")},
        {STR("X-Forwarded-For"), STR("9.9.9.9")},
        {STR("X-Forwarded-Host"), STR("no host")},
        {STR("X-Forwarded-Proto"), STR("gopher")},
    };
    struct http_request r = {.headers = headers, .header_count = 4, .host = STR("inside:80")};
    struct http_origin o;
    http_origin_find(&t, &r, STR("10.0.0.1"), &o);
    assert_true(str_eq(o.client, STR("9.9.9.9"))); /* the last line's */
    assert_true(str_eq(o.host, STR("inside:80")));
    assert_false(o.https);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_hold_their_addresses_and_no_others),
        cmocka_unit_test(what_is_no_network_is_named),
        cmocka_unit_test(only_what_trusted_proxies_added_counts),
        cmocka_unit_test(what_is_malformed_is_taken_from_the_request),
    };
    return cmocka_run_group_tests_name("http/forwarded", tests, NULL, NULL);
}
