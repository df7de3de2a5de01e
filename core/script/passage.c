/* SPDX-License-Identifier: MIT */
/* The way through the gateway, one decision after the other: origins, the route, its limit, its
 * guard, its breaker; and on the way back: what counts as failure, trying again, falling back,
 * headers. */
#include "script/passage.h"

#include "http/url.h"
#include "script/proxy.h"

#include <stdio.h>

#define ANSWER_NS (10 * NS_PER_S) /* of another host, unless the route or its breaker says */

/* ---- headers ---- */

static void add_extra(struct passage *p, struct str name, struct str value)
{
    if (p->extra_count < sizeof(p->extra) / sizeof(*p->extra))
        p->extra[p->extra_count++] = (struct http_header){name, value};
}

static struct str number_text(struct arena *a, int64_t n)
{
    char *text = arena_alloc(a, 24);
    int length = snprintf(text, 24, "%lld", (long long)n);
    return (struct str){text, (size_t)length};
}

static bool names(const struct gateway_headers *h, struct str name)
{
    for (size_t i = 0; i < h->remove_count; i++)
        if (str_ieq(h->remove[i], name))
            return true;
    for (size_t i = 0; i < h->set_count; i++)
        if (str_ieq(h->set[i].name, name))
            return true;
    return false;
}

/* The request as the service sees it: the route's path and headers. */
static const struct http_request *request_behind(struct passage *p, struct str path)
{
    const struct gateway_headers *h = &p->route->request;
    struct arena *a = p->request->arena;
    if (path.p == p->sent->path.p && path.n == p->sent->path.n && h->set_count == 0 &&
        h->remove_count == 0)
        return p->sent;
    struct http_request *copy = arena_alloc(a, sizeof(*copy));
    *copy = *p->sent;
    copy->path = path;
    copy->headers =
        arena_alloc(a, (copy->header_count + h->set_count + 1) * sizeof(*copy->headers));
    copy->header_count = 0;
    for (size_t i = 0; i < p->sent->header_count; i++)
        if (!names(h, p->sent->headers[i].name))
            copy->headers[copy->header_count++] = p->sent->headers[i];
    for (size_t i = 0; i < h->set_count; i++)
        copy->headers[copy->header_count++] = h->set[i];
    return copy;
}

/* Does the gateway say it itself? Another host may have rules for origins, too: browsers refuse to
 * be told twice. */
static bool is_extra(const struct passage *p, struct str name)
{
    for (size_t i = 0; i < p->extra_count; i++)
        if (str_ieq(p->extra[i].name, name))
            return !str_ieq(name, STR("Vary"));
    return false;
}

static void finish_headers(struct request *r)
{
    struct passage *p = r->passage;
    const struct gateway_headers *h = p->route != NULL ? &p->route->response : NULL;
    size_t kept = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if ((h == NULL || !names(h, r->headers[i].name)) && !is_extra(p, r->headers[i].name))
            r->headers[kept++] = r->headers[i];
    r->header_count = kept;
    if (h != NULL && names(h, STR("Content-Type")))
        r->content_type = (struct str){NULL, 0};
    for (size_t i = 0; h != NULL && i < h->set_count; i++)
        request_add_header(r, h->set[i].name, h->set[i].value);
    for (size_t i = 0; i < p->extra_count; i++)
        request_add_header(r, p->extra[i].name, p->extra[i].value);
}

/* ---- the limit ---- */

static struct str client_of(const struct request *r)
{
    return r->origin.client.n > 0 ? r->origin.client : http_exchange_peer(r->x);
}

static struct str limit_key(struct passage *p)
{
    const struct gateway_limit *limit = &p->route->limit;
    struct arena *a = p->request->arena;
    struct str who;
    if (limit->key == GATEWAY_KEY_IP)
        who = client_of(p->request);
    else if (limit->key == GATEWAY_KEY_HOST)
        who = p->sent->host;
    else
        who = http_header_find(p->sent, limit->header);
    if (who.n == 0)
        return (struct str){NULL, 0};
    char *text = arena_alloc(a, who.n + 24);
    int n = snprintf(text, who.n + 24, "%d/%.*s", p->route->number, STR_ARG(who));
    return (struct str){text, (size_t)n};
}

