/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/latency.h"
#include "base/log.h"
#include "breaker/registry.h"
#include "bus/deliver.h"
#include "http/answer.h"
#include "http/client.h"
#include "http/metrics.h"
#include "http/ratelimit.h"
#include "script/cache.h"
#include "script/faults.h"
#include "script/gates.h"
#include "script/program.h"
#include "script/repeats.h"
#include "script/task.h"
#include "store/lane.h"

/* Deadlines: of a request, of one try of a policy, of an answer from elsewhere. */
#define HOST_REQUEST_MS 30000
#define HOST_DELIVERY_MS 30000
#define HOST_ANSWER_MS 10000
#define HOST_JSON_DEPTH 64 /* of what clients send */

/* What a worker counts, over all generations. Its thread adds, others may read. */
struct host_counts {
    atomic_int_fast64_t requests, deliveries, commits, reruns, errors;
    struct http_metrics *http;        /* the worker's; NULL: nobody asks (specs) */
    struct latency commit_to_handler; /* first tries of events that came straight from a commit */
};

/* A service as this host sees it. */
struct host_service {
    struct gate *gate;
    int holds; /* tasks that began in it or called it, with units that are not committed yet */
};

/* One worker's Lua: a state, its coroutines, tasks and ready queue, and the way to everything
 * scripts may use. Lua states share nothing. Found from any coroutine through the state's extra
 * space. */
struct host {
    lua_State *L;
    struct program *program; /* referenced */
    struct loop *loop;
    const struct clock *clock; /* the loop's */
    struct mailbox *mailbox;
    struct store *store;
    struct store_session *session;
    struct bus *bus;
    struct bus_worker *bus_worker;
    struct registry *breakers;
    struct faults *faults;
    struct repeats *repeats;       /* of all workers */
    struct http_client *http;      /* NULL: calls cannot leave the process (specs) */
    struct host_service *services; /* in the program's numbers */
    struct cache *cache;
    struct http_ratelimit *ratelimit;   /* of the gateway */
    const struct http_trusted *trusted; /* proxies; NULL: none */
    struct lanes *lanes;
    struct budget *budget; /* of the thread */
    int number;            /* of the worker */
    int policies_ref, routes_ref, resources_ref, gateway_ref,
        dispatch_ref; /* tables of functions, in the program's numbers */
    struct strand *current;
    int unyieldable; /* depth of script coroutines resumed from where waiting is impossible */

    struct list tasks;
    int task_count;
    struct list free_tasks;
    struct list requests; /* that wait for room or sit out an injected delay */
    uint64_t serials, id_seed, id_count;
    struct strand *ready_first, **ready_last;
    struct loop_defer run_ready;
    struct task *restarts;
    struct store_unit *outbox_first, *outbox_last;
    struct coroutine *idle_coroutines;
    struct guard *idle_guards;
    int64_t request_ms, delivery_ms;      /* deadlines */
    size_t memory_mark;                   /* host_has_memory */
    bool crowded;                         /* the last full collection left more than that */
    int64_t collect_again_ns, left_bytes; /* left: by ended runs, to be collected */
    bool draining, stopping;
    void (*logged)(void *ctx, struct str message); /* sees what scripts log, unless NULL */
    void *logged_ctx;
    struct host_counts *counts; /* the worker's, over all generations */
    int open_requests;
    struct host *next; /* the worker's list of retired ones */
    int64_t retired_ns;
};

struct host_conf {
    struct loop *loop;
    struct mailbox *mailbox;
    struct store *store;
    struct store_session *session;
    struct bus *bus;
    struct registry *breakers;
    struct faults *faults;
    struct repeats *repeats;
    struct http_client *http;
    struct gates *gates;
    struct cache *cache;
    struct http_ratelimit *ratelimit;   /* of the gateway */
    const struct http_trusted *trusted; /* proxies; NULL: none */
    struct lanes *lanes;
    struct budget *budget; /* NULL: CPU and memory are not limited */
    struct host_counts *counts;
    int number;
};

/* Takes over the state of a loaded program (script/load.h), also on failure; references program.
 * Returns owned. */
struct host *host_new(lua_State *L, struct program *program, const struct host_conf *conf,
                      struct err *err);
/* Has every task and request that began here ended? */
bool host_is_idle(const struct host *h);
/* It must be idle. */
void host_free(struct host *h);
/* The host of a state, or NULL while its scripts load. */
static inline struct host *host_of(lua_State *L)
{
    return *(struct host **)lua_getextraspace(L);
}
/* Adds one to a count of its own thread, for others to read. */
static inline void host_count(atomic_int_fast64_t *count)
{
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}
/* Runs fn(L) with arg as light userdata under lua_pcall; 0, or -1 with the error's text in err. */
int host_protected(struct host *h, lua_CFunction fn, void *arg, struct err *err);

/* Serves one HTTP request (request.c). */
void request_serve(struct host *h, struct http_exchange *x);
/* Runs one delivery (delivery.c); a bus_deliver_fn with ctx = host. */
void delivery_run(void *ctx, struct bus_delivery *d);
/* May another task begin? Not while the state as a whole holds more than the mark and a full
 * collection did not help: what the tasks that run are allowed adds up. */
#define HOST_MEMORY_MARK ((size_t)256 << 20)
#define HOST_CROWDED "the tasks that run on this worker hold too much memory"
bool host_has_memory(struct host *h);
/* Is the service up? If not, what begins is refused. NULL, for what is of no service, is. */
bool host_is_open(const struct host *h, const struct service *s);
/* Tasks that hold the service behind the gate (task_hold). */
int host_holds(const struct host *h, const struct gate *gate);
/* Cancels them. Where the writer has the unit its verdict is awaited, and is the last run's. */
void host_cancel_service(struct host *h, const struct gate *gate);
/* Cancels all tasks with 503, likewise, and what they were for. stopping: the process ends, and
 * deliveries are given back to the bus untried; else they count as failed and are tried again. */
void host_cancel_all(struct host *h, bool stopping);
