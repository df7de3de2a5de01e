/* SPDX-License-Identifier: MIT */
/* The state machine of the circuit breaker. Hystrix judges on a background tick and takes any late
 * result for the trial's verdict; both were its best-known defects. Here every result is judged at
 * once, and only results of the current state count, which the epoch in the permit decides. */
#include "breaker/breaker.h"

#include "base/clock.h"

#include <assert.h>
#include <stddef.h>

#define NO_NUMBER (-1)

static int64_t bucket_ns(const struct breaker *b)
{
    return b->conf.window_ms * NS_PER_MS / BREAKER_BUCKETS;
}

/* Callers on several threads read the clock a little apart: a late one counts in the newest bucket.
 */
static int64_t number_at(const struct breaker *b, int64_t now_ns)
{
    int64_t number = (now_ns - b->window_started_ns) / bucket_ns(b);
    return number > b->newest ? number : b->newest;
}

static struct breaker_counts *bucket_at(struct breaker *b, int64_t now_ns)
{
    int64_t number = number_at(b, now_ns);
    int64_t slot = number % BREAKER_BUCKETS;
    if (b->bucket_numbers[slot] != number) {
        b->buckets[slot] = (struct breaker_counts){0};
        b->bucket_numbers[slot] = number;
    }
    b->newest = number;
    return &b->buckets[slot];
}

static void window_clear(struct breaker *b, int64_t now_ns)
{
    b->window_started_ns = now_ns;
    b->newest = 0;
    for (int i = 0; i < BREAKER_BUCKETS; i++)
        b->bucket_numbers[i] = NO_NUMBER;
}

static void counts_add(struct breaker_counts *sum, const struct breaker_counts *more)
{
    sum->success += more->success;
    sum->failure += more->failure;
    sum->timeout += more->timeout;
    sum->ignored += more->ignored;
    sum->refused_open += more->refused_open;
    sum->refused_limit += more->refused_limit;
}

static void set_state(struct breaker *b, enum breaker_state state)
{
    assert(b->state != state);
    b->state = state;
    b->epoch++;
    b->trial_in_flight = false;
}

static void open_circuit(struct breaker *b, int64_t now_ns)
{
    set_state(b, BREAKER_OPEN);
    b->open_until_ns = now_ns + b->conf.sleep_ms * NS_PER_MS;
}

static bool is_over_threshold(const struct breaker *b, int64_t now_ns)
{
    struct breaker_counts sum;
    breaker_counts(b, now_ns, &sum);
    int64_t errors = sum.failure + sum.timeout;
    int64_t total = sum.success + errors;
    return total >= b->conf.volume && errors * 100 / total >= b->conf.error_percent;
}

static void count_outcome(struct breaker *b, int64_t now_ns, enum breaker_outcome outcome)
{
    struct breaker_counts *counts = bucket_at(b, now_ns);
    switch (outcome) {
    case BREAKER_SUCCESS:
        counts->success++;
        return;
    case BREAKER_FAILURE:
        counts->failure++;
        return;
    case BREAKER_TIMEOUT:
        counts->timeout++;
        return;
    case BREAKER_IGNORED:
        counts->ignored++;
        return;
    }
}

static bool leave_closed(struct breaker *b, int64_t now_ns, enum breaker_outcome outcome)
{
    count_outcome(b, now_ns, outcome);
    if (outcome == BREAKER_IGNORED || !is_over_threshold(b, now_ns))
        return false;
    open_circuit(b, now_ns);
    return true;
}

static bool leave_trial(struct breaker *b, int64_t now_ns, enum breaker_outcome outcome)
{
    assert(b->trial_in_flight);
    if (outcome == BREAKER_SUCCESS) {
        set_state(b, BREAKER_CLOSED);
        window_clear(b, now_ns); /* the old failures have had their say */
        count_outcome(b, now_ns, outcome);
        return true;
    }
    count_outcome(b, now_ns, outcome);
    if (outcome == BREAKER_IGNORED) {
        b->trial_in_flight = false;
        return false;
    }
    open_circuit(b, now_ns);
    return true;
}

static int check_range(const char *name, int value, int max, struct err *err)
{
    if (value < 1)
        return err_set(err, ERR_CONFIG, "breaker option %s must be at least 1, not %d", name,
                       value);
    if (value > max)
        return err_set(err, ERR_CONFIG, "breaker option %s must be at most %d, not %d", name, max,
                       value);
    return 0;
}

