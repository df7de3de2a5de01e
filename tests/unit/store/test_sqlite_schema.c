/* SPDX-License-Identifier: MIT */
/* What becomes of columns and indexes when declarations change, seen by both generations. */
#include "store_fixture.h"

#include <sqlite3.h>

#include <string.h>

/* The fixture's orders as a later generation declares them; fields and indexes may be changed
 * before the switch. */
struct later {
    struct store_schema schema;
    struct store_table orders;
    struct store_table *table_list[3];
    struct field fields[5];
    struct store_index indexes[3];
};

static struct later *later_new(struct fixture *f)
{
    struct later *n = xcalloc(1, sizeof(*n));
    memcpy(n->fields, f->order_fields, sizeof(f->order_fields));
    memcpy(n->indexes, f->order_indexes, sizeof(f->order_indexes));
    n->orders = f->tables[ORDERS];
    n->orders.fields = n->fields;
    n->orders.indexes = n->indexes;
    n->orders.serial = 0;
    n->orders.ids = NULL;
    n->table_list[0] = &n->orders;
    n->table_list[1] = &f->tables[PAYMENTS];
    n->table_list[2] = &f->tables[CONCERTS];
    n->schema = (struct store_schema){n->table_list, 3, f->event_list, 1};
    return n;
}

static void rename_in(struct later *n, int field, const char *name)
{
    n->fields[field].renamed_from = n->fields[field].name;
    n->fields[field].name = str_from(name);
}

static struct store_switch switch_of(struct fixture *f, const struct store_schema *schema)
{
    return (struct store_switch){
        .schema = schema, .origin = STR("test"), .sources = STR("{}"), .arena = f->arena};
}

static struct store_switched must_switch(struct fixture *f, const struct store_schema *schema)
{
    struct store_switched ret = {0};
    struct err err = {0};
    struct store_switch sw = switch_of(f, schema);
    fixture_expect_ok(store_switch(f->store, &sw, &ret, &err), &err);
    return ret;
}

static void expect_refused(struct fixture *f, const struct store_schema *schema, const char *text)
{
    struct store_switched ret = {0};
    struct err err = {0};
    struct store_switch sw = switch_of(f, schema);
    assert_int_equal(store_switch(f->store, &sw, &ret, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.message, text))
        fail_msg("%s has no \"%s\"", err.message, text);
}

static bool lists(const struct store_switched *s, const char *text)
{
    for (size_t i = 0; i < s->change_count; i++) {
        if (str_eq(s->changes[i], str_from(text)))
            return true;
    }
    return false;
}

/* qty of an order, as the schema of t sees it; -1: null. */
static int64_t qty_of(struct fixture *f, const struct store_table *t, int64_t id)
{
    struct store_read r = {.kind = STORE_READ_GET, .table = t, .id = id};
    fixture_read(f, &r);
    assert_int_equal(r.row_count, 1);
    const struct value *v = &r.rows[0]->values[QTY];
    return v->type == VALUE_NULL ? -1 : v->i;
}

static int64_t insert(struct fixture *f, struct store_table *t, int64_t qty,
                      enum store_verdict expected)
{
    int64_t id;
    struct store_unit *u = store_unit_new();
    assert_true(store_next_id(f->store, t, &id));
    fixture_change(u, t, STORE_INSERT, id)->row->values[QTY] = value_int(qty);
    assert_int_equal(fixture_commit(f, u), expected);
    return id;
}

static void update(struct fixture *f, const struct store_table *t, int64_t id, int64_t version,
                   int64_t qty)
{
    struct store_unit *u = store_unit_new();
    struct store_change *c = fixture_change(u, t, STORE_UPDATE, id);
    c->base_version = version;
    c->mask = UINT64_C(1) << QTY;
    c->row->values[QTY] = value_int(qty);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
}

