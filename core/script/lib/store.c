/* SPDX-License-Identifier: MIT */
/* store.create, update, upsert, delete, add: changes go into the strand's scope and reach the disk
 * with the task's unit, or not at all. */
#include "script/lib/store.h"

#include "rest/rest.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/refusal.h"

#include <lauxlib.h>

/* The resource that argument 1 names, for a change. */
static const struct resource *check_table(lua_State *L, struct strand *s, const char *word)
{
    const struct resource *r = lib_store_check_resource(L, s, 1, word);
    if (r->view)
        fail_misuse(L, "%s: \"%.*s\" is a view; its rows are made by its events alone", word,
                    STR_ARG(r->table->name));
    return r;
}

static void check_values(lua_State *L, int index, const char *word)
{
    if (!lua_istable(L, index))
        fail_misuse(L, "%s: expected a table { field = value }, got a %s", word,
                    luaL_typename(L, index));
    frozen_see(L, index);
}

/* Lays the table at index over row; texts go to the scope's arena. Returns the columns named. */
static uint64_t read_values(lua_State *L, int index, const struct resource *r, struct arena *a,
                            struct store_row *row, const char *word)
{
    uint64_t mask = 0;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        int column = record_field(&r->shape, name);
        if (column == STORE_COLUMN_ID)
            fail_misuse(L, "%s: the id of %.*s is given by the store", word,
                        STR_ARG(r->table->name));
        if (column < 0)
            record_unknown_field(L, &r->shape, name);
        convert_check(L, -1, r->table->name, &r->table->fields[column], a, &row->values[column]);
        mask |= UINT64_C(1) << column;
        lua_pop(L, 1);
    }
    return mask;
}

/* Adds a fault for each text that its field's pattern does not match. */
static void check_patterns(lua_State *L, const struct resource *r, const struct store_row *row,
                           struct arena *a, struct rest_fault **faults)
{
    for (int i = 0; i < r->table->field_count; i++) {
        const struct field *f = &r->table->fields[i];
        const struct value *v = &row->values[i];
        if (f->pattern.n == 0 || v->type != VALUE_TEXT)
            continue;
        lua_getglobal(L, "string");
        lua_getfield(L, -1, "find");
        lua_pushlstring(L, v->s.p, v->s.n);
        lua_pushlstring(L, f->pattern.p, f->pattern.n);
        lua_call(L, 2, 1);
        if (lua_isnil(L, -1))
            rest_add_fault(r->table, i, row, a, "must match the pattern", faults);
        lua_pop(L, 2);
    }
}

void lib_store_check_row(lua_State *L, const struct resource *r, const struct store_row *row)
{
    struct rest_fault *faults = NULL;
    struct arena *a = host_of(L)->current->task->arena;
    rest_check_row(r->table, row, a, &faults);
    check_patterns(L, r, row, a, &faults);
    if (faults == NULL)
        return;
    struct buf *details = convert_buffer(L);
    rest_write_faults(details, r->table, faults);
    char text[300];
    snprintf(text, sizeof(text), "%.*s.%.*s %.*s", STR_ARG(r->table->name),
             STR_ARG(faults->property), STR_ARG(faults->message));
    fail_push(L, STR("invalid"), 400, false, str_from(text));
    struct str s = buf_str(details);
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, "details");
    lua_error(L);
}

/* base: the row before an update, NULL for an insert. */
static void check_unique(lua_State *L, const struct resource *r, const struct store_row *base,
                         const struct store_row *row)
{
    const struct store_index *index =
        refusal_exists(host_of(L)->current->task->refusals, r->table, base, row);
    if (index == NULL)
        return;
    struct buf *names = convert_buffer(L);
    for (int i = 0; i < index->count; i++) {
        const struct field *f = &r->table->fields[index->columns[i]];
        buf_addf(names, "%s%.*s = ", i > 0 ? ", " : "", STR_ARG(f->name));
        field_write_json(names, f, &row->values[index->columns[i]]);
    }
    struct str s = buf_str(names);
    fail_raise(L, ERR_EXISTS, "%.*s: a row with %.*s exists already", STR_ARG(r->table->name),
               STR_ARG(s));
}

static void insert_row(lua_State *L, const struct resource *r, struct store_row *row)
{
    lib_store_check_row(L, r, row);
    check_unique(L, r, NULL, row);
    store_scope_insert(strand_scope(host_of(L)->current), r->table, row);
}

/* ---- create ---- */

struct store_row *lib_store_new_row(lua_State *L, const struct resource *r)
{
    struct store_scope *scope = strand_scope(host_of(L)->current);
    struct store_row *row = store_row_new(scope->unit->arena, r->table);
    for (int i = 0; i < r->table->field_count; i++)
        if (r->table->fields[i].has_default)
            row->values[i] = r->table->fields[i].default_value;
    return row;
}

