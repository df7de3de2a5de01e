/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/mem.h"
#include "loop/loop.h"
#include "store/log.h"
#include "store/read.h"

#include <sqlite3.h>

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* A store in a folder of its own with a small book market: orders (no unique key), payments (unique
 * by order and kind) and concerts (for counting), and the event Ordered. Every helper waits by
 * running the loop, never by sleeping. */

enum fixture_table { ORDERS, PAYMENTS, CONCERTS };
enum { BOOK_ID, QTY, STATUS, CUSTOMER_ID }; /* orders */
enum { ORDER_ID, KIND, AMOUNT, PAID };      /* payments */
enum { TICKETS, BALANCE };                  /* concerts */

struct fixture {
    char folder[64];
    struct clock clock;
    struct loop *loop;
    struct mailbox *home;
    struct store *store;
    struct store_session *session;
    struct arena *arena;
    struct store_schema schema;
    struct store_table tables[3];
    struct store_table *table_list[3];
    struct field order_fields[4], payment_fields[4], concert_fields[2], event_fields[3];
    struct store_index order_indexes[2], payment_indexes[2];
    struct event_type ordered;
    struct event_type *event_list[1];
    struct store_hooks hooks;
    bool inline_writer, slow_reads;
    const char *memory_root; /* NULL: without a memory file */
    size_t waiting;          /* units not told about yet */
};

static inline struct field fixture_field(const char *name, enum field_type type)
{
    return (struct field){.name = str_from(name), .type = type};
}

static inline void fixture_schema(struct fixture *f)
{
    f->order_fields[BOOK_ID] = fixture_field("bookId", FIELD_INTEGER);
    f->order_fields[QTY] = fixture_field("qty", FIELD_INTEGER);
    f->order_fields[STATUS] = fixture_field("status", FIELD_TEXT);
    f->order_fields[CUSTOMER_ID] = fixture_field("customerId", FIELD_INTEGER);
    f->payment_fields[ORDER_ID] = fixture_field("orderId", FIELD_INTEGER);
    f->payment_fields[KIND] = fixture_field("kind", FIELD_TEXT);
    f->payment_fields[AMOUNT] = fixture_field("amount", FIELD_DECIMAL);
    f->payment_fields[AMOUNT].scale = 2;
    f->payment_fields[PAID] = fixture_field("paid", FIELD_BOOLEAN);
    f->concert_fields[TICKETS] = fixture_field("tickets", FIELD_INTEGER);
    f->concert_fields[BALANCE] = fixture_field("balance", FIELD_NUMBER);
    f->order_indexes[0] = (struct store_index){.columns = {CUSTOMER_ID}, .count = 1};
    f->payment_indexes[0] = (struct store_index){.columns = {AMOUNT}, .count = 1};
    f->payment_indexes[1] =
        (struct store_index){.columns = {ORDER_ID, KIND}, .count = 2, .unique = true};
    f->tables[ORDERS] = (struct store_table){.number = ORDERS,
                                             .service = STR("order"),
                                             .name = STR("orders"),
                                             .id_name = STR("id"),
                                             .fields = f->order_fields,
                                             .field_count = 4,
                                             .indexes = f->order_indexes,
                                             .index_count = 1};
    f->tables[PAYMENTS] = (struct store_table){.number = PAYMENTS,
                                               .service = STR("payment"),
                                               .name = STR("payments"),
                                               .id_name = STR("id"),
                                               .fields = f->payment_fields,
                                               .field_count = 4,
                                               .indexes = f->payment_indexes,
                                               .index_count = 2};
    f->tables[CONCERTS] = (struct store_table){.number = CONCERTS,
                                               .service = STR("concert"),
                                               .name = STR("concerts"),
                                               .id_name = STR("id"),
                                               .fields = f->concert_fields,
                                               .field_count = 2};
    f->event_fields[0] = fixture_field("id", FIELD_INTEGER);
    f->event_fields[1] = fixture_field("status", FIELD_TEXT);
    f->event_fields[2] = fixture_field("at", FIELD_TIMESTAMP);
    f->ordered = (struct event_type){.service = STR("order"),
                                     .name = STR("Ordered"),
                                     .key_name = STR("order"),
                                     .fields = f->event_fields,
                                     .field_count = 3};
    for (int i = 0; i < 3; i++)
        f->table_list[i] = &f->tables[i];
    f->event_list[0] = &f->ordered;
    f->schema = (struct store_schema){f->table_list, 3, f->event_list, 1};
}

