/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/err.h"

#include <lua.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What scripts may use of CPU and memory. A budget belongs to a thread; whatever runs there is
 * charged to a meter: a task's, or that of a file that loads. Over it, a hook stops the script at
 * its next instruction: its coroutines yield up to the host, which no pcall sees, and are never
 * resumed. Where Lua cannot yield (a sort or gsub callback, a file that loads) the hook raises the
 * error "budget", at that instruction and at every further one until the meter changes.
 *
 * CPU: a timer of the thread's own CPU time ticks every 5 ms; the tick belongs to who runs.
 * Memory: what the state's bytes grew by while the meter ran. Garbage counts until it is collected,
 * and a collection credits who runs at that time: so the account is only a suspicion, and before a
 * task fails for it everything is collected and the account cut to what the state holds beyond its
 * scripts. A task that waits keeps its account. Past its limit and 32 MiB more an allocation is
 * refused; nobody else's ever is. */
#define BUDGET_TICK_MS 5
#define BUDGET_CPU_MS 100
#define BUDGET_CLOSE_MS 10 /* for the <close> variables of a task that is stopped */
#define BUDGET_MEMORY ((int64_t)32 << 20)
#define BUDGET_MEMORY_BEYOND ((int64_t)32 << 20) /* past that more, allocations are refused */
#define BUDGET_TEXT ((size_t)8 << 20)            /* one text that a library makes, one answer */

struct budget;

struct meter {
    int ticks, tick_limit;
    int64_t bytes;      /* grown in Lua */
    int64_t host_bytes; /* kept for it outside of Lua */
    int64_t memory;     /* what both may be together */
    volatile sig_atomic_t over;
    bool raises;     /* the hook never yields */
    char where[160]; /* "x.lua:12", where a coroutine was stopped */
};

/* What ran before, for the way back. */
struct budget_frame {
    struct meter *meter;
    lua_State *L;
    int paused;
};

/* Nothing used yet, of so many ms of CPU, and of the usual memory. */
void budget_meter_start(struct meter *m, int cpu_ms);

/* Returns owned. */
struct budget *budget_new(void);
/* After budget_stop, and after the states attached to it were closed or attached elsewhere. */
void budget_free(struct budget *b);
/* Starts and stops the CPU timer of the calling thread, the one that runs its scripts. */
int budget_start(struct budget *b, struct err *err);
void budget_stop(struct budget *b);
/* From now on the scripts of this state run on the thread of b; NULL: they are not watched. The
 * state's allocator must be alloc_lua. [-0, +0, m] */
void budget_attach(struct budget *b, lua_State *L);

/* In what follows b may be NULL: nothing is watched then. */

/* The budget of a state, or NULL. */
struct budget *budget_of(lua_State *L);
/* From here on m is charged, and L is the coroutine that runs. Frames nest. */
void budget_enter(struct budget *b, struct meter *m, lua_State *L, struct budget_frame *ret_before);
void budget_leave(struct budget *b, const struct budget_frame *before);
/* Another coroutine of the same meter runs now. Returns the one before. */
lua_State *budget_switch(struct budget *b, lua_State *L);
/* Is the meter over? */
bool budget_is_over(const struct budget *b);
/* Leaves the running coroutine for good; to be returned from a C function. [-0, +0, e] */
int budget_give_up(lua_State *L);
/* Pushes the error of a meter that is over: protected, on a state of the host. [-0, +1, m] */
void budget_push_error(lua_State *L, const struct meter *m);
/* lua_resetthread(co), its <close> variables watched like everything else; not at all when the
 * meter is over. */
int budget_reset_thread(struct budget *b, lua_State *co);
/* Between these no allocation is refused: for work of the host that must not fail. */
void budget_pause(struct budget *b);
void budget_resume(struct budget *b);
/* Raises if the meter is over. For loops in C, see budget_step. [-0, +0, e] */
void budget_check(lua_State *L);
/* Charges bytes that the host keeps for the script until it ends; raises if that is too much. */
void budget_charge(lua_State *L, size_t bytes);

/* One step, or cost steps, of a loop in C that a script can make long. */
static inline void budget_steps(lua_State *L, int *left, size_t cost)
{
    if ((size_t)*left > cost) {
        *left -= (int)cost;
        return;
    }
    *left = 1000;
    budget_check(L);
}
static inline void budget_step(lua_State *L, int *left)
{
    budget_steps(L, left, 1);
}
