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
    void *memory_ctx; /* instead of ctx on the writer of the memory file, a thread of its own */
    /* Inside the transaction, after all accepted units were applied; may call store_tx_*. -1 fails
     * the batch. */
    int (*before_commit)(void *ctx, struct store_tx *tx, struct store_unit *accepted,
                         struct err *err);
    /* The transaction of a batch whose before_commit ran was rolled back. */
    void (*rolled_back)(void *ctx, struct store_unit *accepted);
    /* After COMMIT, before the owners of the units are told. May take references. */
    void (*committed)(void *ctx, struct store_unit *accepted);
    /* After the COMMIT of a store_switch, before anything else is committed: no event after it was
     * seen yet. */
    void (*switched)(void *ctx);
};

struct store_conf {
    const char *folder; /* holds moontide.db and moontide.lock; made if missing */
    const struct clock *clock;
    struct loop *inline_loop; /* NULL: a writer thread; else the writer runs deferred on this loop
                                 (specs, tests) */
    bool slow_reads;          /* the test engine: every read answers one loop turn later */
    /* Where the memory file goes: a file of its own with a writer of its own, for what can be made
     * again from the log. It is empty after every opening and gone after closing; what a crash left
     * goes with the next opening of the same folder. "": into the folder. NULL: there is none, and
     * nothing may be in_memory. */
    const char *memory_root;
};

/* Locks the folder, then opens and checks the file: ERR_LOCKED, ERR_CONFIG for a foreign or newer
 * file. Returns owned. */
struct store *store_open(const struct store_conf *conf, struct err *err);
/* Applies what is queued, gives back unused ids, closes. Sessions must be closed before. */
void store_close(struct store *s);
/* Before store_start: makes the tables, columns and indexes of the schema. A changed type is
 * ERR_CONFIG with both spellings. Borrows the schema
 * as store_switch does. */
int store_migrate(struct store *s, const struct store_schema *schema, struct err *err);

/* A durable policy as declared. */
struct store_switch_policy {
    struct str service, name;
    struct str renamed_from; /* or empty */
    const struct str *types; /* names of the events it wants */
    int type_count;
    bool from_first; /* a new one begins at the first event of the log instead of the newest */
    bool in_memory;  /* its row, position, held events and letters are in the memory file */
};

/* The next generation, as far as the store sees it. */
struct store_switch {
    const struct store_schema *schema;
    const struct store_switch_policy *policies;
    int policy_count;
    int64_t number;      /* 0: a new generation; else an older one becomes active again */
    struct str origin;   /* who wanted it ("reload"), kept with the generation */
    struct str sources;  /* kept with it too, opaque */
    bool dry_run;        /* changes nothing, but says what would change */
    struct arena *arena; /* where results live */
};

struct store_policy;

struct store_switched {
    int64_t
        generation; /* number of it; rises for ever in a data folder, dry runs give back theirs */
    int64_t seq;    /* newest event as of the switch; new policies begin after it */
    struct store_policy *policies; /* (store/log.h) in the order of those declared */
    int policy_count;
    struct str *changes; /* "add column orders.note text" */
    size_t change_count;
};

/* In one transaction: tables, columns and indexes of the schema as store_migrate, the durable rows
 * of the policies, and the row of the generation, which becomes the active one. Nothing was changed
 * when it fails: ERR_CONFIG says what cannot be, ERR_NOT_FOUND that `number` is not kept any more.
 * Policies that are missing keep their rows.
 *
 * Before store_start or while the writer runs; not from the writer's thread, and one at a time. It
 * blocks the caller, and the writer blocks for as long as it builds indexes: see
 * store_switch_prepare. A dry run builds none, and does not look whether the rows allow them.
 *
 * Units of the generations before go on being built and applied: they name their columns, and ids
 * come from the table's name. A new unique index refuses their rows too (STORE_EXISTS, without an
 * index). The schema is borrowed until the last unit, read and event that points to it is gone,
 * which the owner counts (store_unit.release); the store itself keeps no pointer to it. */
int store_switch(struct store *s, const struct store_switch *sw, struct store_switched *ret,
                 struct err *err);
/* Before store_switch while the writer runs, on any other thread, which it blocks: checks all that
 * the switch would refuse, and, unless dry_run, builds the missing indexes over columns that are
 * there already, each in a transaction of its own with batches of units in between. What was built
 * goes again when this fails, when the switch does, or by store_switch_forget. */
int store_switch_prepare(struct store *s, const struct store_switch *sw, struct err *err);
/* There will be no switch. Harmless when nothing was prepared. */
void store_switch_forget(struct store *s);
/* Sets the hooks and starts the writer. */
int store_start(struct store *s, const struct store_hooks *hooks, struct err *err);
/* Hands over units first..last (linked by next), in this order. Any thread; takes over one
 * reference of each, given back after done ran. */
void store_submit(struct store *s, struct store_unit *first, struct store_unit *last);
/* Units handed over and not yet decided. */
size_t store_queue_length(const struct store *s);

/* The next id of a table (NULL: of timers), from a durably reserved block. False: the block is used
 * up and more is on its way; try again with a STORE_READ_ID. Any thread, any generation. */
bool store_next_id(struct store *s, const struct store_table *t, int64_t *ret);

/* For the thread that runs loop. Returns owned. */
struct store_session *store_session_new(struct store *s, struct loop *loop, struct err *err);
void store_session_free(struct store_session *ss);
