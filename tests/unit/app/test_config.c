/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "app/config.h"

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

#define WORDS 16

struct fixture {
    char output[16];
    char folder[64], file[96];
    struct config config;
    struct err err;
};

/* The environment of the one who runs the tests must not count. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *output = getenv("CMOCKA_MESSAGE_OUTPUT");
    snprintf(f->output, sizeof(f->output), "%s", output ? output : "STDOUT");
    clearenv();
    setenv("CMOCKA_MESSAGE_OUTPUT", f->output, 1); /* but how results are told */
    strcpy(f->folder, "/tmp/moontide-config-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof(f->file), "%s/settings.lua", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    config_deinit(&f->config);
    unlink(f->file);
    rmdir(f->folder);
    free(f);
    return 0;
}

/* Words are separated by blanks; "@" stands for the settings file. */
static int parse(struct fixture *f, const char *line)
{
    char text[512], *argv[WORDS];
    int argc = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "@") ? word : f->file;
    config_deinit(&f->config);
    return config_parse(&f->config, argc, argv, &f->err);
}

static void assert_parses(struct fixture *f, const char *line)
{
    if (parse(f, line))
        fail_msg("%s: %s", line, f->err.message);
}

static void assert_refused(struct fixture *f, const char *line, enum err_code code, const char *why)
{
    assert_int_equal(parse(f, line), -1);
    if (f->err.code != code || !strstr(f->err.message, why))
        fail_msg("%s: %s: %s", line, err_name(f->err.code), f->err.message);
}

static void assert_str(struct str s, const char *expected)
{
    assert_true(str_eq(s, str_from(expected)));
}

static void write_file(struct fixture *f, const char *text)
{
    assert_int_equal(file_write(f->file, str_from(text), 0600, &f->err), 0);
}

static const struct config_override *newest(const struct fixture *f)
{
    assert_true(f->config.override_count > 0);
    return &f->config.overrides[f->config.override_count - 1];
}

static void without_anything_the_built_in_values_hold(void **state)
{
    struct fixture *f = *state;
    assert_parses(f, "");
    assert_str(f->config.system, "bookmarket");
    assert_str(f->config.scripts, "./scripts");
    assert_str(f->config.data, "./data/bookmarket");
    assert_str(f->config.listen, "127.0.0.1:8088");
    assert_str(f->config.admin, "127.0.0.1:8090");
    assert_in_range(f->config.workers, 1, 64);
    assert_int_equal(f->config.log_level, LOG_INFO);
    assert_int_equal(f->config.max_outstanding, 4096);
    assert_int_equal(f->config.reload_drain_ms, 30000);
    assert_int_equal(f->config.http.body_bytes, 1 << 20);
    assert_int_equal(f->config.http.headers_ms, 10000);
    assert_int_equal(f->config.http.connections, 10000);
    assert_int_equal(f->config.override_count, 0);
}

static void SHOP_6d_limits_of_http_are_settings(void **state)
{
    struct fixture *f = *state;
    assert_parses(f, "--set http.header_timeout_ms=50 --set http.body_bytes=2048 "
                     "--set http.connections=3");
    assert_int_equal(f->config.http.headers_ms, 50);
    assert_int_equal(f->config.http.body_bytes, 2048);
    assert_int_equal(f->config.http.connections, 3);
    assert_int_equal(f->config.http.body_idle_ms, 30000);
    assert_refused(f, "--set http.headers=0", ERR_CONFIG,
                   "--set: http.headers: expected a number from 1 to 10000, got \"0\"");
    assert_refused(f, "--set http.connections=1000001", ERR_CONFIG, "from 1 to 1000000");
    assert_refused(f, "--set http.body_byte=1", ERR_CONFIG, "did you mean \"http.body_bytes\"?");
}

