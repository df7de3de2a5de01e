/* SPDX-License-Identifier: MIT */
#pragma once

/* A world for tests of connections: a server on a loopback port under a fake clock, and raw clients
 * driven by the same thread. Waits end by an event on a socket; 5 s of real time without one fail
 * the case. */
#include "http/answer.h"
#include "loop/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define WORLD_HELD 16

struct world {
    struct clock clock;
    struct loop *loop;
    int listen_fd;
    int port;
    struct http_limits limits;
    struct http_server *server;
    int handled;                            /* calls of the handler */
    struct http_exchange *held[WORLD_HELD]; /* of /hold, not answered */
    int held_count;
    int gone;    /* calls of on_gone */
    int drained; /* calls of the drain's done */
    size_t body_seen;
};

struct client {
    int fd;
    struct buf in;
    bool closed; /* by the server, orderly or not */
    bool reset;
};

struct response {
    int status;
    char head[4096];
    struct buf body;
};

static inline void world_note_gone(struct http_exchange *x)
{
    struct world *w = http_exchange_data(x);
    w->gone++;
}

/* /hold keeps the exchange; anything else is echoed: "METHOD target|body". */
static inline void world_handle(void *ctx, struct http_exchange *x)
{
    struct world *w = ctx;
    const struct http_request *r = http_exchange_request(x);
    w->handled++;
    w->body_seen = r->body.n;
    if (str_eq(r->path, STR("/hold")) && w->held_count < WORLD_HELD) {
        http_exchange_set_data(x, w);
        http_exchange_on_gone(x, world_note_gone);
        w->held[w->held_count++] = x;
        return;
    }
    struct buf out = BUF_INIT;
    buf_adds(&out, r->method_name);
    buf_addc(&out, ' ');
    buf_adds(&out, r->target);
    buf_addc(&out, '|');
    buf_adds(&out, r->body);
    http_answer(x, 200, STR("text/plain"), NULL, 0, buf_str(&out));
    buf_deinit(&out);
}

static inline void world_serve(struct world *w, http_handler_fn *handler)
{
    struct err err;
    w->server = http_server_new(w->loop, w->listen_fd, &w->limits, handler, w, &err);
    assert_non_null(w->server);
}

static inline int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct buf address = BUF_INIT;
    struct err err;
    w->limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    clock_fake_init(&w->clock);
    w->loop = loop_new(&w->clock, &err);
    w->listen_fd = http_listen(STR("127.0.0.1:0"), &address, &err);
    assert_true(w->listen_fd >= 0);
    assert_true(str_starts(buf_str(&address), STR("127.0.0.1:")));
    w->port = atoi(buf_str(&address).p + 10);
    assert_true(w->port > 0);
    buf_deinit(&address);
    world_serve(w, world_handle);
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    http_server_free(w->server);
    close(w->listen_fd);
    loop_free(w->loop);
    free(w);
    return 0;
}

/* Another server with w->limits as they are now. */
static inline void world_restart(struct world *w, http_handler_fn *handler)
{
    http_server_free(w->server);
    world_serve(w, handler);
}

static inline void world_answer_held(struct world *w, int index, const char *body)
{
    http_answer(w->held[index], 200, STR("text/plain"), NULL, 0, str_from(body));
}

static inline void world_note_drained(void *ctx)
{
    struct world *w = ctx;
    w->drained++;
}

static inline struct client client_open_with_buffer(struct world *w, int receive_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (receive_bytes > 0)
        setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    assert_int_equal(connect(c.fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return c;
}

static inline struct client client_open(struct world *w)
{
    return client_open_with_buffer(w, 0);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_deinit(&c->in);
}

/* One read, without waiting; true if anything came. */
static inline bool client_receive(struct client *c)
{
    char chunk[65536];
    if (c->closed)
        return false;
    ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n > 0) {
        buf_add(&c->in, chunk, (size_t)n);
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    c->closed = true;
    c->reset = n < 0;
    return true;
}

/* Lets the server and the client go on until neither has anything to do. */
static inline void world_settle(struct world *w, struct client *c)
{
    for (int quiet = 0; quiet < 30;) {
        bool moved = loop_turn(w->loop);
        if (c)
            moved |= client_receive(c);
        quiet = moved ? 0 : quiet + 1;
    }
}

/* One turn and one read; fails the case if nothing moves for 5 s. */
static inline void world_step(struct world *w, struct client *c, int *idle)
{
    struct pollfd wait = {c->fd, POLLIN, 0};
    bool moved = loop_turn(w->loop);
    moved |= client_receive(c);
    if (moved) {
        *idle = 0;
        return;
    }
    if (++*idle > 10)
        poll(&wait, 1, 5);
    assert_true(*idle < 1000);
}

static inline void client_send_n(struct world *w, struct client *c, const char *p, size_t n)
{
    int idle = 0;
    while (n > 0 && !c->reset) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return; /* the server has closed: the case sees it by reading */
        }
        if (n > 0)
            world_step(w, c, &idle);
    }
}

