/* SPDX-License-Identifier: MIT */
/* Where the caret stands. */
/* clang-format off */
#include "app/excerpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
/* clang-format on */

#define SOURCE "local x = 1\n  integer \"qty\" { defualt = 1 },\n\tif \x1b[31m x\n\nlast"

static void assert_excerpt(int64_t line, const char *message, const char *expected)
{
    struct buf out = BUF_INIT;
    excerpt_write(&out, STR(SOURCE), line, str_from(message));
    assert_string_equal(buf_str(&out).p, expected);
    buf_deinit(&out);
}

static void the_caret_stands_below_the_word_that_is_quoted(void **state)
{
    (void)state;
    assert_excerpt(2, "unknown option \"defualt\"; did you mean \"default\"?",
                   "      integer \"qty\" { defualt = 1 },\n"
                   "                      ^\n");
    assert_excerpt(2, "'}' expected near '='",
                   "      integer \"qty\" { defualt = 1 },\n"
                   "                              ^\n");
}

static void of_several_places_a_word_of_its_own_counts(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    excerpt_write(&out, STR("ab = abc + a + b"), 1, STR("no 'a'"));
    assert_string_equal(buf_str(&out).p, "    ab = abc + a + b\n               ^\n");
    buf_deinit(&out);
}

static void else_it_stands_below_the_first_word(void **state)
{
    (void)state;
    assert_excerpt(2, "something 'else' is wrong",
                   "      integer \"qty\" { defualt = 1 },\n      ^\n");
    assert_excerpt(1, "an open quote ' in the message", "    local x = 1\n    ^\n");
    assert_excerpt(5, "", "    last\n    ^\n");
    assert_excerpt(4, "", "    \n    ^\n");
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    (void)state;
    assert_excerpt(3, "'x'", "     if [31m x\n             ^\n");
}

static void a_line_that_is_not_there_shows_nothing(void **state)
{
    (void)state;
    assert_excerpt(0, "x", "");
    assert_excerpt(-1, "x", "");
    assert_excerpt(6, "x", "");
    assert_excerpt(INT64_MAX, "x", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_caret_stands_below_the_word_that_is_quoted),
        cmocka_unit_test(of_several_places_a_word_of_its_own_counts),
        cmocka_unit_test(else_it_stands_below_the_first_word),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(a_line_that_is_not_there_shows_nothing),
    };
    return cmocka_run_group_tests_name("app/excerpt", tests, NULL, NULL);
}
