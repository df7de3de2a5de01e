/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "http/message.h"
#include "loop/timer.h"

/* HTTP/1.1 client of one loop: connections are kept and used again, names are looked up without
 * blocking, every call has a deadline and can be cancelled at any moment. An answer comes in pieces
 * (a proxy hands them on); http/fetch.h collects whole ones. Redirects are answers like others. */
struct http_client;
struct http_call;

struct http_client_conf {
    struct loop *loop;
    int connect_ms;      /* name and connection together */
    int idle_ms;         /* an unused connection is closed after */
    int idle_max;        /* unused connections kept */
    int connections_max; /* of all; beyond it calls fail with ERR_LIMIT */
    size_t head_bytes;   /* of an answer; ERR_TOO_LARGE */
    int headers_max;
    size_t piece_bytes; /* read at once, and about as much may wait to be sent */
    int own_port;       /* never connected to on this machine (the admin side); 0: none */
};

#define HTTP_CLIENT_DEFAULT                                                                        \
    .connect_ms = 1000, .idle_ms = 15000, .idle_max = 64, .connections_max = 1024,                 \
    .head_bytes = 64 << 10, .headers_max = 100, .piece_bytes = 64 << 10

/* Borrows the loop. Returns owned. */
struct http_client *http_client_new(const struct http_client_conf *conf, struct err *err);
/* All calls must have ended or been cancelled; outside of a turn of the loop. NULL is legal. */
void http_client_free(struct http_client *c);
/* Connections that wait to be used again. */
int http_client_idle(const struct http_client *c);

/* The head of an answer; all of it lives until the call ends. */
struct http_response {
    int status;
    int minor; /* 1 for HTTP/1.1 */
    struct http_header *headers;
    size_t header_count;
};
/* First header of that name (case-insensitive), or an empty str with p == NULL. */
struct str http_response_find(const struct http_response *r, struct str name);

/* Runs on the loop, never before http_call_start returns: on_head, on_body for each piece, then
 * on_end; on_error instead of what is missing, at any time. The call is gone after on_end and
 * on_error. In each of them, http_call_cancel is legal for a call that has not ended. */
struct http_call_class {
    void (*on_head)(void *owner, const struct http_response *head);
    void (*on_body)(void *owner, struct str piece);
    void (*on_end)(void *owner);
    /* ERR_UNREACHABLE: no answer, and none can come. ERR_TIMEOUT: none within the deadline.
     * ERR_TOO_LARGE, ERR_PROTOCOL: an answer that is none. ERR_FORBIDDEN: an address that is never
     * connected to. ERR_LIMIT: too many connections. */
    void (*on_error)(void *owner, const struct err *err);
    void (*on_drain)(void *owner); /* a streamed body may go on; may be NULL */
};

struct http_call_conf {
    const struct http_call_class *class;
    void *owner;
    struct str method;
    struct str host; /* name or address, without brackets */
    int port;
    struct str target;                 /* "/orders?x=y" */
    const struct http_header *headers; /* without Host, Connection and those of the body's length */
    size_t header_count;
    struct str body;
    bool has_body;       /* Content-Length is sent also for an empty one */
    bool streams;        /* the body follows by http_call_write, over a connection of its own */
    uint64_t body_bytes; /* of a streamed body: its length; 0: unknown, it is sent in chunks */
    size_t answer_bytes; /* the most that the body of an answer may have; 0: no limit */
    int64_t deadline_ns; /* of everything, by the loop's clock */
};

/* Copies everything but owner. A connection that was used before and fails before the first byte of
 * an answer is replaced by a fresh one, once, if the method is idempotent or the call carries an
 * Idempotency-Key. ERR_INVALID: the parts make no request. */
struct http_call *http_call_start(struct http_client *c, const struct http_call_conf *conf,
                                  struct err *err);
/* Forgets the call and closes its connection; nothing runs for it any more. */
void http_call_cancel(struct http_call *call);
/* Moves the deadline of what is left; INT64_MAX, from on_head on: none. */
void http_call_set_deadline(struct http_call *call, int64_t at_ns);
/* No further pieces (but the one under way) until resume: what comes waits in the kernel. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* A piece of a streamed body; false: enough for now, on_drain says when to go on. */
bool http_call_write(struct http_call *call, struct str piece);
void http_call_finish(struct http_call *call);
