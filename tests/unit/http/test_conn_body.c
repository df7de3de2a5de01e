/* SPDX-License-Identifier: MIT */
/* Bodies that follow their head: piece by piece, as fast as they are wanted. */
#include "http_client.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define LENGTH_HEAD "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n"
#define CHUNKED_HEAD "POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Fails the case if nothing moves for 5 s. */
#define AWAIT(w, c, condition)                                                                     \
    for (int idle = 0; !(condition);)                                                              \
    world_step(w, c, &idle)

/* What came of a body, and what to do about it. */
static struct taken {
    size_t bytes;
    int pieces, ends;
    bool pauses; /* after each piece */
} taken;

static bool stream_held(void *ctx, const struct http_request *head, struct arena *a)
{
    (void)ctx;
    (void)a;
    return str_eq(head->path, STR("/hold"));
}

static void take(struct http_exchange *x, struct str piece)
{
    taken.bytes += piece.n;
    taken.pieces += piece.n > 0;
    taken.ends += piece.n == 0;
    if (taken.pauses)
        http_exchange_read(x, NULL);
}

static struct client open_streaming(struct world *w, bool pauses)
{
    taken = (struct taken){.pauses = pauses};
    http_server_stream_bodies(w->server, stream_held);
    return client_open(w);
}

static void send_bytes(struct world *w, struct client *c, size_t n)
{
    char *bytes = malloc(n);
    memset(bytes, 'x', n);
    client_send_n(w, c, bytes, n);
    free(bytes);
}

static struct http_exchange *await_held(struct world *w, struct client *c)
{
    AWAIT(w, c, w->held_count > 0);
    return w->held[--w->held_count];
}

static void a_body_comes_in_pieces_and_the_connection_lives_on(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, false);
    struct response r = {0};
    client_send(w, &c, LENGTH_HEAD);
    struct http_exchange *x = await_held(w, &c);
    assert_true(http_exchange_is_streamed(x));
    assert_int_equal(http_exchange_length(x), 20000);
    assert_int_equal(http_exchange_request(x)->body.n, 0);
    send_bytes(w, &c, 15000);
    world_settle(w, NULL);
    assert_int_equal(taken.bytes, 0); /* nobody asked */
    http_exchange_read(x, take);
    AWAIT(w, &c, taken.bytes == 15000);
    assert_int_equal(taken.ends, 0);
    send_bytes(w, &c, 5000);
    AWAIT(w, &c, taken.ends == 1);
    assert_int_equal(taken.bytes, 20000);
    http_answer(x, 200, STR("text/plain"), NULL, 0, STR("done"));
    client_response(w, &c, &r);
    assert_string_equal(buf_str(&r.body).p, "done");
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    assert_int_equal(taken.ends, 1);
    client_close(&c);
    response_deinit(&r);
}

static void an_end_that_comes_while_paused_is_told_later(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, true);
    client_send(w, &c, CHUNKED_HEAD "3\r\nabc\r\n0\r\n\r\n");
    struct http_exchange *x = await_held(w, &c);
    assert_int_equal(http_exchange_length(x), 0);
    for (int i = 0; i < 3; i++) {
        http_exchange_read(x, take);
        world_settle(w, NULL);
    }
    assert_int_equal(taken.bytes, 3);
    assert_int_equal(taken.ends, 1);
    struct response r = {0};
    http_answer(x, 200, STR("text/plain"), NULL, 0, STR("done"));
    client_response(w, &c, &r);
    client_expect(w, &c, GET("/next"), 200, "GET /next|");
    client_close(&c);
    response_deinit(&r);
}

static void a_client_is_not_blamed_for_a_pause_but_for_its_own(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, false);
    client_send(w, &c, LENGTH_HEAD);
    struct http_exchange *x = await_held(w, &c);
    http_exchange_read(x, take);
    http_exchange_read(x, NULL);
    world_advance_ms(w, 3600 * 1000);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 0);
    http_exchange_read(x, take);
    world_advance_ms(w, 29999);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 0);
    world_advance_ms(w, 2);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 1);
    http_answer(x, 200, STR("text/plain"), NULL, 0, STR("nobody"));
    client_await_closed(w, &c);
    client_close(&c);
}

static void a_body_that_is_none_is_a_client_that_goes(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, false);
    client_send(w, &c, CHUNKED_HEAD "3\r\nabc\r\nnonsense\r\n");
    struct http_exchange *x = await_held(w, &c);
    http_exchange_read(x, take);
    AWAIT(w, &c, w->gone == 1);
    assert_int_equal(taken.ends, 0);
    http_answer(x, 200, STR("text/plain"), NULL, 0, STR("nobody"));
    client_await_closed(w, &c);
    client_close(&c);
}

static void an_answer_before_the_end_ends_the_connection(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, false);
    struct response r = {0};
    client_send(w, &c, LENGTH_HEAD "xxx");
    struct http_exchange *x = await_held(w, &c);
    http_exchange_read(x, take);
    AWAIT(w, &c, taken.bytes == 3);
    http_answer(x, 403, STR("text/plain"), NULL, 0, STR("no"));
    client_response(w, &c, &r);
    assert_int_equal(r.status, 403);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    client_await_closed(w, &c);
    client_close(&c);
    response_deinit(&r);
}

static void small_bodies_and_those_of_others_are_read_whole(void **state)
{
    struct world *w = *state;
    struct client c = open_streaming(w, false);
    struct response r = {0};
    client_send(w, &c, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    struct http_exchange *x = await_held(w, &c);
    assert_false(http_exchange_is_streamed(x));
    assert_true(str_eq(http_exchange_request(x)->body, STR("abc")));
    http_answer(x, 200, STR("text/plain"), NULL, 0, STR("done"));
    client_response(w, &c, &r);
    client_expect(w, &c,
                  "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n0\r\n\r\n",
                  200, "POST /x|abc");
    client_send(w, &c, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n");
    client_response(w, &c, &r);
    assert_int_equal(r.status, 413);
    client_close(&c);
    response_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(a_body_comes_in_pieces_and_the_connection_lives_on),
        WORLD_CASE(an_end_that_comes_while_paused_is_told_later),
        WORLD_CASE(a_client_is_not_blamed_for_a_pause_but_for_its_own),
        WORLD_CASE(a_body_that_is_none_is_a_client_that_goes),
        WORLD_CASE(an_answer_before_the_end_ends_the_connection),
        WORLD_CASE(small_bodies_and_those_of_others_are_read_whole),
    };
    return cmocka_run_group_tests_name("http/conn_body", tests, NULL, NULL);
}
