/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "breaker/adapt.h"
#include "breaker/conf.h"
#include "breaker/metrics.h"

/* A circuit breaker after Hystrix: pure state, time is an argument, no lock, no loop, no Lua.
 * Closed, open, half-open; trips on the very result that crosses the threshold; every admitted call
 * carries the number of the state it was admitted in, so that a late result of an earlier state can
 * neither close nor open a later one. Invariants BRK-1.. are in core/breaker/README.md. */
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
enum breaker_verdict {
    BREAKER_ADMITTED,
    BREAKER_REFUSED_OPEN,
    BREAKER_REFUSED_LIMIT,
    BREAKER_REFUSED_QUEUE, /* the wait queue is full too */
    BREAKER_QUEUED,        /* the waiter will be woken with one of the others */
};
/* The last three are no verdict on the callee. */
enum breaker_outcome {
    BREAKER_SUCCESS,
    BREAKER_FAILURE,
    BREAKER_TIMEOUT,
    BREAKER_BAD_REQUEST,
    BREAKER_IGNORED,
    BREAKER_CANCELLED,
};

/* Carried by an admitted call from breaker_enter to exactly one breaker_leave. */
struct breaker_permit {
    uint64_t epoch; /* 0: let through by force, counts for no state */
    int64_t started_ns;
    int timeout_ms; /* 0: none */
    bool trial;
};

/* A call that waits for a place. The caller's memory, until woken or given up. */
struct breaker_waiter {
    struct list link; /* linked: still waits */
    struct breaker_permit permit;
    enum breaker_verdict verdict; /* when woken */
    int64_t retry_ns;
    int queue_ms; /* when queued: waits so long at most, 0: as long as its time */
    void (*woken)(struct breaker_waiter *w); /* from breaker_leave or breaker_set_conf of anybody */
};

/* Results that are judged: total, of which errors and slow. */
struct breaker_health {
    int64_t total, errors, slow;
};

struct breaker {
    struct breaker_conf conf;
    enum breaker_state state;
    uint64_t epoch;        /* grows with every change of state */
    int64_t changed_ns;    /* when that was */
    int64_t open_until_ns; /* meaningful when open */
    int64_t half_open_ns;  /* since when; meaningful when half-open */
    int failed_trials;     /* sleeps since it was closed, but the first */
    int jitter;            /* drawn for this sleep, in 1/1000 */
    uint64_t random;
    int trials_in_flight, trial_verdicts, trial_successes;
    int in_flight, fallbacks_in_flight, retries_in_flight;
    struct list waiters;
    int waiting;
    struct breaker_adapt adapt;

    /* what is judged */
    struct breaker_health health; /* sums */
    struct breaker_roll health_roll;
    struct {
        uint32_t total, errors, slow;
    } health_buckets[BREAKER_BUCKETS_MAX];
    unsigned char calls[1000]; /* count window: bit 0 error, bit 1 slow */
    int calls_at;
    int errors_in_row;

    /* what is shown */
    struct breaker_events events;
    /* of bodies, by whether the call ended with them; and of whole calls whose body did not */
    struct breaker_latency ended, given_up, fell_back;
};

/* Copies conf, which must be sane (breaker_conf_check); so must breaker_set_conf's. Closed. */
void breaker_init(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns);
/* Copies conf and keeps state and counts: a running open period is stretched or shortened to the
 * new sleep, a limit lowered below the calls in flight only refuses new ones, a raised one wakes
 * waiters. */
void breaker_set_conf(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns);
/* May a call go out? ADMITTED fills the permit. REFUSED_OPEN fills *ret_retry_ns with the wait
 * until a trial may pass. waiter may be NULL: then it never waits. */
enum breaker_verdict breaker_enter(struct breaker *b, int64_t now_ns, struct breaker_waiter *waiter,
                                   struct breaker_permit *ret_permit, int64_t *ret_retry_ns);
/* Ends an admitted call; a result of an earlier state is counted and changes nothing. */
void breaker_leave(struct breaker *b, int64_t now_ns, struct breaker_permit permit,
                   enum breaker_outcome outcome);
/* Takes a waiter out that waits no more (timed_out: counts as a refusal of the queue, else as
 * cancelled). False if it has been woken already. */
bool breaker_give_up(struct breaker *b, int64_t now_ns, struct breaker_waiter *w, bool timed_out);
/* Moves on what time alone moves: none but a half-open state that has lasted too long. */
void breaker_tick(struct breaker *b, int64_t now_ns);
/* A place for a fallback; false: none is left, which is counted. */
bool breaker_fallback_enter(struct breaker *b, int64_t now_ns);
/* Ends it with FALLBACK_SUCCESS, FALLBACK_FAILURE or CANCELLED. */
void breaker_fallback_leave(struct breaker *b, int64_t now_ns, int64_t started_ns,
                            enum breaker_event event);
/* A call fails for its caller without a fallback having run: event says why. started_ns 0: it had
 * not begun. */
void breaker_thrown(struct breaker *b, int64_t now_ns, int64_t started_ns,
                    enum breaker_event event);
/* Counts something else. */
void breaker_note(struct breaker *b, int64_t now_ns, enum breaker_event event);
/* A place in the retry budget; false: there is none. */
bool breaker_retry_enter(struct breaker *b, int64_t now_ns);
void breaker_retry_leave(struct breaker *b);
/* As if it had been open since before: for what was kept over a restart. */
void breaker_restore_open(struct breaker *b, int64_t now_ns, int64_t left_ns, int failed_trials);

/* One picture. */
struct breaker_view {
    struct breaker_conf conf;
    enum breaker_state state; /* computed */
    bool is_open;             /* what callers meet: forced, open or half-open */
    int64_t retry_ns;         /* while it is open; else 0 */
    uint64_t epoch;
    int in_flight, waiting, limit, max_in_flight, fallbacks_in_flight, failed_trials;
    struct breaker_health health;
    int error_percent, slow_percent;
    int64_t rolling[BREAKER_EVENT_COUNT];
    uint64_t total[BREAKER_EVENT_COUNT];
};
void breaker_view(struct breaker *b, int64_t now_ns, struct breaker_view *ret);
/* Latencies of bodies, and of whole calls with their fallbacks. */
void breaker_latencies(struct breaker *b, int64_t now_ns, struct breaker_latency_view *ret_execute,
                       struct breaker_latency_view *ret_total);
/* "closed", "open", "half_open"; static. */
const char *breaker_state_name(enum breaker_state s);
/* Dies if an invariant does not hold (builds with assertions). */
void breaker_assert(const struct breaker *b);
