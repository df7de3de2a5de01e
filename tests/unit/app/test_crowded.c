/* SPDX-License-Identifier: MIT */
/* A worker's Lua state as a whole has a mark: past it no task begins, and those that run end as
 * usual. The mark is put low here, just above what the state holds at rest. */
#include "app/spec_world.h"
#include "http/loopback.h"
#include "script/alloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define TURNS_MAX 100000

static const char system_file[] = "return { services = { a = {} } }";
static const char routes_file[] =
    "local function get(name, handle)\n"
    "  return route(name) { service = 'a', method = 'GET', path = '/' .. name, handle = handle }\n"
    "end\n"
    "return {\n"
    "  event 'Told' { service = 'a', key = { k = 'k' }, fields = { text 'k' } },\n"
    "  resource 'rows' { service = 'a', fields = { text 'name' } },\n"
    "  get('ping', function() return 'pong' end),\n"
    "  get('tell', function() bus.emit_in('2s', 'Told', { k = 'a' }) end),\n"
    "  get('hold', function() local held = ('x'):rep(6 << 20) task.sleep('5s') return #held end),\n"
    "  get('litter', function() for i = 1, 8 do local _ = ('x'):rep(1 << 20) end end),\n"
    "}\n";

static const char policy_file[] =
    "return policy 'hear' { service = 'a', on = 'Told',\n"
    "  handle = function() store.create('rows', { name = 'heard' }) end }\n";

struct fixture {
    struct spec_case *stage;
    const struct spec_world *world;
    int log, out; /* what is logged; the real output */
};

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int open_world(void **state)
{
    static struct fixture f;
    static char scripts[400];
    struct err err;
    f.stage = spec_world_new("", "t", NULL, false);
    const char *folder = spec_world_begin(f.stage, &err);
    assert_non_null(folder);
    snprintf(scripts, sizeof(scripts), "%s/scripts", folder);
    write_file(folder, "scripts/systems/t.lua", system_file);
    write_file(folder, "scripts/routes/t/a.lua", routes_file);
    write_file(folder, "scripts/policies/t/hear.lua", policy_file);
    fflush(stdout);
    f.log = memfd_create("log", 0);
    f.out = dup(STDOUT_FILENO);
    dup2(f.log, STDOUT_FILENO);
    f.world = spec_world_open(f.stage, scripts, NULL, &err);
    if (f.world == NULL)
        fail_msg("%s", err.message);
    *state = &f;
    return 0;
}

static int close_world(void **state)
{
    struct fixture *f = *state;
    dup2(f->out, STDOUT_FILENO);
    close(f->out);
    close(f->log);
    spec_world_close(f->stage);
    spec_world_end(f->stage);
    spec_world_free(f->stage);
    return 0;
}

/* How often a text was logged. */
static int logged(const struct fixture *f, const char *text)
{
    static char log[1 << 16];
    int n = 0;
    ssize_t size = pread(f->log, log, sizeof(log) - 1, 0);
    log[size > 0 ? size : 0] = '\0';
    for (const char *p = log; (p = strstr(p, text)) != NULL; p++)
        n++;
    return n;
}

static void run_turns(const struct fixture *f)
{
    for (int n = 0; loop_turn(f->world->loop); n++)
        assert_true(n < TURNS_MAX);
}

static void advance(const struct fixture *f, int seconds)
{
    for (int i = 0; i < seconds * 10; i++) {
        clock_advance(f->world->clock, 100 * NS_PER_MS);
        run_turns(f);
    }
}

static void serve(void *ctx, struct http_exchange *x)
{
    request_serve(ctx, x);
}

static struct http_loopback *start(const struct fixture *f, const char *path)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct http_loopback_request r = {.method = STR("GET"), .target = str_from(path)};
    struct err err;
    struct http_loopback *lb = http_loopback_start(&r, &limits, serve, f->world->host, &err);
    assert_non_null(lb);
    run_turns(f);
    return lb;
}

/* Frees it. Its status, or 0; part: of the body. */
static int answer_of(struct http_loopback *lb, const char *part)
{
    struct http_loopback_answer a = {0};
    if (http_loopback_done(lb))
        http_loopback_answer(lb, &a);
    if (part != NULL)
        assert_non_null(memmem(a.body.p, a.body.n, part, strlen(part)));
    int status = a.status;
    http_loopback_free(lb);
    return status;
}

static size_t bytes(const struct fixture *f)
{
    void *a;
    lua_gc(f->world->host->L, LUA_GCCOLLECT, 0);
    lua_getallocf(f->world->host->L, &a);
    return alloc_used(a);
}

static void RULES_5t_past_the_mark_no_task_begins_and_those_that_run_end(void **state)
{
    struct fixture *f = *state;
    f->world->host->memory_mark = bytes(f) + ((size_t)4 << 20);
    assert_int_equal(answer_of(start(f, "/tell"), NULL), 200);
    struct http_loopback *hold = start(f, "/hold");
    assert_int_equal(f->world->host->task_count, 1);
    assert_int_equal(answer_of(start(f, "/ping"), "\"limit\""), 503);
    assert_int_equal(answer_of(start(f, "/rows"), "\"totalElements\":0"), 200); /* needs no task */
    advance(f, 3); /* the delivery is due, and tried */
    assert_int_equal(answer_of(start(f, "/ping"), HOST_CROWDED), 503);
    assert_int_equal(answer_of(start(f, "/rows"), "\"totalElements\":0"), 200);
    assert_int_equal(logged(f, "scripts hold too much memory"), 1);
    assert_int_equal(logged(f, "\"generation\":1"), 1);
    assert_false(http_loopback_done(hold));
    advance(f, 3);
    assert_int_equal(answer_of(hold, NULL), 200);
    assert_int_equal(answer_of(start(f, "/ping"), "pong"), 200);
    advance(f, 20);
    assert_int_equal(answer_of(start(f, "/rows"), "\"totalElements\":1"), 200);
}

static void RULES_5t_garbage_past_the_mark_is_collected_and_nobody_refused(void **state)
{
    struct fixture *f = *state;
    f->world->host->memory_mark = bytes(f) + ((size_t)4 << 20);
    lua_gc(f->world->host->L, LUA_GCSTOP);
    assert_int_equal(answer_of(start(f, "/litter"), NULL), 200);
    assert_int_equal(answer_of(start(f, "/ping"), "pong"), 200);
    assert_int_equal(logged(f, "scripts hold too much memory"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            RULES_5t_past_the_mark_no_task_begins_and_those_that_run_end, open_world, close_world),
        cmocka_unit_test_setup_teardown(
            RULES_5t_garbage_past_the_mark_is_collected_and_nobody_refused, open_world,
            close_world),
    };
    return cmocka_run_group_tests_name("app/crowded", tests, NULL, NULL);
}
