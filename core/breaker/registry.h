/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"
#include "breaker/breaker.h"

/* The breakers of the process by name: shared by all workers, a lock each, never held across a
 * call. */
struct registry;
struct registry_entry; /* a breaker with its lock and name; lives as long as the registry */

/* Returns owned. */
struct registry *registry_new(void);
/* Frees the entries too. */
void registry_free(struct registry *r);
/* Finds or makes the breaker. An existing one takes over the new conf and keeps its state and
 * window. */
struct registry_entry *registry_declare(struct registry *r, struct str name,
                                        const struct breaker_conf *conf, int64_t now_ns);
/* The entry, or NULL. */
struct registry_entry *registry_find(struct registry *r, struct str name);
/* Borrowed from the entry. */
struct str registry_name(const struct registry_entry *e);
struct breaker_conf registry_conf(struct registry_entry *e);

/* breaker_enter and breaker_leave under the entry's lock. */
enum breaker_verdict registry_enter(struct registry_entry *e, int64_t now_ns,
                                    struct breaker_permit *ret_permit, int64_t *ret_retry_ns);
bool registry_leave(struct registry_entry *e, int64_t now_ns, struct breaker_permit permit,
                    enum breaker_outcome outcome);
/* One consistent picture. */
void registry_read(struct registry_entry *e, int64_t now_ns, enum breaker_state *ret_state,
                   struct breaker_counts *ret_counts);
/* Visits in order of declaration: start with NULL; NULL at the end. */
struct registry_entry *registry_next(struct registry *r, struct registry_entry *after);