static void flags_are_taken_with_blank_or_equals(void **state)
{
    struct fixture *f = *state;
    assert_parses(f, "--listen 0.0.0.0:0 bread --admin=[::1]:9 --workers=3 --data d --scripts s "
                     "--log-level debug --admin-token-file t");
    assert_str(f->config.system, "bread");
    assert_str(f->config.listen, "0.0.0.0:0");
    assert_str(f->config.admin, "[::1]:9");
    assert_str(f->config.data, "d");
    assert_str(f->config.scripts, "s");
    assert_str(f->config.token_file, "t");
    assert_int_equal(f->config.workers, 3);
    assert_int_equal(f->config.log_level, LOG_DEBUG);
    assert_parses(f, "cna-note");
    assert_str(f->config.data, "./data/cna-note");
}

static void flags_beat_environment_beats_file_beats_defaults(void **state)
{
    struct fixture *f = *state;
    write_file(f, "return { listen = '127.0.0.1:1', admin = '127.0.0.1:1', workers = 1, "
                  "log_level = 'error', breakers = { payment = { limit = 1 } } }");
    setenv("MOONTIDE_LISTEN", "127.0.0.1:2", 1);
    setenv("MOONTIDE_ADMIN", "127.0.0.1:2", 1);
    setenv("MOONTIDE__BREAKERS__PAYMENT__LIMIT", "2", 1);
    assert_parses(f, "--set breakers.payment.limit=3 --listen 127.0.0.1:3 --config @");
    assert_str(f->config.listen, "127.0.0.1:3");
    assert_str(f->config.admin, "127.0.0.1:2");
    assert_int_equal(f->config.workers, 1);
    assert_int_equal(f->config.log_level, LOG_ERROR);
    assert_int_equal(f->config.override_count, 3);
    assert_str(f->config.overrides[0].value, "1");
    assert_str(f->config.overrides[0].origin, f->file);
    assert_str(f->config.overrides[1].value, "2");
    assert_str(f->config.overrides[2].value, "3");
    assert_str(f->config.overrides[2].origin, "--set");
}

static void the_environment_names_the_file_too(void **state)
{
    struct fixture *f = *state;
    write_file(f, "return { bus = { max_outstanding = 7 }, json = { indent = true } }");
    setenv("MOONTIDE_CONFIG", f->file, 1);
    assert_parses(f, "");
    assert_int_equal(f->config.max_outstanding, 7);
    assert_str(newest(f)->path, "json.indent");
    assert_str(newest(f)->value, "true");
}

static void names_have_no_case(void **state)
{
    struct fixture *f = *state;
    setenv("MOONTIDE_Workers", "5", 1);
    setenv("MOONTIDE__services__Payment__URL", "http://x/Y", 1);
    assert_parses(f, "--set Bus.Max_Outstanding=9");
    assert_int_equal(f->config.workers, 5);
    assert_int_equal(f->config.max_outstanding, 9);
    assert_str(newest(f)->path, "services.payment.url");
    assert_str(newest(f)->value, "http://x/Y");
    assert_str(newest(f)->origin, "MOONTIDE__services__Payment__URL");
}

static void variables_of_others_and_empty_ones_are_passed_over(void **state)
{
    struct fixture *f = *state;
    setenv("MOONTIDE_ADMIN_TOKEN", "0123456789abcdef", 1);
    setenv("MOONTIDE_FAULT", "x=fail@1", 1);
    setenv("MOONTIDE_VFS", "1", 1);
    setenv("MOONTIDE_TEST_ANYTHING", "1", 1);
    setenv("MOONTIDEX", "1", 1);
    setenv("MOONTIDE_LISTEN", "", 1);
    assert_parses(f, "");
    assert_str(f->config.listen, "127.0.0.1:8088");
}

