/* SPDX-License-Identifier: MIT */

/* Durability with a disk that fails: what was acknowledged is there, what was refused is not, and
 * when the disk comes back nobody has to restart anything. */

#include "store/sqlite/engine.h"
#include "store/sqlite/vfs_fault.h"
#include "store_fixture.h"

#include <fcntl.h>

#define UNITS 16

static int open_fault(void **state)
{
    struct fixture *f = fixture_new();
    *state = f;
    vfs_fault_install();
    fixture_open(f);
    vfs_fault_clear();
    return 0;
}

static int close_fault(void **state)
{
    vfs_fault_clear();
    fixture_free(*state);
    vfs_fault_remove();
    return 0;
}

static struct store_unit *order(struct fixture *f, int64_t qty)
{
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, ORDERS);
    fixture_insert_order(f, u, id, qty);
    fixture_emit(f, u, id);
    return u;
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    size_t n;
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(block, 1, sizeof(block), in)) > 0)
        assert_int_equal(fwrite(block, 1, n, out), n);
    fclose(in);
    fclose(out);
}

/* Orders and events that a recovery would find if the process died now. */
static void expect_after_crash(struct fixture *f, int64_t orders, int64_t events)
{
    char from[128], to[128];
    int64_t found[2];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    static const char *const suffixes[] = {"", "-wal"};
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof(from), "%s/moontide.db%s", f->folder, suffixes[i]);
        snprintf(to, sizeof(to), "%s/copy.db%s", f->folder, suffixes[i]);
        copy_file(from, to);
    }
    snprintf(to, sizeof(to), "%s/copy.db", f->folder);
    assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
    const char *const sql[] = {"SELECT count(*) FROM \"order.orders\"",
                               "SELECT count(*) FROM _moontide_events"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sqlite3_prepare_v2(db, sql[i], -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        found[i] = sqlite3_column_int64(stmt, 0);
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    assert_int_equal(found[0], orders);
    assert_int_equal(found[1], events);
}

static void commit_one(struct fixture *f)
{
    assert_int_equal(fixture_commit(f, order(f, 1)), STORE_COMMITTED);
}

static void failed_fsync_is_not_acknowledged(void **state)
{
    struct fixture *f = *state;
    commit_one(f);
    sqlite3 *before = f->store->conn.db;
    vfs_fault_fail(VFS_FAULT_WAL_SYNC, 1, false, VFS_FAULT_IOERR);
    struct store_unit *u = order(f, 2);
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_FAILED);
    assert_int_equal(u->err.code, ERR_IO);
    assert_int_equal(u->events->seq, 0);
    store_unit_unref(u);
    assert_ptr_not_equal(f->store->conn.db, before);
    assert_int_equal(fixture_count(f, ORDERS), 1);
    assert_int_equal(store_log_last_seq(f->store), 1);
    expect_after_crash(f, 1, 1); /* its frames were complete, and must not come back */
    commit_one(f);
    assert_int_equal(store_log_last_seq(f->store), 2);
    expect_after_crash(f, 2, 2);
}

/* The same with nobody else holding the file open: closing the last connection would recover its
 * log. */
static void failed_fsync_without_readers(void **state)
{
    struct fixture *f = *state;
    commit_one(f);
    store_session_free(f->session);
    f->session = NULL;
    vfs_fault_fail(VFS_FAULT_WAL_SYNC, 1, false, VFS_FAULT_IOERR);
    assert_int_equal(fixture_commit(f, order(f, 2)), STORE_FAILED);
    expect_after_crash(f, 1, 1);
    commit_one(f);
    expect_after_crash(f, 2, 2);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), 2);
    assert_int_equal(store_log_last_seq(f->store), 2);
}

