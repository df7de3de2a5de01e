/* SPDX-License-Identifier: MIT */
/* Buffers of every length, because the spare byte at the end is where growing goes wrong. */
#include "base/buf.h"

#include <stdio.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void test_empty_buffer_is_an_empty_string(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct str s = buf_str(&b);
    assert_int_equal(s.n, 0);
    assert_string_equal(s.p, "");
    buf_add(&b, NULL, 0);
    buf_adds(&b, (struct str){NULL, 0});
    assert_int_equal(b.n, 0);
    buf_deinit(&b);
}

static void test_content_is_terminated_at_every_length(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < 5000; i++) {
        buf_addc(&b, (char)('a' + i % 26));
        struct str s = buf_str(&b);
        assert_int_equal(s.n, i + 1);
        assert_int_equal(s.p[s.n], 0);
    }
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(b.p[i], 'a' + (int)(i % 26));
    buf_deinit(&b);
}

static void test_formatting_of_any_length_fits(void **state)
{
    (void)state;
    char text[300];
    for (size_t n = 0; n < sizeof text; n++) {
        memset(text, 'x', n);
        text[n < sizeof text ? n : 0] = '\0';
        struct buf b = BUF_INIT;
        buf_addf(&b, "<%s>", text);
        assert_int_equal(b.n, n + 2);
        assert_int_equal(b.p[n + 1], '>');
        buf_deinit(&b);
    }
}

static void test_integers_are_written_in_full(void **state)
{
    (void)state;
    const int64_t numbers[] = {0, 7, -7, 10, INT64_MAX, INT64_MIN};
    const char *texts[] = {"0", "7", "-7", "10", "9223372036854775807", "-9223372036854775808"};
    for (int i = 0; i < 6; i++) {
        struct buf b = BUF_INIT;
        buf_add_int(&b, numbers[i]);
        assert_string_equal(buf_str(&b).p, texts[i]);
        buf_deinit(&b);
    }
}

static void test_clear_keeps_the_memory(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_lit(&b, "some content");
    const char *memory = b.p;
    buf_clear(&b);
    assert_int_equal(buf_str(&b).n, 0);
    buf_lit(&b, "other");
    assert_ptr_equal(b.p, memory);
    assert_string_equal(buf_str(&b).p, "other");
    buf_deinit(&b);
    assert_null(b.p);
}

static void test_reserved_room_is_not_moved(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_reserve(&b, 10000);
    const char *memory = b.p;
    for (int i = 0; i < 10000; i++)
        buf_addc(&b, 'x');
    assert_ptr_equal(buf_str(&b).p, memory);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_buffer_is_an_empty_string),
        cmocka_unit_test(test_content_is_terminated_at_every_length),
        cmocka_unit_test(test_formatting_of_any_length_fits),
        cmocka_unit_test(test_integers_are_written_in_full),
        cmocka_unit_test(test_clear_keeps_the_memory),
        cmocka_unit_test(test_reserved_room_is_not_moved),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
