/* SPDX-License-Identifier: MIT */
/* What a reader of an error sees: the first cause kept, context in front, nothing cut in half. */
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void test_set_fills_everything_and_returns_minus_one(void **state)
{
    (void)state;
    struct err err = {.sys_errno = 7};
    assert_int_equal(err_set(&err, ERR_CONFLICT, "row %d moved", 3), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.message, "row 3 moved");
    assert_non_null(strstr(err.file, "test_err.c"));
    assert_true(err.line > 0);
}

static void test_null_err_is_allowed_everywhere(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_IO, "x"), -1);
    assert_int_equal(err_sys(NULL, ERR_IO, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
}

static void test_sys_keeps_errno_and_appends_its_text(void **state)
{
    (void)state;
    struct err err = {0};
    errno = ENOENT;
    assert_int_equal(err_sys(&err, ERR_NOT_FOUND, "open %s", "x"), -1);
    assert_string_equal(err.message, "open x: No such file or directory");
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_int_equal(errno, ENOENT);
}

static void test_sys_without_room_is_disk_full_whatever_was_asked(void **state)
{
    (void)state;
    const int full[] = {ENOSPC, EDQUOT};
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        errno = full[i];
        err_sys(&err, ERR_IO, "write");
        assert_int_equal(err.code, ERR_DISK_FULL);
    }
}

static void test_wrap_puts_the_outermost_first_and_keeps_the_origin(void **state)
{
    (void)state;
    struct err err = {0};
    err_set(&err, ERR_CONFIG, "no such file");
    int line = err.line;
    assert_int_equal(err_wrap(&err, "load policy %s", "x"), -1);
    err_wrap(&err, "start");
    assert_string_equal(err.message, "start: load policy x: no such file");
    assert_int_equal(err.code, ERR_CONFIG);
    assert_int_equal(err.line, line);
}

static void test_message_may_be_its_own_argument(void **state)
{
    (void)state;
    struct err err = {0};
    err_set(&err, ERR_IO, "inner");
    err_set(&err, ERR_SCRIPT, "outer <%s>", err.message);
    assert_string_equal(err.message, "outer <inner>");
    err_wrap(&err, "%s", err.message);
    assert_string_equal(err.message, "outer <inner>: outer <inner>");
}

static void test_long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char text[1000] = "";
        memset(text, 'x', shift);
        while (strlen(text) < 600)
            strcat(text, "\xE2\x82\xAC");
        struct err err = {0};
        err_set(&err, ERR_IO, "%s", text);
        assert_true(strlen(err.message) > sizeof err.message - 5);
        assert_true(str_is_utf8(str_from(err.message)));
        err_wrap(&err, "caf\xC3\xA9");
        assert_true(strlen(err.message) > sizeof err.message - 5);
        assert_true(str_is_utf8(str_from(err.message)));
        assert_true(str_starts(str_from(err.message), STR("caf\xC3\xA9: ")));
    }
}

static void test_complete_last_character_stays(void **state)
{
    (void)state;
    char text[500];
    memset(text, 'x', sizeof text);
    struct err err = {0};
    memcpy(text + sizeof err.message - 3, "\xC3\xA9", 2);
    text[499] = '\0';
    err_set(&err, ERR_IO, "%s", text);
    assert_true(str_is_utf8(str_from(err.message)));
    assert_true(strlen(err.message) >= sizeof err.message - 3);
}

static void test_every_code_has_a_name_status_and_meaning(void **state)
{
    (void)state;
    for (int code = ERR_NONE; code < ERR_COUNT; code++) {
        assert_true(strlen(err_name((enum err_code)code)) > 0);
        assert_true(strlen(err_meaning((enum err_code)code)) > 0);
        int status = err_status((enum err_code)code);
        assert_true(status >= (code == ERR_NONE ? 200 : 400) && status < 600);
        for (int other = ERR_NONE; other < code; other++)
            assert_string_not_equal(err_name((enum err_code)code), err_name((enum err_code)other));
    }
    assert_string_equal(err_name(ERR_OPEN), "circuit_open");
    assert_int_equal(err_status(ERR_PRECONDITION), 412);
    assert_true(err_retryable(ERR_TIMEOUT));
    assert_false(err_retryable(ERR_INVALID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_everything_and_returns_minus_one),
        cmocka_unit_test(test_null_err_is_allowed_everywhere),
        cmocka_unit_test(test_sys_keeps_errno_and_appends_its_text),
        cmocka_unit_test(test_sys_without_room_is_disk_full_whatever_was_asked),
        cmocka_unit_test(test_wrap_puts_the_outermost_first_and_keeps_the_origin),
        cmocka_unit_test(test_message_may_be_its_own_argument),
        cmocka_unit_test(test_long_messages_are_cut_between_characters),
        cmocka_unit_test(test_complete_last_character_stays),
        cmocka_unit_test(test_every_code_has_a_name_status_and_meaning),
    };
    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
