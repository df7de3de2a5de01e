/* SPDX-License-Identifier: MIT */
/* What is about one connection (RFC 9110, 7.6.1) stays on its side; everything else is handed on as
 * it is. An answer that may be tried again or replaced is judged by its status, before any of it
 * has reached the client; from then on a failure can only cut it off. */
#include "script/proxy.h"

#include "http/client.h"
#include "http/url.h"
#include "script/passage.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MS 10000 /* unless the route or its breaker says less */
#define FORWARDED 5     /* headers added at most */

struct proxy {
    struct request *request;
    struct http_exchange *x;
    struct http_call *call;
    bool begun; /* the client has got the head */
};

/* ---- the request ---- */

static bool is_hop_header(struct str name)
{
    static const struct str names[] = {
        STR("Connection"),         STR("Keep-Alive"), STR("Proxy-Connection"),
        STR("Proxy-Authenticate"), STR("TE"),         STR("Trailer"),
        STR("Transfer-Encoding"),  STR("Upgrade"),    STR("Content-Length"),
        STR("Proxy-Authorization")};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_ieq(names[i], name))
            return true;
    return false;
}

/* Is name one of the tokens of a Connection header? */
static bool is_named(struct str connection, struct str name)
{
    while (connection.n > 0) {
        const char *comma = memchr(connection.p, ',', connection.n);
        size_t n = comma != NULL ? (size_t)(comma - connection.p) : connection.n;
        struct str token = {connection.p, n};
        while (token.n > 0 && (*token.p == ' ' || *token.p == '\t'))
            token.p++, token.n--;
        while (token.n > 0 && (token.p[token.n - 1] == ' ' || token.p[token.n - 1] == '\t'))
            token.n--;
        if (str_ieq(token, name))
            return true;
        if (comma == NULL)
            break;
        connection = (struct str){comma + 1, connection.n - n - 1};
    }
    return false;
}

static bool is_ours(struct str name)
{
    static const struct str names[] = {STR("Host"), STR("X-Forwarded-Host"), STR("Expect"),
                                       STR("X-Forwarded-Proto"), STR("X-Correlation-Id")};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_ieq(names[i], name))
            return true;
    return false;
}

/* The chain of addresses that the request came along, ours at its end. */
static struct str forwarded_for(struct request *r, struct str before)
{
    struct buf out = BUF_INIT;
    if (before.n > 0) {
        buf_adds(&out, before);
        buf_lit(&out, ", ");
    }
    buf_adds(&out, http_exchange_peer(r->x));
    struct str text = arena_str(r->arena, buf_str(&out));
    buf_deinit(&out);
    return text;
}

static struct http_header *request_headers(struct request *r, size_t *ret_count)
{
    const struct http_request *from = r->http;
    struct str connection = http_header_find(from, STR("Connection")), chain = {NULL, 0};
    struct http_header *out =
        arena_alloc(r->arena, (from->header_count + FORWARDED) * sizeof(*out));
    size_t n = 0;
    for (size_t i = 0; i < from->header_count; i++) {
        struct http_header h = from->headers[i];
        if (str_ieq(h.name, STR("X-Forwarded-For")))
            chain = h.value;
        else if (!is_hop_header(h.name) && !is_ours(h.name) && !is_named(connection, h.name))
            out[n++] = h;
    }
    out[n++] = (struct http_header){STR("X-Forwarded-For"), forwarded_for(r, chain)};
    out[n++] = (struct http_header){STR("X-Forwarded-Host"), from->host};
    out[n++] = (struct http_header){STR("X-Forwarded-Proto"), STR("http")};
    out[n++] = (struct http_header){STR("X-Correlation-Id"), r->correlation_id};
    *ret_count = n;
    return out;
}

static struct str target_of(struct request *r)
{
    struct buf out = BUF_INIT;
    buf_adds(&out, r->http->path);
    if (r->http->query.n > 0) {
        buf_addc(&out, '?');
        buf_adds(&out, r->http->query);
    }
    struct str target = arena_str(r->arena, buf_str(&out));
    buf_deinit(&out);
    return target;
}

