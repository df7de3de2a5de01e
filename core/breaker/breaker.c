/* SPDX-License-Identifier: MIT */
/* The state machine of the circuit breaker. Hystrix judges on a background tick and takes any late
 * result for the trial's verdict; both were its best-known defects. Here every result is judged at
 * once, and only results of the current state count, which the epoch in the permit decides. */
#include "breaker/breaker.h"

#include "base/clock.h"
#include "breaker/health.h"

#include <assert.h>
#include <stddef.h>

/* ---- states ---- */

static void set_state(struct breaker *b, int64_t now_ns, enum breaker_state state)
{
    assert(b->state != state);
    b->state = state;
    b->epoch++;
    b->changed_ns = now_ns;
    b->trials_in_flight = b->trial_verdicts = b->trial_successes = 0;
}

/* xorshift64: sleeps need no better chance. */
static int draw(struct breaker *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (int)(b->random % 1001);
}

static int64_t sleep_ns(const struct breaker *b)
{
    double ms = b->conf.sleep_ms;
    for (int i = 0; i < b->failed_trials && ms < b->conf.sleep_max_ms; i++)
        ms = ms * b->conf.sleep_factor / 1000;
    if (b->conf.sleep_factor > 1000 && ms > b->conf.sleep_max_ms)
        ms = b->conf.sleep_max_ms;
    ms += ms * b->conf.sleep_jitter_percent / 100 * b->jitter / 1000;
    return (int64_t)(ms * NS_PER_MS);
}

static void open_circuit(struct breaker *b, int64_t now_ns)
{
    bool trial_failed = b->state == BREAKER_HALF_OPEN;
    b->failed_trials = trial_failed ? b->failed_trials + (b->failed_trials < 64) : 0;
    set_state(b, now_ns, BREAKER_OPEN);
    b->jitter = b->conf.sleep_jitter_percent > 0 ? draw(b) : 0;
    b->open_until_ns = now_ns + sleep_ns(b);
}

static void close_circuit(struct breaker *b, int64_t now_ns)
{
    set_state(b, now_ns, BREAKER_CLOSED);
    b->failed_trials = 0;
    breaker_health_start(b, now_ns); /* the old failures have had their say */
}

static void count_result(struct breaker *b, int64_t now_ns, bool error, bool slow)
{
    breaker_health_add(b, now_ns, error, slow);
    if (b->conf.enabled && breaker_health_is_bad(b))
        open_circuit(b, now_ns);
}

/* ---- admission ---- */

static int limit_of(const struct breaker *b)
{
    return b->conf.limit_mode == BREAKER_LIMIT_FIXED ? b->conf.limit : (int)b->adapt.limit;
}

/* In the half-open state: is another trial wanted now? */
static bool wants_trial(const struct breaker *b)
{
    return b->trials_in_flight < b->conf.trial_limit &&
           b->trials_in_flight + b->trial_verdicts < b->conf.trials;
}

/* Does the state let a call pass? Else *ret_retry_ns. */
static bool state_admits(const struct breaker *b, int64_t now_ns, int64_t *ret_retry_ns)
{
    if (b->state == BREAKER_CLOSED)
        return true;
    if (b->state == BREAKER_HALF_OPEN) {
        *ret_retry_ns = b->conf.timeout_ms * NS_PER_MS;
        return wants_trial(b);
    }
    *ret_retry_ns = b->open_until_ns - now_ns;
    return now_ns >= b->open_until_ns;
}

static void wake(struct breaker *b, int64_t now_ns);

void breaker_tick(struct breaker *b, int64_t now_ns)
{
    if (b->state == BREAKER_HALF_OPEN && b->conf.trial_max_ms > 0 &&
        now_ns - b->half_open_ns >= b->conf.trial_max_ms * NS_PER_MS) {
        open_circuit(b, now_ns);
        wake(b, now_ns); /* they are refused */
    }
}

