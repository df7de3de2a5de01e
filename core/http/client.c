/* SPDX-License-Identifier: MIT */
/* Calls: from the name to the connection, the deadline over all of it, and the one repeat that a
 * kept connection may need because the other side closed it at the same moment. */
#include "http/client.h"

#include "http/client_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the end of a call ---- */

static void call_free(struct http_call *call)
{
    struct loop *loop = call->client->conf.loop;
    loop_timer_stop(loop, &call->timer);
    loop_defer_cancel(loop, &call->begin);
    http_names_forget(call->lookup);
    if (call->link != NULL)
        http_link_drop(call->link);
    list_remove(&call->node);
    buf_deinit(&call->head);
    buf_deinit(&call->body);
    buf_deinit(&call->answer);
    free((char *)call->method.p);
    free((char *)call->host.p);
    free(call->response.headers);
    free(call);
}

void http_call_fail(struct http_call *call, const struct err *err)
{
    const struct http_call_class *class = call->class;
    void *owner = call->owner;
    struct err copy = *err;
    call_free(call);
    class->on_error(owner, &copy);
}

void http_call_end(struct http_call *call)
{
    const struct http_call_class *class = call->class;
    void *owner = call->owner;
    call_free(call);
    class->on_end(owner);
}

static void fail(struct http_call *call, enum err_code code, const char *what)
{
    struct err err;
    err_set(&err, code, "%.*s:%d: %s", STR_ARG(call->host), call->port, what);
    http_call_fail(call, &err);
}

void http_call_cancel(struct http_call *call)
{
    call_free(call);
}

void http_call_set_deadline(struct http_call *call, int64_t at_ns)
{
    struct loop *loop = call->client->conf.loop;
    call->deadline_ns = at_ns;
    if (call->link == NULL || !call->link->connected)
        return; /* the timer is the connection's */
    if (at_ns == INT64_MAX)
        loop_timer_stop(loop, &call->timer);
    else
        loop_timer_start(loop, &call->timer, at_ns);
}

/* ---- connecting ---- */

/* Before the connection its own deadline is the earlier one. */
static void timed_out(struct loop_timer *t)
{
    struct http_call *call = list_entry(t, struct http_call, timer);
    if (loop_now_ns(call->client->conf.loop) >= call->deadline_ns)
        fail(call, ERR_TIMEOUT, "no answer within the time allowed");
    else
        fail(call, ERR_UNREACHABLE, "no connection within the time allowed");
}

static void arm_connect(struct http_call *call)
{
    struct loop *loop = call->client->conf.loop;
    int64_t until = loop_now_ns(loop) + call->client->conf.connect_ms * NS_PER_MS;
    loop_timer_start(loop, &call->timer, until < call->deadline_ns ? until : call->deadline_ns);
}

void http_call_connected(struct http_call *call)
{
    loop_timer_start(call->client->conf.loop, &call->timer, call->deadline_ns);
    http_link_send(call->link);
}

/* Tries the addresses from the current one on. */
static void connect_next(struct http_call *call, const char *why)
{
    enum err_code code = ERR_UNREACHABLE;
    for (; call->address < call->addresses.count; call->address++) {
        const struct sockaddr *a = (struct sockaddr *)&call->addresses.items[call->address];
        if (http_address_is_link_local(a)) {
            code = ERR_FORBIDDEN;
            why = "link-local addresses are never called";
            continue;
        }
        if (http_link_open(call) != NULL)
            return;
        why = "no connection";
    }
    fail(call, code, why);
}

void http_call_not_connected(struct http_call *call, const char *why)
{
    call->address++;
    connect_next(call, why);
}

static void on_names(void *owner, const struct http_addresses *found, const char *why)
{
    struct http_call *call = owner;
    call->lookup = NULL;
    call->addresses = *found;
    call->address = 0;
    connect_next(call, why);
}

