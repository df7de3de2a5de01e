/* SPDX-License-Identifier: MIT */

/* Answers kept for repeats. What has expired goes a little with each new one and with other units,
 * and all of it when the file is opened: so the table is never larger than a day's keys. */

#include "store/repeat.h"
#include "store/sqlite/engine.h"

#define WITH_ONE 16 /* removed with a new one */
#define TIDY_MS 10000
#define TIDY_ROWS 1024 /* removed each TIDY_MS of other units */

static int purge_some(struct store *s, int64_t now_ms, int count, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_REPEATS_GONE, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, now_ms);
    sqlite3_bind_int(stmt, 2, count);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "forget old keys", err);
}

int sqlite_repeats_tidy(struct store *s, struct err *err)
{
    int64_t now_ms = clock_wall_ms(s->clock);
    if (now_ms >= s->tidied_ms && now_ms - s->tidied_ms < TIDY_MS) /* clocks are also set back */
        return 0;
    s->tidied_ms = now_ms;
    return purge_some(s, now_ms, TIDY_ROWS, err);
}

int sqlite_repeats_write(struct store *s, const struct store_repeat *r, struct err *err)
{
    if (purge_some(s, r->now_ms, WITH_ONE, err) < 0)
        return -1;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_REPEAT, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, r->service);
    sqlite_stmts_bind_text(stmt, 2, r->key);
    sqlite_stmts_bind_text(stmt, 3, r->fingerprint);
    sqlite3_bind_int(stmt, 4, r->status);
    sqlite_stmts_bind_text(stmt, 5, r->head);
    sqlite_stmts_bind_text(stmt, 6, r->body);
    sqlite3_bind_int64(stmt, 7, r->expires_ms);
    sqlite3_bind_int64(stmt, 8, r->now_ms);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "keep an answer", err);
    return sqlite3_changes(s->conn.db) == 0;
}

int sqlite_repeats_purge(struct store *s, struct err *err)
{
    struct buf sql = BUF_INIT;
    s->tidied_ms = clock_wall_ms(s->clock);
    buf_addf(&sql, "DELETE FROM _moontide_repeats WHERE expires<=%lld", (long long)s->tidied_ms);
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    return failed;
}

void store_repeat_add(struct store_unit *u, const struct store_repeat *r)
{
    struct store_repeat *copy = arena_alloc(u->arena, sizeof(*copy));
    *copy = *r;
    store_unit_note(u, STORE_NOTE_REPEAT)->repeat = copy;
}

int store_repeat_find(struct store_session *ss, struct arena *a, struct str service, struct str key,
                      int64_t now_ms, struct store_repeat *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_REPEAT_READ, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, service);
    sqlite_stmts_bind_text(stmt, 2, key);
    sqlite3_bind_int64(stmt, 3, now_ms);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret = (struct store_repeat){.service = service,
                                     .key = key,
                                     .fingerprint = sqlite_stmts_text(stmt, 0, a),
                                     .status = sqlite3_column_int(stmt, 1),
                                     .head = sqlite_stmts_text(stmt, 2, a),
                                     .body = sqlite_stmts_text(stmt, 3, a),
                                     .expires_ms = sqlite3_column_int64(stmt, 4)};
    sqlite3_reset(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc == SQLITE_ROW;
    return sqlite_db_fail(&ss->conn, rc, "look for a key", err);
}
