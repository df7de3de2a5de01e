/* SPDX-License-Identifier: MIT */
/* Changes of breakers happen on whichever thread brings the result. They are told on the main one:
 * as a line in the log, and as an event of the host that policies can react to. To be forced is a
 * change too: it is what callers meet. */
#include "app/app.h"
#include "app/kept.h"
#include "script/host_events.h"

#include <stdlib.h>

struct change {
    struct mail mail;
    struct app *app;
    struct registry_change change;
};

static const char *event_of(const struct registry_change *c)
{
    if (c->was != c->is && c->is != REGISTRY_UNFORCED)
        return c->is == REGISTRY_FORCED_OPEN ? "BreakerOpened" : "BreakerClosed";
    if (c->to == BREAKER_HALF_OPEN)
        return "BreakerHalfOpened";
    if (c->to == BREAKER_CLOSED)
        return "BreakerClosed";
    return c->from == BREAKER_HALF_OPEN && c->was == c->is ? "BreakerReopened" : "BreakerOpened";
}

static struct str name_of(const struct registry_change *c, enum registry_force force,
                          enum breaker_state state)
{
    if (c->was == c->is || force == REGISTRY_UNFORCED)
        return str_from(breaker_state_name(state));
    return force == REGISTRY_FORCED_OPEN ? STR("forced_open") : STR("forced_closed");
}

static void emit(struct app *a, const struct registry_change *c)
{
    struct breaker_view v;
    registry_view(c->entry, c->now_ns, &v);
    const struct value values[] = {
        {.type = VALUE_TEXT, .s = registry_name(c->entry)},
        {.type = VALUE_TEXT, .s = name_of(c, c->was, c->from)},
        {.type = VALUE_TEXT, .s = name_of(c, c->is, c->to)},
        {.type = VALUE_INT, .i = v.health.errors},
        {.type = VALUE_INT, .i = v.health.total},
    };
    struct host_event e = {.type = event_of(c), .values = values, .count = 5};
    host_events_emit(a->store, a->program, clock_wall_ms(&a->clock), &e);
}

static void arrived(struct mail *m)
{
    struct change *c = list_entry(m, struct change, mail);
    log_event(LOG_WARN, "breaker changed", LOG_S("breaker", registry_name(c->change.entry)),
              LOG_S("state", name_of(&c->change, c->change.is, c->change.to)));
    if (!c->app->store_closed)
        emit(c->app, &c->change);
    kept_save_soon(c->app->kept);
    free(c);
}

void app_breaker_changed(void *ctx, const struct registry_change *change)
{
    struct app *a = ctx;
    struct change *c = xcalloc(1, sizeof(*c));
    *c = (struct change){.mail.run = arrived, .app = a, .change = *change};
    mailbox_post(a->mailbox, &c->mail);
}
