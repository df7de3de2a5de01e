/* SPDX-License-Identifier: MIT */
/* Every word of scripts with generated arguments: the input says which words a route calls, how,
 * and with what (tests/fuzz/words/routes/t/words.lua). Whatever it is, the request is answered,
 * errors are proper error values, no task is left, and the Lua state does not grow from input to
 * input. */
#include "app/spec_world.h"
#include "fuzz.h"
#include "http/loopback.h"
#include "script/alloc.h"

#include <string.h>

#define INPUTS_A_WORLD 400
#define TURNS_MAX 200000
#define PATIENCE_NS (3600 * NS_PER_S)
#define GROWTH_BYTES ((size_t)8 << 20)

static struct spec_case *stage;
static const struct spec_world *world;
static int inputs;
static size_t used_at_first;

static void close_world(void)
{
    if (world != NULL) {
        spec_world_close(stage);
        spec_world_end(stage);
    }
    world = NULL;
    spec_world_free(stage);
    stage = NULL;
}

/* Without garbage. */
static size_t lua_bytes(void)
{
    void *a;
    lua_gc(world->host->L, LUA_GCCOLLECT, 0);
    lua_gc(world->host->L, LUA_GCCOLLECT, 0);
    require(lua_getallocf(world->host->L, &a) == alloc_lua);
    return alloc_used(a);
}

static void open_world(void)
{
    struct err err;
    log_set_level(LOG_ERROR + 1);
    if (stage == NULL) {
        if (inputs == 0)
            atexit(close_world);
        stage = spec_world_new(MOONTIDE_SOURCE "/tests/fuzz/words", "t", NULL,
                               inputs / INPUTS_A_WORLD % 2 == 1); /* each second one: slow reads */
    }
    require(spec_world_begin(stage, &err) != NULL);
    world = spec_world_open(stage, NULL, NULL, &err);
    if (world == NULL)
        fprintf(stderr, "%s\n", err.message);
    require(world != NULL);
    used_at_first = lua_bytes();
}

static void serve(void *ctx, struct http_exchange *x)
{
    request_serve(ctx, x);
}

static bool step(int64_t limit_ns)
{
    if (loop_turn(world->loop))
        return true;
    int64_t next_ns = loop_timer_next_ns(world->loop), now_ns = clock_mono_ns(world->clock);
    if (next_ns > limit_ns)
        return false;
    if (next_ns > now_ns)
        clock_advance(world->clock, next_ns - now_ns);
    return true;
}

static void check_answer(const struct http_loopback_answer *a)
{
    static const char *const codes[] = {"failed", "budget", "timeout", "conflict",
                                        "exists", "bound",  "invalid", "http"};
    if (a->status == 200 && a->body.n == 2)
        return;
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes) && a->status != 200; i++) {
        char text[40];
        int n = snprintf(text, sizeof(text), "\"code\":\"%s\"", codes[i]);
        if (memmem(a->body.p, a->body.n, text, (size_t)n) != NULL)
            return;
    }
    fprintf(stderr, "%d %.*s\n", a->status, STR_ARG(a->body));
    require(!"an answer as it must be");
}

static void run(struct str body)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct http_header type = {STR("Content-Type"), STR("application/json")};
    struct http_loopback_request r = {.method = STR("POST"),
                                      .target = STR("/words"),
                                      .headers = &type,
                                      .header_count = 1,
                                      .body = body};
    struct http_loopback_answer a;
    struct err err;
    struct http_loopback *lb = http_loopback_start(&r, &limits, serve, world->host, &err);
    require(lb != NULL);
    int64_t limit_ns = clock_mono_ns(world->clock) + PATIENCE_NS;
    for (int n = 0; !http_loopback_done(lb) && n < TURNS_MAX && step(limit_ns); n++)
        continue;
    require(http_loopback_done(lb));
    http_loopback_answer(lb, &a);
    check_answer(&a);
    http_loopback_free(lb);
    for (int n = 0; world->host->task_count > 0 && n < TURNS_MAX && step(limit_ns); n++)
        continue;
    require(host_is_idle(world->host));
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A Lua state lives in slabs that the leak checker does not look through, and stays from input to
 * input: it is asked at the end only, when all of it is gone. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char *words[40];
    static char flag[] = "-detect_leaks=0";
    int n = 0;
    require(*argc < 39);
    for (; n < *argc; n++)
        words[n] = (*argv)[n];
    words[n++] = flag;
    *argc = n;
    *argv = words;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf body = BUF_INIT;
    if (world == NULL)
        open_world();
    buf_lit(&body, "{\"hex\":\"");
    for (size_t i = 0; i < size; i++) {
        char two[3];
        snprintf(two, sizeof(two), "%02x", data[i]);
        buf_add(&body, two, 2);
    }
    buf_lit(&body, "\"}");
    run(buf_str(&body));
    buf_deinit(&body);
    if (++inputs % INPUTS_A_WORLD == 0) {
        require(lua_bytes() < used_at_first + GROWTH_BYTES);
        close_world();
    }
    return 0;
}
