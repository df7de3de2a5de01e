/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/unit.h"

/* A store: tables, the event log and its bookkeeping, one writer with group commit, readers per
 * thread. Engines stand behind this face: sqlite (core/store/sqlite/), and for tests the same one
 * answering every read a loop turn later. */
struct store;
struct store_session; /* one thread's reading side */
struct store_tx;      /* the writer's open transaction, inside before_commit */

/* Called on the writer's thread. `accepted` is linked by next and in commit order. */
struct store_hooks {
    void *ctx;
    /* Inside the transaction, after all accepted units were applied; may call store_tx_*. -1 fails
     * the batch. */
    int (*before_commit)(void *ctx, struct store_tx *tx, struct store_unit *accepted,
                         struct err *err);
    /* The transaction of a batch whose before_commit ran was rolled back. */
    void (*rolled_back)(void *ctx, struct store_unit *accepted);
    /* After COMMIT, before the owners of the units are told. May take references. */
    void (*committed)(void *ctx, struct store_unit *accepted);
};

struct store_conf {
    const char *folder; /* holds moontide.db and moontide.lock; made if missing */
    const struct clock *clock;
    struct loop *inline_loop; /* NULL: a writer thread; else the writer runs deferred on this loop
                                 (specs, tests) */
    bool slow_reads;          /* the test engine: every read answers one loop turn later */
};

/* Locks the folder, then opens and checks the file: ERR_LOCKED, ERR_CONFIG for a foreign or newer
 * file. Returns owned. */
struct store *store_open(const struct store_conf *conf, struct err *err);
/* Applies what is queued, gives back unused ids, closes. Sessions must be closed before. */
void store_close(struct store *s);
/* Before store_start: makes the tables, columns and indexes of the schema. A changed type is
 * ERR_CONFIG with both spellings. Borrows the schema until the store is closed or migrated again.
 */
int store_migrate(struct store *s, const struct store_schema *schema, struct err *err);
/* Sets the hooks and starts the writer. */
int store_start(struct store *s, const struct store_hooks *hooks, struct err *err);
/* Hands over units first..last (linked by next), in this order. Any thread; takes over one
 * reference of each, given back after done ran. */
void store_submit(struct store *s, struct store_unit *first, struct store_unit *last);
/* Units handed over and not yet decided. */
size_t store_queue_length(const struct store *s);

/* The next id of a table (STORE_TIMER_IDS: of timers), from a durably reserved block. False: the
 * block is used up and more is on its way; try again with a STORE_READ_ID. Any thread. */
#define STORE_TIMER_IDS (-1)
bool store_next_id(struct store *s, int table_number, int64_t *ret);

/* For the thread that runs loop. Returns owned. */
struct store_session *store_session_new(struct store *s, struct loop *loop, struct err *err);
void store_session_free(struct store_session *ss);