static void wrong_flags_are_usage_errors(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, "--lisen 1:2", ERR_INVALID, "unknown flag --lisen; did you mean --listen?");
    assert_refused(f, "--watch=yes", ERR_INVALID, "--watch takes no value");
    assert_refused(f, "--only payment,,order", ERR_INVALID,
                   "--only: only: expected names of services with commas between, like "
                   "order,delivery, got \"payment,,order\"");
    assert_refused(f, "-x", ERR_INVALID, "unknown flag -x");
    assert_refused(f, "--listen", ERR_INVALID, "--listen needs a value");
    assert_refused(f, "--listen=", ERR_INVALID, "--listen needs a value");
    assert_refused(f, "--listen 8088", ERR_INVALID, "--listen: listen: expected HOST:PORT");
    assert_refused(f, "--listen host:99999", ERR_INVALID, "expected HOST:PORT");
    assert_refused(f, "--listen [::1]", ERR_INVALID, "expected HOST:PORT");
    assert_refused(f, "--workers 0", ERR_INVALID, "from 1 to 64");
    assert_refused(f, "--workers 65", ERR_INVALID, "from 1 to 64");
    assert_refused(f, "--workers two", ERR_INVALID, "from 1 to 64, got \"two\"");
    assert_refused(f, "--log-level loud", ERR_INVALID, "debug, info, warn or error");
    assert_refused(f, "bread concert", ERR_INVALID, "\"concert\" after \"bread\"");
    assert_refused(f, "Bread", ERR_INVALID, "no name of a system");
    assert_refused(f, "../x", ERR_INVALID, "no name of a system");
    assert_refused(f, "--set listen", ERR_INVALID, "KEY=VALUE");
    assert_refused(f, "--set =1", ERR_INVALID, "KEY=VALUE");
}

static void wrong_settings_are_configuration_errors(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, "--set bus.max_outstandin=1", ERR_CONFIG,
                   "did you mean \"bus.max_outstanding\"?");
    assert_refused(f, "--set bus.max_outstanding=0", ERR_CONFIG,
                   "--set: bus.max_outstanding: expected");
    assert_refused(f, "--set braekers.payment.limit=1", ERR_CONFIG, "did you mean \"breakers\"?");
    assert_refused(f, "--set bus.max=1", ERR_CONFIG, "did you mean \"bus.max_outstanding\"?");
    assert_refused(f, "--set breakers=1", ERR_CONFIG, "unknown setting");
    assert_refused(f, "--set breakers.=1", ERR_CONFIG, "unknown setting");
    assert_refused(f, "--set zzzzzz=1", ERR_CONFIG, "--set zzzzzz: unknown setting");
    setenv("MOONTIDE_LISEN", "x", 1);
    assert_refused(f, "", ERR_CONFIG,
                   "MOONTIDE_LISEN: unknown setting; did you mean MOONTIDE_LISTEN?");
    unsetenv("MOONTIDE_LISEN");
    setenv("MOONTIDE__BRAKERS__X", "1", 1);
    assert_refused(f, "", ERR_CONFIG,
                   "MOONTIDE__BRAKERS__X: unknown setting; did you mean \"breakers\"?");
    unsetenv("MOONTIDE__BRAKERS__X");
    setenv("MOONTIDE_WORKERS", "many", 1);
    assert_refused(f, "", ERR_CONFIG, "MOONTIDE_WORKERS: workers: expected");
}

static void a_wrong_file_is_a_configuration_error_with_its_name(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, "--config @", ERR_CONFIG, f->file);
    write_file(f, "return { workers = 'x' }");
    assert_refused(f, "--config @", ERR_CONFIG, "settings.lua: workers: expected");
    write_file(f, "return { wrokers = 1 }");
    assert_refused(f, "--config @", ERR_CONFIG,
                   "settings.lua wrokers: unknown setting; did you mean \"workers\"?");
    write_file(f, "return { services = { 'a', 'b' } }");
    assert_refused(f, "--config @", ERR_CONFIG, "services: a list cannot be set here");
    write_file(f, "return { 1 }");
    assert_refused(f, "--config @", ERR_CONFIG, "expected a table with names");
    write_file(f, "return { workers = os.time() }");
    assert_refused(f, "--config @", ERR_CONFIG, "settings.lua:1: ");
}

static const char system_table[] =
    "{\"payment\":{\"timeout_ms\":1000,\"rate\":0.5,\"url\":\"x\",\"on\":true,\"any\":null},"
    "\"a.b\":{\"limit\":1},\"bookLimit\":3}";

