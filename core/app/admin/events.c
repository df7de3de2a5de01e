/* SPDX-License-Identifier: MIT */
/* The event log as a stream of lines. It is read in windows, each in a turn of its own, and only as
 * fast as the client takes it; a client that follows is pushed to instead, since what it misses
 * would pile up here. */
#include "app/admin/inside.h"
#include "base/log.h"
#include "loop/timer.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 1000000
#define WINDOW_FIRST 64 /* rows; doubles up to the maximum while they are small */
#define WINDOW_MAX 512
#define WINDOW_BYTES (256 << 10)
#define SCAN_ROWS 5000 /* read in one turn, whether they match or not */
#define BEHIND_MAX_BYTES (1 << 20)
#define HEARTBEAT_NS (15 * NS_PER_S)
#define OWN_SERVICE STR("moontide")

struct reader {
    struct admin *admin;
    struct http_exchange *x; /* the reader lies in its arena */
    struct list node;
    struct loop_defer pump;
    struct loop_timer heartbeat;
    enum admin_form form;
    struct store_log_query query; /* from: where to go on */
    int64_t left;                 /* lines still wanted */
    int64_t until;                /* newest event at the start */
    int64_t last_seq;             /* of the last line */
    bool follow;
    bool live;     /* follows, and has seen the end of the log */
    bool hide_own; /* the host's own events were not asked for */
    bool gone;
};

static bool is_end(const struct reader *r, int64_t from_before)
{
    struct store *store = r->admin->conf.store;
    int64_t newest = r->follow ? store_log_last_seq(store) : r->until;
    return r->query.from > newest || r->query.from == from_before;
}

static void write_rows(struct reader *r, const struct store_logged *rows, size_t count,
                       struct buf *out)
{
    struct str log_name = store_log_name(r->admin->conf.store);
    for (size_t i = 0; i < count && r->left > 0; i++) {
        if (!r->follow && rows[i].event.seq > r->until)
            return;
        if (r->hide_own && str_eq(rows[i].service, OWN_SERVICE))
            continue;
        admin_form_write(out, r->form, log_name, &rows[i]);
        r->last_seq = rows[i].event.seq;
        r->left--;
    }
}

/* Large events make small windows: a window is in memory as a whole. */
static void fit_window(struct reader *r, size_t bytes)
{
    if (bytes > WINDOW_BYTES && r->query.limit > 1)
        r->query.limit /= 2;
    else if (bytes < WINDOW_BYTES / 2 && r->query.limit < WINDOW_MAX)
        r->query.limit *= 2;
}

/* Reads one window and writes its lines to out; *ret_end says that there is no more at present. */
static int read_window(struct reader *r, struct buf *out, bool *ret_end, struct err *err)
{
    /* Payloads are passed on as they are: without declarations nothing is decoded. */
    static const struct store_schema no_types = {0};
    struct store_logged *rows;
    size_t count;
    int64_t before = r->query.from;
    struct arena *a = arena_new(64 << 10);
    int failed = store_log_read(r->admin->conf.session, a, &no_types, &r->query, &rows, &count,
                                &r->query.from, err);
    if (!failed) {
        write_rows(r, rows, count, out);
        fit_window(r, out->n);
        *ret_end = is_end(r, before);
    }
    arena_free(a);
    return failed;
}

static void finish(struct reader *r)
{
    struct loop *l = r->admin->conf.loop;
    loop_timer_stop(l, &r->heartbeat);
    loop_defer_cancel(l, &r->pump);
    list_remove(&r->node);
    http_stream_end(r->x);
}

/* The last line of a stream that ends before its time: where to go on. */
static void finish_early(struct reader *r, const char *why)
{
    struct buf line = BUF_INIT;
    admin_form_write_end(&line, r->form, why, r->last_seq);
    http_stream_write(r->x, buf_str(&line));
    buf_deinit(&line);
    finish(r);
}

static void go_live(struct reader *r)
{
    struct loop *l = r->admin->conf.loop;
    if (r->live)
        return;
    r->live = true;
    loop_timer_start(l, &r->heartbeat, loop_now_ns(l) + HEARTBEAT_NS);
}

/* Sends a window and decides what comes next: the end, the next window at once, when the client has
 * taken this one, or when there are new events. */
static void send_window(struct reader *r, struct str lines, bool end)
{
    bool more = http_stream_write(r->x, lines);
    if (r->left == 0 || (end && !r->follow))
        finish(r);
    else if (end)
        go_live(r);
    else if (more)
        loop_defer(r->admin->conf.loop, &r->pump);
}

