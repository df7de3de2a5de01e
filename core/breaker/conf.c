/* SPDX-License-Identifier: MIT */
/* One table says of every setting what it is called, here and in Hystrix, and what it may be. The
 * system file, the admin side, overrides and the documentation's lint all go by it. */
#include "breaker/conf.h"

#include <math.h>
#include <string.h>

#define BUCKETS_MAX 60
#define CALLS_MAX 1000

static const char *const windows[] = {"time", "count", "consecutive", NULL};
static const char *const limit_modes[] = {"fixed", "aimd", "gradient", NULL};

#define AT(member) offsetof(struct breaker_conf, member)
#define NUMBER(name, hystrix, min, max, otherwise)                                                 \
    {                                                                                              \
#name, hystrix, BREAKER_SETTING_NUMBER, AT(name), min, max, otherwise, NULL                \
    }
#define FLAG(name, hystrix, otherwise)                                                             \
    {                                                                                              \
#name, hystrix, BREAKER_SETTING_FLAG, AT(name), 0, 1, otherwise, NULL                      \
    }
#define NO_EFFECT(hystrix)                                                                         \
    {                                                                                              \
        NULL, hystrix, BREAKER_SETTING_NONE, 0, 0, 0, 0, NULL                                      \
    }

const struct breaker_setting breaker_settings[] = {
    FLAG(enabled, "circuitBreaker.enabled", 1),
    FLAG(force_open, "circuitBreaker.forceOpen", 0),
    FLAG(force_closed, "circuitBreaker.forceClosed", 0),
    NUMBER(volume, "circuitBreaker.requestVolumeThreshold", 1, INT32_MAX, 20),
    NUMBER(error_percent, "circuitBreaker.errorThresholdPercentage", 1, 100, 50),
    NUMBER(slow_ms, NULL, 0, INT32_MAX, 0),
    NUMBER(slow_percent, NULL, 1, 100, 100),
    NUMBER(slow_volume, NULL, 0, INT32_MAX, 0),
    FLAG(count_rejected, NULL, 0),
    {"window", NULL, BREAKER_SETTING_CHOICE, AT(window), 0, 2, BREAKER_WINDOW_TIME, windows},
    NUMBER(window_ms, "metrics.rollingStats.timeInMilliseconds", 1, INT32_MAX, 10000),
    NUMBER(window_buckets, "metrics.rollingStats.numBuckets", 1, BUCKETS_MAX, 10),
    NUMBER(window_calls, NULL, 1, CALLS_MAX, 100),
    NUMBER(sleep_ms, "circuitBreaker.sleepWindowInMilliseconds", 1, INT32_MAX, 5000),
    {"sleep_factor", NULL, BREAKER_SETTING_FACTOR, AT(sleep_factor), 1000, 10000, 1000, NULL},
    NUMBER(sleep_max_ms, NULL, 1, INT32_MAX, 300000),
    NUMBER(sleep_jitter_percent, NULL, 0, 100, 0),
    NUMBER(trials, NULL, 1, CALLS_MAX, 1),
    NUMBER(trial_percent, NULL, 1, 100, 100),
    NUMBER(trial_limit, NULL, 1, CALLS_MAX, 1),
    NUMBER(trial_max_ms, NULL, 0, INT32_MAX, 0),
    FLAG(timeout_enabled, "execution.timeout.enabled", 1),
    NUMBER(timeout_ms, "execution.isolation.thread.timeoutInMilliseconds", 1, INT32_MAX, 1000),
    NUMBER(limit, "execution.isolation.semaphore.maxConcurrentRequests", 1, INT32_MAX, 10),
    {"limit_mode", NULL, BREAKER_SETTING_CHOICE, AT(limit_mode), 0, 2, BREAKER_LIMIT_FIXED,
     limit_modes},
    NUMBER(limit_min, NULL, 1, INT32_MAX, 1),
    NUMBER(limit_max, NULL, 1, INT32_MAX, 200),
    NUMBER(queue, NULL, 0, 10000, 0),
    NUMBER(queue_ms, NULL, 0, INT32_MAX, 0),
    FLAG(fallback_enabled, "fallback.enabled", 1),
    NUMBER(fallback_limit, "fallback.isolation.semaphore.maxConcurrentRequests", 1, INT32_MAX, 10),
    NUMBER(retry_percent, NULL, 0, 100, 20),
    NUMBER(retry_min, NULL, 0, INT32_MAX, 3),
    FLAG(request_cache, "requestCache.enabled", 1),
    FLAG(keep, NULL, 0),
    NUMBER(latency_ms, "metrics.rollingPercentile.timeInMilliseconds", 1, INT32_MAX, 60000),
    NUMBER(latency_buckets, "metrics.rollingPercentile.numBuckets", 1, 12, 6),
    NO_EFFECT("execution.isolation.strategy"),
    NO_EFFECT("execution.isolation.thread.interruptOnTimeout"),
    NO_EFFECT("execution.isolation.thread.interruptOnFutureCancel"),
    NO_EFFECT("metrics.rollingPercentile.enabled"),
    NO_EFFECT("metrics.rollingPercentile.bucketSize"),
    NO_EFFECT("metrics.healthSnapshot.intervalInMilliseconds"),
    NO_EFFECT("requestLog.enabled"),
    NO_EFFECT("threadPoolKeyOverride"),
};

