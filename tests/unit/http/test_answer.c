/* SPDX-License-Identifier: MIT */
/* What answers look like on the wire, whole and streamed. */
#include "http_client.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct http_exchange *hold(struct world *w, struct client *c, const char *request)
{
    int before = w->held_count;
    client_send(w, c, request);
    world_settle(w, c);
    assert_int_equal(w->held_count, before + 1);
    return w->held[before];
}

static void a_whole_answer_byte_by_byte(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    const struct http_header headers[] = {{STR("X-One"), STR("1")}, {STR("ETag"), STR("\"2\"")}};
    struct http_exchange *x = hold(w, &c, GET("/hold"));
    http_answer(x, 201, STR("application/json"), headers, 2, STR("{}"));
    client_await_text(w, &c, "{}");
    assert_string_equal(buf_str(&c.in).p, "HTTP/1.1 201 Created\r\n"
                                          "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                                          "Content-Type: application/json\r\n"
                                          "X-One: 1\r\n"
                                          "ETag: \"2\"\r\n"
                                          "Content-Length: 2\r\n"
                                          "\r\n"
                                          "{}");
    client_close(&c);
}

static void the_date_moves_with_the_clock(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, GET("/"));
    client_response(w, &c, &r);
    world_advance_ms(w, 61000);
    client_send(w, &c, GET("/"));
    client_response(w, &c, &r);
    assert_true(response_has(&r, "\r\nDate: Thu, 01 Jan 2026 00:01:01 GMT\r\n"));
    client_close(&c);
    response_deinit(&r);
}

static void framing_headers_of_a_handler_are_dropped(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    const struct http_header headers[] = {
        {STR("content-length"), STR("99")}, {STR("Transfer-Encoding"), STR("chunked")},
        {STR("Connection"), STR("close")},  {STR("Keep-Alive"), STR("x")},
        {STR("DATE"), STR("never")},        {STR("X-Kept"), STR("yes")}};
    http_answer(hold(w, &c, GET("/hold")), 200, STR(""), headers, 6, STR("abc"));
    client_response(w, &c, &r);
    assert_string_equal(buf_str(&r.body).p, "abc");
    assert_true(response_has(&r, "\r\nX-Kept: yes\r\n"));
    assert_false(response_has(&r, "99") || response_has(&r, "chunked") ||
                 response_has(&r, "onnection") || response_has(&r, "never") ||
                 response_has(&r, "Content-Type"));
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    response_deinit(&r);
}

static void head_has_the_length_but_no_body(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    client_response_of(w, &c, &r, true);
    assert_true(response_has(&r, "\r\nContent-Length: 8\r\n")); /* "HEAD /x|" */
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_send(w, &c, "HEAD /x HTTP/1.1\r\n\r\n"); /* refused: no Host */
    client_response_of(w, &c, &r, true);
    assert_int_equal(r.status, 400);
    client_await_closed(w, &c);
    assert_int_equal(c.in.n, 0);
    client_close(&c);
    response_deinit(&r);
}

static void no_content_and_not_modified_have_neither_length_nor_body(void **state)
{
    const int statuses[] = {204, 304};
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    for (int i = 0; i < 2; i++) {
        http_answer(hold(w, &c, GET("/hold")), statuses[i], STR(""), NULL, 0, STR("ignored"));
        client_response(w, &c, &r);
        assert_int_equal(r.status, statuses[i]);
        assert_false(response_has(&r, "Content-Length"));
    }
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    response_deinit(&r);
}

static void a_large_answer_arrives_whole(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct buf body = BUF_INIT;
    for (int i = 0; i < 800000; i++)
        buf_addf(&body, "%09d\n", i);
    http_answer(hold(w, &c, GET("/hold")), 200, STR("text/plain"), NULL, 0, buf_str(&body));
    client_response(w, &c, &r);
    assert_int_equal(r.body.n, body.n);
    assert_memory_equal(r.body.p, body.p, body.n);
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    buf_deinit(&body);
    response_deinit(&r);
}

static void answer_the_held_one_too(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;
    if (w->held_count > 0 && str_eq(http_exchange_request(x)->path, STR("/release")))
        world_answer_held(w, --w->held_count, "released");
    world_handle(ctx, x);
}

