/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "http/parse.h"
#include "http/share.h"
#include "loop/timer.h"

#include <stdatomic.h>

/* Inside of the floor: what connections, exchanges and the server know of each other. */
struct bufferevent;
struct event;
struct http_loopback;

enum http_conn_state {
    HTTP_CONN_HEAD,     /* reading a head, or idle before it */
    HTTP_CONN_BODY,     /* reading a body */
    HTTP_CONN_HANDLING, /* the handler has the exchange */
    HTTP_CONN_CLOSING,  /* the last answer is on its way */
    HTTP_CONN_LINGER    /* our side is shut; what the client still sends is dropped */
};

struct http_conn {
    struct http_server *server; /* borrowed */
    struct bufferevent *bev;    /* owned, with its descriptor */
    int fd;
    enum http_conn_state state;
    struct list node; /* of server->conns */
    struct http_parse parse;
    struct http_exchange *exchange; /* borrowed, while HANDLING */
    struct loop_timer timer;        /* armed at or before the earliest deadline */
    struct loop_defer again;        /* goes on at the end of the turn */
    int64_t read_deadline_ns;       /* INT64_MAX: none */
    int64_t write_deadline_ns;      /* meaningful while output waits */
    int64_t look_ns;                /* meaningful while full: when to look for its end */
    int64_t body_began_ns, paused_ns;
    size_t lingered_bytes;
    bool began;   /* a byte of the request being read has come */
    bool served;  /* there was an answer before */
    bool eof;     /* the client will send no more */
    bool full;    /* enough input waits, no more is read */
    bool dead;    /* to be closed without ceremony */
    bool refused; /* beyond the limit of connections */
};

struct http_exchange {
    struct http_conn *conn;         /* NULL once the client has gone, and with a loopback */
    struct http_loopback *loopback; /* borrowed; collects the answer instead of a connection */
    struct arena *arena;            /* owned; the exchange lies in it */
    struct http_request *request;
    struct buf body; /* owned */
    void *data;
    void (*on_gone)(struct http_exchange *x);
    void (*on_drain)(struct http_exchange *x);
    bool keep_alive;
    bool streaming;
    bool chunked;
    bool bodyless; /* of a stream: nothing may follow its head */
    bool stalled;  /* a write returned false, on_drain is due */
    bool sized;    /* of a stream: length is how much will follow */
    size_t length;

    /* Of a request that was handled before its body came (http_server_stream_bodies). */
    void (*on_body)(struct http_exchange *x, struct str piece); /* NULL: not read now */
    uint64_t body_length;
    bool streamed; /* it is one */
    bool open;     /* on_body has not been told the end */
    bool complete; /* but all of it has come */
};

/* A server as the other workers see it (share.c). */
struct http_share_slot {
    struct http_share *share;
    struct http_server *server; /* NULL once it is freed; its own thread's */
    struct mailbox *mailbox;
    atomic_int connections; /* with those on their way */
};

struct http_server {
    struct loop *loop;            /* borrowed */
    struct http_share_slot *slot; /* NULL: it shares with nobody */
    struct http_limits limits;
    http_handler_fn *handler;
    http_streams_fn *streams; /* or NULL */
    void *ctx;
    struct event *accept_event; /* owned; NULL once it drains */
    struct loop_timer accept_pause;
    int64_t accept_logged_ns;
    struct list conns;
    int conn_count;
    int refused_count; /* of these, beyond the limit */
    struct buf out;    /* assembled answers of out_conn, not sent yet */
    struct http_conn *out_conn;
    struct http_conn *running; /* its callbacks are on the stack */
    int64_t date_s;            /* the second that date spells */
    struct buf date;           /* "Date: ...\r\n" */
    bool draining;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    struct loop_defer drained;
};

/* Takes fd. Beyond the limit of connections it is answered 503. */
void http_conn_accept(struct http_server *s, int fd);
/* Closes at once; an exchange in the handler's hands is told and goes on without connection. */
void http_conn_free(struct http_conn *c);
/* True if no request was begun and nothing is left to send. */
bool http_conn_is_idle(const struct http_conn *c);
/* Where an answer of c is to be assembled. Flushes what is there of another connection. */
struct buf *http_conn_out(struct http_conn *c);
/* Sends what was assembled, then tail, as far as the kernel takes it; the rest waits in the
 * bufferevent. */
void http_conn_flush(struct http_conn *c, struct str tail);
/* Queues after what was assembled, to be sent at the next turn. */
void http_conn_queue(struct http_conn *c, struct str data);
size_t http_conn_pending(const struct http_conn *c);
/* True if an answer begun now should be the last of the connection. */
bool http_conn_should_close(const struct http_conn *c, bool keep_alive);
/* Reads on in the body of its exchange, or stops to. */
void http_conn_read_body(struct http_conn *c, bool on);
/* The exchange is over. */
void http_conn_answered(struct http_conn *c, bool keep_alive);

/* Of share.c: true if another server takes the connection; else it counts as this one's. */
bool http_share_hand_over(struct http_server *s, int fd);
/* A connection more or less; slot may be NULL. */
void http_share_count(struct http_share_slot *slot, int change);
/* True if the servers that share hold fewer than limit connections: one more is counted then, until
 * it is released. Those that are only told of the limit are not counted. */
bool http_share_admit(struct http_share_slot *slot, int limit);
void http_share_release(struct http_share_slot *slot);
/* Of server.c: true if there is room for one more connection, which is counted then. */
bool http_server_admit(struct http_server *s);
/* Of server.c: a connection is gone. */
void http_server_forget(struct http_server *s, const struct http_conn *c);
/* Of answer.c: answers for the server itself, with Connection: close. Does not flush. */
void http_answer_refusal(struct http_conn *c, int status, const char *message);
/* Of loopback.c: an answer, piece by piece; the exchange is over with the end. */
void http_loopback_head(struct http_loopback *lb, int status, struct str content_type,
                        const struct http_header *headers, size_t header_count);
void http_loopback_body(struct http_loopback *lb, struct str data);
void http_loopback_end(struct http_loopback *lb);
