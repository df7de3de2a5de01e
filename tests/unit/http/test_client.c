/* SPDX-License-Identifier: MIT */
/* The client against a server that is a socket in the test's hands: it says byte for byte what is
 * answered, and when. Time is a fake clock's. */
#include "http/client.h"
#include "http/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TURNS 3000 /* with a pause of at most 1 ms each, only while something is still missing */

struct world {
    struct clock clock;
    struct loop *loop;
    struct http_client *client;
    int listener, port, peer;
    struct buf heard; /* by the server */
    struct http_fetch fetch;
    struct err err;
    int ended, failed;
};

static void fetched(struct http_fetch *f, const struct err *err)
{
    struct world *w = (struct world *)(void *)((char *)f - offsetof(struct world, fetch));
    if (err != NULL) {
        w->failed++;
        w->err = *err;
    } else {
        w->ended++;
    }
}

static int listen_on_loopback(int *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void make_client(struct world *w, int own_port)
{
    struct err err;
    struct http_client_conf conf = {.loop = w->loop, HTTP_CLIENT_DEFAULT, .own_port = own_port};
    w->client = http_client_new(&conf, &err);
    assert_non_null(w->client);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct err err;
    clock_fake_init(&w->clock);
    w->loop = loop_new(&w->clock, &err);
    w->listener = listen_on_loopback(&w->port);
    w->peer = -1;
    make_client(w, 0);
    *state = w;
    return 0;
}

static void turn(struct world *w)
{
    if (!loop_turn(w->loop))
        poll(NULL, 0, 1);
}

static int teardown(void **state)
{
    struct world *w = *state;
    http_fetch_deinit(&w->fetch);
    for (int i = 0; i < 5; i++)
        loop_turn(w->loop);
    http_client_free(w->client);
    loop_free(w->loop);
    if (w->peer >= 0)
        close(w->peer);
    close(w->listener);
    buf_deinit(&w->heard);
    free(w);
    return 0;
}

static bool ready(int fd, short what)
{
    struct pollfd p = {fd, what, 0};
    return poll(&p, 1, 0) == 1;
}

static void take_connection(struct world *w)
{
    for (int i = 0; i < TURNS && !ready(w->listener, POLLIN); i++)
        turn(w);
    assert_true(ready(w->listener, POLLIN));
    w->peer = accept(w->listener, NULL, NULL);
    assert_true(w->peer >= 0);
}

/* Runs until the server has heard text. */
static void hear(struct world *w, const char *text)
{
    char piece[4096];
    for (int i = 0; i < TURNS; i++) {
        if (w->heard.n > 0 && strstr(buf_str(&w->heard).p, text) != NULL)
            return;
        turn(w);
        if (!ready(w->peer, POLLIN))
            continue;
        ssize_t n = read(w->peer, piece, sizeof(piece));
        assert_true(n > 0);
        buf_add(&w->heard, piece, (size_t)n);
    }
    fail_msg("never heard %s", text);
}

static void say_bytes(struct world *w, const char *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t sent = send(w->peer, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0)
            done += (size_t)sent;
        else if (w->ended + w->failed > 0)
            return;
        turn(w);
    }
}

static void say(struct world *w, const char *text)
{
    say_bytes(w, text, strlen(text));
}

static void reset(struct world *w)
{
    struct linger now = {1, 0};
    setsockopt(w->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(w->peer);
    w->peer = -1;
}

static void hang_up(struct world *w)
{
    close(w->peer);
    w->peer = -1;
}

static struct http_call_conf conf_of(struct world *w, const char *method)
{
    return (struct http_call_conf){.method = str_from(method),
                                   .host = STR("127.0.0.1"),
                                   .port = w->port,
                                   .target = STR("/x"),
                                   .answer_bytes = 1 << 20,
                                   .deadline_ns = clock_mono_ns(&w->clock) + 10 * NS_PER_S};
}

static void start(struct world *w, const struct http_call_conf *conf)
{
    struct err err;
    http_fetch_deinit(&w->fetch);
    w->fetch = (struct http_fetch){.done = fetched};
    w->ended = w->failed = 0;
    buf_clear(&w->heard);
    if (http_fetch_start(w->client, &w->fetch, conf, &err) != 0)
        fail_msg("%s", err.message);
}

static void get(struct world *w)
{
    struct http_call_conf conf = conf_of(w, "GET");
    start(w, &conf);
}

static void until_over(struct world *w)
{
    for (int i = 0; i < TURNS && w->ended + w->failed == 0; i++)
        turn(w);
    assert_int_equal(w->ended + w->failed, 1);
}

static void assert_answer(struct world *w, int status, const char *body)
{
    until_over(w);
    if (w->failed)
        fail_msg("%s", w->err.message);
    assert_int_equal(w->fetch.status, status);
    assert_string_equal(buf_str(&w->fetch.body).p ? buf_str(&w->fetch.body).p : "", body);
}

static void assert_error(struct world *w, enum err_code code, const char *part)
{
    until_over(w);
    assert_int_equal(w->ended, 0);
    if (w->err.code != code || strstr(w->err.message, part) == NULL)
        fail_msg("%s: %s", err_name(w->err.code), w->err.message);
}

/* A GET that is answered with text, then the server hangs up. */
static void get_answered(struct world *w, const char *text)
{
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, text);
    hang_up(w);
}

