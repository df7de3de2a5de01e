/* SPDX-License-Identifier: MIT */
/* Rolling counts and latencies. Sums are kept beside the buckets, so that a call adds and a judge
 * reads without walking over them. */
#include "breaker/metrics.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

/* ---- rolling ---- */

void breaker_roll_start(struct breaker_roll *r, int window_ms, int buckets, int64_t now_ns)
{
    assert(buckets >= 1 && window_ms >= 1);
    r->bucket_ns = window_ms * NS_PER_MS / buckets;
    r->buckets = buckets;
    r->at = 0;
    r->end_ns = now_ns + r->bucket_ns;
}

int breaker_roll_due(struct breaker_roll *r, int64_t now_ns)
{
    if (now_ns < r->end_ns)
        return 0;
    int64_t begun = (now_ns - r->end_ns) / r->bucket_ns + 1;
    r->end_ns += begun * r->bucket_ns;
    return begun < r->buckets ? (int)begun : r->buckets;
}

static int next_bucket(struct breaker_roll *r)
{
    r->at = r->at + 1 < r->buckets ? r->at + 1 : 0;
    return r->at;
}

/* ---- events ---- */

void breaker_events_start(struct breaker_events *e, int window_ms, int buckets, int64_t now_ns)
{
    assert(buckets <= BREAKER_BUCKETS_MAX);
    memset(e->buckets, 0, sizeof(e->buckets));
    memset(e->sum, 0, sizeof(e->sum));
    breaker_roll_start(&e->roll, window_ms, buckets, now_ns);
}

void breaker_events_roll(struct breaker_events *e, int64_t now_ns)
{
    for (int n = breaker_roll_due(&e->roll, now_ns); n > 0; n--) {
        int at = next_bucket(&e->roll);
        for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
            e->sum[i] -= e->buckets[at].count[i];
        memset(&e->buckets[at], 0, sizeof(e->buckets[at]));
    }
}

void breaker_events_add(struct breaker_events *e, int64_t now_ns, enum breaker_event event)
{
    if (breaker_roll_is_due(&e->roll, now_ns))
        breaker_events_roll(e, now_ns);
    e->buckets[e->roll.at].count[event]++;
    e->sum[event]++;
    e->total[event]++;
}

void breaker_events_started(struct breaker_events *e, int64_t now_ns, int in_flight)
{
    if (breaker_roll_is_due(&e->roll, now_ns))
        breaker_events_roll(e, now_ns);
    if (in_flight > e->buckets[e->roll.at].max_in_flight)
        e->buckets[e->roll.at].max_in_flight = in_flight;
}

int breaker_events_max(struct breaker_events *e, int64_t now_ns)
{
    int max = 0;
    breaker_events_roll(e, now_ns);
    for (int i = 0; i < e->roll.buckets; i++)
        if (e->buckets[i].max_in_flight > max)
            max = e->buckets[i].max_in_flight;
    return max;
}

const char *breaker_event_name(enum breaker_event e)
{
    static const char *const names[BREAKER_EVENT_COUNT] = {
        [BREAKER_EVENT_SUCCESS] = "SUCCESS",
        [BREAKER_EVENT_FAILURE] = "FAILURE",
        [BREAKER_EVENT_TIMEOUT] = "TIMEOUT",
        [BREAKER_EVENT_BAD_REQUEST] = "BAD_REQUEST",
        [BREAKER_EVENT_IGNORED] = "IGNORED",
        [BREAKER_EVENT_SHORT_CIRCUITED] = "SHORT_CIRCUITED",
        [BREAKER_EVENT_REJECTED] = "SEMAPHORE_REJECTED",
        [BREAKER_EVENT_QUEUE_REJECTED] = "THREAD_POOL_REJECTED",
        [BREAKER_EVENT_FALLBACK_SUCCESS] = "FALLBACK_SUCCESS",
        [BREAKER_EVENT_FALLBACK_FAILURE] = "FALLBACK_FAILURE",
        [BREAKER_EVENT_FALLBACK_REJECTED] = "FALLBACK_REJECTION",
        [BREAKER_EVENT_FALLBACK_DISABLED] = "FALLBACK_DISABLED",
        [BREAKER_EVENT_FALLBACK_MISSING] = "FALLBACK_MISSING",
        [BREAKER_EVENT_EXCEPTION_THROWN] = "EXCEPTION_THROWN",
        [BREAKER_EVENT_FROM_CACHE] = "RESPONSE_FROM_CACHE",
        [BREAKER_EVENT_CANCELLED] = "CANCELLED",
        [BREAKER_EVENT_COLLAPSED] = "COLLAPSED",
        [BREAKER_EVENT_SLOW] = "SLOW",
        [BREAKER_EVENT_RETRY] = "RETRY",
        [BREAKER_EVENT_HEDGE] = "HEDGE",
    };
    return names[e];
}