/* False: it was answered. The headers are those of Spring Cloud Gateway's RequestRateLimiter. */
static bool within_limit(struct passage *p)
{
    const struct gateway_limit *limit = &p->route->limit;
    struct request *r = p->request;
    struct http_ratelimit_verdict v;
    if (limit->conf.rate == 0)
        return true;
    struct str key = limit_key(p);
    if (key.n == 0) {
        bool denied = p->refused = limit->deny_empty_key;
        if (denied) /* p is gone then */
            request_fail_code(r, ERR_FORBIDDEN, "the request does not say whose limit counts");
        return !denied;
    }
    http_ratelimit_take(r->host->ratelimit, key, &limit->conf, loop_now_ns(r->host->loop), &v);
    add_extra(p, STR("X-RateLimit-Remaining"), number_text(r->arena, v.remaining));
    add_extra(p, STR("X-RateLimit-Burst-Capacity"), number_text(r->arena, limit->conf.burst));
    add_extra(p, STR("X-RateLimit-Replenish-Rate"), number_text(r->arena, limit->conf.rate));
    add_extra(p, STR("X-RateLimit-Requested-Tokens"), number_text(r->arena, limit->conf.tokens));
    p->refused = !v.admitted;
    if (!v.admitted)
        request_fail_retry(r, ERR_RATE_LIMITED, "too many requests",
                           (v.retry_ns + NS_PER_MS - 1) / NS_PER_MS);
    return v.admitted;
}

/* ---- the breaker ---- */

static void deadline_over(struct loop_timer *t)
{
    struct passage *p = list_entry(t, struct passage, deadline);
    p->timed_out = true;
    request_time_out(p->request);
}

static void arm_deadline(struct passage *p)
{
    struct host *h = p->request->host;
    int64_t ms = p->route->timeout_ms;
    if (p->permitted) {
        int timeout_ms = p->permit.timeout_ms; /* 0: none */
        ms = ms > 0 && (ms < timeout_ms || timeout_ms == 0) ? ms : timeout_ms;
    }
    if (ms == 0)
        return;
    p->deadline.fn = deadline_over;
    loop_timer_start(h->loop, &p->deadline, loop_now_ns(h->loop) + ms * NS_PER_MS);
}

/* False: it was answered. */
static bool enter_breaker(struct passage *p)
{
    struct request *r = p->request;
    int64_t retry_ns = 0;
    char text[300];
    if (p->route->breaker.n == 0)
        return true;
    int64_t now_ns = loop_now_ns(r->host->loop);
    p->breaker = registry_find(r->host->breakers, p->route->breaker);
    enum breaker_verdict verdict =
        breaker_enter(registry_lock(p->breaker), now_ns, NULL, &p->permit, &retry_ns);
    registry_unlock(p->breaker, now_ns);
    p->permitted = verdict == BREAKER_ADMITTED;
    if (p->permitted)
        return true;
    bool open = verdict == BREAKER_REFUSED_OPEN;
    snprintf(text, sizeof(text), "%.*s %s", STR_ARG(p->route->breaker),
             open ? "short-circuited" : "could not acquire a semaphore for execution");
    request_fail_retry(r, open ? ERR_OPEN : ERR_LIMIT, text, retry_ns / NS_PER_MS);
    return false;
}

static void leave_breaker(struct passage *p, int status)
{
    struct host *h = p->request->host;
    enum breaker_outcome outcome = BREAKER_SUCCESS;
    loop_timer_stop(h->loop, &p->deadline);
    if (!p->permitted)
        return;
    p->permitted = false;
    if (p->gone)
        outcome = BREAKER_CANCELLED;
    else if (p->timed_out)
        outcome = BREAKER_TIMEOUT;
    else if (status >= 500)
        outcome = BREAKER_FAILURE;
    else if (status >= 400)
        outcome = BREAKER_BAD_REQUEST;
    int64_t now_ns = loop_now_ns(h->loop);
    breaker_leave(registry_lock(p->breaker), now_ns, p->permit, outcome);
    registry_unlock(p->breaker, now_ns);
}

/* ---- the way in ---- */

static bool leads_elsewhere(const struct gateway_route *route)
{
    return route->service == NULL || !route->service->here;
}

/* Where another host arrives by such a path is not what the routes were matched with. False: it was
 * answered. */
static bool is_plain(struct passage *p, struct str path)
{
    bool dotted = p->refused = leads_elsewhere(p->route) && http_path_has_dots(path);
    if (dotted) /* p is gone then */
        request_fail_code(p->request, ERR_INVALID, "a path with . or .. in it is not handed on");
    return !dotted;
}

