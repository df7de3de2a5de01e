/* SPDX-License-Identifier: MIT */
/* Listening, the limit of connections, drain, and the end of a server. */
#include "http_client.h"

#include <netdb.h>
#include <sys/resource.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void an_address_in_use_is_a_config_error_that_names_it(void **state)
{
    struct world *w = *state;
    struct err err;
    char address[64], expected[128];
    snprintf(address, sizeof(address), "127.0.0.1:%d", w->port);
    snprintf(expected, sizeof(expected), "cannot listen on %s: Address already in use", address);
    assert_int_equal(http_listen(str_from(address), NULL, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_string_equal(err.message, expected);
}

static void what_is_no_address_is_refused(void **state)
{
    const char *const bad[] = {"",        "127.0.0.1", "127.0.0.1:",   "127.0.0.1:65536", "a b:80",
                               "[::1:80", "::1:80",    "127.0.0.1:-1", "h:80 HTTP"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err;
        struct buf address = BUF_INIT;
        assert_int_equal(http_listen(str_from(bad[i]), &address, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_int_equal(address.n, 0);
    }
}

static void names_and_all_interfaces_can_be_listened_on(void **state)
{
    /* A container without /etc/hosts knows no names; then this one is left out. */
    struct addrinfo *found = NULL;
    bool named = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (named)
        freeaddrinfo(found);
    const char *const good[] = {":0", "0.0.0.0:0", named ? "localhost:0" : "127.0.0.1:0"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct err err;
        struct buf address = BUF_INIT;
        int fd = http_listen(str_from(good[i]), &address, &err);
        assert_true(fd >= 0);
        assert_null(strstr(buf_str(&address).p, ":0"));
        buf_deinit(&address);
        close(fd);
    }
}

static void two_servers_share_one_socket_and_both_serve(void **state)
{
    struct world *w = *state;
    struct err err;
    struct loop *other = loop_new(&w->clock, &err);
    struct http_server *second =
        http_server_new(other, w->listen_fd, &w->limits, world_handle, w, &err);
    struct client c[2] = {client_open(w), client_open(w)};
    /* Both are woken; each takes one connection a turn. */
    for (int i = 0; i < 1000 && http_server_connections(w->server) == 0; i++)
        loop_turn(w->loop);
    for (int i = 0; i < 1000 && http_server_connections(second) == 0; i++)
        loop_turn(other);
    assert_int_equal(http_server_connections(w->server), 1);
    assert_int_equal(http_server_connections(second), 1);
    for (int i = 0; i < 2; i++) {
        struct response r = {0};
        client_send(w, &c[i], GET("/"));
        for (int idle = 0; c[i].in.n == 0;) {
            loop_turn(other);
            world_step(w, &c[i], &idle);
        }
        client_response(w, &c[i], &r);
        assert_int_equal(r.status, 200);
        client_close(&c[i]);
        response_deinit(&r);
    }
    http_server_free(second);
    loop_free(other);
}

static void beyond_the_limit_503_with_retry_after_and_room_again_later(void **state)
{
    struct world *w = *state;
    struct response r = {0};
    w->limits.connections = 2;
    world_restart(w, world_handle);
    struct client a = client_open(w), b = client_open(w);
    client_expect(w, &a, GET("/"), 200, "GET /|");
    client_expect(w, &b, GET("/"), 200, "GET /|");
    struct client over = client_open(w);
    client_send(w, &over, GET("/over"));
    client_response(w, &over, &r);
    assert_int_equal(r.status, 503);
    assert_true(response_has(&r, "\r\nRetry-After: 1\r\n"));
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(buf_str(&r.body).p, "\"code\":\"limit\""));
    client_await_closed(w, &over);
    assert_false(over.reset);
    assert_int_equal(w->handled, 2);
    assert_int_equal(http_server_connections(w->server), 2);
    client_close(&over);
    client_close(&a);
    world_settle(w, NULL);
    struct client again = client_open(w);
    client_expect(w, &again, GET("/again"), 200, "GET /again|");
    client_close(&again);
    client_close(&b);
    response_deinit(&r);
}

static void without_descriptors_accepting_pauses_and_goes_on(void **state)
{
    struct world *w = *state;
    struct rlimit saved, none;
    struct client c = client_open(w);
    getrlimit(RLIMIT_NOFILE, &saved);
    none = saved;
    none.rlim_cur = (rlim_t)c.fd + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0);
    setrlimit(RLIMIT_NOFILE, &saved);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0); /* pausing */
    world_advance_ms(w, 100);
    client_expect(w, &c, GET("/"), 200, "GET /|");
    client_close(&c);
}

/* --- drain --- */

static void drain_without_connections_is_done_at_once(void **state)
{
    struct world *w = *state;
    http_server_drain(w->server, world_note_drained, w);
    assert_int_equal(w->drained, 1);
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
}

static void drain_closes_the_idle_and_lets_a_request_in_flight_end(void **state)
{
    struct world *w = *state;
    struct response r = {0};
    struct client idle = client_open(w), fresh = client_open(w), busy = client_open(w);
    client_expect(w, &idle, GET("/"), 200, "GET /|");
    client_send(w, &busy, GET("/hold"));
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 3);
    http_server_drain(w->server, world_note_drained, w);
    client_await_closed(w, &idle);
    client_await_closed(w, &fresh);
    assert_int_equal(idle.in.n + fresh.in.n, 0);
    assert_int_equal(w->drained, 0);
    world_answer_held(w, 0, "done");
    client_response(w, &busy, &r);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    assert_string_equal(buf_str(&r.body).p, "done");
    client_await_closed(w, &busy);
    client_close(&busy);
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
    client_close(&idle);
    client_close(&fresh);
    response_deinit(&r);
}

