/* SPDX-License-Identifier: MIT */
/* Generations of declarations in one file: the switch between them, and units of both side by side.
 */
#include "store/lane.h"
#include "store/sqlite/vfs_fault.h"
#include "store_fixture.h"

#include <sqlite3.h>

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

/* The fixture's world one generation later: orders has one field more, in front, tables stand in
 * another order, and there is one more. All in one block, so that it can be freed. */
enum { NEW_NOTE, NEW_BOOK_ID, NEW_QTY, NEW_STATUS, NEW_CUSTOMER_ID };

struct next {
    struct store_schema schema;
    struct store_table orders, payments, concerts, books;
    struct store_table *table_list[4];
    struct field order_fields[5], book_fields[1];
    struct store_index order_indexes[2];
    struct event_type *event_list[1];
};

static struct next *next_new(struct fixture *f)
{
    struct next *n = xcalloc(1, sizeof(*n));
    n->order_fields[NEW_NOTE] = fixture_field("note", FIELD_TEXT);
    memcpy(&n->order_fields[NEW_BOOK_ID], f->order_fields, sizeof(f->order_fields));
    n->order_indexes[0] = (struct store_index){.columns = {NEW_CUSTOMER_ID}, .count = 1};
    n->order_indexes[1] =
        (struct store_index){.columns = {NEW_NOTE, NEW_QTY}, .count = 2, .unique = true};
    n->book_fields[0] = fixture_field("title", FIELD_TEXT);
    n->orders = (struct store_table){.number = 3,
                                     .service = STR("order"),
                                     .name = STR("orders"),
                                     .id_name = STR("id"),
                                     .fields = n->order_fields,
                                     .field_count = 5,
                                     .indexes = n->order_indexes,
                                     .index_count = 2};
    n->payments = f->tables[PAYMENTS];
    n->concerts = f->tables[CONCERTS];
    n->books = (struct store_table){.number = 0,
                                    .service = STR("book"),
                                    .name = STR("books"),
                                    .id_name = STR("id"),
                                    .fields = n->book_fields,
                                    .field_count = 1};
    n->payments.serial = n->concerts.serial = 0;
    n->payments.ids = n->concerts.ids = NULL;
    n->concerts.number = 1;
    n->payments.number = 2;
    struct store_table *tables[] = {&n->books, &n->concerts, &n->payments, &n->orders};
    memcpy(n->table_list, tables, sizeof(tables));
    n->event_list[0] = &f->ordered;
    n->schema = (struct store_schema){n->table_list, 4, n->event_list, 1};
    return n;
}

static const struct str types_one[] = {{"Ordered", 7}}, types_two[] = {{"Ordered", 7}, {"Paid", 4}};

static struct store_switch switch_of(struct fixture *f, const struct store_schema *schema,
                                     const struct store_switch_policy *policies, int count)
{
    return (struct store_switch){.schema = schema,
                                 .policies = policies,
                                 .policy_count = count,
                                 .origin = STR("test"),
                                 .sources = STR("{}"),
                                 .arena = f->arena};
}

static struct store_switched must_switch(struct fixture *f, const struct store_switch *sw)
{
    struct store_switched ret = {0};
    struct err err = {0};
    fixture_expect_ok(store_switch(f->store, sw, &ret, &err), &err);
    return ret;
}

static bool lists(const struct store_switched *s, const char *text)
{
    for (size_t i = 0; i < s->change_count; i++) {
        if (str_eq(s->changes[i], str_from(text)))
            return true;
    }
    return false;
}

static void emit_orders(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        struct store_unit *u = store_unit_new();
        fixture_emit(f, u, i);
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    }
}

static const struct store_switch_policy ship = {
    {"delivery", 8}, {"ship", 4}, {NULL, 0}, types_one, 1, false, false};

