/* SPDX-License-Identifier: MIT */

/* The file and its tables: only Moontide's own are opened, only by one process, and a schema
 * changes only by adding. */

#include "base/file.h"
#include "store/inspect.h"
#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <fcntl.h>
#include <sys/wait.h>

static struct store *try_open(struct fixture *f, struct err *err)
{
    struct store_conf conf = fixture_conf(f);
    *err = (struct err){0};
    return store_open(&conf, err);
}

static void run_sql(struct fixture *f, const char *sql)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void expect_refused(struct fixture *f, const char *part)
{
    struct err err;
    assert_null(try_open(f, &err));
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.message, f->folder));
    assert_non_null(strstr(err.message, part));
}

/* Opens and migrates; expects the migration to fail with that text. */
static void expect_not_migrated(struct fixture *f, const char *part)
{
    struct err err;
    struct store *s = try_open(f, &err);
    assert_non_null(s);
    assert_int_equal(store_migrate(s, &f->schema, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.message, part))
        fail_msg("%s", err.message);
    store_close(s);
}

static void marks_the_file(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct str name = store_log_name(f->store);
    char first[16];
    assert_int_equal(name.n, 8);
    memcpy(first, name.p, 9);
    fixture_close(f);
    assert_int_equal(fixture_ask(f, "PRAGMA application_id"), 0x4D4F4F4E);
    assert_int_equal(fixture_ask(f, "PRAGMA user_version"), 2);
    fixture_open(f);
    assert_string_equal(store_log_name(f->store).p, first);
}

static void refuses_foreign_file(void **state)
{
    struct fixture *f = *state;
    run_sql(f, "CREATE TABLE t(x); PRAGMA application_id=7");
    expect_refused(f, "moontide.db is not a Moontide data file");
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema"),
                     1); /* and leaves it alone */
    assert_int_equal(fixture_ask(f, "PRAGMA application_id"), 7);
}

static void refuses_what_is_no_database(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is my shopping list, ", file);
    fclose(file);
    expect_refused(f, "is not a Moontide data file");
}

/* Cut off: some pages of the middle are there. */
static void refuses_a_damaged_file(void **state)
{
    struct fixture *f = *state;
    char path[128], expected[200];
    struct err err;
    struct arena *a = arena_new(0);
    struct store_found found;
    fixture_open(f);
    fixture_order(f, 1);
    fixture_close(f);
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    snprintf(expected, sizeof(expected), "%s is damaged", path);
    for (off_t bytes = 3 * 4096; bytes >= 600; bytes /= 2) {
        assert_int_equal(truncate(path, bytes), 0);
        assert_null(try_open(f, &err));
        if (!strstr(err.message, expected))
            fail_msg("%lld bytes: %s", (long long)bytes, err.message);
        assert_int_equal(store_inspect(f->folder, a, &found, &err), -1);
        if (!strstr(err.message, expected))
            fail_msg("%lld bytes: %s", (long long)bytes, err.message);
    }
    arena_free(a);
}

/* Nobody looks at all pages of a file that is opened. */
static void names_a_file_found_damaged_later(void **state)
{
    struct fixture *f = *state;
    char path[128], page[4096];
    fixture_open(f);
    int64_t id = fixture_order(f, 1);
    fixture_close(f);
    int64_t root = fixture_ask(f, "SELECT rootpage FROM sqlite_schema WHERE name='order.orders'");
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    FILE *file = fopen(path, "r+b");
    memset(page, 0xff, sizeof(page));
    assert_int_equal(fseek(file, (long)(root - 1) * (long)sizeof(page), SEEK_SET), 0);
    assert_int_equal(fwrite(page, 1, sizeof(page), file), sizeof(page));
    fclose(file);
    fixture_open(f);
    bool done = false;
    struct store_read read = {.kind = STORE_READ_GET,
                              .table = &f->tables[ORDERS],
                              .id = id,
                              .arena = f->arena,
                              .done = fixture_read_done,
                              .owner = &done};
    store_read_start(f->session, &read);
    while (!done)
        loop_turn(f->loop);
    assert_true(read.failed);
    assert_int_equal(read.err.code, ERR_IO);
    assert_non_null(strstr(read.err.message, "moontide.db is damaged (database disk image is mal"));
    fixture_close(f);
}

static void refuses_newer_file(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    run_sql(f, "PRAGMA user_version=3");
    expect_refused(f, "was written by a newer Moontide (format 3, this one knows 2)");
}

