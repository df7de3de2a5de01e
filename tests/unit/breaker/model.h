/* SPDX-License-Identifier: MIT */
#pragma once

/* A breaker that is slow and obvious: it keeps every result and counts them again at each question.
 * model_run reads settings and steps from bytes, takes each step with both, and names the first
 * difference. */
#include "base/clock.h"
#include "breaker/breaker.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_CALLS 32
#define MODEL_RESULTS 4096

struct model_call {
    bool used, trial, queued;
    int64_t generation, started_ns;
    struct breaker_permit permit; /* of the real one */
    struct breaker_waiter waiter;
    bool woken;
};

struct model {
    struct breaker_conf conf;
    enum breaker_state state;
    int64_t generation, now_ns, open_until_ns, half_open_ns, health_from_ns;
    int sleeps, verdicts, successes;
    struct {
        int64_t at_ns;
        bool error, slow;
    } results[MODEL_RESULTS]; /* since health_from_ns */
    int result_count;
    struct model_call calls[MODEL_CALLS];
    int queue[MODEL_CALLS], queue_count; /* in order */
};

struct model_input {
    const uint8_t *data;
    size_t size, at;
};

static uint8_t model_byte(struct model_input *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

static struct breaker_conf model_conf(struct model_input *in)
{
    struct breaker_conf c = breaker_conf_default();
    c.window = model_byte(in) % 3;
    c.window_ms = 100 + 10 * (model_byte(in) % 50);
    c.window_buckets = 1 + model_byte(in) % 12;
    c.window_calls = 10 + model_byte(in) % 20;
    c.volume = 1 + model_byte(in) % 8;
    c.error_percent = 1 + model_byte(in) % 100;
    c.slow_ms = c.window != BREAKER_WINDOW_CONSECUTIVE && model_byte(in) % 2 ? 30 : 0;
    c.slow_percent = 1 + model_byte(in) % 100;
    c.sleep_ms = 20 + model_byte(in) % 100;
    c.sleep_factor = 1000 + 500 * (model_byte(in) % 3);
    c.sleep_max_ms = 500;
    c.trials = 1 + model_byte(in) % 5;
    c.trial_percent = 1 + model_byte(in) % 100;
    c.trial_limit = 1 + model_byte(in) % c.trials;
    c.trial_max_ms = model_byte(in) % 2 ? 100 : 0;
    c.limit = 1 + model_byte(in) % 6;
    c.queue = model_byte(in) % 3;
    c.count_rejected = model_byte(in) % 2;
    c.force_closed = model_byte(in) % 8 == 0;
    c.force_open = model_byte(in) % 16 == 0;
    c.enabled = model_byte(in) % 8 != 0;
    return c;
}

/* ---- what the model knows ---- */

static int model_in_flight(const struct model *m)
{
    int n = 0;
    for (int i = 0; i < MODEL_CALLS; i++)
        n += m->calls[i].used && !m->calls[i].queued;
    return n;
}

static int model_trials(const struct model *m)
{
    int n = 0;
    for (int i = 0; i < MODEL_CALLS; i++)
        n += m->calls[i].used && m->calls[i].trial && m->calls[i].generation == m->generation;
    return n;
}

static struct breaker_health model_health(const struct model *m)
{
    struct breaker_health h = {0};
    int64_t bucket_ns = m->conf.window_ms * NS_PER_MS / m->conf.window_buckets;
    int64_t newest = (m->now_ns - m->health_from_ns) / bucket_ns;
    for (int i = 0; i < m->result_count; i++) {
        int64_t bucket = (m->results[i].at_ns - m->health_from_ns) / bucket_ns;
        bool counts = m->conf.window == BREAKER_WINDOW_TIME
                          ? bucket > newest - m->conf.window_buckets
                          : i >= m->result_count - m->conf.window_calls;
        h.total += counts;
        h.errors += counts && m->results[i].error;
        h.slow += counts && m->results[i].slow;
    }
    return h;
}

static int model_errors_in_row(const struct model *m)
{
    int n = 0;
    while (n < m->result_count && m->results[m->result_count - 1 - n].error)
        n++;
    return n;
}

static bool model_is_bad(const struct model *m)
{
    struct breaker_health h = model_health(m);
    if (m->conf.window == BREAKER_WINDOW_CONSECUTIVE)
        return model_errors_in_row(m) >= m->conf.volume;
    if (h.total < m->conf.volume)
        return false;
    return h.errors * 100 / h.total >= m->conf.error_percent ||
           (m->conf.slow_ms > 0 && h.slow * 100 / h.total >= m->conf.slow_percent);
}

/* ---- what the model does ---- */

static void model_become(struct model *m, enum breaker_state state)
{
    m->state = state;
    m->generation++;
    m->verdicts = m->successes = 0;
}

static void model_open(struct model *m)
{
    int64_t sleep_us = m->conf.sleep_ms * 1000;
    m->sleeps = m->state == BREAKER_HALF_OPEN ? m->sleeps + 1 : 0;
    model_become(m, BREAKER_OPEN);
    for (int i = 0; i < m->sleeps && sleep_us < 500000; i++)
        sleep_us = sleep_us * m->conf.sleep_factor / 1000;
    if (sleep_us > 500000)
        sleep_us = 500000;
    m->open_until_ns = m->now_ns + sleep_us * 1000;
}

static void model_add(struct model *m, bool error, bool slow)
{
    if (m->result_count == MODEL_RESULTS)
        return;
    m->results[m->result_count].at_ns = m->now_ns;
    m->results[m->result_count].error = error;
    m->results[m->result_count++].slow = slow;
}

static void model_result(struct model *m, bool error, bool slow)
{
    model_add(m, error, slow);
    if (m->conf.enabled && model_is_bad(m))
        model_open(m);
}

static void model_tick(struct model *m)
{
    if (m->state == BREAKER_HALF_OPEN && m->conf.trial_max_ms > 0 &&
        m->now_ns >= m->half_open_ns + m->conf.trial_max_ms * NS_PER_MS)
        model_open(m);
}

static bool model_admits(const struct model *m)
{
    int trials = model_trials(m);
    if (m->state == BREAKER_OPEN)
        return m->now_ns >= m->open_until_ns;
    return m->state == BREAKER_CLOSED ||
           (trials < m->conf.trial_limit && trials + m->verdicts < m->conf.trials);
}

static enum breaker_verdict model_enter(struct model *m, int call, bool may_wait)
{
    struct model_call *c = &m->calls[call];
    model_tick(m);
    bool admits = model_admits(m);
    if (m->conf.force_open || (!admits && !m->conf.force_closed))
        return BREAKER_REFUSED_OPEN;
    if (model_in_flight(m) >= m->conf.limit) {
        if (may_wait && m->queue_count < m->conf.queue) {
            c->used = c->queued = true;
            c->started_ns = m->now_ns;
            m->queue[m->queue_count++] = call;
            return BREAKER_QUEUED;
        }
        if (m->conf.count_rejected && m->state == BREAKER_CLOSED)
            model_result(m, true, false);
        return m->conf.queue > 0 ? BREAKER_REFUSED_QUEUE : BREAKER_REFUSED_LIMIT;
    }
    if (admits && m->state == BREAKER_OPEN) {
        model_become(m, BREAKER_HALF_OPEN);
        m->half_open_ns = m->now_ns;
    }
    c->used = true;
    c->queued = false;
    c->trial = admits && m->state == BREAKER_HALF_OPEN;
    c->generation = admits ? m->generation : 0;
    c->started_ns = m->now_ns;
    return BREAKER_ADMITTED;
}

static void model_trial(struct model *m, bool good)
{
    int needed = (m->conf.trials * m->conf.trial_percent + 99) / 100;
    m->verdicts++;
    m->successes += good;
    if (m->successes >= needed) {
        model_become(m, BREAKER_CLOSED);
        m->sleeps = 0;
        m->result_count = 0;
        m->health_from_ns = m->now_ns;
        model_add(m, false, false);
    } else if (m->verdicts - m->successes > m->conf.trials - needed) {
        model_open(m);
    }
}

/* Wakes who waits; the first difference from what the real one told its waiters, or NULL. */
static const char *model_wake(struct model *m)
{
    while (m->queue_count > 0) {
        model_tick(m);
        bool refuses = m->conf.force_open || (!model_admits(m) && !m->conf.force_closed);
        if (!refuses && model_in_flight(m) >= m->conf.limit)
            break;
        int call = m->queue[0];
        struct model_call *c = &m->calls[call];
        int64_t started_ns = c->started_ns;
        memmove(m->queue, m->queue + 1, (size_t)--m->queue_count * sizeof(*m->queue));
        c->used = c->queued = false;
        enum breaker_verdict verdict = model_enter(m, call, false);
        c->started_ns = started_ns;
        if (!c->woken || c->waiter.verdict != verdict)
            return c->woken ? "a waiter was told wrongly" : "a waiter was not told";
        c->permit = c->waiter.permit;
        c->woken = false;
    }
    for (int i = 0; i < m->queue_count; i++)
        if (m->calls[m->queue[i]].woken)
            return "a waiter was told too soon";
    return NULL;
}

static void model_leave(struct model *m, int call, enum breaker_outcome outcome)
{
    struct model_call *c = &m->calls[call];
    bool slow = m->conf.slow_ms > 0 && m->now_ns - c->started_ns >= m->conf.slow_ms * NS_PER_MS;
    c->used = false;
    if (c->generation != m->generation || outcome > BREAKER_TIMEOUT)
        return;
    if (c->trial)
        model_trial(m, outcome == BREAKER_SUCCESS && !slow);
    else
        model_result(m, outcome != BREAKER_SUCCESS, slow);
}

/* ---- both ---- */

static void model_woken(struct breaker_waiter *w)
{
    list_entry(w, struct model_call, waiter)->woken = true;
}

static const char *model_step_enter(struct model *m, struct breaker *b, int call)
{
    struct model_call *c = &m->calls[call];
    int64_t retry_ns = 0;
    if (c->used)
        return NULL;
    *c = (struct model_call){.waiter.woken = model_woken};
    enum breaker_verdict real = breaker_enter(b, m->now_ns, &c->waiter, &c->permit, &retry_ns);
    enum breaker_verdict want = model_enter(m, call, true);
    if (real == BREAKER_ADMITTED && c->permit.trial != c->trial)
        return "one of both takes it for a trial";
    return real == want ? NULL : "the verdicts differ";
}

static const char *model_step_leave(struct model *m, struct breaker *b, int call, int outcome)
{
    struct model_call *c = &m->calls[call];
    if (!c->used)
        return NULL;
    if (c->queued) {
        int at = 0;
        while (m->queue[at] != call)
            at++;
        m->queue_count--;
        memmove(m->queue + at, m->queue + at + 1,
                (size_t)(m->queue_count - at) * sizeof(*m->queue));
        c->used = false;
        return breaker_give_up(b, m->now_ns, &c->waiter, outcome % 2) ? NULL
                                                                      : "it had left the queue";
    }
    breaker_leave(b, m->now_ns, c->permit, (enum breaker_outcome)outcome);
    model_leave(m, call, (enum breaker_outcome)outcome);
    return NULL;
}

static const char *model_compare(struct model *m, struct breaker *b)
{
    struct breaker_view v;
    breaker_view(b, m->now_ns, &v);
    model_tick(m);
    const char *wrong = model_wake(m);
    struct breaker_health h = model_health(m);
    if (wrong != NULL)
        return wrong;
    if (v.state != m->state)
        return "the states differ";
    if (v.in_flight != model_in_flight(m) || v.waiting != m->queue_count)
        return "the calls in flight differ";
    if (m->conf.window != BREAKER_WINDOW_CONSECUTIVE &&
        (v.health.total != h.total || v.health.errors != h.errors || v.health.slow != h.slow))
        return "the health differs";
    return NULL;
}

/* The first difference, or NULL. */
static inline const char *model_run(const uint8_t *data, size_t size)
{
    struct model_input in = {data, size, 0};
    struct model *m = calloc(1, sizeof(*m));
    struct breaker *b = calloc(1, sizeof(*b));
    const char *wrong = NULL;
    m->conf = model_conf(&in);
    m->generation = 1;
    m->now_ns = m->health_from_ns = NS_PER_S;
    bool sane = breaker_conf_check(&m->conf, NULL) == 0;
    if (sane)
        breaker_init(b, &m->conf, m->now_ns);
    while (sane && wrong == NULL && in.at < in.size && m->result_count < MODEL_RESULTS) {
        uint8_t op = model_byte(&in), arg = model_byte(&in);
        if (op % 4 == 0)
            m->now_ns += arg * NS_PER_MS / 3;
        else if (op % 4 == 1)
            wrong = model_step_enter(m, b, arg % MODEL_CALLS);
        else
            wrong = model_step_leave(m, b, arg % MODEL_CALLS, op / 4 % 6);
        if (wrong == NULL)
            wrong = model_compare(m, b);
        breaker_assert(b);
    }
    free(m);
    free(b);
    return wrong;
}