/* Stack index 2 holds the values; of an upsert index 3 more of them. */
static int create_with_id(lua_State *L, const struct resource *r, int64_t id, const char *word)
{
    struct arena *a = strand_scope(host_of(L)->current)->unit->arena;
    struct store_row *row = lib_store_new_row(L, r);
    row->id = id;
    read_values(L, 2, r, a, row, word);
    if (lua_istable(L, 3))
        read_values(L, 3, r, a, row, word);
    insert_row(L, r, row);
    record_push_row(L, &r->shape, r->table, row);
    return 1;
}

static int create_later(lua_State *L, struct store_op *o)
{
    return create_with_id(L, o->resource, o->read.count, "store.create");
}

static int create(lua_State *L, const struct resource *r, const char *word)
{
    int64_t id;
    if (store_next_id(host_of(L)->store, r->table, &id))
        return create_with_id(L, r, id, word);
    struct store_op *o = lib_store_op_new(L, r, create_later);
    o->read.kind = STORE_READ_ID;
    return lib_store_op_run(L, o);
}

/* store.create(table, values): the new row; its id is known at once. */
static int store_create(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.create");
    const struct resource *r = check_table(L, s, "store.create");
    lua_settop(L, 2);
    check_values(L, 2, "store.create");
    return create(L, r, "store.create");
}

/* ---- update ---- */

/* Stack index 3 holds the changes. */
static int apply_update(lua_State *L, struct store_op *o)
{
    const struct resource *r = o->resource;
    if (o->read.row_count == 0) {
        lua_pushnil(L);
        return 1;
    }
    struct store_scope *scope = strand_scope(o->op.strand);
    const struct store_row *base = o->read.rows[0];
    struct store_row *row = store_row_copy(scope->unit->arena, r->table, base);
    uint64_t mask = read_values(L, 3, r, scope->unit->arena, row, "store.update");
    if (mask != 0) {
        lib_store_check_row(L, r, row);
        check_unique(L, r, base, row);
        store_scope_update(scope, r->table, base, row, mask);
    }
    record_push_row(L, &r->shape, r->table, row);
    return 1;
}

/* Reads the row, in its lane if it has one, then goes on with `then`. */
static int read_to_change(lua_State *L, const struct resource *r, int64_t id,
                          int (*then)(lua_State *, struct store_op *))
{
    struct strand *s = host_of(L)->current;
    bool own = s->scope != NULL && store_scope_find(s->scope, r->table, id) != NULL;
    if (!own && task_wants_lane(s->task, r->table, id))
        return task_restart_in_lane(L, r->table, id);
    strand_scope(s);
    struct store_op *o = lib_store_op_new(L, r, then);
    o->read.kind = STORE_READ_GET;
    o->read.id = id;
    return lib_store_op_run(L, o);
}

/* store.update(table, id or row, changes): the changed row, or nil if there is none. */
static int store_update(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.update");
    const struct resource *r = check_table(L, s, "store.update");
    lua_settop(L, 3);
    int64_t id = lib_store_check_id(L, 2, r, "store.update");
    check_values(L, 3, "store.update");
    return read_to_change(L, r, id, apply_update);
}

/* ---- upsert ---- */

static int upsert_found(lua_State *L, struct store_op *o)
{
    if (o->read.row_count == 0)
        return create(L, o->resource, "store.upsert");
    return read_to_change(L, o->resource, o->read.rows[0]->id, apply_update);
}

/* store.upsert(table, where, changes): changes the first row that matches where, or creates one of
 * both. Unique fields in where keep it one row when tasks race. */
static int store_upsert(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.upsert");
    const struct resource *r = check_table(L, s, "store.upsert");
    lua_settop(L, 3);
    check_values(L, 2, "store.upsert");
    check_values(L, 3, "store.upsert");
    strand_scope(s);
    struct store_op *o = lib_store_op_new(L, r, upsert_found);
    o->read.kind = STORE_READ_FIND;
    o->read.limit = 1;
    lib_store_check_where(L, 2, o, "store.upsert");
    return lib_store_op_run(L, o);
}

/* ---- delete ---- */

static int apply_delete(lua_State *L, struct store_op *o)
{
    if (o->read.row_count > 0)
        store_scope_delete(strand_scope(o->op.strand), o->resource->table, o->read.rows[0]);
    lua_pushboolean(L, o->read.row_count > 0);
    return 1;
}

/* store.delete(table, id or row): true, or false if there was none. */
static int store_delete(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.delete");
    const struct resource *r = check_table(L, s, "store.delete");
    return read_to_change(L, r, lib_store_check_id(L, 2, r, "store.delete"), apply_delete);
}

/* ---- add ---- */

