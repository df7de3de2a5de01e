/* SPDX-License-Identifier: MIT */
/* store.get, find, first, count: every one may wait, SQLite just answers at once. */
#include "script/convert.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/host.h"
#include "script/lib/store.h"

#include <lauxlib.h>

#define PAGE_ROWS 200

static int no_such_table(lua_State *L, const struct program *p, struct strand *s, struct str name,
                         const char *word)
{
    struct str names[64];
    size_t n = 0;
    for (int i = 0; i < p->resource_count; i++) {
        const struct resource *r = &p->resources[i];
        if (r->service == s->service && n < 64)
            names[n++] = r->table->name;
        else if (str_eq(r->table->name, name))
            return fail_misuse(L,
                               "%s: \"%.*s\" belongs to service %.*s, not to %.*s; services talk "
                               "by http or by events",
                               word, STR_ARG(name), STR_ARG(r->service->name),
                               STR_ARG(s->service->name));
    }
    struct str nearest = str_nearest(name, names, n);
    if (nearest.n > 0)
        return fail_misuse(L, "%s: service %.*s has no resource \"%.*s\"; did you mean \"%.*s\"?",
                           word, STR_ARG(s->service->name), STR_ARG(name), STR_ARG(nearest));
    return fail_misuse(L, "%s: service %.*s has no resource \"%.*s\"", word,
                       STR_ARG(s->service->name), STR_ARG(name));
}

const struct resource *lib_store_check_resource(lua_State *L, struct strand *s, int index,
                                                const char *word)
{
    struct str name = {NULL, 0};
    if (lua_type(L, index) != LUA_TSTRING)
        fail_misuse(L, "%s: the first argument must be the name of a resource, got a %s", word,
                    luaL_typename(L, index));
    name.p = lua_tolstring(L, index, &name.n);
    const struct program *p = s->task->host->program;
    const struct resource *r = program_resource(p, s->service, name);
    if (r == NULL)
        no_such_table(L, p, s, name, word);
    return r;
}

int64_t lib_store_check_id(lua_State *L, int index, const struct resource *r, const char *word)
{
    struct record *record = record_at(L, index);
    if (record != NULL && record->table == r->table)
        return record->row->id;
    int is_integer = 0;
    int64_t id = lua_tointegerx(L, index, &is_integer);
    if (!is_integer)
        fail_misuse(L, "%s: the second argument must be an id or a row of %.*s, got a %s", word,
                    STR_ARG(r->table->name), luaL_typename(L, index));
    return id;
}

void lib_store_push_row(lua_State *L, const struct resource *r, struct store_row *row)
{
    struct strand *s = host_of(L)->current;
    if (row->version > 0)
        store_scope_seen(strand_scope(s), r->table, row->id, row->version);
    record_push_row(L, &r->shape, r->table, row);
}

/* ---- the op ---- */

static void store_op_cancel(struct op *op)
{
    if (!op->completed)
        store_read_cancel(&((struct store_op *)op)->read);
}

static int store_op_push(lua_State *L, struct op *op)
{
    struct store_op *o = (struct store_op *)op;
    if (o->read.failed)
        return fail_raise_err(L, &o->read.err);
    return o->then(L, o);
}

static const struct op_class store_op_class = {store_op_cancel, store_op_push};

static void store_op_done(struct store_read *r)
{
    op_complete(&((struct store_op *)r->owner)->op);
}

struct store_op *lib_store_op_new(lua_State *L, const struct resource *resource,
                                  int (*then)(lua_State *L, struct store_op *o))
{
    struct store_op *o = (struct store_op *)op_new(L, sizeof(*o), &store_op_class);
    struct strand *s = o->op.strand;
    o->resource = resource;
    o->then = then;
    o->read.table = resource != NULL ? resource->table : NULL;
    o->read.order_column = STORE_COLUMN_ID;
    o->read.arena = s->task->arena;
    o->read.scope = s->scope;
    o->read.snapshot = s->snapshot;
    o->read.done = store_op_done;
    o->read.owner = o;
    return o;
}

int lib_store_op_run(lua_State *L, struct store_op *o)
{
    store_read_start(o->op.strand->task->host->session, &o->read);
    return op_await(L, &o->op);
}

/* ---- conditions and options ---- */

static void add_condition(lua_State *L, struct store_op *o, struct str name, const char *word)
{
    const struct record_shape *shape = &o->resource->shape;
    if (o->read.cond_count == STORE_CONDS)
        fail_misuse(L, "%s: more than %d conditions", word, STORE_CONDS);
    struct store_cond *c = &o->read.conds[o->read.cond_count];
    c->column = record_field(shape, name);
    if (c->column == STORE_COLUMN_ID)
        c->value = value_int(lib_store_check_id(L, -1, o->resource, word));
    else if (c->column < 0)
        record_unknown_field(L, shape, name);
    else
        convert_check(L, -1, shape->name, &shape->fields[c->column], o->read.arena, &c->value);
    o->read.cond_count++;
}

void lib_store_check_where(lua_State *L, int index, struct store_op *o, const char *word)
{
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index))
        fail_misuse(L, "%s: conditions are a table { field = value }, got a %s", word,
                    luaL_typename(L, index));
    frozen_see(L, index);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct str name;
        if (lua_type(L, -2) != LUA_TSTRING)
            fail_misuse(L, "%s: conditions are a table { field = value }", word);
        name.p = lua_tolstring(L, -2, &name.n);
        add_condition(L, o, name, word);
        lua_pop(L, 1);
    }
}

static int64_t option_number(lua_State *L, const char *word, const char *name)
{
    int is_integer;
    int64_t n = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || n < 0)
        fail_misuse(L, "%s: option \"%s\" must be an integer from 0", word, name);
    return n;
}

