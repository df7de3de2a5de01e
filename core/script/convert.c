/* SPDX-License-Identifier: MIT */
/* One place for what a value is on either side of the seam, so that a number that came by HTTP, by
 * a script or from the store is the same number. */
#include "script/convert.h"

#include "script/budget.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/record.h"

#include <lauxlib.h>

#include <math.h>
#include <stdlib.h>

#define LIST_METATABLE "moontide.list"
#define BUFFER_METATABLE "moontide.buffer"
#define ARENA_METATABLE "moontide.arena"
#define DEPTH_MAX 64

void convert_push_json(lua_State *L, const struct json *j)
{
    luaL_checkstack(L, 4, "JSON nested too deep");
    switch (j->type) {
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case JSON_BOOL:
        lua_pushboolean(L, j->b);
        break;
    case JSON_INT:
        lua_pushinteger(L, j->i);
        break;
    case JSON_NUMBER:
        lua_pushnumber(L, j->n);
        break;
    case JSON_TEXT:
        lua_pushlstring(L, j->s.p, j->s.n);
        break;
    case JSON_LIST:
        lua_createtable(L, (int)j->count, 0);
        for (size_t i = 0; i < j->count; i++) {
            convert_push_json(L, &j->items[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        convert_mark_list(L);
        break;
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)j->count);
        for (size_t i = 0; i < j->count; i++) {
            if (j->items[i].type == JSON_NULL)
                continue;
            lua_pushlstring(L, j->names[i].p, j->names[i].n);
            convert_push_json(L, &j->items[i]);
            lua_rawset(L, -3);
        }
        break;
    }
}

static void push_json_text(lua_State *L, struct str text)
{
    struct arena *a = convert_arena(L);
    struct json j;
    struct err err;
    if (json_parse(a, text, DEPTH_MAX, &j, &err) != 0)
        lua_pushlstring(L, text.p, text.n);
    else
        convert_push_json(L, &j);
    convert_arena_end(L, -2);
    lua_remove(L, -2);
}

void convert_push(lua_State *L, const struct field *f, const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
        lua_pushnil(L);
        break;
    case VALUE_BOOL:
        lua_pushboolean(L, v->b);
        break;
    case VALUE_INT:
        if (f->type == FIELD_DECIMAL)
            lua_pushnumber(L, field_decimal_to_number(f, v->i));
        else
            lua_pushinteger(L, v->i);
        break;
    case VALUE_NUMBER:
        lua_pushnumber(L, v->n);
        break;
    case VALUE_TEXT:
        if (f->type == FIELD_JSON)
            push_json_text(L, v->s);
        else
            lua_pushlstring(L, v->s.p, v->s.n);
        break;
    }
}

/* A scalar Lua value as the JSON value that a client would have sent. False for anything else. */
static bool scalar_json(lua_State *L, int index, struct json *ret)
{
    memset(ret, 0, sizeof(*ret));
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        ret->type = JSON_NULL;
        return true;
    case LUA_TLIGHTUSERDATA:
        ret->type = JSON_NULL;
        return lua_touserdata(L, index) == NULL;
    case LUA_TBOOLEAN:
        ret->type = JSON_BOOL;
        ret->b = lua_toboolean(L, index);
        return true;
    case LUA_TNUMBER:
        ret->type = lua_isinteger(L, index) ? JSON_INT : JSON_NUMBER;
        if (ret->type == JSON_INT)
            ret->i = lua_tointeger(L, index);
        else
            ret->n = lua_tonumber(L, index);
        return true;
    case LUA_TSTRING:
        ret->type = JSON_TEXT;
        ret->s.p = lua_tolstring(L, index, &ret->s.n);
        return true;
    default:
        return false;
    }
}

/* Numbers need their spelling where text or decimals are wanted. */
static void spell(struct json *j, char *space, size_t size)
{
    struct buf out = BUF_INIT;
    if (j->type == JSON_INT)
        buf_add_int(&out, j->i);
    else if (j->type == JSON_NUMBER)
        json_number(&out, j->n);
    size_t n = out.n < size ? out.n : size;
    if (n > 0)
        memcpy(space, out.p, n);
    j->raw = (struct str){space, n};
    buf_deinit(&out);
}

