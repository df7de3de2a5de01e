/* SPDX-License-Identifier: MIT */

/* The statement cache of one connection: preparing costs more than running. Statements of the
 * system sit in an array; those of tables in a small set-associative table, so that a lookup is a
 * hash and at most four comparisons, and no mixture of shapes can make it grow. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <string.h>

static size_t key_hash(const struct sqlite_stmt_key *k)
{
    uint64_t h = k->table->serial * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ k->a) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 29 ^ k->b) * UINT64_C(0xBF58476D1CE4E5B9);
    uint64_t rest = (uint64_t)k->kind | (uint64_t)k->flags << 8 | (uint64_t)k->count << 16 |
                    (uint64_t)(uint8_t)k->order << 24;
    h = (h ^ h >> 32 ^ k->c ^ rest << 32) * UINT64_C(0x94D049BB133111EB);
    return (size_t)(h >> 40) % ENGINE_SETS;
}

static bool key_eq(const struct sqlite_stmt_key *x, const struct sqlite_stmt_key *y)
{
    return x->kind == y->kind && x->flags == y->flags && x->count == y->count &&
           x->order == y->order && x->a == y->a && x->b == y->b && x->c == y->c;
}

static sqlite3_stmt *prepare(struct sqlite_conn *conn, const struct sqlite_stmt_key *key,
                             struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    struct buf sql = BUF_INIT;
    sqlite_sql_write(&sql, key);
    struct str text = buf_str(&sql);
    int rc =
        sqlite3_prepare_v3(conn->db, text.p, (int)text.n, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    buf_deinit(&sql);
    if (rc != SQLITE_OK)
        sqlite_db_fail(conn, rc, "prepare", err);
    return stmt;
}

sqlite3_stmt *sqlite_stmts_get(struct sqlite_conn *conn, const struct sqlite_stmt_key *key,
                               struct err *err)
{
    assert(key->table->serial > 0);
    struct sqlite_slot *set = conn->slots[key_hash(key)], *oldest = set;
    for (int i = 0; i < ENGINE_WAYS; i++) {
        if (set[i].stmt && set[i].serial == key->table->serial && key_eq(&set[i].key, key)) {
            set[i].used = ++conn->tick;
            return set[i].stmt;
        }
        if (!set[i].stmt || (oldest->stmt && set[i].used < oldest->used))
            oldest = &set[i];
    }
    sqlite3_stmt *stmt = prepare(conn, key, err);
    if (!stmt)
        return NULL;
    sqlite3_finalize(oldest->stmt);
    *oldest = (struct sqlite_slot){*key, key->table->serial, stmt, ++conn->tick};
    oldest->key.table = NULL;
    return stmt;
}

sqlite3_stmt *sqlite_stmts_fixed(struct sqlite_conn *conn, enum sqlite_stmt_kind kind,
                                 struct err *err)
{
    assert(kind >= SQL_SYSTEM && kind < SQL_KINDS);
    if (!conn->fixed[kind])
        conn->fixed[kind] = prepare(conn, &(struct sqlite_stmt_key){.kind = (uint8_t)kind}, err);
    return conn->fixed[kind];
}

int sqlite_stmts_run(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc;
}

int sqlite_stmts_do(struct sqlite_conn *conn, enum sqlite_stmt_kind kind, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(conn, kind, err);
    if (!stmt)
        return -1;
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(conn, rc, "write", err);
}

void sqlite_stmts_clear(struct sqlite_conn *conn)
{
    for (int i = 0; i < SQL_KINDS; i++) {
        sqlite3_finalize(conn->fixed[i]);
        conn->fixed[i] = NULL;
    }
    for (int i = 0; i < ENGINE_SETS; i++)
        for (int k = 0; k < ENGINE_WAYS; k++)
            sqlite3_finalize(conn->slots[i][k].stmt);
    memset(conn->slots, 0, sizeof(conn->slots));
}

void sqlite_stmts_refresh(struct sqlite_conn *conn, unsigned epoch)
{
    if (conn->epoch == epoch)
        return;
    sqlite_stmts_clear(conn);
    conn->epoch = epoch;
}

void sqlite_stmts_assert_idle(const struct sqlite_conn *conn)
{
#ifndef NDEBUG
    for (sqlite3_stmt *st = sqlite3_next_stmt(conn->db, NULL); st;
         st = sqlite3_next_stmt(conn->db, st))
        assert(!sqlite3_stmt_busy(st));
#else
    (void)conn;
#endif
}

void sqlite_stmts_bind_text(sqlite3_stmt *stmt, int at, struct str s)
{
    sqlite3_bind_text64(stmt, at, s.p ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

void sqlite_stmts_bind(sqlite3_stmt *stmt, int at, const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
        sqlite3_bind_null(stmt, at);
        return;
    case VALUE_BOOL:
        sqlite3_bind_int(stmt, at, v->b);
        return;
    case VALUE_INT:
        sqlite3_bind_int64(stmt, at, v->i);
        return;
    case VALUE_NUMBER:
        sqlite3_bind_double(stmt, at, v->n);
        return;
    case VALUE_TEXT:
        sqlite_stmts_bind_text(stmt, at, v->s);
    }
}

struct str sqlite_stmts_text(sqlite3_stmt *stmt, int column, struct arena *a)
{
    const char *p = (const char *)sqlite3_column_text(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);
    return p ? arena_str(a, (struct str){p, n}) : (struct str){NULL, 0};
}

struct value sqlite_stmts_value(sqlite3_stmt *stmt, int column, const struct field *f,
                                struct arena *a)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return VALUE_NONE;
    switch (f->type) {
    case FIELD_NUMBER:
        return (struct value){.type = VALUE_NUMBER, .n = sqlite3_column_double(stmt, column)};
    case FIELD_TEXT:
    case FIELD_JSON:
        return value_text(sqlite_stmts_text(stmt, column, a));
    case FIELD_BOOLEAN:
        return (struct value){.type = VALUE_BOOL, .b = sqlite3_column_int64(stmt, column) != 0};
    case FIELD_INTEGER:
    case FIELD_DECIMAL:
    case FIELD_TIMESTAMP:
        break;
    }
    return value_int(sqlite3_column_int64(stmt, column));
}
