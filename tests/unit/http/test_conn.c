/* SPDX-License-Identifier: MIT */
/* The life of a connection: keep-alive, pipelining, timeouts, back-pressure, clients that go. */
#include "http_client.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void keep_alive_is_the_default_of_1_1_and_close_ends_it(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_expect(w, &c, GET("/1"), 200, "GET /1|");
    client_expect(w, &c, GET("/2"), 200, "GET /2|");
    client_send(w, &c, "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client_response(w, &c, &r);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    client_await_closed(w, &c);
    assert_false(c.reset);
    client_close(&c);
    response_deinit(&r);
}

static void http_1_0_closes_unless_asked_to_keep(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_response(w, &c, &r);
    assert_true(response_has(&r, "\r\nConnection: keep-alive\r\n"));
    client_send(w, &c, "GET /2 HTTP/1.0\r\n\r\n");
    client_response(w, &c, &r);
    assert_string_equal(buf_str(&r.body).p, "GET /2|");
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    client_await_closed(w, &c);
    client_close(&c);
    response_deinit(&r);
}

static void a_thousand_pipelined_requests_are_answered_in_order(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct buf all = BUF_INIT;
    char expected[64];
    for (int i = 0; i < 1000; i++)
        buf_addf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", i);
    client_send_n(w, &c, all.p, all.n);
    for (int i = 0; i < 1000; i++) {
        client_response(w, &c, &r);
        snprintf(expected, sizeof(expected), "POST /%d|ok", i);
        assert_string_equal(buf_str(&r.body).p, expected);
    }
    assert_int_equal(w->handled, 1000);
    client_close(&c);
    buf_deinit(&all);
    response_deinit(&r);
}

static void a_pipelining_client_leaves_turns_to_others(void **state)
{
    struct world *w = *state;
    struct client greedy = client_open(w), modest = client_open(w);
    struct buf all = BUF_INIT;
    world_settle(w, NULL); /* both are accepted, nothing is read */
    for (int i = 0; i < 1000; i++)
        buf_lit(&all, GET("/"));
    assert_int_equal(send(greedy.fd, all.p, all.n, MSG_NOSIGNAL), all.n);
    assert_int_equal(send(modest.fd, GET("/m"), strlen(GET("/m")), MSG_NOSIGNAL),
                     strlen(GET("/m")));
    for (int idle = 0; modest.in.n == 0;)
        world_step(w, &modest, &idle);
    assert_true(w->handled < 500);
    client_close(&greedy);
    client_close(&modest);
    buf_deinit(&all);
}

static void half_closed_after_pipelining_still_gets_every_answer(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    for (int i = 0; i < 300; i++)
        assert_true(send(c.fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL) > 0);
    shutdown(c.fd, SHUT_WR);
    for (int i = 0; i < 300; i++)
        client_response(w, &c, &r);
    client_await_closed(w, &c);
    assert_int_equal(w->handled, 300);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0);
    client_close(&c);
    response_deinit(&r);
}

static void a_later_answer_lets_the_next_pipelined_request_come(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_send(w, &c, GET("/hold") GET("/hold") GET("/last"));
    world_settle(w, &c);
    assert_int_equal(w->handled, 1);
    world_answer_held(w, 0, "first");
    assert_int_equal(w->handled, 1); /* not within the answer */
    client_expect(w, &c, "", 200, "first");
    world_settle(w, &c);
    assert_int_equal(w->handled, 2);
    world_answer_held(w, 1, "second");
    client_expect(w, &c, "", 200, "second");
    client_expect(w, &c, "", 200, "GET /last|");
    client_close(&c);
}

static void an_error_in_the_pipeline_comes_after_the_answers_before_it(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, GET("/1") "BAD\r\n\r\n" GET("/2"));
    client_response(w, &c, &r);
    assert_int_equal(r.status, 200);
    client_response(w, &c, &r);
    assert_int_equal(r.status, 400);
    client_await_closed(w, &c);
    assert_int_equal(w->handled, 1);
    client_close(&c);
    response_deinit(&r);
}

