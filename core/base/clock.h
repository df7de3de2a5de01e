/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"

#include <stdint.h>
#include <time.h>

/* Time is int64_t nanoseconds everywhere inside; milliseconds at the edges. Tests inject a fake
 * clock. */
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

struct clock {
    bool fake;
    int64_t fake_mono_ns; /* meaningful when fake */
    int64_t fake_wall_ns;
    int64_t coarse_tick_ns; /* 0 when fake */
};

/* The system's clocks. */
void clock_real_init(struct clock *c);
/* Starts at mono 1 s and 2026-01-01T00:00:00Z; moves only by clock_advance. */
void clock_fake_init(struct clock *c);
void clock_advance(struct clock *c, int64_t ns);
int64_t clock_mono_ns(const struct clock *c);
/* Monotonic time as the kernel last wrote it down: a quarter of the cost, behind by less than a
 * tick. */
static inline int64_t clock_coarse_ns(const struct clock *c)
{
    struct timespec t;
    if (c->fake)
        return c->fake_mono_ns;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}
static inline int64_t clock_coarse_tick_ns(const struct clock *c)
{
    return c->coarse_tick_ns;
}
int64_t clock_wall_ns(const struct clock *c);
static inline int64_t clock_wall_ms(const struct clock *c)
{
    return clock_wall_ns(c) / NS_PER_MS;
}

/* "2026-01-01T00:00:00.000Z" (RFC 3339), "20260101000000" (compact), "Thu, 01 Jan 2026 00:00:00
 * GMT" (HTTP date). */
void clock_rfc3339(struct buf *out, int64_t wall_ms);
void clock_compact(struct buf *out, int64_t wall_ms);
void clock_http_date(struct buf *out, int64_t wall_ms);
/* RFC 3339 with 'Z' or a numeric offset, fraction up to 9 digits. False on anything else. */
bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ms);