static struct value bound_of(lua_State *L, int index, const char *name, const struct resource *r,
                             const struct field *f, struct arena *a)
{
    struct value v = VALUE_NONE;
    if (lua_istable(L, index)) {
        lua_getfield(L, index, name);
        convert_check(L, -1, r->table->name, f, a, &v);
        lua_pop(L, 1);
    }
    return v;
}

static void check_bounds_options(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index))
        fail_misuse(L, "store.add: bounds are a table { min = n, max = n }");
    frozen_see(L, index);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(name, "min") != 0 && strcmp(name, "max") != 0)
            fail_misuse(L, "store.add: unknown option \"%s\"; there are min, max", name);
        lua_pop(L, 1);
    }
}

/* The adds of { field = delta } at index 3 with the bounds at index 4. */
static struct store_add *read_adds(lua_State *L, const struct resource *r, struct arena *a)
{
    struct store_add *first = NULL;
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        int column = record_field(&r->shape, name);
        if (column < 0)
            record_unknown_field(L, &r->shape, name);
        const struct field *f = &r->table->fields[column];
        struct store_add *add = arena_zalloc(a, sizeof(*add));
        convert_check(L, -1, r->table->name, f, a, &add->delta);
        if (add->delta.type != VALUE_INT && add->delta.type != VALUE_NUMBER)
            fail_misuse(L, "store.add: %.*s.%.*s is no number to add to", STR_ARG(r->table->name),
                        STR_ARG(name));
        add->column = column;
        add->min = bound_of(L, 4, "min", r, f, a);
        add->max = bound_of(L, 4, "max", r, f, a);
        add->next = first;
        first = add;
        lua_pop(L, 1);
    }
    if (first == NULL)
        fail_misuse(L, "store.add: nothing to add; write { field = delta }");
    return first;
}

static double as_number(const struct value *v)
{
    return v->type == VALUE_NUMBER ? v->n : v->type == VALUE_INT ? (double)v->i : 0;
}

static int raise_bound(lua_State *L, const struct resource *r, int64_t id, int column)
{
    return fail_raise(L, ERR_BOUND, "%.*s %lld: %.*s would leave its bounds",
                      STR_ARG(r->table->name), (long long)id,
                      STR_ARG(r->table->fields[column].name));
}

/* On a row that this task has inserted or updated: the sum is known here. */
static void add_to_own(lua_State *L, const struct resource *r, const struct store_row *base,
                       struct store_add *adds)
{
    struct store_scope *scope = strand_scope(host_of(L)->current);
    struct store_row *row = store_row_copy(scope->unit->arena, r->table, base);
    uint64_t mask = 0;
    for (struct store_add *add = adds; add != NULL; add = add->next) {
        struct value *v = &row->values[add->column];
        double sum = as_number(v) + as_number(&add->delta);
        bool overflow = false;
        if ((add->min.type != VALUE_NULL && sum < as_number(&add->min)) ||
            (add->max.type != VALUE_NULL && sum > as_number(&add->max)))
            raise_bound(L, r, row->id, add->column);
        if (add->delta.type == VALUE_INT && v->type != VALUE_NUMBER) {
            int64_t before = v->type == VALUE_INT ? v->i : 0, after;
            overflow = __builtin_add_overflow(before, add->delta.i, &after);
            *v = value_int(after);
        } else {
            *v = (struct value){.type = VALUE_NUMBER, .n = sum};
        }
        if (overflow)
            raise_bound(L, r, row->id, add->column);
        mask |= UINT64_C(1) << add->column;
    }
    store_scope_update(scope, r->table, base, row, mask);
}

/* After a first refusal, or on an own change, the row is looked at first. */
static int add_with_row(lua_State *L, struct store_op *o)
{
    const struct resource *r = o->resource;
    struct store_scope *scope = strand_scope(o->op.strand);
    if (o->read.row_count == 0)
        return fail_raise(L, ERR_NOT_FOUND, "store.add: %.*s has no row %lld",
                          STR_ARG(r->table->name), (long long)o->read.id);
    struct store_add *adds = read_adds(L, r, scope->unit->arena);
    const struct store_change *own = store_scope_find(scope, r->table, o->read.id);
    if (own != NULL && own->kind != STORE_ADD)
        add_to_own(L, r, o->read.rows[0], adds);
    else
        store_scope_add(scope, r->table, o->read.id, adds);
    return 0;
}

/* store.add(table, id or row, { field = delta }, { min, max }?): a change that commutes with those
 * of other tasks, so that a hot row is no place to queue. Refused with `bound` when the sum would
 * leave min..max. */
