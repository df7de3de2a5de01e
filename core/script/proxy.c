/* SPDX-License-Identifier: MIT */
/* What is about one connection (RFC 9110, 7.6.1) stays on its side; everything else is handed on as
 * it is. An answer that may be tried again or replaced is judged by its status, before any of it
 * has reached the client; from then on a failure can only cut it off. */
#include "script/proxy.h"

#include "base/log.h"
#include "http/client.h"
#include "http/url.h"
#include "script/passage.h"

#include <stdlib.h>

#define PIECE_NS (60 * NS_PER_S) /* between two pieces of an answer */
#define FORWARDED 4              /* headers added */

struct proxy {
    struct request *request;
    struct http_exchange *x;
    struct http_call *call; /* NULL once it has ended */
    bool begun;             /* the client has got the head */
    bool sending;           /* the client has not sent all of a streamed body */
};

/* Time until something must happen. */
static int64_t piece_ns(const struct proxy *p)
{
    return loop_now_ns(p->request->host->loop) + PIECE_NS;
}

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

static bool has_token(struct str list, struct str token)
{
    for (size_t i = 0; i + token.n <= list.n; i++) {
        size_t end = i + token.n;
        bool begins = i == 0 || strchr(", \t", list.p[i - 1]) != NULL;
        bool ends = end == list.n || strchr(", \t", list.p[end]) != NULL;
        if (begins && ends && str_ieq((struct str){list.p + i, token.n}, token))
            return true;
    }
    return false;
}

/* Is the header about the connection that it came on? */
static bool is_of_connection(const struct http_header *headers, size_t count, struct str name)
{
    if (is_hop_header(name))
        return true;
    for (size_t i = 0; i < count; i++)
        if (str_ieq(headers[i].name, STR("Connection")) && has_token(headers[i].value, name))
            return true;
    return false;
}

static bool is_ours(struct str name)
{
    static const struct str names[] = {STR("Host"),
                                       STR("Expect"),
                                       STR("X-Forwarded-For"),
                                       STR("X-Forwarded-Host"),
                                       STR("X-Forwarded-Proto"),
                                       STR("X-Correlation-Id")};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_ieq(names[i], name))
            return true;
    return false;
}

/* Where it says the request came from: anybody could, so it is handed on from trusted proxies only.
 */
static bool is_about_origin(struct str name)
{
    struct str family = STR("X-Forwarded-");
    if (name.n > family.n && str_ieq((struct str){name.p, family.n}, family))
        return true;
    return str_ieq(name, STR("Forwarded")) || str_ieq(name, STR("X-Real-IP"));
}

static bool is_trusted(const struct request *r, struct str peer)
{
    const struct http_trusted *t = r->host->trusted;
    return t != NULL && http_trusted_has(t, peer);
}

/* The chain of addresses that the request came along, its sender's at the end. */
static struct str forwarded_for(struct request *r, struct str peer, bool trusted)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; trusted && i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        if (str_ieq(h->name, STR("X-Forwarded-For")) && h->value.n > 0) {
            buf_adds(&out, h->value);
            buf_lit(&out, ", ");
        }
    }
    buf_adds(&out, peer);
    struct str text = arena_str(r->arena, buf_str(&out));
    buf_deinit(&out);
    return text;
}

/* Does the header go on to the other host? What the route sets does, whatever the client says. */
static bool goes_on(const struct request *r, struct str name, bool trusted)
{
    const struct http_request *from = r->http;
    if (is_hop_header(name) || is_ours(name))
        return false;
    if (passage_sets(r, name))
        return true;
    return !is_of_connection(from->headers, from->header_count, name) &&
           (trusted || !is_about_origin(name));
}

static struct http_header *request_headers(struct request *r, size_t *ret_count)
{
    const struct http_request *from = r->http;
    struct str peer = http_exchange_peer(r->x);
    bool trusted = is_trusted(r, peer);
    struct http_header *out =
        arena_alloc(r->arena, (from->header_count + FORWARDED) * sizeof(*out));
    size_t n = 0;
    for (size_t i = 0; i < from->header_count; i++)
        if (goes_on(r, from->headers[i].name, trusted))
            out[n++] = from->headers[i];
    out[n++] = (struct http_header){STR("X-Forwarded-For"), forwarded_for(r, peer, trusted)};
    out[n++] = (struct http_header){STR("X-Forwarded-Host"), r->origin.host};
    out[n++] = (struct http_header){STR("X-Forwarded-Proto"),
                                    r->origin.https ? STR("https") : STR("http")};
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
    r->status = head->status;
    r->content_type = (struct str){NULL, 0};
    for (size_t i = 0; i < head->header_count; i++) {
        struct http_header h = head->headers[i];
        if (is_of_connection(head->headers, head->header_count, h.name) ||
            str_ieq(h.name, STR("Date")) || str_ieq(h.name, STR("X-Correlation-Id")))
            continue;
        h = (struct http_header){arena_str(r->arena, h.name), arena_str(r->arena, h.value)};
        if (str_ieq(h.name, STR("Content-Type")))
            r->content_type = h.value;
        else
            request_add_header(r, h.name, h.value);
    }
}

/* The client is told a length that is known. */
static void take_length(struct request *r, const struct http_response *head)
{
    struct str length = http_response_find(head, STR("Content-Length"));
    char text[24];
    if (length.n == 0 || length.n >= sizeof(text))
        return;
    memcpy(text, length.p, length.n);
    text[length.n] = '\0';
    unsigned long long size = strtoull(text, NULL, 10);
    if (size <= INT64_MAX)
        http_stream_size(r->x, size);
}

