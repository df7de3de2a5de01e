/* SPDX-License-Identifier: MIT */
/* A task must read its own writes, and they are not in the database before it ends. So every read
 * is laid under the changes of its scopes here, the same way for every engine: an engine that knew
 * about scopes would have to be trusted to sort and compare as this does. */
#include "store/read.h"

#include <assert.h>
#include <stdlib.h>

#define TWO_63 9223372036854775808.0

static void add_delta(struct value *v, const struct value *delta)
{
    if (v->type == VALUE_NULL)
        *v = value_int(0); /* as the writer has it: nothing yet counts as 0 */
    if (v->type == VALUE_INT && delta->type == VALUE_INT) {
        int64_t sum;
        if (__builtin_add_overflow(v->i, delta->i, &sum))
            sum = delta->i > 0 ? INT64_MAX : INT64_MIN; /* the writer will refuse it */
        v->i = sum;
        return;
    }
    double n = v->type == VALUE_INT ? (double)v->i : v->n;
    n += delta->type == VALUE_INT ? (double)delta->i : delta->n;
    *v = (struct value){.type = VALUE_NUMBER, .n = n};
}

/* The row as the scope sees it: found with the changes of s and its parents, copied to the read's
 * arena if there are any. NULL: not there. Additions lie on whatever the layers below make of the
 * row. */
static struct store_row *see(const struct store_read *r, const struct store_scope *s, int64_t id,
                             struct store_row *found)
{
    const struct store_change *c = NULL;
    while (s && !(c = store_scope_find_here(s, r->table, id)))
        s = s->parent;
    if (!c)
        return found;
    if (c->kind == STORE_DELETE)
        return NULL;
    if (c->kind != STORE_ADD) {
        struct store_row *row = store_row_copy(r->arena, r->table, c->row);
        row->version = c->base_version;
        return row;
    }
    struct store_row *below = see(r, s->parent, id, found);
    if (!below)
        return NULL;
    struct store_row *row = store_row_copy(r->arena, r->table, below);
    for (const struct store_add *add = c->adds; add; add = add->next)
        add_delta(&row->values[add->column], &add->delta);
    return row;
}

static bool matches(const struct store_read *r, const struct store_row *row)
{
    if (r->after_id > 0 && row->id <= r->after_id)
        return false;
    for (int i = 0; i < r->cond_count; i++) {
        const struct store_cond *cond = &r->conds[i];
        struct value id = value_int(row->id);
        const struct value *v = cond->column == STORE_COLUMN_ID ? &id : &row->values[cond->column];
        if (!value_eq(v, &cond->value))
            return false;
    }
    return true;
}

/* Null, then numbers (true is 1), then text. */
static int rank(const struct value *v)
{
    return v->type == VALUE_NULL ? 0 : v->type == VALUE_TEXT ? 2 : 1;
}

static int compare_ints(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Exact: a large integer is not rounded to the nearest double first. */
static int compare_int_number(int64_t i, double n)
{
    if (n >= TWO_63)
        return -1;
    if (n < -TWO_63)
        return 1;
    int64_t whole = (int64_t)n;
    if (i != whole)
        return i < whole ? -1 : 1;
    double rest = n - (double)whole;
    return (rest < 0) - (rest > 0);
}

static int compare_numbers(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_NUMBER && b->type == VALUE_NUMBER)
        return (a->n > b->n) - (a->n < b->n);
    int64_t left = a->type == VALUE_BOOL ? a->b : a->i;
    int64_t right = b->type == VALUE_BOOL ? b->b : b->i;
    if (b->type == VALUE_NUMBER)
        return compare_int_number(left, b->n);
    if (a->type == VALUE_NUMBER)
        return -compare_int_number(right, a->n);
    return compare_ints(left, right);
}

