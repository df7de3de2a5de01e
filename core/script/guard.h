/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/registry.h"
#include "script/strand.h"

/* A breaker's call under way in a strand: its place in the breaker, its deadline, its scope. The
 * body runs on the caller's own coroutine; when its time is over while it waits, what it waits for
 * is cancelled and the strand is resumed with an error that no pcall catches, up to the call
 * (`strand->unwinding`). A scope and a timer are made when the body first writes or waits: one that
 * does neither costs no more than its places. */
struct guard {
    struct guard *outer; /* of the strand; or in the host's pool */
    struct strand *strand;
    lua_State *L; /* on which the call stands: the strand's or a script's own coroutine */
    struct registry_entry *entry;
    struct breaker_permit permit;
    bool is_fallback;             /* no body any more: no deadline, no scope */
    enum breaker_verdict refused; /* of a fallback that takes no error: none was made */
    int64_t retry_ns;
    bool waited; /* permit.started_ns is exact, the timer may be armed */
    bool judged; /* a classifier has said: outcome */
    enum breaker_outcome outcome;
    struct loop_timer timer;
    struct store_scope *base, *scope; /* scope NULL: nothing was written */
    uint64_t coroutines;              /* of the strand, when it began */
    int on_cancel;                    /* reference to a function, or LUA_NOREF */
};

/* The time as the kernel last wrote it down: cheap, and some ms late at most. */
int64_t guard_now(const struct host *h);
/* Puts a new guard on top of the strand's. */
struct guard *guard_enter(lua_State *L, struct strand *s, struct registry_entry *entry,
                          struct breaker_permit permit);
/* Takes it off, with what is above it; the timer is stopped, the guard gone. */
void guard_leave(struct guard *g);
/* The strand is about to wait: its guards' deadlines begin to matter. */
void guard_arm(struct strand *s);
/* The body is over: the exact time if it matters, else guard_now. Corrects permit.started_ns. */
int64_t guard_over(struct guard *g);
/* Opens the scopes of the guards that have none yet. Returns the strand's scope. */
void guard_open_scopes(struct strand *s);
/* The strand has ended without them: their bodies count as outcome, their fallbacks as cancelled.
 */
void guard_drop_all(struct strand *s, enum breaker_outcome outcome);
/* Calls and forgets the function of on_cancel, if any. The strand does not run. */
void guard_tell_cancelled(struct guard *g);
/* The same for a strand inside of a body that is cancelled with it, or before it. */
void guard_tell_strand(struct strand *s);
/* Raises the error that unwinds. [-0, +0, e] */
int guard_unwind(lua_State *L);
/* Is the error at the top on its way up to a guard, not to be caught? (What a <close> variable
 * raises and catches meanwhile is its own affair.) */
bool guard_is_unwinding(lua_State *L);
/* Frees the pool. */
void guard_pool_free(struct host *h);