int breaker_conf_check(const struct breaker_conf *conf, struct err *err)
{
    if (check_range("timeout_ms", conf->timeout_ms, INT32_MAX, err) < 0 ||
        check_range("limit", conf->limit, INT32_MAX, err) < 0 ||
        check_range("volume", conf->volume, INT32_MAX, err) < 0 ||
        check_range("error_percent", conf->error_percent, 100, err) < 0 ||
        check_range("sleep_ms", conf->sleep_ms, INT32_MAX, err) < 0 ||
        check_range("window_ms", conf->window_ms, INT32_MAX, err) < 0)
        return -1;
    return 0;
}

void breaker_init(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns)
{
    assert(breaker_conf_check(conf, NULL) == 0);
    *b = (struct breaker){.conf = *conf, .state = BREAKER_CLOSED, .epoch = 1};
    window_clear(b, now_ns);
}

void breaker_set_conf(struct breaker *b, const struct breaker_conf *conf, int64_t now_ns)
{
    assert(breaker_conf_check(conf, NULL) == 0);
    struct breaker_counts sum;
    breaker_counts(b, now_ns, &sum);
    sum.in_flight = 0; /* a matter of the breaker, not of a bucket */
    b->open_until_ns += (conf->sleep_ms - (int64_t)b->conf.sleep_ms) * NS_PER_MS;
    bool other_window = conf->window_ms != b->conf.window_ms;
    b->conf = *conf;
    if (!other_window)
        return;
    window_clear(b, now_ns);
    *bucket_at(b, now_ns) = sum;
}

enum breaker_verdict breaker_enter(struct breaker *b, int64_t now_ns,
                                   struct breaker_permit *ret_permit, int64_t *ret_retry_ns)
{
    bool waits_for_trial = b->state == BREAKER_HALF_OPEN && b->trial_in_flight;
    if (waits_for_trial || (b->state == BREAKER_OPEN && now_ns < b->open_until_ns)) {
        bucket_at(b, now_ns)->refused_open++;
        *ret_retry_ns =
            waits_for_trial ? b->conf.timeout_ms * NS_PER_MS : b->open_until_ns - now_ns;
        return BREAKER_REFUSED_OPEN;
    }
    if (b->in_flight >= b->conf.limit) {
        bucket_at(b, now_ns)->refused_limit++;
        return BREAKER_REFUSED_LIMIT;
    }
    if (b->state == BREAKER_OPEN)
        set_state(b, BREAKER_HALF_OPEN);
    b->trial_in_flight = b->state == BREAKER_HALF_OPEN;
    b->in_flight++;
    *ret_permit = (struct breaker_permit){.epoch = b->epoch, .trial = b->trial_in_flight};
    return BREAKER_ADMITTED;
}

bool breaker_leave(struct breaker *b, int64_t now_ns, struct breaker_permit permit,
                   enum breaker_outcome outcome)
{
    assert(b->in_flight > 0 && permit.epoch <= b->epoch);
    b->in_flight--;
    if (permit.epoch != b->epoch)
        return false;
    return permit.trial ? leave_trial(b, now_ns, outcome) : leave_closed(b, now_ns, outcome);
}

void breaker_counts(const struct breaker *b, int64_t now_ns, struct breaker_counts *ret)
{
    int64_t number = number_at(b, now_ns);
    *ret = (struct breaker_counts){.in_flight = b->in_flight};
    for (int i = 0; i < BREAKER_BUCKETS; i++) {
        if (b->bucket_numbers[i] != NO_NUMBER && b->bucket_numbers[i] > number - BREAKER_BUCKETS)
            counts_add(ret, &b->buckets[i]);
    }
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
    assert(b->epoch >= 1 && b->in_flight >= 0);
    assert(!b->trial_in_flight || (b->state == BREAKER_HALF_OPEN && b->in_flight >= 1));
    for (int i = 0; i < BREAKER_BUCKETS; i++) {
        int64_t number = b->bucket_numbers[i];
        assert(number == NO_NUMBER || (number <= b->newest && number % BREAKER_BUCKETS == i));
        (void)number;
    }
    (void)b;
}
