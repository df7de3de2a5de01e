/* SPDX-License-Identifier: MIT */

/* The file as it is, for who wants to look at it or to remove what nobody declares any more. All
 * reads are one picture of one connection, so that a running process changes nothing in between. */

#include "store/inspect.h"

#include "store/sqlite/engine.h"
#include "store/sqlite/vfs_fault.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void read_row_fn(sqlite3_stmt *stmt, struct sqlite_rows *rows);

/* All rows of a query with one text parameter. */
static int read_all(struct store *s, const char *sql, struct str name, read_row_fn *read_row,
                    struct sqlite_rows *rows, struct err *err)
{
    int rc;
    sqlite3_stmt *stmt = sqlite_migrate_stmt(s, sql, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, name);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        read_row(stmt, rows);
    if (rc != SQLITE_DONE)
        sqlite_db_fail(&s->conn, rc, "inspect", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

static void read_column(sqlite3_stmt *stmt, struct sqlite_rows *rows)
{
    struct arena *a = rows->arena;
    struct store_found_column *c = sqlite_rows_add(rows);
    *c = (struct store_found_column){sqlite_stmts_text(stmt, 0, a), sqlite_stmts_text(stmt, 1, a)};
}

static void read_rename(sqlite3_stmt *stmt, struct sqlite_rows *rows)
{
    struct arena *a = rows->arena;
    struct store_found_rename *r = sqlite_rows_add(rows);
    *r = (struct store_found_rename){sqlite_stmts_text(stmt, 0, a), sqlite_stmts_text(stmt, 1, a)};
}

static void read_index(sqlite3_stmt *stmt, struct sqlite_rows *rows)
{
    struct store_found_index *ix = sqlite_rows_add(rows);
    *ix = (struct store_found_index){sqlite_stmts_text(stmt, 0, rows->arena),
                                     sqlite3_column_int(stmt, 1) != 0};
}

static void read_count(sqlite3_stmt *stmt, struct sqlite_rows *rows)
{
    *(int64_t *)sqlite_rows_add(rows) = sqlite3_column_int64(stmt, 0);
}

static void read_name(sqlite3_stmt *stmt, struct sqlite_rows *rows)
{
    struct store_found_table *t = sqlite_rows_add(rows);
    *t = (struct store_found_table){.name = sqlite_stmts_text(stmt, 0, rows->arena)};
}

static int count_rows(struct store *s, struct arena *a, struct store_found_table *t,
                      struct err *err)
{
    struct buf sql = BUF_INIT;
    struct sqlite_rows counts = sqlite_rows_of(a, sizeof(int64_t));
    buf_lit(&sql, "SELECT count(*) FROM ");
    sqlite_sql_quote(&sql, t->name);
    buf_lit(&sql, " WHERE ?1<>''");
    int failed = read_all(s, buf_str(&sql).p, t->name, read_count, &counts, err);
    buf_deinit(&sql);
    if (!failed)
        t->rows = *(int64_t *)counts.items;
    return failed;
}

static int inspect_table(struct store *s, struct arena *a, struct store_found_table *t,
                         struct err *err)
{
    struct sqlite_rows columns = sqlite_rows_of(a, sizeof(struct store_found_column)),
                       renames = sqlite_rows_of(a, sizeof(struct store_found_rename)),
                       indexes = sqlite_rows_of(a, sizeof(struct store_found_index));
    if (read_all(s,
                 "SELECT p.name,c.type FROM pragma_table_info(?1) p JOIN _moontide_columns c"
                 " ON c.tbl=?1 AND c.col=p.name ORDER BY p.cid",
                 t->name, read_column, &columns, err) < 0 ||
        read_all(s, "SELECT field,col FROM _moontide_renames WHERE tbl=?1 ORDER BY field", t->name,
                 read_rename, &renames, err) < 0 ||
        read_all(s,
                 "SELECT (SELECT group_concat(name) FROM pragma_index_info(l.name)),l.\"unique\""
                 " FROM pragma_index_list(?1) l ORDER BY l.name",
                 t->name, read_index, &indexes, err) < 0 ||
        count_rows(s, a, t, err) < 0)
        return -1;
    t->columns = columns.items;
    t->column_count = columns.count;
    t->renames = renames.items;
    t->rename_count = renames.count;
    t->indexes = indexes.items;
    t->index_count = indexes.count;
    return 0;
}

static int read_active(struct store *s, struct arena *a, struct store_found *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(
        s, "SELECT number,sources FROM _moontide_generations WHERE active", err);
    if (!stmt)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        ret->generation = sqlite3_column_int64(stmt, 0);
        ret->sources = sqlite_stmts_text(stmt, 1, a);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "inspect", err);
}

static int inspect(struct store *s, struct arena *a, struct store_found *ret, struct err *err)
{
    struct sqlite_rows tables = sqlite_rows_of(a, sizeof(struct store_found_table));
    if (read_all(s,
                 "SELECT name FROM sqlite_schema WHERE type='table' AND instr(name,'.')>0"
                 " AND ?1='' ORDER BY name",
                 STR(""), read_name, &tables, err) < 0)
        return -1;
    ret->tables = tables.items;
    ret->table_count = tables.count;
    for (size_t i = 0; i < ret->table_count; i++)
        if (inspect_table(s, a, &ret->tables[i], err) < 0)
            return err_wrap(err, "%.*s", STR_ARG(ret->tables[i].name));
    return read_active(s, a, ret, err);
}

static int open_reader(struct store *s, struct err *err)
{
    if (sqlite_db_check_wal(s, err) < 0 ||
        sqlite_db_connect(s, &s->conn, ENGINE_READER_CACHE_KIB, true, err) < 0)
        return -1;
    if (sqlite_db_check(s, err) == 0)
        return 0;
    sqlite_db_disconnect(&s->conn);
    return -1;
}

struct store *sqlite_inspect_open(const char *folder, struct err *err)
{
    struct buf path = BUF_INIT;
    sqlite_db_init();
    buf_addf(&path, "%s/moontide.db", folder);
    struct store *s = xcalloc(1, sizeof(*s));
    s->path = xstrdup(buf_str(&path).p);
    s->vfs = vfs_fault_name();
    buf_deinit(&path);
    int failed = access(s->path, F_OK) != 0
                     ? err_set(err, ERR_NOT_FOUND, "there is no data in %s", folder)
                     : open_reader(s, err);
    if (failed == 0)
        return s;
    free(s->path);
    free(s);
    return NULL;
}

void sqlite_inspect_close(struct store *s)
{
    sqlite_db_disconnect(&s->conn); /* which ends the transaction */
    free(s->path);
    free(s);
}

int store_inspect(const char *folder, struct arena *a, struct store_found *ret, struct err *err)
{
    struct store_found found = {0};
    struct store *s = sqlite_inspect_open(folder, err);
    if (!s)
        return -1;
    int failed = sqlite_db_exec(&s->conn, "BEGIN", err) < 0 || inspect(s, a, &found, err) < 0;
    sqlite_inspect_close(s);
    if (failed)
        return -1;
    *ret = found;
    return 0;
}

/* ---- removing ---- */

static int run_named(struct store *s, const char *sql, const struct store_prune *p, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(s, sql, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, p->table);
    if (sqlite3_bind_parameter_count(stmt) > 1)
        sqlite_stmts_bind_text(stmt, 2, p->column);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE)
        sqlite_db_fail(&s->conn, rc, "prune", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

static int drop_table(struct store *s, const struct store_prune *p, struct err *err)
{
    struct buf sql = BUF_INIT;
    buf_lit(&sql, "DROP TABLE ");
    sqlite_sql_quote(&sql, p->table);
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err) < 0 ||
                 run_named(s, "DELETE FROM _moontide_columns WHERE tbl=?1", p, err) < 0 ||
                 run_named(s, "DELETE FROM _moontide_renames WHERE tbl=?1", p, err) < 0;
    buf_deinit(&sql);
    return failed ? -1 : 0;
}

static int drop_column(struct store *s, const struct store_prune *p, struct err *err)
{
    struct buf sql = BUF_INIT;
    buf_lit(&sql, "ALTER TABLE ");
    sqlite_sql_quote(&sql, p->table);
    buf_lit(&sql, " DROP COLUMN ");
    sqlite_sql_quote(&sql, p->column);
    int failed =
        sqlite_db_exec(&s->conn, buf_str(&sql).p, err) < 0 ||
        run_named(s, "DELETE FROM _moontide_columns WHERE tbl=?1 AND col=?2", p, err) < 0 ||
        run_named(s, "DELETE FROM _moontide_renames WHERE tbl=?1 AND col=?2", p, err) < 0;
    buf_deinit(&sql);
    return failed ? -1 : 0;
}

static int drop_all(struct store *s, const struct store_prune *items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct store_prune *p = &items[i];
        int failed = p->column.n > 0 ? drop_column(s, p, err) : drop_table(s, p, err);
        if (failed)
            return err_wrap(err, "%.*s", STR_ARG(p->table));
    }
    return sqlite_writer_mark(s, err);
}

int store_prune(struct store *s, const struct store_prune *items, size_t count, const char *backup,
                struct err *err)
{
    bool unknown = false;
    struct err also;
    sqlite_stmts_clear(&s->conn);
    if (sqlite_backup_write(s, backup, err) < 0 || sqlite_stmts_do(&s->conn, SQL_BEGIN, err) < 0)
        return -1;
    if (drop_all(s, items, count, err) == 0)
        return sqlite_writer_commit(s, &unknown, err);
    sqlite_db_rollback(&s->conn, &also);
    return -1;
}
