/* SPDX-License-Identifier: MIT */

/* One unit of work becomes statements inside the batch's transaction. A statement that is refused
 * (a version has moved on, a unique key is taken, a bound would be left) has changed nothing by
 * itself. So a unit with one such statement runs it first and needs no savepoint; only a unit with
 * several pays for one. */

#include "store/sqlite/engine.h"

#include <assert.h>

enum part { PART_REFUSABLE = 1, PART_REST = 2, PART_ALL = 3 };

/* Additions of one change, gathered by column. */
struct additions {
    struct sqlite_stmt_key key;
    struct value deltas[STORE_FIELDS_MAX], min[STORE_FIELDS_MAX], max[STORE_FIELDS_MAX];
};

static bool has_unique(const struct store_table *t)
{
    for (int i = 0; i < t->index_count; i++)
        if (t->indexes[i].unique)
            return true;
    return false;
}

static bool change_refusable(const struct store_change *c)
{
    return c->kind != STORE_INSERT || has_unique(c->table);
}

static enum sqlite_applied refuse(struct store_unit *u, enum store_verdict verdict,
                                  const struct store_change *c, int index)
{
    u->verdict = verdict;
    u->refused = c;
    u->refused_index = index;
    return APPLY_REFUSED;
}

static enum sqlite_applied broken(const struct sqlite_conn *conn, int rc, const char *what,
                                  struct err *err)
{
    sqlite_db_fail(conn, rc, what, err);
    return APPLY_BROKEN;
}

/* Is there another row with the values that c's row has in that index? 1 yes, 0 no, -1 failed. */
static int is_taken(struct store *s, const struct store_change *c, int index, struct err *err)
{
    const struct store_index *ix = &c->table->indexes[index];
    struct sqlite_stmt_key key = {.table = c->table, .kind = SQL_TAKEN, .a = (uint64_t)index};
    for (int i = 0; i < ix->count; i++)
        if (c->row->values[ix->columns[i]].type == VALUE_NULL)
            return 0;
    sqlite3_stmt *stmt = sqlite_stmts_get(&s->conn, &key, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, c->id);
    for (int i = 0; i < ix->count; i++)
        sqlite_stmts_bind(stmt, i + 2, &c->row->values[ix->columns[i]]);
    int rc = sqlite_stmts_run(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc == SQLITE_ROW;
    return sqlite_db_fail(&s->conn, rc, "read", err);
}

/* After a constraint refused c: which unique index was it? */
static enum sqlite_applied refuse_exists(struct store *s, struct store_unit *u,
                                         const struct store_change *c, int rc, struct err *err)
{
    enum sqlite_applied cause = broken(&s->conn, rc, "write", err);
    for (int i = 0; i < c->table->index_count; i++) {
        if (!c->table->indexes[i].unique)
            continue;
        int taken = is_taken(s, c, i, err);
        if (taken < 0)
            return APPLY_BROKEN;
        if (taken)
            return refuse(u, STORE_EXISTS, c, i);
    }
    if (rc == SQLITE_CONSTRAINT_UNIQUE) /* an index that only a newer generation knows */
        return refuse(u, STORE_EXISTS, c, -1);
    return cause; /* the id itself is taken: nobody hands one out twice */
}

static enum sqlite_applied insert(struct store *s, struct store_unit *u,
                                  const struct store_change *c, struct err *err)
{
    struct sqlite_stmt_key key = {.table = c->table, .kind = SQL_INSERT};
    sqlite3_stmt *stmt = sqlite_stmts_get(&s->conn, &key, err);
    if (!stmt)
        return APPLY_BROKEN;
    sqlite3_bind_int64(stmt, 1, c->id);
    for (int i = 0; i < c->table->field_count; i++)
        sqlite_stmts_bind(stmt, i + 2, &c->row->values[i]);
    int rc = sqlite_stmts_run(stmt);
    if (rc == SQLITE_DONE)
        return APPLIED;
    if ((rc & 0xff) == SQLITE_CONSTRAINT)
        return refuse_exists(s, u, c, rc, err);
    return broken(&s->conn, rc, "insert", err);
}

static enum sqlite_applied update(struct store *s, struct store_unit *u,
                                  const struct store_change *c, struct err *err)
{
    struct sqlite_stmt_key key = {.table = c->table, .kind = SQL_UPDATE, .a = c->mask};
    sqlite3_stmt *stmt = sqlite_stmts_get(&s->conn, &key, err);
    if (!stmt)
        return APPLY_BROKEN;
    sqlite3_bind_int64(stmt, 1, c->id);
    sqlite3_bind_int64(stmt, 2, c->base_version);
    int at = 3;
    for (int i = 0; i < c->table->field_count; i++)
        if (c->mask >> i & 1)
            sqlite_stmts_bind(stmt, at++, &c->row->values[i]);
    int rc = sqlite_stmts_run(stmt);
    if ((rc & 0xff) == SQLITE_CONSTRAINT)
        return refuse_exists(s, u, c, rc, err);
    if (rc != SQLITE_DONE)
        return broken(&s->conn, rc, "update", err);
    return sqlite3_changes(s->conn.db) > 0 ? APPLIED : refuse(u, STORE_CONFLICT, c, -1);
}

static enum sqlite_applied delete_row(struct store *s, struct store_unit *u,
                                      const struct store_change *c, struct err *err)
{
    struct sqlite_stmt_key key = {.table = c->table, .kind = SQL_DELETE};
    sqlite3_stmt *stmt = sqlite_stmts_get(&s->conn, &key, err);
    if (!stmt)
        return APPLY_BROKEN;
    sqlite3_bind_int64(stmt, 1, c->id);
    sqlite3_bind_int64(stmt, 2, c->base_version);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return broken(&s->conn, rc, "delete", err);
    return sqlite3_changes(s->conn.db) > 0 ? APPLIED : refuse(u, STORE_CONFLICT, c, -1);
}

static double as_number(const struct value *v)
{
    return v->type == VALUE_INT ? (double)v->i : v->type == VALUE_NUMBER ? v->n : 0;
}

/* a + b; an overflow of two integers is reported, so that it can be refused. */
static bool sum(const struct value *a, const struct value *b, struct value *ret)
{
    int64_t i = a->type == VALUE_INT ? a->i : 0, total;
    if (a->type != VALUE_NUMBER && b->type == VALUE_INT) {
        if (__builtin_add_overflow(i, b->i, &total))
            return false;
        *ret = value_int(total);
        return true;
    }
    *ret = (struct value){.type = VALUE_NUMBER, .n = as_number(a) + as_number(b)};
    return true;
}

static bool is_below(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_INT && b->type == VALUE_INT)
        return a->i < b->i;
    return as_number(a) < as_number(b);
}