static void the_first_generation_is_made_before_the_start(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    struct store_switch sw = switch_of(f, &f->schema, &ship, 1);
    struct store_switched s = must_switch(f, &sw);
    assert_int_equal(s.generation, 1);
    assert_int_equal(s.seq, 0);
    assert_int_equal(s.policies[0].number, 1);
    assert_true(lists(&s, "create table orders"));
    assert_true(lists(&s, "add column payments.amount decimal(2)"));
    assert_true(lists(&s, "add unique payments (orderId, kind)"));
    assert_true(lists(&s, "new policy delivery.ship"));
    s = must_switch(f, &sw);
    assert_int_equal(s.generation, 2);
    assert_int_equal(s.change_count, 0);
    fixture_expect_ok(store_start(f->store, &f->hooks, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
    assert_int_equal(fixture_order(f, 3), 1);
}

static void all_changes_come_with_one_switch(void **state)
{
    struct fixture *f = *state;
    struct next *n = next_new(f);
    struct store_switch_policy policies[] = {
        ship, {STR("payment"), STR("pay"), STR(""), types_two, 2, false, false}};
    int64_t order = fixture_order(f, 3);
    emit_orders(f, 5);
    struct store_switch sw = switch_of(f, &n->schema, policies, 2);
    struct store_switched s = must_switch(f, &sw);
    assert_int_equal(s.generation, 1);
    assert_int_equal(s.seq, 5);
    assert_int_equal(s.policy_count, 2);
    assert_int_equal(s.policies[0].high, 5);
    assert_int_equal(s.policies[1].since[1], 5);
    assert_true(lists(&s, "create table books"));
    assert_true(lists(&s, "add column orders.note text"));
    assert_true(lists(&s, "add unique orders (note, qty)"));
    assert_false(lists(&s, "create table orders"));
    struct store_read r = {.kind = STORE_READ_GET, .table = &n->orders, .id = order};
    fixture_read(f, &r);
    assert_int_equal(r.rows[0]->values[NEW_QTY].i, 3);
    assert_int_equal(r.rows[0]->values[NEW_NOTE].type, VALUE_NULL);
    assert_int_equal(fixture_get(f, ORDERS, order)->values[QTY].i, 3);
    fixture_close(f);
    free(n);
}

static void expect_unchanged(struct fixture *f, int64_t objects)
{
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema"), objects);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_policies"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_policy_types"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_generations"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_columns WHERE col='note'"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_ids WHERE name='book.books'"),
                     0);
}

