/* SPDX-License-Identifier: MIT */

/* Indexes of declared tables. Building one reads all rows while nobody can commit, so those over
 * columns that are there already are built before the switch, each in a transaction of its own:
 * batches of units run in between, and the switch itself stays short. A switch that does not come
 * takes them along. */

#include "base/log.h"
#include "store/sqlite/engine.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_PREFIX "_moontide_" /* then "index " or "unique ", the table, and its columns */

static void write_index_name(struct buf *out, const struct store_table *t,
                             const struct store_index *ix)
{
    buf_adds(out, ix->unique ? STR(INDEX_PREFIX "unique ") : STR(INDEX_PREFIX "index "));
    sqlite_migrate_table_name(out, t);
    buf_addc(out, ':');
    for (int i = 0; i < ix->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        buf_adds(out, store_table_column_name(t, ix->columns[i]));
    }
}

static void write_columns(struct buf *out, const struct store_table *t,
                          const struct store_index *ix, bool quoted)
{
    for (int i = 0; i < ix->count; i++) {
        if (i > 0)
            buf_adds(out, STR(", "));
        if (quoted)
            sqlite_sql_quote(out, store_table_column_name(t, ix->columns[i]));
        else
            buf_adds(out, t->fields[ix->columns[i]].name);
    }
}

static void note_index(struct store *s, const struct store_table *t, const struct store_index *ix)
{
    struct buf text = BUF_INIT;
    buf_addf(&text, "add %s %.*s (", ix->unique ? "unique" : "index", STR_ARG(t->name));
    write_columns(&text, t, ix, false);
    buf_addc(&text, ')');
    sqlite_switch_note(s, &text);
}

static int refuse_unique(const struct store_table *t, const struct store_index *ix, struct err *err)
{
    struct buf columns = BUF_INIT;
    write_columns(&columns, t, ix, false);
    err_set(err, ERR_CONFIG, "%.*s: unique (%s) is declared, but rows with equal values exist",
            STR_ARG(t->name), buf_str(&columns).p);
    buf_deinit(&columns);
    return sqlite_migrate_at(err, ix->at);
}

static int build(struct store *s, const struct store_table *t, const struct store_index *ix,
                 struct err *err)
{
    struct buf sql = BUF_INIT, name = BUF_INIT;
    write_index_name(&name, t, ix);
    buf_addf(&sql, "CREATE %s INDEX ", ix->unique ? "UNIQUE" : "");
    sqlite_sql_quote(&sql, buf_str(&name));
    buf_lit(&sql, " ON ");
    sqlite_sql_table(&sql, t);
    buf_addc(&sql, '(');
    write_columns(&sql, t, ix, true);
    buf_addc(&sql, ')');
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    buf_deinit(&name);
    if (failed && (sqlite3_errcode(s->conn.db) & 0xff) == SQLITE_CONSTRAINT)
        return refuse_unique(t, ix, err);
    return failed;
}

static bool is_ahead(const struct store *s, struct str name)
{
    for (size_t i = 0; i < s->ahead_count; i++)
        if (str_eq(str_from(s->ahead[i]), name))
            return true;
    return false;
}

static int make_index(struct store *s, const struct store_table *t, const struct store_index *ix,
                      struct err *err)
{
    struct buf name = BUF_INIT;
    write_index_name(&name, t, ix);
    int found = sqlite_migrate_exists(s, buf_str(&name), err);
    bool ahead = found == 1 && is_ahead(s, buf_str(&name));
    buf_deinit(&name);
    if (found == 0 || ahead)
        note_index(s, t, ix);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (!s->missing)
        return build(s, t, ix, err);
    *(struct sqlite_missing *)sqlite_rows_add(s->missing) = (struct sqlite_missing){t, ix};
    return 0;
}

static bool is_declared(const struct store_table *t, struct str index)
{
    bool found = false;
    struct buf name = BUF_INIT;
    for (int i = 0; i < t->index_count && !found; i++) {
        buf_clear(&name);
        write_index_name(&name, t, &t->indexes[i]);
        found = str_eq(buf_str(&name), index);
    }
    buf_deinit(&name);
    return found;
}

