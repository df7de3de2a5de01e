/* SPDX-License-Identifier: MIT */
/* Settings and system files are written in Lua because people who write scripts know its table
 * syntax; as data they may not do more than a JSON file could. So a file runs in a state of its own
 * with no library, no globals, a budget of instructions and of memory, and what it returns is
 * copied out before the state goes. */
#include "script/datafile.h"

#include "base/file.h"

#include <lauxlib.h>
#include <lua.h>

#include <math.h>
#include <stdlib.h>

#define FILE_MAX_BYTES (1 << 20)
#define MEMORY_MAX_BYTES (8 << 20)
#define INSTRUCTIONS_MAX 1000000
#define INSTRUCTIONS_STEP 1000
#define DEPTH_MAX 32
#define VALUES_MAX 100000
#define CHUNK "=data" /* Lua cuts long names: messages carry this, the path replaces it */

static const char nothing_key = 0; /* registry */

struct reader {
    const char *path;
    struct str text;
    struct arena *arena;
    struct json value;
    struct err *err;
    const char *const *names; /* NULL: the whole table, which must be data */
    size_t name_count;
    size_t memory; /* bytes that the state holds */
    int steps;     /* of INSTRUCTIONS_STEP each */
    size_t values;
    char where[200]; /* of the value being copied: "breakers.payment" */
    int depth;
};

static void *allocate(void *ctx, void *old, size_t old_size, size_t size)
{
    struct reader *r = ctx;
    size_t before = old ? old_size : 0; /* without a block old_size is a kind of object */
    if (size == 0) {
        r->memory -= before;
        free(old);
        return NULL;
    }
    if (size > before && size - before > MEMORY_MAX_BYTES - r->memory)
        return NULL;
    void *block = realloc(old, size);
    if (block)
        r->memory += size - before;
    return block;
}

static struct reader *reader_of(lua_State *L)
{
    void *ctx;
    lua_getallocf(L, &ctx);
    return ctx;
}

/* The state holds nothing but this file, so that the error may simply end it. */
static void count_steps(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct reader *r = reader_of(L);
    if (++r->steps < INSTRUCTIONS_MAX / INSTRUCTIONS_STEP)
        return;
    luaL_where(L, 0);
    lua_pushfstring(L, "more than %d instructions: settings are data", INSTRUCTIONS_MAX);
    lua_concat(L, 2);
    lua_error(L);
}

static int refuse(struct reader *r, const char *what)
{
    const char *where = r->where[0] ? r->where + 1 : "the value returned";
    return err_set(r->err, ERR_CONFIG, "%s: %s: %s", r->path, where, what);
}

/* [-0, +0, -] of a function on top of the stack: the error names the line where it begins. */
static int refuse_function(lua_State *L, struct reader *r)
{
    lua_Debug ar;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &ar);
    return err_set(r->err, ERR_CONFIG, "%s:%d: %s: functions are not data", r->path, ar.linedefined,
                   r->where[0] ? r->where + 1 : "the value returned");
}

static int copy_number(lua_State *L, struct reader *r, struct json *ret)
{
    struct buf raw = BUF_INIT;
    struct json value = {.type = JSON_INT};
    if (lua_isinteger(L, -1)) {
        value.i = lua_tointeger(L, -1);
        buf_add_int(&raw, value.i);
    } else {
        value.type = JSON_NUMBER;
        value.n = lua_tonumber(L, -1);
        if (!isfinite(value.n))
            return refuse(r, "not a finite number");
        json_number(&raw, value.n);
    }
    value.raw = arena_str(r->arena, buf_str(&raw));
    buf_deinit(&raw);
    *ret = value;
    return 0;
}

/* Of a string on the stack; copied, since the state goes. */
static int copy_text(lua_State *L, struct reader *r, int index, struct str *ret)
{
    struct str s;
    s.p = lua_tolstring(L, index, &s.n);
    if (!str_is_utf8(s) || memchr(s.p, '\0', s.n))
        return refuse(r, "text that is not UTF-8");
    *ret = arena_str(r->arena, s);
    return 0;
}

static int copy_value(lua_State *L, struct reader *r, struct json *ret);

/* Copies the value on top of the stack as the member `name` of the table being copied. */
static int copy_member(lua_State *L, struct reader *r, struct str name, struct json *ret)
{
    size_t before = strlen(r->where);
    snprintf(r->where + before, sizeof(r->where) - before, ".%.*s", STR_ARG(name));
    r->depth++;
    int failed = r->depth > DEPTH_MAX ? refuse(r, "nested too deep") : copy_value(L, r, ret);
    r->depth--;
    if (!failed)
        r->where[before] = '\0';
    return failed;
}

static int copy_list(lua_State *L, struct reader *r, size_t count, struct json *ret)
{
    struct json list = {.type = JSON_LIST};
    list.items = arena_zalloc(r->arena, count * sizeof(*list.items));
    list.count = count;
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%zu", i + 1);
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (copy_member(L, r, str_from(name), &list.items[i]))
            return -1;
        lua_pop(L, 1);
    }
    *ret = list;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int copy_object(lua_State *L, struct reader *r, size_t count, struct json *ret)
{
    struct json object = {.type = JSON_OBJECT};
    object.items = arena_zalloc(r->arena, (count + 1) * sizeof(*object.items));
    object.names = arena_zalloc(r->arena, (count + 1) * sizeof(*object.names));
    lua_pushnil(L);
    for (; lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return refuse(r, "a table has either names or the numbers from 1 as keys");
        if (copy_text(L, r, -2, &object.names[object.count++]))
            return -1;
    }
    if (count > 1)
        qsort(object.names, count, sizeof(*object.names), compare_names);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, object.names[i].p, object.names[i].n);
        lua_rawget(L, -2);
        if (copy_member(L, r, object.names[i], &object.items[i]))
            return -1;
        lua_pop(L, 1);
    }
    *ret = object;
    return 0;
}

