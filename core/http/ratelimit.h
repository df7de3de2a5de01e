/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Token buckets by key, for limits of requests: each key has `burst` tokens to begin with and gets
 * `rate` back a second, up to `burst`; a request takes some or is refused. Time is an argument. The
 * table is bounded: a bucket that is full again is as good as none, and beyond the bound the one
 * used longest ago is forgotten. Any thread. */
struct http_ratelimit;

#define HTTP_RATELIMIT_KEYS 65536

struct http_ratelimit_conf {
    int64_t rate;   /* tokens a second, 1.. */
    int64_t burst;  /* 1.. */
    int64_t tokens; /* a request takes, 1..burst */
};

struct http_ratelimit_verdict {
    bool admitted;
    int64_t remaining; /* whole tokens, after this request */
    int64_t retry_ns;  /* when refused: until there are enough again */
};

/* Without buckets; holds at most `keys` of them. Returns owned. */
struct http_ratelimit *http_ratelimit_new(size_t keys);
void http_ratelimit_free(struct http_ratelimit *r);
/* Takes conf->tokens from the bucket of the key if they are there. Keys of different limits must
 * differ (put the limit's name before them). */
void http_ratelimit_take(struct http_ratelimit *r, struct str key,
                         const struct http_ratelimit_conf *conf, int64_t now_ns,
                         struct http_ratelimit_verdict *ret);
