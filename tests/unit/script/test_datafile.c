/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "script/datafile.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* clang-format on */

struct fixture {
    char folder[64], path[96];
    struct arena *arena;
    struct json value;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->folder, "/tmp/moontide-data-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/settings.lua", f->folder);
    f->arena = arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    rmdir(f->folder);
    arena_free(f->arena);
    free(f);
    return 0;
}

static int load(struct fixture *f, struct str text)
{
    assert_int_equal(file_write(f->path, text, 0600, &f->err), 0);
    return datafile_read(f->path, f->arena, &f->value, &f->err);
}

static void assert_reads(struct fixture *f, const char *text, const char *expected)
{
    struct buf out = BUF_INIT;
    if (load(f, str_from(text)))
        fail_msg("%s: %s", text, f->err.message);
    json_write(&out, &f->value);
    assert_string_equal(buf_str(&out).p, expected);
    buf_deinit(&out);
}

/* `line` 0: the file alone is named. */
static void assert_refused(struct fixture *f, struct str text, int line, const char *why)
{
    char prefix[128];
    assert_int_equal(load(f, text), -1);
    assert_int_equal(f->err.code, ERR_CONFIG);
    if (line > 0)
        snprintf(prefix, sizeof(prefix), "%s:%d: ", f->path, line);
    else
        snprintf(prefix, sizeof(prefix), "%s: ", f->path);
    if (!str_starts(str_from(f->err.message), str_from(prefix)) || !strstr(f->err.message, why))
        fail_msg("%s", f->err.message);
}

static void data_is_copied_with_sorted_keys(void **state)
{
    struct fixture *f = *state;
    assert_reads(f, "return { b = 1, a = 'x', c = { true, 2.5, { z = -3 } }, [\"\\u{e9}\"] = {} }",
                 "{\"a\":\"x\",\"b\":1,\"c\":[true,2.5,{\"z\":-3}],\"\xc3\xa9\":{}}");
    assert_reads(f, "local n = 600 return { timeout = n + 10 }", "{\"timeout\":610}");
    assert_reads(f, "return { max = 0x7fffffffffffffff }", "{\"max\":9223372036854775807}");
    assert_reads(f, "return { 1, 2, 3 }", "[1,2,3]");
}

static void what_is_not_data_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, STR("return {\n  a = { b = function() end },\n}"), 2, "a.b: functions");
    assert_refused(f, STR("return { 1, x = 2 }"), 0, "keys");
    assert_refused(f, STR("return { [2] = 1 }"), 0, "keys");
    assert_refused(f, STR("return { [1.5] = 1 }"), 0, "keys");
    assert_refused(f, STR("return { a = 0/0 }"), 0, "a: not a finite number");
    assert_refused(f, STR("return { a = 1/0 }"), 0, "a: not a finite number");
    assert_refused(f, STR("return { a = '\\xff' }"), 0, "a: text that is not UTF-8");
    assert_refused(f, STR("return { ['\\0'] = 1 }"), 0, "not UTF-8");
    assert_refused(f, STR("return 3"), 0, "expected a table");
    assert_refused(f, STR(""), 0, "expected a table");
}

static void nothing_of_lua_is_at_hand(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, STR("return {\n a = os.time() }"), 2, "os");
    assert_refused(f, STR("return { a = ('x'):rep(10) }"), 1, "");
    assert_refused(f, STR("\n\nreturn require 'x'"), 3, "require");
    assert_refused(f, STR("return {,}"), 1, "unexpected symbol");
    assert_refused(f, STR("\x1bLua"), 0, "binary");
}

static void a_table_in_itself_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, STR("local t = {} t.t = t return t"), 0, "nested too deep");
    assert_refused(f, STR("local t = { 1 } for i = 1, 25 do t = { t, t, t } end return t"), 0,
                   "too many values");
}

static void an_endless_loop_is_stopped_with_its_line(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, STR("local x = 1\nwhile true do\n  x = x + 1 end"), 3, "instructions");
    assert_refused(f, STR("local function f() return f() end\nreturn f()"), 1, "instructions");
}

static void memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, STR("local s = 'x' while true do s = s .. s end"), 0, "memory");
    assert_refused(f, STR("local t = {} for i = 1, 1e9 do t[i] = i .. '' end"), 0, "memory");
    assert_refused(f, STR("local function f() return 1 + f() end return f()"), 0, "memory");
}

static void a_peek_passes_over_all_but_what_is_wanted(void **state)
{
    static const char *const names[] = {"listen", "workers", "data"};
    struct fixture *f = *state;
    struct str text = STR("local x, y = use 'lib.x', breaker('p').timeout .. 's'\n"
                          "return { workers = 3, data = x, listen = 'a:1', more = y, f = print,\n"
                          "  gateway = { routes = { { guard = function() end } } } }");
    assert_int_equal(datafile_peek_text(text, names, 3, f->arena, &f->value, &f->err), 0);
    assert_int_equal(f->value.count, 2);
    assert_true(str_eq(json_find(&f->value, STR("listen"))->s, STR("a:1")));
    assert_int_equal(json_find(&f->value, STR("workers"))->i, 3);
    text = STR("for i in use do end return {}");
    assert_int_equal(datafile_peek_text(text, names, 3, f->arena, &f->value, &f->err), -1);
    assert_int_equal(datafile_peek(f->path, names, 3, f->arena, &f->value, &f->err), -1);
}

static void a_missing_file_is_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(datafile_read(f->path, f->arena, &f->value, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONFIG);
    assert_non_null(strstr(f->err.message, f->path));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(data_is_copied_with_sorted_keys),
        CASE(what_is_not_data_is_refused_by_name),
        CASE(nothing_of_lua_is_at_hand),
        CASE(a_table_in_itself_is_refused),
        CASE(an_endless_loop_is_stopped_with_its_line),
        CASE(memory_is_bounded),
        CASE(a_peek_passes_over_all_but_what_is_wanted),
        CASE(a_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("script/datafile", tests, NULL, NULL);
}