/* To where the route leads: a service of this process, or another address. */
static void go_on(struct passage *p)
{
    const struct service *s = p->route->service;
    if (s != NULL && s->here)
        request_route(p->request, s->router);
    else if (passage_url(p->request).n > 0)
        proxy_start(p->request);
    else
        request_fail_code(p->request, ERR_NOT_FOUND,
                          "the service is not in this process and has no url");
}

static void go(struct passage *p)
{
    p->timed_out = false;
    if (!enter_breaker(p))
        return;
    arm_deadline(p);
    go_on(p);
}

void passage_admitted(struct request *r)
{
    struct passage *p = r->passage;
    if (p->gone) { /* too late to stop the guard */
        passage_give_up(r);
        return;
    }
    if (r->host->draining) { /* likewise, and nobody would stop what begins now */
        request_fail_code(r, ERR_CANCELLED, request_why_cancelled(r->host));
        return;
    }
    p->refused = false;
    r->http = p->behind;
    if (p->falling_back)
        go_on(p);
    else
        go(p);
}

static void gone_in_guard(struct http_exchange *x)
{
    struct request *r = http_exchange_data(x);
    r->passage->gone = true;
    task_cancel(r->task, ERR_CANCELLED, "the client has gone");
}

/* What it refuses is answered so: it is no failure of the target. */
static void ask_guard(struct passage *p)
{
    struct request *r = p->request;
    if (!p->route->guarded) {
        passage_admitted(r);
        return;
    }
    p->refused = true;
    if (!host_has_memory(r->host)) {
        request_fail_code(r, ERR_LIMIT, HOST_CROWDED);
        return;
    }
    if (leads_elsewhere(p->route)) {
        http_exchange_set_data(r->x, r);
        http_exchange_on_gone(r->x, gone_in_guard);
    }
    request_start_guard(r);
}

/* The root and the profiles are there without a route. */
static void refuse_unrouted(struct request *r, const struct http_gateway_match *m)
{
    char *allow = r->match.allow;
    size_t n = 0;
    if (m->allowed == 0) {
        request_route(r, r->host->program->gateway);
        return;
    }
    r->match.path_known = true;
    r->match.allow[0] = '\0';
    for (int method = 0; method < HTTP_OTHER_; method++)
        if ((m->allowed & 1u << method) != 0 && n < sizeof(r->match.allow))
            n += (size_t)snprintf(allow + n, sizeof(r->match.allow) - n, "%s%s", n > 0 ? ", " : "",
                                  http_method_text((enum http_method)method));
    request_refuse(r);
}

static void find_route(struct passage *p)
{
    struct request *r = p->request;
    struct http_gateway_match m;
    http_gateway_match(r->host->program->front->table, p->sent, r->arena, &m);
    p->route = m.target;
    if (p->route == NULL) {
        refuse_unrouted(r, &m);
        return;
    }
    p->behind = request_behind(p, m.path);
    if (!is_plain(p, m.path))
        return;
    if (p->falling_back || within_limit(p))
        ask_guard(p);
}

static void answer_preflight(struct request *r, enum http_cors_verdict verdict)
{
    if (verdict == HTTP_CORS_REFUSED) {
        request_fail_code(r, ERR_FORBIDDEN, "Invalid CORS request");
        return;
    }
    r->status = 200;
    request_answer(r);
}

bool passage_streams(const struct host *h, const struct http_request *http, struct arena *a)
{
    const struct gateway *g = h->program->front;
    struct http_gateway_match m;
    if (g == NULL || g->table == NULL)
        return false;
    http_gateway_match(g->table, http, a, &m);
    return m.target != NULL && leads_elsewhere(m.target);
}

void passage_begin(struct request *r)
{
    const struct gateway *g = r->host->program->front;
    struct passage *p = arena_zalloc(r->arena, sizeof(*p));
    *p = (struct passage){.request = r, .sent = r->http};
    r->passage = p;
    enum http_cors_verdict verdict = HTTP_CORS_NONE;
    if (g->cors != NULL)
        verdict = http_cors_judge(g->cors, r->http, r->arena, p->extra, &p->extra_count);
    if (verdict == HTTP_CORS_PREFLIGHT || verdict == HTTP_CORS_REFUSED)
        answer_preflight(r, verdict);
    else if (g->table != NULL)
        find_route(p);
    else
        request_route(r, r->host->program->gateway);
}

/* ---- the way back ---- */

