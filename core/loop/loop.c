/* SPDX-License-Identifier: MIT */
/* The turn. libevent only polls: timers and deferred work are kept here, because its timers follow
 * the system's clock and its active queue can be refilled from within itself without end. Here each
 * phase is as long as it was when it began, so that nothing can keep the loop from its sockets. */
#include "loop/loop.h"

#include "base/log.h"
#include "base/mem.h"
#include "loop/inside.h"

#include <event2/event.h>

#include <assert.h>
#include <stdlib.h>

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *l = arg;
    l->alarm_ns = INT64_MAX;
}

/* No locks in the base: what crosses threads is the eventfd of a mailbox. No precise timers: they
 * cost a system call a poll, and a poll that ends some milliseconds early is only one more turn. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

/* Moves the alarm only to an earlier time: one that rings for a timer stopped since costs an empty
 * turn, moving it with every start and stop would cost more. */
static void arm_alarm(struct loop *l, int64_t at_ns, int64_t now_ns)
{
    if (at_ns >= l->alarm_ns)
        return;
    int64_t wait_us = (at_ns - now_ns + 999) / 1000;
    struct timeval tv = {.tv_sec = wait_us / 1000000, .tv_usec = wait_us % 1000000};
    if (event_add(l->alarm, &tv) < 0) {
        log_event(LOG_ERROR, "the loop cannot arm its timer");
        abort();
    }
    l->alarm_ns = at_ns;
}

/* May the poll wait? Arms what ends the wait. */
static bool may_wait(struct loop *l)
{
    if (l->deferred.first)
        return false;
    int64_t next_ns = loop_timer_next_ns(l);
    if (next_ns == INT64_MAX)
        return true;
    int64_t now_ns = clock_mono_ns(l->clock);
    if (next_ns <= now_ns)
        return false;
    if (!l->clock->fake)
        arm_alarm(l, next_ns, now_ns);
    return true;
}

static void run_poll(struct loop *l, bool wait)
{
    int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
    if (!wait || !may_wait(l))
        flags |= EVLOOP_NONBLOCK;
    /* The first callback that asks reads the clock: it runs after the wait, inside this call. */
    l->now_known = false;
    if (event_base_loop(l->base, flags) < 0) {
        log_event(LOG_ERROR, "the loop cannot poll");
        abort();
    }
}

static void run_deferred(struct loop *l)
{
    l->running = l->deferred;
    l->deferred = (struct loop_queue){NULL, NULL};
    while (l->running.first) {
        struct loop_defer *d = l->running.first;
        l->running.first = d->next;
        d->next = NULL;
        d->queued = false;
        l->ran++;
        d->fn(d);
    }
    l->running.last = NULL;
}

static void run_turn(struct loop *l, bool wait)
{
    assert(!l->in_turn);
    l->in_turn = true;
    run_poll(l, wait);
    loop_refresh(l);
    loop_timers_run(l);
    run_deferred(l);
    l->in_turn = false;
}

static bool queue_remove(struct loop_queue *q, struct loop_defer *d)
{
    struct loop_defer *before = NULL;
    for (struct loop_defer *at = q->first; at; before = at, at = at->next) {
        if (at != d)
            continue;
        if (before)
            before->next = d->next;
        else
            q->first = d->next;
        if (q->last == d)
            q->last = before;
        return true;
    }
    return false;
}

struct loop *loop_new(const struct clock *clock, struct err *err)
{
    struct loop *l = xcalloc(1, sizeof(*l));
    l->clock = clock;
    l->alarm_ns = INT64_MAX;
    l->base = new_base();
    if (l->base)
        l->alarm = event_new(l->base, -1, 0, on_alarm, l);
    if (!l->alarm) {
        err_sys(err, ERR_INTERNAL, "make an event loop");
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    assert(!l->in_turn);
    if (l->alarm)
        event_free(l->alarm);
    if (l->base)
        event_base_free(l->base);
    loop_timers_deinit(l);
    free(l);
}

void loop_run(struct loop *l)
{
    while (!l->stopped)
        run_turn(l, true);
    l->stopped = false;
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
}

bool loop_turn(struct loop *l)
{
    uint64_t before = l->ran;
    run_turn(l, false);
    return l->ran != before;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

const struct clock *loop_clock(const struct loop *l)
{
    return l->clock;
}

int64_t loop_now_ns(const struct loop *l)
{
    /* A fake clock stands still by itself. */
    if (!l->in_turn || l->clock->fake)
        return clock_mono_ns(l->clock);
    if (!l->now_known)
        loop_refresh((struct loop *)l); /* a cache, not a change: no loop is ever defined const */
    return l->now_ns;
}

void loop_refresh(struct loop *l)
{
    l->now_ns = clock_mono_ns(l->clock);
    l->now_known = true;
}

void loop_defer(struct loop *l, struct loop_defer *d)
{
    assert(d->fn);
    if (d->queued)
        return;
    d->queued = true;
    d->next = NULL;
    if (l->deferred.last)
        l->deferred.last->next = d;
    else
        l->deferred.first = d;
    l->deferred.last = d;
}

void loop_defer_cancel(struct loop *l, struct loop_defer *d)
{
    if (!d->queued)
        return;
    bool found = queue_remove(&l->deferred, d) || queue_remove(&l->running, d);
    assert(found);
    (void)found;
    d->queued = false;
    d->next = NULL;
}