static void on_pump(struct loop_defer *d)
{
    struct reader *r = list_entry(d, struct reader, pump);
    struct buf lines = BUF_INIT;
    struct err err;
    bool end;
    if (r->gone) {
        finish(r);
        return;
    }
    /* Looked at before anything is read: what is dropped must not count as seen. */
    if (r->live && http_stream_pending(r->x) > BEHIND_MAX_BYTES) {
        finish_early(r, "dropped");
    } else if (read_window(r, &lines, &end, &err)) {
        log_event(LOG_ERROR, "cannot read the event log", LOG_C("error", err.message));
        finish_early(r, "failed");
    } else {
        send_window(r, buf_str(&lines), end);
    }
    buf_deinit(&lines);
}

static void on_heartbeat(struct loop_timer *t)
{
    struct reader *r = list_entry(t, struct reader, heartbeat);
    struct loop *l = r->admin->conf.loop;
    http_stream_write(r->x, admin_form_heartbeat(r->form));
    loop_timer_start(l, t, loop_now_ns(l) + HEARTBEAT_NS);
}

static void on_drain(struct http_exchange *x)
{
    struct reader *r = http_exchange_data(x);
    loop_defer(r->admin->conf.loop, &r->pump);
}

static void on_gone(struct http_exchange *x)
{
    struct reader *r = http_exchange_data(x);
    r->gone = true;
    loop_defer(r->admin->conf.loop, &r->pump);
}

/* A browser that connects anew repeats its first address and says what it had last. */
static void take_last_id(const struct admin_call *c, struct reader *r)
{
    int64_t seq;
    struct str last = http_header_find(c->request, STR("last-event-id"));
    if (r->form == ADMIN_FORM_SSE && str_to_int(last, &seq) && seq >= r->query.from &&
        seq < INT64_MAX)
        r->query.from = seq + 1;
}

/* False: answered with 400. */
static bool read_query(struct admin_call *c, struct reader *r)
{
    bool limited;
    r->query.from = 1;
    r->left = LIMIT_DEFAULT;
    if (!admin_query_number(c, "from", 0, INT64_MAX, &r->query.from, NULL) ||
        !admin_query_number(c, "limit", 1, LIMIT_MAX, &r->left, &limited) ||
        !admin_query_flag(c, "follow", &r->follow) ||
        !admin_query_text(c, "type", &r->query.type) ||
        !admin_query_text(c, "service", &r->query.service) ||
        !admin_query_text(c, "key", &r->query.key))
        return false;
    if (r->follow && !limited)
        r->left = INT64_MAX;
    r->form = admin_form_from(http_header_find(c->request, STR("accept")));
    take_last_id(c, r);
    return true;
}

static void begin(struct admin_call *c, struct reader *r, struct str lines, bool end)
{
    struct http_header headers[] = {admin_correlation(c),
                                    {STR("Cache-Control"), STR("no-store")},
                                    {STR("Vary"), STR("Accept")}};
    list_push(&c->admin->readers, &r->node);
    http_exchange_set_data(c->x, r);
    http_stream_begin(c->x, 200, admin_form_type(r->form), headers, 3, on_drain);
    http_exchange_on_gone(c->x, on_gone);
    send_window(r, lines, end);
}

void admin_events_get(struct admin_call *c)
{
    struct reader *r = arena_zalloc(c->arena, sizeof(*r));
    struct buf lines = BUF_INIT;
    struct err err;
    bool end;
    r->admin = c->admin;
    r->x = c->x;
    if (!read_query(c, r))
        return;
    r->hide_own = r->query.type.n == 0 && r->query.service.n == 0;
    r->query.limit = WINDOW_FIRST;
    r->query.scan_limit = SCAN_ROWS;
    r->until = store_log_last_seq(c->admin->conf.store);
    r->last_seq = r->query.from > 0 ? r->query.from - 1 : 0;
    r->pump.fn = on_pump;
    r->heartbeat.fn = on_heartbeat;
    if (c->request->method == HTTP_HEAD_)
        admin_answer(c, 200, admin_form_type(r->form), STR(""));
    else if (read_window(r, &lines, &end, &err))
        admin_problem_err(c, &err);
    else
        begin(c, r, buf_str(&lines), end);
    buf_deinit(&lines);
}

void admin_events_close(struct admin *a)
{
    while (!list_empty(&a->readers))
        finish(list_entry(a->readers.next, struct reader, node));
}

void admin_events_wake(struct bus_watch *w)
{
    struct admin *a = list_entry(w, struct admin, watch);
    list_each (node, &a->readers) {
        struct reader *r = list_entry(node, struct reader, node);
        /* Also one that is stalled: how far it falls behind is what decides about it. */
        if (r->live)
            loop_defer(a->conf.loop, &r->pump);
    }
}
