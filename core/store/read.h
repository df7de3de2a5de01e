/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/scope.h"

enum store_read_kind {
    STORE_READ_GET,   /* one row by id */
    STORE_READ_FIND,  /* rows by equality, ordered */
    STORE_READ_COUNT, /* how many match */
    STORE_READ_ID     /* waits for an id block; count is the id, of a timer if table is NULL */
};

#define STORE_CONDS 8
#define STORE_ORDERS 4
#define STORE_COLUMN_ID (-1)

struct store_cond {
    int column;         /* or STORE_COLUMN_ID */
    struct value value; /* VALUE_NULL matches null */
};

struct store_order {
    int column; /* or STORE_COLUMN_ID */
    bool descending;
};

/* One read. Embed it; zero it; fill the inputs. `done` runs exactly once, on the session's thread:
 * before store_read_start returns, or later. It must stay in place until then, unless cancelled. */
struct store_read {
    enum store_read_kind kind;
    const struct store_table *table;
    int64_t id; /* GET */
    struct store_cond conds[STORE_CONDS];
    int cond_count;
    int order_column; /* FIND: STORE_COLUMN_ID or a column, then `more`, then by id; the id in the
                         direction of the last one given */
    bool descending;
    struct store_order more[STORE_ORDERS - 1];
    int more_count;
    int64_t after_id; /* FIND by id ascending: only ids above; 0 = all */
    int64_t limit;    /* 0 = none */
    int64_t offset;
    struct arena *arena;             /* results live here */
    struct store_scope *scope;       /* whose changes are laid over, or NULL */
    struct store_snapshot *snapshot; /* read in this picture, or NULL for the newest commit */

    struct store_row **rows; /* results */
    size_t row_count;
    int64_t count;
    bool failed;
    struct err err;

    void (*done)(struct store_read *r);
    void *owner;
    struct loop_defer later; /* the engine's */
    struct store_read *next;
    struct store_session *session;
};

/* Starts r on the session's thread. */
void store_read_start(struct store_session *ss, struct store_read *r);
/* done will not run. Harmless when it has run already. */
void store_read_cancel(struct store_read *r);

/* One consistent picture for several reads, on a connection of its own. Returns owned. */
struct store_snapshot *store_snapshot_open(struct store_session *ss, struct err *err);
void store_snapshot_close(struct store_snapshot *sn);