static void a_switch_that_fails_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_switched s = {.generation = 77};
    struct next *n = next_new(f);
    int64_t objects = fixture_ask(f, "SELECT count(*) FROM sqlite_schema");
    struct store_switch sw = switch_of(f, &n->schema, &ship, 1);
    n->order_fields[NEW_QTY].type = FIELD_TEXT; /* in the last table */
    assert_int_equal(store_switch(f->store, &sw, &s, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_int_equal(s.generation, 77);
    expect_unchanged(f, objects);
    n->order_fields[NEW_QTY].type = FIELD_INTEGER;
    sw.number = 9; /* fails at the very end */
    assert_int_equal(store_switch(f->store, &sw, &s, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    expect_unchanged(f, objects);
    assert_int_equal(fixture_order(f, 1), 1); /* the writer goes on */
    sw.number = 0;
    assert_int_equal(must_switch(f, &sw).generation, 1);
    int64_t id;
    assert_true(store_next_id(f->store, &n->books, &id));
    assert_int_equal(id, 1);
    fixture_close(f);
    free(n);
}

static void a_switch_whose_commit_fails_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_switched s;
    vfs_fault_install();
    fixture_open(f);
    struct next *n = next_new(f);
    int64_t objects = fixture_ask(f, "SELECT count(*) FROM sqlite_schema");
    struct store_switch sw = switch_of(f, &n->schema, &ship, 1);
    for (int i = 0; i < 2; i++) {
        vfs_fault_fail(i == 0 ? VFS_FAULT_WAL_WRITE : VFS_FAULT_WAL_SYNC, 1, false,
                       VFS_FAULT_IOERR);
        assert_int_equal(store_switch(f->store, &sw, &s, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        vfs_fault_clear();
        expect_unchanged(f, objects);
    }
    assert_int_equal(fixture_order(f, 1), 1);
    assert_int_equal(must_switch(f, &sw).generation, 1);
    fixture_close(f);
    vfs_fault_remove();
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_columns WHERE col='note'"), 1);
    free(n);
}

static void a_dry_run_says_what_would_change_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct next *n = next_new(f);
    int64_t objects = fixture_ask(f, "SELECT count(*) FROM sqlite_schema");
    struct store_switch sw = switch_of(f, &n->schema, &ship, 1);
    sw.dry_run = true;
    for (int i = 0; i < 2; i++) {
        struct store_switched s = must_switch(f, &sw);
        assert_int_equal(s.change_count, 6);
        assert_true(lists(&s, "add column orders.note text"));
        assert_true(lists(&s, "add column books.title text"));
        assert_true(lists(&s, "new policy delivery.ship"));
        assert_true(lists(&s, "policy delivery.ship takes Ordered"));
        expect_unchanged(f, objects);
    }
    n->order_fields[NEW_QTY].type = FIELD_TEXT;
    struct store_switched s;
    assert_int_equal(store_switch(f->store, &sw, &s, &err), -1);
    n->order_fields[NEW_QTY].type = FIELD_INTEGER;
    assert_int_equal(fixture_order(f, 1), 1);
    assert_int_equal(n->orders.serial, 0);
    sw.dry_run = false;
    s = must_switch(f, &sw);
    assert_int_equal(s.generation, 1);
    assert_int_equal(s.change_count, 6);
    fixture_close(f);
    free(n);
}

static struct store_change *insert_next(struct fixture *f, struct next *n, struct store_unit *u,
                                        const char *note, int64_t qty)
{
    int64_t id;
    assert_true(store_next_id(f->store, &n->orders, &id));
    struct store_change *c = fixture_change(u, &n->orders, STORE_INSERT, id);
    c->row->values[NEW_QTY] = value_int(qty);
    c->row->values[NEW_NOTE] = value_text(arena_str(u->arena, str_from(note)));
    return c;
}

static struct store_row *get_next(struct fixture *f, struct next *n, int64_t id)
{
    struct store_read r = {.kind = STORE_READ_GET, .table = &n->orders, .id = id};
    fixture_read(f, &r);
    return r.row_count > 0 ? r.rows[0] : NULL;
}

static void two_generations_write_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct next *n = next_new(f);
    fixture_order(f, 1); /* statements of both connections are cached */
    fixture_get(f, ORDERS, 1);
    struct store_switch sw = switch_of(f, &n->schema, NULL, 0);
    must_switch(f, &sw);
    struct store_unit *units[3] = {store_unit_new(), store_unit_new(), store_unit_new()};
    int64_t old_id = fixture_id(f, ORDERS);
    fixture_insert_order(f, units[0], old_id, 5);
    int64_t new_id = insert_next(f, n, units[1], "for you", 6)->id;
    fixture_update_order(f, units[2], 1, 1, 9);
    fixture_run(f, units, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(units[i]->verdict, STORE_COMMITTED);
        store_unit_unref(units[i]);
    }
    assert_int_equal(get_next(f, n, old_id)->values[NEW_QTY].i, 5);
    assert_int_equal(get_next(f, n, old_id)->values[NEW_NOTE].type, VALUE_NULL);
    assert_int_equal(get_next(f, n, 1)->values[NEW_QTY].i, 9);
    assert_int_equal(fixture_get(f, ORDERS, new_id)->values[QTY].i, 6);
    struct store_unit *u = store_unit_new(); /* the old one changes what the new one wrote */
    fixture_update_order(f, u, new_id, 1, 60);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_int_equal(get_next(f, n, new_id)->values[NEW_QTY].i, 60);
    assert_true(str_eq(get_next(f, n, new_id)->values[NEW_NOTE].s, STR("for you")));
    u = store_unit_new(); /* and a stale version is refused, whoever moved it */
    struct store_change *c = fixture_change(u, &n->orders, STORE_UPDATE, new_id);
    c->base_version = 1;
    c->mask = UINT64_C(1) << NEW_NOTE;
    assert_int_equal(fixture_commit(f, u), STORE_CONFLICT);
    u = store_unit_new(); /* the new unique key holds */
    insert_next(f, n, u, "for you", 60);
    assert_int_equal(fixture_commit(f, u), STORE_EXISTS);
    fixture_close(f);
    free(n);
}

static void numbers_shift_and_ids_are_not_mixed(void **state)
{
    struct fixture *f = *state;
    struct next *n = next_new(f);
    int64_t id;
    for (int64_t i = 1; i <= 10; i++)
        assert_int_equal(fixture_id(f, ORDERS), i);
    assert_int_equal(fixture_id(f, PAYMENTS), 1);
    struct store_switch sw = switch_of(f, &n->schema, NULL, 0);
    must_switch(f, &sw);
    for (int64_t i = 11; i <= 3000;) { /* over the ends of blocks */
        struct store_table *t = i % 2 == 0 ? &n->orders : &f->tables[ORDERS];
        struct store_read r = {.kind = STORE_READ_ID, .table = t};
        fixture_read(f, &r);
        assert_int_equal(r.count, i++);
    }
    assert_true(store_next_id(f->store, &n->payments, &id));
    assert_int_equal(id, 2);
    assert_int_equal(fixture_id(f, PAYMENTS), 3);
    assert_true(store_next_id(f->store, &n->books, &id));
    assert_int_equal(id, 1);
    assert_true(store_next_id(f->store, &n->concerts, &id));
    assert_int_equal(id, 1);
    fixture_close(f);
    free(n);
}

static void a_reused_address_never_meets_old_statements(void **state)
{
    struct fixture *f = *state;
    struct next *n = next_new(f);
    struct store_switch sw = switch_of(f, &n->schema, NULL, 0);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "note%d", i);
        n->order_fields[NEW_NOTE].name = str_from(name); /* the same address, another table */
        n->orders.index_count = 1;
        n->orders.serial = 0;
        must_switch(f, &sw);
        struct store_unit *u = store_unit_new();
        int64_t id = insert_next(f, n, u, name, i)->id;
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
        assert_true(str_eq(get_next(f, n, id)->values[NEW_NOTE].s, str_from(name)));
    }
    fixture_close(f);
    free(n);
}

