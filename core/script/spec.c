/* SPDX-License-Identifier: MIT */
/* What specs need of the host: lua/spec.lua makes the words of it. A look at the world comes after
 * everything that was due has run, so that a case sees the same on an engine that answers at once
 * and on one that answers later. */
#include "base/file.h"
#include "http/loopback.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/lib/libs.h"
#include "script/spec_inside.h"
#include "script/veneers.h"

#include <lauxlib.h>
#include <lualib.h>

#include <stdlib.h>

#define SPEC_MAX_BYTES (1u << 20)
#define TURNS_MAX 200000 /* without rest at one moment: something runs in a circle */
#define WAIT_NS                                                                                    \
    (3600 * NS_PER_S)               /* how far the clock moves at most until a request is answered \
                                     */
#define PATIENCE_NS (31 * NS_PER_S) /* longer than any deadline of a task */
#define REQUEST_METATABLE "moontide.spec.request"

struct spec *spec_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

const struct spec_world *spec_check_world(lua_State *L)
{
    const struct spec_world *w = spec_of(L)->world;
    if (w == NULL)
        luaL_error(L, "the system is not open");
    return w;
}

struct arena *spec_fresh_scratch(struct spec *s)
{
    if (s->scratch != NULL)
        arena_free(s->scratch);
    return s->scratch = arena_new(0);
}

void spec_set_text(lua_State *L, const char *name, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, name);
}

/* ---- time ---- */

static bool run_turns(struct loop *l)
{
    int n = 0;
    while (loop_turn(l))
        if (++n > TURNS_MAX)
            return false;
    return true;
}

void spec_settle(lua_State *L, const struct spec_world *w)
{
    if (!run_turns(w->loop))
        luaL_error(L, "the system does not come to rest at this moment");
}

/* Moves the clock to the next timer, if that is due by limit_ns. */
static bool step_clock(const struct spec_world *w, int64_t limit_ns)
{
    int64_t next_ns = loop_timer_next_ns(w->loop), now_ns = clock_mono_ns(w->clock);
    if (next_ns > limit_ns)
        return false;
    if (next_ns > now_ns)
        clock_advance(w->clock, next_ns - now_ns);
    return true;
}

static bool advance_to(const struct spec_world *w, int64_t limit_ns)
{
    do {
        if (!run_turns(w->loop))
            return false;
    } while (step_clock(w, limit_ns));
    int64_t now_ns = clock_mono_ns(w->clock);
    if (limit_ns > now_ns)
        clock_advance(w->clock, limit_ns - now_ns);
    return run_turns(w->loop);
}

static int core_settle(lua_State *L)
{
    spec_settle(L, spec_check_world(L));
    return 0;
}

/* advance(duration): from timer to timer, so that they fire in their order. */
static int core_advance(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    int64_t ms = lib_check_duration(L, 1, "clock.advance");
    if (!advance_to(w, clock_mono_ns(w->clock) + ms * NS_PER_MS))
        luaL_error(L, "the system does not come to rest at this moment");
    return 0;
}

/* now(): epoch milliseconds. */
static int core_now(lua_State *L)
{
    lua_pushinteger(L, clock_wall_ms(spec_check_world(L)->clock));
    return 1;
}

/* ---- the life of a case ---- */

static int core_begin(lua_State *L)
{
    struct spec *s = spec_of(L);
    struct err err;
    buf_clear(&s->log);
    s->folder = s->conf->stage->begin(s->conf->stage->ctx, &err);
    if (s->folder == NULL)
        return luaL_error(L, "%s", err.message);
    return 0;
}

/* write(path, text): a file below the case's folder. */
static int core_write(lua_State *L)
{
    struct spec *s = spec_of(L);
    struct err err;
    size_t n;
    const char *path = lua_pushfstring(L, "%s/%s", s->folder, luaL_checkstring(L, 1));
    const char *text = luaL_checklstring(L, 2, &n);
    const char *slash = strrchr(path, '/');
    const char *dir = lua_pushlstring(L, path, (size_t)(slash - path));
    if (file_make_dirs(dir, &err) != 0 || file_write(path, (struct str){text, n}, 0600, &err) != 0)
        return luaL_error(L, "%s", err.message);
    return 0;
}

/* open(folder of scripts below the case's, system) or open(): raises what is wrong with the
 * scripts, as it is told. */
