/* SPDX-License-Identifier: MIT */
/* A worker's Lua from the first record shape to the last task. */
#include "script/host.h"

#include "base/file.h"
#include "script/alloc.h"
#include "script/guard.h"
#include "script/load.h"
#include "script/request.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define COLLECT_AGAIN_NS NS_PER_S /* while a collection does not help */

int host_protected(struct host *h, lua_CFunction fn, void *arg, struct err *err)
{
    lua_State *L = h->L;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 4))
        return err_set(err, ERR_INTERNAL, "no room on the Lua stack");
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, arg);
    budget_pause(h->budget);
    int status = lua_pcall(L, 1, 0, 0);
    budget_resume(h->budget);
    if (status != LUA_OK)
        err_set(err, ERR_INTERNAL, "%s",
                lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                               : "an error while handling an error");
    lua_settop(L, top);
    return status == LUA_OK ? 0 : -1;
}

/* A list of one member of each entry of program[list]; the entry itself if member is NULL. Returns
 * its reference. */
static int ref_members(lua_State *L, int program, const char *list, const char *member)
{
    lua_getfield(L, program, list);
    int n = (int)lua_rawlen(L, -1);
    lua_createtable(L, n, 0);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, i);
        if (member != NULL) {
            lua_getfield(L, -1, member);
            lua_remove(L, -2);
        }
        lua_rawseti(L, -2, i);
    }
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    return ref;
}

/* [light userdata host] */
static int open_host(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &load_program_key);
    int program = lua_gettop(L);
    h->policies_ref = ref_members(L, program, "policies", "handle");
    h->routes_ref = ref_members(L, program, "routes", NULL);
    h->resources_ref = ref_members(L, program, "resources", NULL);
    h->gateway_ref = ref_members(L, program, "gateway_routes", NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &load_dispatch_key);
    h->dispatch_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    for (int i = 0; i < h->program->resource_count; i++)
        record_open(L, &h->program->resources[i].shape);
    for (int i = 0; i < h->program->schema.event_count; i++)
        record_open(L, &h->program->event_shapes[i]);
    budget_attach(h->budget, L);
    return 0;
}

static void ready_deferred(struct loop_defer *d)
{
    task_run_ready(list_entry(d, struct host, run_ready));
}

struct host *host_new(lua_State *L, struct program *program, const struct host_conf *conf,
                      struct err *err)
{
    struct host *h = xcalloc(1, sizeof(*h));
    h->L = L;
    h->program = program_ref(program);
    h->counts = conf->counts;
    h->loop = conf->loop;
    h->clock = loop_clock(conf->loop);
    h->mailbox = conf->mailbox;
    h->store = conf->store;
    h->session = conf->session;
    h->bus = conf->bus;
    h->breakers = conf->breakers;
    h->faults = conf->faults;
    h->repeats = conf->repeats;
    h->http = conf->http;
    h->cache = conf->cache;
    h->ratelimit = conf->ratelimit;
    h->trusted = conf->trusted;
    h->lanes = conf->lanes;
    h->services = xcalloc((size_t)program->service_count + 1, sizeof(*h->services));
    for (int i = 0; i < program->service_count; i++)
        h->services[i].gate = gates_get(conf->gates, program->services[i].name);
    h->budget = conf->budget;
    h->number = conf->number;
    h->request_ms = HOST_REQUEST_MS;
    h->delivery_ms = HOST_DELIVERY_MS;
    h->memory_mark = HOST_MEMORY_MARK;
    list_init(&h->tasks);
    list_init(&h->free_tasks);
    list_init(&h->requests);
    file_random(&h->id_seed, sizeof(h->id_seed));
    h->ready_last = &h->ready_first;
    h->run_ready.fn = ready_deferred;
    *(struct host **)lua_getextraspace(L) = h;
    if (host_protected(h, open_host, h, err) != 0) {
        host_free(h);
        return NULL;
    }
    return h;
}

bool host_is_idle(const struct host *h)
{
    return h->task_count == 0 && h->open_requests == 0;
}

void host_free(struct host *h)
{
    if (h == NULL)
        return;
    assert(h->task_count == 0);
    loop_defer_cancel(h->loop, &h->run_ready);
    guard_pool_free(h);
    strand_pool_free(h);
    load_close(h->L);
    for (struct list *node; (node = list_pop(&h->free_tasks)) != NULL;)
        free(list_entry(node, struct task, node));
    program_unref(h->program);
    free(h->services);
    free(h);
}

static size_t state_bytes(const struct host *h)
{
    void *a;
    return lua_getallocf(h->L, &a) == alloc_lua ? alloc_used(a) : 0;
}

static void say_crowded(const struct host *h, size_t used)
{
    log_event(LOG_ERROR, "scripts hold too much memory; new tasks are refused",
              LOG_I("generation", h->program->generation), LOG_I("worker", h->number),
              LOG_I("bytes", (int64_t)used), LOG_I("bound", (int64_t)h->memory_mark),
              LOG_I("tasks", h->task_count));
}

bool host_has_memory(struct host *h)
{
    size_t used = state_bytes(h);
    if (used >= h->memory_mark) {
        int64_t now_ns = loop_now_ns(h->loop);
        if (h->crowded && now_ns < h->collect_again_ns)
            return false;
        lua_gc(h->L, LUA_GCCOLLECT, 0);
        used = state_bytes(h);
        h->collect_again_ns = now_ns + COLLECT_AGAIN_NS;
    }
    bool crowded = used >= h->memory_mark;
    if (crowded && !h->crowded)
        say_crowded(h, used);
    h->crowded = crowded;
    return !crowded;
}

bool host_is_open(const struct host *h, const struct service *s)
{
    return s == NULL || gates_state(h->services[s->number].gate) == GATE_UP;
}

static int find_service(const struct host *h, const struct gate *gate)
{
    for (int i = 0; i < h->program->service_count; i++)
        if (h->services[i].gate == gate)
            return i;
    return -1;
}

int host_holds(const struct host *h, const struct gate *gate)
{
    int number = find_service(h, gate);
    return number < 0 ? 0 : h->services[number].holds;
}

void host_cancel_service(struct host *h, const struct gate *gate)
{
    int number = find_service(h, gate);
    char text[120];
    if (number < 0)
        return;
    snprintf(text, sizeof(text), "service %.*s is being stopped, and it took too long to end",
             (int)(gate->name.n < 60 ? gate->name.n : 60), gate->name.p);
    list_each (node, &h->tasks) {
        struct task *t = list_entry(node, struct task, node);
        if (!t->cancelled && task_holds(t, number))
            task_cancel(t, ERR_STOPPED, text);
    }
}

void host_cancel_all(struct host *h, bool stopping)
{
    h->draining = true;
    h->stopping = stopping;
    request_cancel_waiting(h);
    list_each (node, &h->tasks) {
        struct task *t = list_entry(node, struct task, node);
        if (!t->cancelled)
            task_cancel(t, ERR_CANCELLED, request_why_cancelled(h));
    }
}
