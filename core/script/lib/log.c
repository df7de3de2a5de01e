/* SPDX-License-Identifier: MIT */
/* log.* and clock.*: what scripts say, with where they said it, and what time it is on the host's
 * clock. */
#include "base/log.h"

#include "script/convert.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

#define TEXT_MAX ((size_t)16 << 10)

/* "scripts/x.lua" and the line of the caller. */
static int caller(lua_State *L, struct str *ret_script)
{
    lua_Debug ar;
    *ret_script = (struct str){NULL, 0};
    if (!lua_getstack(L, 1, &ar))
        return 0;
    lua_getinfo(L, "Sl", &ar);
    if (ar.source[0] == '@') {
        lua_pushstring(L, ar.source + 1);
        *ret_script = str_from(lua_tostring(L, -1));
    }
    return ar.currentline;
}

/* A script's line in the log is no way to fill the disk. */
static struct str cut(struct str s)
{
    if (s.n <= TEXT_MAX)
        return s;
    s.n = TEXT_MAX;
    while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xC0) == 0x80)
        s.n--;
    return s;
}

static int lines_dropped(struct task *t)
{
    if (t->log_count == TASK_LOG_LINES + 1)
        log_event(LOG_WARN, "further lines dropped", LOG_S("what", t->what),
                  LOG_I("limit", TASK_LOG_LINES),
                  LOG_S("service", t->service != NULL ? t->service->name : STR("")),
                  LOG_S("correlationId", t->correlation_id));
    return 0;
}

static int write_entry(lua_State *L, enum log_level level)
{
    struct host *h = host_of(L);
    struct strand *s = h != NULL ? h->current : NULL;
    struct str script, msg, data = {NULL, 0};
    lua_settop(L, 2);
    if (s != NULL && s->task->log_count++ >= TASK_LOG_LINES)
        return lines_dropped(s->task);
    msg.p = luaL_tolstring(L, 1, &msg.n);
    const char *text = lua_pushlstring(L, msg.p, cut(msg).n);
    if (!lua_isnil(L, 2)) {
        struct buf *out = convert_buffer(L);
        convert_json(L, 2, out);
        data = cut(buf_str(out));
    }
    int line = caller(L, &script);
    if (s != NULL && h->logged != NULL)
        h->logged(h->logged_ctx, str_from(text));
    log_event(level, text, LOG_S("service", s != NULL ? s->service->name : STR("")),
              LOG_S("script", script), LOG_I("line", line),
              LOG_S("correlationId", s != NULL ? s->task->correlation_id : STR("")),
              LOG_S("data", data));
    return 0;
}

/* log.debug(message, data?) and so on: data is any value that JSON can hold. */
static int log_debug(lua_State *L)
{
    return write_entry(L, LOG_DEBUG);
}

static int log_info(lua_State *L)
{
    return write_entry(L, LOG_INFO);
}

static int log_warn(lua_State *L)
{
    return write_entry(L, LOG_WARN);
}

static int log_error(lua_State *L)
{
    return write_entry(L, LOG_ERROR);
}

int lib_log_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", log_debug}, {"info", log_info}, {"warn", log_warn},
        {"error", log_error}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}

static lua_Integer now_ms(lua_State *L, const char *word)
{
    struct strand *s = strand_check(L, word);
    return clock_wall_ms(loop_clock(s->task->host->loop));
}

/* clock.now(): epoch milliseconds. */
static int clock_now(lua_State *L)
{
    lua_pushinteger(L, now_ms(L, "clock.now"));
    return 1;
}

/* clock.iso(epoch milliseconds?): "2026-01-01T00:00:00.000Z". */
static int clock_iso(lua_State *L)
{
    lua_Integer ms = lua_isnoneornil(L, 1) ? now_ms(L, "clock.iso") : luaL_checkinteger(L, 1);
    struct buf *out = convert_buffer(L);
    clock_rfc3339(out, ms);
    struct str s = buf_str(out);
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

int lib_clock_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"now", clock_now}, {"iso", clock_iso}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
