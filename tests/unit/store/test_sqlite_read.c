/* SPDX-License-Identifier: MIT */

/* Reading: what a question finds, on which picture, with which statement, and when the answer
 * comes. Ids too: they are handed out by the reading side. */

#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <sched.h>

static int open_slow(void **state)
{
    struct fixture *f = fixture_new();
    f->slow_reads = true;
    *state = f;
    fixture_open(f);
    return 0;
}

static int open_inline(void **state)
{
    struct fixture *f = fixture_new();
    f->inline_writer = true;
    *state = f;
    fixture_open(f);
    return 0;
}

static int64_t order_of(struct fixture *f, int64_t qty, const char *status)
{
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, ORDERS);
    struct store_change *c = fixture_insert_order(f, u, id, qty);
    c->row->values[STATUS] =
        status ? value_text(arena_str(u->arena, str_from(status))) : VALUE_NONE;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    return id;
}

static struct store_read find(struct fixture *f)
{
    return (struct store_read){
        .kind = STORE_READ_FIND, .table = &f->tables[ORDERS], .order_column = STORE_COLUMN_ID};
}

static void expect_ids(const struct store_read *r, size_t count, const int64_t *ids)
{
    assert_int_equal(r->row_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(r->rows[i]->id, ids[i]);
}

static size_t count_statements(const struct sqlite_conn *conn)
{
    size_t n = 0;
    for (sqlite3_stmt *st = sqlite3_next_stmt(conn->db, NULL); st;
         st = sqlite3_next_stmt(conn->db, st))
        n++;
    return n;
}

static void finds_by_equality_and_order(void **state)
{
    struct fixture *f = *state;
    const int64_t a = order_of(f, 5, "Paid"), b = order_of(f, 3, "Paid"), c = order_of(f, 5, NULL),
                  d = order_of(f, 4, "Ordered");
    struct store_read r = find(f);
    fixture_read(f, &r);
    expect_ids(&r, 4, (int64_t[]){a, b, c, d});
    r = find(f);
    r.cond_count = 1;
    r.conds[0] = (struct store_cond){STATUS, value_text(STR("Paid"))};
    fixture_read(f, &r);
    expect_ids(&r, 2, (int64_t[]){a, b});
    r.conds[0].value = VALUE_NONE; /* null matches null */
    fixture_read(f, &r);
    expect_ids(&r, 1, (int64_t[]){c});
    r.cond_count = 2;
    r.conds[0].value = value_text(STR("Paid"));
    r.conds[1] = (struct store_cond){STORE_COLUMN_ID, value_int(b)};
    fixture_read(f, &r);
    expect_ids(&r, 1, (int64_t[]){b});
    r = find(f);
    r.order_column = QTY;
    fixture_read(f, &r);
    expect_ids(&r, 4, (int64_t[]){b, d, a, c});
    r.descending = true;
    r.limit = 2;
    r.offset = 1;
    fixture_read(f, &r);
    expect_ids(&r, 2, (int64_t[]){a, d});
    r = find(f);
    r.order_column = STATUS; /* null, Ordered, Paid; then the most of them first */
    r.more_count = 1;
    r.more[0] = (struct store_order){QTY, true};
    fixture_read(f, &r);
    expect_ids(&r, 4, (int64_t[]){c, d, a, b});
    r = find(f);
    r.after_id = b;
    r.limit = 1;
    fixture_read(f, &r);
    expect_ids(&r, 1, (int64_t[]){c});
    r = find(f);
    r.kind = STORE_READ_COUNT;
    r.cond_count = 1;
    r.conds[0] = (struct store_cond){QTY, value_int(5)};
    fixture_read(f, &r);
    assert_int_equal(r.count, 2);
}

static void text_survives(void **state)
{
    struct fixture *f = *state;
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, ORDERS), empty = fixture_id(f, ORDERS);
    fixture_insert_order(f, u, id, 1)->row->values[STATUS] =
        value_text((struct str){"a\0b'\"\xc3\xa4", 7});
    fixture_insert_order(f, u, empty, 1)->row->values[STATUS] =
        value_text((struct str){NULL, 0}); /* empty is not null */
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    struct str text = fixture_get(f, ORDERS, id)->values[STATUS].s;
    assert_int_equal(text.n, 7);
    assert_memory_equal(text.p, "a\0b'\"\xc3\xa4", 7);
    assert_int_equal(fixture_get(f, ORDERS, empty)->values[STATUS].type, VALUE_TEXT);
}