/* While the client makes it wait, its own time is what counts. */
static void on_drain(struct http_exchange *x)
{
    struct proxy *p = http_exchange_data(x);
    if (p->call == NULL)
        return;
    http_call_set_deadline(p->call, piece_ns(p));
    http_call_resume(p->call);
}

/* ---- its body, when it follows ---- */

/* A piece of the request; the last one is empty. */
static void on_sent(struct http_exchange *x, struct str piece)
{
    struct proxy *p = http_exchange_data(x);
    if (piece.n > 0) {
        if (!http_call_write(p->call, piece))
            http_exchange_read(x, NULL);
        http_call_set_deadline(p->call, piece_ns(p));
        return;
    }
    p->sending = false;
    http_call_finish(p->call);
    if (p->begun)
        return;
    passage_begin_deadline(p->request);
    http_call_set_deadline(p->call, passage_deadline_ns(p->request));
}

/* The other host takes more. */
static void on_taken(void *owner)
{
    struct proxy *p = owner;
    if (!p->sending)
        return;
    http_call_set_deadline(p->call, piece_ns(p));
    http_exchange_read(p->x, on_sent);
}

static void stop_sending(struct proxy *p)
{
    if (p->sending)
        http_exchange_read(p->x, NULL);
    p->sending = false;
}

/* The request waits no more. */
static void leave(struct proxy *p)
{
    struct request *r = p->request;
    http_exchange_on_gone(p->x, NULL);
    list_remove(&r->node);
    r->proxy = NULL;
}

static void cut(struct proxy *p)
{
    stop_sending(p);
    request_over(p->request, p->request->status);
    http_stream_abort(p->x);
}

/* Nobody wants the answer, or the rest of it. */
static void on_gone(struct http_exchange *x)
{
    struct proxy *p = http_exchange_data(x);
    if (!p->begun) {
        proxy_cancel(p);
        passage_give_up(p->request);
        return;
    }
    if (p->call != NULL)
        http_call_cancel(p->call);
    p->call = NULL;
    cut(p);
}

static void begin_answer(struct proxy *p, const struct http_response *head)
{
    struct request *r = p->request;
    leave(p);
    p->begun = true;
    take_length(r, head);
    passage_leave_stream(r, r->status);
    request_add_header(r, STR("X-Correlation-Id"), r->correlation_id);
    http_exchange_on_gone(p->x, on_gone);
    http_call_set_deadline(p->call, piece_ns(p));
    http_stream_begin(p->x, r->status, r->content_type, r->headers, r->header_count, on_drain);
}

static void on_head(void *owner, const struct http_response *head)
{
    struct proxy *p = owner;
    struct request *r = p->request;
    take_headers(r, head);
    if (!passage_may_replace(r, head->status)) {
        begin_answer(p, head);
        return;
    }
    proxy_cancel(p);
    request_answer(r);
}

static void on_body(void *owner, struct str piece)
{
    struct proxy *p = owner;
    bool more = http_stream_write(p->x, piece);
    http_call_set_deadline(p->call, more ? piece_ns(p) : INT64_MAX);
    if (!more)
        http_call_pause(p->call);
}

static void on_end(void *owner)
{
    struct proxy *p = owner;
    p->call = NULL;
    stop_sending(p);
    request_over(p->request, p->request->status);
    http_stream_end(p->x);
}

static void on_error(void *owner, const struct err *err)
{
    struct proxy *p = owner;
    struct request *r = p->request;
    p->call = NULL;
    if (p->begun) {
        log_event(LOG_WARN, "an answer broke off on its way through the gateway",
                  LOG_C("error", err->message), LOG_S("correlationId", r->correlation_id));
        cut(p);
        return;
    }
    stop_sending(p);
    leave(p);
    /* What was too large is the answer, which is not the client's fault. */
    request_fail_code(r, err->code == ERR_TOO_LARGE ? ERR_PROTOCOL : err->code, err->message);
}

static const struct http_call_class call_class = {on_head, on_body, on_end, on_error, on_taken};

static bool expects_body(const struct http_request *http)
{
    return http->body.n > 0 || http->method == HTTP_POST_ || http->method == HTTP_PUT_ ||
           http->method == HTTP_PATCH_;
}

/* Not to a fallback, which is a GET. */
static bool follows(const struct request *r)
{
    return http_exchange_is_streamed(r->x) && !r->passage->falling_back;
}

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
        .has_body = expects_body(r->http),
        .deadline_ns = passage_deadline_ns(r),
    };
    if (follows(r)) {
        conf.streams = true;
        conf.body_bytes = http_exchange_length(r->x);
        conf.deadline_ns = piece_ns(p);
    }
    conf.headers = request_headers(r, &conf.header_count);
    if (h->http == NULL || !http_url_split(url, &conf.host, &conf.port, &target)) {
        request_fail_code(r, ERR_UNREACHABLE, "calls cannot leave this process");
        return;
    }
    p->call = http_call_start(h->http, &conf, &err);
    if (p->call == NULL) {
        request_fail_code(r, err.code, err.message);
        return;
    }
    r->proxy = p;
    list_push(&h->requests, &r->node);
    http_exchange_set_data(r->x, p);
    http_exchange_on_gone(r->x, on_gone);
    p->sending = conf.streams;
    if (p->sending) {
        passage_hold_deadline(r);
        http_exchange_read(r->x, on_sent);
    }
}

void proxy_cancel(struct proxy *p)
{
    http_call_cancel(p->call);
    p->call = NULL;
    stop_sending(p);
    leave(p);
}