static void lanes_go_by_the_name_of_the_table(void **state)
{
    struct fixture *f = *state;
    struct next *n = next_new(f);
    struct lanes *l = lane_table_new();
    struct lane_claim old = {.table = &f->tables[ORDERS], .id = 4, .home = f->home},
                      new = {.table = &n->orders, .id = 5, .home = f->home};
    assert_true(lane_join(l, &old));
    assert_true(lane_exists(l, &n->orders, 4));
    assert_false(lane_exists(l, &n->books, 4)); /* which has the number of the old orders */
    assert_true(lane_claim_before(&old, &new));
    assert_false(lane_claim_before(&new, &old));
    assert_true(lane_leave(l, &old));
    lane_table_free(l);
    free(n);
}

static void policies_keep_their_place_and_new_ones_begin_at_the_switch(void **state)
{
    struct fixture *f = *state;
    struct store_switch_policy renamed = {STR("delivery"), STR("send"), STR("ship"), types_two, 2,
                                          false,           false},
                               pay = {STR("payment"), STR("pay"), STR(""), types_two, 2,
                                      false,          false};
    struct store_switch sw = switch_of(f, &f->schema, &ship, 1);
    emit_orders(f, 3);
    struct store_switched s = must_switch(f, &sw);
    int64_t number = s.policies[0].number;
    assert_int_equal(s.policies[0].high, 3);
    assert_int_equal(s.policies[0].since[0], 3);
    emit_orders(f, 4);
    sw.policies = &renamed;
    s = must_switch(f, &sw);
    assert_true(lists(&s, "rename policy delivery.ship to send"));
    assert_true(lists(&s, "policy delivery.send takes Paid"));
    assert_int_equal(s.policies[0].number, number);
    assert_int_equal(s.policies[0].high, 3);
    assert_int_equal(s.policies[0].since[0], 3);
    assert_int_equal(s.policies[0].since[1], 7);
    sw.policies = &pay; /* send is missing */
    s = must_switch(f, &sw);
    assert_int_equal(s.policies[0].high, 7);
    emit_orders(f, 1);
    sw.policies = &renamed;
    s = must_switch(f, &sw);
    assert_int_equal(s.change_count, 0);
    assert_int_equal(s.policies[0].high, 3);
    assert_int_equal(s.policies[0].since[1], 7);
    renamed.type_count = 1;
    must_switch(f, &sw);
    renamed.type_count = 2;
    s = must_switch(f, &sw); /* a type that went and came back is a new one */
    assert_int_equal(s.policies[0].since[0], 3);
    assert_int_equal(s.policies[0].since[1], 8);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_policies"), 2);
}

