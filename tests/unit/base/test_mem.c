/* SPDX-License-Identifier: MIT */
/* Regions are written to the last byte here, so that the address sanitizer sees any miscount. */
#include "base/mem.h"

#include <stdlib.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void test_strdup_copies_and_terminates(void **state)
{
    (void)state;
    char *whole = xstrdup("abc"), *part = xstrndup("abcdef", 2), *none = xstrndup(NULL, 0);
    assert_string_equal(whole, "abc");
    assert_string_equal(part, "ab");
    assert_string_equal(none, "");
    free(whole);
    free(part);
    free(none);
}

static void test_zero_bytes_still_give_a_pointer(void **state)
{
    (void)state;
    void *a = xmalloc(0), *b = xcalloc(0, 8), *c = xrealloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    free(a);
    free(b);
    free(c);
}

static void test_vec_doubles_and_keeps_its_items(void **state)
{
    (void)state;
    int *items = NULL;
    size_t cap = 0;
    for (int i = 0; i < 1000; i++) {
        vec_reserve(&items, &cap, (size_t)i + 1, sizeof *items);
        assert_true(cap > (size_t)i);
        items[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    assert_int_equal(cap, 1024);
    int *before = items;
    vec_reserve(&items, &cap, 10, sizeof *items);
    assert_ptr_equal(items, before);
    assert_int_equal(cap, 1024);
    free(items);
}

static void test_arena_memory_is_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_new(64);
    unsigned char *p[2000];
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 97 + 1;
        p[i] = arena_alloc(a, size);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < 2000; i++) {
        for (size_t j = 0; j < i % 97 + 1; j++)
            assert_int_equal(p[i][j], i % 251);
    }
    arena_free(a);
}

static void test_arena_takes_a_large_request_without_losing_the_small_room(void **state)
{
    (void)state;
    struct arena *a = arena_new(256);
    char *small = arena_alloc(a, 16);
    char *large = arena_alloc(a, 1000000);
    memset(large, 1, 1000000);
    char *next = arena_alloc(a, 16);
    assert_ptr_equal(next, small + 16);
    assert_int_equal(arena_used(a), 1000000 + 32);
    arena_free(a);
}

static void test_arena_first_block_holds_the_whole_hint(void **state)
{
    (void)state;
    struct arena *a = arena_new(1000);
    char *first = arena_alloc(a, 500);
    char *second = arena_alloc(a, 496);
    memset(second, 2, 496);
    assert_ptr_equal(second, first + 512);
    arena_free(a);
}

static void test_arena_zalloc_zeroes(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    const char *p = arena_zalloc(a, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(p[i], 0);
    arena_free(a);
}

static void test_arena_str_copies_and_terminates(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    char source[] = "hello";
    struct str copy = arena_str(a, (struct str){source, 4});
    source[0] = 'X';
    assert_string_equal(copy.p, "hell");
    assert_int_equal(copy.n, 4);
    struct str none = arena_str(a, (struct str){NULL, 0});
    assert_int_equal(none.n, 0);
    assert_string_equal(none.p, "");
    arena_free(a);
    arena_free(NULL);
}

static void test_arena_used_counts_from_nothing(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_alloc(a, 0));
    assert_int_equal(arena_used(a), 0);
    arena_alloc(a, 1);
    assert_int_equal(arena_used(a), 16);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strdup_copies_and_terminates),
        cmocka_unit_test(test_zero_bytes_still_give_a_pointer),
        cmocka_unit_test(test_vec_doubles_and_keeps_its_items),
        cmocka_unit_test(test_arena_memory_is_aligned_and_apart),
        cmocka_unit_test(test_arena_takes_a_large_request_without_losing_the_small_room),
        cmocka_unit_test(test_arena_first_block_holds_the_whole_hint),
        cmocka_unit_test(test_arena_zalloc_zeroes),
        cmocka_unit_test(test_arena_str_copies_and_terminates),
        cmocka_unit_test(test_arena_used_counts_from_nothing),
    };
    return cmocka_run_group_tests_name("base/mem", tests, NULL, NULL);
}
