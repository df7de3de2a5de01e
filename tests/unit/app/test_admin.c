/* SPDX-License-Identifier: MIT */
/* The admin side over a real socket, in front of a real store and bus; all on one loop under a fake
 * clock. */
#include "../bus/world.h"
#include "app/admin/inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define TOKEN "0123456789abcdef"
#define ROUNDS 100000 /* turns of the loop without the expected answer: the case fails */

struct bench {
    struct world *world;
    struct admin *admin;
    struct registry *breakers;
    struct faults *faults;
    struct str services[2];
    int listen_fd, port;
    bool ready;
    struct buf in; /* what the last request was answered */
    int status;
    struct str body; /* in `in`, chunks joined */
};

static void add_metrics(void *ctx, struct buf *out)
{
    (void)ctx;
    buf_lit(out, "moontide_test 1\n");
}

static bool is_ready(void *ctx)
{
    return ((struct bench *)ctx)->ready;
}

static int setup(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    struct buf address = BUF_INIT;
    struct err err;
    void *world;
    world_setup(&world);
    b->world = world;
    b->world->decide = fail_bad_keys;
    b->world->conf.tries = 1;
    add_policy(b->world, "shop", "ships \"it\"", 1 << PLACED);
    world_open(b->world);
    b->breakers = registry_new();
    const struct breaker_layer none = {0};
    registry_declare(b->breakers, STR("payment"), &none, clock_mono_ns(&b->world->clock));
    b->faults = faults_new();
    b->services[0] = STR("shop");
    b->services[1] = STR("payment");
    b->ready = true;
    b->listen_fd = http_listen(STR("127.0.0.1:0"), &address, &err);
    assert_true(b->listen_fd >= 0);
    b->port = atoi(strrchr(buf_str(&address).p, ':') + 1);
    buf_deinit(&address);
    struct admin_conf admin = {.loop = b->world->loop,
                               .listen_fd = b->listen_fd,
                               .token = STR(TOKEN),
                               .store = b->world->store,
                               .session = b->world->session,
                               .schema = &b->world->schema,
                               .bus = b->world->bus,
                               .breakers = b->breakers,
                               .faults = b->faults,
                               .services = b->services,
                               .service_count = 2,
                               .policies = b->world->policies,
                               .policy_count = b->world->policy_count,
                               .metrics = add_metrics,
                               .ready = is_ready,
                               .ctx = b};
    b->admin = admin_new(&admin, &err);
    assert_non_null(b->admin);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    void *world = b->world;
    admin_free(b->admin);
    close(b->listen_fd);
    world_teardown(&world);
    registry_free(b->breakers);
    faults_free(b->faults);
    buf_deinit(&b->in);
    free(b);
    return 0;
}

/* ---- a raw client on the loop's own thread */

static int dial(struct bench *b)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int bytes = 64 << 10; /* what is not read shall not vanish in the kernel for long */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Takes what has come; false at the end of the connection. */
static bool take(struct bench *b, int fd)
{
    char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0)
        buf_add(&b->in, bytes, (size_t)n);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Turns the loop until `end` has come, or, if it is NULL, the connection has ended. */
static void await(struct bench *b, int fd, const char *end)
{
    size_t searched = 0;
    for (int i = 0; i < ROUNDS; i++) {
        bool ran = loop_turn(b->world->loop);
        if (!take(b, fd)) {
            assert_null(end);
            return;
        }
        if (end && strstr(buf_str(&b->in).p + searched, end))
            return;
        searched = end && b->in.n > strlen(end) ? b->in.n - strlen(end) : 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (!ran)
            poll(&p, 1, 1);
    }
    fail_msg("it does not come: %s", end ? end : "the end");
}

static void join_chunks(struct bench *b, char *body)
{
    char *to = body, *at = body;
    for (;;) {
        char *line;
        size_t n = strtoul(at, &line, 16);
        at = line + 2;
        if (n == 0)
            break;
        memmove(to, at, n);
        to += n;
        at += n + 2;
    }
    *to = '\0';
    b->body = (struct str){body, (size_t)(to - body)};
}

static const char *ask_with(struct bench *b, const char *method, const char *target,
                            const char *headers, const char *body)
{
    struct buf text = BUF_INIT;
    int fd = dial(b);
    buf_addf(&text,
             "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
             method, target, headers, strlen(body), body);
    send_text(fd, buf_str(&text).p);
    buf_deinit(&text);
    buf_clear(&b->in);
    await(b, fd, NULL);
    close(fd);
    char *all = (char *)buf_str(&b->in).p, *split = strstr(all, "\r\n\r\n");
    assert_non_null(split);
    b->status = atoi(all + 9);
    b->body = str_from(split + 4);
    split[2] = '\0';
    if (strstr(all, "Transfer-Encoding: chunked\r\n"))
        join_chunks(b, split + 4);
    return b->body.p;
}