/* More rows than a batch of the result list, each with its own text. */
static void many_rows(void **state)
{
    struct fixture *f = *state;
    struct store_unit *u = store_unit_new();
    for (int i = 0; i < 500; i++)
        fixture_insert_order(f, u, fixture_id(f, ORDERS), i);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    struct store_read r = find(f);
    fixture_read(f, &r);
    assert_int_equal(r.row_count, 500);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(r.rows[i]->values[QTY].i, i);
        assert_true(str_eq(r.rows[i]->values[STATUS].s, STR("Ordered")));
    }
}

static void statements_are_prepared_once(void **state)
{
    struct fixture *f = *state;
    int64_t id = fixture_order(f, 1);
    fixture_get(f, ORDERS, id);
    struct store_unit *u = store_unit_new();
    fixture_update_order(f, u, id, 1, 2);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    size_t reader = count_statements(&f->session->conn), writer = count_statements(&f->store->conn);
    for (int i = 0; i < 20; i++) {
        id = fixture_order(f, i);
        fixture_get(f, ORDERS, id);
        u = store_unit_new();
        fixture_update_order(f, u, id, 1, 2);
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    }
    assert_int_equal(count_statements(&f->session->conn), reader);
    assert_int_equal(count_statements(&f->store->conn), writer);
}

static void statement_cache_is_bounded(void **state)
{
    struct fixture *f = *state;
    int64_t id = order_of(f, 5, "Paid");
    /* Every combination of three of the columns, null or not, in every order: far more shapes than
     * fit. */
    for (int shape = 0; shape < 4 * 4 * 4 * 8; shape++) {
        struct store_read r = find(f);
        r.order_column = shape % 4;
        r.descending = shape & 256;
        r.cond_count = 3;
        for (int i = 0; i < 3; i++) {
            int column = shape >> (2 * i) & 3;
            r.conds[i] = (struct store_cond){column, VALUE_NONE};
            if (shape >> (6 + i) & 1 || column != CUSTOMER_ID)
                r.conds[i].value = column == STATUS ? value_text(STR("Paid")) : value_int(7);
        }
        fixture_read(f, &r);
    }
    assert_true(count_statements(&f->session->conn) <= ENGINE_SETS * ENGINE_WAYS);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 5);
}

static void error_is_never_not_found(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    struct store_table ghost = f->tables[ORDERS];
    ghost.name = STR("ghosts");
    struct store_read r = {.kind = STORE_READ_GET, .table = &ghost, .id = 1, .arena = f->arena};
    r.done = fixture_read_done;
    r.owner = &done;
    store_read_start(f->session, &r);
    assert_true(done);
    assert_true(r.failed);
    assert_non_null(strstr(r.err.message, "no such table"));
}

static void reads_see_the_newest_commit(void **state)
{
    struct fixture *f = *state;
    int64_t id = fixture_order(f, 1);
    for (int64_t i = 1; i < 20; i++) { /* a statement left open would pin the first picture */
        assert_int_equal(fixture_get(f, ORDERS, id)->version, i);
        struct store_unit *u = store_unit_new();
        fixture_update_order(f, u, id, i, i);
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    }
}

