/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/loop.h"

/* A one-shot timer. Embed it and zero it first; it must be stopped before its memory goes. Arming
 * an armed timer moves it. fn runs on the loop's thread, the timer already disarmed. Equal
 * deadlines fire in the order of arming. */
struct loop_timer {
    void (*fn)(struct loop_timer *t);
    int64_t at_ns;
    uint64_t order;
    size_t slot; /* 1-based place in the heap; 0 = not armed */
};

/* Arms or moves t; disarms it (harmless if it is not armed). */
void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t at_ns);
void loop_timer_stop(struct loop *l, struct loop_timer *t);
static inline bool loop_timer_armed(const struct loop_timer *t)
{
    return t->slot != 0;
}
/* Deadline of the earliest armed timer, or INT64_MAX. For virtual time. */
int64_t loop_timer_next_ns(const struct loop *l);
