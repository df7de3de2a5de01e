/* SPDX-License-Identifier: MIT */
/* Files in a folder of their own: content, bounds, modes, locks, order, and nothing left behind by
 * a failure. */
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
    char dir[64];
    char path[256]; /* the last one made by in() */
    struct buf b;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/moontide-file-XXXXXX");
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    buf_deinit(&f->b);
    free(f);
    return 0;
}

static const char *in(struct fixture *f, const char *name)
{
    snprintf(f->path, sizeof f->path, "%s/%s", f->dir, name);
    return f->path;
}

static void put(struct fixture *f, const char *name)
{
    assert_int_equal(file_write(in(f, name), STR("x"), 0600, &f->err), 0);
}

static int entries(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "ls -A %s | wc -l", dir);
    FILE *p = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static void test_written_content_is_read_back_and_appended(void **state)
{
    struct fixture *f = *state;
    struct str content = {"a\0b\n", 4};
    assert_int_equal(file_write(in(f, "x"), content, 0640, &f->err), 0);
    buf_lit(&f->b, "before ");
    assert_int_equal(file_read(f->path, 100, &f->b, &f->err), 0);
    assert_int_equal(f->b.n, 11);
    assert_memory_equal(f->b.p, "before a\0b\n", 11);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(entries(f->dir), 1);
}

static void test_write_replaces_the_file_itself(void **state)
{
    struct fixture *f = *state;
    put(f, "x");
    int before = open(f->path, O_RDONLY);
    assert_int_equal(file_write(f->path, STR("new"), 0600, &f->err), 0);
    char old[8];
    assert_int_equal(read(before, old, sizeof old), 1); /* who has it open keeps the old content */
    close(before);
    assert_int_equal(file_read(f->path, 10, &f->b, &f->err), 0);
    assert_string_equal(buf_str(&f->b).p, "new");
}

static void test_reading_stops_at_the_limit(void **state)
{
    struct fixture *f = *state;
    char content[50000];
    memset(content, 'x', sizeof content);
    assert_int_equal(file_write(in(f, "x"), (struct str){content, sizeof content}, 0600, &f->err),
                     0);
    assert_int_equal(file_read(f->path, sizeof content, &f->b, &f->err), 0);
    assert_int_equal(f->b.n, sizeof content);
    buf_clear(&f->b);
    buf_lit(&f->b, "kept");
    assert_int_equal(file_read(f->path, sizeof content - 1, &f->b, &f->err), -1);
    assert_int_equal(f->err.code, ERR_TOO_LARGE);
    assert_string_equal(buf_str(&f->b).p, "kept");
    assert_int_equal(file_write(f->path, STR(""), 0600, &f->err), 0);
    assert_int_equal(file_read(f->path, 0, &f->b, &f->err), 0);
    assert_string_equal(buf_str(&f->b).p, "kept");
}

static void test_missing_files_and_folders_are_told_apart_from_failures(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(file_read(in(f, "none"), 10, &f->b, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.message, "No such file"));
    assert_int_equal(file_read(f->dir, 10, &f->b, &f->err), -1);
    assert_int_equal(f->err.code, ERR_IO);
    assert_int_equal(f->err.sys_errno, EISDIR);
}

static void test_a_failed_write_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(file_make_dirs(in(f, "taken/inside"), &f->err), 0);
    assert_int_equal(file_write(in(f, "taken"), STR("x"), 0600, &f->err), -1);
    assert_int_equal(f->err.code, ERR_IO);
    assert_int_equal(entries(f->dir), 1);
    assert_int_equal(file_write(in(f, "no/such/folder"), STR("x"), 0600, &f->err), -1);
    assert_int_equal(f->err.sys_errno, ENOENT);
}

