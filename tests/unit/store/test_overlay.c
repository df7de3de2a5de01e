/* SPDX-License-Identifier: MIT */
/* A task reads its own writes: what an engine found, under the changes of the scopes. The last case
 * plays random work against a plain model, reads by reads, and applies the unit in the end: both
 * must agree. */
#include "store/read.h"

#include <stdlib.h>

/* cmocka wants these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { A, B, NAME, COLUMNS };

static struct field fields[COLUMNS];
static const struct store_table table = {.number = 0, .fields = fields, .field_count = COLUMNS};
static const struct store_table sibling = {.number = 1, .fields = fields, .field_count = COLUMNS};

struct fix {
    struct arena *arena;
    struct store_scope *root;
    struct store_read read;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    f->arena = arena_new(0);
    f->root = store_scope_open(NULL);
    f->read.kind = STORE_READ_FIND;
    f->read.table = &table;
    f->read.order_column = STORE_COLUMN_ID;
    f->read.arena = f->arena;
    f->read.scope = f->root;
    f->read.rows = arena_alloc(f->arena, 64 * sizeof(struct store_row *));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    store_scope_drop(f->root);
    arena_free(f->arena);
    free(f);
    return 0;
}

static struct store_row *make_row(struct arena *a, int64_t id, int64_t version, int64_t first)
{
    struct store_row *row = store_row_new(a, &table);
    row->id = id;
    row->version = version;
    row->values[A] = value_int(first);
    row->values[B] = value_int(100);
    return row;
}

/* The engine finds this row. */
static struct store_row *found(struct fix *f, int64_t id, int64_t first)
{
    struct store_row *row = make_row(f->arena, id, 5, first);
    f->read.rows[f->read.row_count++] = row;
    return row;
}

static void get(struct fix *f, int64_t id)
{
    f->read.kind = STORE_READ_GET;
    f->read.id = id;
}

static void where(struct fix *f, int column, struct value v)
{
    f->read.conds[f->read.cond_count++] = (struct store_cond){column, v};
}

static void insert(struct store_scope *s, int64_t id, int64_t first)
{
    store_scope_insert(s, &table, make_row(s->unit->arena, id, 9, first));
}

static void update(struct store_scope *s, int64_t id, int64_t first)
{
    struct arena *a = s->unit->arena;
    store_scope_update(s, &table, make_row(a, id, 5, 0), make_row(a, id, 9, first), 1);
}

static void erase(struct store_scope *s, int64_t id)
{
    store_scope_delete(s, &table, make_row(s->unit->arena, id, 5, 0));
}

static void add_value(struct store_scope *s, int64_t id, int column, struct value delta)
{
    struct store_add *add = arena_zalloc(s->unit->arena, sizeof *add);
    add->column = column;
    add->delta = delta;
    store_scope_add(s, &table, id, add);
}

static void add(struct store_scope *s, int64_t id, int column, int64_t delta)
{
    add_value(s, id, column, value_int(delta));
}

static void assert_ids(const struct store_read *r, const int64_t *ids, size_t count)
{
    assert_int_equal(r->row_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(r->rows[i]->id, ids[i]);
}

#define ASSERT_IDS(f, ...)                                                                         \
    assert_ids(&(f)->read, (const int64_t[]){__VA_ARGS__},                                         \
               sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void read_without_scope_or_changes_stays_as_it_is(void **state)
{
    struct fix *f = *state;
    struct store_row *two = found(f, 2, 1), *one = found(f, 1, 1);
    f->read.limit = 1; /* the engine's matter then */
    store_scope_insert(f->root, &sibling, make_row(f->root->unit->arena, 3, 0, 1));
    store_scope_overlay(&f->read);
    assert_ptr_equal(f->read.rows[0], two);
    assert_ptr_equal(f->read.rows[1], one);
    f->read.scope = NULL;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 2);
}

static void failed_read_stays_failed(void **state)
{
    struct fix *f = *state;
    insert(f->root, 1, 1);
    f->read.failed = true;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

static void get_of_an_untouched_row_is_the_engines(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    struct store_row *row = found(f, 1, 7);
    update(f->root, 2, 8);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 1);
    assert_ptr_equal(f->read.rows[0], row);
}

static void get_of_an_inserted_row(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    f->read.rows = NULL;
    insert(f->root, 1, 7);
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1);
    assert_int_equal(f->read.rows[0]->values[A].i, 7);
    assert_int_equal(f->read.rows[0]->version, 0);
}

