/* SPDX-License-Identifier: MIT */
/* The life of a client's connection. Only link_run hands an answer on; what its call does meanwhile
 * (cancel, pause, begin another one) is looked at after each step, and the connection is freed in
 * one place. */
#include "http/client_inside.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERIM_MAX 10 /* 1xx answers before the one that counts */

static void link_free(struct http_link *l)
{
    struct http_client *c = l->client;
    if (list_linked(&l->node)) {
        list_remove(&l->node);
        c->idle_count--;
    }
    loop_timer_stop(c->conf.loop, &l->idle);
    loop_defer_cancel(c->conf.loop, &l->again);
    c->link_count--;
    bufferevent_free(l->bev);
    free((char *)l->host.p);
    free(l);
}

/* Without its call; freed by whoever runs it, or now. */
static void link_end(struct http_link *l)
{
    if (l->call != NULL)
        l->call->link = NULL;
    l->call = NULL;
    l->dead = true;
    if (!l->running)
        link_free(l);
}

static void idle_over(struct loop_timer *t)
{
    link_end(list_entry(t, struct http_link, idle));
}

/* The answer is complete: keeps the connection if it can be used again. */
static void link_rest(struct http_link *l)
{
    struct http_client *c = l->client;
    bool reusable = l->parse.keep_alive && !l->dead && l->call->finished &&
                    evbuffer_get_length(bufferevent_get_input(l->bev)) == 0 &&
                    evbuffer_get_length(bufferevent_get_output(l->bev)) == 0;
    l->call->link = NULL;
    l->call = NULL;
    l->used_before = true;
    if (!reusable || c->conf.idle_max == 0) {
        l->dead = true;
        return;
    }
    if (c->idle_count >= c->conf.idle_max)
        link_end(list_entry(c->idle.next, struct http_link, node));
    list_push(&c->idle, &l->node);
    c->idle_count++;
    l->idle.fn = idle_over;
    loop_timer_start(c->conf.loop, &l->idle,
                     loop_now_ns(c->conf.loop) + c->conf.idle_ms * NS_PER_MS);
    bufferevent_enable(l->bev, EV_READ);
}

/* ---- reading ---- */

static void fail_call(struct http_link *l, enum err_code code, const char *what)
{
    struct http_call *call = l->call;
    struct err err;
    err_set(&err, code, "%.*s:%d: %s", STR_ARG(call->host), call->port, what);
    link_end(l);
    http_call_fail(call, &err);
}

static void on_piece(void *ctx, struct str piece)
{
    struct http_link *l = ctx;
    struct http_call *call = l->call;
    if (call == NULL)
        return;
    call->answer_bytes += piece.n;
    if (call->answer_limit > 0 && call->answer_bytes > call->answer_limit) {
        l->parse.stopped = true;
        fail_call(l, ERR_TOO_LARGE, "the answer is too large");
        return;
    }
    call->class->on_body(call->owner, piece);
    if (l->call == NULL)
        l->parse.stopped = true;
}

static void refuse(struct http_link *l, enum http_response_verdict verdict)
{
    char text[160];
    snprintf(text, sizeof(text), "what came is no HTTP answer: %s",
             l->parse.wrong ? l->parse.wrong : "");
    fail_call(l, verdict == HTTP_RESPONSE_TOO_LARGE ? ERR_TOO_LARGE : ERR_PROTOCOL,
              verdict == HTTP_RESPONSE_TOO_LARGE ? "the head of the answer is too large" : text);
}

static void end_call(struct http_link *l)
{
    struct http_call *call = l->call;
    link_rest(l);
    http_call_end(call);
}