static inline void client_send(struct world *w, struct client *c, const char *text)
{
    client_send_n(w, c, text, strlen(text));
}

static inline void client_await_bytes(struct world *w, struct client *c, size_t n)
{
    for (int idle = 0; c->in.n < n;) {
        assert_false(c->closed);
        world_step(w, c, &idle);
    }
}

static inline void client_await_closed(struct world *w, struct client *c)
{
    for (int idle = 0; !c->closed;)
        world_step(w, c, &idle);
}

static inline void client_drop(struct client *c, size_t n)
{
    memmove(c->in.p, c->in.p + n, c->in.n - n);
    c->in.n -= n;
    c->in.p[c->in.n] = '\0';
}

static inline bool response_has(const struct response *r, const char *text)
{
    return strstr(r->head, text) != NULL;
}

static inline size_t client_await_text(struct world *w, struct client *c, const char *text)
{
    size_t n = strlen(text);
    for (int idle = 0;;) {
        char *found = c->in.n >= n ? memmem(c->in.p, c->in.n, text, n) : NULL;
        if (found)
            return (size_t)(found - c->in.p) + n;
        assert_false(c->closed);
        world_step(w, c, &idle);
    }
}

static inline void response_read_head(struct world *w, struct client *c, struct response *r)
{
    size_t n = client_await_text(w, c, "\r\n\r\n");
    assert_true(n < sizeof(r->head));
    memcpy(r->head, c->in.p, n);
    r->head[n] = '\0';
    client_drop(c, n);
    assert_int_equal(sscanf(r->head, "HTTP/1.1 %d ", &r->status), 1);
    buf_clear(&r->body);
}

static inline void response_read_chunks(struct world *w, struct client *c, struct response *r)
{
    for (;;) {
        size_t line = client_await_text(w, c, "\r\n");
        size_t n = strtoul(c->in.p, NULL, 16);
        client_drop(c, line);
        client_await_bytes(w, c, n + 2);
        buf_add(&r->body, c->in.p, n);
        assert_memory_equal(c->in.p + n, "\r\n", 2);
        client_drop(c, n + 2);
        if (n == 0)
            return;
    }
}

/* Reads one whole answer. bodyless: of HEAD. r->body is freed by response_deinit. */
static inline void client_response_of(struct world *w, struct client *c, struct response *r,
                                      bool bodyless)
{
    response_read_head(w, c, r);
    if (bodyless || r->status < 200 || r->status == 204 || r->status == 304)
        return;
    if (response_has(r, "\r\nTransfer-Encoding: chunked\r\n")) {
        response_read_chunks(w, c, r);
        return;
    }
    const char *length = strstr(r->head, "\r\nContent-Length: ");
    assert_non_null(length);
    size_t n = strtoul(length + 18, NULL, 10);
    client_await_bytes(w, c, n);
    buf_add(&r->body, c->in.p, n);
    if (n > 0)
        client_drop(c, n);
}

static inline void client_response(struct world *w, struct client *c, struct response *r)
{
    client_response_of(w, c, r, false);
}

static inline void response_deinit(struct response *r)
{
    buf_deinit(&r->body);
}

/* Sends, and asserts status and body of the answer. */
static inline void client_expect(struct world *w, struct client *c, const char *request, int status,
                                 const char *body)
{
    struct response r = {0};
    client_send(w, c, request);
    client_response(w, c, &r);
    assert_int_equal(r.status, status);
    assert_string_equal(buf_str(&r.body).p, body);
    response_deinit(&r);
}

static inline void world_advance_ms(struct world *w, int ms)
{
    clock_advance(&w->clock, ms * NS_PER_MS);
    loop_turn(w->loop);
}

#define WORLD_CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
