/* SPDX-License-Identifier: MIT */
/* Requests from bytes. llhttp finds the fields and the framing; what it lets pass although two
 * readers could disagree on it (doubled spaces, folded lines, bare CR, a second Host) is refused
 * here, on the raw bytes, before it sees them. Trailers are read here too: they are dropped, and
 * llhttp 8.1 takes a bare CR for their end. */
#include "http/parse.h"

#include "http/url.h"

#include <assert.h>

#define SMALL_BODY_BYTES 16384
#define ARENA_BYTES 4096

enum trailer_state { TRAILER_START, TRAILER_LINE, TRAILER_LF, TRAILER_LAST_LF };

static enum http_parse_verdict refuse(struct http_parse *p, int status, const char *message)
{
    p->status = status;
    p->message = message;
    return HTTP_PARSE_REFUSED;
}

/* For callbacks: llhttp stops on any non-zero result. */
static int refuse_in_callback(struct http_parse *p, int status, const char *message)
{
    refuse(p, status, message);
    return -1;
}

static bool is_text(char byte)
{
    unsigned char c = (unsigned char)byte;
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static struct str trim_end(struct str s)
{
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* --- the raw head --- */

static enum http_parse_verdict end_first_line(struct http_parse *p, size_t end)
{
    if (end == p->start) {
        if (p->start > 0)
            return refuse(p, 400, "empty lines where a request line belongs");
        p->start = end + 2;
        return HTTP_PARSE_MORE;
    }
    if (end - p->start > p->limits->request_line_bytes)
        return refuse(p, 414, "the request line is too long");
    p->first_end = end;
    return HTTP_PARSE_MORE;
}

/* A line ends with the CR at end. */
static enum http_parse_verdict end_line(struct http_parse *p, const char *data, size_t end)
{
    if (p->first_end == 0)
        return end_first_line(p, end);
    if (end - p->first_end > p->limits->headers_bytes)
        return refuse(p, 431, "the headers are too large");
    if (end == p->line_start) {
        p->head_bytes = end + 2;
        return HTTP_PARSE_HEAD;
    }
    if (data[p->line_start] == ' ' || data[p->line_start] == '\t')
        return refuse(p, 400, "folded header lines are not accepted");
    if (++p->lines > p->limits->headers_count)
        return refuse(p, 431, "too many headers");
    return HTTP_PARSE_MORE;
}

static enum http_parse_verdict check_unfinished(struct http_parse *p)
{
    if (p->first_end == 0 && p->scanned - p->start > p->limits->request_line_bytes)
        return refuse(p, 414, "the request line is too long");
    if (p->first_end > 0 && p->scanned - p->first_end > p->limits->headers_bytes)
        return refuse(p, 431, "the headers are too large");
    return HTTP_PARSE_MORE;
}

/* The byte at `at` may not stand in a head. What is over its limit there already is refused for
 * that, however the bytes were torn on their way. */
static enum http_parse_verdict refuse_byte(struct http_parse *p, size_t at, const char *message)
{
    p->scanned = at;
    enum http_parse_verdict verdict = check_unfinished(p);
    return verdict == HTTP_PARSE_REFUSED ? verdict : refuse(p, 400, message);
}

static enum http_parse_verdict scan_head(struct http_parse *p, const char *data, size_t n)
{
    size_t i = p->scanned;
    for (; i < n; i++) {
        if (is_text(data[i]))
            continue;
        if (data[i] == '\n')
            return refuse_byte(p, i, "a line ends without CR");
        if (data[i] != '\r')
            return refuse_byte(p, i, "control character in the head");
        if (i + 1 == n)
            break;
        if (data[i + 1] != '\n')
            return refuse_byte(p, i, "CR without LF");
        enum http_parse_verdict verdict = end_line(p, data, i);
        if (verdict != HTTP_PARSE_MORE)
            return verdict;
        i++;
        p->line_start = i + 1;
    }
    p->scanned = i;
    return check_unfinished(p);
}

/* --- the request line --- */

static enum http_parse_verdict read_version(struct http_parse *p, struct str s)
{
    bool shaped = s.n == 8 && memcmp(s.p, "HTTP/", 5) == 0 && s.p[5] >= '0' && s.p[5] <= '9' &&
                  s.p[6] == '.' && s.p[7] >= '0' && s.p[7] <= '9';
    if (!shaped)
        return refuse(p, 400, "malformed request line");
    if (s.p[5] != '1' || s.p[7] > '1')
        return refuse(p, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    p->request->minor = s.p[7] - '0';
    return HTTP_PARSE_MORE;
}

static enum http_parse_verdict check_target(struct http_parse *p, struct str target)
{
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        if (c <= 0x20 || c >= 0x7f)
            return refuse(p, 400, "illegal character in the request target");
        if (c == '#')
            return refuse(p, 400, "a request target has no fragment");
    }
    p->request->target = target;
    return HTTP_PARSE_MORE;
}

static enum http_parse_verdict read_request_line(struct http_parse *p, struct str line)
{
    struct http_request *r = p->request;
    const char *end = line.p + line.n;
    const char *first = memchr(line.p, ' ', line.n);
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second || second == first + 1)
        return refuse(p, 400, "malformed request line");
    r->method_name = (struct str){line.p, (size_t)(first - line.p)};
    if (!http_token_is_valid(r->method_name))
        return refuse(p, 400, "malformed request line");
    r->method = http_method_from(r->method_name);
    struct str version = {second + 1, (size_t)(end - second - 1)};
    enum http_parse_verdict verdict = read_version(p, version);
    if (verdict != HTTP_PARSE_MORE)
        return verdict;
    if (str_eq(r->method_name, STR("CONNECT")))
        return refuse(p, 501, "this server is no proxy");
    return check_target(p, (struct str){first + 1, (size_t)(second - first - 1)});
}

/* "http://host/x?y" to "/x?y". Its authority is the Host header's, or the two could be taken for
 * different sites. */
static enum http_parse_verdict reduce_absolute(struct http_parse *p, size_t scheme_bytes)
{
    struct http_request *r = p->request;
    struct str rest = {r->target.p + scheme_bytes, r->target.n - scheme_bytes};
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    struct str authority = {rest.p, n};
    if (!http_authority_is_valid(authority))
        return refuse(p, 400, "the request target names no valid host");
    if (r->host.n == 0)
        r->host = authority;
    if (!str_ieq(authority, r->host))
        return refuse(p, 400, "the request target and Host name different hosts");
    rest = (struct str){rest.p + n, rest.n - n};
    if (rest.n == 0) {
        r->target = STR("/");
    } else if (rest.p[0] == '/') {
        r->target = rest;
    } else {
        char *target = arena_alloc(p->arena, rest.n + 1);
        target[0] = '/';
        memcpy(target + 1, rest.p, rest.n);
        r->target = (struct str){target, rest.n + 1};
    }
    return HTTP_PARSE_MORE;
}

static bool has_scheme(struct str target, struct str scheme)
{
    return target.n > scheme.n && str_ieq((struct str){target.p, scheme.n}, scheme);
}

static enum http_parse_verdict resolve_target(struct http_parse *p)
{
    struct http_request *r = p->request;
    enum http_parse_verdict verdict = HTTP_PARSE_MORE;
    if (has_scheme(r->target, STR("http://")))
        verdict = reduce_absolute(p, 7);
    else if (has_scheme(r->target, STR("https://")))
        verdict = reduce_absolute(p, 8);
    else if (r->target.p[0] != '/' && !(r->method == HTTP_OPTIONS_ && str_eq(r->target, STR("*"))))
        return refuse(p, 400, "malformed request target");
    if (verdict != HTTP_PARSE_MORE)
        return verdict;
    const char *mark = memchr(r->target.p, '?', r->target.n);
    size_t path_n = mark ? (size_t)(mark - r->target.p) : r->target.n;
    r->path = (struct str){r->target.p, path_n};
    r->query = mark ? (struct str){mark + 1, r->target.n - path_n - 1} : (struct str){NULL, 0};
    return HTTP_PARSE_MORE;
}

/* --- headers, by callbacks of llhttp --- */

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    struct http_parse *p = parser->data;
    struct http_request *r = p->request;
    if (r->header_count == (size_t)p->lines)
        return refuse_in_callback(p, 400, "malformed header");
    r->headers[r->header_count++] = (struct http_header){{at, n}, {NULL, 0}};
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    struct http_parse *p = parser->data;
    struct http_request *r = p->request;
    if (r->header_count == 0)
        return refuse_in_callback(p, 400, "malformed header");
    struct http_header *h = &r->headers[r->header_count - 1];
    /* llhttp may report a value in parts; the head is one block, so the parts lie beside each
     * other. */
    if (h->value.p && h->value.p + h->value.n != at)
        return refuse_in_callback(p, 400, "malformed header");
    h->value = h->value.p ? (struct str){h->value.p, h->value.n + n} : (struct str){at, n};
    return 0;
}