/* A folder, a loop, a schema; no store yet. */
static inline struct fixture *fixture_new(void)
{
    struct err err = {0};
    struct fixture *f = xcalloc(1, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/moontide-store-XXXXXX");
    if (!mkdtemp(f->folder))
        abort();
    clock_real_init(&f->clock);
    f->loop = loop_new(&f->clock, &err);
    f->home = f->loop ? mailbox_new(f->loop, &err) : NULL;
    if (!f->home)
        abort();
    f->arena = arena_new(0);
    fixture_schema(f);
    return f;
}

static inline struct store_conf fixture_conf(struct fixture *f)
{
    return (struct store_conf){.folder = f->folder,
                               .clock = &f->clock,
                               .inline_loop = f->inline_writer ? f->loop : NULL,
                               .slow_reads = f->slow_reads,
                               .memory_root = f->memory_root};
}

static inline void fixture_expect_ok(int result, const struct err *err)
{
    if (result < 0)
        fail_msg("%s", err->message);
}

/* Opens, migrates, starts, and opens a session. */
static inline void fixture_open(struct fixture *f)
{
    struct err err = {0};
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    fixture_expect_ok(f->store ? 0 : -1, &err);
    fixture_expect_ok(store_migrate(f->store, &f->schema, &err), &err);
    fixture_expect_ok(store_start(f->store, &f->hooks, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
    fixture_expect_ok(f->session ? 0 : -1, &err);
}

static inline void fixture_close(struct fixture *f)
{
    store_session_free(f->session);
    f->session = NULL;
    if (f->store)
        store_close(f->store);
    f->store = NULL;
}

static inline int fixture_remove_file(const char *path, const struct stat *st, int kind,
                                      struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void fixture_free(struct fixture *f)
{
    fixture_close(f);
    mailbox_free(f->home);
    loop_free(f->loop);
    arena_free(f->arena);
    nftw(f->folder, fixture_remove_file, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
}

/* Setup and teardown of cases that want an open store with a writer thread. */
static inline int fixture_setup(void **state)
{
    struct fixture *f = fixture_new();
    *state = f;
    fixture_open(f);
    return 0;
}

static inline int fixture_setup_closed(void **state)
{
    *state = fixture_new();
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

static inline int64_t fixture_id(struct fixture *f, int table)
{
    int64_t id;
    if (!store_next_id(f->store, &f->tables[table], &id))
        fail_msg("no id");
    return id;
}

static inline struct store_change *fixture_change(struct store_unit *u, const struct store_table *t,
                                                  enum store_change_kind kind, int64_t id)
{
    struct store_change **last = &u->changes;
    while (*last)
        last = &(*last)->next;
    struct store_change *c = *last = arena_zalloc(u->arena, sizeof(*c));
    c->table = t;
    c->kind = kind;
    c->id = id;
    if (kind == STORE_INSERT || kind == STORE_UPDATE) {
        c->row = store_row_new(u->arena, t);
        c->row->id = id;
    }
    return c;
}

static inline struct store_change *fixture_insert_order(struct fixture *f, struct store_unit *u,
                                                        int64_t id, int64_t qty)
{
    struct store_change *c = fixture_change(u, &f->tables[ORDERS], STORE_INSERT, id);
    c->row->values[BOOK_ID] = value_int(7);
    c->row->values[QTY] = value_int(qty);
    c->row->values[STATUS] = value_text(STR("Ordered"));
    return c;
}

static inline struct store_change *fixture_insert_payment(struct fixture *f, struct store_unit *u,
                                                          int64_t id, int64_t order_id,
                                                          const char *kind)
{
    struct store_change *c = fixture_change(u, &f->tables[PAYMENTS], STORE_INSERT, id);
    c->row->values[ORDER_ID] = value_int(order_id);
    if (kind)
        c->row->values[KIND] = value_text(arena_str(u->arena, str_from(kind)));
    return c;
}

/* Sets qty, as somebody who read that version. */
static inline struct store_change *fixture_update_order(struct fixture *f, struct store_unit *u,
                                                        int64_t id, int64_t version, int64_t qty)
{
    struct store_change *c = fixture_change(u, &f->tables[ORDERS], STORE_UPDATE, id);
    c->base_version = version;
    c->mask = UINT64_C(1) << QTY;
    c->row->values[QTY] = value_int(qty);
    return c;
}

static inline struct store_add *fixture_add(struct fixture *f, struct store_unit *u, int64_t id,
                                            int column, struct value delta)
{
    struct store_change *c = fixture_change(u, &f->tables[CONCERTS], STORE_ADD, id);
    struct store_add *add = c->adds = arena_zalloc(u->arena, sizeof(*add));
    add->column = column;
    add->delta = delta;
    return add;
}

static inline struct store_event *fixture_emit(struct fixture *f, struct store_unit *u,
                                               int64_t order_id)
{
    struct buf text = BUF_INIT;
    struct store_event **last = &u->events;
    while (*last)
        last = &(*last)->next;
    struct store_event *e = *last = arena_zalloc(u->arena, sizeof(*e));
    e->type = &f->ordered;
    e->time_ms = 1000;
    e->generation = 3;
    buf_addf(&text, "order/%lld", (long long)order_id);
    e->key = arena_str(u->arena, buf_str(&text));
    buf_clear(&text);
    buf_addf(&text, "{\"eventType\":\"Ordered\",\"id\":%lld,\"status\":\"Ordered\"}",
             (long long)order_id);
    e->payload = arena_str(u->arena, buf_str(&text));
    buf_deinit(&text);
    return e;
}

static inline void fixture_told(struct store_unit *u)
{
    struct fixture *f = u->owner;
    if (--f->waiting == 0)
        loop_stop(f->loop);
}

/* Hands over, and keeps a reference of each for looking at the verdict. */
static inline void fixture_submit(struct fixture *f, struct store_unit **units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        store_unit_ref(units[i]);
        units[i]->home = f->home;
        units[i]->owner = f;
        units[i]->done = fixture_told;
        units[i]->next = i + 1 < count ? units[i + 1] : NULL;
    }
    f->waiting += count;
    store_submit(f->store, units[0], units[count - 1]);
}

static inline void fixture_wait(struct fixture *f)
{
    while (f->waiting > 0)
        loop_run(f->loop);
}

/* Commits units as one batch and waits. */
static inline void fixture_run(struct fixture *f, struct store_unit **units, size_t count)
{
    fixture_submit(f, units, count);
    fixture_wait(f);
}

/* One unit: its verdict; gives the caller's reference back. */
static inline enum store_verdict fixture_commit(struct fixture *f, struct store_unit *u)
{
    fixture_run(f, &u, 1);
    enum store_verdict verdict = u->verdict;
    store_unit_unref(u);
    return verdict;
}

static inline void fixture_read_done(struct store_read *r)
{
    *(bool *)r->owner = true;
}

static inline void fixture_read(struct fixture *f, struct store_read *r)
{
    bool done = false;
    r->arena = f->arena;
    r->done = fixture_read_done;
    r->owner = &done;
    store_read_start(f->session, r);
    while (!done)
        loop_turn(f->loop);
    if (r->failed)
        fail_msg("%s", r->err.message);
}

static inline struct store_row *fixture_get(struct fixture *f, int table, int64_t id)
{
    struct store_read r = {.kind = STORE_READ_GET, .table = &f->tables[table], .id = id};
    fixture_read(f, &r);
    return r.row_count > 0 ? r.rows[0] : NULL;
}

static inline int64_t fixture_count(struct fixture *f, int table)
{
    struct store_read r = {.kind = STORE_READ_COUNT, .table = &f->tables[table]};
    fixture_read(f, &r);
    return r.count;
}

/* A committed order; its id. */
static inline int64_t fixture_order(struct fixture *f, int64_t qty)
{
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, ORDERS);
    fixture_insert_order(f, u, id, qty);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    return id;
}

/* One integer out of the file, over a connection of its own. */
static inline int64_t fixture_ask(struct fixture *f, const char *sql)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}
