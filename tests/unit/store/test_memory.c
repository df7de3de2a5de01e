/* SPDX-License-Identifier: MIT */

/* The memory file: rows and positions of policies in it are there together, apart from the rest,
 * and gone with the next opening, whatever became of the process. */

#include "base/file.h"
#include "store/log.h"
#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>

static const struct str types[] = {STR("Ordered")};

struct memory {
    struct fixture *f;
    char root[96];
    struct store_policy policies[2]; /* one of the file, one in memory */
};

/* Opens with the concerts in memory; the policies' rows as they were then. */
static void open_memory(struct memory *m)
{
    struct fixture *f = m->f;
    struct err err = {0};
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    fixture_expect_ok(f->store ? 0 : -1, &err);
    struct store_switch_policy policies[] = {
        {STR("delivery"), STR("ship"), STR(""), types, 1, true, false},
        {STR("stage"), STR("view concerts"), STR(""), types, 1, true, true},
    };
    struct store_switch sw = {.schema = &f->schema,
                              .policies = policies,
                              .policy_count = 2,
                              .origin = STR("test"),
                              .arena = f->arena};
    struct store_switched switched;
    fixture_expect_ok(store_switch(f->store, &sw, &switched, &err), &err);
    memcpy(m->policies, switched.policies, sizeof(m->policies));
    fixture_expect_ok(store_start(f->store, &f->hooks, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
    fixture_expect_ok(f->session ? 0 : -1, &err);
}

static int setup(void **state)
{
    struct memory *m = xcalloc(1, sizeof(*m));
    m->f = fixture_new();
    snprintf(m->root, sizeof(m->root), "%s-memory", m->f->folder);
    mkdir(m->root, 0755);
    m->f->memory_root = m->root;
    m->f->tables[CONCERTS].in_memory = true;
    open_memory(m);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct memory *m = *state;
    fixture_free(m->f);
    nftw(m->root, fixture_remove_file, 8, FTW_DEPTH | FTW_PHYS);
    free(m);
    return 0;
}

static void reopen(struct memory *m)
{
    fixture_close(m->f);
    open_memory(m);
}

static size_t count_in(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static int64_t add_concert(struct memory *m, int64_t seq)
{
    struct fixture *f = m->f;
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, CONCERTS);
    fixture_change(u, &f->tables[CONCERTS], STORE_INSERT, id)->row->values[TICKETS] =
        value_int(seq);
    u->in_memory = true;
    struct store_note *n = store_unit_note(u, STORE_NOTE_HELD);
    n->policy = m->policies[1].number;
    n->seq = seq;
    n->key = STR("concert/1");
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    return id;
}

static size_t count_held(struct memory *m)
{
    struct err err = {0};
    struct store_held *held;
    size_t count;
    fixture_expect_ok(store_log_held(m->f->session, m->f->arena, &held, &count, &err), &err);
    return count;
}

static void rows_and_bookkeeping_are_gone_with_the_next_opening(void **state)
{
    struct memory *m = *state;
    int64_t order = fixture_order(m->f, 3), concert = add_concert(m, 1);
    assert_int_equal(fixture_get(m->f, CONCERTS, concert)->values[TICKETS].i, 1);
    assert_int_equal(count_held(m), 1);
    int64_t ship = m->policies[0].number;
    reopen(m);
    assert_int_equal(fixture_get(m->f, ORDERS, order)->values[QTY].i, 3);
    assert_int_equal(fixture_count(m->f, CONCERTS), 0);
    assert_int_equal(count_held(m), 0);
    assert_int_equal(m->policies[0].number, ship);
    assert_int_equal(m->policies[1].high, 0);
}

static void policies_and_letters_of_the_two_files_have_different_numbers(void **state)
{
    struct memory *m = *state;
    struct err err = {0};
    struct store_letter *letters, one;
    size_t count;
    struct store_unit *ordered = store_unit_new();
    fixture_emit(m->f, ordered, 1);
    assert_int_equal(fixture_commit(m->f, ordered), STORE_COMMITTED);
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_new();
        u->in_memory = i == 1;
        struct store_note *n = store_unit_note(u, STORE_NOTE_LETTER);
        n->policy = m->policies[i].number;
        n->seq = 1;
        assert_int_equal(fixture_commit(m->f, u), STORE_COMMITTED);
    }
    assert_true(m->policies[0].number < ENGINE_MEMORY_FIRST);
    assert_true(m->policies[1].number > ENGINE_MEMORY_FIRST);
    fixture_expect_ok(
        store_log_letters(m->f->session, m->f->arena, STR(""), 0, 10, &letters, &count, &err),
        &err);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        assert_true(str_eq(letters[i].type, STR("Ordered")));
        assert_int_equal(store_log_letter(m->f->session, m->f->arena, letters[i].id, &one, &err),
                         1);
        assert_int_equal(one.policy, letters[i].policy);
        assert_true(str_eq(one.type, STR("Ordered")));
    }
    assert_true(str_eq(letters[0].policy_name, STR("view concerts")));
    fixture_expect_ok(store_log_letters(m->f->session, m->f->arena, STR(""), letters[0].id, 10,
                                        &letters, &count, &err),
                      &err);
    assert_int_equal(count, 1);
    assert_true(str_eq(letters[0].policy_name, STR("ship")));
}

