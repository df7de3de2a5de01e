/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "app/commands/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* clang-format on */

static int read_line(struct commands_args *args, char *line, const char *allowed)
{
    static char *argv[16];
    int argc = 0;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return commands_args_read(args, argc, argv, allowed);
}

static void flags_and_words_may_be_mixed(void **state)
{
    (void)state;
    struct commands_args args;
    char line[] = "list --policy=p -o json --all --admin h:1 7";
    assert_int_equal(read_line(&args, line, "--policy --all"), EXIT_OK);
    assert_int_equal(args.word_count, 2);
    assert_true(str_eq(args.words[1], STR("7")));
    assert_true(str_eq(args.policy, STR("p")));
    assert_true(str_eq(args.client.admin, STR("h:1")));
    assert_true(args.all);
    assert_true(args.json);
    assert_false(args.follow);
}

static void what_a_command_does_not_know_is_refused(void **state)
{
    (void)state;
    struct commands_args args;
    char lines[][24] = {"--follow", "--polic x", "--policy",  "--all=1", "-o xml",
                        "-o",       "-",         "1 2 3 4 5", "--",      "--fro 1"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char copy[24];
        memcpy(copy, lines[i], sizeof(copy));
        if (read_line(&args, copy, "--policy --all") != EXIT_USAGE)
            fail_msg("%s", lines[i]);
    }
}

static void parameters_are_encoded(void **state)
{
    (void)state;
    struct buf target = BUF_INIT;
    buf_lit(&target, "/admin/events");
    commands_call_param(&target, "from", STR(""));
    commands_call_param(&target, "key", STR("order/4 2&x=\xc3\xa9"));
    commands_call_param(&target, "type", STR("Paid-1._~"));
    assert_string_equal(buf_str(&target).p,
                        "/admin/events?key=order%2F4%202%26x%3D%C3%A9&type=Paid-1._~");
    buf_deinit(&target);
}

static void nothing_that_a_server_sends_drives_the_terminal(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    commands_table_clean(&out, STR("a\x1b[31m\n\x7f\xc2\x9b\xc3\xa9"));
    assert_string_equal(buf_str(&out).p, "a?[31m???\xc3\xa9");
    buf_deinit(&out);
}

static void failures_have_their_exit_codes(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        int exit;
    } cases[] = {{ERR_INVALID, EXIT_USAGE},
                 {ERR_CONFIG, EXIT_CONFIG},
                 {ERR_IO, EXIT_UNREACHABLE},
                 {ERR_INTERNAL, EXIT_FAILED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err;
        err_set(&err, cases[i].code, "expected by the test");
        assert_int_equal(commands_fail_err(&err), cases[i].exit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_words_may_be_mixed),
        cmocka_unit_test(what_a_command_does_not_know_is_refused),
        cmocka_unit_test(parameters_are_encoded),
        cmocka_unit_test(nothing_that_a_server_sends_drives_the_terminal),
        cmocka_unit_test(failures_have_their_exit_codes),
    };
    return cmocka_run_group_tests_name("app/commands", tests, NULL, NULL);
}