static int core_open(lua_State *L)
{
    struct spec *s = spec_of(L);
    const struct spec_stage *stage = s->conf->stage;
    const char *scripts = NULL, *system = NULL;
    struct err err;
    if (!lua_isnoneornil(L, 1)) {
        scripts = lua_pushfstring(L, "%s/%s", s->folder, luaL_checkstring(L, 1));
        system = luaL_checkstring(L, 2);
    }
    s->world = stage->open(stage->ctx, scripts, system, &err);
    if (s->world == NULL) {
        lua_pushstring(L, err.message);
        return lua_error(L);
    }
    s->world->host->logged = spec_logged;
    s->world->host->logged_ctx = s;
    return 0;
}

/* Stops and closes; patient: what still runs gets its time first. Returns the number of tasks that
 * had to be ended. */
static int close_world(struct spec *s, bool patient)
{
    const struct spec_world *w = s->world;
    bus_stop(w->bus);
    bool rest = run_turns(w->loop);
    if (patient && rest && w->host->task_count > 0)
        rest = advance_to(w, clock_mono_ns(w->clock) + PATIENCE_NS);
    int left = w->host->task_count;
    host_cancel_all(w->host, true);
    run_turns(w->loop);
    s->world = NULL;
    s->conf->stage->close(s->conf->stage->ctx);
    return rest ? left : left + 1;
}

/* close(patient): the number of tasks left. */
static int core_close(lua_State *L)
{
    struct spec *s = spec_of(L);
    lua_pushinteger(L, s->world != NULL ? close_world(s, lua_toboolean(L, 1)) : 0);
    return 1;
}

static void end_case(struct spec *s)
{
    if (s->world != NULL)
        close_world(s, false);
    if (s->folder != NULL)
        s->conf->stage->end(s->conf->stage->ctx);
    s->folder = NULL;
}

static int core_finish(lua_State *L)
{
    end_case(spec_of(L));
    return 0;
}

/* report(name, failure or nil) */
static int core_report(lua_State *L)
{
    const struct spec_stage *stage = spec_of(L)->conf->stage;
    stage->report(stage->ctx, luaL_checkstring(L, 1), luaL_optstring(L, 2, NULL));
    return 0;
}

/* ---- requests ---- */

static struct http_loopback **check_request(lua_State *L, int index)
{
    return luaL_checkudata(L, index, REQUEST_METATABLE);
}

static int request_gc(lua_State *L)
{
    struct http_loopback **lb = lua_touserdata(L, 1);
    http_loopback_free(*lb);
    *lb = NULL;
    return 0;
}

static void serve(void *ctx, struct http_exchange *x)
{
    request_serve(ctx, x);
}

/* The list { name, value, name, value ... } at index. */
static void read_headers(lua_State *L, int index, struct arena *a, struct http_loopback_request *r)
{
    size_t n = (size_t)lua_rawlen(L, index) / 2;
    struct http_header *headers = arena_zalloc(a, (n + 1) * sizeof(*headers));
    for (size_t i = 0; i < n; i++) {
        struct str *parts[] = {&headers[i].name, &headers[i].value};
        for (size_t k = 0; k < 2; k++) {
            lua_rawgeti(L, index, (lua_Integer)(2 * i + k + 1));
            struct str text;
            text.p = luaL_checklstring(L, -1, &text.n);
            *parts[k] = arena_str(a, text);
            lua_pop(L, 1);
        }
    }
    r->headers = headers;
    r->header_count = n;
}

/* start(method, target, headers, body): a request on its way. */
static int core_start(lua_State *L)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    const struct spec_world *w = spec_check_world(L);
    struct http_loopback_request r = {0};
    struct err err;
    r.method.p = luaL_checklstring(L, 1, &r.method.n);
    r.target.p = luaL_checklstring(L, 2, &r.target.n);
    r.body.p = luaL_checklstring(L, 4, &r.body.n);
    read_headers(L, 3, spec_fresh_scratch(spec_of(L)), &r);
    struct http_loopback **lb = lua_newuserdatauv(L, sizeof(struct http_loopback *), 0);
    *lb = NULL;
    luaL_setmetatable(L, REQUEST_METATABLE);
    *lb = http_loopback_start(&r, &limits, serve, w->host, &err);
    if (*lb == NULL)
        return luaL_error(L, "%s", err.message);
    return 1;
}

/* wait(request): until it is answered; the clock moves when nothing else can. False: an hour was
 * not enough. */
