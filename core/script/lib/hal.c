/* SPDX-License-Identifier: MIT */
/* What a sibling's call of a resource gets: the same HAL as over the network, from the rows that
 * the caller's unit of work sees. */
#include "rest/hal.h"

#include "script/convert.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/lib/store.h"

#include <lauxlib.h>

static struct str text_at(lua_State *L, int index)
{
    struct str s = {NULL, 0};
    s.p = lua_tolstring(L, index, &s.n);
    return s;
}

static int push_text(lua_State *L, struct buf *out)
{
    struct str s = buf_str(out);
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

/* hal(row, base): the row's text; what hooks changed after it was stored is in it. */
int lib_hal_item(lua_State *L)
{
    struct record *record = record_at(L, 1);
    struct strand *s = strand_check(L, "http");
    luaL_argcheck(L, record != NULL && record->table != NULL, 1, "a row");
    int64_t version;
    const struct program *p = s->task->host->program;
    const struct resource *r = &p->resources[record->table->number];
    const struct store_row *row = lib_store_newest(s, record, &version);
    struct buf *out = convert_buffer(L);
    rest_hal_item(out, &r->rest, text_at(L, 2), row);
    return push_text(L, out);
}

/* A list being read: its page lies in the task's arena. Stack: resource, query, base, finder. */
static int push_list(lua_State *L, const struct rest_page *p, const struct store_read *read,
                     int64_t total)
{
    struct str base = text_at(L, 3);
    struct buf *out = convert_buffer(L);
    rest_hal_begin(out, p);
    for (size_t i = 0; i < read->row_count; i++)
        rest_hal_row(out, p, base, read->rows[i], i == 0);
    rest_hal_end(out, p, base, total);
    return push_text(L, out);
}

static const struct rest_page *page_at(lua_State *L, int index)
{
    return lua_touserdata(L, index);
}

static int total_known(lua_State *L, struct store_op *o)
{
    const struct store_op *found = lua_touserdata(L, 6);
    return push_list(L, page_at(L, 5), &found->read, o->read.count);
}

static int rows_found(lua_State *L, struct store_op *o)
{
    const struct rest_page *p = page_at(L, 5);
    int64_t rows = (int64_t)o->read.row_count, before = rest_page_offset(p);
    if (!p->paged || (rows < p->size && (rows > 0 || before == 0)))
        return push_list(L, p, &o->read, before + rows);
    struct store_op *count = lib_store_op_new(L, o->resource, total_known);
    rest_page_ask(p, &count->read);
    count->read.kind = STORE_READ_COUNT;
    return lib_store_op_run(L, count);
}

static const struct rest_finder *find_finder(lua_State *L, const struct resource *r)
{
    if (lua_isnoneornil(L, 4))
        return NULL;
    for (int i = 0; i < r->rest.finder_count; i++)
        if (str_eq(r->rest.finders[i].name, text_at(L, 4)))
            return &r->rest.finders[i];
    return NULL;
}

int lib_hal_list(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "http");
    const struct resource *r = lib_store_check_resource(L, s, 1, "http");
    struct arena *a = s->task->arena;
    struct err err;
    lua_settop(L, 4);
    struct rest_page *p = arena_zalloc(a, sizeof(*p));
    if (rest_page_read(p, &r->rest, find_finder(L, r), arena_str(a, text_at(L, 2)), a, &err) != 0)
        return fail_raise_err(L, &err);
    lua_pushlightuserdata(L, p);
    struct store_op *o = lib_store_op_new(L, r, rows_found);
    o->read.kind = STORE_READ_FIND;
    o->read.limit = p->paged ? p->size : 0;
    o->read.offset = rest_page_offset(p);
    rest_page_ask(p, &o->read);
    return lib_store_op_run(L, o);
}