static void check_json_field(lua_State *L, int index, struct arena *a, struct value *ret)
{
    if (lua_isnil(L, index) ||
        (lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL)) {
        *ret = VALUE_NONE;
        return;
    }
    struct buf *out = convert_buffer(L);
    convert_json(L, index, out);
    budget_charge(L, out->n);
    *ret = value_text(arena_str(a, buf_str(out)));
    lua_pop(L, 1);
}

void convert_check(lua_State *L, int index, struct str owner, const struct field *f,
                   struct arena *a, struct value *ret)
{
    index = lua_absindex(L, index);
    if (f->type == FIELD_JSON) {
        check_json_field(L, index, a, ret);
        return;
    }
    struct json j;
    char space[40];
    if (!scalar_json(L, index, &j)) {
        fail_misuse(L, "%.*s.%.*s: expected %s %s, got a %s", STR_ARG(owner), STR_ARG(f->name),
                    f->type == FIELD_INTEGER ? "an" : "a", field_type_name(f->type),
                    luaL_typename(L, index));
        return;
    }
    if (j.type == JSON_INT || j.type == JSON_NUMBER)
        spell(&j, space, sizeof(space));
    struct err err;
    if (j.type == JSON_TEXT && f->type == FIELD_TEXT &&
        (!str_is_utf8(j.s) || memchr(j.s.p, 0, j.s.n) != NULL))
        fail_misuse(L, "%.*s.%.*s: text must be UTF-8 without NUL", STR_ARG(owner),
                    STR_ARG(f->name));
    if (j.type == JSON_TEXT)
        budget_charge(L, j.s.n);
    if (field_from_json(f, &j, a, ret, &err) != 0)
        fail_misuse(L, "%.*s.%.*s: %s", STR_ARG(owner), STR_ARG(f->name), err.message);
}

/* ---- Lua to JSON ---- */

static int buffer_gc(lua_State *L)
{
    buf_deinit(lua_touserdata(L, 1));
    return 0;
}

struct buf *convert_buffer(lua_State *L)
{
    struct buf *b = lua_newuserdatauv(L, sizeof(*b), 0);
    *b = (struct buf)BUF_INIT;
    luaL_setmetatable(L, BUFFER_METATABLE);
    return b;
}

static int arena_gc(lua_State *L)
{
    struct arena **owner = lua_touserdata(L, 1);
    if (*owner != NULL)
        arena_free(*owner);
    *owner = NULL;
    return 0;
}

struct arena *convert_arena(lua_State *L)
{
    struct arena **owner = lua_newuserdatauv(L, sizeof(*owner), 0);
    *owner = NULL;
    luaL_setmetatable(L, ARENA_METATABLE);
    return *owner = arena_new(1024);
}

void convert_arena_end(lua_State *L, int index)
{
    struct arena **owner = lua_touserdata(L, index);
    arena_free(*owner);
    *owner = NULL;
}

void convert_mark_list(lua_State *L)
{
    luaL_setmetatable(L, LIST_METATABLE);
}

/* `for _, row in store.find("rows") do` calls the list. */
static int list_call(lua_State *L)
{
    return fail_misuse(L, "a list cannot be called: write for i, value in ipairs(list) do");
}

