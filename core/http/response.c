/* SPDX-License-Identifier: MIT */
/* Answers from bytes. What two readers could understand differently is no answer: on a connection
 * that is used again the rest of one would be the beginning of the next. */
#include "http/response.h"

#include <assert.h>

#define TRAILERS_BYTES (16 << 10)

static enum http_response_verdict wrong(struct http_response_parse *p, const char *why)
{
    p->wrong = why;
    return HTTP_RESPONSE_WRONG;
}

static int wrong_in_callback(struct http_response_parse *p, const char *why)
{
    p->wrong = why;
    return -1;
}

static bool is_text(char byte)
{
    unsigned char c = (unsigned char)byte;
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

enum http_response_verdict http_response_scan(struct http_response_parse *p, const char *data,
                                              size_t n, size_t limit, size_t *ret_bytes)
{
    size_t line = 0;
    for (size_t i = 0; i < n && i < limit; i++) {
        if (is_text(data[i]))
            continue;
        if (data[i] != '\r')
            return wrong(p, data[i] == '\n' ? "a line ends without CR"
                                            : "a control character in the head");
        if (i + 1 == n)
            return HTTP_RESPONSE_MORE;
        if (data[i + 1] != '\n')
            return wrong(p, "CR without LF");
        if (i == line) {
            if (line == 0)
                return wrong(p, "an empty line where an answer belongs");
            *ret_bytes = i + 2;
            return HTTP_RESPONSE_HEAD;
        }
        if (line > 0 && (data[line] == ' ' || data[line] == '\t'))
            return wrong(p, "a folded header line");
        i++;
        line = i + 1;
    }
    return n < limit ? HTTP_RESPONSE_MORE : HTTP_RESPONSE_TOO_LARGE;
}

/* ---- the head, by callbacks of llhttp ---- */

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    struct http_response_parse *p = parser->data;
    struct http_response *r = p->response;
    if (r->header_count == p->headers_max)
        return wrong_in_callback(p, "too many headers");
    r->headers[r->header_count++] = (struct http_header){{at, n}, {NULL, 0}};
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    struct http_response_parse *p = parser->data;
    struct http_response *r = p->response;
    if (r->header_count == 0)
        return wrong_in_callback(p, "a malformed header");
    struct http_header *h = &r->headers[r->header_count - 1];
    if (h->value.p && h->value.p + h->value.n != at) /* parts lie beside each other in the head */
        return wrong_in_callback(p, "a malformed header");
    h->value = h->value.p ? (struct str){h->value.p, h->value.n + n} : (struct str){at, n};
    return 0;
}

static int note_header(struct http_response_parse *p, struct http_header *h)
{
    while (h->value.n > 0 &&
           (h->value.p[h->value.n - 1] == ' ' || h->value.p[h->value.n - 1] == '\t'))
        h->value.n--;
    if (!http_token_is_valid(h->name))
        return wrong_in_callback(p, "a malformed header");
    p->lengths += str_ieq(h->name, STR("content-length"));
    if (!str_ieq(h->name, STR("transfer-encoding")))
        return 0;
    p->encodings++;
    if (!str_ieq(h->value, STR("chunked")))
        return wrong_in_callback(p, "a Transfer-Encoding other than chunked");
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_response_parse *p = parser->data;
    struct http_response *r = p->response;
    r->status = parser->status_code;
    r->minor = parser->http_minor;
    for (size_t i = 0; i < r->header_count; i++)
        if (note_header(p, &r->headers[i]))
            return -1;
    if (parser->http_major != 1)
        return wrong_in_callback(p, "another version of HTTP");
    if (r->status < 100 || r->status > 599)
        return wrong_in_callback(p, "a status that is none");
    if (r->status == 101)
        return wrong_in_callback(p, "a change of protocol that nobody asked for");
    if (p->lengths > 1 || p->encodings > 1 || (p->lengths > 0 && p->encodings > 0))
        return wrong_in_callback(p, "the length of the body is given twice");
    if (p->encodings > 0 && r->minor == 0)
        return wrong_in_callback(p, "HTTP/1.0 has no Transfer-Encoding");
    p->chunked = p->encodings > 0;
    parser->upgrade = 0;
    bool none = p->bodyless || r->status < 200 || r->status == 204 || r->status == 304;
    return none ? 1 : 0;
}

