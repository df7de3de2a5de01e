/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What happened in the last seconds, in buckets that roll lazily: no timer, no work but what a call
 * brings along. The window is a whole number of buckets and shows the current one too. */

/* Hystrix' event types, and those that it lacks. */
enum breaker_event {
    BREAKER_EVENT_SUCCESS,
    BREAKER_EVENT_FAILURE,
    BREAKER_EVENT_TIMEOUT,
    BREAKER_EVENT_BAD_REQUEST,
    BREAKER_EVENT_IGNORED, /* by a classifier */
    BREAKER_EVENT_SHORT_CIRCUITED,
    BREAKER_EVENT_REJECTED,       /* SEMAPHORE_REJECTED: by the limit */
    BREAKER_EVENT_QUEUE_REJECTED, /* THREAD_POOL_REJECTED: the wait queue is full, or too slow */
    BREAKER_EVENT_FALLBACK_SUCCESS,
    BREAKER_EVENT_FALLBACK_FAILURE,
    BREAKER_EVENT_FALLBACK_REJECTED,
    BREAKER_EVENT_FALLBACK_DISABLED,
    BREAKER_EVENT_FALLBACK_MISSING,
    BREAKER_EVENT_EXCEPTION_THROWN,
    BREAKER_EVENT_FROM_CACHE, /* of the request cache, or shared with a call under way */
    BREAKER_EVENT_CANCELLED,
    BREAKER_EVENT_COLLAPSED, /* calls that a batch took along */
    BREAKER_EVENT_SLOW,
    BREAKER_EVENT_RETRY,
    BREAKER_EVENT_HEDGE,
    BREAKER_EVENT_COUNT
};

#define BREAKER_BUCKETS_MAX 60

/* Where the newest bucket is and when it ends. */
struct breaker_roll {
    int64_t bucket_ns, end_ns;
    int buckets, at;
};

/* An empty window that begins now. */
void breaker_roll_start(struct breaker_roll *r, int window_ms, int buckets, int64_t now_ns);
/* How many buckets have begun since the last time (at most all): each is to be cleared by whoever
 * moves `at` on. A time before the newest bucket counts there. */
int breaker_roll_due(struct breaker_roll *r, int64_t now_ns);
static inline bool breaker_roll_is_due(const struct breaker_roll *r, int64_t now_ns)
{
    return now_ns >= r->end_ns;
}

struct breaker_events {
    struct breaker_roll roll;
    struct {
        uint32_t count[BREAKER_EVENT_COUNT];
        int max_in_flight;
    } buckets[BREAKER_BUCKETS_MAX];
    int64_t sum[BREAKER_EVENT_COUNT];
    uint64_t total[BREAKER_EVENT_COUNT]; /* never age out */
};

/* Empty; totals stay. */
void breaker_events_start(struct breaker_events *e, int window_ms, int buckets, int64_t now_ns);
void breaker_events_roll(struct breaker_events *e, int64_t now_ns);
void breaker_events_add(struct breaker_events *e, int64_t now_ns, enum breaker_event event);
/* A call starts, being the nth at once. */
void breaker_events_started(struct breaker_events *e, int64_t now_ns, int in_flight);
int breaker_events_max(struct breaker_events *e, int64_t now_ns);
/* "SUCCESS": Hystrix' name, or one in its manner; static. */
const char *breaker_event_name(enum breaker_event e);

/* Latencies in steps of 1/8 octave: a percentile is at most 9 % off. */
#define BREAKER_LATENCY_STEPS 256
#define BREAKER_LATENCY_BUCKETS 12
#define BREAKER_PERCENTILES 9

struct breaker_latency {
    struct breaker_roll roll;
    struct {
        uint32_t step[BREAKER_LATENCY_STEPS];
        int64_t count, sum_ns, max_ns;
    } buckets[BREAKER_LATENCY_BUCKETS];
};

struct breaker_latency_view {
    int64_t count, mean_ns;
    int64_t percentile_ns[BREAKER_PERCENTILES];
};

extern const char *const breaker_percentile_names[BREAKER_PERCENTILES]; /* "0", "25" .. "100" */

/* Empty; one more. */
void breaker_latency_start(struct breaker_latency *l, int window_ms, int buckets, int64_t now_ns);
void breaker_latency_add(struct breaker_latency *l, int64_t now_ns, int64_t took_ns);
/* Of both together, which have the same window; b may be NULL. Looks at every step: not for the way
 * of a call. */
void breaker_latency_view(struct breaker_latency *a, struct breaker_latency *b, int64_t now_ns,
                          struct breaker_latency_view *ret);
