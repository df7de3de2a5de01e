/* SPDX-License-Identifier: MIT */
/* A row of five columns as a Lua table costs ten times the memory of this and must be read back
 * after every hook; a script reads two or three fields of it. So a record is a window on the arena.
 */
#include "script/record.h"

#include "script/convert.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <stdlib.h>

#define FIELD_NONE (-2)

int record_field(const struct record_shape *shape, struct str name)
{
    for (int i = 0; i < shape->field_count; i++)
        if (str_eq(shape->fields[i].name, name))
            return i;
    return shape->id_name.n > 0 && str_eq(shape->id_name, name) ? STORE_COLUMN_ID : FIELD_NONE;
}

int record_unknown_field(lua_State *L, const struct record_shape *shape, struct str name)
{
    struct str names[STORE_FIELDS_MAX + 1];
    size_t n = 0;
    for (int i = 0; i < shape->field_count; i++)
        names[n++] = shape->fields[i].name;
    if (shape->id_name.n > 0)
        names[n++] = shape->id_name;
    struct str nearest = str_nearest(name, names, n);
    if (nearest.n > 0)
        return fail_misuse(L, "%.*s has no field \"%.*s\"; did you mean \"%.*s\"?",
                           STR_ARG(shape->name), STR_ARG(name), STR_ARG(nearest));
    return fail_misuse(L, "%.*s has no field \"%.*s\"", STR_ARG(shape->name), STR_ARG(name));
}

static void check_alive(lua_State *L, const struct record *r)
{
    if (r->task->serial != r->serial)
        fail_misuse(L, "this %s of %.*s belongs to a task that has ended; keep values, not rows",
                    r->table != NULL ? "row" : "event", STR_ARG(r->shape->name));
}

/* Upvalue 1: name -> number of the field (1-based; 0 the id). */
static int field_of_key(lua_State *L, const struct record *r)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_type(L, -1) == LUA_TNUMBER) {
        int number = (int)lua_tointeger(L, -1) - 1;
        lua_pop(L, 1);
        return number;
    }
    size_t n;
    const char *p = luaL_tolstring(L, 2, &n);
    return record_unknown_field(L, r->shape, (struct str){p, n});
}

static void push_field(lua_State *L, const struct record *r, int field)
{
    if (field == STORE_COLUMN_ID)
        lua_pushinteger(L, r->row->id);
    else
        convert_push(L, &r->shape->fields[field], &r->values[field]);
}

static int record_index(lua_State *L)
{
    struct record *r = lua_touserdata(L, 1);
    check_alive(L, r);
    push_field(L, r, field_of_key(L, r));
    return 1;
}

static int record_newindex(lua_State *L)
{
    struct record *r = lua_touserdata(L, 1);
    check_alive(L, r);
    int field = field_of_key(L, r);
    if (r->table == NULL)
        return fail_misuse(L, "events are facts and cannot be changed (%.*s)",
                           STR_ARG(r->shape->name));
    if (!r->writable || field == STORE_COLUMN_ID)
        return fail_misuse(
            L,
            "this row of %.*s cannot be assigned to; use store.update(\"%.*s\", id, { %s = ... })",
            STR_ARG(r->shape->name), STR_ARG(r->shape->name), lua_tostring(L, 2));
    if (r->fixed >> field & 1)
        return fail_misuse(L, "%.*s.%s says which row this is and cannot be changed",
                           STR_ARG(r->shape->name), lua_tostring(L, 2));
    convert_check(L, 3, r->shape->name, &r->shape->fields[field],
                  strand_scope(r->task->host->current)->unit->arena, &r->values[field]);
    r->written |= UINT64_C(1) << field;
    return 0;
}

/* Upvalues: the record, position. Iterates id, then the fields that have a value. */
static int record_iterate(lua_State *L)
{
    struct record *r = lua_touserdata(L, lua_upvalueindex(1));
    check_alive(L, r);
    int at = (int)lua_tointeger(L, lua_upvalueindex(2));
    while (at < r->shape->field_count && at >= 0 && r->values[at].type == VALUE_NULL)
        at++;
    lua_pushinteger(L, at + 1);
    lua_replace(L, lua_upvalueindex(2));
    if (at >= r->shape->field_count)
        return 0;
    struct str name = at < 0 ? r->shape->id_name : r->shape->fields[at].name;
    lua_pushlstring(L, name.p, name.n);
    push_field(L, r, at);
    return 2;
}

static int record_pairs(lua_State *L)
{
    struct record *r = lua_touserdata(L, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, r->table != NULL ? STORE_COLUMN_ID : 0);
    lua_pushcclosure(L, record_iterate, 2);
    return 1;
}

static int record_tostring(lua_State *L)
{
    struct record *r = lua_touserdata(L, 1);
    check_alive(L, r);
    struct buf *out = convert_buffer(L);
    buf_adds(out, r->shape->name);
    buf_addc(out, ' ');
    convert_json(L, 1, out);
    struct str s = buf_str(out);
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

static const char record_mark =
    0; /* metatable[&record_mark] = true tells records from other userdata */

void record_open(lua_State *L, const struct record_shape *shape)
{
    luaL_checkstack(L, 6, "record");
    lua_createtable(L, 0, 8);
    lua_createtable(L, 0, shape->field_count + 1);
    if (shape->id_name.n > 0) {
        lua_pushlstring(L, shape->id_name.p, shape->id_name.n);
        lua_pushinteger(L, STORE_COLUMN_ID + 1);
        lua_rawset(L, -3);
    }
    for (int i = 0; i < shape->field_count; i++) {
        lua_pushlstring(L, shape->fields[i].name.p, shape->fields[i].name.n);
        lua_pushinteger(L, i + 1);
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, record_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, record_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, record_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushcfunction(L, record_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushlstring(L, shape->name.p, shape->name.n);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, true);
    lua_rawsetp(L, -2, &record_mark);
    lua_rawsetp(L, LUA_REGISTRYINDEX, shape);
}

static struct record *push_record(lua_State *L, const struct record_shape *shape)
{
    struct task *t = host_of(L)->current->task;
    struct record *r = lua_newuserdatauv(L, sizeof(*r), 0);
    memset(r, 0, sizeof(*r));
    r->shape = shape;
    r->task = t;
    r->serial = t->serial;
    lua_rawgetp(L, LUA_REGISTRYINDEX, shape);
    lua_setmetatable(L, -2);
    return r;
}

struct record *record_push_row(lua_State *L, const struct record_shape *shape,
                               const struct store_table *table, struct store_row *row)
{
    struct record *r = push_record(L, shape);
    r->table = table;
    r->row = row;
    r->values = row->values;
    return r;
}

struct record *record_push_event(lua_State *L, const struct record_shape *shape,
                                 const struct store_event *event)
{
    struct record *r = push_record(L, shape);
    r->event = event->type;
    r->values = event->values;
    return r;
}

struct record *record_at(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    bool is_record = lua_rawgetp(L, -1, &record_mark) == LUA_TBOOLEAN;
    lua_pop(L, 2);
    if (!is_record)
        return NULL;
    struct record *r = lua_touserdata(L, index);
    check_alive(L, r);
    return r;
}
