/* SPDX-License-Identifier: MIT */
/* The life of a connection. Only conn_run moves it on, called from the loop alone, never from a
 * handler or an answer: so a client that pipelines ten thousand requests grows no stack, and a
 * connection is freed in one place only. */
#include "http/conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS_PER_TURN 64
#define BATCH_BYTES (64 << 10)
#define READ_BYTES (64 << 10)
#define LINGER_BYTES (4 << 20)
#define LINGER_NS NS_PER_S
#define LOOK_NS NS_PER_S
#define REFUSED_MAX 256 /* connections beyond the limit that are still told so */

static struct evbuffer *input_of(const struct http_conn *c)
{
    return bufferevent_get_input(c->bev);
}

static struct evbuffer *output_of(const struct http_conn *c)
{
    return bufferevent_get_output(c->bev);
}

static size_t waiting_bytes(const struct http_conn *c)
{
    return evbuffer_get_length(output_of(c));
}

/* --- deadlines --- */

static int64_t deadline_of(const struct http_conn *c)
{
    int64_t at_ns = c->read_deadline_ns;
    if (waiting_bytes(c) > 0 && c->write_deadline_ns < at_ns)
        at_ns = c->write_deadline_ns;
    return c->full && c->look_ns < at_ns ? c->look_ns : at_ns;
}

/* A deadline that moves away leaves the timer: it looks again when it fires. That is a heap
 * operation saved on each request. */
static void arm(struct http_conn *c, int64_t at_ns)
{
    if (at_ns == INT64_MAX || (loop_timer_armed(&c->timer) && c->timer.at_ns <= at_ns))
        return;
    loop_timer_start(c->server->loop, &c->timer, at_ns);
}

static void set_read_deadline(struct http_conn *c, int64_t at_ns)
{
    c->read_deadline_ns = at_ns;
    arm(c, at_ns);
}

static int64_t after_ms(const struct http_conn *c, int ms)
{
    return loop_now_ns(c->server->loop) + ms * NS_PER_MS;
}

/* Output starts to wait, or some of it was taken. */
static void on_output_moved(struct evbuffer *out, const struct evbuffer_cb_info *info, void *ctx)
{
    struct http_conn *c = ctx;
    (void)out;
    if (info->n_deleted == 0 && info->orig_size > 0)
        return;
    c->write_deadline_ns = after_ms(c, c->server->limits.write_ms);
    arm(c, c->write_deadline_ns);
}

/* --- exchanges --- */

static void tell_gone(struct http_exchange *x)
{
    void (*fn)(struct http_exchange *) = x->on_gone;
    x->on_gone = NULL;
    if (fn)
        fn(x);
}

/* The connection is gone for good: who waits to write more must not wait for ever. */
static void detach(struct http_exchange *x)
{
    bool stalled = x->stalled;
    x->conn = NULL;
    x->stalled = false;
    if (x->on_gone)
        tell_gone(x);
    else if (stalled && x->on_drain)
        x->on_drain(x);
}

/* What has no body, or one that has been read; or streamed, with its body to come. */
static bool handle(struct http_conn *c, bool streamed)
{
    struct http_request *request;
    struct buf body;
    struct arena *arena = http_parse_take(&c->parse, &request, &body);
    struct http_exchange *x = arena_zalloc(arena, sizeof(*x));
    x->conn = c;
    x->arena = arena;
    x->request = request;
    x->body = body;
    x->keep_alive = c->parse.keep_alive;
    x->streamed = x->open = streamed;
    x->body_length = c->parse.length;
    c->exchange = x;
    c->state = HTTP_CONN_HANDLING;
    c->read_deadline_ns = INT64_MAX;
    c->server->handler(c->server->ctx, x);
    return streamed || c->state != HTTP_CONN_HANDLING;
}

/* --- reading --- */

static bool wait_for_head(struct http_conn *c)
{
    if (c->eof) {
        c->state = HTTP_CONN_CLOSING;
        c->read_deadline_ns = INT64_MAX;
        return true;
    }
    if (evbuffer_get_length(input_of(c)) == 0) {
        if (c->server->draining) {
            http_conn_flush(c, (struct str){NULL, 0});
            c->dead = http_conn_is_idle(c);
        }
        if (c->served)
            set_read_deadline(c, after_ms(c, c->server->limits.keep_alive_ms));
        return false;
    }
    if (!c->began && c->served)
        set_read_deadline(c, after_ms(c, c->server->limits.headers_ms));
    c->began = true;
    return false;
}