/* Two additions to one column are one: the sum, inside both bounds. */
static void gather(const struct store_change *c, struct additions *ret)
{
    struct sqlite_stmt_key *key = &ret->key;
    *key = (struct sqlite_stmt_key){.table = c->table, .kind = SQL_ADD};
    for (const struct store_add *add = c->adds; add; add = add->next) {
        uint64_t bit = UINT64_C(1) << add->column;
        struct value *delta = &ret->deltas[add->column], *min = &ret->min[add->column],
                     *max = &ret->max[add->column];
        if (!(key->a & bit))
            *delta = add->delta;
        else if (!sum(delta, &add->delta, delta))
            *delta = (struct value){.type = VALUE_NUMBER, .n = 1e300}; /* certain to be refused */
        key->a |= bit;
        if (add->min.type != VALUE_NULL && (!(key->b & bit) || is_below(min, &add->min))) {
            *min = add->min;
            key->b |= bit;
        }
        if (add->max.type != VALUE_NULL && (!(key->c & bit) || is_below(&add->max, max))) {
            *max = add->max;
            key->c |= bit;
        }
    }
}

static bool leaves_bounds(const struct additions *adds, const struct field *f, int column,
                          const struct value *old)
{
    struct value result;
    if (!sum(old, &adds->deltas[column], &result))
        return true;
    if (result.type == VALUE_NUMBER && f->type != FIELD_NUMBER)
        return true;
    return (adds->key.b >> column & 1 && is_below(&result, &adds->min[column])) ||
           (adds->key.c >> column & 1 && is_below(&adds->max[column], &result));
}

/* An addition changed no row: is it gone, or which column would leave its bounds? */
static enum sqlite_applied refuse_add(struct store *s, struct store_unit *u,
                                      const struct store_change *c, const struct additions *adds,
                                      struct err *err)
{
    struct store_row *row;
    int found = sqlite_read_row(&s->conn, c->table, c->id, u->arena, &row, err);
    if (found < 0)
        return APPLY_BROKEN;
    if (found == 0)
        return refuse(u, STORE_CONFLICT, c, -1);
    int column = c->adds->column;
    for (int i = 0; i < c->table->field_count; i++) {
        if (!(adds->key.a >> i & 1) ||
            !leaves_bounds(adds, &c->table->fields[i], i, &row->values[i]))
            continue;
        column = i;
        break;
    }
    return refuse(u, STORE_BOUND, c, column);
}

