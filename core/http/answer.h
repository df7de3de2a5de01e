/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/server.h"

/* Answers. Date, Content-Length, Transfer-Encoding and Connection are the server's; everything else
 * comes as headers. Header values are checked by whoever takes them from scripts
 * (http_value_is_valid); invalid ones assert. */

/* Sends a whole answer and ends the exchange (x is gone afterwards). Copies body. HEAD, 204 and 304
 * send no body (HEAD keeps the Content-Length). content_type may be empty. */
void http_answer(struct http_exchange *x, int status, struct str content_type,
                 const struct http_header *headers, size_t header_count, struct str body);

/* Before http_stream_begin: so many bytes will be written, which the head says instead of chunks.
 * It must be kept: with less of them only http_stream_abort may end it. */
void http_stream_size(struct http_exchange *x, size_t length);
/* A long answer: begin, then write while it returns true; false means "enough for now": go on when
 * on_drain runs. Chunked under 1.1; under 1.0 the connection closes at the end. end takes the
 * exchange. After the client has gone, write returns true and drops; who waits for on_drain then
 * gets on_gone, or on_drain if on_gone is not set. */
void http_stream_begin(struct http_exchange *x, int status, struct str content_type,
                       const struct http_header *headers, size_t header_count,
                       void (*on_drain)(struct http_exchange *x));
bool http_stream_write(struct http_exchange *x, struct str data);
void http_stream_end(struct http_exchange *x);
/* Ends it where it is, as a failure: the connection closes, and under 1.1 the client sees that the
 * rest is missing. Takes the exchange. */
void http_stream_abort(struct http_exchange *x);
/* Bytes written but not yet taken by the kernel. */
size_t http_stream_pending(const struct http_exchange *x);