/* Reads a head that is complete in the input; false if nothing further can be done now. */
static bool read_head(struct http_link *l, const char *data, size_t n)
{
    struct http_call *call = l->call;
    size_t bytes = 0;
    enum http_response_verdict verdict =
        http_response_scan(&l->parse, data, n, l->client->conf.head_bytes, &bytes);
    if (verdict == HTTP_RESPONSE_MORE)
        return false;
    if (verdict == HTTP_RESPONSE_HEAD) {
        buf_clear(&call->answer);
        buf_add(&call->answer, data, bytes);
        l->parse.bodyless = str_eq(call->method, STR("HEAD"));
        verdict = http_response_head(&l->parse, call->answer.p, bytes);
    }
    if (verdict != HTTP_RESPONSE_HEAD && verdict != HTTP_RESPONSE_DONE) {
        refuse(l, verdict);
        return false;
    }
    evbuffer_drain(bufferevent_get_input(l->bev), bytes);
    if (call->response.status < 200) {
        if (++l->parse.interim <= INTERIM_MAX)
            return true;
        l->parse.wrong = "too many interim answers";
        refuse(l, HTTP_RESPONSE_WRONG);
        return false;
    }
    l->in_body = true;
    call->class->on_head(call->owner, &call->response);
    if (l->call != NULL && verdict == HTTP_RESPONSE_DONE) {
        end_call(l);
        return false;
    }
    return l->call != NULL;
}

static bool read_body(struct http_link *l, const char *data, size_t n)
{
    size_t used = 0;
    enum http_response_verdict verdict = http_response_body(&l->parse, data, n, &used);
    if (l->call == NULL)
        return false;
    if (verdict == HTTP_RESPONSE_WRONG) {
        refuse(l, verdict);
        return false;
    }
    evbuffer_drain(bufferevent_get_input(l->bev), used);
    if (verdict == HTTP_RESPONSE_DONE) {
        end_call(l);
        return false;
    }
    return used > 0;
}

/* One step over the input; true if another one may be due. */
static bool link_step(struct http_link *l)
{
    struct evbuffer *input = bufferevent_get_input(l->bev);
    size_t n = evbuffer_get_length(input);
    if (l->dead || l->call == NULL || l->call->paused || n == 0)
        return false;
    l->answered = true;
    const char *data = (const char *)evbuffer_pullup(input, -1);
    return l->in_body ? read_body(l, data, n) : read_head(l, data, n);
}

static void link_run(struct http_link *l)
{
    l->running = true;
    while (link_step(l))
        continue;
    l->running = false;
    if (l->dead)
        link_free(l);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    struct http_link *l = ctx;
    (void)bev;
    if (l->call == NULL)
        link_end(l); /* nobody asked */
    else
        link_run(l);
}

static void on_written(struct bufferevent *bev, void *ctx)
{
    struct http_link *l = ctx;
    (void)bev;
    struct http_call *call = l->call;
    if (call == NULL || !call->stalled)
        return;
    call->stalled = false;
    if (call->class->on_drain != NULL)
        call->class->on_drain(call->owner);
}

/* ---- the connection itself ---- */

