/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <stddef.h>

/* An event loop of one thread over libevent's event_base. Timers are a heap of the loop's own, so
 * that a fake clock moves them; everything that sees the loop's clock sees the same time. */
struct loop;
struct event_base;

/* Borrows clock. Returns owned. */
struct loop *loop_new(const struct clock *clock, struct err *err);
void loop_free(struct loop *l);
/* Runs turns until loop_stop. A turn: poll, ready callbacks, due timers, deferred functions. */
void loop_run(struct loop *l);
/* From the loop's own thread: the current turn is the last. */
void loop_stop(struct loop *l);
/* One turn without waiting; true if anything ran. For tests and virtual time. */
bool loop_turn(struct loop *l);
struct event_base *loop_base(struct loop *l);
const struct clock *loop_clock(const struct loop *l);
/* Monotonic time, read once a turn and after loop_refresh. */
int64_t loop_now_ns(const struct loop *l);
void loop_refresh(struct loop *l);

/* Deferred work: runs once, at the end of the current turn (or of the next one when scheduled from
 * the deferred phase itself), in order of scheduling. Scheduling twice before it ran is one run.
 * Embed it; zero it first. */
struct loop_defer {
    void (*fn)(struct loop_defer *d);
    struct loop_defer *next;
    bool queued;
};
void loop_defer(struct loop *l, struct loop_defer *d);
void loop_defer_cancel(struct loop *l, struct loop_defer *d);