/* ---- latencies ---- */

#define LOWEST_OCTAVE 10 /* below 2 us everything is one step */

const char *const breaker_percentile_names[BREAKER_PERCENTILES] = {"0",  "25", "50",   "75", "90",
                                                                   "95", "99", "99.5", "100"};
/* In 1/1000. */
static const int percentiles[BREAKER_PERCENTILES] = {0, 250, 500, 750, 900, 950, 990, 995, 1000};

static int step_of(int64_t ns)
{
    if (ns < INT64_C(2) << LOWEST_OCTAVE)
        return 0;
    int octave = 63 - __builtin_clzll((uint64_t)ns);
    int step = (octave - LOWEST_OCTAVE) * 8 + (int)(ns >> (octave - 3) & 7);
    return step < BREAKER_LATENCY_STEPS ? step : BREAKER_LATENCY_STEPS - 1;
}

/* The middle of a step. */
static int64_t step_ns(int step)
{
    int octave = LOWEST_OCTAVE + step / 8;
    return step == 0 ? 0 : (INT64_C(1) << (octave - 4)) * (17 + 2 * (step % 8));
}

void breaker_latency_start(struct breaker_latency *l, int window_ms, int buckets, int64_t now_ns)
{
    assert(buckets <= BREAKER_LATENCY_BUCKETS);
    memset(l->buckets, 0, sizeof(l->buckets));
    breaker_roll_start(&l->roll, window_ms, buckets, now_ns);
}

static void latency_roll(struct breaker_latency *l, int64_t now_ns)
{
    for (int n = breaker_roll_due(&l->roll, now_ns); n > 0; n--)
        memset(&l->buckets[next_bucket(&l->roll)], 0, sizeof(l->buckets[0]));
}

void breaker_latency_add(struct breaker_latency *l, int64_t now_ns, int64_t took_ns)
{
    if (breaker_roll_is_due(&l->roll, now_ns))
        latency_roll(l, now_ns);
    int at = l->roll.at;
    if (took_ns < 0)
        took_ns = 0;
    l->buckets[at].step[step_of(took_ns)]++;
    l->buckets[at].count++;
    l->buckets[at].sum_ns += took_ns;
    if (took_ns > l->buckets[at].max_ns)
        l->buckets[at].max_ns = took_ns;
}

static void add_sums(struct breaker_latency *l, int64_t now_ns, int64_t *count, int64_t *sum_ns,
                     int64_t *max_ns)
{
    latency_roll(l, now_ns);
    for (int b = 0; b < l->roll.buckets; b++) {
        *count += l->buckets[b].count;
        *sum_ns += l->buckets[b].sum_ns;
        *max_ns = l->buckets[b].max_ns > *max_ns ? l->buckets[b].max_ns : *max_ns;
    }
}

static int64_t count_in_step(const struct breaker_latency *l, int step)
{
    int64_t count = 0;
    for (int b = 0; b < l->roll.buckets; b++)
        count += l->buckets[b].step[step];
    return count;
}

void breaker_latency_view(struct breaker_latency *a, struct breaker_latency *b, int64_t now_ns,
                          struct breaker_latency_view *ret)
{
    int64_t sum_ns = 0, max_ns = 0, below = 0;
    int next = 0;
    *ret = (struct breaker_latency_view){0};
    add_sums(a, now_ns, &ret->count, &sum_ns, &max_ns);
    if (b != NULL)
        add_sums(b, now_ns, &ret->count, &sum_ns, &max_ns);
    if (ret->count == 0)
        return;
    ret->mean_ns = sum_ns / ret->count;
    for (int s = 0; s < BREAKER_LATENCY_STEPS && next < BREAKER_PERCENTILES; s++) {
        int64_t here = count_in_step(a, s) + (b != NULL ? count_in_step(b, s) : 0);
        below += here;
        int64_t middle = step_ns(s) < max_ns ? step_ns(s) : max_ns;
        while (here > 0 && next < BREAKER_PERCENTILES &&
               below * 1000 >= percentiles[next] * ret->count)
            ret->percentile_ns[next++] = middle;
    }
    ret->percentile_ns[BREAKER_PERCENTILES - 1] = max_ns;
}