struct framing {
    int hosts, lengths, encodings;
    struct str encoding, expect;
};

static void note_header(struct http_parse *p, struct framing *f, const struct http_header *h)
{
    switch (h->name.n) {
    case 4:
        if (str_ieq(h->name, STR("host"))) {
            f->hosts++;
            p->request->host = h->value;
        }
        return;
    case 6:
        if (str_ieq(h->name, STR("expect")))
            f->expect = h->value;
        return;
    case 14:
        f->lengths += str_ieq(h->name, STR("content-length"));
        return;
    case 17:
        if (str_ieq(h->name, STR("transfer-encoding"))) {
            f->encodings++;
            f->encoding = h->value;
        }
        return;
    default:
        return;
    }
}

static int check_framing(struct http_parse *p, const struct framing *f)
{
    const struct http_request *r = p->request;
    if (f->hosts > 1 || (f->hosts == 0 && r->minor == 1))
        return refuse_in_callback(p, 400, "exactly one Host header is needed");
    if (f->hosts == 1 && !http_authority_is_valid(r->host))
        return refuse_in_callback(p, 400, "the Host header is no valid host");
    if (f->lengths > 1 || f->encodings > 1 || (f->lengths > 0 && f->encodings > 0))
        return refuse_in_callback(p, 400, "the length of the body is given twice");
    if (f->encodings > 0 && r->minor == 0)
        return refuse_in_callback(p, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (f->encodings > 0 && !str_ieq(f->encoding, STR("chunked")))
        return refuse_in_callback(p, 501, "the only Transfer-Encoding known here is chunked");
    if (r->minor == 0 || f->expect.n == 0)
        return 0;
    if (!str_ieq(f->expect, STR("100-continue")))
        return refuse_in_callback(p, 417, "the only expectation met here is 100-continue");
    p->expects_continue = true;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_parse *p = parser->data;
    struct http_request *r = p->request;
    struct framing f = {0};
    for (size_t i = 0; i < r->header_count; i++) {
        struct http_header *h = &r->headers[i];
        if (h->name.n == 0)
            return refuse_in_callback(p, 400, "a header without a name");
        h->value = trim_end(h->value);
        note_header(p, &f, h);
    }
    if (check_framing(p, &f))
        return -1;
    p->length = parser->flags & F_CHUNKED ? 0 : parser->content_length;
    if (p->length > p->limits->body_bytes && !p->may_stream)
        return refuse_in_callback(p, 413, "the body is too large");
    p->keep_alive = llhttp_should_keep_alive(parser);
    p->has_body = (parser->flags & F_CHUNKED) || p->length > 0;
    if (p->length > 0 && p->length <= SMALL_BODY_BYTES)
        p->body_space = arena_alloc(p->arena, p->length);
    parser->upgrade = 0; /* no other protocol is spoken here: an offer to change is passed over */
    return 0;
}

/* --- bodies, by callbacks of llhttp --- */

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct http_parse *p = parser->data;
    if (!p->streamed && n > p->limits->body_bytes - p->body_bytes)
        return refuse_in_callback(p, 413, "the body is too large");
    if (p->body_space)
        memcpy(p->body_space + p->body_bytes, at, n);
    else
        buf_add(&p->body, at, n);
    p->body_bytes += n;
    return 0;
}