static void an_answer_to_another_connection_from_within_a_handler_keeps_both_whole(void **state)
{
    struct world *w = *state;
    world_restart(w, answer_the_held_one_too);
    struct client waiting = client_open(w), other = client_open(w);
    hold(w, &waiting, GET("/hold"));
    client_send(w, &other, GET("/1") GET("/release") GET("/2"));
    client_expect(w, &other, "", 200, "GET /1|");
    client_expect(w, &other, "", 200, "GET /release|");
    client_expect(w, &other, "", 200, "GET /2|");
    client_expect(w, &waiting, "", 200, "released");
    client_expect(w, &waiting, GET("/next"), 200, "GET /next|");
    client_close(&waiting);
    client_close(&other);
}

/* --- streams --- */

static void a_stream_is_chunked_and_the_connection_lives_on(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct http_exchange *x = hold(w, &c, GET("/hold"));
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
    assert_true(http_stream_write(x, STR("one")));
    assert_true(http_stream_write(x, STR("")));
    assert_true(http_stream_write(x, STR("0123456789abcdef")));
    assert_true(http_stream_pending(x) > 0);
    client_await_text(w, &c, "abcdef\r\n"); /* before the end */
    assert_int_equal(http_stream_pending(x), 0);
    assert_non_null(strstr(buf_str(&c.in).p, "\r\n\r\n3\r\none\r\n10\r\n0123456789abcdef\r\n"));
    http_stream_end(x);
    client_response(w, &c, &r);
    assert_string_equal(buf_str(&r.body).p, "one0123456789abcdef");
    assert_false(response_has(&r, "Content-Length"));
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    response_deinit(&r);
}