void convert_open(lua_State *L)
{
    luaL_newmetatable(L, LIST_METATABLE);
    lua_pushcfunction(L, list_call);
    lua_setfield(L, -2, "__call");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newmetatable(L, BUFFER_METATABLE);
    lua_pushcfunction(L, buffer_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newmetatable(L, ARENA_METATABLE);
    lua_pushcfunction(L, arena_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

static void write_value(lua_State *L, int index, struct buf *out, int depth);

static void write_record(struct buf *out, const struct record *r)
{
    buf_addc(out, '{');
    if (r->table != NULL) {
        json_text(out, r->shape->id_name);
        buf_addc(out, ':');
        buf_add_int(out, r->row->id);
    }
    for (int i = 0; i < r->shape->field_count; i++) {
        if (out->p[out->n - 1] != '{')
            buf_addc(out, ',');
        json_text(out, r->shape->fields[i].name);
        buf_addc(out, ':');
        field_write_json(out, &r->shape->fields[i], &r->values[i]);
    }
    buf_addc(out, '}');
}

bool convert_is_marked(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, LIST_METATABLE);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

static bool is_list(lua_State *L, int index)
{
    return convert_is_marked(L, index) || lua_rawlen(L, index) > 0;
}

/* What a list would leave out is refused rather than lost. */
static void check_list(lua_State *L, int index, lua_Integer n)
{
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        lua_pop(L, 1);
        if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n)
            continue;
        const char *quote = lua_type(L, -1) == LUA_TSTRING ? "\"" : "";
        fail_misuse(L,
                    "a JSON list has the key %s%s%s beside its %d entries: a table is a list or an "
                    "object",
                    quote, luaL_tolstring(L, -1, NULL), quote, (int)n);
    }
}

static void write_list(lua_State *L, int index, struct buf *out, int depth)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    check_list(L, index, n);
    buf_addc(out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            buf_addc(out, ',');
        lua_rawgeti(L, index, i);
        write_value(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    buf_addc(out, ']');
}

static int compare_names(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* Pushes a userdata with the sorted names of the table, which keeps their texts; returns their
 * number. */
static size_t push_sorted_names(lua_State *L, int index, struct str **ret_names)
{
    size_t n = 0;
    lua_pushnil(L);
    for (; lua_next(L, index) != 0; n++) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            fail_misuse(L, "a JSON object has a key that is a %s", luaL_typename(L, -1));
    }
    struct str *names = lua_newuserdatauv(L, n * sizeof(*names) + 1, 0);
    lua_pushnil(L);
    for (size_t i = 0; lua_next(L, index) != 0; i++) {
        lua_pop(L, 1);
        names[i].p = lua_tolstring(L, -1, &names[i].n);
    }
    qsort(names, n, sizeof(*names), compare_names);
    *ret_names = names;
    return n;
}

static void write_object(lua_State *L, int index, struct buf *out, int depth)
{
    struct str *names;
    size_t n = push_sorted_names(L, index, &names);
    buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_addc(out, ',');
        json_text(out, names[i]);
        buf_addc(out, ':');
        lua_pushlstring(L, names[i].p, names[i].n);
        lua_rawget(L, index);
        write_value(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    buf_addc(out, '}');
    lua_pop(L, 1);
}

static void write_number(lua_State *L, int index, struct buf *out)
{
    if (lua_isinteger(L, index)) {
        buf_add_int(out, lua_tointeger(L, index));
        return;
    }
    double n = lua_tonumber(L, index);
    if (isnan(n) || isinf(n))
        fail_misuse(L, "JSON has no spelling for %f", n);
    json_number(out, n);
}

/* A table of the host may have a member that is made when it is looked at: __lazy is its name. */
static void make_whole(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__lazy") == LUA_TNIL)
        return;
    lua_gettable(L, index);
    lua_pop(L, 1);
}

static void write_value(lua_State *L, int index, struct buf *out, int depth)
{
    luaL_checkstack(L, 6, "JSON nested too deep");
    if (out->n > BUDGET_TEXT)
        fail_raise(L, ERR_BUDGET, "more than 8 MiB of JSON");
    struct record *r;
    struct str s;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        buf_lit(out, "null");
        return;
    case LUA_TBOOLEAN:
        buf_adds(out, lua_toboolean(L, index) ? STR("true") : STR("false"));
        return;
    case LUA_TNUMBER:
        write_number(L, index, out);
        return;
    case LUA_TSTRING:
        s.p = lua_tolstring(L, index, &s.n);
        if (s.n > BUDGET_TEXT)
            fail_raise(L, ERR_BUDGET, "more than 8 MiB of JSON");
        json_text(out, s);
        return;
    case LUA_TLIGHTUSERDATA:
        buf_lit(out, "null");
        return;
    case LUA_TUSERDATA:
        r = record_at(L, index);
        if (r != NULL) {
            write_record(out, r);
            return;
        }
        break;
    case LUA_TTABLE:
        if (depth >= DEPTH_MAX)
            fail_misuse(L, "a value for JSON is nested deeper than %d (or contains itself)",
                        DEPTH_MAX);
        frozen_see(L, index);
        make_whole(L, index);
        if (is_list(L, index))
            write_list(L, index, out, depth);
        else
            write_object(L, index, out, depth);
        return;
    default:
        break;
    }
    fail_misuse(L, "JSON cannot hold a %s", luaL_typename(L, index));
}

void convert_json(lua_State *L, int index, struct buf *out)
{
    write_value(L, lua_absindex(L, index), out, 0);
}
