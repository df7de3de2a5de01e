/* SPDX-License-Identifier: MIT */
/* Where connections come from and where they go at a drain. Workers share one listening socket;
 * each takes one connection per wake-up and gives it to the one that has fewest (share.c). */
#include "http/server.h"

#include "base/log.h"
#include "http/conn.h"
#include "http/url.h"

#include <event2/event.h>

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPT_PAUSE_MS 100

struct address {
    char host[256];
    char port[8];
};

/* "host:port", "[v6]:port" or ":port" (all interfaces). */
static bool split_address(struct str s, struct address *ret)
{
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct str host = {s.p, colon - 1}, port = {s.p + colon, s.n - colon};
    int64_t number;
    if (!str_to_int(port, &number) || number < 0 || number > 65535 || host.n >= sizeof(ret->host))
        return false;
    if (host.n > 0 && !http_authority_is_valid(host))
        return false;
    if (host.n > 0 && host.p[0] == '[')
        host = (struct str){host.p + 1, host.n - 2};
    snprintf(ret->host, sizeof(ret->host), "%.*s", STR_ARG(host));
    snprintf(ret->port, sizeof(ret->port), "%d", (int)number);
    return true;
}

static int open_socket(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void write_address(int fd, struct buf *out)
{
    struct sockaddr_storage bound;
    socklen_t n = sizeof(bound);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&bound, &n) ||
        getnameinfo((struct sockaddr *)&bound, n, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    buf_addf(out, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* No descriptors or memory left: trying again at once would only burn the CPU. */
static void pause_accepting(struct http_server *s, int cause)
{
    int64_t now_ns = loop_now_ns(s->loop);
    if (s->accept_logged_ns == 0 || now_ns - s->accept_logged_ns >= NS_PER_S) {
        s->accept_logged_ns = now_ns;
        log_event(LOG_ERROR, "cannot accept connections", LOG_C("error", strerror(cause)),
                  LOG_I("connections", s->conn_count));
    }
    event_del(s->accept_event);
    loop_timer_start(s->loop, &s->accept_pause, now_ns + ACCEPT_PAUSE_MS * NS_PER_MS);
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *ctx)
{
    struct http_server *s = ctx;
    (void)what;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (!http_share_hand_over(s, fd))
            http_conn_accept(s, fd);
        return;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause_accepting(s, errno);
}

static void on_pause_over(struct loop_timer *t)
{
    struct http_server *s = list_entry(t, struct http_server, accept_pause);
    event_add(s->accept_event, NULL);
}

static void stop_accepting(struct http_server *s)
{
    loop_timer_stop(s->loop, &s->accept_pause);
    if (s->accept_event)
        event_free(s->accept_event);
    s->accept_event = NULL;
}

static void on_drained(struct loop_defer *d)
{
    struct http_server *s = list_entry(d, struct http_server, drained);
    s->on_drained(s->drained_ctx);
}

bool http_server_admit(struct http_server *s)
{
    if (s->slot)
        return http_share_admit(s->slot, s->limits.connections);
    return s->conn_count - s->refused_count < s->limits.connections;
}

void http_server_forget(struct http_server *s, const struct http_conn *c)
{
    s->conn_count--;
    http_share_count(s->slot, -1);
    s->refused_count -= c->refused;
    if (!c->refused)
        http_share_release(s->slot);
    /* Deferred, so that done may free the server. */
    if (s->draining && s->conn_count == 0)
        loop_defer(s->loop, &s->drained);
}

int http_listen(struct str address, struct buf *ret_address, struct err *err)
{
    struct address where;
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (!split_address(address, &where))
        return err_set(err, ERR_CONFIG, "cannot listen on %.*s: not an address (HOST:PORT)",
                       STR_ARG(address));
    int result = getaddrinfo(where.host[0] ? where.host : NULL, where.port, &hints, &found);
    if (result)
        return err_set(err, ERR_CONFIG, "cannot listen on %.*s: %s", STR_ARG(address),
                       gai_strerror(result));
    int fd = open_socket(found);
    int saved = errno;
    freeaddrinfo(found);
    errno = saved;
    if (fd < 0)
        return err_sys(err, ERR_CONFIG, "cannot listen on %.*s", STR_ARG(address));
    if (ret_address)
        write_address(fd, ret_address);
    return fd;
}

struct http_server *http_server_new(struct loop *l, int listen_fd, const struct http_limits *limits,
                                    http_handler_fn *handler, void *ctx, struct err *err)
{
    struct http_server *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->limits = *limits;
    s->handler = handler;
    s->ctx = ctx;
    s->accept_pause.fn = on_pause_over;
    s->drained.fn = on_drained;
    s->date_s = -1;
    list_init(&s->conns);
    s->accept_event = event_new(loop_base(l), listen_fd, EV_READ | EV_PERSIST, on_acceptable, s);
    if (!s->accept_event || event_add(s->accept_event, NULL)) {
        http_server_free(s);
        err_set(err, ERR_INTERNAL, "cannot watch the listening socket");
        return NULL;
    }
    return s;
}

void http_server_stream_bodies(struct http_server *s, http_streams_fn *fn)
{
    s->streams = fn;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    assert(!s->running);
    stop_accepting(s);
    while (!list_empty(&s->conns))
        http_conn_free(list_entry(s->conns.next, struct http_conn, node));
    loop_defer_cancel(s->loop, &s->drained);
    if (s->slot)
        s->slot->server = NULL;
    buf_deinit(&s->out);
    buf_deinit(&s->date);
    free(s);
}

void http_server_drain(struct http_server *s, void (*done)(void *ctx), void *ctx)
{
    stop_accepting(s);
    list_each (node, &s->conns) {
        struct http_conn *c = list_entry(node, struct http_conn, node);
        if (c != s->running && http_conn_is_idle(c))
            http_conn_free(c);
    }
    s->draining = true;
    s->on_drained = done;
    s->drained_ctx = ctx;
    if (s->conn_count == 0)
        done(ctx);
}

int http_server_connections(const struct http_server *s)
{
    return s->conn_count - s->refused_count;
}

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
    return x->request;
}

struct arena *http_exchange_arena(struct http_exchange *x)
{
    return x->arena;
}

struct str http_exchange_peer(struct http_exchange *x)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    if (x->loopback != NULL)
        return STR("127.0.0.1");
    char *text = arena_alloc(x->arena, NI_MAXHOST);
    if (x->conn == NULL || getpeername(x->conn->fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, text, NI_MAXHOST, NULL, 0, NI_NUMERICHOST) !=
            0)
        return (struct str){NULL, 0};
    return str_from(text);
}

void http_exchange_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_exchange_data(const struct http_exchange *x)
{
    return x->data;
}

void http_exchange_on_gone(struct http_exchange *x, void (*fn)(struct http_exchange *x))
{
    x->on_gone = fn;
}

bool http_exchange_is_streamed(const struct http_exchange *x)
{
    return x->streamed;
}

uint64_t http_exchange_length(const struct http_exchange *x)
{
    return x->body_length;
}

void http_exchange_read(struct http_exchange *x,
                        void (*fn)(struct http_exchange *x, struct str piece))
{
    bool was_read = x->on_body != NULL;
    x->on_body = fn;
    if (x->conn != NULL && x->open && was_read != (fn != NULL))
        http_conn_read_body(x->conn, fn != NULL);
}
