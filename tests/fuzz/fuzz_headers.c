/* SPDX-License-Identifier: MIT */
/* Header lines from arbitrary bytes, one a line of the input. Whether a request with them is
 * accepted, and what their values are, is worked out a second time here, from the words of RFC
 * 9110: a name is a token, a colon follows at once, blanks around the value do not count. Then the
 * value of the first line is taken for an Accept and a Content-Type. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/parse.h"
#include "http/problem.h"
#include "rest/rest.h"

#define LINES_MAX 32

struct lines {
    struct http_header items[LINES_MAX];
    size_t count;
    bool legal;  /* each line is a header */
    bool framed; /* one of them says where the request ends, or how; then only bounds are checked */
};

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static bool frames(struct str name)
{
    static const char *const names[] = {"host",       "content-length",  "transfer-encoding",
                                        "connection", "expect",          "upgrade",
                                        "keep-alive", "proxy-connection"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_ieq(name, str_from(names[i])))
            return true;
    }
    return false;
}

static void add_line(struct lines *l, struct str line)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct http_header *h = &l->items[l->count++];
    size_t n = colon ? (size_t)(colon - line.p) : 0;
    h->name = (struct str){line.p, n};
    h->value = colon ? trimmed((struct str){colon + 1, line.n - n - 1}) : (struct str){NULL, 0};
    l->legal &= http_token_is_valid(h->name) && http_value_is_valid(h->value) &&
                !memchr(line.p, '\n', line.n);
    l->framed |= frames(h->name);
}

static void read_lines(struct lines *l, struct str input)
{
    l->legal = true;
    while (input.n > 0 && l->count < LINES_MAX) {
        const char *end = memchr(input.p, '\n', input.n);
        size_t n = end ? (size_t)(end - input.p) : input.n;
        if (n > 0)
            add_line(l, (struct str){input.p, n});
        input.p += n + (end ? 1 : 0);
        input.n -= n + (end ? 1 : 0);
    }
}

static void write_request(struct buf *out, struct str input, size_t lines)
{
    buf_lit(out, "GET / HTTP/1.1\r\nHost: a\r\n");
    while (input.n > 0 && lines > 0) {
        const char *end = memchr(input.p, '\n', input.n);
        size_t n = end ? (size_t)(end - input.p) : input.n;
        buf_add(out, input.p, n);
        if (n > 0) {
            buf_lit(out, "\r\n");
            lines--;
        }
        input.p += n + (end ? 1 : 0);
        input.n -= n + (end ? 1 : 0);
    }
    buf_lit(out, "\r\n");
}

static void check_headers(const struct http_request *r, const struct lines *l)
{
    require(r->header_count == l->count + 1);
    for (size_t i = 0; i < l->count; i++) {
        require(str_eq(r->headers[i + 1].name, l->items[i].name));
        require(str_eq(r->headers[i + 1].value, l->items[i].value));
    }
    for (size_t i = 0; i < l->count; i++) {
        size_t first = 0;
        while (!str_ieq(l->items[first].name, l->items[i].name))
            first++;
        require(str_eq(http_header_find(r, l->items[i].name), l->items[first].value));
    }
}

static void check_types(struct str value)
{
    struct str type = http_problem_type(value);
    require(str_eq(type, STR("application/json")) || str_eq(type, STR("application/problem+json")));
    require(!rest_is_json(value) || !str_ieq(value, STR("application/json-patch+json")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct str input = {(const char *)data, size};
    struct lines l = {.count = 0};
    struct buf request = BUF_INIT;
    struct http_parse p;
    read_lines(&l, input);
    write_request(&request, input, l.count);
    http_parse_begin(&p, &limits);
    enum http_parse_verdict verdict = http_parse_head(&p, request.p, request.n);
    if (!l.framed)
        require((verdict == HTTP_PARSE_HEAD) == l.legal);
    require(verdict != HTTP_PARSE_MORE);
    if (verdict == HTTP_PARSE_REFUSED)
        require(p.status >= 400 && p.status < 600 && p.message);
    else
        check_headers(p.request, &l);
    http_parse_deinit(&p);
    buf_deinit(&request);
    if (l.count > 0)
        check_types(l.items[0].value);
    return 0;
}