static void both_names_are_one_column(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    int64_t before = fixture_order(f, 3);
    rename_in(n, QTY, "amount");
    struct store_switched s = must_switch(f, &n->schema);
    assert_true(lists(&s, "rename orders.qty to amount"));
    assert_int_equal(s.change_count, 1);
    assert_int_equal(qty_of(f, &n->orders, before), 3);
    int64_t by_old = insert(f, &f->tables[ORDERS], 5, STORE_COMMITTED);
    int64_t by_new = insert(f, &n->orders, 6, STORE_COMMITTED);
    assert_int_equal(qty_of(f, &n->orders, by_old), 5);
    assert_int_equal(qty_of(f, &f->tables[ORDERS], by_new), 6);
    update(f, &f->tables[ORDERS], by_new, 1, 60);
    update(f, &n->orders, by_old, 1, 50);
    assert_int_equal(qty_of(f, &n->orders, by_new), 60);
    assert_int_equal(qty_of(f, &f->tables[ORDERS], by_old), 50);
    struct store_read r = {.kind = STORE_READ_FIND,
                           .table = &n->orders,
                           .conds = {{QTY, value_int(60)}},
                           .cond_count = 1,
                           .order_column = QTY};
    fixture_read(f, &r);
    assert_int_equal(r.row_count, 1);
    assert_int_equal(r.rows[0]->id, by_new);
    fixture_close(f);
    free(n);
}

static void the_new_name_stays_without_the_option(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f), *plain = later_new(f), *again = later_new(f);
    int64_t id = fixture_order(f, 3);
    rename_in(n, QTY, "amount");
    must_switch(f, &n->schema);
    plain->fields[QTY].name = STR("amount");
    assert_int_equal(must_switch(f, &plain->schema).change_count, 0);
    assert_int_equal(qty_of(f, &plain->orders, id), 3);
    again->fields[QTY].name = STR("pieces");
    again->fields[QTY].renamed_from = STR("amount");
    assert_int_equal(must_switch(f, &again->schema).change_count, 1);
    assert_int_equal(qty_of(f, &again->orders, id), 3);
    /* Back to the first one, over a restart. */
    fixture_close(f);
    f->tables[ORDERS].serial = 0;
    fixture_open(f);
    assert_int_equal(must_switch(f, &f->schema).change_count, 0);
    assert_int_equal(qty_of(f, &f->tables[ORDERS], id), 3);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM pragma_table_info('order.orders')"), 6);
    fixture_close(f);
    free(n);
    free(plain);
    free(again);
}

static void indexes_follow_the_column(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    n->indexes[1] = (struct store_index){.columns = {QTY}, .count = 1, .unique = true};
    n->orders.index_count = 2;
    rename_in(n, QTY, "amount");
    rename_in(n, CUSTOMER_ID, "buyer");
    struct store_switched s = must_switch(f, &n->schema);
    assert_true(lists(&s, "add unique orders (amount)"));
    assert_int_equal(s.change_count, 3); /* the index of customerId is that of buyer */
    insert(f, &n->orders, 5, STORE_COMMITTED);
    insert(f, &n->orders, 5, STORE_EXISTS);
    insert(f, &n->orders, 6, STORE_COMMITTED);
    fixture_close(f);
    free(n);
}

static void what_cannot_be_renamed(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    n->orders.field_count = 5;
    /* Into a name with values of its own. */
    n->fields[4] = fixture_field("note", FIELD_TEXT);
    must_switch(f, &n->schema);
    struct later *m = later_new(f);
    m->fields[STATUS].name = STR("note");
    m->fields[STATUS].renamed_from = STR("status");
    m->fields[STATUS].at = STR("scripts/routes/x/orders.lua:7");
    expect_refused(f, &m->schema,
                   "scripts/routes/x/orders.lua:7: orders.note: there are values under this name");
    /* To another type. */
    m->fields[STATUS] = fixture_field("state", FIELD_INTEGER);
    m->fields[STATUS].renamed_from = STR("status");
    expect_refused(f, &m->schema, "orders.state: declared as integer, stored as text");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_renames"), 0);
    /* The old name for something new, beside the renamed one. */
    m->fields[STATUS].type = FIELD_TEXT;
    must_switch(f, &m->schema);
    m->orders.field_count = 5;
    m->orders.serial = 0;
    m->fields[4] = fixture_field("status", FIELD_TEXT);
    expect_refused(f, &m->schema, "the column of this name holds the field \"state\"");
    fixture_close(f);
    free(n);
    free(m);
}

static void a_rename_from_what_never_was_is_a_new_field(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    n->orders.field_count = 5;
    n->fields[4] = fixture_field("note", FIELD_TEXT);
    n->fields[4].renamed_from = STR("remark");
    struct store_switched s = must_switch(f, &n->schema);
    assert_true(lists(&s, "add column orders.note text"));
    assert_int_equal(s.change_count, 1);
    fixture_close(f);
    free(n);
}

