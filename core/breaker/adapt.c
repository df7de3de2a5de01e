/* SPDX-License-Identifier: MIT */
/* Two ways to learn a limit. Both hold still while the room is not used: a quiet hour must not let
 * the limit grow past what anybody has tried. */
#include "breaker/adapt.h"

#include <math.h>

#define BACK_OFF 0.9
#define TOLERANCE 1.25
#define SMOOTHING 0.2
#define WINDOW_LEAST 10       /* calls */
#define WINDOWS_A_MEASURE 500 /* then the best latency is measured anew, at half the limit */

void breaker_adapt_start(struct breaker_adapt *a, const struct breaker_conf *conf)
{
    *a = (struct breaker_adapt){.limit = conf->limit};
}

static double aimd(const struct breaker_adapt *a, int in_flight, bool dropped)
{
    if (dropped)
        return a->limit * BACK_OFF;
    return in_flight * 2 >= a->limit ? a->limit + 1 : a->limit;
}

/* Calls are judged in windows of about as many as run at once: a single one says little. */
static double gradient(struct breaker_adapt *a, int in_flight, int64_t took_ns)
{
    a->window_sum_ns += took_ns > 1 ? (double)took_ns : 1;
    if (in_flight > a->window_most)
        a->window_most = in_flight;
    if (++a->window_calls < WINDOW_LEAST || a->window_calls < a->limit)
        return a->limit;
    double mean_ns = a->window_sum_ns / a->window_calls;
    bool used = a->window_most * 2 >= a->limit;
    a->window_sum_ns = a->window_calls = a->window_most = 0;
    if (++a->windows % WINDOWS_A_MEASURE == 0) {
        a->best_ns = 0;
        return a->limit / 2;
    }
    if (a->best_ns == 0 || mean_ns < a->best_ns)
        a->best_ns = mean_ns;
    if (!used)
        return a->limit;
    double ratio = fmax(0.5, fmin(1.0, TOLERANCE * a->best_ns / mean_ns));
    double wanted = a->limit * ratio + sqrt(a->limit);
    return a->limit * (1 - SMOOTHING) + wanted * SMOOTHING;
}

void breaker_adapt_ended(struct breaker_adapt *a, const struct breaker_conf *conf, int in_flight,
                         int64_t took_ns, bool dropped)
{
    double wanted = conf->limit_mode == BREAKER_LIMIT_AIMD || dropped
                        ? aimd(a, in_flight, dropped)
                        : gradient(a, in_flight, took_ns);
    a->limit = fmax(conf->limit_min, fmin(conf->limit_max, wanted));
}
