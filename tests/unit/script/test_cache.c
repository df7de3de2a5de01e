/* SPDX-License-Identifier: MIT */
/* The cache: bounds, times, sums, and threads side by side. */
#include "script/cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool holds(struct cache *c, const char *key, int64_t now_ns, const char *expected)
{
    struct buf out = BUF_INIT;
    bool found = cache_get(c, str_from(key), now_ns, &out);
    bool same = found && str_eq(buf_str(&out), str_from(expected));
    buf_deinit(&out);
    return same;
}

static bool has(struct cache *c, const char *key, int64_t now_ns)
{
    struct buf out = BUF_INIT;
    bool found = cache_get(c, str_from(key), now_ns, &out);
    buf_deinit(&out);
    return found;
}

static void set(struct cache *c, const char *key, const char *value, int64_t ttl_ns, int64_t now_ns)
{
    struct err err;
    assert_int_equal(cache_set(c, str_from(key), str_from(value), ttl_ns, now_ns, &err), 0);
}

static void a_value_is_there_until_it_is_replaced_or_removed(void **state)
{
    (void)state;
    struct cache *c = cache_new(10, 1000);
    assert_false(has(c, "a", 1));
    set(c, "a", "one", 0, 1);
    assert_true(holds(c, "a", INT64_MAX - 1, "one"));
    set(c, "a", "another", 0, 2);
    assert_true(holds(c, "a", 3, "another"));
    set(c, "a", "", 0, 4);
    assert_false(has(c, "a", 4));
    set(c, "never", "", 0, 4);
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

static void a_value_goes_at_its_time_and_a_new_one_has_its_own(void **state)
{
    (void)state;
    struct cache *c = cache_new(10, 1000);
    set(c, "a", "x", 100, 1000);
    assert_true(has(c, "a", 1099));
    assert_false(has(c, "a", 1100));
    assert_int_equal(cache_count(c), 0);
    set(c, "a", "x", 100, 2000);
    set(c, "a", "y", 0, 2050);
    assert_true(holds(c, "a", INT64_MAX - 1, "y"));
    set(c, "far", "z", INT64_MAX, INT64_MAX - 5);
    assert_true(has(c, "far", INT64_MAX - 1));
    cache_free(c);
}

static void what_was_used_longest_ago_makes_room(void **state)
{
    (void)state;
    struct cache *c = cache_new(3, 1000);
    set(c, "a", "1", 0, 1);
    set(c, "b", "2", 0, 1);
    set(c, "c", "3", 0, 1);
    assert_true(has(c, "a", 1));
    set(c, "d", "4", 0, 1);
    assert_false(has(c, "b", 1));
    assert_true(has(c, "a", 1) && has(c, "c", 1) && has(c, "d", 1));
    cache_free(c);
}

static void bytes_are_bounded_whatever_the_sizes(void **state)
{
    (void)state;
    struct cache *c = cache_new(1000, 100);
    char value[61];
    memset(value, 'v', 60);
    value[60] = '\0';
    set(c, "a", value, 0, 1);
    set(c, "b", value, 0, 1);
    assert_false(has(c, "a", 1));
    assert_true(holds(c, "b", 1, value));
    set(c, "b", "small", 0, 1);
    set(c, "c", value, 0, 1);
    assert_true(has(c, "b", 1) && has(c, "c", 1));
    char large[200];
    memset(large, 'l', 199);
    large[199] = '\0';
    set(c, "large", large, 0, 1); /* alone it is too much */
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

static void too_long_a_key_or_value_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct cache *c = cache_new(10, 10000000);
    struct err err;
    static char text[CACHE_VALUE_BYTES + 1];
    memset(text, 'x', sizeof(text));
    struct str key = {text, CACHE_KEY_BYTES + 1}, value = {text, sizeof(text)};
    int64_t sum;
    assert_int_equal(cache_set(c, key, STR("1"), 0, 1, &err), -1);
    assert_int_equal(err.code, ERR_BUDGET);
    assert_int_equal(cache_add(c, key, 1, 0, 1, &sum, &err), -1);
    assert_int_equal(cache_set(c, STR("k"), value, 0, 1, &err), -1);
    assert_int_equal(cache_count(c), 0);
    key.n--, value.n--;
    assert_int_equal(cache_set(c, key, value, 0, 1, &err), 0);
    cache_free(c);
}

static void sums_begin_at_nothing_and_keep_their_first_time(void **state)
{
    (void)state;
    struct cache *c = cache_new(10, 1000);
    struct err err;
    int64_t sum = 0;
    assert_int_equal(cache_add(c, STR("n"), 5, 100, 1000, &sum, &err), 0);
    assert_int_equal(sum, 5);
    assert_int_equal(cache_add(c, STR("n"), -7, 100, 1050, &sum, &err), 0);
    assert_int_equal(sum, -2);
    assert_true(holds(c, "n", 1099, "-2"));
    assert_int_equal(cache_add(c, STR("n"), 1, 100, 1100, &sum, &err), 0);
    assert_int_equal(sum, 1);
    cache_free(c);
}

static void a_sum_of_what_is_no_integer_or_too_large_is_refused(void **state)
{
    (void)state;
    struct cache *c = cache_new(10, 1000);
    struct err err;
    int64_t sum = 77;
    set(c, "t", "\"text\"", 0, 1);
    set(c, "f", "1.5", 0, 1);
    assert_int_equal(cache_add(c, STR("t"), 1, 0, 1, &sum, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.message, "\"t\""));
    assert_int_equal(cache_add(c, STR("f"), 1, 0, 1, &sum, &err), -1);
    assert_int_equal(cache_add(c, STR("m"), INT64_MAX, 0, 1, &sum, &err), 0);
    assert_int_equal(cache_add(c, STR("m"), 1, 0, 1, &sum, &err), -1);
    assert_true(holds(c, "m", 1, "9223372036854775807"));
    cache_free(c);
}

static void *hammer(void *arg)
{
    struct cache *c = arg;
    struct err err;
    char key[16];
    int64_t sum;
    for (int i = 0; i < 20000; i++) {
        cache_add(c, STR("sum"), 1, 0, 1, &sum, &err);
        snprintf(key, sizeof(key), "k%d", i % 50);
        cache_set(c, str_from(key), STR("v"), 0, 1, &err);
    }
    return NULL;
}

static void no_addition_of_two_threads_is_lost(void **state)
{
    (void)state;
    struct cache *c = cache_new(40, 1000);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, hammer, c), 0);
    hammer(c);
    pthread_join(other, NULL);
    assert_true(holds(c, "sum", 1, "40000"));
    assert_int_equal(cache_count(c), 40);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_there_until_it_is_replaced_or_removed),
        cmocka_unit_test(a_value_goes_at_its_time_and_a_new_one_has_its_own),
        cmocka_unit_test(what_was_used_longest_ago_makes_room),
        cmocka_unit_test(bytes_are_bounded_whatever_the_sizes),
        cmocka_unit_test(too_long_a_key_or_value_is_refused_and_changes_nothing),
        cmocka_unit_test(sums_begin_at_nothing_and_keep_their_first_time),
        cmocka_unit_test(a_sum_of_what_is_no_integer_or_too_large_is_refused),
        cmocka_unit_test(no_addition_of_two_threads_is_lost),
    };
    return cmocka_run_group_tests_name("script/cache", tests, NULL, NULL);
}