static void a_stream_under_1_0_is_plain_and_ends_with_the_connection(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct http_exchange *x = hold(w, &c, "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
    http_stream_write(x, STR("one"));
    http_stream_write(x, STR("two"));
    http_stream_end(x);
    response_read_head(w, &c, &r);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    assert_false(response_has(&r, "Transfer-Encoding"));
    client_await_closed(w, &c);
    assert_string_equal(buf_str(&c.in).p, "onetwo");
    client_close(&c);
    response_deinit(&r);
}

static void a_stream_of_known_size_says_it_and_has_no_chunks(void **state)
{
    static const char *const requests[] = {GET("/hold"),
                                           "GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
    struct world *w = *state;
    struct client c = client_open(w);
    for (int i = 0; i < 2; i++) {
        struct response r = {0};
        struct http_exchange *x = hold(w, &c, requests[i]);
        http_stream_size(x, 6);
        http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
        http_stream_write(x, STR("one"));
        http_stream_write(x, STR("two"));
        http_stream_end(x);
        client_response(w, &c, &r);
        assert_string_equal(buf_str(&r.body).p, "onetwo");
        assert_true(response_has(&r, "Content-Length: 6\r\n"));
        assert_false(response_has(&r, "Transfer-Encoding"));
        response_deinit(&r);
    }
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
}

static void a_stream_of_known_size_that_is_aborted_closes_the_connection(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct http_exchange *x = hold(w, &c, GET("/hold"));
    http_stream_size(x, 6);
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
    http_stream_write(x, STR("one"));
    http_stream_abort(x);
    response_read_head(w, &c, &r);
    client_await_closed(w, &c);
    assert_string_equal(buf_str(&c.in).p, "one");
    client_close(&c);
    response_deinit(&r);
}

static void a_stream_to_head_sends_its_head_alone(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct http_exchange *x = hold(w, &c, "HEAD /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
    assert_true(http_stream_write(x, STR("unseen")));
    http_stream_end(x);
    client_response_of(w, &c, &r, true);
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    response_deinit(&r);
}

/* A producer of 32 MiB that stops when told to. Its data hangs on the exchange. */
struct producer {
    struct world *w;
    size_t left, most_pending;
    int drains, gone;
    bool ended;
};

static void produce(struct http_exchange *x)
{
    struct producer *p = http_exchange_data(x);
    char block[10000];
    memset(block, 'p', sizeof(block));
    while (p->left > 0) {
        size_t n = p->left < sizeof(block) ? p->left : sizeof(block);
        p->left -= n;
        bool more = http_stream_write(x, (struct str){block, n});
        if (http_stream_pending(x) > p->most_pending)
            p->most_pending = http_stream_pending(x);
        if (!more)
            return;
    }
    p->ended = true;
    http_stream_end(x);
}

static void produce_more(struct http_exchange *x)
{
    struct producer *p = http_exchange_data(x);
    p->drains++;
    produce(x);
}

static void note_producer_gone(struct http_exchange *x)
{
    struct producer *p = http_exchange_data(x);
    p->gone++;
}

static void start_producing(struct http_exchange *x, struct producer *p)
{
    http_exchange_set_data(x, p);
    http_exchange_on_gone(x, NULL);
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, produce_more);
    produce(x);
}

static void a_stream_of_32_mib_to_a_slow_reader_stays_under_the_mark(void **state)
{
    struct world *w = *state;
    struct client c = client_open_with_buffer(w, 65536);
    struct response r = {0};
    struct producer p = {.w = w, .left = 32 << 20};
    start_producing(hold(w, &c, GET("/hold")), &p);
    world_settle(w, NULL); /* the client does not read */
    assert_false(p.ended);
    assert_true(p.left > 16 << 20);
    client_response(w, &c, &r);
    assert_true(p.ended);
    assert_true(p.drains > 10);
    assert_int_equal(r.body.n, 32 << 20);
    assert_true(p.most_pending <= w->limits.output_high_bytes + 10000 + 32);
    client_close(&c);
    response_deinit(&r);
}

static void a_stream_to_a_client_that_stops_reading_is_given_up(void **state)
{
    struct world *w = *state;
    struct client c = client_open_with_buffer(w, 4096);
    struct producer p = {.w = w, .left = 32 << 20};
    struct http_exchange *x = hold(w, &c, GET("/hold"));
    start_producing(x, &p);
    http_exchange_on_gone(x, note_producer_gone);
    world_settle(w, NULL);
    size_t before;
    do { /* the kernel may take some more behind the clock's back */
        before = http_stream_pending(x);
        world_advance_ms(w, 29999);
        world_settle(w, NULL);
    } while (http_stream_pending(x) != before);
    assert_int_equal(p.gone, 0);
    world_advance_ms(w, 1);
    world_settle(w, NULL);
    for (int i = 0; i < 10 && !p.gone;
         i++) { /* a busy kernel took some more late: 30 s from there */
        world_advance_ms(w, 30000);
        world_settle(w, NULL);
    }
    assert_int_equal(p.gone, 1);
    assert_int_equal(http_server_connections(w->server), 0);
    assert_int_equal(http_stream_pending(x), 0);
    assert_true(http_stream_write(x, STR("dropped")));
    http_stream_end(x);
    client_close(&c);
}

static void a_producer_that_waits_is_woken_when_its_client_goes(void **state)
{
    struct world *w = *state;
    struct client c = client_open_with_buffer(w, 4096);
    struct producer p = {.w = w, .left = 32 << 20};
    struct linger now = {1, 0};
    start_producing(hold(w, &c, GET("/hold")), &p);
    world_settle(w, NULL);
    assert_false(p.ended);
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    client_close(&c);
    world_settle(w, NULL);
    assert_true(p.ended); /* the rest was dropped */
    assert_int_equal(http_server_connections(w->server), 0);
}

static void a_drain_lets_a_stream_end(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct http_exchange *x = hold(w, &c, GET("/hold"));
    http_stream_begin(x, 200, STR("text/plain"), NULL, 0, NULL);
    http_stream_write(x, STR("first "));
    http_server_drain(w->server, world_note_drained, w);
    world_settle(w, &c);
    http_stream_write(x, STR("last"));
    http_stream_end(x);
    client_response(w, &c, &r);
    assert_string_equal(buf_str(&r.body).p, "first last");
    client_await_closed(w, &c);
    client_close(&c);
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
    response_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(a_whole_answer_byte_by_byte),
        WORLD_CASE(the_date_moves_with_the_clock),
        WORLD_CASE(framing_headers_of_a_handler_are_dropped),
        WORLD_CASE(head_has_the_length_but_no_body),
        WORLD_CASE(no_content_and_not_modified_have_neither_length_nor_body),
        WORLD_CASE(a_large_answer_arrives_whole),
        WORLD_CASE(an_answer_to_another_connection_from_within_a_handler_keeps_both_whole),
        WORLD_CASE(a_stream_is_chunked_and_the_connection_lives_on),
        WORLD_CASE(a_stream_under_1_0_is_plain_and_ends_with_the_connection),
        WORLD_CASE(a_stream_of_known_size_says_it_and_has_no_chunks),
        WORLD_CASE(a_stream_of_known_size_that_is_aborted_closes_the_connection),
        WORLD_CASE(a_stream_to_head_sends_its_head_alone),
        WORLD_CASE(a_stream_of_32_mib_to_a_slow_reader_stays_under_the_mark),
        WORLD_CASE(a_stream_to_a_client_that_stops_reading_is_given_up),
        WORLD_CASE(a_producer_that_waits_is_woken_when_its_client_goes),
        WORLD_CASE(a_drain_lets_a_stream_end),
    };
    return cmocka_run_group_tests_name("http/answer", tests, NULL, NULL);
}