static int core_wait(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct http_loopback *lb = *check_request(L, 1);
    int64_t limit_ns = clock_mono_ns(w->clock) + WAIT_NS;
    for (int n = 0; !http_loopback_done(lb) && n < TURNS_MAX; n++)
        if (!loop_turn(w->loop) && !http_loopback_done(lb) && !step_clock(w, limit_ns))
            break;
    lua_pushboolean(L, http_loopback_done(lb));
    return 1;
}

/* { lower-case name = value }; of several of one name all, with ", " between. */
static void push_headers(lua_State *L, const struct http_loopback_answer *a)
{
    lua_newtable(L);
    for (size_t i = 0; i < a->header_count; i++) {
        luaL_Buffer name;
        luaL_buffinit(L, &name);
        for (size_t k = 0; k < a->headers[i].name.n; k++) {
            char c = a->headers[i].name.p[k];
            luaL_addchar(&name, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
        }
        luaL_pushresult(&name);
        lua_pushvalue(L, -1);
        bool again = lua_rawget(L, -3) != LUA_TNIL;
        if (again)
            lua_pushliteral(L, ", ");
        lua_pushlstring(L, a->headers[i].value.p, a->headers[i].value.n);
        if (again)
            lua_concat(L, 3);
        else
            lua_remove(L, -2);
        lua_rawset(L, -3);
    }
    if (a->content_type.n > 0)
        spec_set_text(L, "content-type", a->content_type);
}

/* answer(request): status, headers, text; nothing before it is answered. */
static int core_answer(lua_State *L)
{
    struct http_loopback *lb = *check_request(L, 1);
    struct http_loopback_answer a;
    if (!http_loopback_done(lb))
        return 0;
    http_loopback_answer(lb, &a);
    lua_pushinteger(L, a.status);
    push_headers(L, &a);
    lua_pushlstring(L, a.body.p, a.body.n);
    return 3;
}

/* ---- the state of a file ---- */

static void add_words(lua_State *L, struct spec *s)
{
    static const luaL_Reg words[] = {
        {"settle", core_settle},
        {"advance", core_advance},
        {"now", core_now},
        {"begin", core_begin},
        {"write", core_write},
        {"open", core_open},
        {"close", core_close},
        {"finish", core_finish},
        {"report", core_report},
        {"start", core_start},
        {"wait", core_wait},
        {"answer", core_answer},
        {NULL, NULL},
    };
    lua_newtable(L);
    lua_pushlightuserdata(L, s);
    luaL_setfuncs(L, words, 1);
    lua_pushlightuserdata(L, s);
    luaL_setfuncs(L, spec_look_words, 1);
    lib_json_open(L);
    lua_setfield(L, -2, "json");
    luaL_newmetatable(L, REQUEST_METATABLE);
    lua_pushcfunction(L, request_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* Pushes the function of lua/spec.lua. */
static void push_runner(lua_State *L)
{
    const struct veneer *v = veneers;
    while (v->name != NULL && strcmp(v->name, "spec") != 0)
        v++;
    if (v->name == NULL ||
        luaL_loadbufferx(L, v->source, v->length, "=moontide/spec.lua", "t") != LUA_OK)
        luaL_error(L, "the spec runner cannot be loaded");
}

/* [light userdata spec] */
static int run_file(lua_State *L)
{
    struct spec *s = lua_touserdata(L, 1);
    struct err err;
    luaL_openlibs(L);
    fail_open(L);
    convert_open(L);
    struct buf *source = convert_buffer(L);
    if (file_read(s->conf->path, SPEC_MAX_BYTES, source, &err) != 0)
        return luaL_error(L, "%s", err.message);
    push_runner(L);
    add_words(L, s);
    struct str text = buf_str(source);
    lua_pushlstring(L, text.p, text.n);
    lua_pushstring(L, s->conf->path);
    lua_pushstring(L, s->conf->filter);
    lua_pushstring(L, s->conf->suffix);
    lua_call(L, 5, 0);
    return 0;
}

int spec_run(const struct spec_conf *conf, struct err *err)
{
    struct spec s = {.conf = conf, .log = BUF_INIT};
    int failed = 0;
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return err_set(err, ERR_INTERNAL, "no memory for a Lua state");
    *(void **)lua_getextraspace(L) = NULL;
    lua_pushcfunction(L, run_file);
    lua_pushlightuserdata(L, &s);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        failed = err_set(err, ERR_SCRIPT, "%s",
                         lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                        : "the file raised a value");
    end_case(&s);
    lua_close(L);
    buf_deinit(&s.log);
    if (s.scratch != NULL)
        arena_free(s.scratch);
    return failed;
}
