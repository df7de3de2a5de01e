/* SPDX-License-Identifier: MIT */
/* A service that is stopped is to the bus what a policy is that has left (switch.c), for all of its
 * policies at once: workers drop what waits, the log keeps it, and on the way back it is read again
 * from where it was. */
#include "bus/inside.h"

bool bus_service_runs(const struct bus_position *p)
{
    return p->active && !atomic_load(&p->service->stopped);
}

static void tell_workers(struct bus *b)
{
    b->vanished++;
    for (int i = 0; i < b->conf.worker_count; i++)
        b->slots[i].switched = b->slots[i].worker != NULL;
}

void bus_service_stop(struct bus *b, struct str service)
{
    bus_lock(b);
    bus_switch_service(b, service, STR("")); /* what keeps it in mind */
    for (int i = 0; i < b->service_count; i++) {
        struct bus_service *s = b->services[i];
        if (!str_eq(s->name, service) || atomic_exchange(&s->stopped, true))
            continue;
        s->mode = BUS_BEHIND;
        s->reading = false;
        tell_workers(b);
    }
    bus_unlock(b);
    if (atomic_load(&b->started))
        bus_rebuild_look(b); /* nobody waits for its views any more */
}

/* Under the lock. */
static void go_on(struct bus *b, struct bus_service *s)
{
    for (int i = 0; i < s->position_count; i++) {
        struct bus_position *p = s->positions[i];
        if (s->cursor > p->seen) /* it was dispatched, or is a dropped one */
            p->seen = s->cursor;
    }
    bus_switch_restart(b->generation, s);
    b->load_held = true;
}

void bus_service_start(struct bus *b, struct str service)
{
    bool was = false;
    bus_lock(b);
    for (int i = 0; i < b->service_count; i++) {
        struct bus_service *s = b->services[i];
        if (!str_eq(s->name, service) || !atomic_exchange(&s->stopped, false))
            continue;
        was = true;
        go_on(b, s);
    }
    bus_unlock(b);
    if (was && atomic_load(&b->started) && !atomic_load(&b->stopping))
        bus_timers_added(b, 0);
}

bool bus_service_is_stopped(struct bus *b, struct str service)
{
    for (int i = 0; i < b->service_count; i++) {
        if (str_eq(b->services[i]->name, service))
            return atomic_load(&b->services[i]->stopped);
    }
    return false;
}