/* Appends a DROP for each index of Moontide's on the table that is declared no longer. */
static int write_drops(struct store *s, const struct store_table *t, struct buf *sql,
                       struct err *err)
{
    struct buf table = BUF_INIT;
    int rc = SQLITE_ERROR;
    sqlite3_stmt *stmt =
        sqlite_migrate_stmt(s,
                            "SELECT name FROM sqlite_schema WHERE type='index' AND tbl_name=?1"
                            " AND substr(name,1,10)='" INDEX_PREFIX "'",
                            err);
    if (!stmt)
        return -1;
    sqlite_migrate_table_name(&table, t);
    sqlite_stmts_bind_text(stmt, 1, buf_str(&table));
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct str name = str_from((const char *)sqlite3_column_text(stmt, 0));
        if (is_declared(t, name))
            continue;
        struct buf text = BUF_INIT;
        buf_addf(&text, "drop %.*s", STR_ARG(str_from(name.p + strlen(INDEX_PREFIX))));
        sqlite_switch_note(s, &text);
        buf_lit(sql, "DROP INDEX ");
        sqlite_sql_quote(sql, name);
        buf_addc(sql, ';');
    }
    if (rc != SQLITE_DONE)
        sqlite_db_fail(&s->conn, rc, "migrate", err);
    sqlite3_finalize(stmt);
    buf_deinit(&table);
    return rc == SQLITE_DONE ? 0 : -1;
}

int sqlite_indexes_migrate(struct store *s, const struct store_table *t, struct err *err)
{
    struct buf drops = BUF_INIT;
    int failed = write_drops(s, t, &drops, err);
    if (!failed)
        failed = sqlite_db_exec(&s->conn, buf_str(&drops).p, err);
    buf_deinit(&drops);
    for (int i = 0; i < t->index_count && !failed; i++)
        failed = make_index(s, t, &t->indexes[i], err);
    return failed ? -1 : 0;
}

/* ---- before the switch ---- */

static void clear_ahead(struct store *s)
{
    for (size_t i = 0; i < s->ahead_count; i++)
        free(s->ahead[i]);
    s->ahead_count = 0;
}

void sqlite_indexes_keep(struct store *s)
{
    clear_ahead(s);
    free(s->ahead);
    s->ahead = NULL;
    s->ahead_cap = 0;
}

/* One transaction of the writer's connection. */
static int in_transaction(struct store *s, int (*run)(struct store *s, void *arg, struct err *err),
                          void *arg, struct err *err)
{
    struct err also;
    bool unknown = false;
    int64_t batch = s->batch;
    if (!s->conn.db && sqlite_db_reopen(s, err) < 0)
        return -1;
    if (sqlite_stmts_do(&s->conn, SQL_BEGIN, err) < 0)
        return -1;
    if (run(s, arg, err) == 0 && sqlite_writer_mark(s, err) == 0)
        return sqlite_writer_commit(s, &unknown, err);
    if (sqlite_db_rollback(&s->conn, &also) < 0)
        sqlite_db_disconnect(&s->conn);
    s->batch = batch;
    return -1;
}

static int build_missing(struct store *s, void *arg, struct err *err)
{
    const struct sqlite_missing *m = arg;
    return build(s, m->table, m->index, err);
}

/* On the writer's thread: one index, for which batches wait. */
static int build_ahead(struct store *s, void *arg, struct err *err)
{
    const struct sqlite_missing *m = arg;
    struct buf name = BUF_INIT;
    int failed = in_transaction(s, build_missing, arg, err);
    if (!failed) {
        write_index_name(&name, m->table, m->index);
        vec_reserve(&s->ahead, &s->ahead_cap, s->ahead_count + 1, sizeof(*s->ahead));
        s->ahead[s->ahead_count++] = xstrndup(name.p, name.n);
    }
    buf_deinit(&name);
    return failed;
}

static int drop_ahead(struct store *s, void *arg, struct err *err)
{
    (void)arg;
    struct buf sql = BUF_INIT;
    for (size_t i = 0; i < s->ahead_count; i++) {
        buf_lit(&sql, "DROP INDEX IF EXISTS ");
        sqlite_sql_quote(&sql, str_from(s->ahead[i]));
        buf_addc(&sql, ';');
    }
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    return failed;
}

