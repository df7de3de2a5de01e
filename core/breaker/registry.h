/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"
#include "breaker/breaker.h"

/* The breakers of the process by name: shared by all workers, a lock each, never held across a
 * call. Settings come in four layers, as in Hystrix: built-in < for all breakers ("default": system
 * file, then administrator) < system file < administrator. */
struct registry;
struct registry_entry; /* a breaker with its lock and name; lives as long as the registry */

/* Returns owned. */
struct registry *registry_new(void);
/* Frees the entries too. */
void registry_free(struct registry *r);

/* What settings make of the state for callers. */
enum registry_force { REGISTRY_UNFORCED, REGISTRY_FORCED_OPEN, REGISTRY_FORCED_CLOSED };

/* A breaker has changed its state, or (from == to) by its settings what it is forced to. Runs
 * without its lock, on the thread of whoever brought it about; of two changes that follow closely
 * the second may be told first: epoch orders them. */
struct registry_change {
    struct registry_entry *entry;
    enum breaker_state from, to; /* as computed */
    enum registry_force was, is;
    uint64_t epoch;
    int64_t now_ns;
};
typedef void registry_change_fn(void *ctx, const struct registry_change *change);
/* Before other threads use it. */
void registry_on_change(struct registry *r, registry_change_fn *fn, void *ctx);

/* The system file's settings for all breakers; before those of single ones are declared. */
void registry_declare_default(struct registry *r, const struct breaker_layer *file, int64_t now_ns);
/* Finds or makes the breaker. An existing one takes over the new settings and keeps its state,
 * window and what the administrator has set; if that makes no sense with the new ones, it is
 * dropped. file must be sane over the defaults (registry_check). */
struct registry_entry *registry_declare(struct registry *r, struct str name,
                                        const struct breaker_layer *file, int64_t now_ns);
/* Would these settings of a system file make sense? */
int registry_check(const struct breaker_layer *file_default, const struct breaker_layer *file,
                   struct err *err);
/* The administrator's: lays changes over what was set before; settings in `forget` go back to the
 * file's. entry NULL: for all breakers. ERR_CONFIG names the breaker for which it makes no sense;
 * nothing has changed then. */
int registry_admin(struct registry *r, struct registry_entry *entry,
                   const struct breaker_layer *changes, uint64_t forget, int64_t now_ns,
                   struct err *err);
/* As if it had been open since before, for left_ns more at most: what was kept over a restart. */
void registry_restore_open(struct registry_entry *e, int64_t left_ns, int failed_trials,
                           int64_t now_ns);
/* The settings for all breakers: of the file, the administrator's over them. */
struct breaker_conf registry_default(struct registry *r);
/* What the administrator has set; entry NULL: for all. */
struct breaker_layer registry_admin_layer(struct registry *r, struct registry_entry *entry);

/* The entry, or NULL. */
struct registry_entry *registry_find(struct registry *r, struct str name);
/* Borrowed from the entry. */
struct str registry_name(const struct registry_entry *e);
/* The breaker, locked until registry_unlock, which tells what has changed. */
struct breaker *registry_lock(struct registry_entry *e);
void registry_unlock(struct registry_entry *e, int64_t now_ns);
/* One consistent picture. */
void registry_view(struct registry_entry *e, int64_t now_ns, struct breaker_view *ret);
/* Latencies of the body, and of the whole call with its fallback. */
void registry_latency(struct registry_entry *e, int64_t now_ns,
                      struct breaker_latency_view *ret_execute,
                      struct breaker_latency_view *ret_total);
/* Visits in order of declaration: start with NULL; NULL at the end. */
struct registry_entry *registry_next(struct registry *r, struct registry_entry *after);
