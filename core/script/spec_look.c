/* SPDX-License-Identifier: MIT */
/* What specs see of the system and how they disturb it: the log, the tables, letters, breakers,
 * faults. */
#include "bus/letters.h"
#include "script/convert.h"
#include "script/spec_inside.h"

#include <lauxlib.h>

static void set_integer(lua_State *L, const char *name, int64_t n)
{
    lua_pushinteger(L, n);
    lua_setfield(L, -2, name);
}

static void push_event(lua_State *L, const struct store_logged *e)
{
    lua_createtable(L, 0, 10);
    set_integer(L, "seq", e->event.seq);
    spec_set_text(L, "type", e->type_name);
    spec_set_text(L, "service", e->service);
    spec_set_text(L, "key", e->event.key);
    spec_set_text(L, "text", e->event.payload);
    spec_set_text(L, "correlation_id", e->event.correlation_id);
    set_integer(L, "time", e->event.time_ms);
    set_integer(L, "cause", e->event.cause_seq);
    set_integer(L, "generation", e->event.generation);
}

/* events(type or nil): all of the log, oldest first. */
static int look_events(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct store_log_query q = {.from = 1, .limit = 1000000};
    struct store_logged *events;
    struct err err;
    size_t count;
    int64_t next;
    spec_settle(L, w);
    if (!lua_isnoneornil(L, 1))
        q.type.p = luaL_checklstring(L, 1, &q.type.n);
    if (store_log_read(w->session, spec_fresh_scratch(spec_of(L)), &w->program->schema, &q, &events,
                       &count, &next, &err) < 0)
        return luaL_error(L, "%s", err.message);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_event(L, &events[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void push_row(lua_State *L, const struct store_table *t, const struct store_row *row)
{
    lua_createtable(L, 0, t->field_count + 1);
    set_integer(L, arena_str(spec_of(L)->scratch, t->id_name).p, row->id);
    for (int i = 0; i < t->field_count; i++) {
        lua_pushlstring(L, t->fields[i].name.p, t->fields[i].name.n);
        convert_push(L, &t->fields[i], &row->values[i]);
        lua_rawset(L, -3);
    }
}

static void read_done(struct store_read *r)
{
    *(bool *)r->owner = true;
}

/* rows(service, table): what is committed, ids ascending; and how the id is called. */
static int look_rows(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    bool done = false;
    struct store_read r = {.kind = STORE_READ_FIND,
                           .order_column = STORE_COLUMN_ID,
                           .done = read_done,
                           .owner = &done};
    r.table = store_schema_table(&w->program->schema, str_from(luaL_checkstring(L, 1)),
                                 str_from(luaL_checkstring(L, 2)));
    if (r.table == NULL)
        return luaL_error(L, "rows: service \"%s\" has no resource \"%s\"", lua_tostring(L, 1),
                          lua_tostring(L, 2));
    spec_settle(L, w);
    r.arena = spec_fresh_scratch(spec_of(L));
    store_read_start(w->session, &r);
    while (!done)
        loop_turn(w->loop);
    if (r.failed)
        return luaL_error(L, "%s", r.err.message);
    lua_createtable(L, (int)r.row_count, 0);
    for (size_t i = 0; i < r.row_count; i++) {
        push_row(L, r.table, r.rows[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushlstring(L, r.table->id_name.p, r.table->id_name.n);
    return 2;
}

static void push_letter(lua_State *L, const struct store_letter *l)
{
    lua_createtable(L, 0, 12);
    set_integer(L, "id", l->id);
    spec_set_text(L, "service", l->policy_service);
    spec_set_text(L, "policy", l->policy_name);
    set_integer(L, "seq", l->seq);
    spec_set_text(L, "key", l->key);
    spec_set_text(L, "type", l->type);
    set_integer(L, "tries", l->tries);
    spec_set_text(L, "code", l->error_code);
    spec_set_text(L, "error", l->error);
    spec_set_text(L, "origin", l->origin);
    set_integer(L, "time", l->time_ms);
}

/* letters(): oldest first. */
static int look_letters(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct store_letter *letters;
    struct err err;
    size_t count;
    spec_settle(L, w);
    if (store_log_letters(w->session, spec_fresh_scratch(spec_of(L)), (struct str){NULL, 0}, 0,
                          10000, &letters, &count, &err) < 0)
        return luaL_error(L, "%s", err.message);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_letter(L, &letters[i]);
        lua_rawseti(L, -2, (lua_Integer)(count - i));
    }
    return 1;
}

/* retry_letter(id): true if it is queued. */
static int look_retry_letter(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct err err;
    enum bus_letter_result result =
        bus_letter_retry(w->bus, w->session, luaL_checkinteger(L, 1), &err);
    if (result == BUS_LETTER_FAILED)
        return luaL_error(L, "%s", err.message);
    lua_pushboolean(L, result == BUS_LETTER_QUEUED);
    return 1;
}

static void discarded(void *ctx, bool gone)
{
    struct spec *s = ctx;
    s->called = true;
    s->gone = gone;
}

/* discard_letter(id): true if it is gone now and was there. */
static int look_discard_letter(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct spec *s = spec_of(L);
    s->called = s->gone = false;
    bus_letter_discard(w->bus, w->session, luaL_checkinteger(L, 1), discarded, s);
    spec_settle(L, w);
    if (!s->called)
        return luaL_error(L, "the letter was not decided");
    lua_pushboolean(L, s->gone);
    return 1;
}

/* breaker(name): { state =, success =, ... } of its window. */
static int look_breaker(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct registry_entry *e = registry_find(w->breakers, str_from(luaL_checkstring(L, 1)));
    struct breaker_view v;
    spec_settle(L, w);
    if (e == NULL)
        return luaL_error(L, "there is no breaker \"%s\"", lua_tostring(L, 1));
    struct breaker_latency_view execute, total;
    registry_view(e, clock_mono_ns(w->clock), &v);
    registry_latency(e, clock_mono_ns(w->clock), &execute, &total);
    lua_createtable(L, 0, 16);
    spec_set_text(L, "state", str_from(breaker_state_name(v.state)));
    set_integer(L, "success", v.rolling[BREAKER_EVENT_SUCCESS]);
    set_integer(L, "failure", v.rolling[BREAKER_EVENT_FAILURE]);
    set_integer(L, "timeout", v.rolling[BREAKER_EVENT_TIMEOUT]);
    set_integer(L, "ignored",
                v.rolling[BREAKER_EVENT_IGNORED] + v.rolling[BREAKER_EVENT_BAD_REQUEST] +
                    v.rolling[BREAKER_EVENT_CANCELLED]);
    set_integer(L, "refused_open", v.rolling[BREAKER_EVENT_SHORT_CIRCUITED]);
    set_integer(L, "refused_limit", v.rolling[BREAKER_EVENT_REJECTED]);
    set_integer(L, "in_flight", v.in_flight);
    set_integer(L, "max_in_flight", v.max_in_flight);
    set_integer(L, "latencies", execute.count);
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
        set_integer(L, breaker_event_name((enum breaker_event)i), v.rolling[i]);
    return 1;
}

/* faults(json or nil): the whole table of injected faults. */
static int look_faults(lua_State *L)
{
    const struct spec_world *w = spec_check_world(L);
    struct arena *a = spec_fresh_scratch(spec_of(L));
    struct err err;
    struct json j;
    struct str text = STR("{}");
    if (!lua_isnoneornil(L, 1))
        text.p = luaL_checklstring(L, 1, &text.n);
    size_t n = (size_t)w->program->service_count;
    struct str *names = arena_zalloc(a, (n + 1) * sizeof(*names));
    for (size_t i = 0; i < n; i++)
        names[i] = w->program->services[i].name;
    if (json_parse(a, text, 64, &j, &err) != 0 || faults_set(w->faults, &j, names, n, &err) != 0)
        return luaL_error(L, "faults: %s", err.message);
    return 0;
}

void spec_logged(void *ctx, struct str message)
{
    struct spec *s = ctx;
    buf_adds(&s->log, message);
    buf_addc(&s->log, '\0');
}

/* logs(): the messages that scripts logged in this case. */
static int look_logs(lua_State *L)
{
    struct spec *s = spec_of(L);
    spec_settle(L, spec_check_world(L));
    lua_newtable(L);
    const char *end = s->log.p + s->log.n;
    lua_Integer n = 0;
    for (const char *p = s->log.p; p < end; p += strlen(p) + 1) {
        lua_pushstring(L, p);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

const luaL_Reg spec_look_words[] = {
    {"logs", look_logs},
    {"events", look_events},
    {"rows", look_rows},
    {"letters", look_letters},
    {"retry_letter", look_retry_letter},
    {"discard_letter", look_discard_letter},
    {"breaker", look_breaker},
    {"faults", look_faults},
    {NULL, NULL},
};