static void a_chain_of_units_goes_to_both_files(void **state)
{
    struct memory *m = *state;
    struct fixture *f = m->f;
    struct store_unit *units[6];
    for (int i = 0; i < 6; i++) {
        units[i] = store_unit_new();
        units[i]->in_memory = i % 3 != 0;
        if (units[i]->in_memory)
            fixture_change(units[i], &f->tables[CONCERTS], STORE_INSERT, fixture_id(f, CONCERTS));
        else
            fixture_insert_order(f, units[i], fixture_id(f, ORDERS), i);
    }
    fixture_run(f, units, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(units[i]->verdict, STORE_COMMITTED);
        store_unit_unref(units[i]);
    }
    assert_int_equal(fixture_count(f, ORDERS), 2);
    assert_int_equal(fixture_count(f, CONCERTS), 4);
}

static void a_picture_holds_in_both_files(void **state)
{
    struct memory *m = *state;
    struct fixture *f = m->f;
    struct err err = {0};
    add_concert(m, 1);
    struct store_snapshot *sn = store_snapshot_open(f->session, &err);
    assert_non_null(sn);
    for (int round = 0; round < 2; round++) {
        struct store_read concerts = {
            .kind = STORE_READ_COUNT, .table = &f->tables[CONCERTS], .snapshot = sn};
        struct store_read orders = {
            .kind = STORE_READ_COUNT, .table = &f->tables[ORDERS], .snapshot = sn};
        fixture_read(f, &concerts);
        fixture_read(f, &orders);
        assert_int_equal(concerts.count, 1);
        assert_int_equal(orders.count, 0);
        add_concert(m, 2 + round);
        fixture_order(f, 1);
    }
    store_snapshot_close(sn);
    assert_int_equal(fixture_count(f, CONCERTS), 3);
}

static void closing_leaves_nothing_there(void **state)
{
    struct memory *m = *state;
    assert_int_equal(count_in(m->root), 1);
    fixture_close(m->f);
    assert_int_equal(count_in(m->root), 0);
    open_memory(m);
}

static void put(const char *folder, const char *name)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("stale", file);
    fclose(file);
}

static void what_other_processes_left_is_removed_unless_they_live(void **state)
{
    struct memory *m = *state;
    char dead[200], alive[200], foreign[200], path[300];
    fixture_close(m->f);
    snprintf(dead, sizeof(dead), "%s/moontide-%lu-1-1", m->root, (unsigned long)geteuid());
    snprintf(alive, sizeof(alive), "%s/moontide-%lu-1-2", m->root, (unsigned long)geteuid());
    snprintf(foreign, sizeof(foreign), "%s/moontide-else", m->root);
    mkdir(dead, 0700);
    mkdir(alive, 0700);
    mkdir(foreign, 0700);
    put(dead, "moontide.db");
    put(dead, "moontide.db-wal");
    put(alive, "moontide.db");
    snprintf(path, sizeof(path), "%s/lock", alive);
    struct err err = {0};
    int fd = file_lock(path, &err);
    assert_true(fd >= 0);
    open_memory(m);
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(access(foreign, F_OK), 0);
    close(fd);
    reopen(m);
    assert_int_equal(access(alive, F_OK), -1);
}

static void a_root_that_cannot_be_used_leaves_the_data_folder(void **state)
{
    struct memory *m = *state;
    char path[200];
    fixture_close(m->f);
    m->f->memory_root = "/nonexistent/moontide";
    open_memory(m);
    add_concert(m, 1);
    snprintf(path, sizeof(path), "%s/memory", m->f->folder);
    assert_int_equal(access(path, F_OK), 0);
    fixture_close(m->f);
    assert_int_equal(access(path, F_OK), -1);
    open_memory(m);
    assert_int_equal(fixture_count(m->f, CONCERTS), 0);
}

#define CASE(name, fn)                                                                             \
    {                                                                                              \
        name, fn, setup, teardown, NULL                                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("SHOP-3f rows in memory and their bookkeeping are gone with the next opening",
             rows_and_bookkeeping_are_gone_with_the_next_opening),
        CASE("SHOP-3f policies and letters of the two files have different numbers",
             policies_and_letters_of_the_two_files_have_different_numbers),
        CASE("SHOP-3f a chain of units goes to both files", a_chain_of_units_goes_to_both_files),
        CASE("SHOP-3f a picture holds in both files", a_picture_holds_in_both_files),
        CASE("SHOP-3g closing leaves nothing on the tmpfs", closing_leaves_nothing_there),
        CASE("SHOP-3g what killed processes left is removed, what living ones use is not",
             what_other_processes_left_is_removed_unless_they_live),
        CASE("SHOP-3g without a tmpfs the memory file is in the data folder",
             a_root_that_cannot_be_used_leaves_the_data_folder),
    };
    return cmocka_run_group_tests_name("store/memory", tests, NULL, NULL);
}
