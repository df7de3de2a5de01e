/* SPDX-License-Identifier: MIT */
/* Turns the normalised declarations of a state into the structs that the floors below work with.
 * Everything lives in the program's arena. */
#include "script/program.h"

#include "http/url.h"
#include "rest/hal.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/gateway.h"
#include "script/lib/libs.h"

#include <lauxlib.h>

#include <stdlib.h>

static struct str text_of(lua_State *L, int table, const char *name, struct arena *a)
{
    struct str s = {NULL, 0};
    if (lua_getfield(L, table, name) == LUA_TSTRING) {
        s.p = lua_tolstring(L, -1, &s.n);
        s = arena_str(a, s);
    }
    lua_pop(L, 1);
    return s;
}

static bool number_of(lua_State *L, int table, const char *name, double *ret)
{
    bool there = lua_getfield(L, table, name) == LUA_TNUMBER;
    if (there)
        *ret = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return there;
}

static bool flag_of(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

/* Pushes the list of that name; returns its length. */
static int list_of(lua_State *L, int table, const char *name)
{
    luaL_checkstack(L, 8, "program");
    lua_getfield(L, table, name);
    return lua_istable(L, -1) ? (int)lua_rawlen(L, -1) : 0;
}

/* ---- fields ---- */

static enum field_type type_of(struct str name)
{
    static const struct {
        struct str name;
        enum field_type type;
    } types[] = {
        {STR("integer"), FIELD_INTEGER}, {STR("number"), FIELD_NUMBER},
        {STR("decimal"), FIELD_DECIMAL}, {STR("text"), FIELD_TEXT},
        {STR("boolean"), FIELD_BOOLEAN}, {STR("timestamp"), FIELD_TIMESTAMP},
        {STR("json"), FIELD_JSON},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (str_eq(types[i].name, name))
            return types[i].type;
    return FIELD_TEXT;
}

static void read_field(lua_State *L, int at, struct str owner, struct arena *a, struct field *f)
{
    double n;
    memset(f, 0, sizeof(*f));
    f->name = text_of(L, at, "name", a);
    f->type = type_of(text_of(L, at, "type", a));
    if (number_of(L, at, "scale", &n))
        f->scale = (int)n;
    f->required = flag_of(L, at, "required");
    f->unique = flag_of(L, at, "unique");
    f->index = flag_of(L, at, "index");
    f->has_min = number_of(L, at, "min", &f->min);
    f->has_max = number_of(L, at, "max", &f->max);
    if (number_of(L, at, "length", &n))
        f->max_length = (int64_t)n;
    f->pattern = text_of(L, at, "pattern", a);
    f->at = text_of(L, at, "at", a);
    f->renamed_from = text_of(L, at, "renamed_from", a);
    lua_getfield(L, at, "default");
    if (!lua_isnil(L, -1)) {
        convert_check(L, -1, owner, f, a, &f->default_value);
        f->has_default = true;
    }
    lua_pop(L, 1);
}

void program_check_default(lua_State *L, int index)
{
    struct field f;
    struct err err;
    struct str owner = STR("default");
    struct arena *a = convert_arena(L);
    read_field(L, index, owner, a, &f);
    if (f.has_default && field_check(&f, &f.default_value, &err) != 0)
        fail_misuse(L, "%.*s.%.*s: %s", STR_ARG(owner), STR_ARG(f.name), err.message);
    convert_arena_end(L, lua_gettop(L));
    lua_pop(L, 1);
}

static struct field *read_fields(lua_State *L, int table, struct str owner, struct arena *a,
                                 int *ret_count)
{
    int n = list_of(L, table, "fields");
    int list = lua_gettop(L);
    struct field *fields = arena_zalloc(a, (size_t)(n > 0 ? n : 1) * sizeof(*fields));
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        read_field(L, lua_gettop(L), owner, a, &fields[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    *ret_count = n;
    return fields;
}

/* ---- declarations ---- */

struct service *program_service(const struct program *p, struct str name)
{
    for (int i = 0; i < p->service_count; i++)
        if (str_eq(p->services[i].name, name))
            return &p->services[i];
    return NULL;
}

const struct resource *program_resource(const struct program *p, const struct service *s,
                                        struct str table)
{
    for (int i = 0; i < p->resource_count; i++)
        if (p->resources[i].service == s && str_eq(p->resources[i].table->name, table))
            return &p->resources[i];
    return NULL;
}

/* The url of a service that runs elsewhere: http://host:port, nothing behind it. */
static void read_url(lua_State *L, struct service *s)
{
    struct str target;
    if (!http_url_split(s->url, &s->host, &s->port, &target) || !str_eq(target, STR("/")))
        fail_misuse(L, "services.%.*s.url: expected http://HOST:PORT, got \"%.*s\"",
                    STR_ARG(s->name), STR_ARG(s->url));
}

static void read_place(lua_State *L, int top, struct program *p, struct service *s)
{
    lua_getfield(L, top, "places");
    lua_pushlstring(L, s->name.p, s->name.n);
    lua_gettable(L, -2);
    s->here = flag_of(L, lua_gettop(L), "here");
    s->url = text_of(L, lua_gettop(L), "url", p->arena);
    if (s->url.n > 0)
        read_url(L, s);
    lua_pop(L, 2);
}

static void read_hosts(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "http_allow");
    p->hosts = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->hosts));
    p->host_count = n;
    for (int i = 0; i < n; i++) {
        struct str target, url;
        lua_pushliteral(L, "http://");
        lua_rawgeti(L, -2, i + 1);
        lua_concat(L, 2);
        url.p = lua_tolstring(L, -1, &url.n);
        url = arena_str(p->arena, url);
        http_url_split(url, &p->hosts[i].name, &p->hosts[i].port, &target); /* checked */
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_services(lua_State *L, int top, struct program *p)
{
    p->service_count = list_of(L, top, "services");
    p->services = arena_zalloc(p->arena, (size_t)(p->service_count + 1) * sizeof(*p->services));
    for (int i = 0; i < p->service_count; i++) {
        struct str name;
        lua_rawgeti(L, -1, i + 1);
        name.p = lua_tolstring(L, -1, &name.n);
        p->services[i] = (struct service){
            .number = i, .name = arena_str(p->arena, name), .router = http_router_new()};
        read_place(L, top, p, &p->services[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_event(lua_State *L, int at, struct program *p, int number)
{
    struct arena *a = p->arena;
    struct event_type *e = arena_zalloc(a, sizeof(*e));
    e->number = number;
    e->service = text_of(L, at, "service", a);
    e->name = text_of(L, at, "name", a);
    e->key_name = text_of(L, at, "key_name", a);
    e->fields = read_fields(L, at, e->name, a, &e->field_count);
    e->key_field = store_event_field(e, text_of(L, at, "key_field", a));
    lua_getfield(L, at, "retention");
    e->retention_ms = lua_tointeger(L, -1); /* checked */
    lua_pop(L, 1);
    p->schema.events[number] = e;
    p->event_shapes[number] = (struct record_shape){e->name, {NULL, 0}, e->fields, e->field_count};
}

static void read_events(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "events");
    p->schema.events = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(void *));
    p->event_shapes = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->event_shapes));
    p->schema.event_count = n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        read_event(L, lua_gettop(L), p, i);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_indexes(lua_State *L, int at, struct arena *a, struct store_table *t)
{
    int n = list_of(L, at, "indexes");
    int list = lua_gettop(L);
    t->indexes = arena_zalloc(a, (size_t)(n + 1) * sizeof(*t->indexes));
    t->index_count = n;
    for (int i = 0; i < n; i++) {
        struct store_index *index = &t->indexes[i];
        lua_rawgeti(L, list, i + 1);
        index->unique = flag_of(L, -1, "unique");
        index->at = text_of(L, lua_gettop(L), "at", a);
        index->count = (int)lua_rawlen(L, -1);
        for (int c = 0; c < index->count; c++) {
            struct str name;
            lua_rawgeti(L, -1, c + 1);
            name.p = lua_tolstring(L, -1, &name.n);
            index->columns[c] = store_table_column(t, name);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_finder(lua_State *L, int at, struct arena *a, const struct store_table *t,
                        struct rest_finder *f)
{
    f->name = text_of(L, at, "name", a);
    f->count = list_of(L, at, "columns");
    for (int c = 0; c < f->count; c++) {
        struct str name;
        lua_rawgeti(L, -1, c + 1);
        name.p = lua_tolstring(L, -1, &name.n);
        f->columns[c] = store_table_column(t, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    struct str order = text_of(L, at, "order", a);
    f->ordered = order.n > 0;
    f->order.column = str_eq(order, t->id_name) ? STORE_COLUMN_ID : store_table_column(t, order);
    f->order.descending = flag_of(L, at, "descending");
}

static void read_finders(lua_State *L, int at, struct arena *a, struct rest_shape *s)
{
    int n = list_of(L, at, "finder_list");
    int list = lua_gettop(L);
    s->finders = arena_zalloc(a, (size_t)(n + 1) * sizeof(*s->finders));
    s->finder_count = n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        read_finder(L, lua_gettop(L), a, s->table, &s->finders[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The list of methods as bits. */
static unsigned read_methods(lua_State *L, int at)
{
    unsigned bits = 0;
    int n = list_of(L, at, "methods");
    for (int i = 0; i < n; i++) {
        struct str name;
        lua_rawgeti(L, -1, i + 1);
        name.p = lua_tolstring(L, -1, &name.n);
        bits |= 1u << http_method_from(name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return bits;
}

static bool has_function(lua_State *L, int at, const char *name)
{
    bool there = lua_getfield(L, at, name) == LUA_TFUNCTION;
    lua_pop(L, 1);
    return there;
}

static void read_key(lua_State *L, int at, struct resource *r)
{
    r->key_count = list_of(L, at, "by");
    for (int i = 0; i < r->key_count; i++) {
        struct str name;
        lua_rawgeti(L, -1, i + 1);
        name.p = lua_tolstring(L, -1, &name.n);
        r->key_columns[i] = store_table_column(r->table, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_resource(lua_State *L, int at, struct program *p, int i)
{
    struct arena *a = p->arena;
    struct resource *r = &p->resources[i];
    struct store_table *t = arena_zalloc(a, sizeof(*t));
    t->number = i;
    t->service = text_of(L, at, "service", a);
    t->name = text_of(L, at, "name", a);
    t->id_name = text_of(L, at, "id", a);
    t->in_memory = flag_of(L, at, "in_memory");
    t->fields = read_fields(L, at, t->name, a, &t->field_count);
    read_indexes(L, at, a, t);
    p->schema.tables[i] = t;
    r->number = i + 1;
    r->at = text_of(L, at, "at", a);
    r->table = t;
    r->service = program_service(p, t->service);
    r->service->in_memory |= t->in_memory;
    r->shape = (struct record_shape){t->name, t->id_name, t->fields, t->field_count};
    r->rest.table = t;
    r->rest.path = text_of(L, at, "path", a);
    r->rest.rel = text_of(L, at, "rel", a);
    r->rest.unpaged = flag_of(L, at, "unpaged");
    read_finders(L, at, a, &r->rest);
    rest_shape_init(&r->rest, a);
    r->methods = read_methods(L, at);
    r->guarded = has_function(L, at, "guard");
    r->view = flag_of(L, at, "view");
    if (r->view)
        read_key(L, at, r);
}

static void read_resources(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "resources");
    p->resources = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->resources));
    p->schema.tables = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(void *));
    p->resource_count = p->schema.table_count = n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        read_resource(L, lua_gettop(L), p, i);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_routes(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "routes");
    p->routes = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->routes));
    p->route_count = n;
    for (int i = 0; i < n; i++) {
        struct route *r = &p->routes[i];
        lua_rawgeti(L, -1, i + 1);
        int at = lua_gettop(L);
        r->number = i + 1;
        r->service = program_service(p, text_of(L, at, "service", p->arena));
        r->method = http_method_from(text_of(L, at, "method", p->arena));
        r->path = text_of(L, at, "path", p->arena);
        r->at = text_of(L, at, "at", p->arena);
        lua_settop(L, at - 1);
    }
    lua_pop(L, 1);
}

static void read_policy(lua_State *L, int at, struct program *p, int i)
{
    struct arena *a = p->arena;
    struct bus_policy *policy = &p->policies[i];
    policy->index = i;
    policy->service = text_of(L, at, "service", a);
    policy->name = text_of(L, at, "name", a);
    policy->renamed_from = text_of(L, at, "renamed_from", a);
    policy->park = flag_of(L, at, "park");
    policy->view = flag_of(L, at, "view");
    policy->in_memory = flag_of(L, at, "in_memory");
    int n = list_of(L, at, "on");
    policy->types = arena_zalloc(a, (size_t)(n + 1) * sizeof(void *));
    policy->type_count = n;
    for (int k = 0; k < n; k++) {
        struct str name;
        lua_rawgeti(L, -1, k + 1);
        name.p = lua_tolstring(L, -1, &name.n);
        policy->types[k] = store_schema_event(&p->schema, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int64_t amount_of(lua_State *L, const char *name, int64_t otherwise)
{
    lua_getfield(L, -1, name);
    int64_t n = lua_isnil(L, -1) ? otherwise : (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static struct task_budget read_budget(lua_State *L, int at)
{
    struct task_budget b = TASK_BUDGET_DEFAULT;
    if (lua_getfield(L, at, "budget") == LUA_TTABLE) {
        b.cpu_ms = (int)amount_of(L, "cpu", b.cpu_ms);
        b.memory_bytes = amount_of(L, "memory", b.memory_bytes);
        b.events = (int)amount_of(L, "events", b.events);
        b.calls = (int)amount_of(L, "calls", b.calls);
    }
    lua_pop(L, 1);
    return b;
}

static void read_policies(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "policies");
    p->policies = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->policies));
    p->policy_budgets = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->policy_budgets));
    p->policy_count = n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        read_policy(L, lua_gettop(L), p, i);
        p->policy_budgets[i] = read_budget(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Checked by declare.lua. */
static void read_layer(lua_State *L, struct breaker_layer *ret)
{
    struct err err;
    if (lib_breaker_layer(L, -1, ret, &err) != 0)
        fail_misuse(L, "breakers: %s", err.message);
    lua_pop(L, 1);
}

static void read_breakers(lua_State *L, int top, struct program *p)
{
    lua_getfield(L, top, "breaker_default");
    read_layer(L, &p->breaker_default);
    int n = list_of(L, top, "breakers");
    p->breakers = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->breakers));
    p->breaker_count = n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        p->breakers[i].name = text_of(L, lua_gettop(L), "name", p->arena);
        lua_getfield(L, -1, "settings");
        read_layer(L, &p->breakers[i].settings);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_hints(lua_State *L, int top, struct program *p)
{
    int n = list_of(L, top, "try");
    p->hints = arena_zalloc(p->arena, (size_t)(n + 1) * sizeof(*p->hints));
    p->hint_count = n;
    for (int i = 0; i < n; i++) {
        struct str s;
        lua_rawgeti(L, -1, i + 1);
        s.p = lua_tolstring(L, -1, &s.n);
        p->hints[i] = arena_str(p->arena, s);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Owns the half-built program while reading may raise. */
static int program_guard_gc(lua_State *L)
{
    struct program **guard = lua_touserdata(L, 1);
    program_unref(*guard);
    *guard = NULL;
    return 0;
}

static struct program **push_guard(lua_State *L, struct program *p)
{
    struct program **guard = lua_newuserdatauv(L, sizeof(*guard), 0);
    *guard = p;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, program_guard_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return guard;
}

struct program *program_read(lua_State *L, struct str system)
{
    int top = lua_gettop(L);
    struct arena *a = arena_new(16 << 10);
    struct program *p = arena_zalloc(a, sizeof(*p));
    p->arena = a;
    atomic_init(&p->refs, 1);
    struct program **guard = push_guard(L, p);
    p->generation = 1;
    p->system = arena_str(a, system);
    p->gateway = http_router_new();
    read_services(L, top, p);
    read_events(L, top, p);
    read_resources(L, top, p);
    read_routes(L, top, p);
    read_policies(L, top, p);
    read_breakers(L, top, p);
    read_hints(L, top, p);
    read_hosts(L, top, p);
    p->json_indent = flag_of(L, top, "json_indent");
    p->front = gateway_read(L, top, p);
    program_fill_routers(L, p);
    *guard = NULL;
    lua_settop(L, top);
    return p;
}

struct program *program_ref(struct program *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void program_unref(struct program *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < p->service_count; i++)
        http_router_free(p->services[i].router);
    http_router_free(p->gateway);
    gateway_free(p->front);
    arena_free(p->arena);
}