static int timeout_of(const struct breaker *b)
{
    return b->conf.timeout_enabled ? b->conf.timeout_ms : 0;
}

static void admit(struct breaker *b, int64_t now_ns, bool by_force, struct breaker_permit *ret)
{
    if (!by_force && b->state == BREAKER_OPEN) {
        set_state(b, now_ns, BREAKER_HALF_OPEN);
        b->half_open_ns = now_ns;
    }
    bool trial = !by_force && b->state == BREAKER_HALF_OPEN;
    b->trials_in_flight += trial;
    b->in_flight++;
    breaker_events_started(&b->events, now_ns, b->in_flight);
    *ret = (struct breaker_permit){by_force ? 0 : b->epoch, now_ns, timeout_of(b), trial};
}

static enum breaker_verdict no_place(struct breaker *b, int64_t now_ns, struct breaker_waiter *w)
{
    if (w != NULL && b->waiting < b->conf.queue) {
        w->permit.started_ns = now_ns;
        w->permit.timeout_ms = timeout_of(b);
        w->queue_ms = b->conf.queue_ms;
        list_push(&b->waiters, &w->link);
        b->waiting++;
        return BREAKER_QUEUED;
    }
    bool queue = b->conf.queue > 0;
    breaker_events_add(&b->events, now_ns,
                       queue ? BREAKER_EVENT_QUEUE_REJECTED : BREAKER_EVENT_REJECTED);
    if (b->conf.count_rejected && b->state == BREAKER_CLOSED)
        count_result(b, now_ns, true, false);
    wake(b, now_ns); /* if that has opened it */
    return queue ? BREAKER_REFUSED_QUEUE : BREAKER_REFUSED_LIMIT;
}

enum breaker_verdict breaker_enter(struct breaker *b, int64_t now_ns, struct breaker_waiter *waiter,
                                   struct breaker_permit *ret_permit, int64_t *ret_retry_ns)
{
    bool by_force = false;
    if (b->state != BREAKER_CLOSED || b->conf.force_open) {
        int64_t retry_ns = 0;
        breaker_tick(b, now_ns);
        bool admits = state_admits(b, now_ns, &retry_ns);
        if (b->conf.force_open || (!admits && !b->conf.force_closed)) {
            breaker_events_add(&b->events, now_ns, BREAKER_EVENT_SHORT_CIRCUITED);
            *ret_retry_ns = b->conf.force_open ? b->conf.sleep_ms * NS_PER_MS : retry_ns;
            return BREAKER_REFUSED_OPEN;
        }
        by_force = !admits;
    }
    if (b->in_flight >= limit_of(b))
        return no_place(b, now_ns, waiter);
    admit(b, now_ns, by_force, ret_permit);
    return BREAKER_ADMITTED;
}

/* Would a call be refused as open now? */
static bool refuses(struct breaker *b, int64_t now_ns)
{
    int64_t retry_ns;
    if (b->conf.force_open)
        return true;
    breaker_tick(b, now_ns);
    return !state_admits(b, now_ns, &retry_ns) && !b->conf.force_closed;
}

/* Gives waiters the places that have become free, and the news that it has opened. */
static void wake(struct breaker *b, int64_t now_ns)
{
    while (b->waiting > 0 && (refuses(b, now_ns) || b->in_flight < limit_of(b))) {
        struct breaker_waiter *w = list_entry(b->waiters.next, struct breaker_waiter, link);
        int64_t started_ns = w->permit.started_ns;
        list_remove(&w->link);
        b->waiting--;
        w->verdict = breaker_enter(b, now_ns, NULL, &w->permit, &w->retry_ns);
        w->permit.started_ns = started_ns; /* waiting was part of the call */
        w->woken(w);
    }
}

bool breaker_give_up(struct breaker *b, int64_t now_ns, struct breaker_waiter *w, bool timed_out)
{
    if (!list_linked(&w->link))
        return false;
    list_remove(&w->link);
    b->waiting--;
    breaker_events_add(&b->events, now_ns,
                       timed_out ? BREAKER_EVENT_QUEUE_REJECTED : BREAKER_EVENT_CANCELLED);
    return true;
}