/* ---- the body ---- */

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct http_response_parse *p = parser->data;
    p->on_body(p->ctx, (struct str){at, n});
    return p->stopped ? -1 : 0;
}

static int on_chunk_header(llhttp_t *parser)
{
    struct http_response_parse *p = parser->data;
    if (parser->content_length > 0)
        return 0;
    p->in_trailers = true; /* llhttp takes a bare CR for their end: they are read here */
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_response_parse *p = parser->data;
    p->complete = true;
    p->keep_alive = llhttp_should_keep_alive(parser);
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

static enum http_response_verdict refused(struct http_response_parse *p)
{
    if (p->stopped)
        return HTTP_RESPONSE_STOPPED;
    if (p->wrong)
        return HTTP_RESPONSE_WRONG;
    const char *reason = llhttp_get_error_reason(&p->parser);
    return wrong(p, reason && reason[0] ? reason : "malformed");
}

enum http_response_verdict http_response_head(struct http_response_parse *p, const char *head,
                                              size_t n)
{
    llhttp_init(&p->parser, HTTP_RESPONSE, &settings);
    p->parser.data = p;
    p->lengths = p->encodings = 0;
    p->complete = p->in_trailers = p->chunked = p->stopped = false;
    p->trailer_bytes = 0;
    p->response->header_count = 0;
    llhttp_errno_t result = llhttp_execute(&p->parser, head, n);
    if (p->wrong || (result != HPE_OK && result != HPE_PAUSED))
        return refused(p);
    /* llhttp and the scan agree on where the head ends, or nothing that follows can be trusted. */
    if (result == HPE_PAUSED && (!p->complete || llhttp_get_error_pos(&p->parser) != head + n))
        return wrong(p, "malformed");
    return p->complete ? HTTP_RESPONSE_DONE : HTTP_RESPONSE_HEAD;
}

/* Lines of trailers, dropped, up to the empty one. Takes whole lines only. */
static enum http_response_verdict skip_trailers(struct http_response_parse *p, const char *data,
                                                size_t n, size_t *ret_used)
{
    size_t line = *ret_used;
    for (size_t i = line; i < n; i++) {
        if (is_text(data[i]))
            continue;
        if (data[i] != '\r')
            return wrong(p, "a control character in the trailers");
        if (i + 1 == n)
            break;
        if (data[i + 1] != '\n')
            return wrong(p, "CR without LF");
        bool last = i == line;
        i++;
        p->trailer_bytes += i + 1 - line;
        line = *ret_used = i + 1;
        if (last) {
            p->complete = true;
            return HTTP_RESPONSE_DONE;
        }
    }
    if (p->trailer_bytes + (n - line) > TRAILERS_BYTES)
        return wrong(p, "too many trailers");
    return HTTP_RESPONSE_MORE;
}

enum http_response_verdict http_response_body(struct http_response_parse *p, const char *data,
                                              size_t n, size_t *ret_used)
{
    *ret_used = 0;
    if (p->in_trailers)
        return skip_trailers(p, data, n, ret_used);
    llhttp_errno_t result = llhttp_execute(&p->parser, data, n);
    if (p->stopped || p->wrong || (result != HPE_OK && result != HPE_PAUSED))
        return refused(p);
    *ret_used = result == HPE_OK ? n : (size_t)(llhttp_get_error_pos(&p->parser) - data);
    if (!p->in_trailers)
        return p->complete ? HTTP_RESPONSE_DONE : HTTP_RESPONSE_MORE;
    p->keep_alive = llhttp_should_keep_alive(&p->parser);
    return skip_trailers(p, data, n, ret_used);
}

enum http_response_verdict http_response_eof(struct http_response_parse *p)
{
    if (!p->in_trailers)
        llhttp_finish(&p->parser); /* which completes a body without length */
    if (p->in_trailers || !p->complete)
        return wrong(p, "the answer was cut off");
    p->keep_alive = false;
    return HTTP_RESPONSE_DONE;
}

struct str http_response_find(const struct http_response *r, struct str name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct str){NULL, 0};
}
