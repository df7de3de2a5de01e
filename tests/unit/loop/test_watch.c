/* SPDX-License-Identifier: MIT */
/* A real folder, and a fake clock for the quiet after a change. */
#include "loop/watch.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/buf.h"
#include "loop/timer.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUIET_MS 100
#define TURNS 100

struct fixture {
    struct clock clock;
    struct loop *loop;
    struct watch *watch;
    char folder[64];
    int told;
};

static void on_change(void *ctx)
{
    ((struct fixture *)ctx)->told++;
}

static const char *path_of(struct fixture *f, const char *name)
{
    static char paths[4][256]; /* a few at a time */
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", f->folder, name);
    return path;
}

static void make_folder(struct fixture *f, const char *name)
{
    assert_int_equal(mkdir(path_of(f, name), 0755), 0);
}

static void write_file(struct fixture *f, const char *name)
{
    FILE *file = fopen(path_of(f, name), "w");
    assert_non_null(file);
    assert_true(fputs("return {}\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What the kernel has told already is taken in. */
static void take_in(struct fixture *f)
{
    for (int i = 0; i < TURNS && loop_turn(f->loop); i++)
        continue;
}

static void pass_ms(struct fixture *f, int64_t ms)
{
    take_in(f);
    clock_advance(&f->clock, ms * NS_PER_MS);
    take_in(f);
}

/* How often fn ran, once all was quiet for long enough. */
static int told(struct fixture *f)
{
    pass_ms(f, QUIET_MS);
    int n = f->told;
    f->told = 0;
    return n;
}

static int setup(void **state)
{
    static struct fixture f; /* cmocka hands over a pointer only */
    f = (struct fixture){.folder = "/tmp/moontide-watch-XXXXXX"};
    clock_fake_init(&f.clock);
    f.loop = loop_new(&f.clock, NULL);
    if (!f.loop || !mkdtemp(f.folder))
        return -1;
    make_folder(&f, "tree");
    make_folder(&f, "tree/routes");
    make_folder(&f, "tree/routes/shop");
    make_folder(&f, "tree/.git");
    write_file(&f, "tree/routes/shop/orders.lua");
    f.watch = watch_new(f.loop, path_of(&f, "tree"), QUIET_MS, on_change, &f, NULL);
    *state = &f;
    return f.watch ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    watch_free(f->watch);
    loop_free(f->loop);
    return nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void nothing_changed_nothing_told(void **state)
{
    assert_int_equal(told(*state), 0);
}

static void a_change_is_told_once_after_the_quiet_and_not_before(void **state)
{
    struct fixture *f = *state;
    write_file(f, "tree/routes/shop/orders.lua");
    pass_ms(f, QUIET_MS - 1);
    assert_int_equal(f->told, 0);
    pass_ms(f, 1);
    assert_int_equal(f->told, 1);
    pass_ms(f, 10 * QUIET_MS);
    assert_int_equal(f->told, 1);
}

static void a_change_within_the_quiet_starts_it_anew(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        write_file(f, "tree/routes/shop/orders.lua");
        pass_ms(f, QUIET_MS - 1);
    }
    assert_int_equal(f->told, 0);
    pass_ms(f, 1);
    assert_int_equal(f->told, 1);
}

static void a_file_made_moved_over_renamed_or_removed_is_a_change(void **state)
{
    struct fixture *f = *state;
    write_file(f, "tree/new.lua");
    assert_int_equal(told(f), 1);
    write_file(f, "tree/routes/.new.lua.swp");
    assert_int_equal(rename(path_of(f, "tree/routes/.new.lua.swp"), path_of(f, "tree/new.lua")), 0);
    assert_int_equal(told(f), 1);
    assert_int_equal(rename(path_of(f, "tree/new.lua"), path_of(f, "tree/old.lua")), 0);
    assert_int_equal(told(f), 1);
    assert_int_equal(unlink(path_of(f, "tree/old.lua")), 0);
    assert_int_equal(told(f), 1);
}

static void names_of_editors_and_hidden_folders_do_not_count(void **state)
{
    struct fixture *f = *state;
    write_file(f, "tree/routes/shop/orders.lua~");
    write_file(f, "tree/routes/shop/.orders.lua.swp");
    write_file(f, "tree/.git/index");
    make_folder(f, "tree/.cache");
    assert_int_equal(told(f), 0);
}

static void a_folder_made_later_is_watched_to_its_depth(void **state)
{
    struct fixture *f = *state;
    make_folder(f, "tree/policies");
    make_folder(f, "tree/policies/shop"); /* before anybody could watch the one above */
    assert_int_equal(told(f), 1);
    write_file(f, "tree/policies/shop/a.lua");
    assert_int_equal(told(f), 1);
    make_folder(f, "tree/policies/shop/deep");
    assert_int_equal(told(f), 1);
    write_file(f, "tree/policies/shop/deep/b.lua");
    assert_int_equal(told(f), 1);
}

static void a_folder_moved_in_is_watched_and_one_moved_out_no_longer(void **state)
{
    struct fixture *f = *state;
    make_folder(f, "other");
    make_folder(f, "other/deep");
    assert_int_equal(rename(path_of(f, "other"), path_of(f, "tree/other")), 0);
    assert_int_equal(told(f), 1);
    write_file(f, "tree/other/deep/a.lua");
    assert_int_equal(told(f), 1);
    assert_int_equal(rename(path_of(f, "tree/other"), path_of(f, "away")), 0);
    assert_int_equal(told(f), 1);
    write_file(f, "away/deep/b.lua");
    write_file(f, "away/c.lua");
    assert_int_equal(told(f), 0);
}

static void a_removed_folder_is_a_change_and_may_come_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlink(path_of(f, "tree/routes/shop/orders.lua")), 0);
    assert_int_equal(rmdir(path_of(f, "tree/routes/shop")), 0);
    assert_int_equal(told(f), 1);
    make_folder(f, "tree/routes/shop");
    assert_int_equal(told(f), 1);
    write_file(f, "tree/routes/shop/orders.lua");
    assert_int_equal(told(f), 1);
}

static void a_tree_that_is_exchanged_as_a_whole_is_a_change(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rename(path_of(f, "tree"), path_of(f, "before")), 0);
    assert_int_equal(told(f), 0); /* there is nothing to read */
    make_folder(f, "tree");
    make_folder(f, "tree/routes");
    pass_ms(f, 1000);
    assert_int_equal(told(f), 1);
    write_file(f, "before/a.lua");
    assert_int_equal(told(f), 0);
    write_file(f, "tree/routes/a.lua");
    assert_int_equal(told(f), 1);
}