static const char *ask(struct bench *b, const char *method, const char *target, const char *body)
{
    return ask_with(b, method, target, "Authorization: Bearer " TOKEN "\r\n", body);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in: %s", part, text);
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void emit_many(struct bench *b, int n)
{
    for (int i = 0; i < n; i++)
        emit(b->world, PAID, i % 100);
    settle(b->world);
}

/* ---- cases */

static void without_the_token_nothing_is_told(void **state)
{
    struct bench *b = *state;
    static const char *const paths[] = {"/admin/events", "/admin/nosuch",    "/admin",
                                        "/nosuch",       "/admin/letters/1", "/"};
    static const char *const headers[] = {"", "Authorization: Bearer 0123456789abcdeX\r\n",
                                          "Authorization: Basic " TOKEN "\r\n"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        for (size_t k = 0; k < sizeof(headers) / sizeof(headers[0]); k++) {
            const char *body = ask_with(b, i % 2 ? "GET" : "POST", paths[i], headers[k], "");
            assert_int_equal(b->status, 401);
            assert_has(buf_str(&b->in).p, "WWW-Authenticate: Bearer\r\n");
            assert_has(buf_str(&b->in).p, "application/problem+json");
            assert_has(body, "\"code\":\"unauthorized\"");
        }
    }
}

static void with_the_token_wrong_paths_and_methods_are_named(void **state)
{
    struct bench *b = *state;
    assert_has(ask(b, "GET", "/admin/nosuch", ""), "\"code\":\"not_found\"");
    assert_int_equal(b->status, 404);
    ask(b, "POST", "/admin/events", "");
    assert_int_equal(b->status, 405);
    assert_has(buf_str(&b->in).p, "Allow: GET, HEAD");
}

static void without_a_reloader_scripts_cannot_be_changed(void **state)
{
    struct bench *b = *state;
    static const char *const requests[][2] = {{"POST", "/admin/reload"},
                                              {"GET", "/admin/generations"},
                                              {"POST", "/admin/generations/1/activate"}};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        assert_has(ask(b, requests[i][0], requests[i][1], ""), "scripts cannot be changed");
        assert_int_equal(b->status, 404);
    }
}

static void after_a_switch_the_new_services_and_policies_are_shown(void **state)
{
    struct bench *b = *state;
    struct str names[] = {STR("harbour")};
    struct admin_program p = {&b->world->schema, names, NULL, 1, NULL, 0};
    admin_switch(b->admin, &p);
    assert_string_equal(
        ask(b, "GET", "/admin/services", ""),
        "{\"services\":[{\"name\":\"harbour\",\"state\":\"up\",\"url\":null,\"policies\":[],"
        "\"held\":0,\"letters\":0}]}");
    assert_null(strstr(ask_with(b, "GET", "/metrics", "", ""), "moontide_policy_behind{"));
}

static void health_and_metrics_are_open(void **state)
{
    struct bench *b = *state;
    assert_has(ask_with(b, "GET", "/livez", "", ""), "live");
    assert_int_equal(b->status, 200);
    ask_with(b, "GET", "/readyz", "", "");
    assert_int_equal(b->status, 200);
    assert_string_equal(ask_with(b, "GET", "/actuator/health", "", ""), "{\"status\":\"UP\"}");
    assert_has(buf_str(&b->in).p, "Content-Type: application/json\r\n");
    b->ready = false;
    ask_with(b, "GET", "/readyz", "", "");
    assert_int_equal(b->status, 503);
    ask_with(b, "GET", "/livez", "", "");
    assert_int_equal(b->status, 200);
    emit_many(b, 3);
    const char *text = ask_with(b, "GET", "/metrics", "", "");
    assert_has(text, "\nmoontide_events_total 3\n");
    assert_has(text, "\nmoontide_bus_outstanding 0\n");
    assert_has(text, "moontide_policy_behind{service=\"shop\",policy=\"ships \\\"it\\\"\"} 0\n");
    assert_has(text, "moontide_breaker_state{breaker=\"payment\",state=\"closed\"} 1\n");
    assert_has(text, "moontide_breaker_state{breaker=\"payment\",state=\"open\"} 0\n");
    assert_has(text, "moontide_test 1\n");
}

