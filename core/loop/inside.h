/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/loop.h"
#include "loop/timer.h"

struct event;

/* What the files of core/loop share with each other; nobody else includes it. */
struct loop_queue {
    struct loop_defer *first, *last;
};

struct loop_timers {
    struct loop_timer **heap; /* 1-based binary heap by deadline, then order of arming */
    size_t count, heap_cap;
    struct loop_timer *
        *due; /* taken out of the heap at the start of the timer phase; holes are NULL */
    size_t due_next, due_count, due_cap;
    uint64_t order;
};

struct loop {
    struct event_base *base;
    const struct clock *clock;
    int64_t now_ns; /* meaningful when now_known */
    bool now_known; /* only within a turn: outside of one nobody would renew it */
    bool in_turn;
    bool stopped;
    struct event *alarm; /* ends a poll when the earliest timer is due */
    int64_t alarm_ns;    /* INT64_MAX = not armed */
    struct loop_timers timers;
    struct loop_queue deferred; /* for the coming deferred phase */
    struct loop_queue running;  /* the rest of the deferred phase under way */
    uint64_t ran; /* callbacks run so far; how loop_turn knows that it did something */
};

/* Runs the timers that are due now, not those that they arm. */
void loop_timers_run(struct loop *l);
void loop_timers_deinit(struct loop *l);
