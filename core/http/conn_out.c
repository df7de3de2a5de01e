/* SPDX-License-Identifier: MIT */
/* What leaves a connection. Answers of one turn are assembled and sent together, by send(2) when
 * nothing waits before them; only what the kernel does not take is the bufferevent's. */
#include "http/conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

static size_t waiting_bytes(const struct http_conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

static size_t send_now(struct http_conn *c, struct str head, struct str tail)
{
    struct iovec parts[2] = {{(void *)head.p, head.n}, {(void *)tail.p, tail.n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = tail.n > 0 ? 2 : 1};
    if (c->dead || waiting_bytes(c) > 0)
        return 0;
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        return (size_t)n;
    if (errno != EAGAIN && errno != EINTR) {
        c->dead = true;
        loop_defer(c->server->loop, &c->again);
    }
    return 0;
}

static void queue_rest(struct http_conn *c, struct str part, size_t sent)
{
    if (!c->dead && sent < part.n)
        evbuffer_add(bufferevent_get_output(c->bev), part.p + sent, part.n - sent);
}

struct buf *http_conn_out(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (s->out_conn && s->out_conn != c)
        http_conn_flush(s->out_conn, (struct str){NULL, 0});
    s->out_conn = c;
    return &s->out;
}

void http_conn_flush(struct http_conn *c, struct str tail)
{
    struct http_server *s = c->server;
    struct str head = {NULL, 0};
    if (s->out_conn == c)
        head = buf_str(&s->out);
    if (head.n + tail.n == 0)
        return;
    size_t sent = send_now(c, head, tail);
    queue_rest(c, head, sent);
    queue_rest(c, tail, sent > head.n ? sent - head.n : 0);
    if (s->out_conn != c)
        return;
    s->out_conn = NULL;
    buf_clear(&s->out);
}

void http_conn_queue(struct http_conn *c, struct str data)
{
    http_conn_flush(c, (struct str){NULL, 0});
    queue_rest(c, data, 0);
}

size_t http_conn_pending(const struct http_conn *c)
{
    size_t assembled = c->server->out_conn == c ? c->server->out.n : 0;
    return waiting_bytes(c) + assembled;
}
