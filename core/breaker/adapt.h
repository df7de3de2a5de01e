/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/conf.h"

/* A limit that finds its own value: as many calls at once as the callee takes without getting
 * slower. AIMD: one more after a success that needed the room, a tenth less after a call that was
 * dropped (failed, timed out). GRADIENT: follows the ratio of the best latency known to that of the
 * last calls, and also gives way to dropped ones. */
struct breaker_adapt {
    double limit;
    double best_ns;                         /* mean of the quickest window; 0: not measured yet */
    double window_sum_ns;                   /* of the calls that are looked at together */
    int window_calls, window_most, windows; /* most at once in it */
};

/* Begins at conf->limit. */
void breaker_adapt_start(struct breaker_adapt *a, const struct breaker_conf *conf);
/* A call ended that was one of in_flight at once, itself included. */
void breaker_adapt_ended(struct breaker_adapt *a, const struct breaker_conf *conf, int in_flight,
                         int64_t took_ns, bool dropped);
