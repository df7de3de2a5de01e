/* SPDX-License-Identifier: MIT */

/* The rows of the system that commit with a unit: events, timers, and what the bus notes about
 * deliveries. Written with the effects, so that no crash can lose one and keep the other. */

#include "store/sqlite/engine.h"

#include <assert.h>

static int run(struct store *s, sqlite3_stmt *stmt, struct err *err)
{
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "write", err);
}

/* Parameters 1, and 2 if it is not negative. */
static int run_ids(struct store *s, enum sqlite_stmt_kind kind, int64_t first, int64_t second,
                   struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, kind, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, first);
    if (second >= 0)
        sqlite3_bind_int64(stmt, 2, second);
    return run(s, stmt, err);
}

/* Removes a row that only one unit may remove, or puts it aside: 1 if it is gone already. */
static int take_away(struct store *s, enum sqlite_stmt_kind kind, int64_t id, struct err *err)
{
    if (run_ids(s, kind, id, -1, err) < 0)
        return -1;
    return sqlite3_changes(s->conn.db) == 0;
}

static void bind_error(sqlite3_stmt *stmt, int at, const struct store_note *n)
{
    sqlite_stmts_bind_text(stmt, at, n->error_code);
    sqlite_stmts_bind_text(stmt, at + 1, n->error);
    sqlite_stmts_bind_text(stmt, at + 2, n->origin);
    sqlite3_bind_int64(stmt, at + 3, n->time_ms);
    sqlite3_bind_int64(stmt, at + 4, n->generation);
}

static int write_held(struct store *s, const struct store_note *n, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_HELD, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, n->policy);
    sqlite3_bind_int64(stmt, 2, n->seq);
    sqlite_stmts_bind_text(stmt, 3, n->key);
    sqlite3_bind_int(stmt, 4, n->tries);
    sqlite3_bind_int64(stmt, 5, n->next_at_ms);
    bind_error(stmt, 6, n);
    return run(s, stmt, err);
}

static int write_letter(struct store *s, struct store_note *n, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_LETTER, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, n->policy);
    sqlite3_bind_int64(stmt, 2, n->seq);
    sqlite_stmts_bind_text(stmt, 3, n->key);
    sqlite3_bind_int(stmt, 4, n->tries);
    bind_error(stmt, 5, n);
    if (run(s, stmt, err) < 0)
        return -1;
    n->letter_id = sqlite3_last_insert_rowid(s->conn.db);
    return run_ids(s, SQL_HELD_GONE, n->policy, n->seq, err);
}

static int write_letter_failed(struct store *s, const struct store_note *n, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_LETTER_FAILED, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, n->letter_id);
    sqlite3_bind_int(stmt, 2, n->tries);
    bind_error(stmt, 3, n);
    return run(s, stmt, err);
}

static int write_service(struct store *s, enum sqlite_stmt_kind kind, struct str service,
                         struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, kind, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, service);
    return run(s, stmt, err);
}

bool sqlite_notes_refusable(const struct store_note *n)
{
    return n->kind == STORE_NOTE_LETTER_GONE || n->kind == STORE_NOTE_TIMER_GONE ||
           n->kind == STORE_NOTE_TIMER_ASIDE || n->kind == STORE_NOTE_REPEAT;
}

int sqlite_notes_write(struct store *s, struct store_note *n, struct err *err)
{
    switch (n->kind) {
    case STORE_NOTE_DONE:
        if (n->tries == 0)
            return 0; /* was never held: its position alone says that it is done */
        return run_ids(s, SQL_HELD_GONE, n->policy, n->seq, err);
    case STORE_NOTE_HELD:
        return write_held(s, n, err);
    case STORE_NOTE_LETTER:
        return write_letter(s, n, err);
    case STORE_NOTE_LETTER_FAILED:
        return write_letter_failed(s, n, err);
    case STORE_NOTE_LETTER_GONE:
        return take_away(s, SQL_LETTER_GONE, n->letter_id, err);
    case STORE_NOTE_TIMER_ASIDE:
        return take_away(s, SQL_TIMER_ASIDE, n->seq, err);
    case STORE_NOTE_SERVICE_STOPPED:
        return write_service(s, SQL_SERVICE_STOPPED, n->key, err);
    case STORE_NOTE_SERVICE_STARTED:
        return write_service(s, SQL_SERVICE_STARTED, n->key, err);
    case STORE_NOTE_REPEAT:
        return sqlite_repeats_write(s, n->repeat, err);
    case STORE_NOTE_TIMER_GONE:
        break;
    }
    return take_away(s, SQL_TIMER_GONE, n->seq, err);
}

int sqlite_notes_timer(struct store *s, const struct store_timer *t, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_TIMER, err);
    if (!stmt)
        return -1;
    const struct store_event *e = &t->event;
    sqlite3_bind_int64(stmt, 1, t->id);
    sqlite3_bind_int64(stmt, 2, t->due_ms);
    sqlite_stmts_bind_text(stmt, 3, e->type->name);
    sqlite_stmts_bind_text(stmt, 4, e->type->service);
    sqlite_stmts_bind_text(stmt, 5, e->key);
    sqlite_stmts_bind_text(stmt, 6, e->payload);
    sqlite_stmts_bind_text(stmt, 7, e->correlation_id);
    sqlite3_bind_int64(stmt, 8, e->cause_seq);
    sqlite3_bind_int64(stmt, 9, e->generation);
    return run(s, stmt, err);
}

int sqlite_notes_cancel(struct store *s, int64_t timer_id, struct err *err)
{
    return run_ids(s, SQL_TIMER_GONE, timer_id, -1, err);
}

int sqlite_notes_event(struct store *s, struct store_unit *u, struct store_event *e,
                       struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_EVENT, err);
    if (!stmt)
        return -1;
    e->unit = u;
    e->seq = ++s->next_seq;
    sqlite3_bind_int64(stmt, 1, e->seq);
    sqlite_stmts_bind_text(stmt, 2, e->type->name);
    sqlite_stmts_bind_text(stmt, 3, e->type->service);
    sqlite_stmts_bind_text(stmt, 4, e->key);
    sqlite3_bind_int64(stmt, 5, e->time_ms);
    sqlite_stmts_bind_text(stmt, 6, e->correlation_id);
    sqlite3_bind_int64(stmt, 7, e->cause_seq);
    sqlite3_bind_int64(stmt, 8, e->generation);
    sqlite_stmts_bind_text(stmt, 9, e->payload);
    return run(s, stmt, err);
}