static void what_is_refused_says_where(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    n->fields[QTY].type = FIELD_TEXT;
    n->fields[QTY].at = STR("scripts/routes/x/orders.lua:12");
    expect_refused(f, &n->schema,
                   "scripts/routes/x/orders.lua:12: orders.qty: declared as text, stored as");
    fixture_order(f, 3);
    fixture_order(f, 3);
    n->fields[QTY].type = FIELD_INTEGER;
    n->indexes[1] = (struct store_index){
        .columns = {QTY}, .count = 1, .unique = true, .at = STR("scripts/routes/x/orders.lua:14")};
    n->orders.index_count = 2;
    expect_refused(f, &n->schema, "scripts/routes/x/orders.lua:14: orders: unique (qty)");
    fixture_close(f);
    free(n);
}

static void a_key_that_only_the_newer_generation_knows(void **state)
{
    struct fixture *f = *state;
    struct later *n = later_new(f);
    int64_t first = fixture_order(f, 3);
    n->indexes[1] = (struct store_index){.columns = {QTY}, .count = 1, .unique = true};
    n->orders.index_count = 2;
    must_switch(f, &n->schema);
    struct store_unit *units[2] = {store_unit_new(), store_unit_new()};
    fixture_insert_order(f, units[0], fixture_id(f, ORDERS), 3);
    fixture_insert_order(f, units[1], fixture_id(f, ORDERS), 4);
    fixture_run(f, units, 2);
    assert_int_equal(units[0]->verdict, STORE_EXISTS);
    assert_int_equal(units[0]->refused_index, -1);
    assert_int_equal(units[1]->verdict, STORE_COMMITTED);
    int64_t second = units[1]->changes->id;
    store_unit_unref(units[0]);
    store_unit_unref(units[1]);
    struct store_unit *u = store_unit_new();
    fixture_update_order(f, u, second, 1, 3);
    assert_int_equal(fixture_commit(f, u), STORE_EXISTS);
    assert_int_equal(qty_of(f, &f->tables[ORDERS], first), 3);
    assert_int_equal(qty_of(f, &f->tables[ORDERS], second), 4);
    fixture_close(f);
    free(n);
}

static struct later *with_index(struct fixture *f, int column, bool unique)
{
    struct later *n = later_new(f);
    n->indexes[1] = (struct store_index){.columns = {column}, .count = 1, .unique = unique};
    n->orders.index_count = 2;
    return n;
}

static int64_t indexes_of(struct fixture *f)
{
    return fixture_ask(f, "SELECT count(*) FROM pragma_index_list('order.orders')");
}

static void prepare(struct fixture *f, const struct store_switch *sw)
{
    struct err err = {0};
    fixture_expect_ok(store_switch_prepare(f->store, sw, &err), &err);
}