static int on_chunk_header(llhttp_t *parser)
{
    struct http_parse *p = parser->data;
    if (!p->streamed && parser->content_length > p->limits->body_bytes - p->body_bytes)
        return refuse_in_callback(p, 413, "the body is too large");
    if (parser->content_length > 0)
        return 0;
    p->in_trailers = true;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_parse *p = parser->data;
    p->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = on_message_complete,
};

static enum http_parse_verdict refuse_by_parser(struct http_parse *p)
{
    if (p->status > 0)
        return HTTP_PARSE_REFUSED;
    if (llhttp_get_errno(&p->parser) == HPE_INVALID_METHOD) /* and yet a token */
        return refuse(p, 501, "no such method is known here; they are written in capitals");
    const char *reason = llhttp_get_error_reason(&p->parser);
    return refuse(p, 400, reason && reason[0] ? reason : "malformed request");
}

static enum http_parse_verdict finish(struct http_parse *p)
{
    if (p->streamed)
        return HTTP_PARSE_DONE;
    struct str body =
        p->body_space ? (struct str){p->body_space, p->body_bytes} : buf_str(&p->body);
    p->request->body = body;
    return HTTP_PARSE_DONE;
}

/* Copies the head into the arena of the exchange, where all strings of the request point. */
static enum http_parse_verdict read_head(struct http_parse *p, const char *data)
{
    size_t n = p->head_bytes - p->start;
    size_t headers_n = (size_t)p->lines * sizeof(struct http_header);
    size_t need = n + headers_n;
    p->arena = arena_new(need > ARENA_BYTES / 2 ? need + ARENA_BYTES / 2 : 0);
    p->request = arena_zalloc(p->arena, sizeof(*p->request));
    p->request->headers = arena_alloc(p->arena, headers_n);
    char *head = arena_alloc(p->arena, n);
    memcpy(head, data + p->start, n);
    struct str line = {head, p->first_end - p->start};
    if (read_request_line(p, line) == HTTP_PARSE_REFUSED)
        return HTTP_PARSE_REFUSED;
    llhttp_init(&p->parser, HTTP_REQUEST, &settings);
    p->parser.data = p;
    llhttp_errno_t result = llhttp_execute(&p->parser, head, n);
    if (p->status > 0 || (result != HPE_OK && result != HPE_PAUSED))
        return refuse_by_parser(p);
    /* llhttp and the scan agree on where the head ends, or nothing that follows can be trusted. */
    if (result == HPE_PAUSED && (!p->complete || llhttp_get_error_pos(&p->parser) != head + n))
        return refuse(p, 400, "malformed request");
    if (p->request->header_count != (size_t)p->lines || p->has_body == p->complete)
        return refuse(p, 400, "malformed request");
    if (resolve_target(p) == HTTP_PARSE_REFUSED)
        return HTTP_PARSE_REFUSED;
    return HTTP_PARSE_HEAD;
}

