/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/store.h"

struct store_read;

/* Work in progress. A task has a root scope; the body of a breaker call, a joined call and unit()
 * open one inside the current one. Closing merges into the parent, dropping forgets. Reads see the
 * changes of the scope and its parents. */
struct store_scope {
    struct store_scope *parent; /* NULL: the root */
    struct store_unit *unit;    /* whose arena everything lives in; borrowed by inner scopes */
    struct store_change *first, **last;
    struct store_event *events, **events_last;
    struct store_timer *timers, **timers_last;
    int64_t *cancels;
    int cancel_count, cancel_cap;
    int change_count, event_count; /* of this scope alone */
    uint64_t tables;               /* bit number % 64 is set for each table that was changed */
    void *index;                   /* (table, id) -> change, made when there are many */
    struct store_seen *seen;       /* root only: versions first read */
};

/* Opens inside parent (NULL: a root, with a new unit). Allocated from the unit's arena. */
struct store_scope *store_scope_open(struct store_scope *parent);
/* Merges into the parent, in order. For the root: moves everything into its unit and returns it
 * (returns owned); else returns NULL. */
struct store_unit *store_scope_close(struct store_scope *s);
/* Forgets what this scope did. For the root: drops the unit. */
void store_scope_drop(struct store_scope *s);

/* The change of that row in this scope or a parent, or NULL. */
const struct store_change *store_scope_find(const struct store_scope *s,
                                            const struct store_table *t, int64_t id);
/* Like store_scope_find, in this scope alone. */
const struct store_change *store_scope_find_here(const struct store_scope *s,
                                                 const struct store_table *t, int64_t id);
/* Has this scope or a parent changes on the table? Engines then read it without limit and offset
 * (COUNT: as rows), and store_scope_overlay cuts. */
bool store_scope_touches(const struct store_scope *s, const struct store_table *t);
/* The base version that a change of a row read as `version` must carry: that of the task's first
 * read of the row. Records the read if it is the first. */
int64_t store_scope_seen(struct store_scope *s, const struct store_table *t, int64_t id,
                         int64_t version);

/* Changes. Rows belong to the scope afterwards and must be of its arena. base is the row as the
 * task sees it (with the scope's own changes), version that of the task's first read. */
void store_scope_insert(struct store_scope *s, const struct store_table *t, struct store_row *row);
void store_scope_update(struct store_scope *s, const struct store_table *t,
                        const struct store_row *base, struct store_row *row, uint64_t mask);
void store_scope_delete(struct store_scope *s, const struct store_table *t,
                        const struct store_row *base);
/* On a row that the task itself inserted or updated: the caller must use update instead
 * (store_scope_find tells). Consumes adds, which are of the scope's arena. */
void store_scope_add(struct store_scope *s, const struct store_table *t, int64_t id,
                     struct store_add *adds);
void store_scope_emit(struct store_scope *s, struct store_event *e);
void store_scope_timer(struct store_scope *s, struct store_timer *t);
void store_scope_cancel(struct store_scope *s, int64_t timer_id);

/* Ids of rows that r lacks and that may match it once the scope's additions are laid over; in
 * r->arena. An engine appends these rows, as committed, before the overlay. */
size_t store_scope_added(const struct store_read *r, int64_t **ret_ids);
/* Lays the scope's changes over what a finished read found (r->scope); part of every engine's read.
 * Where a FIND or COUNT touches (store_scope_touches), r->rows must be all rows that match, without
 * limit and offset, and those of store_scope_added; then rows are filtered, ordered and cut here,
 * and a COUNT's count is made of them. Changed rows are copied to r->arena. */
void store_scope_overlay(struct store_read *r);
