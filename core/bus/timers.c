/* SPDX-License-Identifier: MIT */
/* Durable timers. A timer that is due becomes an event in the transaction that removes it, so that
 * it fires once whatever happens; and the next ones are read only after the last ones were decided,
 * so that they fire in order and none is submitted twice. */
#include "base/log.h"
#include "base/mem.h"
#include "bus/inside.h"

#define WINDOW 256
#define PAUSE_MS 1000             /* after a read or write that failed */
#define LOOK_AGAIN_MS (60 * 1000) /* the wall clock may be set meanwhile */

static void arm(struct bus *b, int64_t in_ms)
{
    struct loop *l = b->conf.main_loop;
    if (in_ms > LOOK_AGAIN_MS)
        in_ms = LOOK_AGAIN_MS;
    if (in_ms < 0)
        in_ms = 0;
    loop_timer_start(l, &b->timers.alarm, loop_now_ns(l) + in_ms * NS_PER_MS);
}

static void arm_for_next(struct bus *b)
{
    if (b->timers.next_due_ms == INT64_MAX)
        loop_timer_stop(b->conf.main_loop, &b->timers.alarm);
    else
        arm(b, b->timers.next_due_ms - clock_wall_ms(b->clock));
}

static void read_later(struct bus *b)
{
    b->timers.next_due_ms = 0;
    arm(b, PAUSE_MS);
}

static void fire_due(struct bus *b);

static void on_fired(struct store_unit *u)
{
    struct bus *b = u->owner;
    struct bus_timers *t = &b->timers;
    t->in_flight--;
    if (u->verdict == STORE_FAILED) {
        log_event(LOG_WARN, "a timer could not be fired", LOG_C("error", u->err.message));
        t->failed = true;
    }
    if (t->in_flight > 0 || atomic_load(&b->stopping))
        return;
    if (t->failed)
        read_later(b);
    else
        fire_due(b);
    t->failed = false;
}

static struct store_unit *unit_of(struct bus *b, const struct store_timer *timer)
{
    struct store_unit *u = store_unit_new();
    bool damaged = timer->damage.n > 0;
    store_unit_note(u, damaged ? STORE_NOTE_TIMER_ASIDE : STORE_NOTE_TIMER_GONE)->seq = timer->id;
    if (damaged) {
        log_event(LOG_ERROR, "a timer is damaged and is set aside", LOG_I("timer", timer->id),
                  LOG_S("key", timer->event.key), LOG_S("error", timer->damage));
    } else if (timer->event.type && timer->event.values) {
        struct store_event *e = arena_zalloc(u->arena, sizeof(*e));
        bus_set_copy_event(u->arena, &timer->event, e);
        e->time_ms = clock_wall_ms(b->clock);
        u->events = e;
        u->release = bus_generation_unref;
        u->release_ctx = bus_generation_ref(b->generation);
    } else {
        log_event(LOG_WARN, "a timer's event is not declared any more and is dropped",
                  LOG_I("timer", timer->id), LOG_S("key", timer->event.key));
    }
    u->home = b->conf.main_mailbox;
    u->done = on_fired;
    u->owner = b;
    return u;
}

static void submit(struct bus *b, const struct store_timer *timers, size_t count)
{
    struct store_unit *first = NULL, **end = &first, *last = NULL;
    for (size_t i = 0; i < count; i++) {
        last = unit_of(b, &timers[i]);
        *end = last;
        end = &last->next;
    }
    b->timers.in_flight = (int)count;
    store_submit(b->conf.store, first, last);
}

/* What a service that is being stopped would emit waits; once it is stopped, the store passes it
 * over. */
static size_t leave_out_stopped(struct bus *b, struct store_timer *timers, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct event_type *type = timers[i].event.type;
        if (!type || !bus_service_is_stopped(b, type->service))
            timers[n++] = timers[i];
    }
    return n;
}

static void fire_due(struct bus *b)
{
    size_t due;
    struct arena *a = arena_new(0);
    struct store_timer *timers;
    size_t count;
    struct err err;
    if (store_log_timers(b->session, a, b->generation->schema, clock_wall_ms(b->clock), WINDOW,
                         &timers, &count, &b->timers.next_due_ms, &err) < 0) {
        log_event(LOG_ERROR, "timers cannot be read", LOG_C("error", err.message));
        read_later(b);
    } else if ((due = leave_out_stopped(b, timers, count)) > 0) {
        submit(b, timers, due);
    } else if (count > 0) {
        read_later(b);
    } else {
        arm_for_next(b);
    }
    arena_free(a);
}

static void on_alarm(struct loop_timer *timer)
{
    struct bus *b = list_entry(timer, struct bus, timers.alarm);
    if (b->timers.in_flight > 0) /* their end goes on */
        return;
    if (clock_wall_ms(b->clock) < b->timers.next_due_ms)
        arm_for_next(b);
    else
        fire_due(b);
}

void bus_timers_start(struct bus *b)
{
    b->timers.alarm.fn = on_alarm;
    b->timers.next_due_ms = INT64_MAX;
    fire_due(b);
}

void bus_timers_added(struct bus *b, int64_t due_ms)
{
    if (due_ms >= b->timers.next_due_ms)
        return;
    b->timers.next_due_ms = due_ms;
    if (b->timers.in_flight == 0)
        arm_for_next(b);
}

void bus_timers_stop(struct bus *b)
{
    loop_timer_stop(b->conf.main_loop, &b->timers.alarm);
}
