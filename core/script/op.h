/* SPDX-License-Identifier: MIT */
#pragma once

#include <lua.h>

#include <stdbool.h>
#include <stddef.h>

/* What a strand waits for. */
struct op;
struct strand;

struct op_class {
    /* The strand was cancelled before push ran: stop what runs, release what is held. Called
     * exactly once, then neither op_complete nor push may come. */
    void (*cancel)(struct op *op);
    /* After op_complete: pushes the results and returns their number, or raises. May await another
     * op. */
    int (*push)(lua_State *L, struct op *op);
};

/* Lives in a userdata on the stack of the coroutine that waits (op_new), so that it goes with
 * it. */
struct op {
    const struct op_class *class;
    struct strand *strand;
    bool completed;
};

/* Pushes a zeroed userdata of that size whose first member is a struct op. [-0, +1, m] */
struct op *op_new(lua_State *L, size_t size, const struct op_class *class);
/* Waits until op, which is at the top of the stack, is completed (not at all if it is). To be
 * returned from a C function: the op's results are its results.
 * [-0, +n, e] */
int op_await(lua_State *L, struct op *op);
/* Completes; the strand goes on in this or the next turn. On the host's thread. */
void op_complete(struct op *op);