static void snapshot_is_one_picture(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    int64_t id = fixture_order(f, 1);
    for (int round = 0; round < 2; round++) { /* the second one uses the first one's connection */
        struct store_snapshot *sn = store_snapshot_open(f->session, &err);
        assert_non_null(sn);
        struct store_unit *u = store_unit_new();
        fixture_update_order(f, u, id, 1 + round, 100 + round);
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
        fixture_order(f, 5);
        struct store_read r = find(f);
        r.snapshot = sn;
        fixture_read(f, &r);
        assert_int_equal(r.row_count, 1 + round);
        assert_int_equal(r.rows[0]->version, 1 + round);
        assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 100 + round);
        store_snapshot_close(sn);
    }
    struct store_snapshot *two[2] = {store_snapshot_open(f->session, &err),
                                     store_snapshot_open(f->session, &err)};
    assert_ptr_not_equal(two[0], two[1]);
    store_snapshot_close(two[0]);
    store_snapshot_close(two[1]);
}

static void scope_is_laid_over(void **state)
{
    struct fixture *f = *state;
    const int64_t a = order_of(f, 1, "Paid"), b = order_of(f, 2, "Paid"),
                  c = order_of(f, 3, "Paid");
    struct store_scope *scope = store_scope_open(NULL);
    store_scope_delete(scope, &f->tables[ORDERS], fixture_get(f, ORDERS, a));
    struct store_row *row = store_row_new(scope->unit->arena, &f->tables[ORDERS]);
    row->id = fixture_id(f, ORDERS);
    row->values[STATUS] = value_text(STR("Paid"));
    store_scope_insert(scope, &f->tables[ORDERS], row);
    struct store_read r = find(f);
    r.scope = scope;
    r.cond_count = 1;
    r.conds[0] = (struct store_cond){STATUS, value_text(STR("Paid"))};
    r.limit = 2;
    r.offset = 1;
    fixture_read(f, &r);
    expect_ids(&r, 2, (int64_t[]){c, row->id});
    r.kind = STORE_READ_COUNT;
    fixture_read(f, &r);
    assert_int_equal(r.count, 3);
    r = (struct store_read){
        .kind = STORE_READ_GET, .table = &f->tables[ORDERS], .id = a, .scope = scope};
    fixture_read(f, &r);
    assert_int_equal(r.row_count, 0);
    assert_int_equal(fixture_get(f, ORDERS, b)->id, b);
    store_scope_drop(scope);
}

static void slow_reads_answer_a_turn_later(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    int64_t id = fixture_order(f, 1);
    struct store_read r = {.kind = STORE_READ_GET, .table = &f->tables[ORDERS], .id = id};
    r.arena = f->arena;
    r.done = fixture_read_done;
    r.owner = &done;
    store_read_start(f->session, &r);
    assert_false(done);
    struct store_unit *u = store_unit_new(); /* what commits before the answer is in it */
    fixture_update_order(f, u, id, 1, 9);
    fixture_submit(f, &u, 1);
    while (store_queue_length(f->store) > 0)
        sched_yield();
    assert_false(done);
    loop_turn(f->loop);
    assert_true(done);
    assert_int_equal(r.rows[0]->values[QTY].i, 9);
    fixture_wait(f);
    store_unit_unref(u);
}

static void cancelled_reads_do_not_answer(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    struct store_read r = {.kind = STORE_READ_GET, .table = &f->tables[ORDERS], .id = 1};
    r.arena = f->arena;
    r.done = fixture_read_done;
    r.owner = &done;
    store_read_start(f->session, &r);
    store_read_cancel(&r);
    store_read_cancel(&r);
    for (int i = 0; i < 3; i++)
        loop_turn(f->loop);
    assert_false(done);
    fixture_read(f, &r);
    store_read_cancel(&r); /* harmless when it has run */
}

