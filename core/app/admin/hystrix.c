/* SPDX-License-Identifier: MIT */
/* GET /hystrix.stream, as the Hystrix dashboard and Turbine read it. One ticker makes one text for
 * all clients; a client that does not take it is dropped rather than buffered for. */
#include "app/admin/inside.h"
#include "loop/timer.h"

#include <stdlib.h>

#define CLIENTS_MAX 5
#define INTERVAL_NS (500 * NS_PER_MS)
#define BEHIND_MAX_BYTES (256 << 10)

/* Lies in the exchange's arena. */
struct client {
    struct http_exchange *x;
    struct list node;
    bool gone;
};

struct admin_hystrix {
    struct admin *admin;
    struct list clients;
    int count;
    struct loop_timer ticker;
};

/* ---- the text ---- */

static void write_flag(struct buf *out, const char *name, bool yes)
{
    admin_write_key(out, name);
    buf_adds(out, yes ? STR("true") : STR("false"));
}

static void begin(struct buf *out, const char *type, struct registry_entry *e, int64_t wall_ms)
{
    buf_lit(out, "data: {");
    admin_write_text(out, "type", str_from(type));
    admin_write_text(out, "name", registry_name(e));
    if (strcmp(type, "HystrixCommand") == 0)
        admin_write_text(out, "group", STR("moontide"));
    admin_write_int(out, "currentTime", wall_ms);
}

static void end(struct buf *out)
{
    admin_write_int(out, "reportingHosts", 1);
    buf_lit(out, "}\n\n");
}

