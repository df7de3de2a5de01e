/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A circuit breaker after Hystrix: pure state, time is an argument, no lock, no loop, no Lua.
 * Closed, open, half-open; trips on the very result that crosses the threshold; every admitted call
 * carries the number of the state it was admitted in, so that a late result of an earlier state can
 * neither close nor open a later one. Invariants BRK-1.. are in core/breaker/README.md. */
struct breaker_conf {
    int timeout_ms;    /* 1..; not enforced here, the caller arms it */
    int limit;         /* calls at once, 1.. */
    int volume;        /* fewer results in the window than this never trip, 1.. */
    int error_percent; /* 1..100: trips at or above */
    int sleep_ms;      /* open this long before a trial, 1.. */
    int window_ms;     /* length of the rolling window, 10 buckets */
};

/* Hystrix' defaults: 1000 ms, limit 10, volume 20, 50 %, sleep 5000 ms, window 10000 ms. */
#define BREAKER_CONF_DEFAULT                                                                       \
    {                                                                                              \
        1000, 10, 20, 50, 5000, 10000                                                              \
    }

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
enum breaker_verdict { BREAKER_ADMITTED, BREAKER_REFUSED_OPEN, BREAKER_REFUSED_LIMIT };
/* IGNORED: cancelled, or a bad request of the caller: no verdict on the callee. */
enum breaker_outcome { BREAKER_SUCCESS, BREAKER_FAILURE, BREAKER_TIMEOUT, BREAKER_IGNORED };

/* Carried by an admitted call from breaker_enter to exactly one breaker_leave. */
struct breaker_permit {
    uint64_t epoch;
    bool trial;
};

struct breaker_counts {
    int64_t success, failure, timeout, ignored, refused_open, refused_limit; /* of the window */
    int in_flight;
};

#define BREAKER_BUCKETS 10

struct breaker {
    struct breaker_conf conf;
    enum breaker_state state;
    uint64_t epoch;        /* grows with every change of state */
    int64_t open_until_ns; /* meaningful when open */
    bool trial_in_flight;
    int in_flight;
    int64_t window_started_ns; /* where bucket 0 begins */
    int64_t newest; /* number of the newest bucket written; time is taken to be at least there */
    struct breaker_counts buckets[BREAKER_BUCKETS];
    int64_t bucket_numbers[BREAKER_BUCKETS]; /* of what each bucket counts; -1 = of nothing */
};

/* Fails with ERR_CONFIG and names the option that is out of its range. */
int breaker_conf_check(const struct breaker_conf *conf, struct err *err);
/* Copies conf, which must be sane (breaker_conf_check); so must breaker_set_conf's. Starts closed.
 */
void breaker_init(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns);
/* Copies conf and keeps state and window: a running open period is stretched or shortened to the
 * new sleep, the counts go on in the new window, and a limit lowered below the calls in flight only
 * refuses new ones. */
void breaker_set_conf(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns);
/* May a call go out? ADMITTED fills the permit. REFUSED_OPEN fills *ret_retry_ns with the wait
 * until a trial may pass. */
enum breaker_verdict breaker_enter(struct breaker *b, int64_t now_ns,
                                   struct breaker_permit *ret_permit, int64_t *ret_retry_ns);
/* Reports the end of an admitted call; a result of an earlier state only gives its place back. True
 * if the state changed. */
bool breaker_leave(struct breaker *b, int64_t now_ns, struct breaker_permit permit,
                   enum breaker_outcome outcome);
/* Sums of the window at now. */
void breaker_counts(const struct breaker *b, int64_t now_ns, struct breaker_counts *ret);
/* "closed", "open", "half_open"; static. */
const char *breaker_state_name(enum breaker_state s);
/* Dies if an invariant does not hold (builds with assertions). */
void breaker_assert(const struct breaker *b);