static bool is_own_port(const struct http_link *l)
{
    struct sockaddr_storage here, there;
    socklen_t here_n = sizeof(here), there_n = sizeof(there);
    int fd = bufferevent_getfd(l->bev);
    if (l->client->conf.own_port == 0 || l->port != l->client->conf.own_port)
        return false;
    if (getsockname(fd, (struct sockaddr *)&here, &here_n) != 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_n) != 0 ||
        here.ss_family != there.ss_family)
        return true;
    if (here.ss_family == AF_INET)
        return memcmp(&((struct sockaddr_in *)&here)->sin_addr,
                      &((struct sockaddr_in *)&there)->sin_addr, sizeof(struct in_addr)) == 0;
    return memcmp(&((struct sockaddr_in6 *)&here)->sin6_addr,
                  &((struct sockaddr_in6 *)&there)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static void connected(struct http_link *l)
{
    int one = 1;
    setsockopt(bufferevent_getfd(l->bev), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (is_own_port(l)) {
        fail_call(l, ERR_FORBIDDEN, "the admin side of this process is not for scripts");
        return;
    }
    l->connected = true;
    http_call_connected(l->call);
}

static void ended(struct http_link *l, short what, int code)
{
    struct http_call *call = l->call;
    const char *why = what & BEV_EVENT_ERROR ? strerror(code) : "the connection was closed";
    if (!l->connected) {
        link_end(l);
        http_call_not_connected(call, why);
        return;
    }
    if (l->in_body && what & BEV_EVENT_EOF && !call->paused &&
        http_response_eof(&l->parse) == HTTP_RESPONSE_DONE) {
        l->running = true;
        l->dead = true;
        end_call(l);
        l->running = false;
        link_free(l);
        return;
    }
    bool untouched = l->used_before && !l->answered;
    link_end(l);
    if (untouched)
        http_call_broken(call, why);
    else
        http_call_not_answered(call, why);
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    struct http_link *l = ctx;
    (void)bev;
    int code = EVUTIL_SOCKET_ERROR();
    if (l->opening)
        l->dead = true; /* http_link_open tells it */
    else if (l->call == NULL)
        link_end(l);
    else if (what & BEV_EVENT_CONNECTED)
        connected(l);
    else if (what & (BEV_EVENT_ERROR | BEV_EVENT_EOF))
        ended(l, what, code);
}

static void go_on(struct loop_defer *d)
{
    struct http_link *l = list_entry(d, struct http_link, again);
    if (l->call != NULL)
        link_run(l);
}

struct http_link *http_link_open(struct http_call *call)
{
    struct http_client *c = call->client;
    const struct sockaddr *address = (struct sockaddr *)&call->addresses.items[call->address];
    struct http_link *l = xcalloc(1, sizeof(*l));
    l->client = c;
    l->host = (struct str){xstrndup(call->host.p, call->host.n), call->host.n};
    l->port = call->port;
    l->again.fn = go_on;
    l->bev = bufferevent_socket_new(loop_base(c->conf.loop), -1, BEV_OPT_CLOSE_ON_FREE);
    c->link_count++;
    if (l->bev == NULL)
        abort();
    bufferevent_setcb(l->bev, on_read, on_written, on_event, l);
    bufferevent_setwatermark(l->bev, EV_READ, 0, c->conf.piece_bytes + c->conf.head_bytes);
    bufferevent_setwatermark(l->bev, EV_WRITE, c->conf.piece_bytes / 2, 0);
    socklen_t n =
        address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    call->link = l;
    l->call = call;
    l->opening = true; /* a refusal may come before connect returns */
    int failed = bufferevent_socket_connect(l->bev, address, (int)n);
    l->opening = false;
    if (failed || l->dead) {
        call->link = NULL;
        link_free(l);
        return NULL;
    }
    return l;
}

/* What has come in the same turn, unseen as yet, would be taken for the next answer; so would an
 * end for that of a request which may not be repeated. */
static bool is_silent(const struct http_link *l)
{
    char byte;
    ssize_t n = recv(bufferevent_getfd(l->bev), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

struct http_link *http_link_take(struct http_call *call)
{
    struct http_client *c = call->client;
    for (struct list *node = c->idle.prev, *before; node != &c->idle; node = before) {
        struct http_link *l = list_entry(node, struct http_link, node);
        before = node->prev;
        if (l->port != call->port || !str_ieq(l->host, call->host))
            continue;
        if (!is_silent(l)) {
            link_end(l);
            continue;
        }
        list_remove(&l->node);
        c->idle_count--;
        loop_timer_stop(c->conf.loop, &l->idle);
        l->call = call;
        call->link = l;
        return l;
    }
    return NULL;
}

void http_link_send(struct http_link *l)
{
    struct http_call *call = l->call;
    l->answered = l->in_body = false;
    l->parse = (struct http_response_parse){.response = &call->response,
                                            .on_body = on_piece,
                                            .ctx = l,
                                            .headers_max = (size_t)l->client->conf.headers_max};
    bufferevent_write(l->bev, call->head.p, call->head.n);
    http_link_write(l, buf_str(&call->body));
    http_link_pace(l);
}

void http_link_write(struct http_link *l, struct str data)
{
    if (data.n > 0)
        bufferevent_write(l->bev, data.p, data.n);
}

size_t http_link_waiting(const struct http_link *l)
{
    return evbuffer_get_length(bufferevent_get_output(l->bev));
}

void http_link_drop(struct http_link *l)
{
    link_end(l);
}

void http_link_pace(struct http_link *l)
{
    if (l->call->paused) {
        bufferevent_disable(l->bev, EV_READ);
        return;
    }
    bufferevent_enable(l->bev, EV_READ);
    loop_defer(l->client->conf.loop, &l->again);
}
