/* SPDX-License-Identifier: MIT */
/* Answers, whole or streamed. Framing is decided here alone, so that no handler can send a length
 * that is not so or split an answer by a header. */
#include "http/answer.h"

#include "base/file.h"
#include "http/conn.h"
#include "http/problem.h"

#include <assert.h>
#include <stdio.h>

#define COPY_BYTES 16384 /* bodies up to this are copied behind their head and batched */

struct answer {
    int status;
    int minor; /* of the request */
    struct str content_type;
    const struct http_header *headers;
    size_t header_count;
    bool has_length;
    size_t length;
    bool chunked;
    bool close;
};

static bool forbids_body(int status)
{
    return status == 204 || status == 304 || status < 200;
}

static bool is_servers_own(struct str name)
{
    switch (name.n) {
    case 4:
        return str_ieq(name, STR("date"));
    case 10:
        return str_ieq(name, STR("connection")) || str_ieq(name, STR("keep-alive"));
    case 14:
        return str_ieq(name, STR("content-length"));
    case 17:
        return str_ieq(name, STR("transfer-encoding"));
    default:
        return false;
    }
}

static void write_date(struct buf *out, struct http_server *s)
{
    int64_t wall_ms = clock_wall_ms(loop_clock(s->loop));
    if (wall_ms / 1000 != s->date_s) {
        s->date_s = wall_ms / 1000;
        buf_clear(&s->date);
        buf_lit(&s->date, "\r\nDate: ");
        clock_http_date(&s->date, wall_ms);
        buf_lit(&s->date, "\r\n");
    }
    buf_add(out, s->date.p, s->date.n);
}

static void write_header(struct buf *out, struct str name, struct str value)
{
    assert(http_token_is_valid(name) && http_value_is_valid(value));
    buf_adds(out, name);
    buf_lit(out, ": ");
    buf_adds(out, value);
    buf_lit(out, "\r\n");
}

static void write_head(struct buf *out, struct http_server *s, const struct answer *a)
{
    buf_lit(out, "HTTP/1.1 ");
    buf_add_int(out, a->status);
    buf_addc(out, ' ');
    buf_adds(out, str_from(http_reason(a->status)));
    write_date(out, s);
    if (a->content_type.n > 0)
        write_header(out, STR("Content-Type"), a->content_type);
    for (size_t i = 0; i < a->header_count; i++) {
        if (!is_servers_own(a->headers[i].name))
            write_header(out, a->headers[i].name, a->headers[i].value);
    }
    if (a->has_length) {
        buf_lit(out, "Content-Length: ");
        buf_add_int(out, (int64_t)a->length);
        buf_lit(out, "\r\n");
    }
    if (a->chunked)
        buf_lit(out, "Transfer-Encoding: chunked\r\n");
    if (a->close)
        buf_lit(out, "Connection: close\r\n");
    else if (a->minor == 0)
        buf_lit(out, "Connection: keep-alive\r\n");
    buf_lit(out, "\r\n");
}

static void exchange_free(struct http_exchange *x)
{
    buf_deinit(&x->body);
    arena_free(x->arena); /* x lies in it */
}

static void end_exchange(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct http_loopback *lb = x->loopback;
    bool keep_alive = x->keep_alive;
    exchange_free(x);
    if (lb)
        http_loopback_end(lb);
    if (c)
        http_conn_answered(c, keep_alive);
}

/* Without a connection: to the loopback, or to nobody when the client has gone. */
static void answer_loopback(struct http_exchange *x, int status, struct str content_type,
                            const struct http_header *headers, size_t header_count, struct str body)
{
    if (x->loopback) {
        http_loopback_head(x->loopback, status, content_type, headers, header_count);
        if (!forbids_body(status) && x->request->method != HTTP_HEAD_)
            http_loopback_body(x->loopback, body);
    }
    end_exchange(x);
}

static struct answer answer_to(struct http_exchange *x, int status, struct str content_type,
                               const struct http_header *headers, size_t header_count)
{
    assert(status >= 200 && status <= 599 && !x->streaming);
    x->keep_alive = !http_conn_should_close(x->conn, x->keep_alive && (!x->open || x->complete));
    return (struct answer){.status = status,
                           .minor = x->request->minor,
                           .content_type = content_type,
                           .headers = headers,
                           .header_count = header_count,
                           .close = !x->keep_alive};
}

void http_answer(struct http_exchange *x, int status, struct str content_type,
                 const struct http_header *headers, size_t header_count, struct str body)
{
    if (!x->conn) {
        answer_loopback(x, status, content_type, headers, header_count, body);
        return;
    }
    struct answer a = answer_to(x, status, content_type, headers, header_count);
    a.has_length = !forbids_body(status);
    a.length = body.n;
    struct http_conn *c = x->conn;
    struct buf *out = http_conn_out(c);
    write_head(out, c->server, &a);
    if (forbids_body(status) || x->request->method == HTTP_HEAD_)
        body.n = 0;
    if (body.n > COPY_BYTES)
        http_conn_flush(c, body);
    else
        buf_adds(out, body);
    end_exchange(x);
}

