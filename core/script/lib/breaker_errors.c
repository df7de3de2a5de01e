/* SPDX-License-Identifier: MIT */
/* What a caller and a fallback are told. Texts and reasons are Hystrix', so that what looks for
 * them in logs goes on finding them. */
#include "script/lib/breaker.h"

#include <lauxlib.h>

#define CAUSE 4 /* index of the cause, see lib/breaker.c */

static void set_text(lua_State *L, const char *name, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, name);
}

void lib_breaker_push_reason(lua_State *L, struct str name, enum err_code code, const char *reason)
{
    struct str message;
    luaL_checkstack(L, 8, "error value");
    message.p = lua_pushfstring(L, "%s %s", name.p, reason);
    message.n = strlen(message.p);
    fail_push_bare(L, str_from(err_name(code)), err_status(code), err_retryable(code), message);
    lua_remove(L, -2);
    set_text(L, "breaker", name);
    set_text(L, "reason", str_from(reason));
}

void lib_breaker_push_refusal(lua_State *L, struct str name, enum breaker_verdict verdict,
                              int64_t retry_ms)
{
    if (verdict == BREAKER_REFUSED_OPEN)
        lib_breaker_push_reason(L, name, ERR_OPEN, "short-circuited");
    else if (verdict == BREAKER_REFUSED_QUEUE)
        lib_breaker_push_reason(L, name, ERR_QUEUE_FULL, "could not be queued for execution");
    else
        lib_breaker_push_reason(L, name, ERR_LIMIT, "could not acquire a semaphore for execution");
    if (retry_ms <= 0)
        return;
    lua_pushinteger(L, retry_ms);
    lua_setfield(L, -2, "retry_after_ms");
}

/* What another breaker has told, others may hold: its cache, a fallback. Puts a copy in its place.
 * [-1, +1, m] */
static void copy_told(lua_State *L)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_getmetatable(L, -2);
    lua_setmetatable(L, -2);
    lua_replace(L, -2);
}

void lib_breaker_add_reason(lua_State *L, struct str name)
{
    luaL_checkstack(L, 6, "error value");
    lua_pushliteral(L, "breaker");
    bool told = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 1);
    if (told)
        copy_told(L);
    lua_pushliteral(L, "breaker");
    lua_pushlstring(L, name.p, name.n);
    lua_rawset(L, -3);
    lua_pushliteral(L, "reason");
    lua_pushliteral(L, "failed");
    lua_rawset(L, -3);
}

/* The member of the error value at index, as text. [-0, +1, m] */
static const char *push_member(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
}

/* "payment failed and no fallback available: what the body said". [-0, +1, m] */
static void push_message(lua_State *L, struct str name, enum lib_breaker_end end, int detail)
{
    static const char *const ends[] = {" and no fallback available.", " and fallback failed.",
                                       " and fallback disabled."};
    int top = lua_gettop(L);
    if (end == LIB_BREAKER_REJECTED) {
        lua_pushlstring(L, name.p, name.n);
        lua_pushliteral(L, " fallback execution rejected.");
        lua_concat(L, 2);
        return;
    }
    const char *reason = push_member(L, CAUSE, "reason");
    const char *message = push_member(L, detail, "message");
    bool own = detail == CAUSE && strcmp(reason, "failed") != 0; /* the message says no more */
    lua_pushlstring(L, name.p, name.n);
    lua_pushfstring(L, " %s%s", reason, ends[end]);
    lua_pushstring(L, own || message[0] == '\0' ? "" : " ");
    lua_pushstring(L, own ? "" : message);
    lua_concat(L, 4);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* Copies members of the cause that others go by. The new value is at the top. */
static void copy_cause(lua_State *L, bool rejected)
{
    static const char *const members[] = {"breaker",        "reason", "origin", "details",
                                          "retry_after_ms", "code",   "status", "retryable"};
    size_t count = sizeof(members) / sizeof(*members) - (rejected ? 3 : 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, members[i]);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, CAUSE) == LUA_TNIL) {
            lua_pop(L, 2); /* the new one's own stays: its origin */
            continue;
        }
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, CAUSE);
    lua_setfield(L, -2, "cause");
}

/* fail() in a fallback is meant for the client: it goes on as it is. */
static bool is_on_purpose(lua_State *L, int index)
{
    bool on_purpose = strcmp(push_member(L, index, "code"), "failed") == 0;
    lua_pop(L, 1);
    return on_purpose;
}

void lib_breaker_push_end(lua_State *L, struct str name, enum lib_breaker_end end)
{
    static const char *const names[] = {"missing", "failed", "disabled", "rejected"};
    int fallback_error = 0;
    if (end == LIB_BREAKER_FAILED) {
        fail_wrap(L);
        fallback_error = lua_gettop(L);
        if (is_on_purpose(L, fallback_error))
            return;
    }
    luaL_checkstack(L, 12, "error value");
    push_message(L, name, end, fallback_error > 0 ? fallback_error : CAUSE);
    struct str message;
    message.p = lua_tolstring(L, -1, &message.n);
    fail_push(L, str_from(err_name(ERR_LIMIT)), err_status(ERR_LIMIT), err_retryable(ERR_LIMIT),
              message);
    copy_cause(L, end == LIB_BREAKER_REJECTED);
    set_text(L, "fallback", str_from(names[end]));
    if (fallback_error > 0) {
        lua_pushvalue(L, fallback_error);
        lua_setfield(L, -2, "fallback_error");
    }
}

int lib_breaker_results(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L);
}