static void policies_from_before_types_were_kept_have_seen_them_all(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_policy row;
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    fixture_expect_ok(store_log_policy(f->store, f->arena, &ship, &row, &err), &err);
    struct store_switch sw = switch_of(f, &f->schema, &ship, 1);
    struct store_switched s = must_switch(f, &sw);
    assert_int_equal(s.policies[0].number, row.number);
    assert_int_equal(s.policies[0].since[0], 0);
}

static void generations_are_numbered_for_ever_and_the_last_are_kept(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_generation *list, one;
    struct store_switched s;
    size_t count;
    struct store_switch sw = switch_of(f, &f->schema, NULL, 0);
    for (int i = 1; i <= 30; i++)
        assert_int_equal(must_switch(f, &sw).generation, i);
    sw.number = 15;
    sw.origin = STR("hand");
    assert_int_equal(must_switch(f, &sw).generation, 15);
    fixture_expect_ok(store_log_generations(f->session, f->arena, &list, &count, &err), &err);
    assert_int_equal(count, STORE_GENERATIONS_KEPT);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i].number, 30 - (int64_t)i);
        assert_int_equal(list[i].active, list[i].number == 15);
    }
    assert_int_equal(store_log_generation(f->session, f->arena, 0, &one, &err), 1);
    assert_int_equal(one.number, 15);
    assert_true(str_eq(one.origin, STR("hand")));
    assert_true(str_eq(one.sources, STR("{}")));
    assert_int_equal(store_log_generation(f->session, f->arena, 10, &one, &err), 0);
    sw.number = 10;
    assert_int_equal(store_switch(f->store, &sw, &s, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    fixture_close(f);
    fixture_open(f);
    sw.number = 0;
    assert_int_equal(must_switch(f, &sw).generation, 31);
    for (int i = 32; i < 60; i++)
        must_switch(f, &sw);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_generations"),
                     STORE_GENERATIONS_KEPT);
}

static void on_released(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void a_unit_tells_when_its_last_reference_is_gone(void **state)
{
    struct fixture *f = *state;
    atomic_int released = 0;
    struct store_unit *u = store_unit_new();
    fixture_insert_order(f, u, fixture_id(f, ORDERS), 1);
    u->release = on_released;
    u->release_ctx = &released;
    struct store_unit *again = store_unit_ref(u);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_int_equal(released, 0);
    store_unit_unref(again);
    assert_int_equal(released, 1);
}

static void an_event_is_decoded_as_another_declaration_says(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct value *values;
    struct field fields[] = {fixture_field("nothing", FIELD_TEXT),
                             fixture_field("status", FIELD_TEXT), fixture_field("id", FIELD_TEXT),
                             fixture_field("at", FIELD_INTEGER)};
    struct event_type t = {.name = STR("Ordered"), .fields = fields, .field_count = 4};
    struct str payload = STR("{\"id\":12,\"status\":\"x\",\"at\":\"never\",\"more\":1}");
    assert_int_equal(store_event_decode(&t, payload, f->arena, &values, &err), 0);
    assert_int_equal(values[0].type, VALUE_NULL);
    assert_true(str_eq(values[1].s, STR("x")));
    assert_true(str_eq(values[2].s, STR("12")));
    assert_int_equal(values[3].type, VALUE_NULL);
    assert_int_equal(store_event_decode(&t, STR("[1]"), f->arena, &values, &err), -1);
    assert_int_equal(store_event_decode(&t, STR("{\"id\":"), f->arena, &values, &err), -1);
}

struct submitter {
    struct fixture *f;
    pthread_t thread;
    sem_t told;
    atomic_int committed;
};

static void on_told(struct store_unit *u)
{
    struct submitter *s = u->owner;
    atomic_fetch_add(&s->committed, u->verdict == STORE_COMMITTED);
    sem_post(&s->told);
}

static void *submit(void *arg)
{
    struct submitter *s = arg;
    for (int i = 0; i < 600; i++) {
        int64_t id = 0;
        while (!store_next_id(s->f->store, &s->f->tables[ORDERS], &id))
            sched_yield();
        struct store_unit *u = store_unit_new();
        fixture_insert_order(s->f, u, id, 1);
        u->done = on_told;
        u->owner = s;
        store_submit(s->f->store, u, u);
        if (i % 8 == 7)
            for (int k = 0; k < 8; k++)
                sem_wait(&s->told);
    }
    return NULL;
}

static void switches_while_others_write(void **state)
{
    struct fixture *f = *state;
    struct submitter all[2];
    for (int i = 0; i < 2; i++) {
        all[i] = (struct submitter){.f = f};
        sem_init(&all[i].told, 0, 0);
        pthread_create(&all[i].thread, NULL, submit, &all[i]);
    }
    for (int i = 0; i < 50; i++) {
        struct next *n = next_new(f);
        struct store_switch sw = switch_of(f, &n->schema, &ship, 1);
        assert_int_equal(must_switch(f, &sw).generation, i + 1);
        struct store_unit *u = store_unit_new();
        u->release = free;
        u->release_ctx = n;
        struct store_change *c = fixture_change(u, &n->books, STORE_INSERT, i + 1);
        c->row->values[0] = value_text(STR("Dune"));
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(all[i].thread, NULL);
        assert_int_equal(all[i].committed, 600);
        sem_destroy(&all[i].told);
    }
    assert_int_equal(fixture_count(f, ORDERS), 1200);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM \"book.books\""), 50);
}

