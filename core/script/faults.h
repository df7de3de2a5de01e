/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/json.h"

/* The operator's faults (`/admin/faults`): delays and errors put on calls as they enter a service,
 * over HTTP or from a sibling, inside the caller's timeout. Shared by all workers, lost at restart.
 */
struct faults;

/* What to do to one call: wait delay_ns, then fail if fail is set. */
struct faults_roll {
    int64_t delay_ns;
    bool fail;
};

/* Without any fault. Returns owned. */
struct faults *faults_new(void);
void faults_free(struct faults *f);
/* Replaces the whole table by {"payment":{"delay_ms":[400,620],"error_rate":0.1}}; delay_ms is a
 * number or [low, high]. ERR_INVALID names service and member; nothing changed then. services: the
 * names that exist, NULL ends. */
int faults_set(struct faults *f, const struct json *table, const struct str *services, size_t count,
               struct err *err);
void faults_clear(struct faults *f);
/* The table as it was set, as JSON. */
void faults_write(struct faults *f, struct buf *out);
/* Rolls the dice for one call into service. False if nothing is to be done (cheap when the table is
 * empty). */
bool faults_roll(struct faults *f, struct str service, struct faults_roll *ret);
