/* SPDX-License-Identifier: MIT */

/* The declared tables become real ones, in one transaction. Only what is additive happens by
 * itself: a field that left its declaration keeps its column, so that the generation before can
 * still write, and a changed type is refused. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_PREFIX "_moontide_" /* then "index " or "unique ", the table, and its columns */

static int run_sql(struct store *s, struct buf *sql, struct err *err)
{
    int failed = sqlite_db_exec(&s->conn, buf_str(sql).p, err);
    buf_clear(sql);
    return failed;
}

sqlite3_stmt *sqlite_migrate_stmt(struct store *s, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->conn.db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        sqlite_db_fail(&s->conn, rc, "migrate", err);
    return stmt;
}

void sqlite_migrate_table_name(struct buf *out, const struct store_table *t)
{
    buf_adds(out, t->service);
    buf_addc(out, '.');
    buf_adds(out, t->name);
}

/* Is there a table or index of that name? 1 yes, 0 no, -1 failed. */
static int exists(struct store *s, struct str name, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(s, "SELECT 1 FROM sqlite_schema WHERE name=?1", err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, name);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        sqlite_db_fail(&s->conn, rc, "migrate", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

static int create_table(struct store *s, const struct store_table *t, struct err *err)
{
    struct buf text = BUF_INIT, sql = BUF_INIT;
    buf_addf(&text, "create table %.*s", STR_ARG(t->name));
    sqlite_switch_note(s, &text);
    buf_lit(&sql, "CREATE TABLE ");
    sqlite_sql_table(&sql, t);
    buf_lit(&sql, "(id INTEGER PRIMARY KEY,_version INTEGER NOT NULL)");
    int failed = run_sql(s, &sql, err);
    buf_deinit(&sql);
    return failed;
}

static int make_table(struct store *s, const struct store_table *t, struct err *err)
{
    struct buf name = BUF_INIT;
    sqlite_migrate_table_name(&name, t);
    int found = exists(s, buf_str(&name), err);
    buf_deinit(&name);
    return found == 0 ? create_table(s, t, err) : found < 0 ? -1 : 0;
}

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

static int make_index(struct store *s, const struct store_table *t, const struct store_index *ix,
                      struct err *err)
{
    struct buf sql = BUF_INIT, name = BUF_INIT;
    write_index_name(&name, t, ix);
    int found = exists(s, buf_str(&name), err);
    if (found != 0) {
        buf_deinit(&name);
        return found < 0 ? -1 : 0;
    }
    note_index(s, t, ix);
    buf_addf(&sql, "CREATE %s INDEX ", ix->unique ? "UNIQUE" : "");
    sqlite_sql_quote(&sql, buf_str(&name));
    buf_lit(&sql, " ON ");
    sqlite_sql_table(&sql, t);
    buf_addc(&sql, '(');
    write_columns(&sql, t, ix, true);
    buf_addc(&sql, ')');
    int failed = run_sql(s, &sql, err);
    if (failed && (sqlite3_errcode(s->conn.db) & 0xff) == SQLITE_CONSTRAINT) {
        buf_clear(&name);
        write_columns(&name, t, ix, false);
        err_set(err, ERR_CONFIG, "%.*s: unique (%s) is declared, but rows with equal values exist",
                STR_ARG(t->name), buf_str(&name).p);
        sqlite_migrate_at(err, ix->at);
    }
    buf_deinit(&sql);
    buf_deinit(&name);
    return failed ? -1 : 0;
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

static int migrate_table(struct store *s, const struct store_table *t, struct err *err)
{
    assert(t->field_count <= STORE_FIELDS_MAX);
    if (make_table(s, t, err) < 0)
        return -1;
    if (sqlite_columns_migrate(s, t, err) < 0)
        return -1;
    struct buf drops = BUF_INIT;
    int failed = write_drops(s, t, &drops, err);
    if (!failed)
        failed = run_sql(s, &drops, err);
    buf_deinit(&drops);
    for (int i = 0; i < t->index_count && !failed; i++)
        failed = make_index(s, t, &t->indexes[i], err);
    return failed ? -1 : 0;
}

int sqlite_migrate_at(struct err *err, struct str at)
{
    return at.n > 0 ? err_wrap(err, "%.*s", STR_ARG(at)) : -1;
}

int sqlite_migrate(struct store *s, const struct store_schema *schema, struct err *err)
{
    for (int i = 0; i < schema->table_count; i++)
        if (migrate_table(s, schema->tables[i], err) < 0)
            return -1;
    return sqlite_ids_load(s, schema, err);
}
