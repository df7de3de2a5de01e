/* SPDX-License-Identifier: MIT */
/* The map against a plain array as its model: removal moves entries about, and only a long random
 * run meets every order of neighbours. */
#include "base/map.h"

#include <stdio.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void test_set_find_replace_remove(void **state)
{
    (void)state;
    struct map *m = map_new();
    int one, two;
    assert_null(map_find(m, STR("a")));
    assert_null(map_remove(m, STR("a")));
    assert_null(map_set(m, STR("a"), &one));
    assert_ptr_equal(map_set(m, STR("a"), &two), &one);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_find(m, STR("a")), &two);
    assert_ptr_equal(map_remove(m, STR("a")), &two);
    assert_null(map_find(m, STR("a")));
    assert_null(map_remove(m, STR("a")));
    assert_int_equal(map_count(m), 0);
    map_free(m);
}

static void test_keys_are_copied_bytes(void **state)
{
    (void)state;
    struct map *m = map_new();
    int x, y, z;
    char key[] = "a\0b";
    map_set(m, (struct str){key, 3}, &x);
    map_set(m, (struct str){key, 1}, &y);
    map_set(m, (struct str){NULL, 0}, &z);
    key[0] = 'X';
    assert_ptr_equal(map_find(m, (struct str){"a\0b", 3}), &x);
    assert_ptr_equal(map_find(m, STR("a")), &y);
    assert_ptr_equal(map_find(m, STR("")), &z);
    map_free(m);
    map_free(NULL);
}

static void test_ten_thousand_random_steps_agree_with_a_model(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    static int values[KEYS];
    void *model[KEYS] = {NULL};
    size_t count = 0;
    struct map *m = map_new();
    uint64_t random = 1;
    for (int step = 0; step < 10000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        int k = (int)(random >> 33) % KEYS;
        char key[16];
        snprintf(key, sizeof key, "key%d", k);
        void *value = random >> 62 ? &values[k] : NULL;
        void *old = value ? map_set(m, str_from(key), value) : map_remove(m, str_from(key));
        assert_ptr_equal(old, model[k]);
        count = count + (value != NULL) - (old != NULL);
        model[k] = value;
        assert_int_equal(map_count(m), count);
        k = (k * 7 + 3) % KEYS;
        snprintf(key, sizeof key, "key%d", k);
        assert_ptr_equal(map_find(m, str_from(key)), model[k]);
    }
    map_free(m);
}

static void test_next_visits_each_once(void **state)
{
    (void)state;
    struct map *m = map_new();
    static int seen[100];
    size_t pos = 0;
    assert_null(map_next(m, &pos, NULL));
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        map_set(m, str_from(key), &seen[i]);
    }
    pos = 0;
    struct str key;
    for (int *p; (p = map_next(m, &pos, &key));) {
        int64_t i;
        assert_true(str_to_int(key, &i));
        assert_ptr_equal(p, &seen[i]);
        (*p)++;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_find_replace_remove),
        cmocka_unit_test(test_keys_are_copied_bytes),
        cmocka_unit_test(test_ten_thousand_random_steps_agree_with_a_model),
        cmocka_unit_test(test_next_visits_each_once),
    };
    return cmocka_run_group_tests_name("base/map", tests, NULL, NULL);
}