static void get_of_an_updated_row_is_a_copy_of_the_base_version(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    found(f, 1, 7)->version = 6;
    update(f->root, 1, 8);
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1);
    assert_int_equal(f->read.rows[0]->values[A].i, 8);
    assert_int_equal(f->read.rows[0]->version, 5);
    f->read.rows[0]->values[A].i = 9;
    assert_int_equal(store_scope_find(f->root, &table, 1)->row->values[A].i, 8);
}

static void get_of_a_deleted_row_finds_nothing(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    found(f, 1, 7);
    erase(f->root, 1);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

static void get_sees_the_nearest_layer(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    found(f, 1, 7);
    update(f->root, 1, 8);
    struct store_scope *mid = store_scope_open(f->root), *deep = store_scope_open(mid);
    update(mid, 1, 9);
    f->read.scope = deep;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.rows[0]->values[A].i, 9);
    erase(deep, 1);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

static void adds_of_all_layers_lie_on_the_found_row(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    struct store_row *row = found(f, 1, 7);
    struct store_scope *mid = store_scope_open(f->root), *deep = store_scope_open(mid);
    add(f->root, 1, A, -2);
    add(deep, 1, A, 10);
    add(deep, 1, B, 1);
    f->read.scope = deep;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.rows[0]->values[A].i, 15);
    assert_int_equal(f->read.rows[0]->values[B].i, 101);
    assert_int_equal(f->read.rows[0]->version, 5);
    assert_int_equal(row->values[A].i, 7);
}

static void add_on_a_row_that_is_gone_finds_nothing(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    add(f->root, 1, A, 1);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

static void add_computes_with_null_numbers_and_limits(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    struct store_row *row = found(f, 1, INT64_MAX);
    row->values[B] = (struct value){.type = VALUE_NUMBER, .n = 1.5};
    row->values[NAME] = VALUE_NONE;
    add(f->root, 1, A, 1);
    add(f->root, 1, B, 2);
    add(f->root, 1, NAME, 1);
    store_scope_overlay(&f->read);
    const struct value *v = f->read.rows[0]->values;
    assert_int_equal(v[A].i, INT64_MAX);
    assert_true(v[B].type == VALUE_NUMBER && v[B].n == 3.5);
    assert_true(v[NAME].type == VALUE_INT && v[NAME].i == 1);
}

static void number_added_to_an_integer_is_a_number(void **state)
{
    struct fix *f = *state;
    get(f, 1);
    found(f, 1, 2);
    add_value(f->root, 1, A, (struct value){.type = VALUE_NUMBER, .n = 0.5});
    store_scope_overlay(&f->read);
    const struct value *v = f->read.rows[0]->values;
    assert_true(v[A].type == VALUE_NUMBER && v[A].n == 2.5);
}

static void find_replaces_removes_and_adds_rows(void **state)
{
    struct fix *f = *state;
    where(f, A, value_int(1));
    found(f, 2, 1);
    found(f, 4, 1);
    found(f, 6, 1);
    found(f, 8, 1);
    update(f->root, 2, 1);  /* still matches */
    update(f->root, 4, 2);  /* no longer */
    erase(f->root, 6);      /* gone */
    update(f->root, 3, 1);  /* matches now */
    insert(f->root, 9, 1);  /* new */
    insert(f->root, 10, 2); /* new and other */
    update(f->root, 2, 1);
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 2, 3, 8, 9);
}

static void find_takes_each_row_at_its_innermost_layer(void **state)
{
    struct fix *f = *state;
    where(f, A, value_int(1));
    found(f, 1, 1);
    struct store_scope *mid = store_scope_open(f->root), *deep = store_scope_open(mid);
    insert(f->root, 2, 1);
    insert(f->root, 3, 1);
    insert(f->root, 4, 2);
    update(mid, 1, 2);
    update(mid, 2, 2);
    update(deep, 1, 1);
    erase(deep, 3);
    update(deep, 4, 1);
    f->read.scope = deep;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1, 4);
}