static void test_folders_are_made_with_their_parents_once(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    for (int i = 0; i < 2; i++)
        assert_int_equal(file_make_dirs(in(f, "a//b/c/"), &f->err), 0);
    assert_int_equal(stat(in(f, "a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0700);
    put(f, "file");
    assert_int_equal(file_make_dirs(in(f, "file"), &f->err), -1);
    assert_int_equal(f->err.sys_errno, ENOTDIR);
    assert_int_equal(file_make_dirs(in(f, "file/below"), &f->err), -1);
    assert_int_equal(file_make_dirs("", &f->err), -1);
}

static void test_a_lock_is_exclusive_and_names_its_holder(void **state)
{
    struct fixture *f = *state;
    char expected[400];
    int fd = file_lock(in(f, "lock"), &f->err);
    assert_true(fd >= 0);
    assert_int_equal(file_lock(f->path, &f->err), -1);
    assert_int_equal(f->err.code, ERR_LOCKED);
    snprintf(expected, sizeof expected, "data folder is in use by process %d (%s)", (int)getpid(),
             f->path);
    assert_string_equal(f->err.message, expected);
    close(fd);
    fd = file_lock(f->path, &f->err);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(file_lock(f->path, &f->err), -1);
    snprintf(expected, sizeof expected, "data folder is in use by another process (%s)", f->path);
    assert_string_equal(f->err.message, expected);
    close(fd);
    assert_int_equal(file_lock(in(f, "no/lock"), &f->err), -1);
    assert_int_equal(f->err.code, ERR_IO);
}

static void test_a_lock_ends_with_its_process(void **state)
{
    struct fixture *f = *state;
    in(f, "lock");
    pid_t child = fork();
    if (child == 0)
        _exit(file_lock(f->path, &f->err) >= 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    int fd = file_lock(f->path, &f->err);
    assert_true(fd >= 0);
    assert_int_equal(file_read(f->path, 100, &f->b, &f->err), 0);
    assert_int_equal(strtol(buf_str(&f->b).p, NULL, 10), getpid());
    close(fd);
}

static int note(void *ctx, const char *relative_path, struct err *err)
{
    struct buf *seen = ctx;
    buf_addf(seen, "%s;", relative_path);
    return strcmp(relative_path, "stop.lua") ? 0 : err_set(err, ERR_SCRIPT, "stopped");
}

static void test_visits_go_by_whole_path_and_pass_over_hidden_names(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(file_make_dirs(in(f, "a/sub"), &f->err), 0);
    assert_int_equal(file_make_dirs(in(f, ".git"), &f->err), 0);
    assert_int_equal(file_make_dirs(in(f, "folder.lua"), &f->err), 0);
    const char *names[] = {"b.lua",       "a/sub/z.lua", "a/x.lua",          "a-b.lua",
                           "a.lua",       "B.lua",       "notes.txt",        "lua",
                           ".hidden.lua", ".git/y.lua",  "folder.lua/in.lua"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        put(f, names[i]);
    assert_int_equal(file_each(f->dir, ".lua", note, &f->b, &f->err), 0);
    assert_string_equal(buf_str(&f->b).p,
                        "B.lua;a-b.lua;a.lua;a/sub/z.lua;a/x.lua;b.lua;folder.lua/in.lua;");
}

static void test_links_to_files_count_and_links_to_folders_do_not(void **state)
{
    struct fixture *f = *state;
    char link[256];
    put(f, "real.lua");
    snprintf(link, sizeof link, "%s/link.lua", f->dir);
    assert_int_equal(symlink("real.lua", link), 0);
    snprintf(link, sizeof link, "%s/loop", f->dir);
    assert_int_equal(symlink(".", link), 0);
    snprintf(link, sizeof link, "%s/gone.lua", f->dir);
    assert_int_equal(symlink("nowhere", link), 0);
    snprintf(link, sizeof link, "%s/self.lua", f->dir);
    assert_int_equal(symlink("self.lua", link), 0);
    assert_int_equal(file_each(f->dir, ".lua", note, &f->b, &f->err), 0);
    assert_string_equal(buf_str(&f->b).p, "link.lua;real.lua;");
}

static void test_a_visitor_can_stop_the_walk(void **state)
{
    struct fixture *f = *state;
    put(f, "a.lua");
    put(f, "stop.lua");
    put(f, "z.lua");
    assert_int_equal(file_each(f->dir, ".lua", note, &f->b, &f->err), -1);
    assert_string_equal(f->err.message, "stopped");
    assert_string_equal(buf_str(&f->b).p, "a.lua;stop.lua;");
}

static void test_a_missing_folder_visits_nothing_and_a_file_is_an_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(file_each(in(f, "none"), "", note, &f->b, &f->err), 0);
    assert_int_equal(f->b.n, 0);
    put(f, "file");
    assert_int_equal(file_each(in(f, "file"), "", note, &f->b, &f->err), -1);
    assert_int_equal(f->err.sys_errno, ENOTDIR);
}

static void test_random_bytes_differ_and_fill_their_room(void **state)
{
    (void)state;
    unsigned char a[1000] = {0}, b[1000] = {0};
    file_random(a, sizeof a);
    file_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    int zeros = 0;
    for (size_t i = 500; i < sizeof a; i++)
        zeros += a[i] == 0;
    assert_true(zeros < 50);
    file_random(a, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_written_content_is_read_back_and_appended),
        CASE(test_write_replaces_the_file_itself),
        CASE(test_reading_stops_at_the_limit),
        CASE(test_missing_files_and_folders_are_told_apart_from_failures),
        CASE(test_a_failed_write_leaves_nothing_behind),
        CASE(test_folders_are_made_with_their_parents_once),
        CASE(test_a_lock_is_exclusive_and_names_its_holder),
        CASE(test_a_lock_ends_with_its_process),
        CASE(test_visits_go_by_whole_path_and_pass_over_hidden_names),
        CASE(test_links_to_files_count_and_links_to_folders_do_not),
        CASE(test_a_visitor_can_stop_the_walk),
        CASE(test_a_missing_folder_visits_nothing_and_a_file_is_an_error),
        CASE(test_random_bytes_differ_and_fill_their_room),
    };
    return cmocka_run_group_tests_name("base/file", tests, NULL, NULL);
}
