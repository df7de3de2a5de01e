/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/server.h"

/* A request without a connection: the handler gets an exchange as it does from a server, and the
 * answer is collected in memory. The request is parsed like one from the wire, so that the same
 * limits and refusals apply. For specs, and for whatever asks its own process. */
struct http_loopback;

struct http_loopback_request {
    struct str method, target;         /* "POST", "/orders?x=y" */
    const struct http_header *headers; /* Host and Content-Length are added when missing */
    size_t header_count;
    struct str body;
};

/* What was answered; all of it is the loopback's. Of a stream: what came so far, complete once it
 * has ended. */
struct http_loopback_answer {
    int status;
    struct str content_type; /* may be empty */
    const struct http_header *headers;
    size_t header_count;
    struct str body;
};

/* Parses the request and calls handler(ctx, exchange), which may answer at once or later. A request
 * that a server would refuse is answered with that status and a text, without the handler. Borrows
 * limits until it returns; copies the rest. ERR_INVALID: not one request. Returns owned. */
struct http_loopback *http_loopback_start(const struct http_loopback_request *r,
                                          const struct http_limits *limits,
                                          http_handler_fn *handler, void *ctx, struct err *err);
/* Before the answer this is the client that goes away: the exchange is told gone and its answer is
 * dropped. */
void http_loopback_free(struct http_loopback *lb);
/* True once the whole answer is there. */
bool http_loopback_done(const struct http_loopback *lb);
/* Borrowed until the loopback is freed; status 0 before anything was answered. */
void http_loopback_answer(struct http_loopback *lb, struct http_loopback_answer *ret);
