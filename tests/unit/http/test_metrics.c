/* SPDX-License-Identifier: MIT */
/* What requests are counted under, and how it is written. */
#include "http/metrics.h"

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

#define MS INT64_C(1000000)
#define NAME "http_server_request_duration_seconds"

static void count(struct http_metrics *m, const char *route, int status, int64_t took_ns)
{
    http_metrics_begin(m, HTTP_GET_);
    http_metrics_end(m, HTTP_GET_, str_from(route), status, took_ns);
}

static void assert_line(struct buf *text, const char *line)
{
    if (!strstr(buf_str(text).p, line))
        fail_msg("no %s in\n%s", line, text->p);
}

static void workers_are_summed_up_and_edges_belong_to_their_bucket(void **state)
{
    struct http_metrics *list[] = {http_metrics_new(), http_metrics_new()};
    struct buf out = BUF_INIT;
    (void)state;
    count(list[0], "/a", 200, 5 * MS);
    count(list[0], "/a", 200, 5 * MS + 1);
    count(list[1], "/a", 200, -1); /* a clock that went back */
    count(list[1], "/a", 200, 60000 * MS);
    count(list[1], "/a", 404, 0);
    http_metrics_begin(list[1], HTTP_OTHER_);
    http_metrics_write(list, 2, &out);
#define A "{http_request_method=\"GET\",http_route=\"/a\",http_response_status_code=\"200\""
    assert_line(&out, NAME "_bucket" A ",le=\"0.005\"} 2\n");
    assert_line(&out, NAME "_bucket" A ",le=\"0.01\"} 3\n");
    assert_line(&out, NAME "_bucket" A ",le=\"10\"} 3\n");
    assert_line(&out, NAME "_bucket" A ",le=\"+Inf\"} 4\n");
    assert_line(&out, NAME "_sum" A "} 60.010000001\n");
    assert_line(&out, NAME "_count" A "} 4\n");
    assert_line(&out, "http_server_active_requests{http_request_method=\"GET\"} 0\n");
    assert_line(&out, "http_server_active_requests{http_request_method=\"_OTHER\"} 1\n");
    http_metrics_free(list[0]);
    http_metrics_free(list[1]);
    buf_deinit(&out);
}

static void names_are_bounded_and_nothing_is_lost(void **state)
{
    struct http_metrics *m = http_metrics_new();
    struct buf out = BUF_INIT;
    (void)state;
    for (int i = 0; i < 4000; i++) {
        char route[32];
        snprintf(route, sizeof(route), "/route/%d", i);
        count(m, route, i % 2 == 0 ? 201 : 404, MS);
    }
    http_metrics_write(&m, 1, &out);
    assert_line(&out, "http_route=\"/route/0\",http_response_status_code=\"201\"} 1\n");
    long long sum = 0, other = 0;
    for (const char *at = buf_str(&out).p; (at = strstr(at, NAME "_count{")); at++) {
        long long n = strtoll(strchr(at, '}') + 1, NULL, 10);
        const char *end = strchr(at, '\n'), *mark = strstr(at, "\"_OTHER\"");
        sum += n;
        other += mark && mark < end ? n : 0;
    }
    assert_int_equal(sum, 4000);
    assert_true(other > 2000 && other < 4000);
    http_metrics_free(m);
    buf_deinit(&out);
}

static void labels_are_quoted(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    http_metrics_label(&out, "a", STR("x\\y\"z\n"));
    assert_string_equal(buf_str(&out).p, "a=\"x\\\\y\\\"z\\n\"");
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_are_summed_up_and_edges_belong_to_their_bucket),
        cmocka_unit_test(names_are_bounded_and_nothing_is_lost),
        cmocka_unit_test(labels_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
