/* SPDX-License-Identifier: MIT */
/* The two ends of an event's way into a view: its row is fetched or made, and what the view's
 * function did to it becomes one change of the task's unit, beside the mark that the event is done.
 * Between them only that row may change, so that the rows are a function of the log. */
#include "script/convert.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/lib/store.h"

#include <lauxlib.h>

static struct strand *running(lua_State *L)
{
    return host_of(L)->current;
}

/* base: as it was read, or NULL for a new one. */
static int push_writable(lua_State *L, const struct resource *r, const struct store_row *base,
                         struct store_row *row)
{
    struct record *record = record_push_row(L, &r->shape, r->table, row);
    record->writable = true;
    record->base = base;
    record->fixed = 0;
    for (int i = 0; i < r->key_count; i++)
        record->fixed |= UINT64_C(1) << r->key_columns[i];
    running(L)->in_view = true;
    return 1;
}

static int push_found(lua_State *L, struct store_op *o)
{
    const struct resource *r = o->resource;
    struct strand *s = o->op.strand;
    const struct store_row *base = o->read.rows[0];
    if (task_wants_lane(s->task, r->table, base->id))
        return task_restart_in_lane(L, r->table, base->id);
    store_scope_seen(strand_scope(s), r->table, base->id, base->version);
    return push_writable(L, r, base, store_row_copy(strand_scope(s)->unit->arena, r->table, base));
}

/* The value of the n-th field of the view's key: stack index 2 holds the event, 3 the names of its
 * fields. */
static void read_key(lua_State *L, const struct resource *r, int n, struct arena *a,
                     struct value *ret)
{
    const struct field *f = &r->table->fields[r->key_columns[n]];
    lua_rawgeti(L, 3, n + 1);
    lua_gettable(L, 2);
    convert_check(L, lua_gettop(L), r->table->name, f, a, ret);
    lua_pop(L, 1);
    if (ret->type == VALUE_NULL)
        fail_misuse(L, "%.*s: the event has no value for %.*s, so it has no row",
                    STR_ARG(r->table->name), STR_ARG(f->name));
}

static int push_new(lua_State *L, const struct resource *r, int64_t id)
{
    struct store_row *row = lib_store_new_row(L, r);
    row->id = id;
    for (int i = 0; i < r->key_count; i++)
        read_key(L, r, i, strand_scope(running(L))->unit->arena, &row->values[r->key_columns[i]]);
    return push_writable(L, r, NULL, row);
}

static int make_later(lua_State *L, struct store_op *o)
{
    return push_new(L, o->resource, o->read.count);
}

static int fetched(lua_State *L, struct store_op *o)
{
    int64_t id;
    const struct resource *r = o->resource;
    if (o->read.row_count > 0)
        return push_found(L, o);
    if (store_next_id(host_of(L)->store, r->table, &id))
        return push_new(L, r, id);
    struct store_op *wait = lib_store_op_new(L, r, make_later);
    wait->read.kind = STORE_READ_ID;
    return lib_store_op_run(L, wait);
}

/* view_begin(view, event, fields): its row of the key that the event has in these fields, to be
 * changed until view_end. */
static int view_begin(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "a view");
    const struct resource *r = lib_store_check_resource(L, s, 1, "a view");
    lua_settop(L, 3);
    strand_scope(s);
    struct store_op *o = lib_store_op_new(L, r, fetched);
    for (int i = 0; i < r->key_count; i++) {
        read_key(L, r, i, o->read.arena, &o->read.conds[i].value);
        o->read.conds[i].column = r->key_columns[i];
    }
    o->read.kind = STORE_READ_FIND;
    o->read.cond_count = r->key_count;
    o->read.limit = 1;
    return lib_store_op_run(L, o);
}

/* The columns that were assigned another value than they had. */
static uint64_t changed(const struct record *record, const struct store_table *t)
{
    uint64_t mask = 0;
    for (int i = 0; i < t->field_count; i++)
        if (record->written >> i & 1 && !value_eq(&record->values[i], &record->base->values[i]))
            mask |= UINT64_C(1) << i;
    return mask;
}

static void keep(lua_State *L, struct store_scope *scope, const struct resource *r,
                 const struct record *record)
{
    uint64_t mask = record->base != NULL ? changed(record, r->table) : 0;
    if (record->base != NULL && mask == 0)
        return;
    lib_store_check_row(L, r, record->row);
    if (record->base == NULL)
        store_scope_insert(scope, r->table, record->row);
    else
        store_scope_update(scope, r->table, record->base, record->row, mask);
}

/* view_end(row, kept): what became of it; kept == false deletes it. */
static int view_end(lua_State *L)
{
    struct strand *s = strand_check(L, "a view");
    struct record *record = record_at(L, 1);
    luaL_argcheck(L, record != NULL && record->writable && s->in_view, 1, "a view's row");
    const struct resource *r =
        program_resource(s->task->host->program, s->service, record->shape->name);
    s->in_view = record->writable = false;
    bool gone = lua_isboolean(L, 2) && !lua_toboolean(L, 2);
    if (!gone)
        keep(L, strand_scope(s), r, record);
    else if (record->base != NULL)
        store_scope_delete(strand_scope(s), r->table, record->base);
    return 0;
}

void lib_view_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"view_begin", view_begin},
        {"view_end", view_end},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
