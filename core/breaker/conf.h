/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"

/* The settings of a breaker, under short names and under Hystrix'. Flags and choices are ints too,
 * so that one table can describe them all. Times in ms. */
enum breaker_window_kind { BREAKER_WINDOW_TIME, BREAKER_WINDOW_COUNT, BREAKER_WINDOW_CONSECUTIVE };
enum breaker_limit_mode { BREAKER_LIMIT_FIXED, BREAKER_LIMIT_AIMD, BREAKER_LIMIT_GRADIENT };

struct breaker_conf {
    int enabled;                  /* 0: counts and limits, never opens */
    int force_open, force_closed; /* force_open goes before */
    int volume;                   /* fewer results than this never open it, 1.. */
    int error_percent;            /* 1..100: opens at or above */
    int slow_ms, slow_percent;    /* a call that lasts slow_ms or more is slow; 0: none is */
    int slow_volume;              /* 0: as volume */
    int count_rejected;           /* do refusals by the limit count as errors? */
    int window;                   /* enum breaker_window_kind */
    int window_ms, window_buckets;
    int window_calls; /* length of a count window */
    int sleep_ms;     /* open this long before a trial */
    int sleep_factor; /* in 1/1000: each failed trial lengthens the next sleep so many times */
    int sleep_max_ms, sleep_jitter_percent;
    int trials, trial_percent;       /* so many trials, of which so many must succeed, to close */
    int trial_limit, trial_max_ms;   /* at once; half-open longer than this opens again, 0: never */
    int timeout_enabled, timeout_ms; /* not enforced here, the caller arms it */
    int limit;                       /* calls at once */
    int limit_mode;                  /* enum breaker_limit_mode */
    int limit_min, limit_max;        /* between which an adaptive limit moves */
    int queue, queue_ms;             /* calls that may wait for a place, and how long; 0: none */
    int fallback_enabled, fallback_limit;
    int retry_percent, retry_min; /* retries at once: of the calls in flight, and at least */
    int request_cache;            /* does cache_key of a call have an effect? */
    int keep; /* an open state and what an administrator has set outlast the process (floor app) */
    int latency_ms, latency_buckets;
};

enum breaker_setting_kind {
    BREAKER_SETTING_NUMBER,
    BREAKER_SETTING_FLAG,
    BREAKER_SETTING_FACTOR, /* a number in scripts, kept in 1/1000 */
    BREAKER_SETTING_CHOICE,
    BREAKER_SETTING_NONE, /* of Hystrix, without effect here */
};

struct breaker_setting {
    const char *name;    /* "volume"; NULL: without effect, known by Hystrix' name only */
    const char *hystrix; /* "circuitBreaker.requestVolumeThreshold", or NULL */
    enum breaker_setting_kind kind;
    size_t offset; /* in struct breaker_conf */
    int min, max, otherwise;
    const char *const *choices; /* NULL-terminated */
};

/* All settings. A layer has a bit for each, by place. */
extern const struct breaker_setting breaker_settings[];
extern const int breaker_setting_count;

/* Some settings of one place: a system file, an administrator. */
struct breaker_layer {
    uint64_t set;
    struct breaker_conf conf; /* of those that are set */
};

/* Built-in values: Hystrix' defaults where it has the setting. */
struct breaker_conf breaker_conf_default(void);
/* By either name, without case; NULL if there is none. */
const struct breaker_setting *breaker_setting_find(struct str name);
/* The short or else Hystrix' name that is nearest, or empty. */
struct str breaker_setting_nearest(struct str name);
int breaker_setting_get(const struct breaker_setting *s, const struct breaker_conf *conf);
/* Sets one setting by either name. ERR_CONFIG names it, what it must be, or the nearest name. */
int breaker_layer_set(struct breaker_layer *l, struct str name, const struct json *value,
                      struct err *err);
/* Lays what is set over conf. */
void breaker_layer_apply(const struct breaker_layer *l, struct breaker_conf *conf);
/* What makes no sense is ERR_CONFIG, with the settings that do not fit. */
int breaker_conf_check(const struct breaker_conf *conf, struct err *err);
/* The members of a JSON object, by short name: "\"volume\":20,...". Those of mask only. */
void breaker_conf_write(const struct breaker_conf *conf, uint64_t mask, struct buf *out);