/* As many events as the kernel keeps, and then the one that matters. */
static void a_change_lost_in_an_overflow_counts(void **state)
{
    struct fixture *f = *state;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    char line[32] = "";
    if (limit) {
        assert_non_null(fgets(line, sizeof(line), limit));
        fclose(limit);
    }
    long events = strtol(line, NULL, 10);
    if (events < 1 || events > 100000)
        skip();
    for (long i = 0; i < events; i += 2) { /* names that do not count, never twice the same */
        write_file(f, i % 4 ? "tree/a~" : "tree/b~");
        assert_int_equal(unlink(path_of(f, i % 4 ? "tree/a~" : "tree/b~")), 0);
    }
    make_folder(f, "tree/late");
    assert_int_equal(told(f), 1);
    write_file(f, "tree/late/a.lua");
    assert_int_equal(told(f), 1);
}

static void freed_within_the_quiet_it_tells_nothing(void **state)
{
    struct fixture *f = *state;
    write_file(f, "tree/a.lua");
    take_in(f);
    assert_true(loop_timer_next_ns(f->loop) < INT64_MAX);
    watch_free(f->watch);
    f->watch = NULL;
    assert_true(loop_timer_next_ns(f->loop) == INT64_MAX);
    assert_int_equal(told(f), 0);
}

static void what_is_no_folder_cannot_be_watched(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_null(watch_new(f->loop, path_of(f, "nosuch"), 1, on_change, f, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, "/nosuch: No such file"));
    assert_null(
        watch_new(f->loop, path_of(f, "tree/routes/shop/orders.lua"), 1, on_change, f, &err));
    assert_non_null(strstr(err.message, "orders.lua: Not a directory"));
    watch_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_changed_nothing_told),
        CASE(a_change_is_told_once_after_the_quiet_and_not_before),
        CASE(a_change_within_the_quiet_starts_it_anew),
        CASE(a_file_made_moved_over_renamed_or_removed_is_a_change),
        CASE(names_of_editors_and_hidden_folders_do_not_count),
        CASE(a_folder_made_later_is_watched_to_its_depth),
        CASE(a_folder_moved_in_is_watched_and_one_moved_out_no_longer),
        CASE(a_removed_folder_is_a_change_and_may_come_back),
        CASE(a_tree_that_is_exchanged_as_a_whole_is_a_change),
        CASE(a_change_lost_in_an_overflow_counts),
        CASE(freed_within_the_quiet_it_tells_nothing),
        CASE(what_is_no_folder_cannot_be_watched),
    };
    return cmocka_run_group_tests_name("loop/watch", tests, NULL, NULL);
}