#define COUNT (sizeof(breaker_settings) / sizeof(*breaker_settings))

const int breaker_setting_count = (int)COUNT;

_Static_assert(COUNT <= 64, "a layer has 64 bits");

static int *value_of(const struct breaker_setting *s, struct breaker_conf *conf)
{
    return (int *)(void *)((char *)conf + s->offset);
}

struct breaker_conf breaker_conf_default(void)
{
    struct breaker_conf conf = {0};
    for (size_t i = 0; i < COUNT; i++)
        if (breaker_settings[i].kind != BREAKER_SETTING_NONE)
            *value_of(&breaker_settings[i], &conf) = breaker_settings[i].otherwise;
    return conf;
}

const struct breaker_setting *breaker_setting_find(struct str name)
{
    for (size_t i = 0; i < COUNT; i++) {
        const struct breaker_setting *s = &breaker_settings[i];
        if ((s->name != NULL && str_ieq(name, str_from(s->name))) ||
            (s->hystrix != NULL && str_ieq(name, str_from(s->hystrix))))
            return s;
    }
    return NULL;
}

struct str breaker_setting_nearest(struct str name)
{
    struct str names[2 * COUNT];
    size_t n = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (breaker_settings[i].name != NULL)
            names[n++] = str_from(breaker_settings[i].name);
        if (breaker_settings[i].hystrix != NULL)
            names[n++] = str_from(breaker_settings[i].hystrix);
    }
    return str_nearest(name, names, n);
}

int breaker_setting_get(const struct breaker_setting *s, const struct breaker_conf *conf)
{
    int value;
    memcpy(&value, (const char *)conf + s->offset, sizeof(value));
    return value;
}

/* ---- setting ---- */

static bool read_number(const struct json *value, double *ret)
{
    if (value->type == JSON_INT)
        *ret = (double)value->i;
    else if (value->type == JSON_NUMBER)
        *ret = value->n;
    else
        return value->type == JSON_TEXT && str_to_number(value->s, ret);
    return true;
}