static int copy_table(lua_State *L, struct reader *r, struct json *ret)
{
    size_t count = 0;
    bool list = true;
    luaL_checkstack(L, 6, NULL);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        count++;
    if (r->values + count > VALUES_MAX)
        return refuse(r, "too many values");
    for (size_t i = 1; list && i <= count; i++) {
        list = lua_rawgeti(L, -1, (lua_Integer)i) != LUA_TNIL;
        lua_pop(L, 1);
    }
    return count > 0 && list ? copy_list(L, r, count, ret) : copy_object(L, r, count, ret);
}

/* Copies the value on top of the stack. */
static int copy_value(lua_State *L, struct reader *r, struct json *ret)
{
    r->values++;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        *ret = (struct json){.type = JSON_BOOL, .b = lua_toboolean(L, -1)};
        return 0;
    case LUA_TNUMBER:
        return copy_number(L, r, ret);
    case LUA_TSTRING:
        ret->type = JSON_TEXT;
        return copy_text(L, r, -1, &ret->s);
    case LUA_TTABLE:
        return copy_table(L, r, ret);
    default:
        return refuse_function(L, r);
    }
}

/* Any name, called or indexed, is this again. */
static int push_nothing(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &nothing_key);
    return 1;
}

/* [-0, +1, m] */
static void push_lenient(lua_State *L)
{
    static const luaL_Reg events[] = {{"__index", push_nothing},
                                      {"__call", push_nothing},
                                      {"__concat", push_nothing},
                                      {NULL, NULL}};
    lua_newtable(L);
    luaL_newlib(L, events);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &nothing_key);
}

/* Leaves a table with the wanted members of the one on top, as far as they are plain. */
static void pick(lua_State *L, const struct reader *r)
{
    lua_newtable(L);
    for (size_t i = 0; i < r->name_count; i++) {
        lua_pushstring(L, r->names[i]);
        int type = lua_rawget(L, -3);
        bool plain = type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TBOOLEAN;
        if (!plain) {
            lua_pop(L, 1);
            continue;
        }
        lua_setfield(L, -2, r->names[i]);
    }
}

/* Runs protected; its one result is false when err has been filled. */
static int read_protected(lua_State *L)
{
    struct reader *r = reader_of(L);
    if (luaL_loadbufferx(L, r->text.p, r->text.n, CHUNK, "t") != LUA_OK)
        return lua_error(L);
    if (r->names != NULL)
        push_lenient(L);
    else
        lua_newtable(L);
    lua_setupvalue(L, -2, 1); /* its _ENV: there are no globals */
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (r->names != NULL && lua_istable(L, -1))
        pick(L, r);
    bool copied = lua_istable(L, -1) ? copy_value(L, r, &r->value) == 0
                                     : refuse(r, "expected a table: return { ... }") == 0;
    lua_pushboolean(L, copied);
    return 1;
}

/* "data:3: message" becomes "settings.lua:3: message". */
static int refuse_lua(struct reader *r, const char *message)
{
    struct str prefix = {CHUNK + 1, sizeof(CHUNK) - 2};
    if (!message)
        message = "an error without a message";
    if (!str_starts(str_from(message), prefix))
        return err_set(r->err, ERR_CONFIG, "%s: %s", r->path, message);
    return err_set(r->err, ERR_CONFIG, "%s%s", r->path, message + prefix.n);
}

static int run(struct reader *r)
{
    lua_State *L = lua_newstate(allocate, r);
    if (!L)
        return err_set(r->err, ERR_INTERNAL, "no memory for a Lua state");
    lua_sethook(L, count_steps, LUA_MASKCOUNT, INSTRUCTIONS_STEP);
    lua_pushcfunction(L, read_protected);
    int failed = -1;
    if (lua_pcall(L, 0, 1, 0) != LUA_OK)
        refuse_lua(r, lua_tostring(L, -1));
    else if (lua_toboolean(L, -1))
        failed = 0;
    lua_close(L);
    return failed;
}

int datafile_read(const char *path, struct arena *a, struct json *ret, struct err *err)
{
    struct buf text = BUF_INIT;
    int failed = file_read(path, FILE_MAX_BYTES, &text, err);
    if (failed && err)
        err->code = ERR_CONFIG;
    if (!failed)
        failed = datafile_parse(path, buf_str(&text), a, ret, err);
    buf_deinit(&text);
    return failed;
}

int datafile_parse(const char *path, struct str text, struct arena *a, struct json *ret,
                   struct err *err)
{
    struct reader r = {.path = path, .text = text, .arena = a, .err = err};
    if (run(&r))
        return -1;
    *ret = r.value;
    return 0;
}

int datafile_peek_text(struct str text, const char *const *names, size_t count, struct arena *a,
                       struct json *ret, struct err *err)
{
    struct reader r = {.path = "system", .text = text, .arena = a, .err = err, .names = names};
    r.name_count = count;
    if (run(&r))
        return -1;
    *ret = r.value;
    return 0;
}

int datafile_peek(const char *path, const char *const *names, size_t count, struct arena *a,
                  struct json *ret, struct err *err)
{
    struct buf text = BUF_INIT;
    int failed = file_read(path, FILE_MAX_BYTES, &text, err);
    if (!failed)
        failed = datafile_peek_text(buf_str(&text), names, count, a, ret, err);
    buf_deinit(&text);
    return failed;
}
