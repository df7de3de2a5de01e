/* SPDX-License-Identifier: MIT */
/* The way in: route, back-pressure, injected faults; then a read or a task; and the way out, the
 * answer or the problem. */
#include "script/request.h"

#include "base/json.h"
#include "base/log.h"
#include "http/problem.h"
#include "rest/accept.h"
#include "rest/etag.h"
#include "script/fail.h"
#include "script/passage.h"
#include "script/proxy.h"

#include <stdio.h>

#define ROOM_WAIT_NS (2 * NS_PER_S)

static bool is_correlation_id(struct str s)
{
    if (s.n < 1 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

/* Unique enough to find a request in the log again: a counter under a seed of this host, mixed
 * (splitmix64). */
static struct str make_correlation_id(struct host *h, struct arena *a)
{
    uint64_t z = h->id_seed + UINT64_C(0x9e3779b97f4a7c15) * ++h->id_count;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    char *text = arena_alloc(a, 16);
    for (int i = 15; i >= 0; i--, z >>= 4) /* each request has one, printf is too slow for that */
        text[i] = "0123456789abcdef"[z & 15];
    return (struct str){text, 16};
}

void request_add_header(struct request *r, struct str name, struct str value)
{
    if (r->header_count == r->header_room) {
        struct http_header *more = arena_alloc(r->arena, 2 * r->header_room * sizeof(*more));
        memcpy(more, r->headers, r->header_count * sizeof(*more));
        r->headers = more;
        r->header_room *= 2;
    }
    r->headers[r->header_count++] = (struct http_header){name, value};
}

void request_over(struct request *r, int status)
{
    struct http_metrics *m = r->host->counts->http;
    r->host->open_requests--;
    if (m)
        http_metrics_end(m, r->http->method, r->endpoint ? r->endpoint->path : STR(""), status,
                         clock_mono_ns(loop_clock(r->host->loop)) - r->began_ns);
}

void request_answer(struct request *r)
{
    if (r->passage != NULL && passage_leave(r))
        return;
    request_over(r, r->status);
    request_repeat_leave(r);
    struct buf text =
        r->text; /* the exchange, and the request in its arena, are gone after the answer */
    request_add_header(r, STR("X-Correlation-Id"), r->correlation_id);
    http_answer(r->x, r->status, r->content_type, r->headers, r->header_count, buf_str(&text));
    buf_deinit(&text);
}

void request_lay_out(struct request *r)
{
    if (r->host->program->json_indent) {
        struct buf compact = r->text;
        r->text = (struct buf)BUF_INIT;
        json_indent(&r->text, buf_str(&compact));
        buf_deinit(&compact);
    }
    r->content_type = rest_accept_type(http_header_find(r->http, STR("Accept")));
}

void request_answer_hal(struct request *r, int status)
{
    request_lay_out(r);
    r->status = status;
    request_answer(r);
}

void request_add_etag(struct request *r, int64_t version)
{
    request_add_header(r, STR("ETag"), rest_etag(r->arena, version));
}

void request_fail(struct request *r, const struct task_error *e)
{
    struct http_problem p = {
        .status = fail_status(e),
        .code = e->code,
        .message = e->message,
        .path = r->http->path,
        .correlation_id = r->correlation_id,
        .extra = e->details,
        .wall_ms = clock_wall_ms(loop_clock(r->host->loop)),
    };
    buf_clear(&r->text);
    http_problem_write(&r->text, &p);
    r->status = p.status;
    r->content_type = http_problem_type(http_header_find(r->http, STR("Accept")));
    r->header_count = 0;
    if (p.status == 503 || e->retry_after_ms > 0) {
        int64_t seconds = (e->retry_after_ms + 999) / 1000;
        char *text = arena_alloc(r->arena, 24);
        int n = snprintf(text, 24, "%lld", (long long)(seconds > 0 ? seconds : 1));
        request_add_header(r, STR("Retry-After"), (struct str){text, (size_t)n});
    }
    if (p.status == 405 && r->match.allow[0] != '\0')
        request_add_header(r, STR("Allow"), str_from(r->match.allow));
    request_answer(r);
}

void request_fail_retry(struct request *r, enum err_code code, const char *message,
                        int64_t retry_ms)
{
    struct err err;
    struct task_error e;
    err_set(&err, code, "%s", message);
    fail_from_err(r->arena, &err, &e);
    e.retry_after_ms = retry_ms;
    request_fail(r, &e);
}

void request_fail_code(struct request *r, enum err_code code, const char *message)
{
    request_fail_retry(r, code, message, 0);
}

/* ---- the way in ---- */

static void refuse_stopped(struct request *r)
{
    char text[120];
    struct str name = r->endpoint->service->name;
    snprintf(text, sizeof(text), "service %.*s is stopped", (int)(name.n < 80 ? name.n : 80),
             name.p);
    request_fail_code(r, ERR_STOPPED, text);
}

static bool is_read(const struct endpoint *e)
{
    switch (e->kind) {
    case ENDPOINT_CREATE:
    case ENDPOINT_REPLACE:
    case ENDPOINT_MERGE:
    case ENDPOINT_DELETE:
    case ENDPOINT_ROUTE:
        return false;
    case ENDPOINT_LIST:
    case ENDPOINT_ITEM:
    case ENDPOINT_SEARCH:
    case ENDPOINT_FINDER:
    case ENDPOINT_ROOT:
    case ENDPOINT_PROFILES:
    case ENDPOINT_PROFILE:
        break;
    }
    return true;
}

void request_read(struct request *r)
{
    enum endpoint_kind kind = r->endpoint->kind;
    if (kind == ENDPOINT_ITEM)
        request_read_item(r);
    else if (kind == ENDPOINT_LIST || kind == ENDPOINT_FINDER)
        request_read_list(r);
    else
        request_about(r);
}

static void run_endpoint(struct request *r)
{
    if (r->endpoint->service != NULL &&
        !host_is_open(r->host, r->endpoint->service)) { /* it may have waited until here */
        refuse_stopped(r);
        return;
    }
    if (r->fault) {
        request_fail_code(r, ERR_FAILED, "a fault set by the operator");
        return;
    }
    if (!request_repeat_enter(r))
        return;
    if (is_read(r->endpoint) && !(r->endpoint->resource != NULL && r->endpoint->resource->guarded))
        request_read(r);
    else if (!host_has_memory(r->host))
        request_fail_code(r, ERR_LIMIT, HOST_CROWDED);
    else
        request_start_task(r);
}

static void delay_over(struct loop_timer *t)
{
    struct request *r = list_entry(t, struct request, timer);
    list_remove(&r->node);
    run_endpoint(r);
}

static void apply_faults(struct request *r)
{
    struct host *h = r->host;
    struct faults_roll roll;
    if (r->endpoint->service == NULL ||
        !faults_roll(h->faults, r->endpoint->service->name, &roll)) {
        run_endpoint(r);
        return;
    }
    r->fault = roll.fail;
    if (roll.delay_ns == 0) {
        run_endpoint(r);
        return;
    }
    r->timer.fn = delay_over;
    list_push(&h->requests, &r->node);
    loop_timer_start(h->loop, &r->timer, loop_now_ns(h->loop) + roll.delay_ns);
}

static void room_came(struct bus_waiter *w)
{
    struct request *r = list_entry(w, struct request, waiter);
    r->waiting = false;
    list_remove(&r->node);
    loop_timer_stop(r->host->loop, &r->timer);
    apply_faults(r);
}

static void no_room_in_time(struct loop_timer *t)
{
    struct request *r = list_entry(t, struct request, timer);
    r->waiting = false;
    list_remove(&r->node);
    bus_worker_unwait(r->host->bus_worker, &r->waiter);
    request_fail_code(r, ERR_QUEUE_FULL, "too many events wait for their policies");
}

/* Writes wait while the policies are far behind: the clients that wait are the back-pressure. */
static void admit(struct request *r)
{
    struct host *h = r->host;
    if (r->http->method == HTTP_GET_ || r->http->method == HTTP_HEAD_ || bus_has_room(h->bus)) {
        apply_faults(r);
        return;
    }
    r->timer.fn = no_room_in_time;
    r->waiter.fn = room_came;
    r->waiting = true;
    list_push(&h->requests, &r->node);
    loop_timer_start(h->loop, &r->timer, loop_now_ns(h->loop) + ROOM_WAIT_NS);
    bus_worker_wait(h->bus_worker, &r->waiter);
}

/* What an item's PATCH may be. */
static bool takes_patches(const struct request *r)
{
    struct http_match match;
    http_router_match(r->router, r->arena, HTTP_PATCH_, r->http->path, &match);
    const struct endpoint *e = match.target;
    return e != NULL && e->kind == ENDPOINT_MERGE;
}

static void answer_options(struct request *r)
{
    request_add_header(r, STR("Allow"), str_from(r->match.allow));
    if (takes_patches(r))
        request_add_header(r, STR("Accept-Patch"),
                           STR("application/merge-patch+json, application/json"));
    request_answer(r);
}

void request_refuse(struct request *r)
{
    char text[300];
    if (r->match.malformed) {
        request_fail_code(r, ERR_INVALID, "malformed escape in the path");
        return;
    }
    if (!r->match.path_known) {
        snprintf(text, sizeof(text), "no such path: %.*s",
                 (int)(r->http->path.n < 200 ? r->http->path.n : 200), r->http->path.p);
        request_fail_code(r, ERR_NOT_FOUND, text);
        return;
    }
    if (r->http->method == HTTP_OPTIONS_) {
        r->status = 200;
        answer_options(r);
        return;
    }
    snprintf(text, sizeof(text), "Request method '%.*s' not supported",
             STR_ARG(r->http->method_name));
    request_fail_code(r, ERR_METHOD, text);
}

/* Do its rows come from a log that is not read to its end yet? */
static bool is_being_made(const struct service *s, const struct host *h)
{
    return s != NULL && s->in_memory && !bus_is_rebuilt(h->bus);
}

void request_route(struct request *r, const struct http_router *router)
{
    r->router = router;
    http_router_match(router, r->arena, r->http->method, r->http->path, &r->match);
    r->endpoint = r->match.target;
    if (r->endpoint == NULL)
        request_refuse(r);
    else if (!host_is_open(r->host, r->endpoint->service))
        refuse_stopped(r);
    else if (is_being_made(r->endpoint->service, r->host))
        request_fail_code(r, ERR_STOPPED, "the service is starting: its views are being made");
    else
        admit(r);
}

/* The address of the client costs a look that only proxies are worth. */
static void find_origin(struct request *r)
{
    const struct http_trusted *t = r->host->trusted;
    if (t != NULL && t->count > 0)
        http_origin_find(t, r->http, http_exchange_peer(r->x), &r->origin);
    else
        r->origin.host = r->http->host;
}

static struct str make_base(const struct request *r)
{
    struct str host = r->origin.host, scheme = r->origin.https ? STR("https://") : STR("http://");
    char *text = arena_alloc(r->arena, scheme.n + host.n);
    memcpy(text, scheme.p, scheme.n);
    memcpy(text + scheme.n, host.p, host.n);
    return (struct str){text, scheme.n + host.n};
}

void request_serve(struct host *h, struct http_exchange *x)
{
    struct arena *a = http_exchange_arena(x);
    struct request *r = arena_zalloc(a, sizeof(*r));
    r->host = h;
    r->x = x;
    r->http = http_exchange_request(x);
    r->arena = a;
    r->headers = r->first_headers;
    r->header_room = sizeof(r->first_headers) / sizeof(*r->first_headers);
    h->open_requests++;
    host_count(&h->counts->requests);
    r->began_ns = clock_mono_ns(loop_clock(h->loop));
    if (h->counts->http)
        http_metrics_begin(h->counts->http, r->http->method);
    struct str sent = http_header_find(r->http, STR("X-Correlation-Id"));
    r->correlation_id = is_correlation_id(sent) ? sent : make_correlation_id(h, a);
    if (h->draining) {
        request_fail_code(r, ERR_STOPPED, "the server is stopping");
        return;
    }
    find_origin(r);
    r->base = make_base(r);
    if (h->program->front != NULL)
        passage_begin(r);
    else
        request_route(r, h->program->gateway);
}

/* Takes it off the list of those that wait. */
static void stop_waiting(struct request *r)
{
    if (r->proxy != NULL) {
        proxy_cancel(r->proxy);
        return;
    }
    list_remove(&r->node);
    loop_timer_stop(r->host->loop, &r->timer);
    if (r->waiting)
        bus_worker_unwait(r->host->bus_worker, &r->waiter);
    r->waiting = false;
}

void request_time_out(struct request *r)
{
    if (r->task != NULL) {
        task_cancel(r->task, ERR_TIMEOUT, "no answer within the time that the gateway gives");
        return;
    }
    if (!list_linked(&r->node))
        return; /* it is being answered */
    stop_waiting(r);
    request_fail_code(r, ERR_TIMEOUT, "no answer within the time that the gateway gives");
}

const char *request_why_cancelled(const struct host *h)
{
    return h->stopping ? "the server is stopping"
                       : "its rules were replaced, and it took too long to end";
}

void request_cancel_waiting(struct host *h)
{
    while (!list_empty(&h->requests)) {
        struct request *r = list_entry(h->requests.next, struct request, node);
        stop_waiting(r);
        request_fail_code(r, ERR_CANCELLED, request_why_cancelled(h));
    }
}