static void drain_lets_a_half_read_request_come_and_pipelined_ones_be_answered(void **state)
{
    struct world *w = *state;
    struct response r = {0};
    struct client half = client_open(w), line = client_open(w);
    client_send(w, &half, "GET /half HT");
    client_send(w, &line, GET("/hold") GET("/1") GET("/2"));
    world_settle(w, NULL);
    http_server_drain(w->server, world_note_drained, w);
    client_send(w, &half, "TP/1.1\r\nHost: a\r\n\r\n");
    client_response(w, &half, &r);
    assert_string_equal(buf_str(&r.body).p, "GET /half|");
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    world_answer_held(w, 0, "held");
    client_response(w, &line, &r);
    assert_false(response_has(&r, "\r\nConnection: close\r\n"));
    client_response(w, &line, &r);
    client_response(w, &line, &r);
    assert_string_equal(buf_str(&r.body).p, "GET /2|");
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    client_await_closed(w, &line);
    client_close(&half);
    client_close(&line);
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
    response_deinit(&r);
}

static void a_half_read_request_does_not_hold_up_a_drain_beyond_its_limit(void **state)
{
    struct world *w = *state;
    struct response r = {0};
    struct client c = client_open(w);
    client_send(w, &c, "GET / HT");
    world_settle(w, NULL);
    http_server_drain(w->server, world_note_drained, w);
    world_advance_ms(w, 10000);
    client_response(w, &c, &r);
    assert_int_equal(r.status, 408);
    client_await_closed(w, &c);
    world_settle(w, NULL);
    world_advance_ms(w, 1000); /* a client that does not close in its turn */
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
    client_close(&c);
    response_deinit(&r);
}

static void a_draining_server_takes_no_connection(void **state)
{
    struct world *w = *state;
    struct client busy = client_open(w);
    client_send(w, &busy, GET("/hold"));
    world_settle(w, NULL);
    http_server_drain(w->server, world_note_drained, w);
    struct client late = client_open(w);
    client_send(w, &late, GET("/late"));
    world_settle(w, &late);
    assert_int_equal(late.in.n, 0);
    assert_int_equal(http_server_connections(w->server), 1);
    assert_int_equal(w->handled, 1);
    world_answer_held(w, 0, "");
    client_close(&busy);
    client_close(&late);
}

static void free_the_server(void *ctx)
{
    struct world *w = ctx;
    w->drained++;
    http_server_free(w->server);
    w->server = NULL;
}

static void the_server_may_be_freed_when_it_has_drained(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    client_send(w, &c, GET("/hold"));
    world_settle(w, NULL);
    http_server_drain(w->server, free_the_server, w);
    world_answer_held(w, 0, "last");
    client_expect(w, &c, "", 200, "last");
    client_close(&c);
    world_settle(w, NULL);
    assert_int_equal(w->drained, 1);
    assert_null(w->server);
}

/* --- end --- */

static void freeing_tells_open_exchanges_and_a_later_answer_is_harmless(void **state)
{
    struct world *w = *state;
    struct client c[3] = {client_open(w), client_open(w), client_open(w)};
    client_send(w, &c[0], GET("/hold"));
    client_send(w, &c[1], GET("/hold"));
    client_send(w, &c[2], "GET / HT");
    world_settle(w, NULL);
    http_server_free(w->server);
    w->server = NULL;
    assert_int_equal(w->gone, 2);
    world_answer_held(w, 0, "for nobody");
    http_stream_begin(w->held[1], 200, STR("text/plain"), NULL, 0, NULL);
    assert_true(http_stream_write(w->held[1], STR("dropped")));
    http_stream_end(w->held[1]);
    for (int i = 0; i < 3; i++) {
        client_await_closed(w, &c[i]);
        assert_int_equal(c[i].in.n, 0);
        client_close(&c[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(an_address_in_use_is_a_config_error_that_names_it),
        WORLD_CASE(what_is_no_address_is_refused),
        WORLD_CASE(names_and_all_interfaces_can_be_listened_on),
        WORLD_CASE(two_servers_share_one_socket_and_both_serve),
        WORLD_CASE(beyond_the_limit_503_with_retry_after_and_room_again_later),
        WORLD_CASE(without_descriptors_accepting_pauses_and_goes_on),
        WORLD_CASE(drain_without_connections_is_done_at_once),
        WORLD_CASE(drain_closes_the_idle_and_lets_a_request_in_flight_end),
        WORLD_CASE(drain_lets_a_half_read_request_come_and_pipelined_ones_be_answered),
        WORLD_CASE(a_half_read_request_does_not_hold_up_a_drain_beyond_its_limit),
        WORLD_CASE(a_draining_server_takes_no_connection),
        WORLD_CASE(the_server_may_be_freed_when_it_has_drained),
        WORLD_CASE(freeing_tells_open_exchanges_and_a_later_answer_is_harmless),
    };
    return cmocka_run_group_tests_name("http/server", tests, NULL, NULL);
}