/* ---- results ---- */

static enum breaker_event event_of(enum breaker_outcome outcome)
{
    static const enum breaker_event events[] = {
        [BREAKER_SUCCESS] = BREAKER_EVENT_SUCCESS,
        [BREAKER_FAILURE] = BREAKER_EVENT_FAILURE,
        [BREAKER_TIMEOUT] = BREAKER_EVENT_TIMEOUT,
        [BREAKER_BAD_REQUEST] = BREAKER_EVENT_BAD_REQUEST,
        [BREAKER_IGNORED] = BREAKER_EVENT_IGNORED,
        [BREAKER_CANCELLED] = BREAKER_EVENT_CANCELLED,
    };
    return events[outcome];
}

static void leave_trial(struct breaker *b, int64_t now_ns, bool good)
{
    int needed = (b->conf.trials * b->conf.trial_percent + 99) / 100;
    b->trial_verdicts++;
    b->trial_successes += good;
    if (b->trial_successes >= needed) {
        close_circuit(b, now_ns);
        breaker_health_add(b, now_ns, false, false);
    } else if (b->trial_verdicts - b->trial_successes > b->conf.trials - needed) {
        open_circuit(b, now_ns);
    }
}

/* Changes nothing but what is shown when the result is of an earlier state. */
static void judge(struct breaker *b, int64_t now_ns, struct breaker_permit permit,
                  enum breaker_outcome outcome, bool slow)
{
    bool verdict =
        outcome == BREAKER_SUCCESS || outcome == BREAKER_FAILURE || outcome == BREAKER_TIMEOUT;
    if (permit.epoch != b->epoch)
        return;
    b->trials_in_flight -= permit.trial;
    if (!verdict)
        return;
    if (permit.trial)
        leave_trial(b, now_ns, outcome == BREAKER_SUCCESS && !slow);
    else
        count_result(b, now_ns, outcome != BREAKER_SUCCESS, slow);
}

static void show(struct breaker *b, int64_t now_ns, int64_t took_ns, enum breaker_outcome outcome,
                 bool slow)
{
    breaker_events_add(&b->events, now_ns, event_of(outcome));
    if (slow)
        breaker_events_add(&b->events, now_ns, BREAKER_EVENT_SLOW);
    bool fails = outcome == BREAKER_FAILURE || outcome == BREAKER_TIMEOUT;
    breaker_latency_add(fails ? &b->given_up : &b->ended, now_ns, took_ns);
    if (outcome == BREAKER_BAD_REQUEST)
        breaker_events_add(&b->events, now_ns, BREAKER_EVENT_EXCEPTION_THROWN);
}

void breaker_leave(struct breaker *b, int64_t now_ns, struct breaker_permit permit,
                   enum breaker_outcome outcome)
{
    assert(b->in_flight > 0 && permit.epoch <= b->epoch);
    int64_t took_ns = now_ns - permit.started_ns;
    bool slow =
        b->conf.slow_ms > 0 && took_ns >= b->conf.slow_ms * NS_PER_MS && outcome <= BREAKER_TIMEOUT;
    if (b->conf.limit_mode != BREAKER_LIMIT_FIXED && outcome <= BREAKER_TIMEOUT)
        breaker_adapt_ended(&b->adapt, &b->conf, b->in_flight, took_ns, outcome != BREAKER_SUCCESS);
    b->in_flight--;
    show(b, now_ns, took_ns, outcome, slow);
    judge(b, now_ns, permit, outcome, slow);
    wake(b, now_ns);
}

/* ---- around the call ---- */

bool breaker_fallback_enter(struct breaker *b, int64_t now_ns)
{
    if (b->fallbacks_in_flight >= b->conf.fallback_limit) {
        breaker_events_add(&b->events, now_ns, BREAKER_EVENT_FALLBACK_REJECTED);
        breaker_events_add(&b->events, now_ns, BREAKER_EVENT_EXCEPTION_THROWN);
        return false;
    }
    b->fallbacks_in_flight++;
    return true;
}