static bool wants_retry(const struct passage *p, int status)
{
    const struct gateway_retry *retry = &p->route->retry;
    if (p->retries >= retry->retries || http_exchange_is_streamed(p->request->x) ||
        (retry->methods & 1u << p->sent->method) == 0)
        return false;
    for (int i = 0; i < retry->status_count; i++)
        if (retry->statuses[i] == status)
            return true;
    return false;
}

static void start_over(struct request *r)
{
    request_repeat_leave(r);
    buf_deinit(&r->text); /* the next answer may be streamed past it */
    r->header_count = 0;
    r->status = 0;
    r->content_type = (struct str){NULL, 0};
    r->fault = false;
    r->body = NULL;
}

static void pause_over(struct loop_timer *t)
{
    struct request *r = list_entry(t, struct request, timer);
    list_remove(&r->node);
    http_exchange_on_gone(r->x, NULL);
    go(r->passage);
}

static void gone_in_pause(struct http_exchange *x)
{
    struct request *r = http_exchange_data(x);
    list_remove(&r->node);
    loop_timer_stop(r->host->loop, &r->timer);
    passage_give_up(r);
}

static void try_again(struct passage *p)
{
    const struct gateway_retry *retry = &p->route->retry;
    struct request *r = p->request;
    int64_t pause_ms = retry->first_ms;
    for (int i = 0; i < p->retries && pause_ms < retry->max_ms; i++)
        pause_ms *= retry->factor;
    p->retries++;
    start_over(r);
    r->timer.fn = pause_over;
    list_push(&r->host->requests, &r->node);
    http_exchange_set_data(r->x, r);
    http_exchange_on_gone(r->x, gone_in_pause);
    pause_ms = pause_ms < retry->max_ms ? pause_ms : retry->max_ms;
    loop_timer_start(r->host->loop, &r->timer, loop_now_ns(r->host->loop) + pause_ms * NS_PER_MS);
}

/* True: the answer will come from another path. */
static bool fall_back(struct passage *p)
{
    const struct gateway_fallback *f = p->route->fallback;
    struct request *r = p->request;
    start_over(r);
    p->falling_back = true;
    if (f->path.n > 0) {
        struct http_request *get = arena_alloc(r->arena, sizeof(*get));
        *get = *p->sent;
        get->method = HTTP_GET_;
        get->method_name = STR("GET");
        get->path = f->path;
        get->body = (struct str){NULL, 0};
        p->sent = r->http = get;
        find_route(p);
        return true;
    }
    r->status = f->status;
    r->content_type = f->type;
    buf_adds(&r->text, f->body);
    return false;
}

static bool wants_fallback(const struct passage *p, int status)
{
    return p->route->fallback != NULL && status >= 500;
}

bool passage_may_replace(const struct request *r, int status)
{
    const struct passage *p = r->passage;
    if (p->route == NULL || p->falling_back || p->refused || p->gone || r->host->draining)
        return false;
    return wants_retry(p, status) || wants_fallback(p, status);
}

bool passage_leave(struct request *r)
{
    struct passage *p = r->passage;
    if (p->route != NULL)
        leave_breaker(p, r->status);
    if (passage_may_replace(r, r->status)) {
        if (wants_retry(p, r->status)) {
            try_again(p);
            return true;
        }
        if (fall_back(p))
            return true;
    }
    finish_headers(r);
    return false;
}

struct str passage_url(const struct request *r)
{
    const struct gateway_route *route = r->passage->route;
    return route->service != NULL ? route->service->url : route->url;
}

bool passage_sets(const struct request *r, struct str name)
{
    const struct gateway_headers *h = &r->passage->route->request;
    for (size_t i = 0; i < h->set_count; i++)
        if (str_ieq(h->set[i].name, name))
            return true;
    return false;
}

int64_t passage_deadline_ns(const struct request *r)
{
    const struct loop_timer *t = &r->passage->deadline;
    /* Its own timer is to say so first: the breaker wants to know. */
    return loop_timer_armed(t) ? t->at_ns + NS_PER_S : loop_now_ns(r->host->loop) + ANSWER_NS;
}

void passage_hold_deadline(struct request *r)
{
    loop_timer_stop(r->host->loop, &r->passage->deadline);
}

void passage_begin_deadline(struct request *r)
{
    arm_deadline(r->passage);
}

void passage_give_up(struct request *r)
{
    r->passage->gone = true;
    request_fail_code(r, ERR_CANCELLED, "the client has gone");
}

void passage_leave_stream(struct request *r, int status)
{
    if (r->passage->route != NULL)
        leave_breaker(r->passage, status);
    finish_headers(r);
}
