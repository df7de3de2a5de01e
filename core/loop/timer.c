/* SPDX-License-Identifier: MIT */
/* Timers are a binary heap of pointers into their owners' memory: arming, moving and stopping
 * allocate nothing and cost O(log n), which matters because nearly every timer (a request's
 * deadline, an idle connection) is stopped or moved before it fires. A timer phase first takes out
 * all that is due, so that a timer armed for "now" by a callback waits for the next turn, and
 * neither the sockets nor the other due timers can starve. */
#include "loop/timer.h"

#include "base/mem.h"
#include "loop/inside.h"

#include <assert.h>
#include <stdlib.h>

/* Slots from here on are places in the due array instead of the heap. */
#define DUE_SLOTS (SIZE_MAX / 2 + 1)

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void put(struct loop_timers *ts, size_t slot, struct loop_timer *t)
{
    ts->heap[slot] = t;
    t->slot = slot;
}

/* Finds the place of t, starting from the hole at slot. */
static void sift_up(struct loop_timers *ts, size_t slot, struct loop_timer *t)
{
    while (slot > 1 && is_before(t, ts->heap[slot / 2])) {
        put(ts, slot, ts->heap[slot / 2]);
        slot /= 2;
    }
    put(ts, slot, t);
}

static void sift_down(struct loop_timers *ts, size_t slot, struct loop_timer *t)
{
    for (;;) {
        size_t child = slot * 2;
        if (child > ts->count)
            break;
        if (child < ts->count && is_before(ts->heap[child + 1], ts->heap[child]))
            child++;
        if (!is_before(ts->heap[child], t))
            break;
        put(ts, slot, ts->heap[child]);
        slot = child;
    }
    put(ts, slot, t);
}

static void heap_fill(struct loop_timers *ts, size_t slot, struct loop_timer *t)
{
    if (slot > 1 && is_before(t, ts->heap[slot / 2]))
        sift_up(ts, slot, t);
    else
        sift_down(ts, slot, t);
}

static void heap_remove(struct loop_timers *ts, struct loop_timer *t)
{
    size_t slot = t->slot;
    assert(slot >= 1 && slot <= ts->count && ts->heap[slot] == t);
    struct loop_timer *last = ts->heap[ts->count--];
    if (last != t)
        heap_fill(ts, slot, last);
    t->slot = 0;
}

static void take_due(struct loop_timers *ts, int64_t now_ns)
{
    assert(ts->due_next == ts->due_count);
    ts->due_next = ts->due_count = 0;
    while (ts->count > 0 && ts->heap[1]->at_ns <= now_ns) {
        struct loop_timer *t = ts->heap[1];
        heap_remove(ts, t);
        vec_reserve(&ts->due, &ts->due_cap, ts->due_count + 1, sizeof(*ts->due));
        ts->due[ts->due_count] = t;
        t->slot = DUE_SLOTS + ts->due_count++;
    }
}

void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t at_ns)
{
    struct loop_timers *ts = &l->timers;
    assert(t->fn);
    if (t->slot >= DUE_SLOTS)
        loop_timer_stop(l, t);
    t->at_ns = at_ns;
    t->order = ts->order++;
    if (t->slot) {
        heap_fill(ts, t->slot, t);
        return;
    }
    vec_reserve(&ts->heap, &ts->heap_cap, ts->count + 2, sizeof(*ts->heap));
    sift_up(ts, ++ts->count, t);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    struct loop_timers *ts = &l->timers;
    if (t->slot >= DUE_SLOTS) {
        assert(ts->due[t->slot - DUE_SLOTS] == t);
        ts->due[t->slot - DUE_SLOTS] = NULL;
        t->slot = 0;
    } else if (t->slot) {
        heap_remove(ts, t);
    }
}

int64_t loop_timer_next_ns(const struct loop *l)
{
    const struct loop_timers *ts = &l->timers;
    int64_t next_ns = ts->count > 0 ? ts->heap[1]->at_ns : INT64_MAX;
    for (size_t i = ts->due_next; i < ts->due_count; i++) {
        if (ts->due[i]) /* they are in order */
            return ts->due[i]->at_ns < next_ns ? ts->due[i]->at_ns : next_ns;
    }
    return next_ns;
}

void loop_timers_run(struct loop *l)
{
    struct loop_timers *ts = &l->timers;
    take_due(ts, l->now_ns);
    while (ts->due_next < ts->due_count) {
        struct loop_timer *t = ts->due[ts->due_next++];
        if (!t)
            continue;
        t->slot = 0;
        l->ran++;
        t->fn(t);
    }
}

void loop_timers_deinit(struct loop *l)
{
    free(l->timers.heap);
    free(l->timers.due);
    l->timers = (struct loop_timers){0};
}