static int set_number(const struct breaker_setting *s, struct str name, const struct json *value,
                      int *ret, struct err *err)
{
    double n;
    bool factor = s->kind == BREAKER_SETTING_FACTOR;
    if (!read_number(value, &n))
        return err_set(err, ERR_CONFIG, "breaker option %.*s must be a number", STR_ARG(name));
    double scaled = factor ? round(n * 1000) : n;
    if (!factor && n != floor(n))
        return err_set(err, ERR_CONFIG, "breaker option %.*s must be a whole number, not %g",
                       STR_ARG(name), n);
    if (scaled < s->min || scaled > s->max)
        return err_set(err, ERR_CONFIG, "breaker option %.*s must be at %s %d, not %.15g",
                       STR_ARG(name), scaled < s->min ? "least" : "most",
                       (scaled < s->min ? s->min : s->max) / (factor ? 1000 : 1), n);
    *ret = (int)scaled;
    return 0;
}

static int set_flag(struct str name, const struct json *value, int *ret, struct err *err)
{
    bool yes = value->type == JSON_TEXT && str_ieq(value->s, STR("true"));
    bool no = value->type == JSON_TEXT && str_ieq(value->s, STR("false"));
    if (value->type != JSON_BOOL && !yes && !no)
        return err_set(err, ERR_CONFIG, "breaker option %.*s must be true or false", STR_ARG(name));
    *ret = value->type == JSON_BOOL ? value->b : yes;
    return 0;
}

static int set_choice(const struct breaker_setting *s, struct str name, const struct json *value,
                      int *ret, struct err *err)
{
    for (int i = 0; s->choices[i] != NULL; i++) {
        if (value->type == JSON_TEXT && str_ieq(value->s, str_from(s->choices[i]))) {
            *ret = i;
            return 0;
        }
    }
    return err_set(err, ERR_CONFIG, "breaker option %.*s must be \"%s\", \"%s\" or \"%s\"",
                   STR_ARG(name), s->choices[0], s->choices[1], s->choices[2]);
}

/* What Hystrix has and this has not is taken, unless it asks for what cannot be. */
static int set_none(const struct breaker_setting *s, const struct json *value, struct err *err)
{
    bool strategy = strcmp(s->hystrix, "execution.isolation.strategy") == 0;
    if (strategy && !(value->type == JSON_TEXT && str_ieq(value->s, STR("SEMAPHORE"))))
        return err_set(err, ERR_CONFIG,
                       "breaker option %s: there is SEMAPHORE only; limit and queue take the place "
                       "of a pool",
                       s->hystrix);
    return 0;
}

static int read_value(const struct breaker_setting *s, struct str name, const struct json *value,
                      int *ret, struct err *err)
{
    switch (s->kind) {
    case BREAKER_SETTING_NUMBER:
    case BREAKER_SETTING_FACTOR:
        return set_number(s, name, value, ret, err);
    case BREAKER_SETTING_FLAG:
        return set_flag(name, value, ret, err);
    case BREAKER_SETTING_CHOICE:
        return set_choice(s, name, value, ret, err);
    case BREAKER_SETTING_NONE:
        return set_none(s, value, err);
    }
    return -1;
}

int breaker_layer_set(struct breaker_layer *l, struct str name, const struct json *value,
                      struct err *err)
{
    const struct breaker_setting *s = breaker_setting_find(name);
    if (s == NULL) {
        struct str nearest = breaker_setting_nearest(name);
        if (nearest.n == 0)
            return err_set(err, ERR_CONFIG, "unknown breaker option \"%.*s\"", STR_ARG(name));
        return err_set(err, ERR_CONFIG, "unknown breaker option \"%.*s\"; did you mean \"%.*s\"?",
                       STR_ARG(name), STR_ARG(nearest));
    }
    int n = 0;
    if (read_value(s, name, value, &n, err) != 0)
        return -1;
    if (s->kind == BREAKER_SETTING_NONE)
        return 0;
    *value_of(s, &l->conf) = n;
    l->set |= UINT64_C(1) << (s - breaker_settings);
    return 0;
}

void breaker_layer_apply(const struct breaker_layer *l, struct breaker_conf *conf)
{
    for (size_t i = 0; i < COUNT; i++)
        if (l->set >> i & 1)
            *value_of(&breaker_settings[i], conf) =
                breaker_setting_get(&breaker_settings[i], &l->conf);
}