int sqlite_indexes_forget(struct store *s, void *arg, struct err *err)
{
    (void)arg;
    if (s->ahead_count == 0)
        return 0;
    int failed = in_transaction(s, drop_ahead, NULL, err);
    if (!failed)
        clear_ahead(s);
    return failed;
}

/* Has the file all columns of it, before the switch? */
static bool can_build(struct store *look, const struct sqlite_missing *m)
{
    struct buf table = BUF_INIT, column = BUF_INIT;
    bool there = true;
    sqlite_migrate_table_name(&table, m->table);
    for (int i = 0; i < m->index->count && there; i++) {
        buf_clear(&column);
        buf_adds(&column, store_table_column_name(m->table, m->index->columns[i]));
        there = sqlite3_table_column_metadata(look->conn.db, NULL, buf_str(&table).p,
                                              buf_str(&column).p, NULL, NULL, NULL, NULL,
                                              NULL) == SQLITE_OK;
    }
    buf_deinit(&table);
    buf_deinit(&column);
    return there;
}

/* Two rows with equal values, looked for without holding up the writer. */
static int check_equal_rows(struct store *look, const struct sqlite_missing *m, struct err *err)
{
    struct buf sql = BUF_INIT;
    buf_lit(&sql, "SELECT 1 FROM ");
    sqlite_sql_table(&sql, m->table);
    for (int i = 0; i < m->index->count; i++) {
        buf_adds(&sql, i == 0 ? STR(" WHERE ") : STR(" AND "));
        sqlite_sql_quote(&sql, store_table_column_name(m->table, m->index->columns[i]));
        buf_lit(&sql, " NOT NULL");
    }
    buf_lit(&sql, " GROUP BY ");
    write_columns(&sql, m->table, m->index, true);
    buf_lit(&sql, " HAVING count(*)>1 LIMIT 1");
    sqlite3_stmt *stmt = sqlite_migrate_stmt(look, buf_str(&sql).p, err);
    buf_deinit(&sql);
    if (!stmt)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        sqlite_db_fail(&look->conn, rc, "migrate", err);
    sqlite3_finalize(stmt);
    if (rc == SQLITE_ROW)
        return refuse_unique(m->table, m->index, err);
    return rc == SQLITE_DONE ? 0 : -1;
}

static int prepare_all(struct store *s, struct store *look, const struct store_switch *sw,
                       const struct sqlite_rows *missing, struct err *err)
{
    struct sqlite_missing *items = missing->items;
    for (size_t i = 0; i < missing->count; i++)
        if (items[i].index->unique && can_build(look, &items[i]) &&
            check_equal_rows(look, &items[i], err) < 0)
            return -1;
    for (size_t i = 0; i < missing->count && !sw->dry_run; i++)
        if (can_build(look, &items[i]) && sqlite_writer_do(s, build_ahead, &items[i], err) < 0)
            return -1;
    return 0;
}

int store_switch_prepare(struct store *s, const struct store_switch *sw, struct err *err)
{
    struct store_switch dry = *sw;
    struct store_switched ignored;
    struct sqlite_rows missing = sqlite_rows_of(sw->arena, sizeof(struct sqlite_missing));
    dry.dry_run = true;
    if (s->memory && sqlite_switch_list(s->memory, &dry, &ignored, NULL, err) < 0)
        return -1;
    if (sqlite_switch_list(s, &dry, &ignored, &missing, err) < 0)
        return -1;
    if (missing.count == 0)
        return 0;
    struct store *look = xcalloc(1, sizeof(*look)); /* a connection of the caller's thread */
    look->path = s->path;
    look->vfs = s->vfs;
    int failed = sqlite_db_connect(look, &look->conn, ENGINE_READER_CACHE_KIB, true, err);
    if (!failed)
        failed = prepare_all(s, look, sw, &missing, err);
    sqlite_db_disconnect(&look->conn);
    free(look);
    if (failed)
        store_switch_forget(s);
    return failed ? -1 : 0;
}

void store_switch_forget(struct store *s)
{
    struct err err;
    if (sqlite_writer_do(s, sqlite_indexes_forget, NULL, &err) < 0)
        log_event(LOG_WARN, "indexes of a switch that did not come stay until the next start",
                  LOG_C("error", err.message));
}