static void an_event_is_one_line_with_its_payload_as_stored(void **state)
{
    struct bench *b = *state;
    char expected[512];
    emit(b->world, PAID, 42);
    settle(b->world);
    struct str name = store_log_name(b->world->store);
    snprintf(
        expected, sizeof(expected),
        "{\"seq\":1,\"id\":\"%.*s-1\",\"type\":\"Paid\",\"key\":\"order/42\",\"service\":\"shop\","
        "\"time\":\"2026-01-01T00:00:00.000Z\",\"correlationId\":null,\"causationId\":null,"
        "\"generation\":7,\"payload\":{\"id\":42",
        STR_ARG(name));
    assert_has(ask(b, "GET", "/admin/events", ""), expected);
    assert_true(str_starts(b->body, STR("{\"seq\":1,")));
    assert_int_equal(count_lines(b->body.p), 1);
    assert_string_equal(b->body.p + b->body.n - 3, "}}\n");
    assert_has(buf_str(&b->in).p, "Content-Type: application/x-ndjson\r\n");
}

static void events_are_chosen_by_from_type_key_and_limit(void **state)
{
    struct bench *b = *state;
    emit(b->world, PLACED, 1);
    emit_many(b, 1500);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events", "")), 1000);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?limit=1000000", "")), 1501);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?from=1500", "")), 2);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?from=1502", "")), 0);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?type=Placed&ignored=x", "")), 1);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?key=order%2F7", "")), 15);
    assert_int_equal(count_lines(ask(b, "GET", "/admin/events?service=nosuch", "")), 0);
    assert_has(ask(b, "GET", "/admin/events?key=order/7&from=20&limit=1", ""), "{\"seq\":109,");
    assert_int_equal(count_lines(b->body.p), 1);
}

static void bad_parameters_are_named(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *query, *name;
    } cases[] = {{"from=x", "from: "},   {"from=-1", "from: "},
                 {"limit=0", "limit: "}, {"limit=1000001", "limit: "},
                 {"limit=", "limit: "},  {"follow=maybe", "follow: "},
                 {"type=%zz", "type: "}, {"from=99999999999999999999", "from: "}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char target[96];
        snprintf(target, sizeof(target), "/admin/events?%s", cases[i].query);
        assert_has(ask(b, "GET", target, ""), cases[i].name);
        assert_int_equal(b->status, 400);
    }
}

static int follow_as(struct bench *b, const char *query, const char *accept)
{
    struct buf text = BUF_INIT;
    int fd = dial(b);
    buf_addf(&text,
             "GET /admin/events?follow=true%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " TOKEN
             "\r\nAccept: %s\r\n\r\n",
             query, accept);
    send_text(fd, buf_str(&text).p);
    buf_deinit(&text);
    buf_clear(&b->in);
    await(b, fd, "\r\n\r\n");
    return fd;
}

static int follow(struct bench *b, const char *query)
{
    return follow_as(b, query, "*/*");
}

static void a_follower_gets_what_was_and_what_comes(void **state)
{
    struct bench *b = *state;
    emit(b->world, PAID, 1);
    settle(b->world);
    int fd = follow(b, "");
    await(b, fd, "{\"seq\":1,");
    emit(b->world, PLACED, 2);
    await(b, fd, "{\"seq\":2,");
    close(fd);
    settle(b->world);
}

static void a_follower_with_a_limit_ends_at_it(void **state)
{
    struct bench *b = *state;
    int fd = follow(b, "&type=Paid&limit=2");
    emit(b->world, PAID, 1);
    emit(b->world, PLACED, 2);
    emit(b->world, PAID, 3);
    emit(b->world, PAID, 4);
    await(b, fd, "\r\n0\r\n\r\n");
    assert_has(b->in.p, "{\"seq\":3,");
    assert_null(strstr(b->in.p, "{\"seq\":2,"));
    assert_null(strstr(b->in.p, "{\"seq\":4,"));
    close(fd);
}

static void a_quiet_follower_hears_an_empty_line_every_15_s(void **state)
{
    struct bench *b = *state;
    int fd = follow(b, "");
    settle(b->world);
    advance(b->world, 14999);
    take(b, fd);
    assert_null(strstr(buf_str(&b->in).p, "\r\n1\r\n\n\r\n"));
    advance(b->world, 1);
    await(b, fd, "\r\n1\r\n\n\r\n");
    advance(b->world, 15000);
    await(b, fd, "\r\n1\r\n\n\r\n1\r\n\n\r\n");
    close(fd);
}

static void a_quiet_follower_of_sse_hears_a_comment(void **state)
{
    struct bench *b = *state;
    int fd = follow_as(b, "", "text/event-stream");
    settle(b->world);
    advance(b->world, 15000);
    await(b, fd, "\r\n3\r\n:\n\n\r\n");
    emit(b->world, PAID, 1);
    await(b, fd, "id: 1\nevent: Paid\ndata: {\"seq\":1,");
    close(fd);
}