static void an_older_file_becomes_one_of_this_format(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    run_sql(f, "DROP TABLE _moontide_renames; PRAGMA user_version=1"); /* as format 1 was */
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(fixture_ask(f, "PRAGMA user_version"), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_renames"), 0);
}

static void empty_file_becomes_a_store(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600); /* a crash before the first page was written */
    assert_true(fd >= 0);
    close(fd);
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), 0);
}

static void copy_file(const char *from, const char *to)
{
    struct buf content = BUF_INIT;
    struct err err;
    fixture_expect_ok(file_read(from, (size_t)1 << 24, &content, &err), &err);
    fixture_expect_ok(file_write(to, buf_str(&content), 0600, &err), &err);
    buf_deinit(&content);
}

/* A backup is put into the folder of a process that was killed: SQLite would write the WAL of that
 * one over it. */
static void refuses_a_backup_beside_a_foreign_wal(void **state)
{
    struct fixture *f = *state;
    char file[128], wal[160], kept[128], copy[128];
    struct err err;
    struct store_found found;
    struct arena *a = arena_new(0);
    snprintf(file, sizeof(file), "%s/moontide.db", f->folder);
    snprintf(wal, sizeof(wal), "%s-wal", file);
    snprintf(kept, sizeof(kept), "%s/kept", f->folder);
    snprintf(copy, sizeof(copy), "%s/copy", f->folder);
    fixture_open(f);
    fixture_order(f, 1);
    fixture_expect_ok(store_backup(f->folder, copy, &err), &err);
    fixture_order(f, 2);
    copy_file(wal, kept);
    fixture_close(f);
    assert_int_equal(rename(copy, file), 0);
    assert_int_equal(rename(kept, wal), 0);
    expect_refused(f, "which is a backup");
    assert_int_equal(store_inspect(f->folder, a, &found, &err), -1);
    assert_non_null(strstr(err.message, "which is a backup"));
    assert_int_equal(unlink(wal), 0);
    fixture_open(f); /* and it was left alone */
    assert_int_equal(fixture_count(f, ORDERS), 1);
    arena_free(a);
}

static void refuses_a_wal_without_its_file(void **state)
{
    struct fixture *f = *state;
    char file[128], wal[160], kept[128], kept_wal[128];
    snprintf(file, sizeof(file), "%s/moontide.db", f->folder);
    snprintf(wal, sizeof(wal), "%s-wal", file);
    snprintf(kept, sizeof(kept), "%s/kept", f->folder);
    snprintf(kept_wal, sizeof(kept_wal), "%s/kept-wal", f->folder);
    fixture_open(f);
    fixture_order(f, 1);
    copy_file(file, kept);
    copy_file(wal, kept_wal);
    fixture_close(f);
    assert_int_equal(rename(kept_wal, wal), 0);
    assert_int_equal(unlink(file), 0);
    expect_refused(f, "is missing or empty");
    fclose(fopen(file, "w"));
    expect_refused(f, "is missing or empty");
    assert_int_equal(rename(kept, file), 0);
    fixture_open(f); /* and both were left alone */
    assert_int_equal(fixture_count(f, ORDERS), 1);
}

static void makes_the_folder(void **state)
{
    struct fixture *f = *state;
    size_t n = strlen(f->folder);
    snprintf(f->folder + n, sizeof(f->folder) - n, "/a/b");
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), 0);
    fixture_close(f);
    f->folder[n] = '\0';
}

static void locks_the_folder(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        struct store *s = try_open(f, &err);
        _exit(s ? 1 : err.code == ERR_LOCKED ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fixture_close(f);
    fixture_open(f); /* and closing gives it back */
}

static void pragmas_are_set(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sql;
        int want;
    } pragmas[] = {{"PRAGMA synchronous", 2},
                   {"PRAGMA busy_timeout", 10000},
                   {"PRAGMA foreign_keys", 0},
                   {"PRAGMA temp_store", 0}};
    sqlite3 *connections[] = {f->store->conn.db, f->session->conn.db};
    for (int c = 0; c < 2; c++) {
        for (size_t i = 0; i < sizeof(pragmas) / sizeof(*pragmas); i++) {
            sqlite3_stmt *stmt;
            sqlite3_prepare_v2(connections[c], pragmas[i].sql, -1, &stmt, NULL);
            assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
            assert_int_equal(sqlite3_column_int(stmt, 0), pragmas[i].want);
            sqlite3_finalize(stmt);
        }
    }
    assert_int_equal(sqlite3_exec(f->session->conn.db, "DELETE FROM _moontide_meta", 0, 0, 0),
                     SQLITE_READONLY);
    assert_int_equal(sqlite3_memory_used(), 0); /* nothing is counted */
}

