/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "http/message.h"
#include "loop/loop.h"

/* HTTP/1.1 server of one worker: connections (bufferevents + llhttp), limits, keep-alive,
 * pipelining (one request of a connection at a time), chunked both ways, HEAD, 100-continue,
 * back-pressure, drain. Workers share a listening socket: one is opened by http_listen and given to
 * every server. */
struct http_server;

struct http_limits {
    size_t request_line_bytes;                   /* 8 KiB */
    size_t headers_bytes;                        /* 64 KiB */
    int headers_count;                           /* 100 */
    size_t body_bytes;                           /* 1 MiB */
    int headers_ms, body_idle_ms, keep_alive_ms; /* 10 s, 30 s, 75 s */
    /* A body has body_idle_ms, and a second more for each so many bytes of it that came: one fed
     * drop by drop must end too. 1 KiB. */
    int body_bytes_per_s;
    int write_ms;             /* a client may leave its answer unread, 30 s */
    int connections;          /* of all servers that share; beyond it: 503 and close */
    size_t output_high_bytes; /* stop producing above, 256 KiB */
};

#define HTTP_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        .request_line_bytes = 8 << 10, .headers_bytes = 64 << 10, .headers_count = 100,            \
        .body_bytes = 1 << 20, .headers_ms = 10000, .body_idle_ms = 30000, .keep_alive_ms = 75000, \
        .body_bytes_per_s = 1 << 10, .write_ms = 30000, .connections = 10000,                      \
        .output_high_bytes = 256 << 10                                                             \
    }

/* One request and its answer. Lives until the handler has answered it (http_answer,
 * http_stream_end), even if the client has gone meanwhile; an answer to a client that has gone is
 * dropped. */
struct http_exchange;

/* Shall the request be handled at once, its body following in pieces of any number? Asked about
 * those whose body is not small; all of the head is there, and an arena for the time of the call.
 */
typedef bool http_streams_fn(void *ctx, const struct http_request *head, struct arena *a);

/* Called with a complete request, or the head of one whose body follows. The handler answers
 * exactly once, at once or later, from the server's thread. */
typedef void http_handler_fn(void *ctx, struct http_exchange *x);

/* Opens a listening TCP socket (SO_REUSEADDR, non-blocking). Port 0 picks a free one; ret_address
 * gets "host:port". Returns the descriptor or -1 (ERR_CONFIG names the address: "cannot listen on
 * 127.0.0.1:8088: Address already in use"). */
int http_listen(struct str address, struct buf *ret_address, struct err *err);

/* Borrows loop and ctx; does not own listen_fd. Returns owned. Accepts at once. */
struct http_server *http_server_new(struct loop *l, int listen_fd, const struct http_limits *limits,
                                    http_handler_fn *handler, void *ctx, struct err *err);
/* From now on asks fn, with the server's ctx, which bodies are streamed; without it none is. */
void http_server_stream_bodies(struct http_server *s, http_streams_fn *fn);
/* Closes everything at once; every exchange must have been answered or is told gone. */
void http_server_free(struct http_server *s);
/* Stops accepting, closes idle connections, lets those with requests end with "Connection: close".
 * done runs when the last one is closed (at once if there is none). */
void http_server_drain(struct http_server *s, void (*done)(void *ctx), void *ctx);
int http_server_connections(const struct http_server *s);

/* Of an exchange. The request and its arena live as long as the exchange. */
const struct http_request *http_exchange_request(const struct http_exchange *x);
struct arena *http_exchange_arena(struct http_exchange *x);
/* The client's address without its port, in the arena; empty when it has gone or is none. A
 * loopback's is 127.0.0.1. */
struct str http_exchange_peer(struct http_exchange *x);
void http_exchange_set_data(struct http_exchange *x, void *data);
void *http_exchange_data(const struct http_exchange *x);
/* fn runs once if the client goes away before the answer is complete (or shuts its sending half,
 * which looks the same; an answer given nevertheless is still sent then). */
void http_exchange_on_gone(struct http_exchange *x, void (*fn)(struct http_exchange *x));
/* Does, or did, the body follow its head? Then the request's `body` is empty, and an answer given
 * before the end of the body ends the connection. */
bool http_exchange_is_streamed(const struct http_exchange *x);
/* Of a streamed body: the length that the client gave it; 0: none. */
uint64_t http_exchange_length(const struct http_exchange *x);
/* Reads a streamed body: fn gets its pieces, from the loop, and an empty one at the end; NULL stops
 * that, and what comes waits in the kernel. A body that goes wrong is a client that goes away. */
void http_exchange_read(struct http_exchange *x,
                        void (*fn)(struct http_exchange *x, struct str piece));
