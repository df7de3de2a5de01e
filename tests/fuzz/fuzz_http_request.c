/* SPDX-License-Identifier: MIT */
/* Requests from arbitrary bytes, read whole and in two parts: both must end alike, and an accepted
 * request must hold what the rest of the host relies on. The first byte of the input says where the
 * parts divide. */
#include "fuzz.h"
#include "http/parse.h"
#include "http/url.h"

struct outcome {
    enum http_parse_verdict verdict;
    int status;
    size_t used;
    struct str target, body;
};

static void check_request(const struct http_request *r)
{
    require(r->target.n > 0 && (r->target.p[0] == '/' || str_eq(r->target, STR("*"))));
    require(r->path.n > 0 && r->path.n <= r->target.n);
    require(r->minor == 0 || r->minor == 1);
    require(r->minor == 0 || http_authority_is_valid(r->host));
    for (size_t i = 0; i < r->header_count; i++) {
        require(http_token_is_valid(r->headers[i].name));
        require(http_value_is_valid(r->headers[i].value));
    }
}

static bool is_over(const struct http_parse *p, const struct outcome *o)
{
    if (o->verdict == HTTP_PARSE_REFUSED || o->verdict == HTTP_PARSE_DONE)
        return true;
    return o->verdict == HTTP_PARSE_HEAD && !p->has_body;
}

/* Goes on with the input that ends at end, as a connection does. */
static void read_part(struct http_parse *p, struct outcome *o, const char *data, size_t end)
{
    if (p->head_bytes == 0) {
        o->verdict = http_parse_head(p, data, end);
        o->used = p->head_bytes;
        if (o->verdict != HTTP_PARSE_HEAD)
            return;
    }
    while (o->used < end && !is_over(p, o)) {
        size_t used = 0;
        o->verdict = http_parse_body(p, data + o->used, end - o->used, &used);
        o->used += used;
        require(used > 0 || o->verdict == HTTP_PARSE_REFUSED);
    }
}

static struct outcome read_request(struct http_parse *p, const char *data, const size_t *ends,
                                   int parts)
{
    struct outcome o = {HTTP_PARSE_MORE, 0, 0, {NULL, 0}, {NULL, 0}};
    for (int part = 0; part < parts && !is_over(p, &o); part++)
        read_part(p, &o, data, ends[part]);
    if (o.verdict == HTTP_PARSE_REFUSED) {
        o.status = p->status;
    } else if (is_over(p, &o)) {
        check_request(p->request);
        o.target = p->request->target;
        o.body = p->request->body;
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_limits limits = {
        .request_line_bytes = 256, .headers_bytes = 1024, .headers_count = 8, .body_bytes = 4096};
    struct http_parse whole, split;
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 1;
    size_t n = size - 1;
    size_t ends[2] = {n * data[0] / 256, n};
    http_parse_begin(&whole, &limits);
    http_parse_begin(&split, &limits);
    struct outcome a = read_request(&whole, bytes, ends + 1, 1);
    struct outcome b = read_request(&split, bytes, ends, 2);
    require(a.verdict == b.verdict && a.status == b.status);
    require(str_eq(a.target, b.target) && str_eq(a.body, b.body));
    require(a.verdict == HTTP_PARSE_REFUSED || a.used == b.used);
    http_parse_deinit(&whole);
    http_parse_deinit(&split);
    return 0;
}
