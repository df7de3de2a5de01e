/* SPDX-License-Identifier: MIT */
/* Reading an answer, blocking. The command line has one connection and nothing else to do, so none
 * of the server's machinery is wanted; the text comes from our own server, yet lengths are bounded
 * as if it did not. */
#include "app/client_http.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES (64 << 10)
#define HEADERS_MAX 200
#define BODY_MAX_BYTES (64 << 20)

struct source {
    int fd;
    const struct client_request *request;
    struct buf *body;
    struct err *err;
    int status;
    bool enough; /* on_data wants no more */
    size_t at, n;
    char bytes[16 << 10];
};

/* 1: there are bytes, 0: the end, -1. */
static int fill(struct source *s)
{
    ssize_t n;
    if (s->at < s->n)
        return 1;
    do
        n = read(s->fd, s->bytes, sizeof(s->bytes));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return err_set(s->err, ERR_IO, "no answer in time");
    if (n < 0)
        return err_sys(s->err, ERR_IO, "the connection broke");
    s->at = 0;
    s->n = (size_t)n;
    return n > 0;
}

/* As fill, but the end is an error. */
static int must_fill(struct source *s)
{
    int filled = fill(s);
    if (filled == 0)
        return err_set(s->err, ERR_IO, "the answer breaks off");
    return filled < 0 ? -1 : 0;
}

/* A line without its CR LF. */
static int read_line(struct source *s, struct buf *line)
{
    buf_clear(line);
    while (!must_fill(s)) {
        const char *from = s->bytes + s->at;
        const char *end = memchr(from, '\n', s->n - s->at);
        size_t n = end ? (size_t)(end - from) : s->n - s->at;
        if (line->n + n > LINE_MAX_BYTES)
            return err_set(s->err, ERR_IO, "the answer is not HTTP");
        buf_add(line, from, n);
        s->at += n + (end ? 1 : 0);
        if (!end)
            continue;
        if (line->n > 0 && line->p[line->n - 1] == '\r')
            line->n--;
        return 0;
    }
    return -1;
}

static int give(struct source *s, struct str data)
{
    if (s->request->on_data && s->status / 100 == 2) {
        s->enough = !s->request->on_data(s->request->ctx, data);
        return 0;
    }
    if (s->body->n + data.n > BODY_MAX_BYTES)
        return err_set(s->err, ERR_IO, "the answer is too large");
    buf_adds(s->body, data);
    return 0;
}

static int read_bytes(struct source *s, int64_t left)
{
    while (left > 0 && !s->enough) {
        if (must_fill(s))
            return -1;
        size_t n = s->n - s->at;
        if ((int64_t)n > left)
            n = (size_t)left;
        struct str data = {s->bytes + s->at, n};
        s->at += n;
        left -= (int64_t)n;
        if (give(s, data))
            return -1;
    }
    return 0;
}

static int read_to_end(struct source *s)
{
    int filled = 0;
    while (!s->enough && (filled = fill(s)) > 0) {
        struct str data = {s->bytes + s->at, s->n - s->at};
        s->at = s->n;
        if (give(s, data))
            return -1;
    }
    return filled < 0 ? -1 : 0;
}

static int read_chunks(struct source *s, struct buf *line)
{
    while (!s->enough) {
        char *end;
        if (read_line(s, line))
            return -1;
        long long size = strtoll(buf_str(line).p, &end, 16);
        if (end == line->p || size < 0 || size > BODY_MAX_BYTES)
            return err_set(s->err, ERR_IO, "the answer has a bad chunk");
        if (size == 0)
            return 0;
        if (read_bytes(s, size) || (!s->enough && read_line(s, line)))
            return -1;
    }
    return 0;
}

static bool header_is(struct str line, struct str name, struct str *ret_value)
{
    if (line.n <= name.n || line.p[name.n] != ':' || !str_ieq((struct str){line.p, name.n}, name))
        return false;
    struct str value = {line.p + name.n + 1, line.n - name.n - 1};
    while (value.n > 0 && value.p[0] == ' ') {
        value.p++;
        value.n--;
    }
    *ret_value = value;
    return true;
}

/* Status line and headers; *ret_length is -1 if it is not told. */
static int read_head(struct source *s, struct buf *line, int64_t *ret_length, bool *ret_chunked)
{
    struct str value;
    int64_t status;
    *ret_length = -1;
    *ret_chunked = false;
    if (read_line(s, line))
        return -1;
    bool http = line->n >= 12 && str_starts(buf_str(line), STR("HTTP/1."));
    if (!http || !str_to_int((struct str){line->p + 9, 3}, &status))
        return err_set(s->err, ERR_IO, "the answer is not HTTP");
    s->status = (int)status;
    for (int i = 0; i < HEADERS_MAX; i++) {
        if (read_line(s, line))
            return -1;
        if (line->n == 0)
            return 0;
        if (header_is(buf_str(line), STR("content-length"), &value) &&
            (!str_to_int(value, ret_length) || *ret_length < 0))
            return err_set(s->err, ERR_IO, "the answer has a bad length");
        if (header_is(buf_str(line), STR("transfer-encoding"), &value))
            *ret_chunked = str_ieq(value, STR("chunked"));
    }
    return err_set(s->err, ERR_IO, "the answer has too many headers");
}

static int read_answer(struct source *s, struct buf *line)
{
    int64_t length;
    bool chunked;
    do {
        if (read_head(s, line, &length, &chunked))
            return -1;
    } while (s->status / 100 == 1);
    if (s->status == 204 || s->status == 304)
        return 0;
    if (chunked)
        return read_chunks(s, line);
    return length >= 0 ? read_bytes(s, length) : read_to_end(s);
}

int client_http_read(int fd, const struct client_request *r, int *ret_status, struct buf *ret_body,
                     struct err *err)
{
    struct source s = {.fd = fd, .request = r, .body = ret_body, .err = err};
    struct buf line = BUF_INIT;
    int failed = read_answer(&s, &line);
    buf_deinit(&line);
    if (failed)
        return -1;
    *ret_status = s.status;
    return 0;
}
