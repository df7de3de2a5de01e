/* SPDX-License-Identifier: MIT */
/* Views in memory begin with nothing at each start. This tells when they have all that was in the
 * log then: before that nobody should read them. */
#include "bus/inside.h"

/* Under the lock. What is held, or behind it, is not waited for: an event that fails for ever must
 * not keep a process from starting; nor is a service that was stopped on purpose. */
static bool is_behind(const struct bus_position *p, int64_t to)
{
    const struct bus_service *s = p->service;
    if (atomic_load(&s->stopped))
        return false;
    if (s->cursor < to)
        return true;
    for (size_t i = p->open_from; i < p->open_end && p->open[i].seq <= to; i++)
        if (p->open[i].state == BUS_OPEN || p->open[i].state == BUS_PENDING)
            return s->counted > 0;
    return false;
}

void bus_rebuild_look(struct bus *b)
{
    bool behind = false;
    if (atomic_load(&b->rebuilt))
        return;
    bus_lock(b);
    for (int i = 0; i < b->generation->policy_count && !behind; i++) {
        const struct bus_position *p = b->generation->positions[i];
        behind = p->in_memory && is_behind(p, b->rebuild_to);
    }
    bus_unlock(b);
    if (behind)
        return;
    atomic_store(&b->rebuilt, true);
    if (b->conf.rebuilt)
        b->conf.rebuilt(b->conf.rebuilt_ctx);
}

bool bus_service_is_rebuilt(struct bus *b, struct str service, int64_t to)
{
    bool behind = false;
    bus_lock(b);
    for (int i = 0; i < b->generation->policy_count && !behind; i++) {
        const struct bus_position *p = b->generation->positions[i];
        behind = p->in_memory && str_eq(p->service->name, service) && is_behind(p, to);
    }
    bus_unlock(b);
    return !behind;
}

bool bus_is_rebuilt(const struct bus *b)
{
    return atomic_load(&b->rebuilt);
}