/* ---- checking ---- */

static int check_ranges(const struct breaker_conf *conf, struct err *err)
{
    for (size_t i = 0; i < COUNT; i++) {
        const struct breaker_setting *s = &breaker_settings[i];
        int value = breaker_setting_get(s, conf);
        if (s->kind == BREAKER_SETTING_NONE || (value >= s->min && value <= s->max))
            continue;
        return err_set(err, ERR_CONFIG, "breaker option %s must be at %s %d, not %d", s->name,
                       value < s->min ? "least" : "most", value < s->min ? s->min : s->max, value);
    }
    return 0;
}

static int refuse(struct err *err, const char *name, int value, const char *why)
{
    return err_set(err, ERR_CONFIG, "breaker option %s = %d makes no sense: %s", name, value, why);
}

static int check_windows(const struct breaker_conf *c, struct err *err)
{
    bool count = c->window == BREAKER_WINDOW_COUNT, run = c->window == BREAKER_WINDOW_CONSECUTIVE;
    if (count && c->volume > c->window_calls)
        return refuse(err, "volume", c->volume,
                      "the window holds fewer calls (window_calls), it would never open");
    if (count && c->slow_ms > 0 && c->slow_volume > c->window_calls)
        return refuse(err, "slow_volume", c->slow_volume,
                      "the window holds fewer calls (window_calls), it would never open");
    if (run && c->slow_ms > 0)
        return refuse(err, "slow_ms", c->slow_ms, "a consecutive window counts no slow calls");
    return 0;
}

int breaker_conf_check(const struct breaker_conf *c, struct err *err)
{
    bool adaptive = c->limit_mode != BREAKER_LIMIT_FIXED;
    if (check_ranges(c, err) != 0 || check_windows(c, err) != 0)
        return -1;
    if (c->timeout_enabled && c->slow_ms >= c->timeout_ms)
        return refuse(err, "slow_ms", c->slow_ms, "a call is over after timeout_ms");
    if (c->sleep_factor > 1000 && c->sleep_max_ms < c->sleep_ms)
        return refuse(err, "sleep_max_ms", c->sleep_max_ms, "it is below sleep_ms");
    if (c->trial_limit > c->trials)
        return refuse(err, "trial_limit", c->trial_limit, "there are fewer trials");
    if (adaptive && (c->limit < c->limit_min || c->limit > c->limit_max))
        return refuse(err, "limit", c->limit,
                      "an adaptive limit begins between limit_min and limit_max");
    if (c->timeout_enabled && c->queue_ms > c->timeout_ms)
        return refuse(err, "queue_ms", c->queue_ms, "a call is over after timeout_ms");
    return 0;
}

static void write_value(const struct breaker_setting *s, int value, struct buf *out)
{
    buf_addf(out, "\"%s\":", s->name);
    switch (s->kind) {
    case BREAKER_SETTING_FLAG:
        buf_adds(out, value ? STR("true") : STR("false"));
        return;
    case BREAKER_SETTING_FACTOR:
        buf_addf(out, "%g", value / 1000.0);
        return;
    case BREAKER_SETTING_CHOICE:
        buf_addf(out, "\"%s\"", s->choices[value]);
        return;
    case BREAKER_SETTING_NUMBER:
    case BREAKER_SETTING_NONE:
        buf_addf(out, "%d", value);
        return;
    }
}

void breaker_conf_write(const struct breaker_conf *conf, uint64_t mask, struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < COUNT; i++) {
        const struct breaker_setting *s = &breaker_settings[i];
        if (s->kind == BREAKER_SETTING_NONE || !(mask >> i & 1))
            continue;
        if (!first)
            buf_addc(out, ',');
        first = false;
        write_value(s, breaker_setting_get(s, conf), out);
    }
}
