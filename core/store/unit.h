/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/mailbox.h"
#include "store/schema.h"

#include <stdatomic.h>

/* A unit of work: everything one task changed. Built on a worker, applied by the writer, whole or
 * not at all. All it points to lives in its arena, so that it can cross threads and outlive its
 * task; the last reference frees it. */

struct store_row {
    int64_t id;
    int64_t version;       /* from 1, grows with every change */
    struct value values[]; /* one a field */
};

enum store_change_kind { STORE_INSERT, STORE_UPDATE, STORE_DELETE, STORE_ADD };

/* One column of a commutative change: column += delta, refused (STORE_BOUND) if the result leaves
 * min..max. */
struct store_add {
    struct store_add *next;
    int column;
    struct value delta;    /* VALUE_INT or VALUE_NUMBER */
    struct value min, max; /* VALUE_NULL = no bound */
};

/* What shall become of one row. A row has at most one change in a unit. */
struct store_change {
    struct store_change *next;
    const struct store_table *table;
    enum store_change_kind kind;
    int64_t id;
    int64_t base_version; /* UPDATE, DELETE: refused (STORE_CONFLICT) unless the row still has it */
    struct store_row *row;  /* INSERT, UPDATE: as it shall be */
    uint64_t mask;          /* UPDATE: the columns to write */
    struct store_add *adds; /* ADD; a row that is gone refuses with STORE_CONFLICT */
};

struct store_event {
    struct store_event *next;
    struct store_unit *unit; /* keeps this alive; NULL until submitted */
    const struct event_type *type;
    int64_t seq; /* 1.., given by the writer */
    int64_t time_ms;
    struct str key;            /* "order/42" */
    struct str correlation_id; /* may be empty */
    int64_t cause_seq;         /* event whose policy emitted this one; 0 = none */
    int64_t generation;
    struct str payload;   /* the JSON of the log */
    struct value *values; /* one a field of the type: what handlers see */
};

/* A durable timer: emits its event when due. */
struct store_timer {
    struct store_timer *next;
    int64_t id;
    int64_t due_ms; /* wall clock */
    struct store_event event;
    struct str damage; /* of one that was read: why it cannot be fired, or empty */
};

struct store_repeat;

/* What the bus wants written with a unit, and requests that may be repeated. */
enum store_note_kind {
    STORE_NOTE_DONE,   /* (policy, seq) is done; removes its held row, if any */
    STORE_NOTE_HELD,   /* writes or replaces the held row of (policy, seq) */
    STORE_NOTE_LETTER, /* writes a letter for (policy, seq), removes its held row; letter_id is
                          filled in */
    STORE_NOTE_LETTER_FAILED, /* letter_id failed again: new error and tries */
    STORE_NOTE_LETTER_GONE, /* removes letter_id (retried with success, or discarded); gone already
                               = STORE_CONFLICT */
    STORE_NOTE_REPEAT, /* keeps the answer of a request (store/repeat.h); one of its key is there
                          already = STORE_CONFLICT */
    STORE_NOTE_TIMER_GONE,      /* removes timer `seq`, which is being fired; gone already =
                                   STORE_CONFLICT */
    STORE_NOTE_TIMER_ASIDE,     /* keeps timer `seq`, which cannot be fired, but is never due again;
                                  gone already = STORE_CONFLICT */
    STORE_NOTE_SERVICE_STOPPED, /* service `key` stays stopped, over restarts too, until */
    STORE_NOTE_SERVICE_STARTED
};

struct store_note {
    struct store_note *next;
    enum store_note_kind kind;
    int64_t policy; /* durable number of the policy */
    int64_t seq;
    int64_t letter_id;
    int tries;
    int64_t next_at_ms;                   /* HELD: wall clock of the next try */
    struct str key;                       /* "service\0key"-free: the event's key */
    struct str error_code, error, origin; /* origin: "script:line" */
    int64_t time_ms, generation;
    const struct store_repeat *repeat; /* REPEAT */
};

enum store_verdict {
    STORE_COMMITTED,
    STORE_CONFLICT, /* `refused` has moved on or is gone */
    STORE_EXISTS,   /* `refused` would be a second one with the same unique values (`refused_index`;
                       -1: by an index that its own schema does not know) */
    STORE_BOUND,    /* `refused` would leave its bounds */
    STORE_FAILED    /* `err` says why; nothing was changed */
};

struct store_unit {
    struct store_unit *next; /* in a queue or batch */
    struct arena *arena;
    atomic_int refs;

    struct store_change *changes; /* in order of first change */
    struct store_event *events;   /* in order of emission */
    struct store_timer *timers;
    int64_t *cancels; /* ids of timers to remove; those that are gone are passed over */
    int cancel_count;
    struct store_note *notes;
    bool in_memory; /* for the memory file: its tables and the notes of its policies alone */

    enum store_verdict verdict;
    const struct store_change *refused;
    int refused_index; /* EXISTS: number in the table's indexes; BOUND: the column */
    struct err err;

    struct mailbox *home;               /* where done runs; NULL: on the writer's thread */
    void (*done)(struct store_unit *u); /* may drop the last reference */
    struct mail mail;                   /* the store's */
    void *owner;

    /* Runs once the last reference is gone and the memory given back, on whatever thread that was:
     * whoever owns the schema that the unit points to counts by it. May be NULL. */
    void (*release)(void *ctx);
    void *release_ctx;
};

/* A new empty unit with one reference. */
struct store_unit *store_unit_new(void);
struct store_unit *store_unit_ref(struct store_unit *u);
void store_unit_unref(struct store_unit *u);
/* Nothing to write? Such a unit needs no commit. */
bool store_unit_is_empty(const struct store_unit *u);
/* Appends a note (zeroed, allocated from the unit). */
struct store_note *store_unit_note(struct store_unit *u, enum store_note_kind kind);
/* A row with all values null. */
struct store_row *store_row_new(struct arena *a, const struct store_table *t);
struct store_row *store_row_copy(struct arena *a, const struct store_table *t,
                                 const struct store_row *row);