static void row_that_an_add_moved_out_of_the_condition_is_removed(void **state)
{
    struct fix *f = *state;
    where(f, A, value_int(1));
    found(f, 1, 1);
    found(f, 2, 1);
    add(f->root, 1, A, 1);
    add(f->root, 2, B, 1);
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 2);
    assert_int_equal(f->read.rows[0]->values[B].i, 101);
}

static void row_that_an_add_moved_into_the_condition_is_asked_for(void **state)
{
    struct fix *f = *state;
    int64_t *ids;
    where(f, A, value_int(1));
    found(f, 4, 1);
    add(f->root, 1, A, 1);
    add(f->root, 2, B, 1); /* not in the condition */
    add(f->root, 4, A, 0); /* found already */
    struct store_scope *deep = store_scope_open(f->root);
    add(deep, 1, A, 1);
    f->read.scope = deep;
    assert_int_equal(store_scope_added(&f->read, &ids), 1);
    assert_int_equal(ids[0], 1);
    found(f, 1, -1); /* the engine looked */
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1, 4);
    store_scope_drop(deep);
}

static void conditions_compare_null_numbers_text_and_id(void **state)
{
    struct fix *f = *state;
    struct arena *a = f->root->unit->arena;
    struct store_row *row = make_row(a, 1, 0, 2);
    row->values[NAME] = value_text(STR("x"));
    store_scope_insert(f->root, &table, row);
    row = make_row(a, 2, 0, 2);
    store_scope_insert(f->root, &table, row);
    insert(f->root, 3, 3);
    where(f, A, (struct value){.type = VALUE_NUMBER, .n = 2.0});
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1, 2);
    where(f, NAME, VALUE_NONE);
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 2);
    f->read.conds[1].value = value_text(STR("x"));
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1);
    where(f, STORE_COLUMN_ID, value_int(2));
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

/* Ids 1.. with these values in column A. */
static void insert_values(struct fix *f, const struct value *values, int count)
{
    for (int i = 0; i < count; i++) {
        struct store_row *row = make_row(f->root->unit->arena, i + 1, 0, 0);
        row->values[A] = values[i];
        store_scope_insert(f->root, &table, row);
    }
}

static void order_is_null_then_numbers_then_text_and_equals_by_id(void **state)
{
    struct fix *f = *state;
    const struct value values[] = {
        value_text(STR("b")), value_text(STR("a\xff")),         value_text(STR("a")),
        value_int(2),         {.type = VALUE_NUMBER, .n = 1.5}, VALUE_NONE,
        value_int(-1),        {.type = VALUE_BOOL, .b = true},  VALUE_NONE,
    };
    insert_values(f, values, 9);
    f->read.order_column = A;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 6, 9, 7, 8, 5, 4, 3, 2, 1);
    f->read.descending = true;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 1, 2, 3, 4, 5, 8, 7, 9, 6);
}

static void large_numbers_are_ordered_exactly(void **state)
{
    struct fix *f = *state;
    const struct value values[] = {
        {.type = VALUE_NUMBER, .n = 1e300},
        value_int(INT64_MAX),
        {.type = VALUE_NUMBER, .n = 9007199254740992.0},
        value_int(9007199254740993), /* as a double it would equal the one above */
        value_int(9007199254740991),
        value_int(INT64_MIN),
        {.type = VALUE_NUMBER, .n = -1e300},
        {.type = VALUE_NUMBER, .n = -0.5},
        value_int(0),
    };
    insert_values(f, values, 9);
    f->read.order_column = A;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 7, 6, 8, 9, 5, 3, 4, 2, 1);
}

static void order_by_id_descends_too(void **state)
{
    struct fix *f = *state;
    found(f, 1, 1);
    found(f, 5, 1);
    insert(f->root, 3, 1);
    f->read.descending = true;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 5, 3, 1);
}

static void rows_up_to_after_id_are_left_out(void **state)
{
    struct fix *f = *state;
    found(f, 5, 1);
    insert(f->root, 2, 1);
    insert(f->root, 3, 1);
    insert(f->root, 4, 1);
    f->read.after_id = 3;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 4, 5);
}

