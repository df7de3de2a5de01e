/* SPDX-License-Identifier: MIT */
/* bus.emit and the durable timers: events are built here, whole, so that the writer only has to
 * write them. */
#include "script/convert.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/host.h"
#include "script/host_events.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <math.h>

#define PAYLOAD_MAX ((size_t)1 << 20)

static bool is_own(const struct event_type *type)
{
    return str_eq(type->service, HOST_EVENTS_SERVICE);
}

/* What is of no service has no events of its own. */
static void check_sender(lua_State *L, const char *word)
{
    const struct service *s = host_of(L)->current->service;
    if (s != NULL && s->number == SERVICE_OF_NOBODY)
        fail_misuse(L,
                    "%s cannot be used here: a guard of the gateway refuses or lets pass, and "
                    "nothing else",
                    word);
}

/* The declared event that argument `index` names. */
static const struct event_type *check_type(lua_State *L, int index, const char *word)
{
    struct str name = {NULL, 0};
    check_sender(L, word);
    if (lua_type(L, index) != LUA_TSTRING)
        fail_misuse(L, "%s: expected the name of an event, got a %s", word,
                    luaL_typename(L, index));
    name.p = lua_tolstring(L, index, &name.n);
    const struct store_schema *schema = &host_of(L)->program->schema;
    const struct event_type *type = store_schema_event(schema, name);
    if (type != NULL && is_own(type))
        fail_misuse(L, "%s: event \"%.*s\" is the host's own; scripts can only react to it", word,
                    STR_ARG(name));
    if (type != NULL)
        return type;
    struct str names[128];
    size_t n = 0;
    for (int i = 0; i < schema->event_count && n < 128; i++)
        if (!is_own(schema->events[i]))
            names[n++] = schema->events[i]->name;
    struct str nearest = str_nearest(name, names, n);
    fail_misuse(L, "%s: event \"%.*s\" is not declared%s%.*s%s", word, STR_ARG(name),
                nearest.n > 0 ? "; did you mean \"" : "", STR_ARG(nearest),
                nearest.n > 0 ? "\"?" : "");
    return NULL;
}

/* ---- values ---- */

static void check_known(lua_State *L, int table, const struct record_shape *shape)
{
    frozen_see(L, table);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        if (record_field(shape, name) < 0)
            record_unknown_field(L, shape, name);
        lua_pop(L, 1);
    }
}

/* Pushes what `source` (a record or table) has for the field, nil if nothing. */
static void push_source(lua_State *L, int source, const struct record *record, struct str name)
{
    if (record != NULL) {
        int field = record_field(record->shape, name);
        if (field == STORE_COLUMN_ID)
            lua_pushinteger(L, record->row->id);
        else if (field >= 0)
            convert_push(L, &record->shape->fields[field], &record->values[field]);
        else
            lua_pushnil(L);
        return;
    }
    if (lua_istable(L, source)) {
        lua_pushlstring(L, name.p, name.n);
        lua_rawget(L, source);
        return;
    }
    lua_pushnil(L);
}

static struct value *read_values(lua_State *L, const struct event_type *type, int source,
                                 int overrides, struct arena *a, const char *word)
{
    const struct record_shape *shape = &host_of(L)->program->event_shapes[type->number];
    struct record *record = record_at(L, source);
    if (record == NULL && !lua_istable(L, source) && !lua_isnoneornil(L, source))
        fail_misuse(L, "%s: expected a row, an event or a table, got a %s", word,
                    luaL_typename(L, source));
    if (record == NULL && lua_istable(L, source))
        check_known(L, source, shape);
    if (!lua_isnoneornil(L, overrides)) {
        if (!lua_istable(L, overrides))
            fail_misuse(L, "%s: overrides are a table { field = value }, got a %s", word,
                        luaL_typename(L, overrides));
        check_known(L, overrides, shape);
    }
    struct value *values = arena_zalloc(a, (size_t)(type->field_count + 1) * sizeof(*values));
    for (int i = 0; i < type->field_count; i++) {
        push_source(L, overrides, NULL, type->fields[i].name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_source(L, source, record, type->fields[i].name);
        }
        convert_check(L, -1, type->name, &type->fields[i], a, &values[i]);
        lua_pop(L, 1);
    }
    return values;
}

/* ---- the event ---- */

static struct str make_key(lua_State *L, const struct event_type *type, const struct value *values,
                           struct arena *a)
{
    const struct value *v = &values[type->key_field];
    if (v->type == VALUE_NULL)
        fail_misuse(L, "event %.*s: its key field \"%.*s\" is missing", STR_ARG(type->name),
                    STR_ARG(type->fields[type->key_field].name));
    struct buf *out = convert_buffer(L);
    store_event_write_key(out, type, values);
    struct str key = arena_str(a, buf_str(out));
    lua_pop(L, 1);
    return key;
}

static struct str make_payload(lua_State *L, const struct event_type *type,
                               const struct value *values, int64_t time_ms, struct arena *a)
{
    struct buf *out = convert_buffer(L);
    buf_reserve(out, 200);
    store_event_write_payload(out, type, values, time_ms);
    if (out->n > PAYLOAD_MAX)
        fail_raise(L, ERR_BUDGET, "%.*s: an event of more than 1 MiB", STR_ARG(type->name));
    budget_charge(L, out->n);
    struct str payload = arena_str(a, buf_str(out));
    lua_pop(L, 1);
    return payload;
}

