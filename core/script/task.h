/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "loop/timer.h"
#include "script/budget.h"
#include "script/op.h"
#include "store/read.h"

#include <lua.h>

/* Tasks. A task is one run of a handler: strands (coroutines), a unit of work, a deadline. task.c
 * and strand.c are the only places that resume Lua for the host. A library function that must wait
 * makes an op and returns op_await(L, op); loop callbacks only complete ops, the strand goes on
 * from the host's ready queue. */
#define TASK_SERVICES_MAX 256 /* declare.lua refuses more */

struct host;
struct task;
struct strand;
struct service;

/* How a try of a task ended, as errors go to HTTP and to the bus. Texts live in the task's arena.
 */
struct task_error {
    struct str code, message, origin;
    int status;
    bool retryable;
    bool failed_on_purpose; /* fail() */
    int64_t retry_after_ms; /* 0: none */
    struct str details;     /* JSON members for the problem body, or empty */
};

#define TASK_RUNS_MAX 6 /* the first and five re-runs */
#define TASK_LOG_LINES 100

/* What one run may use. */
struct task_budget {
    int cpu_ms;
    int64_t memory_bytes;
    int events, calls;
};
#define TASK_BUDGET_DEFAULT ((struct task_budget){BUDGET_CPU_MS, BUDGET_MEMORY, 1000, 100})

/* What a task runs, and what becomes of it. */
struct task_class {
    /* Inside the coroutine: pushes function and arguments, returns the number of arguments. [-0,
     * +n+1, e] */
    int (*enter)(lua_State *L, struct task *t);
    /* Inside the coroutine, results on the stack from index 1: keeps what is needed. [-0, +0, e] */
    void (*leave)(lua_State *L, struct task *t);
    /* Adds to the unit what must commit with it. May be NULL. */
    void (*seal)(struct task *t, struct store_unit *u);
    /* Has seal something to add? NULL: always. */
    bool (*seals)(const struct task *t);
    /* The end, exactly once: committed, or failed with error. The task is gone afterwards. */
    void (*ended)(struct task *t, const struct task_error *error);
};

struct task {
    struct host *host;
    const struct task_class *class;
    void *owner;
    struct arena *arena; /* of this run: what it read, its error */
    uint64_t serial;     /* of this run: records made by another one have expired */
    struct strand *root;
    struct list strands;
    struct list node; /* host->tasks, or its free list */
    struct service *service;
    struct str correlation_id; /* borrowed from the owner */
    struct str what;           /* "POST /orders", for the log */
    int64_t cause_seq;
    int64_t deadline_ns;
    struct loop_timer deadline;
    struct store_unit *unit; /* waiting for its verdict */
    struct task_refusal *refusals;
    struct lane_claim *claims;
    struct task_budget budget;
    struct meter meter, closing; /* of this run */
    int runs, event_count, call_count, log_count;
    bool cancelled;
    uint64_t held[TASK_SERVICES_MAX / 64];   /* services, by number: task_hold */
    const struct store_table *restart_table; /* waits to be run again in the lane of this row */
    int64_t restart_id;
    struct task *next_restart;
    struct task_error error;
};

struct task_conf {
    const struct task_class *class;
    void *owner;
    struct service *service;
    struct str correlation_id, what;
    int64_t cause_seq;
    int64_t deadline_ns;
    const struct task_budget *budget; /* NULL: the usual one */
};

/* Starts a task: it first runs from the ready queue of this turn. */
struct task *task_start(struct host *h, const struct task_conf *conf);
/* Ends it with an error of that code unless its unit is already with the writer (then its verdict
 * counts). ended runs before this returns, or with the verdict. */
void task_cancel(struct task *t, enum err_code code, const char *message);
/* The task is about to run in that service: false if it is not up, unless the task was in it before
 * it was stopped. A service stays held until the task has ended, its unit committed; stopping it
 * waits for that. */
bool task_hold(struct task *t, const struct service *s);
bool task_holds(const struct task *t, int service);
/* Must this task, before it changes the row, go on in the row's lane? Then return
 * task_restart_in_lane: the run is given up without the script noticing, and begins anew when the
 * lane is free. [-0, +n, e] */
bool task_wants_lane(struct task *t, const struct store_table *table, int64_t id);
int task_restart_in_lane(lua_State *L, const struct store_table *table, int64_t id);
/* Runs the ready queue within a turn's limits, then hands over the units of the turn. */
void task_run_ready(struct host *h);
