/* SPDX-License-Identifier: MIT */
/* Requests are counted where they are answered, a worker each, so that counting costs no lock and
 * no shared cache line. A combination that is new gets a place in a table that only its worker
 * writes; a place that was published never changes its names again, which is all that a reader on
 * another thread needs. Sums are made when somebody asks. */
#include "http/metrics.h"

#include "base/map.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SERIES_MAX 2048 /* a power of two; three quarters of them are used */

/* Upper edges in ms; one more bucket is without end. */
static const int edges_ms[] = {5,   10,  25,   50,   75,   100,  250,
                               500, 750, 1000, 2500, 5000, 7500, 10000};
#define EDGES (sizeof(edges_ms) / sizeof(edges_ms[0]))

struct series {
    enum http_method method;
    int status;
    struct str route; /* owned */
    atomic_uint_fast64_t buckets[EDGES + 1];
    atomic_uint_fast64_t sum_ns;
};

struct http_metrics {
    _Atomic(struct series *) series[SERIES_MAX]; /* open addressing by hash */
    int used;                                    /* the worker's own */
    atomic_int_fast64_t active[HTTP_OTHER_ + 1];
};

/* A sum over workers. */
struct total {
    const struct series *names;
    uint64_t buckets[EDGES + 1], sum_ns;
};

/* The only writer needs no locked addition. */
static void add(atomic_uint_fast64_t *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void add_active(struct http_metrics *m, enum http_method method, int n)
{
    atomic_int_fast64_t *count = &m->active[method];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static uint32_t hash_of(enum http_method method, struct str route, int status)
{
    uint32_t h = 2166136261u ^ ((uint32_t)status * 8u + (uint32_t)method);
    for (size_t i = 0; i < route.n; i++)
        h = (h ^ (unsigned char)route.p[i]) * 16777619u;
    return h ^ (h >> 15);
}

static struct series *series_new(enum http_method method, struct str route, int status)
{
    struct series *s = xcalloc(1, sizeof(*s));
    char *text = xcalloc(1, route.n + 1);
    memcpy(text, route.p ? route.p : "", route.n);
    s->method = method;
    s->status = status;
    s->route = (struct str){text, route.n};
    return s;
}

static bool is_same(const struct series *s, enum http_method method, struct str route, int status)
{
    return s->status == status && s->method == method && str_eq(s->route, route);
}

/* NULL: it is not there, and there is no room. */
static struct series *find(struct http_metrics *m, enum http_method method, struct str route,
                           int status, bool always)
{
    for (uint32_t at = hash_of(method, route, status);; at++) {
        _Atomic(struct series *) *slot = &m->series[at % SERIES_MAX];
        struct series *s = atomic_load_explicit(slot, memory_order_relaxed);
        if (s && is_same(s, method, route, status))
            return s;
        if (s)
            continue;
        if (m->used >= SERIES_MAX / 4 * 3 && !always)
            return NULL;
        s = series_new(method, route, status);
        m->used++;
        atomic_store_explicit(slot, s, memory_order_release);
        return s;
    }
}

struct http_metrics *http_metrics_new(void)
{
    return xcalloc(1, sizeof(struct http_metrics));
}

void http_metrics_free(struct http_metrics *m)
{
    for (size_t i = 0; m && i < SERIES_MAX; i++) {
        struct series *s = atomic_load(&m->series[i]);
        if (s)
            free((char *)(uintptr_t)s->route.p);
        free(s);
    }
    free(m);
}

void http_metrics_begin(struct http_metrics *m, enum http_method method)
{
    add_active(m, method, 1);
}

void http_metrics_end(struct http_metrics *m, enum http_method method, struct str route, int status,
                      int64_t took_ns)
{
    /* Only so many other names: methods, and statuses by their hundreds. */
    struct series *s = find(m, method, route, status, false);
    if (!s)
        s = find(m, method, STR("_OTHER"), status / 100 * 100, true);
    size_t bucket = 0;
    while (bucket < EDGES && took_ns > edges_ms[bucket] * INT64_C(1000000))
        bucket++;
    add(&s->buckets[bucket], 1);
    add(&s->sum_ns, took_ns > 0 ? (uint64_t)took_ns : 0);
    add_active(m, method, -1);
}

/* ---- writing ---- */

void http_metrics_label(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, "%s=\"", name);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"')
            buf_addc(out, '\\');
        if (c == '\n')
            buf_lit(out, "\\n");
        else
            buf_addc(out, c);
    }
    buf_addc(out, '"');
}