static void batch_with_failed_fsync_is_run_again(void **state)
{
    struct fixture *f = *state;
    struct store_unit *units[UNITS];
    vfs_fault_fail(VFS_FAULT_WAL_SYNC, 1, false, VFS_FAULT_IOERR);
    for (int i = 0; i < UNITS; i++)
        units[i] = order(f, i);
    fixture_run(f, units, UNITS);
    for (int i = 0; i < UNITS; i++) {
        assert_int_equal(units[i]->verdict, STORE_COMMITTED);
        assert_int_equal(units[i]->events->seq, i + 1);
        store_unit_unref(units[i]);
    }
    expect_after_crash(f, UNITS, UNITS);
}

static void dead_disk_fails_everything_until_it_is_back(void **state)
{
    struct fixture *f = *state;
    struct store_unit *units[UNITS];
    commit_one(f);
    vfs_fault_fail(VFS_FAULT_WAL_SYNC, 1, true, VFS_FAULT_IOERR);
    for (int i = 0; i < UNITS; i++)
        units[i] = order(f, i);
    fixture_run(f, units, UNITS);
    for (int i = 0; i < UNITS; i++) {
        assert_int_equal(units[i]->verdict, STORE_FAILED);
        assert_int_equal(units[i]->err.code, ERR_IO);
        store_unit_unref(units[i]);
    }
    assert_int_equal(fixture_count(f, ORDERS), 1);
    expect_after_crash(f, 1, 1);
    vfs_fault_clear();
    commit_one(f);
    assert_int_equal(store_log_last_seq(f->store), 2);
    expect_after_crash(f, 2, 2);
}

static void dead_disk_without_readers(void **state)
{
    struct fixture *f = *state;
    commit_one(f);
    store_session_free(f->session);
    f->session = NULL;
    vfs_fault_fail(VFS_FAULT_WAL_SYNC, 1, true, VFS_FAULT_IOERR);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_commit(f, order(f, 2)), STORE_FAILED);
    expect_after_crash(f, 1, 1);
    vfs_fault_clear();
    commit_one(f);
    expect_after_crash(f, 2, 2);
    assert_int_equal(store_log_last_seq(f->store), 2);
}

static void failed_write_fails_its_unit(void **state)
{
    struct fixture *f = *state;
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 2, false, VFS_FAULT_IOERR);
    struct store_unit *u = order(f, 1);
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_FAILED);
    assert_int_equal(u->err.code, ERR_IO);
    store_unit_unref(u);
    commit_one(f);
    assert_int_equal(fixture_count(f, ORDERS), 1);
    assert_int_equal(store_log_last_seq(f->store), 1);
}

static void full_disk_recovers_by_itself(void **state)
{
    struct fixture *f = *state;
    struct store_unit *units[UNITS];
    commit_one(f);
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 1, true, VFS_FAULT_FULL);
    for (int i = 0; i < UNITS; i++)
        units[i] = order(f, i);
    fixture_run(f, units, UNITS);
    for (int i = 0; i < UNITS; i++) {
        assert_int_equal(units[i]->verdict, STORE_FAILED);
        assert_int_equal(units[i]->err.code, ERR_DISK_FULL);
        store_unit_unref(units[i]);
    }
    assert_int_equal(fixture_count(f, ORDERS), 1); /* reading goes on */
    vfs_fault_clear();
    commit_one(f);
    assert_int_equal(fixture_count(f, ORDERS), 2);
    assert_int_equal(store_log_last_seq(f->store), 2);
}

/* Each write of a commit in turn is the one that fails: whatever is told is what a crash would
 * leave. */
static void every_write_once(void **state)
{
    struct fixture *f = *state;
    int64_t committed = 0;
    for (int nth = 1; nth <= 40; nth++) {
        vfs_fault_fail(VFS_FAULT_WAL_WRITE, nth, false, nth % 2 ? VFS_FAULT_IOERR : VFS_FAULT_FULL);
        for (int i = 0; i < 3; i++)
            committed += fixture_commit(f, order(f, 1)) == STORE_COMMITTED;
        vfs_fault_clear();
        assert_int_equal(fixture_count(f, ORDERS), committed);
        assert_int_equal(store_log_last_seq(f->store), committed);
        expect_after_crash(f, committed, committed);
    }
    assert_true(committed > 40);
    assert_true(committed < 120); /* some did fail */
}

