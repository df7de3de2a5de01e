/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/task.h"

/* A strand is one coroutine of a task: the root, or a function of task.all or task.race.
 * A child has a scope of its own inside its parent's; whoever made it merges or drops that scope
 * when it ends. */
struct strand {
    struct task *task;
    lua_State *L; /* anchored by the host's pool */
    int ref;
    struct op *op;             /* what it waits for */
    struct guard *guard;       /* the innermost breaker's call under way */
    struct guard *unwinding;   /* whose time is over: an error is on its way up to it */
    struct store_scope *scope; /* NULL until first needed */
    struct store_snapshot
        *snapshot; /* reads are made in this picture; children share their parent's */
    bool owns_snapshot;
    struct service *service; /* whose code runs: a joined call changes it */
    bool in_view;            /* a view's function runs: it changes its row and nothing else */
    int depth;               /* of joined calls */
    struct strand *parent;
    struct list children_head, sibling; /* living children */
    struct list node;                   /* task->strands */
    uint64_t coroutine_count;           /* so far */
    struct list coroutines;             /* that its scripts made (coroutines.h) */
    struct list flights;                /* that it leads (flight.h) */
    int on_cancel;     /* inside of a body: reference to a function, or LUA_NOREF */
    int request_cache; /* root: reference to what breakers remember, LUA_NOREF */
    struct strand *next_ready;
    bool ready;
    bool anchored; /* its op is in the registry */
    int status;    /* when ended: LUA_OK, results on L; else the error value on top of L */
    bool ended;
    bool raised_over; /* over budget where it could not be stopped: its hooks may be off for good */
    void (*on_end)(struct strand *s);
    void *owner;
};

/* A child of parent that will call the function and n arguments on top of L (moved over). Not
 * started. [-(n+1), +0, m] */
struct strand *strand_new(lua_State *L, struct strand *parent, int n);
/* A root: its coroutine will run fn with the task as light userdata. */
struct strand *strand_root(struct task *t, lua_CFunction fn);
/* Runs it until it waits or ends; nested in `from`, the running coroutine, or NULL. on_end runs
 * before this returns if it ends. */
void strand_run(struct strand *s, lua_State *from);
/* Stops it wherever it waits, its children first: their ops are cancelled, their <close> variables
 * closed. on_end does not run. Not for a running strand. */
void strand_cancel(struct strand *s);
/* Stops and frees the children that nobody owns any more, with all they changed: the call that made
 * them was left by an error. */
void strand_abandon_children(struct strand *s);
/* Is this a coroutine of the host's, which scripts must not resume or close? [-0, +0, -] */
bool strand_owns(lua_State *L, lua_State *co);
/* Gives the coroutine back and forgets the strand; its scope must have been closed or dropped. */
void strand_free(struct strand *s);
/* Ends the picture that this strand opened, if any. */
void strand_close_snapshot(struct strand *s);
/* Frees the pool of idle coroutines (their states go with the host). */
void strand_pool_free(struct host *h);
/* What a waiting strand yields (its address); coroutines of scripts pass it on. */
extern const char strand_wait_token;
/* Puts it on the host's ready queue. */
void strand_make_ready(struct strand *s);
/* The scope for writes, made when there is none yet. */
struct store_scope *strand_scope(struct strand *s);
/* The same, apart from those of its guards. */
struct store_scope *strand_own_scope(struct strand *s);
/* Drops or closes every scope from the strand's current one up to (not including) `until`. */
void strand_drop_scopes(struct strand *s, struct store_scope *until);
/* The running strand; raises outside of tasks ("X cannot be used while scripts load") and, for
 * words that may wait, where waiting is impossible: the same on every store engine. [-0, +0, e] */
struct strand *strand_check(lua_State *L, const char *word);
struct strand *strand_check_wait(lua_State *L, const char *word);
/* The running strand, for words that have an effect beyond the task: raises inside of a view, as
 * strand_check_wait does. [-0, +0, e] */
struct strand *strand_check_effect(lua_State *L, const char *word);
