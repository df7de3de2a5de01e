/* SPDX-License-Identifier: MIT */
/* A histogram that costs two relaxed additions a sample: exact enough to see where time goes, cheap
 * enough to be always on. */
#include "base/latency.h"

/* Bucket 4 * e + m holds [2^e * (4 + m) / 4, 2^e * (5 + m) / 4); durations below 4 ns fall into the
 * first. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < 4)
        return 0;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    size_t bucket = 4 * (size_t)octave + (size_t)(ns >> (octave - 2) & 3);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static int64_t upper_edge(size_t bucket)
{
    size_t octave = bucket / 4;
    return octave < 2 ? 4 : (INT64_C(1) << (octave - 2)) * (int64_t)(5 + bucket % 4);
}

void latency_add(struct latency *l, int64_t ns)
{
    uint64_t positive = ns > 0 ? (uint64_t)ns : 0;
    atomic_fetch_add_explicit(&l->buckets[bucket_of(positive)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->sum_ns, positive, memory_order_relaxed);
}

static uint64_t bucket_sum(struct latency *const *list, size_t count, size_t bucket)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load_explicit(&list[i]->buckets[bucket], memory_order_relaxed);
    return sum;
}

uint64_t latency_count(struct latency *const *list, size_t count)
{
    uint64_t sum = 0;
    for (size_t b = 0; b < LATENCY_BUCKETS; b++)
        sum += bucket_sum(list, count, b);
    return sum;
}

uint64_t latency_sum(struct latency *const *list, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load_explicit(&list[i]->sum_ns, memory_order_relaxed);
    return sum;
}

int64_t latency_quantile(struct latency *const *list, size_t count, double q)
{
    uint64_t all = latency_count(list, count), below = 0;
    for (size_t b = 0; b < LATENCY_BUCKETS; b++) {
        below += bucket_sum(list, count, b);
        if (all > 0 && (double)below >= q * (double)all)
            return upper_edge(b);
    }
    return 0;
}
