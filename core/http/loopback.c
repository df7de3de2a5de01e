/* SPDX-License-Identifier: MIT */
/* Whoever wants an answer of this very process needs no socket for it; going through the parser
 * nevertheless keeps what is tested here the same as what is served. */
#include "http/loopback.h"

#include "http/conn.h"

#include <stdlib.h>

struct http_loopback {
    struct arena *arena;            /* owned; of the answer's head */
    struct http_exchange *exchange; /* borrowed; NULL once it has ended */
    bool done;
    int status;
    struct str content_type;
    struct http_header *headers;
    size_t header_count;
    struct buf body; /* owned */
};

/* ---- the request's bytes ---- */

static bool has_header(const struct http_loopback_request *r, struct str name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, name))
            return true;
    return false;
}

static void write_request(struct buf *out, const struct http_loopback_request *r)
{
    buf_adds(out, r->method);
    buf_addc(out, ' ');
    buf_adds(out, r->target);
    buf_lit(out, " HTTP/1.1\r\n");
    if (!has_header(r, STR("Host")))
        buf_lit(out, "Host: localhost\r\n");
    for (size_t i = 0; i < r->header_count; i++) {
        buf_adds(out, r->headers[i].name);
        buf_lit(out, ": ");
        buf_adds(out, r->headers[i].value);
        buf_lit(out, "\r\n");
    }
    if (r->body.n > 0 && !has_header(r, STR("Content-Length"))) {
        buf_lit(out, "Content-Length: ");
        buf_add_int(out, (int64_t)r->body.n);
        buf_lit(out, "\r\n");
    }
    buf_lit(out, "\r\n");
    buf_adds(out, r->body);
}

/* DONE, REFUSED, or MORE if the bytes are no whole request. */
static enum http_parse_verdict parse(struct http_parse *p, struct str data)
{
    enum http_parse_verdict verdict = http_parse_head(p, data.p, data.n);
    if (verdict != HTTP_PARSE_HEAD)
        return verdict;
    size_t at = p->head_bytes;
    if (!p->has_body)
        return at == data.n ? HTTP_PARSE_DONE : HTTP_PARSE_MORE;
    for (verdict = HTTP_PARSE_MORE; verdict == HTTP_PARSE_MORE && at < data.n;) {
        size_t used = 0;
        verdict = http_parse_body(p, data.p + at, data.n - at, &used);
        at += used;
    }
    return verdict;
}

/* ---- the exchange ---- */

static void hand_to(struct http_loopback *lb, struct http_parse *p, http_handler_fn *handler,
                    void *ctx)
{
    struct http_request *request;
    struct buf body;
    struct arena *arena = http_parse_take(p, &request, &body);
    struct http_exchange *x = arena_zalloc(arena, sizeof(*x));
    x->arena = arena;
    x->request = request;
    x->body = body;
    x->loopback = lb;
    lb->exchange = x;
    handler(ctx, x);
}

struct http_loopback *http_loopback_start(const struct http_loopback_request *r,
                                          const struct http_limits *limits,
                                          http_handler_fn *handler, void *ctx, struct err *err)
{
    struct http_loopback *lb = xcalloc(1, sizeof(*lb));
    struct http_parse p = {0};
    struct buf data = BUF_INIT;
    lb->arena = arena_new(0);
    write_request(&data, r);
    http_parse_begin(&p, limits);
    enum http_parse_verdict verdict = parse(&p, buf_str(&data));
    if (verdict == HTTP_PARSE_DONE) {
        hand_to(lb, &p, handler, ctx);
    } else if (verdict == HTTP_PARSE_REFUSED) {
        http_loopback_head(lb, p.status, STR("text/plain"), NULL, 0);
        http_loopback_body(lb, str_from(p.message));
        http_loopback_end(lb);
    }
    http_parse_deinit(&p);
    buf_deinit(&data);
    if (verdict == HTTP_PARSE_DONE || verdict == HTTP_PARSE_REFUSED)
        return lb;
    http_loopback_free(lb);
    err_set(err, ERR_INVALID, "the bytes given are not one whole request");
    return NULL;
}

void http_loopback_free(struct http_loopback *lb)
{
    if (lb == NULL)
        return;
    struct http_exchange *x = lb->exchange;
    if (x != NULL) {
        void (*gone)(struct http_exchange *) = x->on_gone;
        x->loopback = NULL;
        x->on_gone = NULL;
        if (gone != NULL)
            gone(x);
    }
    buf_deinit(&lb->body);
    arena_free(lb->arena);
    free(lb);
}

bool http_loopback_done(const struct http_loopback *lb)
{
    return lb->done;
}

void http_loopback_answer(struct http_loopback *lb, struct http_loopback_answer *ret)
{
    *ret = (struct http_loopback_answer){lb->status, lb->content_type, lb->headers,
                                         lb->header_count, buf_str(&lb->body)};
}

/* ---- from answer.c ---- */

void http_loopback_head(struct http_loopback *lb, int status, struct str content_type,
                        const struct http_header *headers, size_t header_count)
{
    lb->status = status;
    lb->content_type = arena_str(lb->arena, content_type);
    lb->headers = arena_zalloc(lb->arena, (header_count + 1) * sizeof(*headers));
    lb->header_count = header_count;
    for (size_t i = 0; i < header_count; i++) {
        lb->headers[i].name = arena_str(lb->arena, headers[i].name);
        lb->headers[i].value = arena_str(lb->arena, headers[i].value);
    }
}

void http_loopback_body(struct http_loopback *lb, struct str data)
{
    buf_adds(&lb->body, data);
}

void http_loopback_end(struct http_loopback *lb)
{
    lb->exchange = NULL;
    lb->done = true;
}
