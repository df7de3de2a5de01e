/* SPDX-License-Identifier: MIT */
/* cache.*: what all workers share for a while. Each service has keys of its own; a value is kept as
 * its JSON, so that nothing of a Lua state leaves it. */
#include "script/cache.h"

#include "script/convert.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

/* The key at index 1 under its service; the text is on the stack. */
static struct str check_key(lua_State *L, const struct strand *s, const char *word)
{
    size_t n;
    if (lua_type(L, 1) != LUA_TSTRING)
        fail_misuse(L, "%s: the key must be a text, got a %s", word, luaL_typename(L, 1));
    lua_pushlstring(L, s->service->name.p, s->service->name.n);
    lua_pushliteral(L, "/");
    lua_pushvalue(L, 1);
    lua_concat(L, 3);
    const char *p = lua_tolstring(L, -1, &n);
    return (struct str){p, n};
}

/* Index holds nil, a duration, or { ttl = duration }. */
static int64_t check_ttl(lua_State *L, int index, const char *word)
{
    if (lua_isnoneornil(L, index))
        return 0;
    if (lua_istable(L, index)) {
        for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
            if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "ttl") != 0)
                fail_misuse(L, "%s: unknown option \"%s\"; there is ttl", word,
                            luaL_tolstring(L, -2, NULL));
        lua_getfield(L, index, "ttl");
        lua_replace(L, index);
    }
    int64_t ms = lib_check_duration(L, index, word);
    if (ms <= 0)
        fail_misuse(L, "%s: ttl must be longer than nothing", word);
    return ms * NS_PER_MS;
}

static int64_t now_of(const struct strand *s)
{
    return loop_now_ns(s->task->host->loop);
}

/* cache.get(key): the value, or nil when there is none (any more). */
static int cache_word_get(lua_State *L)
{
    struct strand *s = strand_check_effect(L, "cache.get");
    struct str key = check_key(L, s, "cache.get");
    struct buf *text = convert_buffer(L);
    if (!cache_get(s->task->host->cache, key, now_of(s), text)) {
        lua_pushnil(L);
        return 1;
    }
    struct arena *a = convert_arena(L);
    int arena = lua_gettop(L);
    struct json j;
    struct err err;
    if (json_parse(a, buf_str(text), 65, &j, &err) != 0)
        return fail_raise_err(L, &err);
    convert_push_json(L, &j);
    convert_arena_end(L, arena);
    return 1;
}

/* cache.set(key, value, ttl?): any value that JSON can hold; nil removes. */
static int cache_word_set(lua_State *L)
{
    struct strand *s = strand_check_effect(L, "cache.set");
    struct err err;
    lua_settop(L, 3);
    int64_t ttl_ns = check_ttl(L, 3, "cache.set");
    struct str key = check_key(L, s, "cache.set"), value = {NULL, 0};
    if (!lua_isnil(L, 2)) {
        struct buf *text = convert_buffer(L);
        convert_json(L, 2, text);
        value = buf_str(text);
    }
    if (cache_set(s->task->host->cache, key, value, ttl_ns, now_of(s), &err) != 0)
        return fail_raise(L, err.code, "cache.set: %s", err.message);
    return 0;
}

/* cache.add(key, delta?, ttl?): adds to an integer (1 unless given) and gives the sum. A new one
 * begins at 0 and lives for ttl. */
static int cache_word_add(lua_State *L)
{
    struct strand *s = strand_check_effect(L, "cache.add");
    struct err err;
    int64_t sum;
    int is_integer = 1;
    lua_settop(L, 3);
    int64_t ttl_ns = check_ttl(L, 3, "cache.add");
    lua_Integer delta = lua_isnil(L, 2) ? 1 : lua_tointegerx(L, 2, &is_integer);
    if (!is_integer)
        return fail_misuse(L, "cache.add: the delta must be an integer, got a %s",
                           luaL_typename(L, 2));
    struct str key = check_key(L, s, "cache.add");
    if (cache_add(s->task->host->cache, key, delta, ttl_ns, now_of(s), &sum, &err) != 0)
        return fail_raise(L, err.code, "cache.add: %s", err.message);
    lua_pushinteger(L, sum);
    return 1;
}

int lib_cache_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", cache_word_get}, {"set", cache_word_set}, {"add", cache_word_add}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
