/* SPDX-License-Identifier: MIT */
/* What dispatch.lua needs of the request it runs for: the body as a row, the request as a table. */
#include "script/request.h"

#include "rest/etag.h"
#include "rest/rest.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/lib/libs.h"
#include "script/lib/store.h"

#include <lauxlib.h>

static void push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
}

static struct request *request_of(lua_State *L)
{
    struct request *r = request_of_task(strand_check(L, "request")->task);
    if (r == NULL)
        fail_misuse(L, "there is no request here");
    return r;
}

/* [headers, name] -> [headers, name, value]. Lines of one name are one list (RFC 9110, 5.3): who
 * looks at one of them only would let pass what another host reads in the others. */
static void push_value(lua_State *L, const struct http_header *header)
{
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
        lua_pop(L, 1);
        push_str(L, header->value);
        return;
    }
    lua_pushstring(L, str_ieq(header->name, STR("Cookie")) ? "; " : ", ");
    push_str(L, header->value);
    lua_concat(L, 3);
}

static void push_headers(lua_State *L, const struct http_request *http)
{
    lua_createtable(L, 0, (int)http->header_count);
    for (size_t i = 0; i < http->header_count; i++) {
        luaL_Buffer b;
        const struct http_header *header = &http->headers[i];
        luaL_buffinit(L, &b);
        for (size_t k = 0; k < header->name.n; k++) {
            char c = header->name.p[k];
            luaL_addchar(&b, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
        }
        luaL_pushresult(&b);
        push_value(L, header);
        lua_rawset(L, -3);
    }
}

/* The body: decoded if it is JSON, else the text. */
static void push_body(lua_State *L, struct request *r)
{
    struct str type = http_header_find(r->http, STR("Content-Type"));
    struct err err;
    struct json j;
    if (r->body != NULL) {
        convert_push_json(L, r->body);
        return;
    }
    if (r->http->body.n == 0 || type.n == 0 || !rest_is_json(type)) {
        push_str(L, r->http->body);
        return;
    }
    if (json_parse(r->arena, r->http->body, 64, &j, &err) != 0) {
        err_wrap(&err, "JSON parse error");
        fail_raise_err(L, &err);
    }
    convert_push_json(L, &j);
}

/* request("request"): { method, path, query, headers }; request("body"): the body;
 * request("whole"): the first with the second as its body. */
static int core_request(lua_State *L)
{
    struct request *r = request_of(L);
    const char *what = luaL_checkstring(L, 1);
    if (strcmp(what, "body") == 0) {
        push_body(L, r);
        return 1;
    }
    lua_createtable(L, 0, 6);
    push_str(L, r->http->method_name);
    lua_setfield(L, -2, "method");
    push_str(L, r->http->path);
    lua_setfield(L, -2, "path");
    lib_push_query(L, r->arena, r->http->query);
    lua_setfield(L, -2, "query");
    push_headers(L, r->http);
    lua_setfield(L, -2, "headers");
    if (strcmp(what, "whole") == 0) {
        push_body(L, r);
        lua_setfield(L, -2, "body");
    }
    return 1;
}

static int raise_faults(lua_State *L, const struct resource *r, const struct rest_fault *faults)
{
    struct buf *details = convert_buffer(L);
    rest_write_faults(details, r->table, faults);
    char text[300];
    snprintf(text, sizeof(text), "%.*s.%.*s: %.*s", STR_ARG(r->table->name),
             STR_ARG(faults->property), STR_ARG(faults->message));
    fail_push(L, STR("invalid"), 400, false, str_from(text));
    struct str s = buf_str(details);
    push_str(L, s);
    lua_setfield(L, -2, "details");
    return lua_error(L);
}

static struct arena *unit_arena(lua_State *L)
{
    return strand_scope(host_of(L)->current)->unit->arena;
}

static int push_filled(lua_State *L, const struct resource *r, const struct json *body,
                       bool creating, struct store_row *row)
{
    struct rest_fault *faults = NULL;
    struct err err;
    uint64_t mask;
    if (rest_read_row(r->table, body, creating, unit_arena(L), row, &mask, &faults, &err) != 0)
        return fail_raise_err(L, &err);
    if (faults != NULL)
        return raise_faults(L, r, faults);
    record_push_row(L, &r->shape, r->table, row)->writable = true;
    return 1;
}

/* A writable record of the resource from a JSON body, with the id given. */
static int push_new_row(lua_State *L, const struct resource *r, const struct json *body, int64_t id)
{
    struct store_row *row = lib_store_new_row(L, r);
    row->id = id;
    return push_filled(L, r, body, true, row);
}

/* A Lua value as a parsed body, in the task's arena. */
static const struct json *value_as_json(lua_State *L, int index)
{
    struct arena *a = host_of(L)->current->task->arena;
    struct err err;
    struct buf *out = convert_buffer(L);
    convert_json(L, index, out);
    struct json *j = arena_alloc(a, sizeof(*j));
    if (json_parse(a, arena_str(a, buf_str(out)), 64, j, &err) != 0)
        fail_raise_err(L, &err);
    lua_pop(L, 1);
    return j;
}

/* What came with the request, or from a sibling: index 2 of the words below says whether its body
 * is at index 3. */
static const struct json *body_of(lua_State *L)
{
    struct err err;
    if (lua_toboolean(L, 2)) {
        if (lua_isnoneornil(L, 3))
            fail_raise(L, ERR_INVALID, "a JSON body is required");
        return value_as_json(L, 3);
    }
    struct request *r = request_of(L);
    if (r->body == NULL && request_parse_body(r, &err) != 0)
        fail_raise_err(L, &err);
    return r->body;
}

static int id_known(lua_State *L, struct store_op *o)
{
    if (!lua_toboolean(L, 2))
        request_of(L)->row_id = o->read.count;
    return push_new_row(L, o->resource, body_of(L), o->read.count);
}

/* new_row(resource, joined, body): a new row of the body. */
static int core_new_row(lua_State *L)
{
    struct strand *s = strand_check(L, "http");
    const struct resource *r = lib_store_check_resource(L, s, 1, "http");
    int64_t of_call = 0, *id = &of_call;
    lua_settop(L, 3);
    /* A call that has left the process may have named the id: the next run must name it too. */
    if (!lua_toboolean(L, 2))
        id = &request_of(L)->row_id;
    if (*id > 0 || store_next_id(s->task->host->store, r->table, id))
        return push_new_row(L, r, body_of(L), *id);
    struct store_op *o = lib_store_op_new(L, r, id_known);
    o->read.kind = STORE_READ_ID;
    return lib_store_op_run(L, o);
}

/* changed_row(resource, joined, body, before, merge): the row before with the body laid over it
 * (merge), or in its place. */
static int core_changed_row(lua_State *L)
{
    struct strand *s = strand_check(L, "http");
    const struct resource *r = lib_store_check_resource(L, s, 1, "http");
    struct record *before = record_at(L, 4);
    bool merge = lua_toboolean(L, 5);
    luaL_argcheck(L, before != NULL && before->table == r->table, 4, "a row of the resource");
    const struct json *body = body_of(L);
    struct store_row *row =
        merge ? store_row_copy(unit_arena(L), r->table, before->row) : lib_store_new_row(L, r);
    row->id = before->row->id;
    row->version = before->row->version;
    return push_filled(L, r, body, !merge, row);
}

/* The version that a row of a joined call has for its caller: as the unit leaves it. 0: not known.
 */
static int64_t newest_version(lua_State *L, const struct record *row)
{
    int64_t version;
    luaL_argcheck(L, row != NULL && row->table != NULL, 1, "a row");
    lib_store_newest(strand_check(L, "http"), row, &version);
    return version;
}

/* check_match(row or nil, match): raises 412 unless If-Match names the row's version. match: what a
 * sibling gave, false for nothing; nil: the request's header, if there is one. */
static int core_check_match(lua_State *L)
{
    struct record *row = record_at(L, 1);
    struct str match = {NULL, 0};
    bool joined = !lua_isnoneornil(L, 2);
    if (!joined)
        match = http_header_find(request_of(L)->http, STR("If-Match"));
    else if (lua_type(L, 2) == LUA_TSTRING)
        match.p = lua_tolstring(L, 2, &match.n);
    if (match.p == NULL)
        return 0;
    if (row != NULL &&
        rest_etag_matches(match, joined ? newest_version(L, row) : row->row->version))
        return 0;
    return fail_raise(L, ERR_PRECONDITION, "%s",
                      row != NULL ? "the row is not the one that If-Match names"
                                  : "If-Match: there is no row with this id");
}

/* etag(row): of a joined call's row; nil if its version is not known. */
static int core_etag(lua_State *L)
{
    int64_t version = newest_version(L, record_at(L, 1));
    if (version <= 0)
        return 0;
    struct str tag = rest_etag(strand_check(L, "http")->task->arena, version);
    lua_pushlstring(L, tag.p, tag.n);
    return 1;
}

/* own_row(resource, value): raises unless the value, which a before_create returned, is a row of
 * it. */
static int core_own_row(lua_State *L)
{
    struct str name = {NULL, 0};
    name.p = luaL_checklstring(L, 1, &name.n);
    struct record *record = record_at(L, 2);
    if (record == NULL || record->table == NULL || !str_eq(record->table->name, name))
        fail_misuse(L, "before_create of %.*s returned something that is no row of it",
                    STR_ARG(name));
    return 0;
}

/* not_found(message) */
static int core_not_found(lua_State *L)
{
    return fail_raise(L, ERR_NOT_FOUND, "%s", luaL_checkstring(L, 1));
}

void lib_request_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", core_request},
        {"new_row", core_new_row},
        {"changed_row", core_changed_row},
        {"check_match", core_check_match},
        {"etag", core_etag},
        {"own_row", core_own_row},
        {"not_found", core_not_found},
        {"check", lib_store_check_record},
        {"insert", lib_store_insert_record},
        {"fetch", lib_store_fetch_record},
        {"change", lib_store_change_record},
        {"remove", lib_store_remove_record},
        {"hal", lib_hal_item},
        {"hal_list", lib_hal_list},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