static const char *method_name(enum http_method m)
{
    return m == HTTP_OTHER_ ? "_OTHER" : http_method_text(m);
}

static void write_line(struct buf *out, const struct series *s, const char *suffix, const char *le)
{
    buf_addf(out, "http_server_request_duration_seconds%s{http_request_method=\"%s\",", suffix,
             method_name(s->method));
    http_metrics_label(out, "http_route", s->route);
    buf_addf(out, ",http_response_status_code=\"%d\"", s->status);
    if (le)
        buf_addf(out, ",le=\"%s\"", le);
    buf_lit(out, "} ");
}

static void write_total(const struct total *t, struct buf *out)
{
    uint64_t below = 0;
    for (size_t b = 0; b <= EDGES; b++) {
        char le[16] = "+Inf";
        if (b < EDGES)
            snprintf(le, sizeof(le), "%g", edges_ms[b] / 1000.0);
        below += t->buckets[b];
        write_line(out, t->names, "_bucket", le);
        buf_addf(out, "%llu\n", (unsigned long long)below);
    }
    write_line(out, t->names, "_sum", NULL);
    buf_addf(out, "%.9f\n", (double)t->sum_ns / 1e9);
    write_line(out, t->names, "_count", NULL);
    buf_addf(out, "%llu\n", (unsigned long long)below);
}

static struct total *total_of(struct map *totals, const struct series *s)
{
    struct buf key = BUF_INIT;
    buf_addf(&key, "%.*s %s %d", STR_ARG(s->route), method_name(s->method), s->status);
    struct total *t = map_find(totals, buf_str(&key));
    if (!t) {
        t = xcalloc(1, sizeof(*t));
        t->names = s;
        map_set(totals, buf_str(&key), t);
    }
    buf_deinit(&key);
    return t;
}

static void sum_up(struct http_metrics *m, struct map *totals)
{
    for (size_t i = 0; i < SERIES_MAX; i++) {
        struct series *s = atomic_load_explicit(&m->series[i], memory_order_acquire);
        if (!s)
            continue;
        struct total *t = total_of(totals, s);
        for (size_t b = 0; b <= EDGES; b++)
            t->buckets[b] += atomic_load_explicit(&s->buckets[b], memory_order_relaxed);
        t->sum_ns += atomic_load_explicit(&s->sum_ns, memory_order_relaxed);
    }
}

static void write_active(struct http_metrics *const *list, size_t count, struct buf *out)
{
    buf_lit(out, "# HELP http_server_active_requests HTTP requests that wait for their answer.\n"
                 "# TYPE http_server_active_requests gauge\n");
    for (int method = 0; method <= HTTP_OTHER_; method++) {
        int64_t sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += atomic_load_explicit(&list[i]->active[method], memory_order_relaxed);
        buf_addf(out, "http_server_active_requests{http_request_method=\"%s\"} %lld\n",
                 method_name((enum http_method)method), (long long)sum);
    }
}

void http_metrics_write(struct http_metrics *const *list, size_t count, struct buf *out)
{
    struct map *totals = map_new();
    struct total *t;
    size_t pos = 0;
    for (size_t i = 0; i < count; i++)
        sum_up(list[i], totals);
    buf_lit(out, "# HELP http_server_request_duration_seconds From a request that was read to its "
                 "answer.\n"
                 "# TYPE http_server_request_duration_seconds histogram\n");
    while ((t = map_next(totals, &pos, NULL))) {
        write_total(t, out);
        free(t);
    }
    map_free(totals);
    write_active(list, count, out);
}