static enum sqlite_applied add_to(struct store *s, struct store_unit *u,
                                  const struct store_change *c, struct err *err)
{
    struct additions adds;
    assert(c->adds);
    gather(c, &adds);
    sqlite3_stmt *stmt = sqlite_stmts_get(&s->conn, &adds.key, err);
    if (!stmt)
        return APPLY_BROKEN;
    int at = 2;
    sqlite3_bind_int64(stmt, 1, c->id);
    for (int i = 0; i < c->table->field_count; i++) {
        if (!(adds.key.a >> i & 1))
            continue;
        sqlite_stmts_bind(stmt, at++, &adds.deltas[i]);
        if (adds.key.b >> i & 1)
            sqlite_stmts_bind(stmt, at++, &adds.min[i]);
        if (adds.key.c >> i & 1)
            sqlite_stmts_bind(stmt, at++, &adds.max[i]);
    }
    int rc = sqlite_stmts_run(stmt);
    if ((rc & 0xff) == SQLITE_CONSTRAINT) /* a column that counts is part of a unique key */
        return refuse(u, STORE_BOUND, c, c->adds->column);
    if (rc != SQLITE_DONE)
        return broken(&s->conn, rc, "add", err);
    return sqlite3_changes(s->conn.db) > 0 ? APPLIED : refuse_add(s, u, c, &adds, err);
}

static enum sqlite_applied apply_change(struct store *s, struct store_unit *u,
                                        const struct store_change *c, struct err *err)
{
    switch (c->kind) {
    case STORE_INSERT:
        return insert(s, u, c, err);
    case STORE_UPDATE:
        return update(s, u, c, err);
    case STORE_DELETE:
        return delete_row(s, u, c, err);
    case STORE_ADD:
        break;
    }
    return add_to(s, u, c, err);
}

static enum sqlite_applied apply_part(struct store *s, struct store_unit *u, enum part part,
                                      struct err *err)
{
    for (const struct store_change *c = u->changes; c; c = c->next) {
        if (!(part & (change_refusable(c) ? PART_REFUSABLE : PART_REST)))
            continue;
        enum sqlite_applied applied = apply_change(s, u, c, err);
        if (applied != APPLIED)
            return applied;
    }
    for (struct store_note *n = u->notes; n; n = n->next) {
        if (!(part & (sqlite_notes_refusable(n) ? PART_REFUSABLE : PART_REST)))
            continue;
        int gone = sqlite_notes_write(s, n, err);
        if (gone < 0)
            return APPLY_BROKEN;
        if (gone)
            return refuse(u, STORE_CONFLICT, NULL, -1);
    }
    return APPLIED;
}

/* What nothing can refuse; events last, so that a refused unit has taken no seq. */
static enum sqlite_applied apply_rest(struct store *s, struct store_unit *u, struct err *err)
{
    for (const struct store_timer *t = u->timers; t; t = t->next)
        if (sqlite_notes_timer(s, t, err) < 0)
            return APPLY_BROKEN;
    for (int i = 0; i < u->cancel_count; i++)
        if (sqlite_notes_cancel(s, u->cancels[i], err) < 0)
            return APPLY_BROKEN;
    for (struct store_event *e = u->events; e; e = e->next)
        if (sqlite_notes_event(s, u, e, err) < 0)
            return APPLY_BROKEN;
    return APPLIED;
}

static int count_refusable(const struct store_unit *u)
{
    int n = 0;
    for (const struct store_change *c = u->changes; c; c = c->next)
        n += change_refusable(c);
    for (const struct store_note *note = u->notes; note; note = note->next)
        n += sqlite_notes_refusable(note);
    return n;
}

static enum sqlite_applied apply_guarded(struct store *s, struct store_unit *u, struct err *err)
{
    struct sqlite_conn *conn = &s->conn;
    if (sqlite_stmts_do(conn, SQL_SAVEPOINT, err) < 0)
        return APPLY_BROKEN;
    enum sqlite_applied applied = apply_part(s, u, PART_ALL, err);
    if (applied == APPLIED)
        applied = apply_rest(s, u, err);
    if (applied == APPLY_BROKEN)
        return applied;
    if (applied == APPLY_REFUSED && sqlite_stmts_do(conn, SQL_ROLLBACK_TO, err) < 0)
        return APPLY_BROKEN;
    return sqlite_stmts_do(conn, SQL_RELEASE, err) < 0 ? APPLY_BROKEN : applied;
}

enum sqlite_applied sqlite_apply_unit(struct store *s, struct store_unit *u, struct err *err)
{
    u->verdict = STORE_COMMITTED;
    u->refused = NULL;
    u->refused_index = -1;
    int refusable = count_refusable(u);
    if (refusable > 1)
        return apply_guarded(s, u, err);
    enum sqlite_applied applied = APPLIED;
    if (refusable == 1)
        applied = apply_part(s, u, PART_REFUSABLE, err);
    if (applied == APPLIED)
        applied = apply_part(s, u, PART_REST, err);
    return applied == APPLIED ? apply_rest(s, u, err) : applied;
}
