/* SPDX-License-Identifier: MIT */
/* What arrives on stdout: it is exchanged for a file, or for a terminal, while a line is written.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

struct fixture {
    FILE *file; /* takes the place of stdout */
    int terminal;
    int saved; /* the real stdout */
    char text[262144];
    struct arena *arena;
    struct json line;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->file = tmpfile();
    f->arena = arena_new(0);
    f->saved = dup(STDOUT_FILENO);
    *state = f;
    return f->file && f->saved >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    log_set_level(LOG_INFO);
    fclose(f->file);
    close(f->saved);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void redirect(struct fixture *f)
{
    fflush(stdout);
    assert_int_equal(ftruncate(fileno(f->file), 0), 0);
    assert_int_equal(lseek(fileno(f->file), 0, SEEK_SET), 0);
    dup2(fileno(f->file), STDOUT_FILENO);
}

/* Puts stdout back; what was written is in f->text. */
static size_t collect(struct fixture *f)
{
    dup2(f->saved, STDOUT_FILENO);
    ssize_t n = pread(fileno(f->file), f->text, sizeof f->text - 1, 0);
    assert_true(n >= 0);
    f->text[n] = '\0';
    return (size_t)n;
}

/* The one line written, parsed. */
static void collect_line(struct fixture *f)
{
    size_t n = collect(f);
    assert_true(n > 0 && f->text[n - 1] == '\n');
    assert_ptr_equal(strchr(f->text, '\n'), f->text + n - 1);
    struct err err = {0};
    if (json_parse(f->arena, (struct str){f->text, n}, 2, &f->line, &err))
        fail_msg("%s: %s", err.message, f->text);
}

static void assert_text(const struct fixture *f, const char *name, const char *expected)
{
    const struct json *j = json_find(&f->line, str_from(name));
    assert_non_null(j);
    assert_int_equal(j->type, JSON_TEXT);
    assert_true(str_eq(j->s, str_from(expected)));
}

static void test_a_line_is_an_object_with_fields_in_order(void **state)
{
    struct fixture *f = *state;
    redirect(f);
    log_event(LOG_WARN, "listening", LOG_C("role", "gateway"), LOG_I("port", -8088),
              LOG_S("key", STR("a\"b\n")));
    collect_line(f);
    const char *names[] = {"ts", "level", "msg", "role", "port", "key"};
    assert_int_equal(f->line.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(str_eq(f->line.names[i], str_from(names[i])));
    assert_text(f, "level", "warn");
    assert_text(f, "msg", "listening");
    assert_text(f, "role", "gateway");
    assert_text(f, "key", "a\"b\n");
    assert_int_equal(json_find(&f->line, STR("port"))->i, -8088);
    int64_t ms;
    assert_true(clock_parse_rfc3339(json_find(&f->line, STR("ts"))->s, &ms));
    assert_true(ms > INT64_C(1700000000000));
}

static void test_fields_may_be_missing_and_empty_texts_are_left_out(void **state)
{
    struct fixture *f = *state;
    redirect(f);
    log_event(LOG_INFO, "bare");
    collect_line(f);
    assert_int_equal(f->line.count, 3);
    redirect(f);
    log_event(LOG_INFO, "x", LOG_C("a", ""), LOG_C("b", NULL), LOG_I("n", 0));
    collect_line(f);
    assert_int_equal(f->line.count, 4);
    assert_int_equal(json_find(&f->line, STR("n"))->i, 0);
}

static void test_lines_below_the_level_are_not_written(void **state)
{
    struct fixture *f = *state;
    redirect(f);
    log_event(LOG_DEBUG, "quiet");
    log_set_level(LOG_ERROR);
    log_event(LOG_WARN, "quiet");
    assert_int_equal(collect(f), 0);
    redirect(f);
    log_event(LOG_ERROR, "loud");
    collect_line(f);
    assert_text(f, "level", "error");
    log_set_level(LOG_DEBUG);
    redirect(f);
    log_event(LOG_DEBUG, "now");
    collect_line(f);
    assert_text(f, "msg", "now");
}

static void test_lines_of_every_length_arrive_whole(void **state)
{
    struct fixture *f = *state;
    char text[20000];
    memset(text, 1, sizeof text); /* six bytes each when escaped */
    const size_t lengths[] = {1,   600, 650, 653, 654,  655,        656,
                              657, 658, 660, 700, 4096, sizeof text};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        redirect(f);
        log_event(LOG_INFO, "long", LOG_S("text", ((struct str){text, lengths[i]})));
        collect_line(f);
        assert_int_equal(json_find(&f->line, STR("text"))->s.n, lengths[i]);
    }
    memset(text, 0xFF, sizeof text); /* replaced by three bytes each */
    redirect(f);
    log_event(LOG_INFO, "bytes", LOG_S("text", ((struct str){text, sizeof text})));
    collect_line(f);
    assert_int_equal(json_find(&f->line, STR("text"))->s.n, 3 * sizeof text);
}

