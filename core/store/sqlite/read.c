/* SPDX-License-Identifier: MIT */

/* One read: a statement by the shape of the question, its rows copied out before it is reset. A
 * statement left unreset would pin its connection to an old picture, so nothing returns from here
 * with one that is busy. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <string.h>

static struct store_row *copy_row(sqlite3_stmt *stmt, const struct store_table *t, struct arena *a)
{
    struct store_row *row =
        arena_alloc(a, sizeof(*row) + (size_t)t->field_count * sizeof(struct value));
    row->id = sqlite3_column_int64(stmt, 0);
    row->version = sqlite3_column_int64(stmt, 1);
    for (int i = 0; i < t->field_count; i++)
        row->values[i] = sqlite_stmts_value(stmt, i + 2, &t->fields[i], a);
    return row;
}

static int bind_conds(sqlite3_stmt *stmt, const struct store_read *r)
{
    int at = 1;
    for (int i = 0; i < r->cond_count; i++)
        if (r->conds[i].value.type != VALUE_NULL)
            sqlite_stmts_bind(stmt, at++, &r->conds[i].value);
    return at;
}

static void describe_conds(const struct store_read *r, struct sqlite_stmt_key *key)
{
    assert(r->cond_count >= 0 && r->cond_count <= STORE_CONDS);
    key->count = (uint8_t)r->cond_count;
    for (int i = 0; i < r->cond_count; i++) {
        key->a |= (uint64_t)(uint8_t)(int8_t)r->conds[i].column << (8 * i);
        if (r->conds[i].value.type == VALUE_NULL)
            key->b |= UINT64_C(1) << i;
    }
}

static void describe_order(const struct store_read *r, struct sqlite_stmt_key *key)
{
    assert(r->more_count >= 0 && r->more_count < STORE_ORDERS);
    key->order = (int8_t)r->order_column;
    key->flags =
        (uint8_t)((r->descending ? SQL_DESCENDING : 0) | (r->after_id > 0 ? SQL_AFTER : 0));
    for (int i = 0; i < r->more_count; i++) {
        unsigned byte = (unsigned)(r->more[i].column + 2) | (r->more[i].descending ? 0x80u : 0u);
        key->c |= (uint64_t)byte << (8 * i);
    }
}

static int run_get(struct sqlite_conn *conn, struct store_read *r)
{
    struct store_row *row;
    int found = sqlite_read_row(conn, r->table, r->id, r->arena, &row, &r->err);
    if (found <= 0)
        return found;
    r->rows = arena_alloc(r->arena, sizeof(struct store_row *));
    r->rows[0] = row;
    r->row_count = 1;
    return 0;
}

/* Rows that match only with what the task added to them. */
static int run_added(struct sqlite_conn *conn, struct store_read *r)
{
    int64_t *ids;
    size_t count = store_scope_added(r, &ids);
    if (count == 0)
        return 0;
    struct store_row **rows = arena_alloc(r->arena, (r->row_count + count) * sizeof(*rows));
    if (r->row_count > 0)
        memcpy(rows, r->rows, r->row_count * sizeof(*rows));
    r->rows = rows;
    for (size_t i = 0; i < count; i++) {
        int found = sqlite_read_row(conn, r->table, ids[i], r->arena, &rows[r->row_count], &r->err);
        if (found < 0)
            return -1;
        r->row_count += (size_t)found;
    }
    return 0;
}

/* whole: all that match, for a scope to be laid over and cut afterwards. */
static int run_find(struct sqlite_conn *conn, struct store_read *r, bool whole)
{
    struct sqlite_stmt_key key = {.table = r->table, .kind = SQL_FIND, .order = STORE_COLUMN_ID};
    describe_conds(r, &key);
    if (r->kind == STORE_READ_FIND)
        describe_order(r, &key);
    sqlite3_stmt *stmt = sqlite_stmts_get(conn, &key, &r->err);
    if (!stmt)
        return -1;
    int rc, at = bind_conds(stmt, r);
    if (key.flags & SQL_AFTER)
        sqlite3_bind_int64(stmt, at++, r->after_id);
    sqlite3_bind_int64(stmt, at, whole || r->limit <= 0 ? -1 : r->limit);
    sqlite3_bind_int64(stmt, at + 1, whole ? 0 : r->offset);
    struct sqlite_rows rows = sqlite_rows_of(r->arena, sizeof(struct store_row *));
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        *(struct store_row **)sqlite_rows_add(&rows) = copy_row(stmt, r->table, r->arena);
    sqlite3_reset(stmt);
    r->rows = rows.items;
    r->row_count = rows.count;
    r->count = (int64_t)rows.count;
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(conn, rc, "read", &r->err);
}

static int run_count(struct sqlite_conn *conn, struct store_read *r)
{
    struct sqlite_stmt_key key = {.table = r->table, .kind = SQL_COUNT};
    describe_conds(r, &key);
    sqlite3_stmt *stmt = sqlite_stmts_get(conn, &key, &r->err);
    if (!stmt)
        return -1;
    bind_conds(stmt, r);
    int rc = sqlite3_step(stmt);
    int64_t count = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW)
        return sqlite_db_fail(conn, rc, "read", &r->err);
    r->count = count;
    return 0;
}

void sqlite_read_run(struct sqlite_conn *conn, struct store_read *r)
{
    int failed = 0;
    bool laid_over = r->scope && store_scope_touches(r->scope, r->table);
    bool many = r->kind == STORE_READ_FIND || r->kind == STORE_READ_COUNT;
    r->rows = NULL;
    r->row_count = 0;
    r->count = 0;
    switch (r->kind) {
    case STORE_READ_GET:
        failed = run_get(conn, r);
        break;
    case STORE_READ_FIND:
        failed = run_find(conn, r, laid_over);
        break;
    case STORE_READ_COUNT:
        failed = laid_over ? run_find(conn, r, true) : run_count(conn, r);
        break;
    case STORE_READ_ID:
        assert(!"answered by the session");
    }
    if (failed == 0 && laid_over && many)
        failed = run_added(conn, r);
    r->failed = failed < 0;
    if (r->failed)
        r->row_count = 0;
}

int sqlite_read_row(struct sqlite_conn *conn, const struct store_table *t, int64_t id,
                    struct arena *a, struct store_row **ret, struct err *err)
{
    struct sqlite_stmt_key key = {.table = t, .kind = SQL_GET};
    sqlite3_stmt *stmt = sqlite_stmts_get(conn, &key, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    int rc = sqlite3_step(stmt);
    struct store_row *row = rc == SQLITE_ROW ? copy_row(stmt, t, a) : NULL;
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlite_db_fail(conn, rc, "read", err);
    if (!row)
        return 0;
    *ret = row;
    return 1;
}
