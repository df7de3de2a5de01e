/* SPDX-License-Identifier: MIT */

/* The declared tables become real ones, in one transaction. Only what is additive happens by
 * itself: a field that left its declaration keeps its column, so that the generation before can
 * still write, and a changed type is refused. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

int sqlite_migrate_exists(struct store *s, struct str name, struct err *err)
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
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    return failed;
}

static int make_table(struct store *s, const struct store_table *t, struct err *err)
{
    struct buf name = BUF_INIT;
    sqlite_migrate_table_name(&name, t);
    int found = sqlite_migrate_exists(s, buf_str(&name), err);
    buf_deinit(&name);
    return found == 0 ? create_table(s, t, err) : found < 0 ? -1 : 0;
}

static int migrate_table(struct store *s, const struct store_table *t, struct err *err)
{
    assert(t->field_count <= STORE_FIELDS_MAX);
    if (make_table(s, t, err) < 0)
        return -1;
    if (sqlite_columns_migrate(s, t, err) < 0)
        return -1;
    return sqlite_indexes_migrate(s, t, err);
}

int sqlite_migrate_at(struct err *err, struct str at)
{
    return at.n > 0 ? err_wrap(err, "%.*s", STR_ARG(at)) : -1;
}

int sqlite_migrate(struct store *s, const struct store_schema *schema, struct err *err)
{
    for (int i = 0; i < schema->table_count; i++)
        if (schema->tables[i]->in_memory == s->in_memory &&
            migrate_table(s, schema->tables[i], err) < 0)
            return -1;
    return sqlite_ids_load(s, schema, err);
}