static void adds_tables_and_columns(void **state)
{
    struct fixture *f = *state;
    f->tables[ORDERS].field_count = 2;
    f->tables[ORDERS].index_count = 0;
    f->schema.table_count = 1;
    fixture_open(f);
    int64_t id = fixture_id(f, ORDERS);
    struct store_unit *u = store_unit_new();
    struct store_change *c = fixture_change(u, &f->tables[ORDERS], STORE_INSERT, id);
    c->row->values[QTY] = value_int(3);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    fixture_close(f);
    f->tables[ORDERS].field_count = 4;
    f->tables[ORDERS].index_count = 1;
    f->schema.table_count = 3;
    fixture_open(f);
    struct store_row *row = fixture_get(f, ORDERS, id);
    assert_int_equal(row->values[QTY].i, 3);
    assert_int_equal(row->values[STATUS].type, VALUE_NULL);
    fixture_order(f, 4);
    assert_int_equal(fixture_count(f, PAYMENTS), 0);
}

static void keeps_removed_columns(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int64_t id = fixture_order(f, 3);
    fixture_close(f);
    f->tables[ORDERS].field_count = 1;
    f->tables[ORDERS].index_count = 0;
    fixture_open(f);
    assert_non_null(fixture_get(f, ORDERS, id));
    fixture_close(f);
    f->tables[ORDERS].field_count = 4;
    fixture_open(f);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 3);
}

static void refuses_changed_type(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int64_t id = fixture_order(f, 3);
    fixture_close(f);
    f->order_fields[QTY].type = FIELD_TEXT;
    expect_not_migrated(f, "orders.qty: declared as text, stored as integer; a type cannot change");
    f->order_fields[QTY].type = FIELD_TIMESTAMP; /* stored alike, read differently */
    expect_not_migrated(f, "declared as timestamp, stored as integer");
    f->order_fields[QTY].type = FIELD_INTEGER;
    f->payment_fields[AMOUNT].scale = 3;
    expect_not_migrated(f, "payments.amount: declared as decimal(3), stored as decimal(2)");
    f->payment_fields[AMOUNT].scale = 2;
    fixture_open(f);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 3);
}

static void migration_is_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    f->schema.table_count = 1;
    fixture_open(f);
    fixture_close(f);
    f->schema.table_count = 3;
    f->concert_fields[BALANCE].name = STR("_version"); /* the last table fails */
    expect_not_migrated(f, "concerts._version");
    assert_int_equal(
        fixture_ask(f, "SELECT count(*) FROM sqlite_schema WHERE name='payment.payments'"), 0);
    f->concert_fields[BALANCE].name = STR("balance");
    fixture_open(f);
    assert_int_equal(fixture_id(f, PAYMENTS), 1);
}

static void indexes_come_and_go(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    const char *count = "SELECT count(*) FROM sqlite_schema WHERE type='index' AND"
                        " tbl_name='order.orders'";
    assert_int_equal(fixture_ask(f, count), 1);
    f->order_indexes[0] = (struct store_index){.columns = {STATUS, QTY}, .count = 2};
    f->order_indexes[1] = (struct store_index){.columns = {BOOK_ID}, .count = 1};
    f->tables[ORDERS].index_count = 2;
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(fixture_ask(f, count), 2);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM sqlite_schema WHERE type='index' AND"
                                    " sql LIKE '%customerId%'"),
                     0);
    f->tables[ORDERS].index_count = 0;
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(fixture_ask(f, count), 0);
}

static void finders_use_their_index(void **state)
{
    struct fixture *f = *state;
    struct buf plan = BUF_INIT;
    struct sqlite_stmt_key key = {
        .table = &f->tables[ORDERS], .kind = SQL_FIND, .count = 1, .a = CUSTOMER_ID, .order = -1};
    sqlite3_stmt *stmt;
    buf_adds(&plan, STR("EXPLAIN QUERY PLAN "));
    sqlite_sql_write(&plan, &key);
    assert_int_equal(sqlite3_prepare_v2(f->session->conn.db, buf_str(&plan).p, -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(stmt, 3);
    if (!strstr(text, "USING INDEX _moontide_index order.orders:customerId"))
        fail_msg("%s", text);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE); /* and needs no sorting after it */
    sqlite3_finalize(stmt);
    buf_deinit(&plan);
}

static void refuses_duplicates_under_new_unique(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_order(f, 3);
    fixture_order(f, 3);
    fixture_close(f);
    f->order_indexes[1] =
        (struct store_index){.columns = {QTY, STATUS}, .count = 2, .unique = true};
    f->tables[ORDERS].index_count = 2;
    expect_not_migrated(f, "orders: unique (qty, status) is declared, but rows with equal values");
    f->tables[ORDERS].index_count = 1;
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), 2);
}