static void offset_and_limit_cut_after_the_changes(void **state)
{
    struct fix *f = *state;
    for (int64_t id = 1; id <= 9; id += 2)
        found(f, id, 1);
    insert(f->root, 4, 1);
    erase(f->root, 1);
    f->read.offset = 1;
    f->read.limit = 3;
    store_scope_overlay(&f->read);
    ASSERT_IDS(f, 4, 5, 7);
}

static void offset_past_the_end_leaves_nothing(void **state)
{
    struct fix *f = *state;
    found(f, 1, 1);
    insert(f->root, 2, 1);
    f->read.offset = 3;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.row_count, 0);
}

static void count_is_the_engines_until_touched(void **state)
{
    struct fix *f = *state;
    f->read.kind = STORE_READ_COUNT;
    f->read.count = 17;
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.count, 17);
    where(f, A, value_int(1));
    found(f, 1, 1);
    found(f, 2, 1);
    insert(f->root, 3, 1);
    insert(f->root, 4, 2);
    update(f->root, 1, 2);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.count, 2);
}

static void every_found_row_deleted_counts_nothing(void **state)
{
    struct fix *f = *state;
    f->read.kind = STORE_READ_COUNT;
    f->read.count = 1;
    found(f, 1, 1);
    erase(f->root, 1);
    store_scope_overlay(&f->read);
    assert_int_equal(f->read.count, 0);
}

/* ---- random work against a model ---- */

#define IDS 40
#define DEPTH 4
#define STEPS 400

/* All rows by id; version 0 = none. */
struct rows {
    int64_t version[IDS], a[IDS], b[IDS];
};

struct play {
    struct rows db;           /* committed */
    struct rows sight[DEPTH]; /* as each scope sees it */
    struct store_scope *scopes[DEPTH];
    int top, next_id;
    uint32_t seed;
};

static int pick(struct play *p, int n)
{
    p->seed = p->seed * 1664525 + 1013904223;
    return (int)((p->seed >> 8) % (uint32_t)n);
}

static struct store_row *row_of(struct arena *a, const struct rows *rows, int id)
{
    struct store_row *row = make_row(a, id, rows->version[id], rows->a[id]);
    row->values[B] = value_int(rows->b[id]);
    return row;
}

/* As the engine would: everything that matches in the database, and what the scope asks for. */
static void engine_find(struct play *p, struct store_read *r)
{
    r->rows = arena_alloc(r->arena, IDS * sizeof(struct store_row *));
    r->row_count = 0;
    for (int id = 1; id < IDS; id++) {
        if (p->db.version[id] > 0 && (r->cond_count == 0 || p->db.a[id] == r->conds[0].value.i))
            r->rows[r->row_count++] = row_of(r->arena, &p->db, id);
    }
    int64_t *added;
    size_t count = store_scope_added(r, &added);
    for (size_t i = 0; i < count; i++)
        if (p->db.version[added[i]] > 0)
            r->rows[r->row_count++] = row_of(r->arena, &p->db, (int)added[i]);
}

static int64_t sort_key(const struct rows *rows, const struct store_read *r, int id)
{
    int64_t v = r->order_column == A ? rows->a[id] : r->order_column == B ? rows->b[id] : id;
    int64_t key = v * 1000 + id;
    if (r->more_count == 0)
        return r->descending ? -key : key;
    int64_t more = r->more[0].column == A ? rows->a[id] : rows->b[id];
    more = more * 1000 + id;
    return (r->descending ? -v : v) * 100000 + (r->more[0].descending ? -more : more);
}

/* Ids that match in the model, by selection: slow and plain. */
static size_t model_find(const struct rows *rows, const struct store_read *r, int *out)
{
    bool taken[IDS] = {false};
    size_t n = 0;
    for (;;) {
        int best = 0;
        for (int id = 1; id < IDS; id++) {
            bool match = r->cond_count == 0 || rows->a[id] == r->conds[0].value.i;
            if (rows->version[id] == 0 || taken[id] || !match)
                continue;
            if (best == 0 || sort_key(rows, r, id) < sort_key(rows, r, best))
                best = id;
        }
        if (best == 0)
            return n;
        taken[best] = true;
        out[n++] = best;
    }
}