static void build_event(lua_State *L, struct store_event *e, const struct event_type *type,
                        int source, const char *word)
{
    struct host *h = host_of(L);
    struct task *t = h->current->task;
    struct arena *a = strand_scope(h->current)->unit->arena;
    if (++t->event_count > t->budget.events)
        fail_raise(L, ERR_BUDGET, "%s: more than %d events in one task", word, t->budget.events);
    luaL_checkstack(L, 8, word);
    e->type = type;
    e->values = read_values(L, type, source, source + 1, a, word);
    e->time_ms = clock_wall_ms(loop_clock(h->loop));
    e->key = make_key(L, type, e->values, a);
    e->payload = make_payload(L, type, e->values, e->time_ms, a);
    e->correlation_id = arena_str(a, t->correlation_id);
    e->cause_seq = t->cause_seq;
    e->generation = h->program->generation;
}

/* bus.emit(type, row or table, overrides?): the declared fields, in their order, missing ones null.
 */
static int bus_emit(lua_State *L)
{
    struct strand *s = strand_check_effect(L, "bus.emit");
    const struct event_type *type = check_type(L, 1, "bus.emit");
    lua_settop(L, 3);
    struct store_event *e = arena_zalloc(strand_scope(s)->unit->arena, sizeof(*e));
    build_event(L, e, type, 2, "bus.emit");
    store_scope_emit(strand_scope(s), e);
    return 0;
}

/* ---- timers ---- */

struct timer_op {
    struct op op;
    struct store_read read;
    const struct event_type *type;
    int64_t due_ms;
};

static int add_timer(lua_State *L, const struct event_type *type, int64_t due_ms, int64_t id)
{
    struct store_scope *scope = strand_scope(host_of(L)->current);
    struct store_timer *timer = arena_zalloc(scope->unit->arena, sizeof(*timer));
    timer->id = id;
    timer->due_ms = due_ms;
    build_event(L, &timer->event, type, 3, "bus.emit_at");
    store_scope_timer(scope, timer);
    lua_pushinteger(L, id);
    return 1;
}

static void timer_cancel(struct op *op)
{
    if (!op->completed)
        store_read_cancel(&((struct timer_op *)op)->read);
}

static int timer_push(lua_State *L, struct op *op)
{
    struct timer_op *o = (struct timer_op *)op;
    if (o->read.failed)
        return fail_raise_err(L, &o->read.err);
    return add_timer(L, o->type, o->due_ms, o->read.count);
}

static const struct op_class timer_class = {timer_cancel, timer_push};

static void timer_id_known(struct store_read *r)
{
    op_complete(&((struct timer_op *)r->owner)->op);
}

static int emit_later(lua_State *L, const struct event_type *type, int64_t due_ms)
{
    struct host *h = host_of(L);
    int64_t id;
    if (store_next_id(h->store, NULL, &id))
        return add_timer(L, type, due_ms, id);
    struct timer_op *o = (struct timer_op *)op_new(L, sizeof(*o), &timer_class);
    o->type = type;
    o->due_ms = due_ms;
    o->read.kind = STORE_READ_ID;
    o->read.done = timer_id_known;
    o->read.owner = o;
    store_read_start(h->session, &o->read);
    return op_await(L, &o->op);
}

int64_t lib_check_duration(lua_State *L, int index, const char *word)
{
    int64_t ms = -1;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double n = lua_tonumber(L, index);
        if (n >= 0 && n < 1e15)
            ms = (int64_t)ceil(n);
    } else if (lua_type(L, index) == LUA_TSTRING) {
        struct str s;
        s.p = lua_tolstring(L, index, &s.n);
        if (!str_to_duration_ms(s, &ms))
            ms = -1;
    }
    if (ms < 0) {
        bool is_text = lua_type(L, index) == LUA_TSTRING;
        fail_misuse(L,
                    "%s: expected a duration like \"610ms\", \"10s\", \"15m\", \"72h\" or "
                    "milliseconds, got %s%.40s%s",
                    word, is_text ? "\"" : "a ",
                    is_text ? lua_tostring(L, index) : luaL_typename(L, index),
                    is_text ? "\"" : "");
    }
    return ms;
}

/* bus.emit_in(duration, type, row or table, overrides?): emits later, durably; the id for
 * bus.cancel. */
static int bus_emit_in(lua_State *L)
{
    strand_check_wait(L, "bus.emit_in");
    int64_t ms = lib_check_duration(L, 1, "bus.emit_in");
    const struct event_type *type = check_type(L, 2, "bus.emit_in");
    lua_settop(L, 4);
    return emit_later(L, type, clock_wall_ms(loop_clock(host_of(L)->loop)) + ms);
}

/* bus.emit_at(epoch milliseconds, type, row or table, overrides?) */
static int bus_emit_at(lua_State *L)
{
    int is_integer;
    strand_check_wait(L, "bus.emit_at");
    int64_t due_ms = lua_tointegerx(L, 1, &is_integer);
    if (!is_integer)
        fail_misuse(L, "bus.emit_at: expected a time in epoch milliseconds, got a %s",
                    luaL_typename(L, 1));
    const struct event_type *type = check_type(L, 2, "bus.emit_at");
    lua_settop(L, 4);
    return emit_later(L, type, due_ms);
}

/* bus.cancel(id): a timer that has fired already is passed over. */
static int bus_cancel(lua_State *L)
{
    int is_integer;
    struct strand *s = strand_check_effect(L, "bus.cancel");
    check_sender(L, "bus.cancel");
    int64_t id = lua_tointegerx(L, 1, &is_integer);
    if (!is_integer)
        fail_misuse(L, "bus.cancel: expected the id that emit_in or emit_at returned, got a %s",
                    luaL_typename(L, 1));
    store_scope_cancel(strand_scope(s), id);
    return 0;
}

int lib_bus_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"emit", bus_emit},
        {"emit_in", bus_emit_in},
        {"emit_at", bus_emit_at},
        {"cancel", bus_cancel},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
