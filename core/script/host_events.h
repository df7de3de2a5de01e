/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/value.h"

/* Events of the host itself: what an operator did, what a guard decided. They are of service
 * "moontide", lie in the log with all others and reach policies like them, but GET /admin/events
 * lists them only when it is asked for the type or the service.
 *
 * To add one: a line in core/script/lua/host_events.lua (name, key, fields in their order), a row
 * in docs/reference/admin.md ("Events of the host"), and a call of host_events_emit where it
 * happens. */
#define HOST_EVENTS_SERVICE STR("moontide")

struct program;
struct store;
struct store_unit;

struct host_event {
    const char *type;           /* as declared there; another one is a defect */
    const struct value *values; /* copied; one a declared field, in their order; not null for the
                                   field that is the key */
    int count;
    struct str correlation_id; /* copied; may be empty */
};

/* A unit with the event and nothing else yet; the caller adds what must commit with it, and submits
 * it. Returns owned. */
struct store_unit *host_events_unit(struct program *program, int64_t wall_ms,
                                    const struct host_event *event);
/* Hands the event to the store as a unit of its own and does not wait: it is in the log a moment
 * later, or an error line says why not. program: the one that is live for the caller (app->program
 * on the main thread, host->program on a worker's); a reference is kept while the unit lives. Any
 * thread, after store_start. */
void host_events_emit(struct store *store, struct program *program, int64_t wall_ms,
                      const struct host_event *event);
