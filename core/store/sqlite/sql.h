/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "store/read.h"

#include <sqlite3.h>

/* The SQL of the engine: every statement that is prepared more than once has a kind and is spelled
 * here. */
enum sqlite_stmt_kind {
    /* Of a table; the key says of which, and its shape. */
    SQL_INSERT,
    SQL_UPDATE, /* a: mask of columns */
    SQL_DELETE,
    SQL_ADD,   /* a, b, c: masks of columns, of those with a minimum, of those with a maximum */
    SQL_TAKEN, /* a: number of a unique index */
    SQL_GET,
    SQL_FIND,  /* a: columns of the conditions, a byte each; b: bits of those that are null; c: what
                  follows `order`, a byte each: column + 2, high bit when descending */
    SQL_COUNT, /* the same */
    SQL_SYSTEM, /* from here on: no table, one fixed text each */
    SQL_BEGIN = SQL_SYSTEM,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVEPOINT,
    SQL_ROLLBACK_TO,
    SQL_RELEASE,
    SQL_MARK,
    SQL_MARK_READ,
    SQL_EVENT,
    SQL_EVENT_GONE,
    SQL_HELD,
    SQL_HELD_GONE,
    SQL_LETTER,
    SQL_LETTER_FAILED,
    SQL_LETTER_GONE,
    SQL_TIMER,
    SQL_TIMER_GONE,
    SQL_TIMER_ASIDE,
    SQL_SERVICE_STOPPED,
    SQL_SERVICE_STARTED,
    SQL_REPEAT,
    SQL_REPEATS_GONE,
    SQL_REPEAT_READ,
    SQL_POSITION,
    SQL_IDS_READ,
    SQL_IDS,
    SQL_POLICY_READ,
    SQL_POLICY_RENAME,
    SQL_POLICY_NEW,
    SQL_SINCE_READ,
    SQL_SINCE,
    SQL_SINCE_GONE,
    SQL_GENERATION_NEW,
    SQL_GENERATION_AGAIN,
    SQL_GENERATION_ACTIVE,
    SQL_GENERATIONS_OLD,
    SQL_GENERATIONS_READ,
    SQL_GENERATION_READ,
    SQL_HELD_READ,
    SQL_EVENTS_READ,
    SQL_EVENTS_OLD,
    SQL_LOW,
    SQL_HOLES_READ,
    SQL_HANDLED_READ,
    SQL_LETTERS_READ,
    SQL_LETTER_READ,
    SQL_LETTER_COUNTS,
    SQL_HELD_COUNTS,
    SQL_EVENT_TYPE,
    SQL_TIMERS_READ,
    SQL_STOPPED_READ,
    SQL_KINDS
};

#define SQL_DESCENDING 1 /* flags of SQL_FIND */
#define SQL_AFTER 2

struct sqlite_stmt_key {
    const struct store_table *table;
    uint8_t kind, flags, count;
    int8_t order; /* column, or STORE_COLUMN_ID */
    uint64_t a, b, c;
};

/* Appends the statement's text. */
void sqlite_sql_write(struct buf *out, const struct sqlite_stmt_key *key);
/* "name" with its quotes doubled; "service.name" of a table. */
void sqlite_sql_quote(struct buf *out, struct str name);
void sqlite_sql_table(struct buf *out, const struct store_table *t);
/* INTEGER, REAL or TEXT. */
const char *sqlite_sql_type(enum field_type type);
/* The tables of the system, made with the file. */
const char *sqlite_sql_system(void);
/* Those that came later, made in a file that does not have them yet. */
const char *sqlite_sql_added(void);