static void call_open(struct http_call *call)
{
    struct http_client *c = call->client;
    if (c->link_count - c->idle_count >= c->conf.connections_max) {
        fail(call, ERR_LIMIT, "too many connections are open");
        return;
    }
    arm_connect(call);
    struct http_lookup *lookup = http_names_find(c, call->host, call->port, on_names, call);
    if (lookup != NULL) /* else on_names has run, and the call may be gone */
        call->lookup = lookup;
}

static void call_try(struct http_call *call)
{
    bool fresh = call->repeated || call->streams; /* what was streamed cannot be repeated */
    if (!fresh && http_link_take(call) != NULL) {
        loop_timer_start(call->client->conf.loop, &call->timer, call->deadline_ns);
        http_link_send(call->link);
        return;
    }
    call_open(call);
}

void http_call_broken(struct http_call *call, const char *why)
{
    if (call->repeatable && !call->repeated && !call->streams) {
        call->repeated = true;
        call_try(call);
        return;
    }
    http_call_not_answered(call, why);
}

void http_call_not_answered(struct http_call *call, const char *why)
{
    char text[160];
    snprintf(text, sizeof(text), "no whole answer: %s", why);
    fail(call, ERR_UNREACHABLE, text);
}

static void begin(struct loop_defer *d)
{
    call_try(list_entry(d, struct http_call, begin));
}

/* ---- the request ---- */

static bool is_idempotent(const struct http_call_conf *conf)
{
    static const struct str methods[] = {STR("GET"), STR("HEAD"), STR("OPTIONS"), STR("PUT"),
                                         STR("DELETE")};
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (str_eq(conf->method, methods[i]))
            return true;
    for (size_t i = 0; i < conf->header_count; i++)
        if (str_ieq(conf->headers[i].name, STR("Idempotency-Key")))
            return true;
    return false;
}

static bool is_clients_own(struct str name)
{
    static const struct str names[] = {STR("Host"),           STR("Connection"),
                                       STR("Content-Length"), STR("Transfer-Encoding"),
                                       STR("Keep-Alive"),     STR("Expect")};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return false;
}

static int check(const struct http_call_conf *conf, struct err *err)
{
    if (!http_token_is_valid(conf->method) || str_eq(conf->method, STR("CONNECT")))
        return err_set(err, ERR_INVALID, "\"%.*s\" is no method", STR_ARG(conf->method));
    if (conf->host.n == 0 || conf->port < 1 || conf->port > 65535)
        return err_set(err, ERR_INVALID, "no host or no port to call");
    for (size_t i = 0; i < conf->target.n; i++)
        if ((unsigned char)conf->target.p[i] <= 0x20 || (unsigned char)conf->target.p[i] >= 0x7f)
            return err_set(err, ERR_INVALID, "an illegal character in \"%.*s\"",
                           STR_ARG(conf->target));
    for (size_t i = 0; i < conf->header_count; i++) {
        const struct http_header *h = &conf->headers[i];
        if (!http_token_is_valid(h->name) || !http_value_is_valid(h->value))
            return err_set(err, ERR_INVALID, "header \"%.*s\" cannot be sent", STR_ARG(h->name));
        if (is_clients_own(h->name))
            return err_set(err, ERR_INVALID, "header %.*s is the client's own", STR_ARG(h->name));
    }
    return 0;
}

static void write_head(struct buf *out, const struct http_call_conf *conf)
{
    bool v6 = memchr(conf->host.p, ':', conf->host.n) != NULL;
    buf_adds(out, conf->method);
    buf_lit(out, " ");
    if (conf->target.n == 0 || conf->target.p[0] == '?')
        buf_lit(out, "/");
    buf_adds(out, conf->target);
    buf_lit(out, " HTTP/1.1\r\nHost: ");
    buf_addf(out, v6 ? "[%.*s]" : "%.*s", STR_ARG(conf->host));
    if (conf->port != 80)
        buf_addf(out, ":%d", conf->port);
    buf_lit(out, "\r\n");
    for (size_t i = 0; i < conf->header_count; i++) {
        buf_adds(out, conf->headers[i].name);
        buf_lit(out, ": ");
        buf_adds(out, conf->headers[i].value);
        buf_lit(out, "\r\n");
    }
    if (conf->streams && conf->body_bytes > 0)
        buf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)conf->body_bytes);
    else if (conf->streams)
        buf_lit(out, "Transfer-Encoding: chunked\r\n");
    else if (conf->has_body || conf->body.n > 0)
        buf_addf(out, "Content-Length: %zu\r\n", conf->body.n);
    buf_lit(out, "\r\n");
}