static void check_find(struct play *p)
{
    struct store_scope *s = p->scopes[p->top];
    if (!store_scope_touches(s, &table))
        return;
    const struct rows *sight = &p->sight[p->top];
    struct store_read r = {.kind = STORE_READ_FIND,
                           .table = &table,
                           .scope = s,
                           .limit = pick(p, 6),
                           .offset = pick(p, 4)};
    r.arena = arena_new(0);
    r.order_column = pick(p, 3) - 1;
    r.descending = pick(p, 2) == 0;
    r.more_count = pick(p, 2);
    r.more[0] = (struct store_order){pick(p, 2) ? A : B, pick(p, 2) == 0};
    r.cond_count = pick(p, 2);
    r.conds[0] = (struct store_cond){A, value_int(pick(p, 3))};
    engine_find(p, &r);
    store_scope_overlay(&r);
    int ids[IDS];
    size_t n = model_find(sight, &r, ids), skip = (size_t)r.offset < n ? (size_t)r.offset : n;
    size_t left = n - skip;
    size_t expected = r.limit > 0 && (size_t)r.limit < left ? (size_t)r.limit : left;
    assert_int_equal(r.row_count, expected);
    for (size_t i = 0; i < expected; i++) {
        int id = ids[skip + i];
        assert_int_equal(r.rows[i]->id, id);
        assert_int_equal(r.rows[i]->values[A].i, sight->a[id]);
        assert_int_equal(r.rows[i]->values[B].i, sight->b[id]);
    }
    arena_free(r.arena);
}

static void step_insert(struct play *p)
{
    if (p->next_id == IDS)
        return;
    struct rows *sight = &p->sight[p->top];
    int id = p->next_id++;
    sight->version[id] = 1;
    sight->a[id] = pick(p, 3);
    sight->b[id] = pick(p, 10);
    struct store_scope *s = p->scopes[p->top];
    store_scope_insert(s, &table, row_of(s->unit->arena, sight, id));
}

static void step_update(struct play *p, int id)
{
    struct rows *sight = &p->sight[p->top];
    struct store_scope *s = p->scopes[p->top];
    struct store_row *base = row_of(s->unit->arena, sight, id);
    int column = pick(p, 2);
    *(column == A ? &sight->a[id] : &sight->b[id]) = pick(p, 3);
    store_scope_update(s, &table, base, row_of(s->unit->arena, sight, id), UINT64_C(1) << column);
}

static void step_delete(struct play *p, int id)
{
    struct rows *sight = &p->sight[p->top];
    struct store_scope *s = p->scopes[p->top];
    store_scope_delete(s, &table, row_of(s->unit->arena, sight, id));
    sight->version[id] = 0;
}

/* As the caller must: an update where the task changed the row itself. */
static void step_add(struct play *p, int id)
{
    struct store_scope *s = p->scopes[p->top];
    const struct store_change *c = store_scope_find(s, &table, id);
    if (c && c->kind != STORE_ADD) {
        step_update(p, id);
        return;
    }
    int delta = pick(p, 5) - 2, column = pick(p, 2);
    *(column == A ? &p->sight[p->top].a[id] : &p->sight[p->top].b[id]) += delta;
    add(s, id, column, delta);
}

static void step_scope(struct play *p)
{
    if (p->top < DEPTH - 1 && pick(p, 2) == 0) {
        p->scopes[p->top + 1] = store_scope_open(p->scopes[p->top]);
        p->sight[p->top + 1] = p->sight[p->top];
        p->top++;
        return;
    }
    if (p->top == 0)
        return;
    if (pick(p, 3) == 0) {
        store_scope_drop(p->scopes[p->top]);
    } else {
        store_scope_close(p->scopes[p->top]);
        p->sight[p->top - 1] = p->sight[p->top];
    }
    p->top--;
}