static int compare_text(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_values(const struct value *a, const struct value *b)
{
    int left = rank(a), right = rank(b);
    if (left != right)
        return left - right;
    if (left == 0)
        return 0;
    return left == 1 ? compare_numbers(a, b) : compare_text(a->s, b->s);
}

static int compare_by(int column, const struct store_row *a, const struct store_row *b)
{
    if (column == STORE_COLUMN_ID)
        return compare_ints(a->id, b->id);
    return compare_values(&a->values[column], &b->values[column]);
}

static int compare_rows(const void *left, const void *right, void *read)
{
    const struct store_read *r = read;
    const struct store_row *a = *(struct store_row *const *)left;
    const struct store_row *b = *(struct store_row *const *)right;
    bool descending = r->descending;
    int order = compare_by(r->order_column, a, b);
    for (int i = 0; order == 0 && i < r->more_count; i++) {
        descending = r->more[i].descending;
        order = compare_by(r->more[i].column, a, b);
    }
    if (order == 0)
        order = compare_ints(a->id, b->id);
    return descending ? -order : order;
}

/* Does the scope itself say all that there is to know about the row? */
static bool is_settled(const struct store_change *c)
{
    return c && c->kind != STORE_ADD;
}

/* Rows of the database that the scope left alone or added to, and that still match. */
static size_t keep_found(const struct store_read *r, struct store_row **out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->row_count; i++) {
        int64_t id = r->rows[i]->id;
        if (is_settled(store_scope_find(r->scope, r->table, id)))
            continue;
        struct store_row *row = see(r, r->scope, id, r->rows[i]);
        if (row == r->rows[i] || (row && matches(r, row)))
            out[n++] = row;
    }
    return n;
}

/* Rows whose whole content the scope has, and that match. A row is taken at the innermost layer
 * that changed it. */
static size_t take_settled(const struct store_read *r, struct store_row **out)
{
    size_t n = 0;
    for (const struct store_scope *s = r->scope; s; s = s->parent) {
        for (const struct store_change *c = s->first; c; c = c->next) {
            if (c->table->number != r->table->number || !c->row || !matches(r, c->row))
                continue;
            if (store_scope_find(r->scope, r->table, c->id) == c)
                out[n++] = see(r, s, c->id, NULL);
        }
    }
    return n;
}

static size_t changes_in_sight(const struct store_scope *s)
{
    size_t n = 0;
    for (; s; s = s->parent)
        n += (size_t)s->change_count;
    return n;
}

static void cut(struct store_read *r)
{
    size_t skip = r->offset > 0 ? (size_t)r->offset : 0;
    if (skip > r->row_count)
        skip = r->row_count;
    r->rows += skip;
    r->row_count -= skip;
    if (r->limit > 0 && (size_t)r->limit < r->row_count)
        r->row_count = (size_t)r->limit;
}

static void overlay_rows(struct store_read *r)
{
    size_t most = r->row_count + changes_in_sight(r->scope);
    struct store_row **rows = arena_alloc(r->arena, most * sizeof(struct store_row *));
    size_t n = keep_found(r, rows);
    n += take_settled(r, rows + n);
    assert(n <= most);
    r->rows = rows;
    r->row_count = n;
    if (r->kind == STORE_READ_COUNT) {
        r->count = (int64_t)n;
        return;
    }
    qsort_r(rows, n, sizeof *rows, compare_rows, r);
    cut(r);
}

static void overlay_get(struct store_read *r)
{
    struct store_row *found = r->row_count > 0 ? r->rows[0] : NULL;
    struct store_row *row = see(r, r->scope, r->id, found);
    if (row == found)
        return;
    if (!row) {
        r->row_count = 0;
        return;
    }
    if (r->row_count == 0)
        r->rows = arena_alloc(r->arena, sizeof(struct store_row *));
    r->rows[0] = row;
    r->row_count = 1;
}

static bool asks_for(const struct store_read *r, const struct store_change *c)
{
    for (const struct store_add *add = c->adds; add; add = add->next)
        for (int i = 0; i < r->cond_count; i++)
            if (r->conds[i].column == add->column)
                return true;
    return false;
}

static bool has_id(const struct store_read *r, const int64_t *ids, size_t count, int64_t id)
{
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i]->id == id)
            return true;
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

size_t store_scope_added(const struct store_read *r, int64_t **ret_ids)
{
    size_t n = 0;
    int64_t *ids = NULL;
    for (const struct store_scope *s = r->scope; s; s = s->parent) {
        for (const struct store_change *c = s->first; c; c = c->next) {
            if (c->kind != STORE_ADD || c->table->number != r->table->number || !asks_for(r, c) ||
                has_id(r, ids, n, c->id))
                continue;
            if (!ids)
                ids = arena_alloc(r->arena, changes_in_sight(r->scope) * sizeof(*ids));
            ids[n++] = c->id;
        }
    }
    *ret_ids = ids;
    return n;
}

void store_scope_overlay(struct store_read *r)
{
    if (!r->scope || r->failed || r->kind == STORE_READ_ID)
        return;
    if (r->kind == STORE_READ_GET)
        overlay_get(r);
    else if (store_scope_touches(r->scope, r->table))
        overlay_rows(r);
}