static void write_rolling(struct buf *out, const int64_t *n)
{
    static const struct {
        const char *name;
        int event; /* -1: there is no such thing here */
    } counts[] = {
        {"rollingCountBadRequests", BREAKER_EVENT_BAD_REQUEST},
        {"rollingCountCollapsedRequests", BREAKER_EVENT_COLLAPSED},
        {"rollingCountEmit", -1},
        {"rollingCountExceptionsThrown", BREAKER_EVENT_EXCEPTION_THROWN},
        {"rollingCountFailure", BREAKER_EVENT_FAILURE},
        {"rollingCountFallbackEmit", -1},
        {"rollingCountFallbackFailure", BREAKER_EVENT_FALLBACK_FAILURE},
        {"rollingCountFallbackMissing", BREAKER_EVENT_FALLBACK_MISSING},
        {"rollingCountFallbackRejection", BREAKER_EVENT_FALLBACK_REJECTED},
        {"rollingCountFallbackSuccess", BREAKER_EVENT_FALLBACK_SUCCESS},
        {"rollingCountResponsesFromCache", BREAKER_EVENT_FROM_CACHE},
        {"rollingCountSemaphoreRejected", BREAKER_EVENT_REJECTED},
        {"rollingCountShortCircuited", BREAKER_EVENT_SHORT_CIRCUITED},
        {"rollingCountSuccess", BREAKER_EVENT_SUCCESS},
        {"rollingCountThreadPoolRejected", BREAKER_EVENT_QUEUE_REJECTED},
        {"rollingCountTimeout", BREAKER_EVENT_TIMEOUT},
        {"rollingCountCancelled", BREAKER_EVENT_CANCELLED},
        {"rollingCountIgnored", BREAKER_EVENT_IGNORED},
        {"rollingCountSlow", BREAKER_EVENT_SLOW},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        admin_write_int(out, counts[i].name, counts[i].event < 0 ? 0 : n[counts[i].event]);
}

static void write_latency(struct buf *out, const char *mean, const char *name,
                          const struct breaker_latency_view *l)
{
    admin_write_int(out, mean, l->mean_ns / NS_PER_MS);
    admin_write_key(out, name);
    buf_addc(out, '{');
    for (int i = 0; i < BREAKER_PERCENTILES; i++)
        admin_write_int(out, breaker_percentile_names[i], l->percentile_ns[i] / NS_PER_MS);
    buf_addc(out, '}');
}

#define PROPERTY(name) "propertyValue_" name

static void write_properties(struct buf *out, const struct breaker_conf *c)
{
    admin_write_int(out, PROPERTY("circuitBreakerRequestVolumeThreshold"), c->volume);
    admin_write_int(out, PROPERTY("circuitBreakerSleepWindowInMilliseconds"), c->sleep_ms);
    admin_write_int(out, PROPERTY("circuitBreakerErrorThresholdPercentage"), c->error_percent);
    write_flag(out, PROPERTY("circuitBreakerForceOpen"), c->force_open);
    write_flag(out, PROPERTY("circuitBreakerForceClosed"), c->force_closed);
    write_flag(out, PROPERTY("circuitBreakerEnabled"), c->enabled);
    admin_write_text(out, PROPERTY("executionIsolationStrategy"), STR("SEMAPHORE"));
    admin_write_int(out, PROPERTY("executionIsolationThreadTimeoutInMilliseconds"), c->timeout_ms);
    admin_write_int(out, PROPERTY("executionTimeoutInMilliseconds"), c->timeout_ms);
    write_flag(out, PROPERTY("executionIsolationThreadInterruptOnTimeout"), true);
    admin_write_key(out, PROPERTY("executionIsolationThreadPoolKeyOverride"));
    buf_lit(out, "null");
    admin_write_int(out, PROPERTY("executionIsolationSemaphoreMaxConcurrentRequests"), c->limit);
    admin_write_int(out, PROPERTY("fallbackIsolationSemaphoreMaxConcurrentRequests"),
                    c->fallback_limit);
    admin_write_int(out, PROPERTY("metricsRollingStatisticalWindowInMilliseconds"), c->window_ms);
    write_flag(out, PROPERTY("requestCacheEnabled"), c->request_cache);
    write_flag(out, PROPERTY("requestLogEnabled"), false);
}

static void write_command(struct buf *out, struct registry_entry *e, const struct breaker_view *v,
                          int64_t now_ns, int64_t wall_ms)
{
    struct breaker_latency_view execute, total;
    registry_latency(e, now_ns, &execute, &total);
    begin(out, "HystrixCommand", e, wall_ms);
    write_flag(out, "isCircuitBreakerOpen", v->is_open);
    admin_write_int(out, "errorPercentage", v->error_percent);
    admin_write_int(out, "errorCount", v->health.errors);
    admin_write_int(out, "requestCount", v->health.total);
    write_rolling(out, v->rolling);
    admin_write_int(out, "currentConcurrentExecutionCount", v->in_flight);
    admin_write_int(out, "rollingMaxConcurrentExecutionCount", v->max_in_flight);
    write_latency(out, "latencyExecute_mean", "latencyExecute", &execute);
    write_latency(out, "latencyTotal_mean", "latencyTotal", &total);
    write_properties(out, &v->conf);
    admin_write_text(out, "threadPool", registry_name(e));
    admin_write_text(out, "state", str_from(breaker_state_name(v->state)));
    end(out);
}

/* The limit as the pool that the dashboard has a panel for. */
static void write_pool(struct buf *out, struct registry_entry *e, const struct breaker_view *v,
                       int64_t wall_ms)
{
    int64_t done = (int64_t)(v->total[BREAKER_EVENT_SUCCESS] + v->total[BREAKER_EVENT_FAILURE] +
                             v->total[BREAKER_EVENT_TIMEOUT]);
    int64_t recent = v->rolling[BREAKER_EVENT_SUCCESS] + v->rolling[BREAKER_EVENT_FAILURE] +
                     v->rolling[BREAKER_EVENT_TIMEOUT];
    begin(out, "HystrixThreadPool", e, wall_ms);
    admin_write_int(out, "currentActiveCount", v->in_flight);
    admin_write_int(out, "currentCompletedTaskCount", done);
    admin_write_int(out, "currentCorePoolSize", v->limit);
    admin_write_int(out, "currentLargestPoolSize", v->limit);
    admin_write_int(out, "currentMaximumPoolSize", v->limit);
    admin_write_int(out, "currentPoolSize", v->limit);
    admin_write_int(out, "currentQueueSize", v->waiting);
    admin_write_int(out, "currentTaskCount", done + v->in_flight);
    admin_write_int(out, "rollingCountThreadsExecuted", recent);
    admin_write_int(out, "rollingMaxActiveThreads", v->max_in_flight);
    admin_write_int(out, "rollingCountCommandRejections",
                    v->rolling[BREAKER_EVENT_REJECTED] + v->rolling[BREAKER_EVENT_QUEUE_REJECTED]);
    admin_write_int(out, PROPERTY("queueSizeRejectionThreshold"), v->conf.queue);
    admin_write_int(out, PROPERTY("metricsRollingStatisticalWindowInMilliseconds"),
                    v->conf.window_ms);
    end(out);
}

static void write_all(const struct admin *a, struct buf *out)
{
    int64_t now_ns = loop_now_ns(a->conf.loop), wall_ms = clock_wall_ms(loop_clock(a->conf.loop));
    struct breaker_view v;
    for (struct registry_entry *e = NULL; (e = registry_next(a->conf.breakers, e));) {
        registry_view(e, now_ns, &v);
        write_command(out, e, &v, now_ns, wall_ms);
    }
    for (struct registry_entry *e = NULL; (e = registry_next(a->conf.breakers, e));) {
        registry_view(e, now_ns, &v);
        write_pool(out, e, &v, wall_ms);
    }
    buf_lit(out, "ping: \n\n");
}

/* ---- clients ---- */

static void drop(struct admin_hystrix *h, struct client *c)
{
    list_remove(&c->node);
    if (--h->count == 0)
        loop_timer_stop(h->admin->conf.loop, &h->ticker);
    http_stream_end(c->x);
}

static void on_tick(struct loop_timer *t)
{
    struct admin_hystrix *h = list_entry(t, struct admin_hystrix, ticker);
    struct loop *l = h->admin->conf.loop;
    struct buf text = BUF_INIT;
    write_all(h->admin, &text);
    loop_timer_start(l, t, loop_now_ns(l) + INTERVAL_NS);
    list_each (node, &h->clients) {
        struct client *c = list_entry(node, struct client, node);
        if (c->gone || http_stream_pending(c->x) > BEHIND_MAX_BYTES)
            drop(h, c);
        else
            http_stream_write(c->x, buf_str(&text));
    }
    buf_deinit(&text);
}

static void on_drain(struct http_exchange *x)
{
    (void)x; /* the ticker writes; who lags is found there */
}

static void on_gone(struct http_exchange *x)
{
    struct client *c = http_exchange_data(x);
    c->gone = true;
}

static void start(struct admin_call *call, struct admin_hystrix *h)
{
    struct http_header headers[] = {
        {STR("Cache-Control"), STR("no-cache, no-store, max-age=0, must-revalidate")},
        {STR("Pragma"), STR("no-cache")}};
    struct client *c = arena_zalloc(call->arena, sizeof(*c));
    struct loop *l = h->admin->conf.loop;
    struct buf text = BUF_INIT;
    c->x = call->x;
    list_push(&h->clients, &c->node);
    if (h->count++ == 0)
        loop_timer_start(l, &h->ticker, loop_now_ns(l) + INTERVAL_NS);
    http_exchange_set_data(c->x, c);
    http_stream_begin(c->x, 200, STR("text/event-stream;charset=UTF-8"), headers, 2, on_drain);
    http_exchange_on_gone(c->x, on_gone);
    write_all(h->admin, &text);
    http_stream_write(c->x, buf_str(&text));
    buf_deinit(&text);
}

void admin_hystrix_stream(struct admin_call *c)
{
    struct admin *a = c->admin;
    if (a->hystrix == NULL) {
        a->hystrix = xcalloc(1, sizeof(*a->hystrix));
        a->hystrix->admin = a;
        a->hystrix->ticker.fn = on_tick;
        list_init(&a->hystrix->clients);
    }
    if (c->request->method == HTTP_HEAD_)
        admin_answer(c, 200, STR("text/event-stream;charset=UTF-8"), STR(""));
    else if (a->hystrix->count >= CLIENTS_MAX)
        admin_answer(c, 503, STR("text/plain"), STR("MaxConcurrentConnections reached: 5"));
    else
        start(c, a->hystrix);
}

void admin_hystrix_close(struct admin *a)
{
    if (a->hystrix == NULL)
        return;
    while (!list_empty(&a->hystrix->clients))
        drop(a->hystrix, list_entry(a->hystrix->clients.next, struct client, node));
    free(a->hystrix);
    a->hystrix = NULL;
}