static void accept_chooses_the_shape(void **state)
{
    static const struct {
        const char *accept;
        enum admin_form form;
    } cases[] = {
        {"", ADMIN_FORM_NDJSON},
        {"*/*", ADMIN_FORM_NDJSON},
        {"text/html", ADMIN_FORM_NDJSON},
        {"text/event-stream", ADMIN_FORM_SSE},
        {" Text/Event-Stream ; charset=utf-8", ADMIN_FORM_SSE},
        {"application/cloudevents+json", ADMIN_FORM_CLOUD},
        {"text/event-stream, application/cloudevents+json", ADMIN_FORM_SSE},
        {"text/event-stream;q=0.5, application/cloudevents+json;q=0.51", ADMIN_FORM_CLOUD},
        {"text/event-stream;q=0", ADMIN_FORM_NDJSON},
        {"application/x-ndjson,text/event-stream;q=0.9", ADMIN_FORM_NDJSON},
        {",,;;q=,=;", ADMIN_FORM_NDJSON},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(admin_form_from(str_from(cases[i].accept)), cases[i].form);
}

static void a_follower_too_far_behind_is_dropped_with_its_last_event(void **state)
{
    struct bench *b = *state;
    int fd = follow(b, "");
    settle(b->world);
    /* The kernel takes some megabytes; nobody reads until the server has given up. */
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 100; k++)
            emit(b->world, PAID, k);
        settle(b->world);
    }
    await(b, fd, "\"last_seq\"");
    assert_has(b->in.p, "{\"dropped\":true,\"last_seq\":");
    await(b, fd, "\r\n0\r\n\r\n");
    long last = atol(strstr(b->in.p, "last_seq\":") + 10);
    char line[64];
    assert_in_range(last, 1, 39999);
    snprintf(line, sizeof(line), "{\"seq\":%ld,", last);
    assert_has(b->in.p, line);
    snprintf(line, sizeof(line), "{\"seq\":%ld,", last + 1);
    assert_null(strstr(b->in.p, line));
    close(fd);
}

static void followers_may_be_open_at_the_end(void **state)
{
    struct bench *b = *state;
    int fd = follow(b, "");
    emit(b->world, PAID, 1);
    settle(b->world);
    b->in.n = 0;
    admin_free(b->admin);
    b->admin = NULL;
    while (take(b, fd))
        continue;
    settle(b->world);
    close(fd);
}

static void a_letter_is_listed_shown_and_discarded(void **state)
{
    struct bench *b = *state;
    assert_string_equal(ask(b, "GET", "/admin/letters", ""), "{\"letters\":[]}");
    b->world->bad[5] = true;
    emit(b->world, PLACED, 5);
    settle(b->world);
    const char *text = ask(b, "GET", "/admin/letters?policy=ships%20%22it%22", "");
    assert_has(text, "{\"letters\":[{\"id\":1,\"policy\":\"ships "
                     "\\\"it\\\"\",\"service\":\"shop\",\"event\":{\"seq\":1,");
    assert_has(
        text, "\"type\":\"Placed\",\"key\":\"order/5\"},\"tries\":1,\"error\":{\"code\":\"failed\","
              "\"message\":\"it did not work\",\"origin\":\"policy.lua:12\"}");
    assert_null(strstr(text, "payload"));
    assert_string_equal(ask(b, "GET", "/admin/letters?policy=other", ""), "{\"letters\":[]}");
    assert_has(ask(b, "GET", "/admin/letters/1", ""), "\"payload\":{\"id\":5");
    ask(b, "DELETE", "/admin/letters/1", "");
    assert_int_equal(b->status, 204);
    assert_has(ask(b, "DELETE", "/admin/letters/1", ""), "no letter 1");
    assert_int_equal(b->status, 404);
    ask(b, "GET", "/admin/letters/1", "");
    assert_int_equal(b->status, 404);
    ask(b, "GET", "/admin/letters/x", "");
    assert_int_equal(b->status, 404);
}

