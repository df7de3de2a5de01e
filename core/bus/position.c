/* SPDX-License-Identifier: MIT */
/* How far a policy is: a high mark, and below it the events that were seen and are not done. Events
 * are opened in ascending order and done in any, so the open ones are a sorted vector in which what
 * is done only gets marked; that also makes it trivial to take back what a rolled back transaction
 * had marked. */
#include "base/mem.h"
#include "bus/inside.h"

#include <assert.h>
#include <stdlib.h>

static struct bus_open *find(const struct bus_position *p, int64_t seq)
{
    size_t low = p->open_from, end = p->open_end;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        if (p->open[middle].seq < seq)
            low = middle + 1;
        else
            end = middle;
    }
    return low < p->open_end && p->open[low].seq == seq ? &p->open[low] : NULL;
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

void bus_position_open(struct bus_position *p, int64_t seq)
{
    assert(p->open_end == p->open_from || p->open[p->open_end - 1].seq < seq);
    if (p->open_end == p->open_cap && p->open_count <= p->open_cap / 2)
        compact(p);
    vec_reserve(&p->open, &p->open_cap, p->open_end + 1, sizeof(*p->open));
    p->open[p->open_end++] = (struct bus_open){seq, BUS_OPEN};
    p->open_count++;
    if (p->hole_next < p->hole_count && p->holes[p->hole_next] == seq)
        p->hole_next++;
}

bool bus_position_is_open(const struct bus_position *p, int64_t seq)
{
    const struct bus_open *o = find(p, seq);
    return o && o->state != BUS_GONE;
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

size_t bus_position_holes(const struct bus_position *p, int64_t **ret, size_t *cap)
{
    size_t n = 0;
    vec_reserve(ret, cap, p->open_count + p->hole_count + 1, sizeof(**ret));
    for (size_t i = p->open_from; i < p->open_end && p->open[i].seq < p->high; i++) {
        if (p->open[i].state == BUS_OPEN)
            (*ret)[n++] = p->open[i].seq;
    }
    /* Those not dispatched yet are above all that were. */
    for (size_t i = p->hole_next; i < p->hole_count; i++)
        (*ret)[n++] = p->holes[i];
    return n;
}

bool bus_position_wants(const struct bus_position *p, int64_t seq, size_t hole)
{
    return seq > p->start_high || (hole < p->hole_count && p->holes[hole] == seq);
}

void bus_position_free(struct bus_position *p)
{
    free(p->open);
    p->open = NULL;
}
