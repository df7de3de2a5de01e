/* SPDX-License-Identifier: MIT */
/* Which path leads where. Declared routes come first: whoever declares "/" or "/profile" has it,
 * the host's own lists only take what is free. */
#include "script/gateway.h"
#include "script/program.h"

#include <lauxlib.h>

static struct endpoint *new_endpoint(struct program *p, struct str path, struct endpoint made)
{
    struct endpoint *e = arena_alloc(p->arena, sizeof(*e));
    *e = made;
    e->path = path;
    return e;
}

/* Does the gateway have a table of routes? Then only these lead into the services. */
static bool is_routed(const struct program *p)
{
    return p->front != NULL && p->front->table != NULL;
}

/* To the service's own router, for siblings, and to the gateway's. */
static void add_endpoint(lua_State *L, struct program *p, enum http_method method, struct str path,
                         struct endpoint made)
{
    struct err err;
    struct endpoint *e = new_endpoint(p, path, made);
    if (http_router_add(e->service->router, method, path, e, &err) != 0 ||
        (!is_routed(p) && http_router_add(p->gateway, method, path, e, &err) != 0))
        luaL_error(L, "%s: %s (service %s)",
                   made.resource != NULL ? made.resource->at.p : made.route->at.p, err.message,
                   e->service->name.p);
}

/* Only from outside, and only if nobody else has the path. */
static void add_own(struct program *p, struct str path, struct endpoint made)
{
    struct err taken;
    (void)http_router_add(p->gateway, HTTP_GET_, path, new_endpoint(p, path, made), &taken);
}

static struct str joined(struct arena *a, struct str first, struct str second, struct str third)
{
    struct buf out = BUF_INIT;
    buf_adds(&out, first);
    buf_adds(&out, second);
    buf_adds(&out, third);
    struct str path = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return path;
}

/* The list of finders has the place of an item whose id is "search"; there is none. */
static void add_search(lua_State *L, struct program *p, const struct resource *r, struct str search)
{
    add_endpoint(L, p, HTTP_GET_, search,
                 (struct endpoint){.kind = ENDPOINT_SEARCH, .service = r->service, .resource = r});
    http_router_seal(r->service->router, search);
    if (!is_routed(p))
        http_router_seal(p->gateway, search);
}

static void add_finders(lua_State *L, struct program *p, const struct resource *r)
{
    struct str search = joined(p->arena, r->rest.path, STR("/search"), STR(""));
    if (r->rest.finder_count > 0)
        add_search(L, p, r, search);
    for (int i = 0; i < r->rest.finder_count; i++) {
        const struct rest_finder *f = &r->rest.finders[i];
        add_endpoint(
            L, p, HTTP_GET_, joined(p->arena, search, STR("/"), f->name),
            (struct endpoint){
                .kind = ENDPOINT_FINDER, .service = r->service, .resource = r, .finder = f});
    }
}

static void add_resource(lua_State *L, struct program *p, const struct resource *r)
{
    static const struct {
        enum http_method method;
        enum endpoint_kind kind;
        bool item;
    } kinds[] = {
        {HTTP_GET_, ENDPOINT_LIST, false},   {HTTP_POST_, ENDPOINT_CREATE, false},
        {HTTP_GET_, ENDPOINT_ITEM, true},    {HTTP_PUT_, ENDPOINT_REPLACE, true},
        {HTTP_PATCH_, ENDPOINT_MERGE, true}, {HTTP_DELETE_, ENDPOINT_DELETE, true},
    };
    struct str item = joined(p->arena, r->rest.path, STR("/{id}"), STR(""));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (r->methods >> kinds[i].method & 1)
            add_endpoint(
                L, p, kinds[i].method, kinds[i].item ? item : r->rest.path,
                (struct endpoint){.kind = kinds[i].kind, .service = r->service, .resource = r});
    if (r->methods >> HTTP_GET_ & 1)
        add_finders(L, p, r);
}

/* Does the gateway lead to the resource under its own path? */
static bool is_reached(const struct program *p, const struct resource *r)
{
    struct http_gateway_match m;
    struct http_request get = {.method = HTTP_GET_, .path = r->rest.path};
    if ((r->methods >> HTTP_GET_ & 1) == 0)
        return false;
    if (!is_routed(p))
        return true;
    http_gateway_match(p->front->table, &get, p->arena, &m);
    const struct gateway_route *route = m.target;
    return route != NULL && route->service == r->service;
}

void program_fill_routers(lua_State *L, struct program *p)
{
    for (int i = 0; i < p->resource_count; i++)
        add_resource(L, p, &p->resources[i]);
    for (int i = 0; i < p->route_count; i++) {
        const struct route *r = &p->routes[i];
        add_endpoint(L, p, r->method, r->path,
                     (struct endpoint){.kind = ENDPOINT_ROUTE, .service = r->service, .route = r});
    }
    add_own(p, STR("/"), (struct endpoint){.kind = ENDPOINT_ROOT});
    add_own(p, STR("/profile"), (struct endpoint){.kind = ENDPOINT_PROFILES});
    for (int i = 0; i < p->resource_count; i++) {
        struct resource *r = &p->resources[i];
        r->listed = is_reached(p, r);
        if (r->listed)
            add_own(
                p, joined(p->arena, STR("/profile"), r->rest.path, STR("")),
                (struct endpoint){.kind = ENDPOINT_PROFILE, .service = r->service, .resource = r});
    }
}