static void step(struct play *p)
{
    int what = pick(p, 10), id = 1 + pick(p, IDS - 1);
    if (what == 0)
        step_scope(p);
    else if (what == 1)
        step_insert(p);
    else if (p->sight[p->top].version[id] == 0)
        return;
    else if (what == 2)
        step_delete(p, id);
    else if (what < 6)
        step_update(p, id);
    else
        step_add(p, id);
}

/* As the writer would. */
static void apply(struct rows *db, const struct store_change *c)
{
    int64_t id = c->id;
    if (c->kind == STORE_UPDATE || c->kind == STORE_DELETE)
        assert_int_equal(c->base_version, db->version[id]);
    assert_true((c->kind == STORE_INSERT) == (db->version[id] == 0));
    if (c->kind == STORE_DELETE)
        db->version[id] = 0;
    if (c->kind == STORE_INSERT)
        db->version[id] = 1;
    if (c->kind == STORE_INSERT || (c->kind == STORE_UPDATE && c->mask & 1))
        db->a[id] = c->row->values[A].i;
    if (c->kind == STORE_INSERT || (c->kind == STORE_UPDATE && c->mask & 2))
        db->b[id] = c->row->values[B].i;
    for (const struct store_add *one = c->adds; one; one = one->next)
        *(one->column == A ? &db->a[id] : &db->b[id]) += one->delta.i;
}

static void play(uint32_t seed)
{
    struct play p = {.seed = seed, .next_id = 20};
    for (int id = 1; id < 20; id++) {
        p.db.version[id] = 1 + pick(&p, 5);
        p.db.a[id] = pick(&p, 3);
        p.db.b[id] = pick(&p, 10);
    }
    p.scopes[0] = store_scope_open(NULL);
    p.sight[0] = p.db;
    for (int i = 0; i < STEPS; i++) {
        step(&p);
        check_find(&p);
    }
    while (p.top > 0) {
        store_scope_close(p.scopes[p.top]);
        p.sight[p.top - 1] = p.sight[p.top];
        p.top--;
    }
    struct store_unit *u = store_scope_close(p.scopes[0]);
    for (const struct store_change *c = u->changes; c; c = c->next)
        apply(&p.db, c);
    for (int id = 1; id < IDS; id++) {
        assert_true((p.db.version[id] > 0) == (p.sight[0].version[id] > 0));
        if (p.db.version[id] == 0)
            continue;
        assert_int_equal(p.db.a[id], p.sight[0].a[id]);
        assert_int_equal(p.db.b[id], p.sight[0].b[id]);
    }
    store_unit_unref(u);
}

static void random_work_reads_what_it_commits(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++)
        play(seed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(read_without_scope_or_changes_stays_as_it_is),
        TEST(failed_read_stays_failed),
        TEST(get_of_an_untouched_row_is_the_engines),
        TEST(get_of_an_inserted_row),
        TEST(get_of_an_updated_row_is_a_copy_of_the_base_version),
        TEST(get_of_a_deleted_row_finds_nothing),
        TEST(get_sees_the_nearest_layer),
        TEST(adds_of_all_layers_lie_on_the_found_row),
        TEST(add_on_a_row_that_is_gone_finds_nothing),
        TEST(add_computes_with_null_numbers_and_limits),
        TEST(number_added_to_an_integer_is_a_number),
        TEST(find_replaces_removes_and_adds_rows),
        TEST(find_takes_each_row_at_its_innermost_layer),
        TEST(row_that_an_add_moved_out_of_the_condition_is_removed),
        TEST(row_that_an_add_moved_into_the_condition_is_asked_for),
        TEST(conditions_compare_null_numbers_text_and_id),
        TEST(order_is_null_then_numbers_then_text_and_equals_by_id),
        TEST(large_numbers_are_ordered_exactly),
        TEST(order_by_id_descends_too),
        TEST(rows_up_to_after_id_are_left_out),
        TEST(offset_and_limit_cut_after_the_changes),
        TEST(offset_past_the_end_leaves_nothing),
        TEST(count_is_the_engines_until_touched),
        TEST(every_found_row_deleted_counts_nothing),
        cmocka_unit_test(random_work_reads_what_it_commits),
    };
    return cmocka_run_group_tests_name("store/overlay", tests, NULL, NULL);
}
