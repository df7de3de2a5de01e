/* SPDX-License-Identifier: MIT */

/* The declared fields become columns. A column is never renamed: a field with `renamed_from` takes
 * over the column of that field by an entry in a table, so that units of the generation before,
 * which know the old name, go on writing into the same column, and so does that generation when it
 * comes back. */

#include "store/sqlite/engine.h"

#include <stdlib.h>
#include <string.h>

/* A table whose fields are being settled. */
struct settling {
    struct store *store;
    const struct store_table *table;
    struct str name; /* "service.table" */
};

/* The text in the first column for (table, name): 1 found (in out), 0 not there, -1 failed. */
static int look_up(const struct settling *w, const char *sql, struct str name, struct buf *out,
                   struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(w->store, sql, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, w->name);
    sqlite_stmts_bind_text(stmt, 2, name);
    int rc = sqlite3_step(stmt);
    buf_clear(out);
    if (rc == SQLITE_ROW)
        buf_adds(out, str_from((const char *)sqlite3_column_text(stmt, 0)));
    else if (rc != SQLITE_DONE)
        sqlite_db_fail(&w->store->conn, rc, "migrate", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

static int noted_type(const struct settling *w, struct str column, struct buf *out, struct err *err)
{
    return look_up(w, "SELECT type FROM _moontide_columns WHERE tbl=?1 AND col=?2", column, out,
                   err);
}

static int noted_rename(const struct settling *w, struct str field, struct buf *out,
                        struct err *err)
{
    return look_up(w, "SELECT col FROM _moontide_renames WHERE tbl=?1 AND field=?2", field, out,
                   err);
}

static int insert_row(const struct settling *w, const char *sql, struct str name, struct str value,
                      struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(w->store, sql, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, w->name);
    sqlite_stmts_bind_text(stmt, 2, name);
    sqlite_stmts_bind_text(stmt, 3, value);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE)
        sqlite_db_fail(&w->store->conn, rc, "migrate", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

/* The column of the field of that name, as the file has it: 1 found, 0 there is none. */
static int column_of(const struct settling *w, struct str field, struct buf *out, struct err *err)
{
    struct buf type = BUF_INIT;
    int found = noted_rename(w, field, out, err);
    if (found == 0 && (found = noted_type(w, field, &type, err)) == 1)
        buf_adds(out, field);
    buf_deinit(&type);
    return found;
}

/* A text that lives as long as the store: schemas point to it. */
static struct str keep_name(struct store *s, struct str name)
{
    for (size_t i = 0; i < s->name_count; i++)
        if (str_eq(str_from(s->names[i]), name))
            return str_from(s->names[i]);
    vec_reserve(&s->names, &s->name_cap, s->name_count + 1, sizeof(*s->names));
    s->names[s->name_count++] = xstrndup(name.p, name.n);
    return str_from(s->names[s->name_count - 1]);
}

/* A schema that is in use already, and settled as it is, is left alone. */
static void set_column(const struct settling *w, struct field *f, struct str column)
{
    struct str kept = {NULL, 0};
    if (!str_eq(column, f->name))
        kept = keep_name(w->store, column);
    if (f->column.p != kept.p)
        f->column = kept;
}

static int refuse_rename(const struct field *f, const struct settling *w, struct err *err)
{
    err_set(err, ERR_CONFIG,
            "%.*s.%.*s: there are values under this name already, so it cannot take over those of "
            "\"%.*s\"",
            STR_ARG(w->table->name), STR_ARG(f->name), STR_ARG(f->renamed_from));
    return sqlite_migrate_at(err, f->at);
}

/* The field takes over the column of the one that it was renamed from, if there is one. */
static int rename_field(const struct settling *w, struct field *f, struct err *err)
{
    struct buf own = BUF_INIT, from = BUF_INIT, text = BUF_INIT;
    int found = column_of(w, f->renamed_from, &from, err);
    int taken = found == 1 ? noted_type(w, f->name, &own, err) : 0;
    int result = found < 0 || taken < 0 ? -1 : 0;
    if (found == 1 && taken == 1) {
        result = refuse_rename(f, w, err);
    } else if (found == 1 && taken == 0) {
        buf_addf(&text, "rename %.*s.%.*s to %.*s", STR_ARG(w->table->name),
                 STR_ARG(f->renamed_from), STR_ARG(f->name));
        sqlite_switch_note(w->store, &text);
        result = insert_row(w, "INSERT INTO _moontide_renames VALUES(?1,?2,?3)", f->name,
                            buf_str(&from), err);
        set_column(w, f, buf_str(&from));
    }
    buf_deinit(&own);
    buf_deinit(&from);
    return result;
}

/* Finds out which column holds the field. */
static int settle(const struct settling *w, struct field *f, struct err *err)
{
    struct buf column = BUF_INIT;
    int found = noted_rename(w, f->name, &column, err);
    if (found >= 0)
        set_column(w, f, found == 1 ? buf_str(&column) : f->name);
    buf_deinit(&column);
    if (found == 0 && f->renamed_from.n > 0)
        return rename_field(w, f, err);
    return found < 0 ? -1 : 0;
}

/* A new field with the name that a column still has from before its field was renamed. */
static int check_alone(const struct store_table *t, int number, struct err *err)
{
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[number], *other = &t->fields[i];
        if (i == number || other->column.n == 0 ||
            !str_eq(other->column, store_table_column_name(t, number)))
            continue;
        err_set(err, ERR_CONFIG,
                "%.*s.%.*s: the column of this name holds the field \"%.*s\" that was renamed; "
                "name this one differently",
                STR_ARG(t->name), STR_ARG(f->name), STR_ARG(other->name));
        return sqlite_migrate_at(err, f->at);
    }
    return 0;
}

/* "integer", "decimal(2)": what a column was declared as when it was made. */
static void write_type(struct buf *out, const struct field *f)
{
    buf_adds(out, str_from(field_type_name(f->type)));
    if (f->type == FIELD_DECIMAL)
        buf_addf(out, "(%d)", f->scale);
}

static int add_column(const struct settling *w, const struct field *f, struct str type,
                      struct err *err)
{
    struct store *s = w->store;
    struct buf sql = BUF_INIT, text = BUF_INIT;
    buf_addf(&text, "add column %.*s.%.*s %.*s", STR_ARG(w->table->name), STR_ARG(f->name),
             STR_ARG(type));
    sqlite_switch_note(s, &text);
    buf_lit(&sql, "ALTER TABLE ");
    sqlite_sql_table(&sql, w->table);
    buf_lit(&sql, " ADD COLUMN ");
    sqlite_sql_quote(&sql, f->name);
    buf_addf(&sql, " %s", sqlite_sql_type(f->type));
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    if (failed && (sqlite3_errcode(s->conn.db) & 0xff) == SQLITE_ERROR) {
        err_set(err, ERR_CONFIG, "%.*s.%.*s: %s", STR_ARG(w->table->name), STR_ARG(f->name),
                sqlite3_errmsg(s->conn.db));
        return sqlite_migrate_at(err, f->at);
    }
    if (failed)
        return -1;
    return insert_row(w, "INSERT INTO _moontide_columns VALUES(?1,?2,?3)", f->name, type, err);
}

static int refuse_type(const struct settling *w, const struct field *f, struct str declared,
                       struct str stored, struct err *err)
{
    err_set(err, ERR_CONFIG,
            "%.*s.%.*s: declared as %.*s, stored as %.*s; a type cannot change, "
            "declare a field of another name beside it",
            STR_ARG(w->table->name), STR_ARG(f->name), STR_ARG(declared), STR_ARG(stored));
    return sqlite_migrate_at(err, f->at);
}

static int make_column(const struct settling *w, int number, struct err *err)
{
    const struct field *f = &w->table->fields[number];
    struct buf declared = BUF_INIT, stored = BUF_INIT;
    write_type(&declared, f);
    int found = noted_type(w, store_table_column_name(w->table, number), &stored, err);
    int result = found < 0 ? -1 : 0;
    if (found == 0)
        result = add_column(w, f, buf_str(&declared), err);
    else if (found == 1 && !str_eq(buf_str(&declared), buf_str(&stored)))
        result = refuse_type(w, f, buf_str(&declared), buf_str(&stored), err);
    buf_deinit(&declared);
    buf_deinit(&stored);
    return result;
}

int sqlite_columns_migrate(struct store *s, const struct store_table *t, struct err *err)
{
    struct buf name = BUF_INIT;
    sqlite_migrate_table_name(&name, t);
    struct settling w = {s, t, buf_str(&name)};
    int failed = 0;
    for (int i = 0; i < t->field_count && !failed; i++)
        failed = settle(&w, &t->fields[i], err);
    for (int i = 0; i < t->field_count && !failed; i++)
        failed = check_alone(t, i, err);
    for (int i = 0; i < t->field_count && !failed; i++)
        failed = make_column(&w, i, err);
    buf_deinit(&name);
    return failed ? -1 : 0;
}
