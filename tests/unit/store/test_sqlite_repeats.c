/* SPDX-License-Identifier: MIT */

/* Answers kept for repeats: with their effects or not at all, one a key, for their time. */

#include "store/repeat.h"
#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <limits.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct store_unit *keyed(struct fixture *f, const char *service, const char *key,
                                int64_t ago_ms, bool with_row)
{
    struct store_unit *u = store_unit_new();
    int64_t now_ms = clock_wall_ms(&f->clock) - ago_ms;
    struct store_repeat r = {.service = str_from(service),
                             .key = str_from(key),
                             .fingerprint = STR("print"),
                             .status = 201,
                             .head = STR("Location:/orders/1\n"),
                             .body = STR("{}"),
                             .now_ms = now_ms,
                             .expires_ms = now_ms + DAY_MS};
    if (with_row)
        fixture_insert_order(f, u, fixture_id(f, 0), 1);
    store_repeat_add(u, &r);
    return u;
}

static int find(struct fixture *f, const char *service, const char *key, struct arena *a,
                struct store_repeat *ret)
{
    struct err err;
    int found = store_repeat_find(f->session, a, str_from(service), str_from(key),
                                  clock_wall_ms(&f->clock), ret, &err);
    assert_true(found >= 0);
    return found;
}

static bool is_kept(struct fixture *f, const char *service, const char *key)
{
    struct arena *a = arena_new(0);
    struct store_repeat r;
    int found = find(f, service, key, a, &r);
    arena_free(a);
    return found == 1;
}

static enum store_verdict commit(struct fixture *f, struct store_unit *u)
{
    return fixture_commit(f, u);
}

static void kept_with_its_effects_and_found_again(void **state)
{
    struct fixture *f = *state;
    struct arena *a = arena_new(0);
    struct store_repeat r;
    assert_int_equal(commit(f, keyed(f, "order", "k", 0, true)), STORE_COMMITTED);
    assert_int_equal(fixture_count(f, 0), 1);
    assert_int_equal(find(f, "order", "k", a, &r), 1);
    assert_int_equal(r.status, 201);
    assert_true(str_eq(r.fingerprint, STR("print")) && str_eq(r.body, STR("{}")));
    assert_true(str_eq(r.head, STR("Location:/orders/1\n")));
    assert_false(is_kept(f, "payment", "k"));
    assert_false(is_kept(f, "order", "K"));
    arena_free(a);
}

static void the_second_of_a_key_is_refused_whole(void **state)
{
    struct fixture *f = *state;
    struct store_unit *units[] = {keyed(f, "order", "k", 0, true), keyed(f, "order", "k", 0, true)};
    fixture_run(f, units, 2);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    assert_int_equal(units[1]->verdict, STORE_CONFLICT);
    assert_null(units[1]->refused);
    assert_int_equal(fixture_count(f, 0), 1);
    store_unit_unref(units[0]);
    store_unit_unref(units[1]);
}

static void expired_ones_are_not_found_and_may_come_again(void **state)
{
    struct fixture *f = *state;
    const int64_t minute_ms = 60000;
    assert_int_equal(commit(f, keyed(f, "order", "k", DAY_MS - minute_ms, true)), STORE_COMMITTED);
    assert_true(is_kept(f, "order", "k"));
    assert_int_equal(commit(f, keyed(f, "order", "k", 0, true)), STORE_CONFLICT);
    assert_int_equal(commit(f, keyed(f, "order", "old", DAY_MS + minute_ms, true)),
                     STORE_COMMITTED);
    assert_false(is_kept(f, "order", "old"));
    assert_int_equal(commit(f, keyed(f, "order", "old", 0, true)), STORE_COMMITTED);
    assert_true(is_kept(f, "order", "old"));
    assert_int_equal(fixture_count(f, 0), 3);
}

static int64_t rows_of(struct fixture *f)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT count(*) FROM _moontide_repeats", -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

/* The writer has looked for expired ones so long ago; it sleeps meanwhile. */
static void set_tidied(struct fixture *f, int64_t ago_ms)
{
    f->store->tidied_ms = clock_wall_ms(&f->clock) - ago_ms;
}

static void keep_forty_expired(struct fixture *f)
{
    char key[16];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        set_tidied(f, 0);
        assert_int_equal(commit(f, keyed(f, "order", key, 2 * DAY_MS, false)), STORE_COMMITTED);
    }
    assert_int_equal(rows_of(f), 40);
    set_tidied(f, 0);
}

static struct store_unit *keyless(struct fixture *f)
{
    struct store_unit *u = store_unit_new();
    fixture_insert_order(f, u, fixture_id(f, 0), 1);
    return u;
}

static void expired_ones_go_with_later_ones_and_at_a_start(void **state)
{
    struct fixture *f = *state;
    keep_forty_expired(f);
    assert_int_equal(commit(f, keyed(f, "order", "new", 0, false)), STORE_COMMITTED);
    assert_int_equal(rows_of(f), 40 - 16 + 1);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(rows_of(f), 1);
    assert_true(is_kept(f, "order", "new"));
}

static void expired_ones_go_with_units_that_have_none(void **state)
{
    struct fixture *f = *state;
    keep_forty_expired(f);
    assert_int_equal(commit(f, keyless(f)), STORE_COMMITTED);
    assert_int_equal(rows_of(f), 40);
    set_tidied(f, 10000);
    assert_int_equal(commit(f, keyless(f)), STORE_COMMITTED);
    assert_int_equal(rows_of(f), 0);
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN("G8 an answer is kept with its effects and found again",
             kept_with_its_effects_and_found_again),
        OPEN("G8 the second unit of a key is refused whole", the_second_of_a_key_is_refused_whole),
        OPEN("G8 a key that has expired is free again",
             expired_ones_are_not_found_and_may_come_again),
        OPEN("G10 expired keys go with units that have none",
             expired_ones_go_with_units_that_have_none),
        OPEN("G10 expired keys go with later ones, and at a start",
             expired_ones_go_with_later_ones_and_at_a_start),
    };
    return cmocka_run_group_tests_name("store/sqlite_repeats", tests, NULL, NULL);
}