static int store_add(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "store.add");
    const struct resource *r = check_table(L, s, "store.add");
    lua_settop(L, 4);
    int64_t id = lib_store_check_id(L, 2, r, "store.add");
    check_values(L, 3, "store.add");
    check_bounds_options(L, 4);
    int refused = refusal_bound(s->task->refusals, r->table, id);
    if (refused >= 0)
        return raise_bound(L, r, id, refused);
    struct store_scope *scope = strand_scope(s);
    const struct store_change *own = store_scope_find(scope, r->table, id);
    if (s->task->runs == 1 && (own == NULL || own->kind == STORE_ADD)) {
        store_scope_add(scope, r->table, id, read_adds(L, r, scope->unit->arena));
        return 0;
    }
    struct store_op *o = lib_store_op_new(L, r, add_with_row);
    o->read.kind = STORE_READ_GET;
    o->read.id = id;
    return lib_store_op_run(L, o);
}

/* check(row): raises what a writable record fails of its declaration. For dispatch.lua. */
int lib_store_check_record(lua_State *L)
{
    struct record *record = record_at(L, 1);
    struct strand *s = strand_check(L, "check");
    luaL_argcheck(L, record != NULL && record->writable, 1, "a new row");
    lib_store_check_row(
        L, program_resource(s->task->host->program, s->service, record->shape->name), record->row);
    return 0;
}

/* insert(row): takes a writable record into the scope, checked; read-only from then on. For
 * dispatch.lua. */
int lib_store_insert_record(lua_State *L)
{
    struct record *record = record_at(L, 1);
    struct strand *s = strand_check(L, "insert");
    luaL_argcheck(L, record != NULL && record->writable, 1, "a new row");
    record->writable = false;
    const struct resource *r =
        program_resource(s->task->host->program, s->service, record->shape->name);
    insert_row(L, r, record->row);
    return 0;
}

/* A row to be changed over HTTP: the record before the change. */
static int push_fetched(lua_State *L, struct store_op *o)
{
    if (o->read.row_count == 0)
        lua_pushnil(L);
    else
        lib_store_push_row(L, o->resource, o->read.rows[0]);
    return 1;
}

/* fetch(resource, id): the row to be changed, or nil. For dispatch.lua. */
int lib_store_fetch_record(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "fetch");
    const struct resource *r = lib_store_check_resource(L, s, 1, "fetch");
    return read_to_change(L, r, luaL_checkinteger(L, 2), push_fetched);
}

/* Raises if a hook has deleted the row that it was called for. */
static void check_there(lua_State *L, const struct store_scope *scope, const struct record *record)
{
    const struct store_change *own = store_scope_find(scope, record->table, record->row->id);
    if (own != NULL && own->kind == STORE_DELETE)
        fail_misuse(L, "a hook of %.*s has deleted the row it was called for",
                    STR_ARG(record->table->name));
}

/* change(row, before): takes a writable record in the place of the row before, checked; read-only
 * from then on. Writes the columns that differ. For dispatch.lua. */
int lib_store_change_record(lua_State *L)
{
    struct record *record = record_at(L, 1), *before = record_at(L, 2);
    struct strand *s = strand_check(L, "change");
    luaL_argcheck(L, record != NULL && record->writable, 1, "a changed row");
    luaL_argcheck(L, before != NULL && before->table == record->table, 2, "the row before");
    const struct resource *r =
        program_resource(s->task->host->program, s->service, record->shape->name);
    struct store_scope *scope = strand_scope(s);
    uint64_t mask = 0;
    record->writable = false;
    check_there(L, scope, record);
    lib_store_check_row(L, r, record->row);
    check_unique(L, r, before->row, record->row);
    for (int i = 0; i < r->table->field_count; i++)
        if (!value_eq(&record->row->values[i], &before->row->values[i]))
            mask |= UINT64_C(1) << i;
    if (mask != 0)
        store_scope_update(scope, r->table, before->row, record->row, mask);
    return 0;
}

/* remove(row): deletes it. For dispatch.lua. */
int lib_store_remove_record(lua_State *L)
{
    struct record *record = record_at(L, 1);
    struct strand *s = strand_check(L, "remove");
    luaL_argcheck(L, record != NULL && record->table != NULL, 1, "a row");
    struct store_scope *scope = strand_scope(s);
    check_there(L, scope, record);
    store_scope_delete(scope, record->table, record->row);
    return 0;
}

const struct store_row *lib_store_newest(const struct strand *s, const struct record *record,
                                         int64_t *ret_version)
{
    const struct store_change *c =
        s->scope != NULL ? store_scope_find(s->scope, record->table, record->row->id) : NULL;
    *ret_version = record->row->version;
    if (c == NULL)
        return record->row;
    *ret_version = c->kind == STORE_INSERT ? 1 : c->kind == STORE_UPDATE ? c->base_version + 1 : 0;
    return c->row != NULL ? c->row : record->row;
}

int lib_store_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", store_create}, {"update", store_update}, {"upsert", store_upsert},
        {"delete", store_delete}, {"add", store_add},       {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lib_store_add_reads(L);
    return 1;
}