static bool refuse(struct http_conn *c)
{
    http_answer_refusal(c, c->parse.status, c->parse.message);
    return true;
}

/* The first extent usually holds the whole head; else what is there is made one. */
static enum http_parse_verdict parse_head(struct http_conn *c, size_t available)
{
    struct evbuffer *in = input_of(c);
    size_t n = evbuffer_get_contiguous_space(in);
    enum http_parse_verdict verdict =
        http_parse_head(&c->parse, (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n);
    if (verdict != HTTP_PARSE_MORE || n == available)
        return verdict;
    return http_parse_head(&c->parse, (const char *)evbuffer_pullup(in, -1), available);
}

/* Each part of a body gives it time for the next, but no more than all that came so far has
 * earned. */
static void set_body_deadline(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->limits;
    int64_t earned_ns = http_body_earned_ns(c->parse.wire_bytes, limits->body_bytes_per_s);
    int64_t last_ns = c->body_began_ns + limits->body_idle_ms * NS_PER_MS + earned_ns;
    int64_t idle_ns = after_ms(c, limits->body_idle_ms);
    set_read_deadline(c, idle_ns < last_ns ? idle_ns : last_ns);
}

static void ask_for_body(struct http_conn *c)
{
    set_body_deadline(c);
    if (c->parse.expects_continue && evbuffer_get_length(input_of(c)) == 0)
        buf_lit(http_conn_out(c), "HTTP/1.1 100 Continue\r\n\r\n");
    c->parse.expects_continue = false;
}

static bool accept_head(struct http_conn *c)
{
    struct http_server *s = c->server;
    c->began = true;
    evbuffer_drain(input_of(c), c->parse.head_bytes);
    if (!c->parse.has_body)
        return handle(c, false);
    bool streamed =
        http_parse_can_stream(&c->parse) && s->streams(s->ctx, c->parse.request, c->parse.arena);
    if (http_parse_go_on(&c->parse, streamed) == HTTP_PARSE_REFUSED)
        return refuse(c);
    c->body_began_ns = c->paused_ns = loop_now_ns(s->loop);
    if (streamed)
        return handle(c, true);
    c->state = HTTP_CONN_BODY;
    ask_for_body(c);
    return true;
}

static bool step_head(struct http_conn *c, int *budget)
{
    size_t available = evbuffer_get_length(input_of(c));
    if (c->server->out_conn == c && c->server->out.n > BATCH_BYTES)
        http_conn_flush(c, (struct str){NULL, 0});
    if (waiting_bytes(c) > c->server->limits.output_high_bytes) {
        c->read_deadline_ns = INT64_MAX; /* until it has read its answers */
        return false;
    }
    if (available == 0)
        return wait_for_head(c);
    if (*budget == 0) {
        loop_defer(c->server->loop, &c->again);
        return false;
    }
    switch (parse_head(c, available)) {
    case HTTP_PARSE_HEAD:
        --*budget;
        return accept_head(c);
    case HTTP_PARSE_REFUSED:
        return refuse(c);
    default:
        return wait_for_head(c);
    }
}

/* A piece of a streamed body, to whom it may concern; who may answer, or read no further. */
static bool hand_on(struct http_conn *c, bool complete)
{
    struct http_exchange *x = c->exchange;
    struct buf piece = c->parse.body;
    c->parse.body = (struct buf)BUF_INIT;
    x->complete = complete;
    if (complete)
        c->read_deadline_ns = INT64_MAX;
    if (piece.n > 0)
        x->on_body(x, buf_str(&piece));
    buf_deinit(&piece);
    return true;
}

static bool step_body(struct http_conn *c)
{
    struct evbuffer *in = input_of(c);
    size_t n = evbuffer_get_contiguous_space(in), used = 0;
    if (n == 0) {
        c->dead = c->eof;
        return false;
    }
    set_body_deadline(c);
    const char *data = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
    enum http_parse_verdict verdict = http_parse_body(&c->parse, data, n, &used);
    if (verdict == HTTP_PARSE_REFUSED && c->exchange) {
        c->dead = true; /* its answer may have begun */
        return false;
    }
    if (verdict == HTTP_PARSE_REFUSED)
        return refuse(c);
    evbuffer_drain(in, used);
    if (!c->exchange)
        return verdict == HTTP_PARSE_DONE ? handle(c, false) : true;
    return hand_on(c, verdict == HTTP_PARSE_DONE);
}

static bool step_streamed(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;
    if (!x->open || !x->on_body)
        return false;
    if (!x->complete)
        return step_body(c);
    x->open = false;
    x->on_body(x, (struct str){NULL, 0});
    return true;
}

static bool step(struct http_conn *c, int *budget)
{
    if (c->dead)
        return false;
    if (c->state == HTTP_CONN_HEAD)
        return step_head(c, budget);
    if (c->state == HTTP_CONN_HANDLING)
        return step_streamed(c);
    return c->state == HTTP_CONN_BODY && step_body(c);
}

/* Room for the largest head and for what a client sends while its request is handled: up to there a
 * client that goes is noticed at once, beyond it the kernel holds back the rest and it is looked
 * for once a second. Not by a watermark, at
 * which libevent 2.1 calls back for ever. */
static void balance_reading(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->limits;
    size_t room = limits->request_line_bytes + limits->headers_bytes + 4096;
    bool full = evbuffer_get_length(input_of(c)) >= room;
    if (full == c->full || c->eof)
        return;
    c->full = full;
    if (!full) {
        bufferevent_enable(c->bev, EV_READ);
        return;
    }
    bufferevent_disable(c->bev, EV_READ);
    c->look_ns = loop_now_ns(c->server->loop) + LOOK_NS;
    arm(c, c->look_ns);
}

/* --- ending --- */

static void drop_input(struct http_conn *c)
{
    size_t n = evbuffer_get_length(input_of(c));
    evbuffer_drain(input_of(c), n);
    c->lingered_bytes += n;
    if (c->eof || c->lingered_bytes > LINGER_BYTES)
        c->dead = true;
}

/* Shuts our side first and reads on for a while: closing over unread input would reset the
 * connection, and the client might lose the answer. */
static void settle(struct http_conn *c)
{
    if (c->state == HTTP_CONN_CLOSING && waiting_bytes(c) == 0) {
        shutdown(c->fd, SHUT_WR);
        c->state = HTTP_CONN_LINGER;
        set_read_deadline(c, loop_now_ns(c->server->loop) + LINGER_NS);
    }
    if (c->state == HTTP_CONN_LINGER)
        drop_input(c);
    if (c->dead)
        http_conn_free(c);
    else
        balance_reading(c);
}

static void resume_stream(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;
    if (!x || !x->stalled || waiting_bytes(c) > c->server->limits.output_high_bytes / 4)
        return;
    x->stalled = false;
    if (x->on_drain)
        x->on_drain(x);
}

/* Moves the connection on as far as it goes now. May free it. */
static void conn_run(struct http_conn *c)
{
    struct http_server *s = c->server;
    int budget = REQUESTS_PER_TURN;
    assert(!s->running);
    s->running = c;
    resume_stream(c);
    while (step(c, &budget))
        continue;
    s->running = NULL;
    http_conn_flush(c, (struct str){NULL, 0});
    settle(c);
}

/* --- callbacks of the loop --- */

static void on_ready(struct bufferevent *bev, void *ctx)
{
    (void)bev;
    conn_run(ctx);
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    struct http_conn *c = ctx;
    (void)bev;
    if ((what & BEV_EVENT_ERROR) || (what & BEV_EVENT_WRITING))
        c->dead = true;
    else if (what & BEV_EVENT_EOF)
        c->eof = true;
    if (c->eof && !c->dead && c->exchange)
        tell_gone(c->exchange);
    conn_run(c);
}

static void on_again(struct loop_defer *d)
{
    conn_run(list_entry(d, struct http_conn, again));
}

static void give_up(struct http_conn *c)
{
    bool begun =
        c->state == HTTP_CONN_BODY || (c->state == HTTP_CONN_HEAD && (c->began || !c->served));
    c->read_deadline_ns = INT64_MAX;
    if (begun)
        http_answer_refusal(c, 408, "the request did not come in time");
    else
        c->dead = true;
}

/* A connection of which nothing is read is not in the kernel's set, so that nobody tells of its
 * end. */
static void look_for_end(struct http_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    c->look_ns = loop_now_ns(c->server->loop) + LOOK_NS;
    arm(c, deadline_of(c));
    if (poll(&p, 1, 0) <= 0)
        return;
    if (p.revents & (POLLERR | POLLHUP))
        c->dead = true;
    else if (c->exchange)
        tell_gone(c->exchange);
}

static void on_timer(struct loop_timer *t)
{
    struct http_conn *c = list_entry(t, struct http_conn, timer);
    int64_t now_ns = loop_now_ns(c->server->loop);
    int64_t at_ns = deadline_of(c);
    if (now_ns < at_ns) {
        arm(c, at_ns);
        return;
    }
    if (waiting_bytes(c) > 0 && now_ns >= c->write_deadline_ns)
        c->dead = true;
    else if (now_ns >= c->read_deadline_ns)
        give_up(c);
    if (c->full && now_ns >= c->look_ns)
        look_for_end(c);
    conn_run(c);
}

/* --- beginning --- */

static void begin_request(struct http_conn *c)
{
    http_parse_begin(&c->parse, &c->server->limits);
    c->parse.may_stream = c->server->streams != NULL;
}

static struct http_conn *conn_new(struct http_server *s, int fd)
{
    const struct http_limits *limits = &s->limits;
    struct bufferevent *bev = bufferevent_socket_new(loop_base(s->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        return NULL;
    struct http_conn *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->bev = bev;
    c->fd = fd;
    c->timer.fn = on_timer;
    c->again.fn = on_again;
    begin_request(c);
    bufferevent_setcb(bev, on_ready, on_ready, on_event, c);
    bufferevent_setwatermark(bev, EV_WRITE, limits->output_high_bytes / 4, 0);
    bufferevent_set_max_single_read(bev, READ_BYTES);
    bufferevent_set_max_single_write(bev, READ_BYTES);
    evbuffer_add_cb(output_of(c), on_output_moved, c);
    list_push(&s->conns, &c->node);
    s->conn_count++;
    set_read_deadline(c, after_ms(c, limits->headers_ms));
    bufferevent_enable(bev, EV_READ);
    return c;
}

void http_conn_accept(struct http_server *s, int fd)
{
    bool beyond = !http_server_admit(s);
    int on = 1;
    if (beyond && s->refused_count >= REFUSED_MAX) {
        close(fd);
        http_share_count(s->slot, -1);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct http_conn *c = conn_new(s, fd);
    if (!c) {
        close(fd);
        http_share_count(s->slot, -1);
        if (!beyond)
            http_share_release(s->slot);
        return;
    }
    if (!beyond)
        return;
    c->refused = true;
    s->refused_count++;
    http_answer_refusal(c, 503, "too many connections");
    conn_run(c);
}

void http_conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = c->exchange;
    assert(s->running != c);
    if (s->out_conn == c) {
        s->out_conn = NULL;
        buf_clear(&s->out);
    }
    loop_timer_stop(s->loop, &c->timer);
    loop_defer_cancel(s->loop, &c->again);
    list_remove(&c->node);
    http_parse_deinit(&c->parse);
    evbuffer_remove_cb(output_of(c), on_output_moved, c);
    shutdown(c->fd, SHUT_RDWR); /* libevent closes only at its next turn */
    bufferevent_free(c->bev);
    http_server_forget(s, c);
    free(c);
    if (x)
        detach(x);
}

bool http_conn_is_idle(const struct http_conn *c)
{
    return c->state == HTTP_CONN_HEAD && evbuffer_get_length(input_of(c)) == 0 &&
           http_conn_pending(c) == 0;
}

bool http_conn_should_close(const struct http_conn *c, bool keep_alive)
{
    if (!keep_alive)
        return true;
    return c->server->draining && evbuffer_get_length(input_of(c)) == 0;
}

void http_conn_read_body(struct http_conn *c, bool on)
{
    int64_t now_ns = loop_now_ns(c->server->loop);
    if (!on) {
        c->paused_ns = now_ns;
        c->read_deadline_ns = INT64_MAX; /* the client is not to blame */
        return;
    }
    c->body_began_ns += now_ns - c->paused_ns;
    if (!c->exchange->complete)
        ask_for_body(c);
    loop_defer(c->server->loop, &c->again);
}

void http_conn_answered(struct http_conn *c, bool keep_alive)
{
    struct http_server *s = c->server;
    c->exchange = NULL;
    c->served = true;
    c->began = false;
    c->read_deadline_ns = INT64_MAX;
    c->state = keep_alive ? HTTP_CONN_HEAD : HTTP_CONN_CLOSING;
    begin_request(c);
    if (s->running == c)
        return; /* which goes on when the handler returns */
    http_conn_flush(c, (struct str){NULL, 0});
    if (keep_alive && !c->eof && !c->dead && !s->draining && evbuffer_get_length(input_of(c)) == 0)
        set_read_deadline(c, after_ms(c, s->limits.keep_alive_ms));
    else
        loop_defer(s->loop, &c->again);
}