static void failed_checkpoint_loses_nothing(void **state)
{
    struct fixture *f = *state;
    int64_t committed = 0;
    vfs_fault_fail(VFS_FAULT_DB_WRITE, 1, true, VFS_FAULT_IOERR);
    for (int i = 0; i < 4; i++) {
        struct store_unit *u = store_unit_new(); /* some hundred pages, to pass the mark */
        struct store_change *c = fixture_insert_order(f, u, fixture_id(f, ORDERS), 1);
        char *text = arena_alloc(u->arena, 2000000);
        memset(text, 'x', 2000000);
        c->row->values[STATUS] = value_text((struct str){text, 2000000});
        committed += fixture_commit(f, u) == STORE_COMMITTED;
    }
    assert_int_equal(committed, 4);
    assert_true(vfs_fault_count(VFS_FAULT_DB_WRITE) > 0); /* it was tried */
    vfs_fault_clear();
    commit_one(f);
    commit_one(f); /* when it is answered, what came after the one before is done */
    assert_true(vfs_fault_count(VFS_FAULT_DB_WRITE) > 0);
    assert_int_equal(fixture_count(f, ORDERS), 6);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), 6);
}

/* Ids that cannot be reserved: who waits for one is told why, and the next one who asks gets one.
 */
static void ids_fail_and_recover(void **state)
{
    struct fixture *f = *state;
    int64_t id, last = 0;
    vfs_fault_fail(VFS_FAULT_WAL_WRITE, 1, true, VFS_FAULT_FULL);
    while (store_next_id(f->store, &f->tables[ORDERS], &id))
        last = id;
    assert_int_equal(last, ENGINE_ID_BLOCK);
    bool done = false;
    struct store_read r = {.kind = STORE_READ_ID, .table = &f->tables[ORDERS]};
    r.done = fixture_read_done;
    r.owner = &done;
    store_read_start(f->session, &r);
    while (!done)
        loop_turn(f->loop);
    assert_true(r.failed);
    assert_int_equal(r.err.code, ERR_DISK_FULL);
    vfs_fault_clear();
    do {
        done = false;
        store_read_start(f->session, &r);
        while (!done)
            loop_turn(f->loop);
    } while (r.failed); /* a failure that was on its way may come first */
    assert_int_equal(r.count, ENGINE_ID_BLOCK + 1);
}

#define FAULT(name, fn)                                                                            \
    {                                                                                              \
        name, fn, open_fault, close_fault, NULL                                                    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT("a failed fsync acknowledges nothing, and the next unit commits",
              failed_fsync_is_not_acknowledged),
        FAULT("a failed fsync without readers leaves nothing to recover",
              failed_fsync_without_readers),
        FAULT("a batch whose fsync failed once is run again", batch_with_failed_fsync_is_run_again),
        FAULT("a dead disk fails everything until it is back",
              dead_disk_fails_everything_until_it_is_back),
        FAULT("a dead disk without readers leaves nothing to recover", dead_disk_without_readers),
        FAULT("a failed write fails its unit", failed_write_fails_its_unit),
        FAULT("a full disk is said to be full and recovers by itself",
              full_disk_recovers_by_itself),
        FAULT("each write fails once: what is told is what a crash leaves", every_write_once),
        FAULT("G10 a failed checkpoint loses nothing, and is made up for after the next commit",
              failed_checkpoint_loses_nothing),
        FAULT("PATH-3g ids that cannot be reserved fail their waiters, then recover",
              ids_fail_and_recover),
    };
    return cmocka_run_group_tests_name("store/sqlite_fault", tests, NULL, NULL);
}