/* Lays the overrides over the table above; *ret_text is what came out. */
static int overlay(struct fixture *f, const char *line, struct buf *ret_text)
{
    struct arena *a = arena_new(0);
    struct json table;
    assert_parses(f, line);
    assert_int_equal(json_parse(a, str_from(system_table), 8, &table, &f->err), 0);
    int failed = config_overlay(&f->config, a, STR("breakers."), &table, &f->err);
    if (!failed)
        json_write(ret_text, &table);
    arena_free(a);
    return failed;
}

static void an_overlay_keeps_types_and_marks_what_it_used(void **state)
{
    struct fixture *f = *state;
    struct buf text = BUF_INIT;
    assert_int_equal(
        overlay(f,
                "--set breakers.payment.timeout_ms=1 --set breakers.payment.timeout_ms=610 "
                "--set breakers.payment.rate=1 --set breakers.payment.url=y "
                "--set breakers.payment.on=false --set breakers.payment.any=2",
                &text),
        0);
    assert_string_equal(buf_str(&text).p,
                        "{\"payment\":{\"timeout_ms\":610,\"rate\":1,\"url\":\"y\",\"on\":false,"
                        "\"any\":2},\"a.b\":{\"limit\":1},\"bookLimit\":3}");
    assert_int_equal(config_check_used(&f->config, NULL, 0, &f->err), 0);
    buf_deinit(&text);
}

static void an_overlay_finds_names_with_dots_and_capitals(void **state)
{
    struct fixture *f = *state;
    struct buf text = BUF_INIT;
    assert_int_equal(overlay(f, "--set breakers.a.b.limit=7 --set breakers.booklimit=8", &text), 0);
    assert_non_null(strstr(buf_str(&text).p, "\"a.b\":{\"limit\":7},\"bookLimit\":8"));
    buf_deinit(&text);
}

static void an_overlay_refuses_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"--set breakers.paymnt.timeout_ms=1", "did you mean \"breakers.payment\"?"},
        {"--set breakers.payment.timeout=1", "--set breakers.payment.timeout: unknown setting"},
        {"--set breakers.payment.timeout_m=1", "did you mean \"breakers.payment.timeout_ms\"?"},
        {"--set breakers.payment.timeout_ms.x=1", "unknown setting"},
        {"--set breakers.payment=1", "a table cannot be set as a whole"},
        {"--set breakers.payment.timeout_ms=fast", "expected an integer, got \"fast\""},
        {"--set breakers.payment.timeout_ms=1.5", "expected an integer"},
        {"--set breakers.payment.rate=x", "expected a number"},
        {"--set breakers.payment.on=1", "expected true or false"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(overlay(f, cases[i].line, NULL), -1);
        assert_int_equal(f->err.code, ERR_CONFIG);
        if (!strstr(f->err.message, cases[i].why))
            fail_msg("%s: %s", cases[i].line, f->err.message);
    }
}

static void an_override_that_nothing_used_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct str known[] = {STR("services.payment.url"), STR("json.indent")};
    assert_parses(f, "--set json.indnt=true");
    assert_int_equal(config_check_used(&f->config, known, 2, &f->err), -1);
    assert_int_equal(f->err.code, ERR_CONFIG);
    assert_string_equal(f->err.message,
                        "--set json.indnt: unknown setting; did you mean \"json.indent\"?");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_anything_the_built_in_values_hold),
        CASE(SHOP_6d_limits_of_http_are_settings),
        CASE(flags_are_taken_with_blank_or_equals),
        CASE(flags_beat_environment_beats_file_beats_defaults),
        CASE(the_environment_names_the_file_too),
        CASE(names_have_no_case),
        CASE(variables_of_others_and_empty_ones_are_passed_over),
        CASE(wrong_flags_are_usage_errors),
        CASE(wrong_settings_are_configuration_errors),
        CASE(a_wrong_file_is_a_configuration_error_with_its_name),
        CASE(an_overlay_keeps_types_and_marks_what_it_used),
        CASE(an_overlay_finds_names_with_dots_and_capitals),
        CASE(an_overlay_refuses_what_does_not_fit),
        CASE(an_override_that_nothing_used_is_refused),
    };
    return cmocka_run_group_tests_name("app/config", tests, NULL, NULL);
}