static void ids_rise_across_blocks(void **state)
{
    struct fixture *f = *state;
    int64_t id, last = 0;
    for (int i = 0; i < 5 * ENGINE_ID_BLOCK; i++) {
        struct store_read r = {.kind = STORE_READ_ID, .table = &f->tables[ORDERS]};
        if (store_next_id(f->store, &f->tables[ORDERS], &id)) {
            assert_int_equal(id, last + 1);
        } else {
            fixture_read(f, &r);
            id = r.count;
            assert_int_equal(id, last + 1);
        }
        last = id;
    }
    assert_int_equal(fixture_id(f, PAYMENTS), 1); /* each table counts for itself */
    assert_true(store_next_id(f->store, NULL, &id));
    assert_int_equal(id, 1);
}

/* With the writer on the loop nothing is reserved before the loop runs, so the block really runs
 * out. */
static void waits_for_a_block(void **state)
{
    struct fixture *f = *state;
    int64_t id;
    bool done[3] = {false};
    struct store_read reads[3];
    for (int i = 0; i < ENGINE_ID_BLOCK; i++)
        assert_true(store_next_id(f->store, &f->tables[ORDERS], &id));
    assert_false(store_next_id(f->store, &f->tables[ORDERS], &id));
    for (int i = 0; i < 3; i++) {
        reads[i] = (struct store_read){.kind = STORE_READ_ID,
                                       .table = &f->tables[ORDERS],
                                       .done = fixture_read_done,
                                       .owner = &done[i]};
        store_read_start(f->session, &reads[i]);
        assert_false(done[i]);
    }
    store_read_cancel(&reads[1]);
    for (int i = 0; i < 10 && !done[2]; i++)
        loop_turn(f->loop);
    assert_true(done[0] && !done[1] && done[2]);
    assert_int_equal(reads[0].count, ENGINE_ID_BLOCK + 1);
    assert_int_equal(reads[2].count, ENGINE_ID_BLOCK + 2);
    assert_false(reads[0].failed);
}

static void clean_close_leaves_no_gap(void **state)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 3; i++)
        assert_int_equal(fixture_id(f, ORDERS), i);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_id(f, ORDERS), 4);
}

static void deleted_ids_stay_used(void **state)
{
    struct fixture *f = *state;
    int64_t id = fixture_order(f, 1);
    struct store_unit *u = store_unit_new();
    fixture_change(u, &f->tables[ORDERS], STORE_DELETE, id)->base_version = 1;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_id(f, ORDERS), id + 1);
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN("rows are found by equality, in order, cut to a page", finds_by_equality_and_order),
        OPEN("text comes back byte for byte, empty is not null", text_survives),
        OPEN("many rows come back in order", many_rows),
        OPEN("an error is never not found", error_is_never_not_found),
        OPEN("PATH-3d a statement is prepared once", statements_are_prepared_once),
        OPEN("PATH-3d the statement cache is bounded", statement_cache_is_bounded),
        OPEN("PATH-3e every read sees the newest commit", reads_see_the_newest_commit),
        OPEN("PATH-3b a read sees its scope", scope_is_laid_over),
        OPEN("PATH-3l a snapshot is one picture", snapshot_is_one_picture),
        {"PATH-3m the test engine answers one turn later", slow_reads_answer_a_turn_later,
         open_slow, fixture_teardown, NULL},
        {"PATH-3m a cancelled read does not answer", cancelled_reads_do_not_answer, open_slow,
         fixture_teardown, NULL},
        {"PATH-3m the test engine finds the same", finds_by_equality_and_order, open_slow,
         fixture_teardown, NULL},
        OPEN("PATH-3g ids rise without a gap across blocks", ids_rise_across_blocks),
        {"PATH-3g an id is waited for when the block is used up", waits_for_a_block, open_inline,
         fixture_teardown, NULL},
        OPEN("PATH-3g a clean close leaves no gap", clean_close_leaves_no_gap),
        OPEN("PATH-3g the id of a deleted row is not given again", deleted_ids_stay_used),
    };
    return cmocka_run_group_tests_name("store/sqlite_read", tests, NULL, NULL);
}
