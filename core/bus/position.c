/* SPDX-License-Identifier: MIT */
/* How far a policy is: a high mark, and below it the events that were seen and are not done. Events
 * are opened in ascending order and done in any, so the open ones are a sorted vector in which what
 * is done only gets marked; that also makes it trivial to take back what a rolled back transaction
 * had marked. */
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Index of the first one that is not below seq. */
static size_t lower_bound(const struct bus_position *p, int64_t seq)
{
    size_t low = p->open_from, end = p->open_end;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        if (p->open[middle].seq < seq)
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static struct bus_open *find(const struct bus_position *p, int64_t seq)
{
    size_t at = lower_bound(p, seq);
    return at < p->open_end && p->open[at].seq == seq ? &p->open[at] : NULL;
}

static void compact(struct bus_position *p)
{
    size_t n = 0;
    for (size_t i = p->open_from; i < p->open_end; i++) {
        if (p->open[i].state != BUS_GONE)
            p->open[n++] = p->open[i];
    }
    p->open_from = 0;
    p->open_end = n;
}

static void add(struct bus_position *p, int64_t seq, enum bus_open_state state)
{
    if (p->open_end == p->open_cap && p->open_count + p->dropped_count <= p->open_cap / 2)
        compact(p);
    vec_reserve(&p->open, &p->open_cap, p->open_end + 1, sizeof(*p->open));
    size_t at = lower_bound(p, seq); /* the end, but for a policy that has something to catch up */
    memmove(&p->open[at + 1], &p->open[at], (p->open_end - at) * sizeof(*p->open));
    p->open[at] = (struct bus_open){seq, state};
    p->open_end++;
}

void bus_position_restore(struct bus_position *p, const int64_t *holes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(p, holes[i], BUS_DROPPED);
    p->dropped_count = count;
}

void bus_position_open(struct bus_position *p, int64_t seq)
{
    struct bus_open *o = find(p, seq);
    p->open_count++;
    if (!o) {
        add(p, seq, BUS_OPEN);
        return;
    }
    assert(o->state == BUS_DROPPED);
    o->state = BUS_OPEN;
    p->dropped_count--;
}

bool bus_position_is_open(const struct bus_position *p, int64_t seq)
{
    const struct bus_open *o = find(p, seq);
    return o && (o->state == BUS_OPEN || o->state == BUS_PENDING);
}

bool bus_position_mark(struct bus_position *p, int64_t seq)
{
    struct bus_open *o = find(p, seq);
    if (!o || o->state != BUS_OPEN)
        return false;
    o->state = BUS_PENDING;
    p->pending_count++;
    return true;
}

void bus_position_settle(struct bus_position *p, int64_t seq, bool committed)
{
    struct bus_open *o = find(p, seq);
    assert(o && o->state == BUS_PENDING);
    o->state = committed ? BUS_GONE : BUS_OPEN;
    p->pending_count--;
    if (!committed)
        return;
    p->open_count--;
    while (p->open_from < p->open_end && p->open[p->open_from].state == BUS_GONE)
        p->open_from++;
    if (p->open_from == p->open_end)
        p->open_from = p->open_end = 0;
}

bool bus_position_drop(struct bus_position *p, int64_t seq)
{
    struct bus_open *o = find(p, seq);
    if (!o || o->state != BUS_OPEN)
        return false;
    o->state = BUS_DROPPED;
    p->open_count--;
    p->dropped_count++;
    return true;
}

int64_t bus_position_next_dropped(const struct bus_position *p, int64_t seq)
{
    if (p->dropped_count == 0)
        return INT64_MAX;
    for (size_t i = lower_bound(p, seq + 1); i < p->open_end; i++) {
        if (p->open[i].state == BUS_DROPPED)
            return p->open[i].seq;
    }
    return INT64_MAX;
}

size_t bus_position_holes(const struct bus_position *p, int64_t **ret, size_t *cap)
{
    size_t n = 0;
    vec_reserve(ret, cap, p->open_count + p->dropped_count + 1, sizeof(**ret));
    for (size_t i = p->open_from; i < p->open_end && p->open[i].seq < p->high; i++) {
        if (p->open[i].state == BUS_OPEN || p->open[i].state == BUS_DROPPED)
            (*ret)[n++] = p->open[i].seq;
    }
    return n;
}

void bus_position_free(struct bus_position *p)
{
    free(p->open);
    p->open = NULL;
}