static void continue_is_sent_when_the_body_waits_for_it(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c,
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
    client_response(w, &c, &r);
    assert_string_equal(r.head, "HTTP/1.1 100 Continue\r\n\r\n");
    client_expect(w, &c, "abc", 200, "POST /|abc");
    client_close(&c);
    response_deinit(&r);
}

static void continue_is_not_sent_when_the_body_is_there_or_1_0_asks(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_expect(
        w, &c, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        200, "POST /|abc");
    client_send(w, &c, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    world_settle(w, &c);
    assert_int_equal(c.in.n, 0);
    client_expect(w, &c, "abc", 200, "POST /|abc");
    client_close(&c);
}

static void large_bodies_with_and_without_length_arrive_whole(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct buf body = BUF_INIT, request = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        buf_addf(&body, "%09d,", i);
    buf_addf(&request, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", body.n);
    buf_adds(&request, buf_str(&body));
    buf_lit(&request, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < body.n; at += 50000) {
        buf_lit(&request, "c350\r\n");
        buf_add(&request, body.p + at, 50000);
        buf_lit(&request, "\r\n");
    }
    buf_lit(&request, "0\r\n\r\n");
    client_send_n(w, &c, request.p, request.n);
    for (int i = 0; i < 2; i++) {
        client_response(w, &c, &r);
        assert_int_equal(r.body.n, body.n + 6);
        assert_memory_equal(r.body.p + 6, body.p, body.n);
    }
    client_close(&c);
    buf_deinit(&body);
    buf_deinit(&request);
    response_deinit(&r);
}

/* --- time --- */

static void assert_timed_out(struct world *w, struct client *c)
{
    struct response r = {0};
    client_response(w, c, &r);
    assert_int_equal(r.status, 408);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    client_await_closed(w, c);
    response_deinit(&r);
}

static void a_slow_head_is_408_ten_seconds_after_its_first_byte(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_expect(w, &c, GET("/"), 200, "GET /|");
    world_advance_ms(w, 60000); /* idle, that is fine */
    client_send(w, &c, "G");
    world_settle(w, &c);
    world_advance_ms(w, 5000);
    client_send(w, &c, "ET / HT");
    world_settle(w, &c);
    world_advance_ms(w, 4999);
    world_settle(w, &c);
    assert_int_equal(c.in.n, 0);
    world_advance_ms(w, 1);
    assert_timed_out(w, &c);
    assert_int_equal(w->handled, 1);
    client_close(&c);
}

static void a_new_connection_has_ten_seconds_for_its_first_head(void **state)
{
    struct world *w = *state;
    struct client silent = client_open(w), slow = client_open(w);
    world_settle(w, NULL);
    world_advance_ms(w, 5000);
    client_send(w, &slow, "GET / HTTP/1.1\r\n");
    world_settle(w, &slow);
    world_advance_ms(w, 5000);
    assert_timed_out(w, &slow);
    assert_timed_out(w, &silent);
    client_close(&silent);
    client_close(&slow);
}

static void keep_alive_ends_silently_after_75_seconds(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_expect(w, &c, GET("/"), 200, "GET /|");
    world_advance_ms(w, 74999);
    client_expect(w, &c, GET("/"), 200, "GET /|");
    world_advance_ms(w, 74999);
    world_settle(w, &c);
    assert_false(c.closed);
    world_advance_ms(w, 1);
    client_await_closed(w, &c);
    assert_int_equal(c.in.n, 0);
    assert_false(c.reset);
    client_close(&c);
}

static void SHOP_6d_a_body_that_stalls_for_30_seconds_is_408(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct buf part = BUF_INIT;
    for (int i = 0; i < 40 << 10; i++)
        buf_addc(&part, 'x');
    client_send(w, &c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    world_settle(w, &c);
    world_advance_ms(w, 29999);
    client_send_n(w, &c, part.p, part.n);
    world_settle(w, &c);
    world_advance_ms(w, 29999);
    world_settle(w, &c);
    assert_int_equal(c.in.n, 0);
    world_advance_ms(w, 1);
    assert_timed_out(w, &c);
    assert_int_equal(w->handled, 0);
    client_close(&c);
    buf_deinit(&part);
}

static void SHOP_6d_a_body_fed_drop_by_drop_has_30_seconds_and_a_second_a_KiB(void **state)
{
    struct world *w = *state;
    struct client sized = client_open(w), chunked = client_open(w);
    client_send(w, &sized, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client_send(w, &chunked, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 30; i++) {
        world_settle(w, &sized);
        assert_int_equal(sized.in.n + chunked.in.n, 0);
        client_send(w, &sized, "x");
        client_send(w, &chunked, "1\r\nx\r\n");
        world_advance_ms(w, 1000);
    }
    world_settle(w, &sized);
    assert_int_equal(sized.in.n + chunked.in.n, 0);
    world_advance_ms(w, 1000);
    assert_timed_out(w, &sized);
    assert_timed_out(w, &chunked);
    assert_int_equal(w->handled, 0);
    client_close(&sized);
    client_close(&chunked);
}

static void handling_takes_as_long_as_it_takes(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_send(w, &c, GET("/hold"));
    world_settle(w, &c);
    world_advance_ms(w, 10 * 60 * 1000);
    world_settle(w, &c);
    assert_false(c.closed);
    world_answer_held(w, 0, "late");
    client_expect(w, &c, "", 200, "late");
    world_advance_ms(w, 74999);
    client_expect(w, &c, GET("/"), 200, "GET /|");
    client_close(&c);
}

static void a_refused_client_that_stays_is_closed_after_a_second(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, "BAD\r\n\r\n");
    client_response(w, &c, &r);
    client_await_closed(w, &c); /* our half */
    client_send(w, &c, "still talking");
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 1);
    world_advance_ms(w, 1000);
    assert_int_equal(http_server_connections(w->server), 0);
    client_close(&c);
    response_deinit(&r);
}

static void a_refused_upload_can_be_finished_and_its_answer_read(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    struct buf body = BUF_INIT;
    for (int i = 0; i < 200000; i++)
        buf_lit(&body, "0123456789");
    client_send(w, &c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
    client_send_n(w, &c, body.p, body.n);
    client_response(w, &c, &r);
    assert_int_equal(r.status, 413);
    client_await_closed(w, &c);
    assert_false(c.reset);
    client_close(&c);
    buf_deinit(&body);
    response_deinit(&r);
}

/* --- back-pressure --- */

static void answer_a_megabyte(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;
    char *body = malloc(1 << 20);
    memset(body, 'm', 1 << 20);
    w->handled++;
    http_answer(x, 200, STR("text/plain"), NULL, 0, (struct str){body, 1 << 20});
    free(body);
}

static void a_client_that_does_not_read_is_not_served_further_and_then_closed(void **state)
{
    struct world *w = *state;
    world_restart(w, answer_a_megabyte);
    struct client c = client_open_with_buffer(w, 4096);
    for (int i = 0; i < 100; i++)
        assert_true(send(c.fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL) > 0);
    world_settle(w, NULL);
    int served = w->handled;
    assert_in_range(served, 1, 20); /* what the kernel's buffers hold, and one above the mark */
    world_advance_ms(w, 29999);
    world_settle(w, NULL);
    assert_int_equal(w->handled, served);
    assert_int_equal(http_server_connections(w->server), 1);
    world_advance_ms(w, 1);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0);
    client_close(&c);
}

static void a_client_that_reads_late_gets_everything(void **state)
{
    struct world *w = *state;
    struct response r = {0};
    world_restart(w, answer_a_megabyte);
    struct client c = client_open_with_buffer(w, 4096);
    for (int i = 0; i < 20; i++)
        assert_true(send(c.fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL) > 0);
    world_settle(w, NULL);
    assert_true(w->handled < 20);
    for (int i = 0; i < 20; i++) {
        world_advance_ms(w, 20000); /* slow, but going on */
        client_response(w, &c, &r);
        assert_int_equal(r.body.n, 1 << 20);
    }
    assert_int_equal(w->handled, 20);
    client_close(&c);
    response_deinit(&r);
}

static void input_is_not_read_without_bound_while_a_request_is_handled(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct buf flood = BUF_INIT;
    size_t sent = 0;
    client_send(w, &c, GET("/hold"));
    world_settle(w, &c);
    for (int i = 0; i < (32 << 20) / 16; i++)
        buf_lit(&flood, "0123456789abcdef");
    for (int stuck = 0; stuck < 20;) {
        ssize_t n = send(c.fd, flood.p + sent, flood.n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        stuck = n > 0 ? 0 : stuck + 1;
        loop_turn(w->loop);
    }
    assert_true(sent < flood.n);
    world_answer_held(w, 0, "");
    client_close(&c);
    buf_deinit(&flood);
}

/* --- clients that go --- */

static void a_client_gone_while_handling_is_told_once_and_a_later_answer_is_harmless(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_send(w, &c, GET("/hold"));
    world_settle(w, &c);
    client_close(&c);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 1);
    world_answer_held(w, 0, "for nobody");
    world_settle(w, NULL);
    assert_int_equal(w->gone, 1);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void a_reset_while_handling_is_told_and_the_request_stays_readable(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct linger now = {1, 0};
    client_send(w, &c, GET("/hold?x"));
    world_settle(w, &c);
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    client_close(&c);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 1);
    assert_int_equal(http_server_connections(w->server), 0);
    assert_true(str_eq(http_exchange_request(w->held[0])->target, STR("/hold?x")));
    assert_non_null(arena_alloc(http_exchange_arena(w->held[0]), 100));
    assert_int_equal(http_stream_pending(w->held[0]), 0);
    world_answer_held(w, 0, "for nobody");
}

/* /hold, and behind it more than the server reads meanwhile; the kernel has room for the rest, so
 * that an end behind it arrives. */
static struct client hold_with_much_behind(struct world *w)
{
    struct client c = client_open(w);
    struct buf much = BUF_INIT;
    buf_lit(&much, GET("/hold"));
    while (much.n < 150 << 10)
        buf_lit(&much, GET("/behind"));
    client_send_n(w, &c, much.p, much.n);
    world_settle(w, &c);
    assert_int_equal(w->handled, w->held_count);
    buf_deinit(&much);
    return c;
}

static void SHOP_6d_a_client_gone_behind_much_input_is_noticed_within_a_second(void **state)
{
    struct world *w = *state;
    struct linger now = {1, 0};
    struct client reset = hold_with_much_behind(w), closed = hold_with_much_behind(w);
    setsockopt(reset.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    client_close(&reset);
    client_close(&closed);
    world_advance_ms(w, 1000);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 2);
    world_answer_held(w, 0, "for nobody");
    world_answer_held(w, 1, "for nobody");
    world_settle(w, NULL);
    assert_int_equal(w->gone, 2);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void SHOP_6d_a_client_that_stays_behind_much_input_is_not_given_up(void **state)
{
    struct world *w = *state;
    struct client c = hold_with_much_behind(w);
    for (int i = 0; i < 10; i++) {
        world_advance_ms(w, 1000);
        world_settle(w, &c);
    }
    assert_int_equal(w->gone, 0);
    world_answer_held(w, 0, "late");
    client_expect(w, &c, "", 200, "late");
    client_expect(w, &c, "", 200, "GET /behind|");
    client_close(&c);
}

static void a_half_closed_client_is_answered_if_the_handler_answers(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_send(w, &c, GET("/hold"));
    shutdown(c.fd, SHUT_WR);
    world_settle(w, &c);
    assert_int_equal(w->gone, 1);
    world_answer_held(w, 0, "all the same");
    client_expect(w, &c, "", 200, "all the same");
    client_await_closed(w, &c);
    client_close(&c);
}

static void answer_when_gone(struct http_exchange *x)
{
    world_note_gone(x);
    http_answer(x, 503, STR(""), NULL, 0, STR(""));
}

static void an_answer_from_within_on_gone_is_safe(void **state)
{
    struct world *w = *state;
    struct client polite = client_open(w), rude = client_open(w);
    struct linger now = {1, 0};
    client_send(w, &polite, GET("/hold"));
    client_send(w, &rude, GET("/hold"));
    world_settle(w, NULL);
    http_exchange_on_gone(w->held[0], answer_when_gone);
    http_exchange_on_gone(w->held[1], answer_when_gone);
    setsockopt(rude.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    client_close(&polite);
    client_close(&rude);
    world_settle(w, NULL);
    assert_int_equal(w->gone, 2);
    assert_int_equal(http_server_connections(w->server), 0);
}

static void a_client_gone_amid_a_request_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct client head = client_open(w), body = client_open(w);
    client_send(w, &head, "GET / HT");
    client_send(w, &body, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nabc");
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 2);
    client_close(&head);
    client_close(&body);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0);
    assert_int_equal(w->handled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(keep_alive_is_the_default_of_1_1_and_close_ends_it),
        WORLD_CASE(http_1_0_closes_unless_asked_to_keep),
        WORLD_CASE(a_thousand_pipelined_requests_are_answered_in_order),
        WORLD_CASE(a_pipelining_client_leaves_turns_to_others),
        WORLD_CASE(half_closed_after_pipelining_still_gets_every_answer),
        WORLD_CASE(a_later_answer_lets_the_next_pipelined_request_come),
        WORLD_CASE(an_error_in_the_pipeline_comes_after_the_answers_before_it),
        WORLD_CASE(continue_is_sent_when_the_body_waits_for_it),
        WORLD_CASE(continue_is_not_sent_when_the_body_is_there_or_1_0_asks),
        WORLD_CASE(large_bodies_with_and_without_length_arrive_whole),
        WORLD_CASE(a_slow_head_is_408_ten_seconds_after_its_first_byte),
        WORLD_CASE(a_new_connection_has_ten_seconds_for_its_first_head),
        WORLD_CASE(keep_alive_ends_silently_after_75_seconds),
        WORLD_CASE(SHOP_6d_a_body_that_stalls_for_30_seconds_is_408),
        WORLD_CASE(SHOP_6d_a_body_fed_drop_by_drop_has_30_seconds_and_a_second_a_KiB),
        WORLD_CASE(handling_takes_as_long_as_it_takes),
        WORLD_CASE(a_refused_client_that_stays_is_closed_after_a_second),
        WORLD_CASE(a_refused_upload_can_be_finished_and_its_answer_read),
        WORLD_CASE(a_client_that_does_not_read_is_not_served_further_and_then_closed),
        WORLD_CASE(a_client_that_reads_late_gets_everything),
        WORLD_CASE(input_is_not_read_without_bound_while_a_request_is_handled),
        WORLD_CASE(a_client_gone_while_handling_is_told_once_and_a_later_answer_is_harmless),
        WORLD_CASE(a_reset_while_handling_is_told_and_the_request_stays_readable),
        WORLD_CASE(SHOP_6d_a_client_gone_behind_much_input_is_noticed_within_a_second),
        WORLD_CASE(SHOP_6d_a_client_that_stays_behind_much_input_is_not_given_up),
        WORLD_CASE(a_half_closed_client_is_answered_if_the_handler_answers),
        WORLD_CASE(an_answer_from_within_on_gone_is_safe),
        WORLD_CASE(a_client_gone_amid_a_request_leaves_nothing),
    };
    return cmocka_run_group_tests_name("http/conn", tests, NULL, NULL);
}