static void indexes_are_there_before_the_switch(void **state)
{
    struct fixture *f = *state;
    struct later *n = with_index(f, QTY, true);
    fixture_order(f, 3);
    struct store_switch sw = switch_of(f, &n->schema);
    prepare(f, &sw);
    assert_int_equal(indexes_of(f), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_generations"), 0);
    insert(f, &f->tables[ORDERS], 3, STORE_EXISTS); /* the old generation is kept to it already */
    insert(f, &f->tables[ORDERS], 4, STORE_COMMITTED);
    struct store_switched s = must_switch(f, &n->schema);
    assert_true(lists(&s, "add unique orders (qty)"));
    assert_int_equal(s.change_count, 1);
    store_switch_forget(f->store); /* too late */
    assert_int_equal(indexes_of(f), 2);
    insert(f, &n->orders, 4, STORE_EXISTS);
    fixture_close(f);
    free(n);
}

static void indexes_go_with_a_switch_that_does_not_come(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_switched ret;
    struct later *n = with_index(f, QTY, true);
    fixture_order(f, 3);
    struct store_switch sw = switch_of(f, &n->schema);
    prepare(f, &sw);
    store_switch_forget(f->store);
    assert_int_equal(indexes_of(f), 1);
    insert(f, &f->tables[ORDERS], 3, STORE_COMMITTED);
    n->indexes[1].unique = false;
    prepare(f, &sw);
    assert_int_equal(indexes_of(f), 2);
    sw.number = 9; /* is not kept: fails at the very end */
    assert_int_equal(store_switch(f->store, &sw, &ret, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(indexes_of(f), 1);
    fixture_close(f);
    free(n);
}

static void expect_not_prepared(struct fixture *f, const struct store_switch *sw, const char *text)
{
    struct err err = {0};
    assert_int_equal(store_switch_prepare(f->store, sw, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.message, text))
        fail_msg("%s has no \"%s\"", err.message, text);
    assert_int_equal(indexes_of(f), 1);
}

static void what_is_refused_is_refused_before(void **state)
{
    struct fixture *f = *state;
    struct later *n = with_index(f, QTY, true);
    struct store_switch sw = switch_of(f, &n->schema);
    fixture_order(f, 3);
    sw.dry_run = true;
    prepare(f, &sw);
    assert_int_equal(indexes_of(f), 1); /* a dry run builds nothing */
    fixture_order(f, 3);
    for (int i = 0; i < 2; i++) {
        sw.dry_run = i == 0;
        expect_not_prepared(f, &sw, "orders: unique (qty) is declared, but rows with equal values");
        n->fields[STATUS].type = FIELD_INTEGER;
        expect_not_prepared(f, &sw, "orders.status: declared as integer, stored as text");
        n->fields[STATUS].type = FIELD_TEXT;
    }
    insert(f, &f->tables[ORDERS], 3, STORE_COMMITTED);
    fixture_close(f);
    free(n);
}

static void an_index_over_a_new_column_comes_with_the_switch(void **state)
{
    struct fixture *f = *state;
    struct later *n = with_index(f, 4, true);
    n->orders.field_count = 5;
    n->fields[4] = fixture_field("note", FIELD_TEXT);
    rename_in(n, QTY, "amount"); /* and one over a renamed one before it */
    n->indexes[2] = (struct store_index){.columns = {QTY}, .count = 1};
    n->orders.index_count = 3;
    fixture_order(f, 3);
    struct store_switch sw = switch_of(f, &n->schema);
    prepare(f, &sw);
    assert_int_equal(indexes_of(f), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_renames"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_columns WHERE col='note'"), 0);
    assert_int_equal(must_switch(f, &n->schema).change_count, 4);
    assert_int_equal(indexes_of(f), 3);
    fixture_close(f);
    free(n);
}

static int setup_slow(void **state)
{
    struct fixture *f = fixture_new();
    f->inline_writer = f->slow_reads = true;
    *state = f;
    fixture_open(f);
    return 0;
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }
#define SLOW(name, fn)                                                                             \
    {                                                                                              \
        name, fn, setup_slow, fixture_teardown, NULL                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN("RULES-3c a renamed field: both generations read and write one column",
             both_names_are_one_column),
        SLOW("RULES-3c a renamed field: both generations read and write one column, slow reads",
             both_names_are_one_column),
        OPEN("RULES-3c a new name stays, may change again, and the first generation may come back",
             the_new_name_stays_without_the_option),
        OPEN("RULES-3c indexes follow a renamed field", indexes_follow_the_column),
        OPEN("RULES-3c what cannot be renamed is refused", what_cannot_be_renamed),
        OPEN("RULES-3c renamed from what never was: a new field",
             a_rename_from_what_never_was_is_a_new_field),
        OPEN("RULES-3d a type or a unique key that cannot be is refused with its place",
             what_is_refused_says_where),
        OPEN("RULES-3e a key that only the newer generation knows refuses with `exists`",
             a_key_that_only_the_newer_generation_knows),
        OPEN("RULES-3h indexes are built before the switch", indexes_are_there_before_the_switch),
        SLOW("RULES-3h indexes are built before the switch, inline",
             indexes_are_there_before_the_switch),
        OPEN("RULES-3h indexes go with a switch that does not come",
             indexes_go_with_a_switch_that_does_not_come),
        OPEN("RULES-3h what a switch would refuse is refused before, dry or not",
             what_is_refused_is_refused_before),
        OPEN("RULES-3h an index over a new column comes with the switch",
             an_index_over_a_new_column_comes_with_the_switch),
    };
    return cmocka_run_group_tests_name("store/sqlite_schema", tests, NULL, NULL);
}
