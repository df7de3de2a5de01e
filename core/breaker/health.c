/* SPDX-License-Identifier: MIT */
/* Time, count and consecutive windows. Each keeps sums, so that every result can be judged at once:
 * Hystrix' background tick lets some 90 calls through after the threshold. */
#include "breaker/health.h"

#include <assert.h>
#include <string.h>

#define CALL_ERROR 1
#define CALL_SLOW 2

void breaker_health_start(struct breaker *b, int64_t now_ns)
{
    b->health = (struct breaker_health){0};
    b->calls_at = 0;
    b->errors_in_row = 0;
    memset(b->health_buckets, 0, sizeof(b->health_buckets));
    breaker_roll_start(&b->health_roll, b->conf.window_ms, b->conf.window_buckets, now_ns);
}

void breaker_health_roll(struct breaker *b, int64_t now_ns)
{
    struct breaker_roll *r = &b->health_roll;
    if (b->conf.window != BREAKER_WINDOW_TIME)
        return;
    for (int n = breaker_roll_due(r, now_ns); n > 0; n--) {
        r->at = r->at + 1 < r->buckets ? r->at + 1 : 0;
        b->health.total -= b->health_buckets[r->at].total;
        b->health.errors -= b->health_buckets[r->at].errors;
        b->health.slow -= b->health_buckets[r->at].slow;
        memset(&b->health_buckets[r->at], 0, sizeof(b->health_buckets[0]));
    }
}

static void add_timed(struct breaker *b, int64_t now_ns, bool error, bool slow)
{
    if (breaker_roll_is_due(&b->health_roll, now_ns))
        breaker_health_roll(b, now_ns);
    int at = b->health_roll.at;
    b->health_buckets[at].total++;
    b->health_buckets[at].errors += error;
    b->health_buckets[at].slow += slow;
    b->health.total++;
    b->health.errors += error;
    b->health.slow += slow;
}

static void add_counted(struct breaker *b, bool error, bool slow)
{
    unsigned char *call = &b->calls[b->calls_at];
    if (b->health.total == b->conf.window_calls) {
        b->health.errors -= (*call & CALL_ERROR) != 0;
        b->health.slow -= (*call & CALL_SLOW) != 0;
    } else {
        b->health.total++;
    }
    *call = (unsigned char)((error ? CALL_ERROR : 0) | (slow ? CALL_SLOW : 0));
    b->health.errors += error;
    b->health.slow += slow;
    b->calls_at = b->calls_at + 1 < b->conf.window_calls ? b->calls_at + 1 : 0;
}

/* The sums are of the present run: n errors in a row. */
static void add_consecutive(struct breaker *b, bool error)
{
    b->errors_in_row = error ? b->errors_in_row + 1 : 0;
    b->health.total = error ? b->errors_in_row : 1;
    b->health.errors = b->errors_in_row;
}

void breaker_health_add(struct breaker *b, int64_t now_ns, bool error, bool slow)
{
    switch ((enum breaker_window_kind)b->conf.window) {
    case BREAKER_WINDOW_TIME:
        add_timed(b, now_ns, error, slow);
        return;
    case BREAKER_WINDOW_COUNT:
        add_counted(b, error, slow);
        return;
    case BREAKER_WINDOW_CONSECUTIVE:
        add_consecutive(b, error);
        return;
    }
}

static bool is_over(int64_t part, int64_t total, int volume, int percent)
{
    return total >= volume && part * 100 >= total * percent; /* the truncated percentage */
}

bool breaker_health_is_bad(const struct breaker *b)
{
    const struct breaker_conf *c = &b->conf;
    const struct breaker_health *h = &b->health;
    if (c->window == BREAKER_WINDOW_CONSECUTIVE)
        return b->errors_in_row >= c->volume;
    if (is_over(h->errors, h->total, c->volume, c->error_percent))
        return true;
    int slow_volume = c->slow_volume > 0 ? c->slow_volume : c->volume;
    return c->slow_ms > 0 && is_over(h->slow, h->total, slow_volume, c->slow_percent);
}

void breaker_health_resize(struct breaker *b, int64_t now_ns)
{
    struct breaker_health old = b->health;
    breaker_health_start(b, now_ns);
    if (b->conf.window != BREAKER_WINDOW_TIME)
        return; /* a count of calls begins anew: their order is not known */
    b->health = old;
    b->health_buckets[0].total = (uint32_t)old.total;
    b->health_buckets[0].errors = (uint32_t)old.errors;
    b->health_buckets[0].slow = (uint32_t)old.slow;
}
