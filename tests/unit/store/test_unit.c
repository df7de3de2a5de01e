/* SPDX-License-Identifier: MIT */
/* A unit lives as long as its last reference (the address sanitizer is the witness), and owns what
 * it holds. */
#include "store/unit.h"

#include <pthread.h>
#include <string.h>

/* cmocka wants these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define THREADS 4
#define ROUNDS 20000

static struct field fields[3];
static const struct store_table table = {.fields = fields, .field_count = 3};

static void new_unit_is_empty_with_one_reference(void **state)
{
    (void)state;
    struct store_unit *u = store_unit_new();
    assert_int_equal(atomic_load(&u->refs), 1);
    assert_true(store_unit_is_empty(u));
    assert_non_null(u->arena);
    assert_null(u->done);
    store_unit_unref(u);
}

static void unit_stays_until_the_last_reference(void **state)
{
    (void)state;
    struct store_unit *u = store_unit_new();
    assert_ptr_equal(store_unit_ref(u), u);
    store_unit_unref(u);
    assert_int_equal(atomic_load(&u->refs), 1);
    store_unit_note(u, STORE_NOTE_DONE)->seq = 7;
    assert_int_equal(u->notes->seq, 7);
    store_unit_unref(u);
}

static void unref_of_nothing_is_legal(void **state)
{
    (void)state;
    store_unit_unref(NULL);
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        store_unit_unref(store_unit_ref(arg));
    store_unit_unref(arg);
    return NULL;
}

static void references_count_across_threads(void **state)
{
    (void)state;
    struct store_unit *u = store_unit_new();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, store_unit_ref(u)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&u->refs), 1);
    store_unit_unref(u);
}

static void any_content_makes_a_unit_not_empty(void **state)
{
    (void)state;
    struct store_unit *u = store_unit_new();
    struct store_change change = {0};
    struct store_event event = {0};
    struct store_timer timer = {0};
    u->changes = &change;
    assert_false(store_unit_is_empty(u));
    u->changes = NULL;
    u->events = &event;
    assert_false(store_unit_is_empty(u));
    u->events = NULL;
    u->timers = &timer;
    assert_false(store_unit_is_empty(u));
    u->timers = NULL;
    u->cancel_count = 1;
    assert_false(store_unit_is_empty(u));
    u->cancel_count = 0;
    assert_true(store_unit_is_empty(u));
    store_unit_note(u, STORE_NOTE_DONE);
    assert_false(store_unit_is_empty(u));
    store_unit_unref(u);
}

static void notes_are_zeroed_and_keep_their_order(void **state)
{
    (void)state;
    struct store_unit *u = store_unit_new();
    struct store_note *a = store_unit_note(u, STORE_NOTE_HELD);
    struct store_note *b = store_unit_note(u, STORE_NOTE_LETTER);
    struct store_note *c = store_unit_note(u, STORE_NOTE_TIMER_GONE);
    assert_ptr_equal(u->notes, a);
    assert_ptr_equal(a->next, b);
    assert_ptr_equal(b->next, c);
    assert_null(c->next);
    assert_int_equal(b->kind, STORE_NOTE_LETTER);
    assert_int_equal(c->seq, 0);
    assert_int_equal(c->error.n, 0);
    store_unit_unref(u);
}

static void new_row_is_all_null(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    struct store_row *row = store_row_new(a, &table);
    assert_int_equal(row->id, 0);
    assert_int_equal(row->version, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(row->values[i].type, VALUE_NULL);
    arena_free(a);
}

static void copied_row_outlives_the_arena_of_its_text(void **state)
{
    (void)state;
    struct arena *from = arena_new(0), *to = arena_new(0);
    struct store_row *row = store_row_new(from, &table);
    row->id = 5;
    row->version = 9;
    row->values[0] = value_int(-1);
    row->values[1] = value_text(arena_str(from, STR("a\0b")));
    struct store_row *copy = store_row_copy(to, &table, row);
    row->values[0].i = 3;
    arena_free(from);
    assert_int_equal(copy->id, 5);
    assert_int_equal(copy->version, 9);
    assert_int_equal(copy->values[0].i, -1);
    assert_true(str_eq(copy->values[1].s, STR("a\0b")));
    assert_int_equal(copy->values[2].type, VALUE_NULL);
    arena_free(to);
}

static void table_without_fields_has_rows(void **state)
{
    (void)state;
    const struct store_table bare = {.number = 1};
    struct arena *a = arena_new(0);
    struct store_row *row = store_row_new(a, &bare);
    row->id = 2;
    assert_int_equal(store_row_copy(a, &bare, row)->id, 2);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_unit_is_empty_with_one_reference),
        cmocka_unit_test(unit_stays_until_the_last_reference),
        cmocka_unit_test(unref_of_nothing_is_legal),
        cmocka_unit_test(references_count_across_threads),
        cmocka_unit_test(any_content_makes_a_unit_not_empty),
        cmocka_unit_test(notes_are_zeroed_and_keep_their_order),
        cmocka_unit_test(new_row_is_all_null),
        cmocka_unit_test(copied_row_outlives_the_arena_of_its_text),
        cmocka_unit_test(table_without_fields_has_rows),
    };
    return cmocka_run_group_tests_name("store/unit", tests, NULL, NULL);
}