static void add_total(struct breaker *b, int64_t now_ns, int64_t started_ns)
{
    if (started_ns > 0)
        breaker_latency_add(&b->fell_back, now_ns, now_ns - started_ns);
}

void breaker_fallback_leave(struct breaker *b, int64_t now_ns, int64_t started_ns,
                            enum breaker_event event)
{
    assert(b->fallbacks_in_flight > 0);
    b->fallbacks_in_flight--;
    breaker_events_add(&b->events, now_ns, event);
    if (event == BREAKER_EVENT_FALLBACK_FAILURE)
        breaker_events_add(&b->events, now_ns, BREAKER_EVENT_EXCEPTION_THROWN);
    add_total(b, now_ns, started_ns);
}

void breaker_thrown(struct breaker *b, int64_t now_ns, int64_t started_ns, enum breaker_event event)
{
    breaker_events_add(&b->events, now_ns, event);
    breaker_events_add(&b->events, now_ns, BREAKER_EVENT_EXCEPTION_THROWN);
    add_total(b, now_ns, started_ns);
}

void breaker_note(struct breaker *b, int64_t now_ns, enum breaker_event event)
{
    breaker_events_add(&b->events, now_ns, event);
}

bool breaker_retry_enter(struct breaker *b, int64_t now_ns)
{
    int share = (b->in_flight + b->waiting) * b->conf.retry_percent / 100;
    int budget = share > b->conf.retry_min ? share : b->conf.retry_min;
    if (b->retries_in_flight >= budget)
        return false;
    b->retries_in_flight++;
    breaker_events_add(&b->events, now_ns, BREAKER_EVENT_RETRY);
    return true;
}

void breaker_retry_leave(struct breaker *b)
{
    assert(b->retries_in_flight > 0);
    b->retries_in_flight--;
}

/* ---- life ---- */

static void start_latencies(struct breaker *b, int64_t now_ns)
{
    struct breaker_latency *const all[] = {&b->ended, &b->given_up, &b->fell_back};
    for (size_t i = 0; i < 3; i++)
        breaker_latency_start(all[i], b->conf.latency_ms, b->conf.latency_buckets, now_ns);
}

void breaker_init(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns)
{
    assert(breaker_conf_check(conf, NULL) == 0);
    *b = (struct breaker){.conf = *conf, .state = BREAKER_CLOSED, .epoch = 1};
    b->changed_ns = now_ns;
    b->random = UINT64_C(0x9E3779B97F4A7C15) ^ (uint64_t)now_ns;
    list_init(&b->waiters);
    breaker_adapt_start(&b->adapt, conf);
    breaker_health_start(b, now_ns);
    breaker_events_start(&b->events, conf->window_ms, conf->window_buckets, now_ns);
    start_latencies(b, now_ns);
}

/* The counts of the window go on in the new one. */
static void resize_events(struct breaker *b, int64_t now_ns)
{
    struct breaker_events *e = &b->events;
    int64_t sum[BREAKER_EVENT_COUNT];
    breaker_events_roll(e, now_ns);
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
        sum[i] = e->sum[i];
    breaker_events_start(e, b->conf.window_ms, b->conf.window_buckets, now_ns);
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++) {
        e->sum[i] = sum[i];
        e->buckets[0].count[i] = (uint32_t)sum[i];
    }
}

static void resize(struct breaker *b, const struct breaker_conf *old, int64_t now_ns)
{
    const struct breaker_conf *c = &b->conf;
    bool ring = c->window_ms != old->window_ms || c->window_buckets != old->window_buckets;
    if (ring)
        resize_events(b, now_ns);
    if (ring || c->window != old->window || c->window_calls != old->window_calls)
        breaker_health_resize(b, now_ns);
    if (c->latency_ms != old->latency_ms || c->latency_buckets != old->latency_buckets) {
        start_latencies(b, now_ns);
    }
    if (c->limit != old->limit || c->limit_mode != old->limit_mode)
        breaker_adapt_start(&b->adapt, c);
}