static int setup_inline(void **state)
{
    struct fixture *f = fixture_new();
    f->inline_writer = true;
    *state = f;
    fixture_open(f);
    return 0;
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }
#define CLOSED(name, fn)                                                                           \
    {                                                                                              \
        name, fn, fixture_setup_closed, fixture_teardown, NULL                                     \
    }
#define INLINE(name, fn)                                                                           \
    {                                                                                              \
        name, fn, setup_inline, fixture_teardown, NULL                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED("RULES-1a the first generation is made before the start",
               the_first_generation_is_made_before_the_start),
        OPEN("RULES-1a all changes come with one switch", all_changes_come_with_one_switch),
        INLINE("RULES-1a all changes come with one switch, inline",
               all_changes_come_with_one_switch),
        OPEN("RULES-3a a switch that fails changes nothing", a_switch_that_fails_changes_nothing),
        CLOSED("RULES-3a a switch whose COMMIT fails changes nothing",
               a_switch_whose_commit_fails_changes_nothing),
        OPEN("RULES-1a a dry run says what would change and changes nothing",
             a_dry_run_says_what_would_change_and_changes_nothing),
        OPEN("G5 two generations write side by side", two_generations_write_side_by_side),
        INLINE("G5 two generations write side by side, inline", two_generations_write_side_by_side),
        OPEN("G5 numbers shift and ids are not mixed", numbers_shift_and_ids_are_not_mixed),
        OPEN("G5 a reused address never meets old statements",
             a_reused_address_never_meets_old_statements),
        OPEN("G5 lanes go by the name of the table", lanes_go_by_the_name_of_the_table),
        OPEN("G3 policies keep their place and new ones begin at the switch",
             policies_keep_their_place_and_new_ones_begin_at_the_switch),
        CLOSED("G3 policies from before types were kept have seen them all",
               policies_from_before_types_were_kept_have_seen_them_all),
        OPEN("RULES-1a generations are numbered for ever and the last are kept",
             generations_are_numbered_for_ever_and_the_last_are_kept),
        OPEN("G5 a unit tells when its last reference is gone",
             a_unit_tells_when_its_last_reference_is_gone),
        OPEN("G5 an event is decoded as another declaration says",
             an_event_is_decoded_as_another_declaration_says),
        OPEN("RULES-1a switches while others write", switches_while_others_write),
    };
    return cmocka_run_group_tests_name("store/sqlite_switch", tests, NULL, NULL);
}
