/* SPDX-License-Identifier: MIT */
/* The host speaks through the log like everybody else, so that what an operator did stands between
 * the events that it had to do with, and policies can react to it. */
#include "script/host_events.h"

#include "base/log.h"
#include "script/program.h"
#include "store/store.h"

#include <assert.h>

static void on_written(struct store_unit *u)
{
    if (u->verdict != STORE_COMMITTED)
        log_event(LOG_ERROR, "an event of the host could not be written",
                  LOG_S("event", u->events->type->name), LOG_C("error", u->err.message));
}

static void program_released(void *program)
{
    program_unref(program);
}

static struct value *copy_values(struct arena *a, const struct host_event *event)
{
    struct value *values = arena_zalloc(a, (size_t)(event->count + 1) * sizeof(*values));
    for (int i = 0; i < event->count; i++) {
        values[i] = event->values[i];
        if (values[i].type == VALUE_TEXT)
            values[i].s = arena_str(a, values[i].s);
    }
    return values;
}

static struct store_event *make_event(struct arena *a, const struct program *p, int64_t wall_ms,
                                      const struct host_event *event)
{
    const struct event_type *type = store_schema_event(&p->schema, str_from(event->type));
    struct store_event *e = arena_zalloc(a, sizeof(*e));
    struct buf text = BUF_INIT;
    assert(type && str_eq(type->service, HOST_EVENTS_SERVICE));
    assert(type->field_count == event->count);
    e->type = type;
    e->time_ms = wall_ms;
    e->generation = p->generation;
    e->correlation_id = arena_str(a, event->correlation_id);
    e->values = copy_values(a, event);
    store_event_write_key(&text, type, e->values);
    e->key = arena_str(a, buf_str(&text));
    buf_clear(&text);
    store_event_write_payload(&text, type, e->values, wall_ms);
    e->payload = arena_str(a, buf_str(&text));
    buf_deinit(&text);
    return e;
}

struct store_unit *host_events_unit(struct program *program, int64_t wall_ms,
                                    const struct host_event *event)
{
    struct store_unit *u = store_unit_new();
    u->events = make_event(u->arena, program, wall_ms, event);
    u->release = program_released;
    u->release_ctx = program_ref(program);
    return u;
}

void host_events_emit(struct store *store, struct program *program, int64_t wall_ms,
                      const struct host_event *event)
{
    struct store_unit *u = host_events_unit(program, wall_ms, event);
    u->done = on_written;
    store_submit(store, u, u);
}