static void an_answer_with_a_length_and_its_connection_is_used_again(void **state)
{
    struct world *w = *state;
    struct http_call_conf conf = conf_of(w, "POST");
    struct http_header header = {STR("X-Test"), STR("1")};
    conf.headers = &header;
    conf.header_count = 1;
    conf.body = STR("{}");
    start(w, &conf);
    take_connection(w);
    hear(w, "\r\n\r\n{}");
    char expected[200];
    snprintf(expected, sizeof(expected),
             "POST /x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Test: 1\r\nContent-Length: 2\r\n\r\n{}",
             w->port);
    assert_string_equal(buf_str(&w->heard).p, expected);
    say(w, "HTTP/1.1 201 Created\r\nContent-Length: 5\r\nLocation: /x/1\r\n\r\nhello");
    assert_answer(w, 201, "hello");
    struct str location = http_fetch_header(&w->fetch, STR("location"));
    assert_true(str_eq(location, STR("/x/1")));
    assert_int_equal(http_client_idle(w->client), 1);
    get(w);
    hear(w, "GET /x"); /* on the same connection: nothing was accepted */
    say(w, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_answer(w, 204, "");
    assert_false(ready(w->listener, POLLIN));
}

/* The server says more and hangs up, and a request begins before the loop has seen it. */
static void post_at_once(struct http_fetch *f, const struct err *err)
{
    static const char evil[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    struct world *w = (struct world *)(void *)((char *)f - offsetof(struct world, fetch));
    struct http_call_conf conf = conf_of(w, "POST");
    assert_null(err);
    assert_int_equal(http_client_idle(w->client), 1);
    send(w->peer, evil, sizeof(evil) - 1, MSG_NOSIGNAL);
    hang_up(w);
    start(w, &conf);
}

static void what_waits_on_an_unused_connection_answers_nobody(void **state)
{
    struct world *w = *state;
    get(w);
    w->fetch.done = post_at_once;
    take_connection(w);
    hear(w, "GET /x");
    int first = w->peer;
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (int i = 0; i < TURNS && w->peer == first; i++)
        turn(w);
    take_connection(w);
    hear(w, "POST /x");
    say(w, "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ntrue");
    assert_answer(w, 201, "true");
}

static void chunks_with_trailers_in_single_bytes(void **state)
{
    struct world *w = *state;
    const char *text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    for (const char *p = text; *p != '\0'; p++)
        say_bytes(w, p, 1);
    assert_answer(w, 200, "abc0123456789");
    assert_int_equal(http_client_idle(w->client), 1);
}

static void a_body_until_the_end_of_the_connection(void **state)
{
    struct world *w = *state;
    get_answered(w, "HTTP/1.0 200 OK\r\n\r\nall of it");
    assert_answer(w, 200, "all of it");
    assert_int_equal(http_client_idle(w->client), 0);
}

static void no_body_after_head_and_304(void **state)
{
    struct world *w = *state;
    struct http_call_conf conf = conf_of(w, "HEAD");
    start(w, &conf);
    take_connection(w);
    hear(w, "HEAD /x");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    assert_answer(w, 200, "");
    get(w);
    hear(w, "GET /x");
    say(w, "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n");
    assert_answer(w, 304, "");
    assert_int_equal(http_client_idle(w->client), 1);
}

static void interim_answers_are_passed_over(void **state)
{
    struct world *w = *state;
    get_answered(w, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_answer(w, 200, "ok");
    assert_int_equal(w->fetch.header_count, 1);
}

static void interim_answers_without_end_are_refused(void **state)
{
    struct world *w = *state;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    for (int i = 0; i < 20 && w->failed == 0; i++)
        say(w, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_error(w, ERR_PROTOCOL, "too many interim answers");
}

static void what_was_cut_off_is_an_error(void **state)
{
    static const char *const cut[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++) {
        get_answered(w, cut[i]);
        assert_error(w, ERR_UNREACHABLE, "no whole answer");
        assert_int_equal(http_client_idle(w->client), 0);
    }
}

static void a_reset_in_a_body_is_an_error_even_without_length(void **state)
{
    struct world *w = *state;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\n\r\nsome");
    for (int i = 0; i < TURNS && w->fetch.body.n < 4; i++)
        turn(w);
    reset(w);
    assert_error(w, ERR_UNREACHABLE, "reset");
}

static void garbage_is_refused(void **state)
{
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        get_answered(w, bad[i]);
        until_over(w);
        if (w->failed != 1 || w->err.code != ERR_PROTOCOL)
            fail_msg("%s: %s", bad[i], w->failed ? w->err.message : "accepted");
        assert_int_equal(http_client_idle(w->client), 0);
    }
}

static void what_follows_an_answer_ends_the_connection_not_the_answer(void **state)
{
    struct world *w = *state;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n");
    assert_answer(w, 200, "ok");
    assert_int_equal(http_client_idle(w->client), 0);
}

static void bytes_on_an_unused_connection_end_it(void **state)
{
    struct world *w = *state;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_answer(w, 200, "ok");
    assert_int_equal(http_client_idle(w->client), 1);
    say(w, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < TURNS && http_client_idle(w->client) > 0; i++)
        turn(w);
    assert_int_equal(http_client_idle(w->client), 0);
}

static void bounds_of_head_and_body(void **state)
{
    struct world *w = *state;
    struct buf big = BUF_INIT;
    buf_lit(&big, "HTTP/1.1 200 OK\r\nX: ");
    for (int i = 0; i < 70000; i++)
        buf_addc(&big, 'x');
    buf_lit(&big, "\r\n\r\n");
    get_answered(w, buf_str(&big).p);
    assert_error(w, ERR_TOO_LARGE, "head");
    struct http_call_conf conf = conf_of(w, "GET");
    conf.answer_bytes = 10;
    start(w, &conf);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890");
    assert_error(w, ERR_TOO_LARGE, "the answer is too large");
    assert_int_equal(http_client_idle(w->client), 0);
    buf_deinit(&big);
}

static void too_many_headers_are_refused(void **state)
{
    struct world *w = *state;
    struct buf many = BUF_INIT;
    buf_lit(&many, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 101; i++)
        buf_lit(&many, "A: b\r\n");
    buf_lit(&many, "\r\n");
    get_answered(w, buf_str(&many).p);
    assert_error(w, ERR_PROTOCOL, "too many headers");
    buf_deinit(&many);
}

static void a_slow_answer_ends_at_the_deadline(void **state)
{
    struct world *w = *state;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    clock_advance(&w->clock, 9 * NS_PER_S);
    turn(w);
    assert_int_equal(w->failed, 0);
    clock_advance(&w->clock, NS_PER_S);
    assert_error(w, ERR_TIMEOUT, "no answer within the time allowed");
    char byte;
    for (int i = 0; i < TURNS && !ready(w->peer, POLLIN); i++)
        turn(w);
    assert_true(read(w->peer, &byte, 1) <= 0); /* the connection went with it */
}

static void nobody_listens(void **state)
{
    struct world *w = *state;
    int port, fd = listen_on_loopback(&port);
    close(fd);
    struct http_call_conf conf = conf_of(w, "GET");
    conf.port = port;
    start(w, &conf);
    assert_error(w, ERR_UNREACHABLE, "refused");
    conf.host = STR("localhost");
    start(w, &conf);
    assert_error(w, ERR_UNREACHABLE, "localhost:");
}

static void no_connection_within_its_time(void **state)
{
    struct world *w = *state;
    struct http_call_conf conf = conf_of(w, "GET");
    conf.host = STR("192.0.2.1"); /* for documentation: nobody is there */
    start(w, &conf);
    turn(w);
    clock_advance(&w->clock, NS_PER_S);
    until_over(w);
    assert_int_equal(w->err.code, ERR_UNREACHABLE);
}

static void link_local_addresses_are_never_called(void **state)
{
    static const char *const hosts[] = {"169.254.169.254", "fe80::1", "::ffff:169.254.1.1"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        struct http_call_conf conf = conf_of(w, "GET");
        conf.host = str_from(hosts[i]);
        start(w, &conf);
        assert_error(w, ERR_FORBIDDEN, "link-local");
    }
}

static void the_own_port_is_never_called(void **state)
{
    struct world *w = *state;
    http_client_free(w->client);
    make_client(w, w->port);
    get(w);
    assert_error(w, ERR_FORBIDDEN, "admin side");
    take_connection(w);
    char byte;
    assert_true(recv(w->peer, &byte, 1, 0) <= 0); /* it heard nothing */
}

/* A first call leaves a connection behind, which the server closes as the second one comes. */
static void leave_a_stale_connection(struct world *w)
{
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_answer(w, 200, "ok");
}

static void a_stale_connection_is_replaced_once(void **state)
{
    struct world *w = *state;
    struct http_header key = {STR("Idempotency-Key"), STR("k1")};
    struct http_call_conf conf = conf_of(w, "POST");
    conf.headers = &key;
    conf.header_count = 1;
    conf.body = STR("{}");
    leave_a_stale_connection(w);
    start(w, &conf);
    hear(w, "k1");
    reset(w); /* the request was read, nothing was answered */
    take_connection(w);
    buf_clear(&w->heard);
    hear(w, "Idempotency-Key: k1\r\nContent-Length: 2\r\n\r\n{}");
    reset(w);
    assert_error(w, ERR_UNREACHABLE, "no whole answer");
    assert_false(ready(w->listener, POLLIN));
}

static void a_post_without_key_is_not_repeated(void **state)
{
    struct world *w = *state;
    struct http_call_conf conf = conf_of(w, "POST");
    leave_a_stale_connection(w);
    start(w, &conf);
    hear(w, "POST /x");
    reset(w);
    assert_error(w, ERR_UNREACHABLE, "no whole answer");
    assert_false(ready(w->listener, POLLIN));
}

static void unused_connections_are_closed_after_a_while(void **state)
{
    struct world *w = *state;
    leave_a_stale_connection(w);
    assert_int_equal(http_client_idle(w->client), 1);
    clock_advance(&w->clock, 16 * NS_PER_S);
    turn(w);
    assert_int_equal(http_client_idle(w->client), 0);
}

static void a_cancelled_call_closes_its_connection(void **state)
{
    struct world *w = *state;
    char byte;
    get(w);
    take_connection(w);
    hear(w, "\r\n\r\n");
    http_fetch_cancel(&w->fetch);
    for (int i = 0; i < TURNS && !ready(w->peer, POLLIN); i++)
        turn(w);
    assert_true(read(w->peer, &byte, 1) <= 0);
    assert_int_equal(w->ended + w->failed, 0);
    get(w); /* before it even connects */
    http_fetch_cancel(&w->fetch);
    turn(w);
    assert_int_equal(w->ended + w->failed, 0);
}

static void what_cannot_be_sent_is_refused(void **state)
{
    struct world *w = *state;
    struct err err;
    struct http_fetch f = {.done = fetched};
    struct http_header bad[] = {
        {STR("A"), STR("b\r\nC: d")}, {STR("a b"), STR("c")}, {STR("Content-Length"), STR("3")}};
    for (int i = 0; i < 3; i++) {
        struct http_call_conf conf = conf_of(w, "GET");
        conf.headers = &bad[i];
        conf.header_count = 1;
        assert_int_equal(http_fetch_start(w->client, &f, &conf, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    struct http_call_conf conf = conf_of(w, "GET");
    conf.target = STR("/a b");
    assert_int_equal(http_fetch_start(w->client, &f, &conf, &err), -1);
}

/* ---- streams ---- */

struct stream {
    struct http_call *call;
    size_t bytes;
    int heads, ends, errors, drains;
    bool cancel_in_body, pause_in_body;
};

static void stream_head(void *owner, const struct http_response *head)
{
    struct stream *s = owner;
    s->heads++;
    assert_int_equal(head->status, 200);
}

static void stream_body(void *owner, struct str piece)
{
    struct stream *s = owner;
    s->bytes += piece.n;
    if (s->cancel_in_body)
        http_call_cancel(s->call);
    else if (s->pause_in_body)
        http_call_pause(s->call);
}

static void stream_end(void *owner)
{
    ((struct stream *)owner)->ends++;
}

static void stream_error(void *owner, const struct err *err)
{
    (void)err;
    ((struct stream *)owner)->errors++;
}

static void stream_drain(void *owner)
{
    ((struct stream *)owner)->drains++;
}

static const struct http_call_class stream_class = {stream_head, stream_body, stream_end,
                                                    stream_error, stream_drain};

static void start_stream(struct world *w, struct stream *s, struct http_call_conf *conf)
{
    struct err err;
    conf->class = &stream_class;
    conf->owner = s;
    conf->answer_bytes = 0;
    s->call = http_call_start(w->client, conf, &err);
    assert_non_null(s->call);
}

static void a_streamed_body_goes_in_chunks(void **state)
{
    struct world *w = *state;
    struct stream s = {0};
    struct http_call_conf conf = conf_of(w, "POST");
    conf.streams = true;
    start_stream(w, &s, &conf);
    assert_true(http_call_write(s.call, STR("early")));
    take_connection(w);
    hear(w, "Transfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
    char piece[16384];
    memset(piece, 'x', sizeof(piece));
    int pieces = 0;
    while (pieces < 1000 && http_call_write(s.call, (struct str){piece, sizeof(piece)}))
        pieces++;
    assert_in_range(pieces, 1, 999); /* it says when it is enough */
    for (int i = 0; i < TURNS && s.drains == 0; i++) {
        turn(w);
        while (ready(w->peer, POLLIN) && read(w->peer, piece, sizeof(piece)) > 0)
            continue;
    }
    assert_true(s.drains > 0);
    http_call_finish(s.call);
    hear(w, "0\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (int i = 0; i < TURNS && s.ends == 0; i++)
        turn(w);
    assert_int_equal(s.ends, 1);
    assert_int_equal(s.bytes, 2);
}

static void a_paused_answer_waits_in_the_kernel(void **state)
{
    struct world *w = *state;
    struct stream s = {.pause_in_body = true};
    struct http_call_conf conf = conf_of(w, "GET");
    const size_t total = 8 << 20;
    start_stream(w, &s, &conf);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    char piece[16384] = {0};
    size_t sent = 0;
    for (int quiet = 0; quiet < 50 && sent < total;) {
        ssize_t n = send(w->peer, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        sent += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    assert_true(sent < total);            /* the server had to stop */
    assert_in_range(s.bytes, 1, 1 << 18); /* little was handed out */
    s.pause_in_body = false;
    http_call_resume(s.call);
    while (sent < total) {
        size_t left = total - sent < sizeof(piece) ? total - sent : sizeof(piece);
        ssize_t n = send(w->peer, piece, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    for (int i = 0; i < TURNS && s.ends == 0; i++)
        turn(w);
    assert_int_equal(s.ends, 1);
    assert_int_equal(s.bytes, total);
}

static void a_call_may_be_cancelled_from_its_own_piece(void **state)
{
    struct world *w = *state;
    struct stream s = {.cancel_in_body = true};
    struct http_call_conf conf = conf_of(w, "GET");
    start_stream(w, &s, &conf);
    take_connection(w);
    hear(w, "\r\n\r\n");
    say(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    for (int i = 0; i < TURNS && s.bytes == 0; i++)
        turn(w);
    turn(w);
    assert_int_equal(s.bytes, 1);
    assert_int_equal(s.ends + s.errors, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer_with_a_length_and_its_connection_is_used_again),
        CASE(what_waits_on_an_unused_connection_answers_nobody),
        CASE(chunks_with_trailers_in_single_bytes),
        CASE(a_body_until_the_end_of_the_connection),
        CASE(no_body_after_head_and_304),
        CASE(interim_answers_are_passed_over),
        CASE(interim_answers_without_end_are_refused),
        CASE(what_was_cut_off_is_an_error),
        CASE(a_reset_in_a_body_is_an_error_even_without_length),
        CASE(garbage_is_refused),
        CASE(what_follows_an_answer_ends_the_connection_not_the_answer),
        CASE(bytes_on_an_unused_connection_end_it),
        CASE(bounds_of_head_and_body),
        CASE(too_many_headers_are_refused),
        CASE(a_slow_answer_ends_at_the_deadline),
        CASE(nobody_listens),
        CASE(no_connection_within_its_time),
        CASE(link_local_addresses_are_never_called),
        CASE(the_own_port_is_never_called),
        CASE(a_stale_connection_is_replaced_once),
        CASE(a_post_without_key_is_not_repeated),
        CASE(unused_connections_are_closed_after_a_while),
        CASE(a_cancelled_call_closes_its_connection),
        CASE(what_cannot_be_sent_is_refused),
        CASE(a_streamed_body_goes_in_chunks),
        CASE(a_paused_answer_waits_in_the_kernel),
        CASE(a_call_may_be_cancelled_from_its_own_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