/* One byte of the trailers, which are checked and dropped. */
static enum http_parse_verdict read_trailer_byte(struct http_parse *p, char byte)
{
    switch ((enum trailer_state)p->trailer_state) {
    case TRAILER_START:
        p->trailer_state = byte == '\r' ? TRAILER_LAST_LF : TRAILER_LINE;
        if (byte == ' ' || byte == '\t' || (byte != '\r' && !is_text(byte)))
            return refuse(p, 400, "malformed trailer");
        return HTTP_PARSE_MORE;
    case TRAILER_LINE:
        if (byte == '\r')
            p->trailer_state = TRAILER_LF;
        else if (!is_text(byte))
            return refuse(p, 400, "malformed trailer");
        return HTTP_PARSE_MORE;
    case TRAILER_LF:
        p->trailer_state = TRAILER_START;
        return byte == '\n' ? HTTP_PARSE_MORE : refuse(p, 400, "malformed trailer");
    case TRAILER_LAST_LF:
        return byte == '\n' ? finish(p) : refuse(p, 400, "malformed trailer");
    }
    return refuse(p, 400, "malformed trailer");
}

static enum http_parse_verdict read_trailers(struct http_parse *p, const char *data, size_t n,
                                             size_t *used)
{
    enum http_parse_verdict verdict = HTTP_PARSE_MORE;
    while (n > 0 && verdict == HTTP_PARSE_MORE) {
        if (++p->trailer_bytes > p->limits->headers_bytes)
            return refuse(p, 431, "the trailers are too large");
        verdict = read_trailer_byte(p, *data);
        data++;
        n--;
        (*used)++;
    }
    return verdict;
}