void breaker_set_conf(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns)
{
    assert(breaker_conf_check(conf, NULL) == 0);
    struct breaker_conf old = b->conf;
    breaker_health_roll(b, now_ns);
    b->conf = *conf;
    resize(b, &old, now_ns);
    if (b->state == BREAKER_OPEN)
        b->open_until_ns = b->changed_ns + sleep_ns(b);
    if (!conf->enabled && b->state != BREAKER_CLOSED)
        close_circuit(b, now_ns);
    wake(b, now_ns);
}

void breaker_restore_open(struct breaker *b, int64_t now_ns, int64_t left_ns, int failed_trials)
{
    if (b->state != BREAKER_CLOSED || !b->conf.enabled)
        return;
    open_circuit(b, now_ns);
    b->failed_trials = failed_trials;
    int64_t longest_ns = sleep_ns(b);
    b->open_until_ns = now_ns + (left_ns < longest_ns ? left_ns : longest_ns);
}

void breaker_view(struct breaker *b, int64_t now_ns, struct breaker_view *ret)
{
    const struct breaker_conf *c = &b->conf;
    breaker_tick(b, now_ns);
    breaker_health_roll(b, now_ns);
    breaker_events_roll(&b->events, now_ns);
    *ret = (struct breaker_view){
        .conf = *c,
        .state = b->state,
        .is_open = c->force_open || (b->state != BREAKER_CLOSED && !c->force_closed),
        .epoch = b->epoch,
        .in_flight = b->in_flight,
        .waiting = b->waiting,
        .limit = limit_of(b),
        .max_in_flight = breaker_events_max(&b->events, now_ns),
        .fallbacks_in_flight = b->fallbacks_in_flight,
        .failed_trials = b->failed_trials,
        .health = b->health,
    };
    if (b->state == BREAKER_OPEN && b->open_until_ns > now_ns)
        ret->retry_ns = b->open_until_ns - now_ns;
    if (b->health.total > 0) {
        ret->error_percent = (int)(b->health.errors * 100 / b->health.total);
        ret->slow_percent = (int)(b->health.slow * 100 / b->health.total);
    }
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++) {
        ret->rolling[i] = b->events.sum[i];
        ret->total[i] = b->events.total[i];
    }
}

void breaker_latencies(struct breaker *b, int64_t now_ns, struct breaker_latency_view *ret_execute,
                       struct breaker_latency_view *ret_total)
{
    breaker_latency_view(&b->ended, &b->given_up, now_ns, ret_execute);
    breaker_latency_view(&b->ended, &b->fell_back, now_ns, ret_total);
}

const char *breaker_state_name(enum breaker_state s)
{
    switch (s) {
    case BREAKER_CLOSED:
        return "closed";
    case BREAKER_OPEN:
        return "open";
    case BREAKER_HALF_OPEN:
        return "half_open";
    }
    return "unknown";
}

void breaker_assert(const struct breaker *b)
{
    assert(breaker_conf_check(&b->conf, NULL) == 0);
    assert(b->epoch >= 1 && b->in_flight >= 0 && b->fallbacks_in_flight >= 0);
    assert(b->trials_in_flight >= 0 && b->trials_in_flight <= b->in_flight);
    assert(b->trials_in_flight == 0 || b->state == BREAKER_HALF_OPEN);
    assert(b->health.errors >= 0 && b->health.errors <= b->health.total);
    assert(b->health.slow >= 0 && b->health.slow <= b->health.total);
    assert((b->waiting == 0) == list_empty(&b->waiters));
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
        assert(b->events.sum[i] >= 0 && (uint64_t)b->events.sum[i] <= b->events.total[i]);
    (void)b;
}
