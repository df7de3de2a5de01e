/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/breaker.h"
#include "bus/bus.h"
#include "http/router.h"
#include "rest/page.h"
#include "script/record.h"
#include "script/task.h"

#include <lua.h>

#include <stdatomic.h>

/* A loaded script tree as the host sees it: what was declared, without the functions. Built once,
 * immutable, shared by all workers; each worker's Lua state has the functions under the same
 * numbers. */
#define SERVICE_OF_NOBODY (-1) /* number of one that is in no list: it cannot be stopped */
struct service {
    int number;
    struct str name;
    bool in_memory; /* it has views only, in the store's memory file */
    struct http_router
        *router;    /* its resources and routes, for sibling calls; targets: struct endpoint */
    bool here;      /* else it has neither resources, routes nor policies in this process */
    struct str url; /* where it runs, or empty; then: */
    struct str host;
    int port;
};

/* A host that scripts may call, of the system file's http.allow. */
struct program_host {
    struct str name;
    int port;
};

struct resource {
    int number;    /* from 1, in `resources` of every state */
    struct str at; /* where it is declared: "scripts/x.lua:3" */
    struct service *service;
    struct store_table *table;
    struct record_shape shape;
    struct rest_shape rest; /* as HTTP sees it */
    unsigned methods;       /* what HTTP may do, a bit (1 << HTTP_GET_) each */
    bool listed;            /* GET reaches it from outside: it is in the root and has a profile */
    bool guarded;           /* has a guard: also reads need its consent */
    bool view;              /* its rows are made of events; HTTP and scripts read them */
    int key_columns[STORE_INDEX_COLUMNS]; /* of a view: one row for each of their values */
    int key_count;
};

struct route {
    int number; /* from 1 */
    struct service *service;
    enum http_method method;
    struct str path;
    struct str at; /* as of a resource */
};

enum endpoint_kind {
    ENDPOINT_LIST,
    ENDPOINT_ITEM,
    ENDPOINT_CREATE,
    ENDPOINT_REPLACE, /* PUT */
    ENDPOINT_MERGE,   /* PATCH */
    ENDPOINT_DELETE,
    ENDPOINT_SEARCH, /* the list of finders */
    ENDPOINT_FINDER,
    ENDPOINT_ROUTE,
    ENDPOINT_ROOT,     /* the list of all resources; of no service */
    ENDPOINT_PROFILES, /* likewise */
    ENDPOINT_PROFILE
};

struct endpoint {
    enum endpoint_kind kind;
    struct service *service;          /* NULL: of ROOT and PROFILES */
    struct str path;                  /* the pattern: "/orders/{id}" */
    const struct resource *resource;  /* NULL: of ROUTE, ROOT, PROFILES */
    const struct rest_finder *finder; /* FINDER */
    const struct route *route;        /* ROUTE */
};

struct program_breaker {
    struct str name;
    struct breaker_layer settings; /* of the system file and from outside */
};

struct program {
    atomic_int refs; /* of whoever runs it, and of the units made with it */
    struct arena *arena;
    int64_t generation;
    struct str system;
    struct service *services;
    int service_count;
    struct store_schema schema;
    struct resource *resources;
    int resource_count;
    struct route *routes;
    int route_count;
    struct record_shape *event_shapes; /* in the order of schema.events */
    struct bus_policy *policies;
    struct task_budget *policy_budgets; /* one each */
    int policy_count;
    struct breaker_layer breaker_default; /* for all of them */
    struct program_breaker *breakers;
    int breaker_count;
    struct str *hints; /* the system's `try` lines, shown at the start */
    int hint_count;
    struct program_host *hosts;
    int host_count;
    struct http_router *gateway; /* everything reachable from outside, unless front has routes */
    struct gateway *front;       /* the system file's gateway, or NULL (gateway.h) */
    bool json_indent;            /* answers of resources in the originals' layout */
};

/* Reads what core/script/lua/declare.lua collected: the normalised table at the top of L. Raises on
 * what cannot be (too many fields, two of one path); returns one reference. [-0, +0, e] */
struct program *program_read(lua_State *L, struct str system);
/* Raises what is wrong with the default of the field whose table is at index: "default.qty: must be
 * at least 1". [-0, +0, e] */
void program_check_default(lua_State *L, int index);
struct program *program_ref(struct program *p);
/* The last one frees it; NULL is legal. Any thread. */
void program_unref(struct program *p);
struct service *program_service(const struct program *p, struct str name);
/* Builds the routers, once everything else is read (program_routes.c). Raises on two of one path.
 * [-0, +0, e] */
void program_fill_routers(lua_State *L, struct program *p);
/* The resource of that table name in a service, or NULL. */
const struct resource *program_resource(const struct program *p, const struct service *s,
                                        struct str table);