/* ---- the answer ---- */

static void take_headers(struct request *r, const struct http_response *head)
{
    struct str connection = http_response_find(head, STR("Connection"));
    r->status = head->status;
    r->content_type = (struct str){NULL, 0};
    for (size_t i = 0; i < head->header_count; i++) {
        struct http_header h = head->headers[i];
        if (is_hop_header(h.name) || is_named(connection, h.name) || str_ieq(h.name, STR("Date")) ||
            str_ieq(h.name, STR("X-Correlation-Id")))
            continue;
        h = (struct http_header){arena_str(r->arena, h.name), arena_str(r->arena, h.value)};
        if (str_ieq(h.name, STR("Content-Type")))
            r->content_type = h.value;
        else
            request_add_header(r, h.name, h.value);
    }
}

static void on_drain(struct http_exchange *x)
{
    struct proxy *p = http_exchange_data(x);
    if (p->call != NULL)
        http_call_resume(p->call);
}

/* The client has gone: nobody wants the rest. */
static void on_gone(struct http_exchange *x)
{
    struct proxy *p = http_exchange_data(x);
    if (p->call != NULL)
        http_call_cancel(p->call);
    p->call = NULL;
    request_over(p->request, p->request->status);
    http_stream_end(x);
}

static void begin_answer(struct proxy *p)
{
    struct request *r = p->request;
    p->begun = true;
    r->proxy = NULL;
    passage_leave_stream(r, r->status);
    request_add_header(r, STR("X-Correlation-Id"), r->correlation_id);
    http_exchange_set_data(p->x, p);
    http_exchange_on_gone(p->x, on_gone);
    http_stream_begin(p->x, r->status, r->content_type, r->headers, r->header_count, on_drain);
}

static void on_head(void *owner, const struct http_response *head)
{
    struct proxy *p = owner;
    struct request *r = p->request;
    take_headers(r, head);
    if (!passage_may_replace(r, head->status)) {
        begin_answer(p);
        return;
    }
    http_call_cancel(p->call);
    r->proxy = NULL;
    request_answer(r);
}

static void on_body(void *owner, struct str piece)
{
    struct proxy *p = owner;
    if (!http_stream_write(p->x, piece))
        http_call_pause(p->call);
}

static void on_end(void *owner)
{
    struct proxy *p = owner;
    p->call = NULL;
    request_over(p->request, p->request->status);
    http_stream_end(p->x);
}

static void on_error(void *owner, const struct err *err)
{
    struct proxy *p = owner;
    struct request *r = p->request;
    p->call = NULL;
    if (p->begun) {
        request_over(r, r->status);
        http_stream_abort(p->x);
        return;
    }
    r->proxy = NULL;
    request_fail_code(r, err->code, err->message);
}

static const struct http_call_class call_class = {on_head, on_body, on_end, on_error, NULL};

void proxy_start(struct request *r)
{
    struct host *h = r->host;
    struct str target, url = passage_url(r);
    struct err err;
    struct proxy *p = arena_zalloc(r->arena, sizeof(*p));
    *p = (struct proxy){.request = r, .x = r->x};
    struct http_call_conf conf = {
        .class = &call_class,
        .owner = p,
        .method = r->http->method_name,
        .target = target_of(r),
        .body = r->http->body,
        .has_body = r->http->body.n > 0,
        .deadline_ns = loop_now_ns(h->loop) + ANSWER_MS * NS_PER_MS,
    };
    conf.headers = request_headers(r, &conf.header_count);
    if (h->http == NULL || !http_url_split(url, &conf.host, &conf.port, &target)) {
        request_fail_code(r, ERR_UNREACHABLE, "calls cannot leave this process");
        return;
    }
    r->proxy = p;
    p->call = http_call_start(h->http, &conf, &err);
    if (p->call == NULL) {
        r->proxy = NULL;
        request_fail_code(r, err.code, err.message);
    }
}

void proxy_cancel(struct proxy *p)
{
    http_call_cancel(p->call);
    p->call = NULL;
    p->request->proxy = NULL;
}