static struct str copy(struct str s)
{
    return (struct str){xstrndup(s.p, s.n), s.n};
}

struct http_call *http_call_start(struct http_client *c, const struct http_call_conf *conf,
                                  struct err *err)
{
    if (check(conf, err) != 0)
        return NULL;
    struct http_call *call = xcalloc(1, sizeof(*call));
    call->client = c;
    call->class = conf->class;
    call->owner = conf->owner;
    call->method = copy(conf->method);
    call->host = copy(conf->host);
    call->port = conf->port;
    call->answer_limit = conf->answer_bytes;
    call->deadline_ns = conf->deadline_ns;
    call->streams = conf->streams;
    call->chunked = conf->streams && conf->body_bytes == 0;
    call->finished = !conf->streams;
    call->repeatable = is_idempotent(conf);
    call->response.headers = xcalloc((size_t)c->conf.headers_max, sizeof(struct http_header));
    write_head(&call->head, conf);
    buf_adds(&call->body, conf->body);
    call->timer.fn = timed_out;
    call->begin.fn = begin;
    list_push(&c->calls, &call->node);
    loop_timer_start(c->conf.loop, &call->timer, call->deadline_ns);
    loop_defer(c->conf.loop, &call->begin);
    return call;
}

/* ---- streaming ---- */

void http_call_pause(struct http_call *call)
{
    call->paused = true;
    if (call->link != NULL && call->link->connected)
        http_link_pace(call->link);
}

void http_call_resume(struct http_call *call)
{
    call->paused = false;
    if (call->link != NULL && call->link->connected)
        http_link_pace(call->link);
}

static void send_piece(struct http_call *call, struct str s)
{
    if (call->link != NULL && call->link->connected)
        http_link_write(call->link, s);
    else
        buf_adds(&call->body, s);
}

bool http_call_write(struct http_call *call, struct str piece)
{
    char size[24];
    assert(call->streams && !call->finished);
    if (piece.n == 0)
        return true;
    if (call->chunked) {
        int n = snprintf(size, sizeof(size), "%zx\r\n", piece.n);
        send_piece(call, (struct str){size, (size_t)n});
    }
    send_piece(call, piece);
    if (call->chunked)
        send_piece(call, STR("\r\n"));
    size_t waiting =
        call->link != NULL && call->link->connected ? http_link_waiting(call->link) : call->body.n;
    call->stalled = waiting > call->client->conf.piece_bytes;
    return !call->stalled;
}

void http_call_finish(struct http_call *call)
{
    assert(call->streams && !call->finished);
    if (call->chunked)
        send_piece(call, STR("0\r\n\r\n"));
    call->finished = true;
}

/* ---- the client ---- */

struct http_client *http_client_new(const struct http_client_conf *conf, struct err *err)
{
    if (conf->headers_max < 1 || conf->connections_max < 1) {
        err_set(err, ERR_INTERNAL, "limits of a client that allow nothing");
        return NULL;
    }
    struct http_client *c = xcalloc(1, sizeof(*c));
    c->conf = *conf;
    list_init(&c->calls);
    list_init(&c->idle);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    assert(list_empty(&c->calls));
    list_each (node, &c->idle)
        http_link_drop(list_entry(node, struct http_link, node));
    http_names_close(c);
    free(c);
}

int http_client_idle(const struct http_client *c)
{
    return c->idle_count;
}
