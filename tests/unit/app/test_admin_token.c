/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "app/admin/token.h"

#include "app/admin/admin.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* clang-format on */

#define GOOD "0123456789abcdef"

struct fixture {
    char folder[64], data[80], made[112], file[96];
    struct buf token;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    unsetenv("MOONTIDE_ADMIN_TOKEN");
    strcpy(f->folder, "/tmp/moontide-token-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->data, sizeof(f->data), "%s/data", f->folder);
    snprintf(f->made, sizeof(f->made), "%s/admin.token", f->data);
    snprintf(f->file, sizeof(f->file), "%s/file", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->made);
    unlink(f->file);
    rmdir(f->data);
    rmdir(f->folder);
    buf_deinit(&f->token);
    free(f);
    return 0;
}

static int find(struct fixture *f, const char *file)
{
    buf_clear(&f->token);
    return admin_token(str_from(file), str_from(f->data), &f->token, &f->err);
}

static void assert_refused(struct fixture *f, const char *file, const char *source)
{
    assert_int_equal(find(f, file), -1);
    assert_int_equal(f->err.code, ERR_CONFIG);
    assert_non_null(strstr(f->err.message, source));
    assert_int_equal(f->token.n, 0);
}

static void the_first_start_makes_one_that_stays(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char first[128];
    assert_int_equal(find(f, ""), 0);
    snprintf(first, sizeof(first), "%s", buf_str(&f->token).p);
    assert_int_equal(strlen(first), 48);
    assert_int_equal(stat(f->made, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(find(f, ""), 0);
    assert_string_equal(buf_str(&f->token).p, first);
}

static void the_environment_wins_over_the_file_over_the_data_folder(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(file_write(f->file, STR("token-of-the-file\n"), 0600, &f->err), 0);
    assert_int_equal(find(f, f->file), 0);
    assert_string_equal(buf_str(&f->token).p, "token-of-the-file");
    setenv("MOONTIDE_ADMIN_TOKEN", GOOD, 1);
    assert_int_equal(find(f, f->file), 0);
    assert_string_equal(buf_str(&f->token).p, GOOD);
    assert_int_equal(access(f->made, F_OK), -1);
}

static void a_weak_token_is_refused_with_its_source(void **state)
{
    struct fixture *f = *state;
    setenv("MOONTIDE_ADMIN_TOKEN", "0123456789abcde", 1);
    assert_refused(f, "", "MOONTIDE_ADMIN_TOKEN");
    assert_null(strstr(f->err.message, "0123456789abcde"));
    setenv("MOONTIDE_ADMIN_TOKEN", "0123456789 abcdef", 1);
    assert_refused(f, "", "MOONTIDE_ADMIN_TOKEN");
    setenv("MOONTIDE_ADMIN_TOKEN",
           "0123456789\xc3\xa9"
           "abcdef",
           1);
    assert_refused(f, "", "MOONTIDE_ADMIN_TOKEN");
    unsetenv("MOONTIDE_ADMIN_TOKEN");
    assert_refused(f, f->file, f->file); /* is not there */
    assert_int_equal(file_write(f->file, STR("short\n"), 0600, &f->err), 0);
    assert_refused(f, f->file, f->file);
}

static void a_client_never_makes_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(admin_token_find(STR(""), str_from(f->data), &f->token, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(admin_token_find(STR(""), STR(""), &f->token, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(access(f->made, F_OK), -1);
    assert_int_equal(find(f, ""), 0);
    struct buf found = BUF_INIT;
    assert_int_equal(admin_token_find(STR(""), str_from(f->data), &found, &f->err), 0);
    assert_true(str_eq(buf_str(&found), buf_str(&f->token)));
    buf_deinit(&found);
}

static void only_the_very_token_matches(void **state)
{
    (void)state;
    const struct str token = STR(GOOD);
    assert_true(admin_token_matches(token, STR("Bearer " GOOD)));
    assert_true(admin_token_matches(token, STR("bearer  " GOOD)));
    assert_false(admin_token_matches(token, STR("Bearer " GOOD GOOD)));
    assert_false(admin_token_matches(token, STR("Bearer 0123456789abcdeF")));
    assert_false(admin_token_matches(token, STR("Bearer 0123456789abcde")));
    assert_false(admin_token_matches(token, STR("Bearer ")));
    assert_false(admin_token_matches(token, STR("Bearer")));
    assert_false(admin_token_matches(token, STR("Basic " GOOD)));
    assert_false(admin_token_matches(token, STR(GOOD)));
    assert_false(admin_token_matches(token, STR("")));
    assert_false(admin_token_matches(STR(""), STR("Bearer ")));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_first_start_makes_one_that_stays),
        CASE(the_environment_wins_over_the_file_over_the_data_folder),
        CASE(a_weak_token_is_refused_with_its_source),
        CASE(a_client_never_makes_one),
        CASE(only_the_very_token_matches),
    };
    return cmocka_run_group_tests_name("app/admin_token", tests, NULL, NULL);
}
