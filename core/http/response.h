/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/client.h"

#include <llhttp.h>

/* Inside of the floor: reads one answer from bytes, as strictly as parse.h reads requests. A head
 * is looked at as a whole, a body in pieces. */
struct http_response_parse {
    llhttp_t parser;
    struct http_response *response; /* borrowed; where the head goes */
    void (*on_body)(void *ctx, struct str piece);
    void *ctx;
    size_t headers_max;
    size_t trailer_bytes;
    int lengths, encodings, interim;
    bool bodyless; /* the answer to a HEAD */
    bool chunked;
    bool in_trailers, complete, keep_alive;
    bool stopped;      /* on_body wants no more */
    const char *wrong; /* static: why it is no answer */
};

enum http_response_verdict {
    HTTP_RESPONSE_MORE,
    HTTP_RESPONSE_HEAD,      /* the head is complete; a body follows */
    HTTP_RESPONSE_DONE,      /* all of it is */
    HTTP_RESPONSE_WRONG,     /* `wrong` says why */
    HTTP_RESPONSE_TOO_LARGE, /* the head is */
    HTTP_RESPONSE_STOPPED
};

/* Looks for the end of a head in all the bytes there are. HEAD: *ret_bytes long. */
enum http_response_verdict http_response_scan(struct http_response_parse *p, const char *data,
                                              size_t n, size_t limit, size_t *ret_bytes);
/* Reads a whole head, to which the response points afterwards; headers is room for headers_max. */
enum http_response_verdict http_response_head(struct http_response_parse *p, const char *head,
                                              size_t n);
/* Takes *ret_used bytes. */
enum http_response_verdict http_response_body(struct http_response_parse *p, const char *data,
                                              size_t n, size_t *ret_used);
/* The other side will send no more: DONE or WRONG. */
enum http_response_verdict http_response_eof(struct http_response_parse *p);