void http_stream_size(struct http_exchange *x, size_t length)
{
    assert(!x->streaming);
    x->sized = true;
    x->length = length;
}

void http_stream_begin(struct http_exchange *x, int status, struct str content_type,
                       const struct http_header *headers, size_t header_count,
                       void (*on_drain)(struct http_exchange *x))
{
    x->on_drain = on_drain;
    if (!x->conn) {
        x->streaming = true;
        x->bodyless = forbids_body(status) || x->request->method == HTTP_HEAD_;
        if (x->loopback)
            http_loopback_head(x->loopback, status, content_type, headers, header_count);
        return;
    }
    /* Without chunks only the end of the connection can end the body. */
    if (x->request->minor == 0 && !forbids_body(status) && !x->sized)
        x->keep_alive = false;
    struct answer a = answer_to(x, status, content_type, headers, header_count);
    x->streaming = true;
    x->bodyless = forbids_body(status) || x->request->method == HTTP_HEAD_;
    a.has_length = x->sized && !forbids_body(status);
    a.length = x->length;
    a.chunked = x->request->minor > 0 && !forbids_body(status) && !x->sized;
    x->chunked = a.chunked && !x->bodyless;
    write_head(http_conn_out(x->conn), x->conn->server, &a);
    if (x->conn->server->running != x->conn)
        http_conn_flush(x->conn, (struct str){NULL, 0});
}

bool http_stream_write(struct http_exchange *x, struct str data)
{
    assert(x->streaming);
    struct http_conn *c = x->conn;
    if (x->loopback && !x->bodyless)
        http_loopback_body(x->loopback, data);
    if (!c || x->bodyless || data.n == 0)
        return true;
    if (x->chunked) {
        char size[24];
        int n = snprintf(size, sizeof(size), "%zx\r\n", data.n);
        http_conn_queue(c, (struct str){size, (size_t)n});
    }
    http_conn_queue(c, data);
    if (x->chunked)
        http_conn_queue(c, STR("\r\n"));
    x->stalled = http_conn_pending(c) > c->server->limits.output_high_bytes;
    return !x->stalled;
}

void http_stream_end(struct http_exchange *x)
{
    assert(x->streaming);
    if (x->conn && x->chunked)
        http_conn_queue(x->conn, STR("0\r\n\r\n"));
    end_exchange(x);
}

void http_stream_abort(struct http_exchange *x)
{
    assert(x->streaming);
    x->keep_alive = false;
    end_exchange(x);
}

size_t http_stream_pending(const struct http_exchange *x)
{
    return x->conn ? http_conn_pending(x->conn) : 0;
}

static const char *code_of(int status)
{
    switch (status) {
    case 408:
        return err_name(ERR_TIMEOUT);
    case 413:
        return err_name(ERR_TOO_LARGE);
    case 414:
        return err_name(ERR_URI_TOO_LONG);
    case 431:
        return err_name(ERR_HEADERS_TOO_LARGE);
    case 501:
    case 505:
        return err_name(ERR_NOT_IMPLEMENTED);
    case 503:
        return err_name(ERR_LIMIT);
    default:
        return err_name(ERR_INVALID);
    }
}

static void make_id(char out[17])
{
    uint64_t random;
    file_random(&random, sizeof(random));
    snprintf(out, 17, "%016llx", (unsigned long long)random);
}

void http_answer_refusal(struct http_conn *c, int status, const char *message)
{
    static const struct http_header retry = {{"Retry-After", 11}, {"1", 1}};
    const struct http_request *r = c->parse.request;
    char id[17];
    make_id(id);
    struct http_problem problem = {.status = status,
                                   .code = str_from(code_of(status)),
                                   .message = str_from(message),
                                   .path = r ? r->path : (struct str){NULL, 0},
                                   .correlation_id = {id, 16},
                                   .wall_ms = clock_wall_ms(loop_clock(c->server->loop))};
    struct buf body = BUF_INIT;
    http_problem_write(&body, &problem);
    struct answer a = {.status = status,
                       .minor = 1,
                       .content_type = http_problem_type(r ? http_header_find(r, STR("accept"))
                                                           : (struct str){NULL, 0}),
                       .headers = &retry,
                       .header_count = status == 503 ? 1 : 0,
                       .has_length = true,
                       .length = body.n,
                       .close = true};
    struct buf *out = http_conn_out(c);
    write_head(out, c->server, &a);
    if (!r || r->method != HTTP_HEAD_)
        buf_adds(out, buf_str(&body));
    buf_deinit(&body);
    http_parse_deinit(&c->parse);
    http_conn_answered(c, false);
}