static void check_order(lua_State *L, struct store_op *o, const char *word)
{
    size_t n;
    if (lua_type(L, -1) != LUA_TSTRING)
        fail_misuse(L, "%s: option \"order\" must be a field in quotes, got a %s", word,
                    luaL_typename(L, -1));
    const char *p = lua_tolstring(L, -1, &n);
    o->read.descending = n > 0 && p[0] == '-';
    struct str name = {p + (o->read.descending ? 1 : 0), n - (o->read.descending ? 1 : 0)};
    o->read.order_column = record_field(&o->resource->shape, name);
    if (o->read.order_column < STORE_COLUMN_ID)
        record_unknown_field(L, &o->resource->shape, name);
}

/* { order = "field" or "-field", limit = n, offset = n } */
static void check_options(lua_State *L, int index, struct store_op *o, const char *word)
{
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index))
        fail_misuse(L, "%s: options are a table { order, limit, offset }, got a %s", word,
                    luaL_typename(L, index));
    frozen_see(L, index);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        if (str_eq(name, STR("order")))
            check_order(L, o, word);
        else if (str_eq(name, STR("limit")))
            o->read.limit = option_number(L, word, "limit");
        else if (str_eq(name, STR("offset")))
            o->read.offset = option_number(L, word, "offset");
        else
            fail_misuse(L, "%s: unknown option \"%.*s\"; there are order, limit, offset", word,
                        STR_ARG(name));
        lua_pop(L, 1);
    }
}

/* ---- the words ---- */

static int first_row(lua_State *L, struct store_op *o)
{
    if (o->read.row_count == 0)
        lua_pushnil(L);
    else
        lib_store_push_row(L, o->resource, o->read.rows[0]);
    return 1;
}

static int all_rows(lua_State *L, struct store_op *o)
{
    lua_createtable(L, (int)o->read.row_count, 0);
    convert_mark_list(L);
    for (size_t i = 0; i < o->read.row_count; i++) {
        lib_store_push_row(L, o->resource, o->read.rows[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int row_count(lua_State *L, struct store_op *o)
{
    lua_pushinteger(L, o->read.count);
    return 1;
}

/* store.get(table, id): the row, or nil. */
static int store_get(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.get");
    const struct resource *r = lib_store_check_resource(L, s, 1, "store.get");
    int64_t id = lib_store_check_id(L, 2, r, "store.get");
    struct store_op *o = lib_store_op_new(L, r, first_row);
    o->read.kind = STORE_READ_GET;
    o->read.id = id;
    return lib_store_op_run(L, o);
}

/* store.find(table, where?, { order, limit, offset }?): a list of rows, ids ascending unless
 * ordered. */
static int store_find(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.find");
    const struct resource *r = lib_store_check_resource(L, s, 1, "store.find");
    lua_settop(L, 3);
    struct store_op *o = lib_store_op_new(L, r, all_rows);
    o->read.kind = STORE_READ_FIND;
    lib_store_check_where(L, 2, o, "store.find");
    check_options(L, 3, o, "store.find");
    return lib_store_op_run(L, o);
}

/* store.first(table, where?, options?): the first of them, or nil. */
static int store_first(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.first");
    const struct resource *r = lib_store_check_resource(L, s, 1, "store.first");
    lua_settop(L, 3);
    struct store_op *o = lib_store_op_new(L, r, first_row);
    o->read.kind = STORE_READ_FIND;
    lib_store_check_where(L, 2, o, "store.first");
    check_options(L, 3, o, "store.first");
    o->read.limit = 1;
    return lib_store_op_run(L, o);
}

/* store.count(table, where?): how many rows match. */
static int store_count(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.count");
    const struct resource *r = lib_store_check_resource(L, s, 1, "store.count");
    lua_settop(L, 2);
    struct store_op *o = lib_store_op_new(L, r, row_count);
    o->read.kind = STORE_READ_COUNT;
    lib_store_check_where(L, 2, o, "store.count");
    return lib_store_op_run(L, o);
}

static int page_rows(lua_State *L, struct store_op *o)
{
    all_rows(L, o);
    if (o->read.row_count < PAGE_ROWS)
        lua_pushnil(L);
    else
        lua_pushinteger(L, o->read.rows[o->read.row_count - 1]->id);
    return 2;
}

/* page(table, where, after): up to 200 rows with ids above after, and the id to go on after (nil at
 * the end). */
static int store_page(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.each");
    const struct resource *r = lib_store_check_resource(L, s, 1, "store.each");
    int64_t after = luaL_checkinteger(L, 3);
    struct store_op *o = lib_store_op_new(L, r, page_rows);
    o->read.kind = STORE_READ_FIND;
    lib_store_check_where(L, 2, o, "store.each");
    o->read.after_id = after;
    o->read.limit = PAGE_ROWS;
    return lib_store_op_run(L, o);
}

static int store_snapshot_start(lua_State *L)
{
    struct err err;
    struct strand *s = strand_check_wait(L, "store.snapshot");
    if (s->snapshot != NULL)
        return fail_misuse(L, "store.snapshot cannot be used inside of itself");
    s->snapshot = store_snapshot_open(s->task->host->session, &err);
    if (s->snapshot == NULL)
        return fail_raise_err(L, &err);
    s->owns_snapshot = true;
    return 0;
}

static int store_snapshot_end(lua_State *L)
{
    strand_close_snapshot(strand_check(L, "store.snapshot"));
    return 0;
}

void lib_store_add_reads(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", store_get},
        {"find", store_find},
        {"first", store_first},
        {"count", store_count},
        {"page", store_page},
        {"snapshot_open", store_snapshot_start},
        {"snapshot_close", store_snapshot_end},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
