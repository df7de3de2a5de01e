/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "http/server.h"

#include <llhttp.h>

/* Inside of the floor: reads one request from bytes, knows no connection. A head is looked at as a
 * whole (its raw bytes are checked before llhttp sees them), a body in pieces. */
struct http_parse {
    llhttp_t parser;
    const struct http_limits *limits; /* borrowed */

    /* Of the scan of the raw head. Offsets from the first byte given. */
    size_t scanned; /* bytes that need no second look */
    size_t start; /* 2 after an empty line, which one client in a while sends before its request */
    size_t line_start; /* of the line being scanned */
    size_t first_end;  /* end of the request line, 0 before it is complete */
    size_t head_bytes; /* once complete: bytes to take off the input */
    int lines;         /* header lines seen */

    /* Of the request. Owned until http_parse_take. */
    struct arena *arena;
    struct http_request *request;
    char *body_space; /* for small bodies of known length; of the arena */
    size_t body_bytes;
    struct buf body;     /* for others */
    uint64_t wire_bytes; /* of the body, coding and all */
    size_t trailer_bytes;
    bool keep_alive;
    bool expects_continue;
    bool has_body;
    uint64_t length; /* of the body; 0: not known before its end */
    bool may_stream; /* set after http_parse_begin: a body over the limit may yet be streamed */
    bool streamed;   /* what was read of the body lies in `body`, to be taken piece by piece */
    bool in_trailers;
    bool complete;
    int trailer_state;

    /* Of a refusal. message is static. */
    int status;
    const char *message;
};

enum http_parse_verdict {
    HTTP_PARSE_MORE,   /* nothing wrong so far */
    HTTP_PARSE_HEAD,   /* the head is complete: take head_bytes off, go on with http_parse_body if
                          has_body */
    HTTP_PARSE_DONE,   /* the body is complete */
    HTTP_PARSE_REFUSED /* status and message say why */
};

/* Ready for the next request. Borrows limits; p is zeroed or was taken from. */
void http_parse_begin(struct http_parse *p, const struct http_limits *limits);
/* Both after a head with has_body, of a p that may_stream. Small bodies of known length are not
 * worth streaming. */
bool http_parse_can_stream(const struct http_parse *p);
/* Goes on with the body, streamed or whole: HTTP_PARSE_MORE, or a refusal of a whole one that is
 * too large. */
enum http_parse_verdict http_parse_go_on(struct http_parse *p, bool streamed);
/* The time that so many bytes of a body have earned for the rest of it. */
int64_t http_body_earned_ns(uint64_t bytes, int bytes_per_s);
void http_parse_deinit(struct http_parse *p);
/* data is all the input there is, from the first byte of the request; called again with more of the
 * same. */
enum http_parse_verdict http_parse_head(struct http_parse *p, const char *data, size_t n);
/* Takes *ret_used bytes. */
enum http_parse_verdict http_parse_body(struct http_parse *p, const char *data, size_t n,
                                        size_t *ret_used);
/* Hands over a complete request: returns its arena, owned; *ret_body owned too (the request points
 * into it). */
struct arena *http_parse_take(struct http_parse *p, struct http_request **ret_request,
                              struct buf *ret_body);
