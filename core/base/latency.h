/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Durations counted in buckets of 1/4 octave (a quantile is at most 19 % off). One thread adds,
 * others may read. {0} is an empty one. */
#define LATENCY_BUCKETS 160

struct latency {
    atomic_uint_fast64_t buckets[LATENCY_BUCKETS];
    atomic_uint_fast64_t sum_ns;
};

/* Counts one duration; negative ones count as 0. */
void latency_add(struct latency *l, int64_t ns);
/* Durations counted in all of list. */
uint64_t latency_count(struct latency *const *list, size_t count);
/* Their sum, in ns. */
uint64_t latency_sum(struct latency *const *list, size_t count);
/* Upper edge, in ns, of the bucket that quantile q (0..1) of all durations in list falls into; 0 if
 * there are none. */
int64_t latency_quantile(struct latency *const *list, size_t count, double q);