static void letters_are_retried_one_or_all(void **state)
{
    struct bench *b = *state;
    for (int i = 5; i < 8; i++) {
        b->world->bad[i] = true;
        emit(b->world, PLACED, i);
    }
    settle(b->world);
    memset(b->world->bad, 0, sizeof(b->world->bad));
    assert_has(ask(b, "POST", "/admin/letters/1/retry", ""), "{\"queued\":1}");
    assert_int_equal(b->status, 202);
    settle(b->world);
    ask(b, "GET", "/admin/letters/1", "");
    assert_int_equal(b->status, 404);
    ask(b, "POST", "/admin/letters/1/retry", "");
    assert_int_equal(b->status, 404);
    assert_has(ask(b, "POST", "/admin/letters/retry?policy=other", ""),
               "{\"queued\":0,\"skipped\":0}");
    assert_has(ask(b, "POST", "/admin/letters/retry", ""), "{\"queued\":2,\"skipped\":0}");
    settle(b->world);
    assert_string_equal(ask(b, "GET", "/admin/letters", ""), "{\"letters\":[]}");
    assert_int_equal(count_effects(b->world, 0, 0), 3);
}

static void faults_are_set_read_and_cleared(void **state)
{
    struct bench *b = *state;
    struct faults_roll roll;
    assert_string_equal(ask(b, "GET", "/admin/faults", ""), "{}");
    assert_string_equal(ask(b, "PUT", "/admin/faults", "{\"payment\": {\"delay_ms\": 5}}"),
                        "{\"payment\":{\"delay_ms\":5}}");
    assert_int_equal(b->status, 200);
    assert_true(faults_roll(b->faults, STR("payment"), &roll));
    assert_has(ask(b, "PUT", "/admin/faults", "{\"paymet\":{}}"), "payment");
    assert_int_equal(b->status, 400);
    ask(b, "PUT", "/admin/faults", "{");
    assert_int_equal(b->status, 400);
    assert_string_equal(ask(b, "GET", "/admin/faults", ""), "{\"payment\":{\"delay_ms\":5}}");
    ask(b, "DELETE", "/admin/faults", "");
    assert_int_equal(b->status, 204);
    assert_false(faults_roll(b->faults, STR("payment"), &roll));
}

static void services_and_breakers_are_listed(void **state)
{
    struct bench *b = *state;
    assert_string_equal(
        ask(b, "GET", "/admin/services", ""),
        "{\"services\":[{\"name\":\"shop\",\"state\":\"up\",\"url\":null,\"policies\":[{\"name\":"
        "\"ships "
        "\\\"it\\\"\",\"behind\":0,\"open\":0,\"held\":0,\"letters\":0}],\"held\":0,\"letters\":0},"
        "{\"name\":\"payment\",\"state\":\"up\",\"url\":null,\"policies\":[],\"held\":0,"
        "\"letters\":0}]}");
    assert_has(
        ask(b, "GET", "/admin/breakers", ""),
        "{\"breakers\":[{\"name\":\"payment\",\"state\":\"closed\",\"in_flight\":0,\"counts\":{"
        "\"success\":0,");
    assert_has(b->body.p, "\"volume\":20,\"error_percent\":50,"
                          "\"slow_ms\":0,");
}

static void a_correlation_id_is_taken_over_or_made(void **state)
{
    struct bench *b = *state;
    ask_with(b, "GET", "/livez", "X-Correlation-Id: my.id-1\r\n", "");
    assert_has(buf_str(&b->in).p, "X-Correlation-Id: my.id-1\r\n");
    ask_with(b, "GET", "/livez", "X-Correlation-Id: not good\r\n", "");
    assert_null(strstr(buf_str(&b->in).p, "not good"));
    assert_has(buf_str(&b->in).p, "X-Correlation-Id: ");
}

#undef CASE
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_the_token_nothing_is_told),
        CASE(with_the_token_wrong_paths_and_methods_are_named),
        CASE(without_a_reloader_scripts_cannot_be_changed),
        CASE(after_a_switch_the_new_services_and_policies_are_shown),
        CASE(health_and_metrics_are_open),
        CASE(an_event_is_one_line_with_its_payload_as_stored),
        CASE(events_are_chosen_by_from_type_key_and_limit),
        CASE(bad_parameters_are_named),
        CASE(a_follower_gets_what_was_and_what_comes),
        CASE(a_follower_with_a_limit_ends_at_it),
        CASE(a_quiet_follower_hears_an_empty_line_every_15_s),
        CASE(a_quiet_follower_of_sse_hears_a_comment),
        CASE(accept_chooses_the_shape),
        CASE(a_follower_too_far_behind_is_dropped_with_its_last_event),
        CASE(followers_may_be_open_at_the_end),
        CASE(a_letter_is_listed_shown_and_discarded),
        CASE(letters_are_retried_one_or_all),
        CASE(faults_are_set_read_and_cleared),
        CASE(services_and_breakers_are_listed),
        CASE(a_correlation_id_is_taken_over_or_made),
    };
    return cmocka_run_group_tests_name("app/admin", tests, NULL, NULL);
}