static void test_errno_survives_a_log_line(void **state)
{
    struct fixture *f = *state;
    redirect(f);
    errno = EDOM;
    log_event(LOG_INFO, "x");
    int after = errno;
    collect_line(f);
    assert_int_equal(after, EDOM);
}

enum { THREADS = 4, LINES = 200 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "thread", LOG_C("name", arg), LOG_I("i", i));
    return NULL;
}

static void test_lines_of_many_threads_do_not_mix(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    redirect(f);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, write_lines, "abcdefghijklmnopqrstuvwxyz"), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    collect(f);
    int count = 0;
    for (char *at = f->text, *end; (end = strchr(at, '\n')); at = end + 1, count++) {
        struct json j;
        assert_int_equal(json_parse(f->arena, (struct str){at, (size_t)(end - at)}, 2, &j, NULL),
                         0);
        assert_int_equal(j.count, 5);
    }
    assert_int_equal(count, THREADS * LINES);
}

/* A pseudo-terminal as stdout; returns the side a person would look at, or -1 where there are none.
 */
static int redirect_to_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        return -1;
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0)
        return -1;
    fflush(stdout);
    dup2(slave, STDOUT_FILENO);
    close(slave);
    return master;
}

static void test_a_terminal_gets_readable_text_without_control_characters(void **state)
{
    struct fixture *f = *state;
    int master = redirect_to_terminal();
    if (master < 0)
        skip();
    log_event(LOG_INFO, "ready \x1B[31m", LOG_C("role", "gateway"), LOG_C("note", "two words"),
              LOG_I("n", 3), LOG_C("none", ""));
    ssize_t n = read(master, f->text, sizeof f->text - 1);
    dup2(f->saved, STDOUT_FILENO);
    close(master);
    assert_true(n > 24);
    f->text[n] = '\0';
    assert_string_equal(f->text + 24,
                        " info  ready \\u001B[31m role=gateway note=\"two words\" n=3\r\n");
}

static void test_levels_by_name(void **state)
{
    (void)state;
    enum log_level level = LOG_WARN;
    assert_true(log_level_from(STR("debug"), &level) && level == LOG_DEBUG);
    assert_true(log_level_from(STR("error"), &level) && level == LOG_ERROR);
    assert_false(log_level_from(STR("INFO"), &level));
    assert_false(log_level_from(STR(""), &level));
    assert_int_equal(level, LOG_ERROR);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_line_is_an_object_with_fields_in_order),
        CASE(test_fields_may_be_missing_and_empty_texts_are_left_out),
        CASE(test_lines_below_the_level_are_not_written),
        CASE(test_lines_of_every_length_arrive_whole),
        CASE(test_errno_survives_a_log_line),
        CASE(test_lines_of_many_threads_do_not_mix),
        CASE(test_a_terminal_gets_readable_text_without_control_characters),
        CASE(test_levels_by_name),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