/* Extensions of chunks and chunks of one byte cost without giving: they are bounded by what they
 * carry. */
static enum http_parse_verdict check_wire(struct http_parse *p, size_t n)
{
    p->wire_bytes += n;
    if (p->wire_bytes > 65536 + 16 * (uint64_t)p->body_bytes)
        return refuse(p, 400, "the body is coded too wastefully");
    return HTTP_PARSE_MORE;
}

void http_parse_begin(struct http_parse *p, const struct http_limits *limits)
{
    memset(p, 0, sizeof(*p));
    p->limits = limits;
}

bool http_parse_can_stream(const struct http_parse *p)
{
    return p->has_body && p->may_stream && p->body_space == NULL;
}

enum http_parse_verdict http_parse_go_on(struct http_parse *p, bool streamed)
{
    assert(!streamed || http_parse_can_stream(p));
    p->streamed = streamed;
    if (!streamed && p->length > p->limits->body_bytes)
        return refuse(p, 413, "the body is too large");
    return HTTP_PARSE_MORE;
}

/* Seconds first: bytes in nanoseconds are too many from 9 GiB on. */
int64_t http_body_earned_ns(uint64_t bytes, int bytes_per_s)
{
    uint64_t per_s = (uint64_t)bytes_per_s, whole_s = bytes / per_s;
    if (whole_s > INT32_MAX)
        return INT32_MAX * NS_PER_S;
    return (int64_t)whole_s * NS_PER_S + (int64_t)(bytes % per_s) * NS_PER_S / bytes_per_s;
}

void http_parse_deinit(struct http_parse *p)
{
    buf_deinit(&p->body);
    if (p->arena)
        arena_free(p->arena);
    p->arena = NULL;
    p->request = NULL;
}

enum http_parse_verdict http_parse_head(struct http_parse *p, const char *data, size_t n)
{
    enum http_parse_verdict verdict = scan_head(p, data, n);
    return verdict == HTTP_PARSE_HEAD ? read_head(p, data) : verdict;
}

enum http_parse_verdict http_parse_body(struct http_parse *p, const char *data, size_t n,
                                        size_t *ret_used)
{
    *ret_used = 0;
    if (p->in_trailers)
        return read_trailers(p, data, n, ret_used);
    llhttp_errno_t result = llhttp_execute(&p->parser, data, n);
    if (p->status > 0 || (result != HPE_OK && result != HPE_PAUSED))
        return refuse_by_parser(p);
    *ret_used = result == HPE_OK ? n : (size_t)(llhttp_get_error_pos(&p->parser) - data);
    enum http_parse_verdict verdict = check_wire(p, *ret_used);
    if (verdict == HTTP_PARSE_REFUSED || result == HPE_OK)
        return verdict;
    if (p->complete)
        return finish(p);
    return read_trailers(p, data + *ret_used, n - *ret_used, ret_used);
}

struct arena *http_parse_take(struct http_parse *p, struct http_request **ret_request,
                              struct buf *ret_body)
{
    struct arena *arena = p->arena;
    *ret_request = p->request;
    *ret_body = p->body;
    p->arena = NULL;
    p->request = NULL;
    p->body = (struct buf)BUF_INIT;
    return arena;
}