static void names_are_quoted(void **state)
{
    struct fixture *f = *state;
    f->tables[ORDERS].name = STR("or\"ders; DROP TABLE x");
    f->order_fields[QTY].name = STR("select\"");
    f->order_indexes[0].columns[0] = QTY;
    fixture_open(f);
    int64_t id = fixture_order(f, 3);
    struct store_unit *u = store_unit_new();
    fixture_update_order(f, u, id, 1, 4);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 4);
}

/* A new generation of scripts brings a new schema while everything runs. */
static void migrates_while_running(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    f->tables[ORDERS].field_count = 3;
    f->tables[ORDERS].index_count = 0;
    fixture_open(f);
    int64_t id = fixture_order(f, 3);
    assert_non_null(fixture_get(f, ORDERS, id));
    f->tables[ORDERS].field_count = 4; /* the same place in memory, another shape */
    f->tables[ORDERS].index_count = 1;
    fixture_expect_ok(store_migrate(f->store, &f->schema, &err), &err);
    struct store_unit *u = store_unit_new();
    int64_t second = fixture_id(f, ORDERS);
    fixture_insert_order(f, u, second, 5)->row->values[CUSTOMER_ID] = value_int(9);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_int_equal(second, id + 1);
    assert_int_equal(fixture_get(f, ORDERS, second)->values[CUSTOMER_ID].i, 9);
    f->order_fields[QTY].type = FIELD_TEXT;
    assert_int_equal(store_migrate(f->store, &f->schema, &err), -1);
    f->order_fields[QTY].type = FIELD_INTEGER;
    fixture_order(f, 6); /* nothing is broken by the refusal */
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }
#define CLOSED(name, fn)                                                                           \
    {                                                                                              \
        name, fn, fixture_setup_closed, fixture_teardown, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED("the file is marked and its log named once", marks_the_file),
        CLOSED("a foreign database is refused and left alone", refuses_foreign_file),
        CLOSED("a file that is no database is refused", refuses_what_is_no_database),
        CLOSED("PATH-7f a file that was cut off is refused as damaged, by its name",
               refuses_a_damaged_file),
        CLOSED("PATH-7f a file that is found damaged later is named, too",
               names_a_file_found_damaged_later),
        CLOSED("a file of a newer format is refused", refuses_newer_file),
        CLOSED("RULES-3i a file of an older format is raised, so that its build refuses it from "
               "then on",
               an_older_file_becomes_one_of_this_format),
        CLOSED("an empty file becomes a store", empty_file_becomes_a_store),
        CLOSED("SHOP-7j a backup put beside the WAL of another file is refused and left alone",
               refuses_a_backup_beside_a_foreign_wal),
        CLOSED("PATH-7f a WAL whose file is missing or empty is refused and left alone",
               refuses_a_wal_without_its_file),
        CLOSED("the folder is made", makes_the_folder),
        CLOSED("a second process is refused", locks_the_folder),
        OPEN("every connection has its pragmas", pragmas_are_set),
        CLOSED("PATH-3a the schema is made of declarations and grows", adds_tables_and_columns),
        CLOSED("PATH-3a a removed field keeps its column", keeps_removed_columns),
        CLOSED("PATH-3a a changed type is refused with both spellings", refuses_changed_type),
        CLOSED("PATH-3a a migration is whole or not at all", migration_is_whole_or_not_at_all),
        CLOSED("PATH-3a names are quoted", names_are_quoted),
        CLOSED("PATH-3a a migration while the writer runs", migrates_while_running),
        CLOSED("PATH-3i indexes come and go with their declaration", indexes_come_and_go),
        OPEN("PATH-3i a finder reads by its index", finders_use_their_index),
        CLOSED("PATH-3h duplicates refuse a new unique key", refuses_duplicates_under_new_unique),
    };
    return cmocka_run_group_tests_name("store/sqlite_open", tests, NULL, NULL);
}
