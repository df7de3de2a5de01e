/* SPDX-License-Identifier: MIT */
/* Waiting: a library function starts something, its strand yields, a callback completes the op, the
 * strand goes on. The same four steps for every primitive. */
#include "script/guard.h"
#include "script/host.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <assert.h>

struct op *op_new(lua_State *L, size_t size, const struct op_class *class)
{
    struct op *op = lua_newuserdatauv(L, size, 0);
    memset(op, 0, size);
    op->class = class;
    op->strand = host_of(L)->current;
    return op;
}

static int await_over(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct op *op = (struct op *)context;
    struct host *h = host_of(L);
    if (h != NULL && h->current == op->strand && op->strand->unwinding != NULL)
        return guard_unwind(L);
    if (h == NULL || !op->completed || op->strand != h->current)
        return luaL_error(L, "a coroutine that waits for the host was resumed from elsewhere");
    return op->class->push(L, op);
}

/* A coroutine of the script's own may be closed and collected while its op is under way: the
 * registry keeps the op. */
static void anchor(lua_State *L, struct strand *s)
{
    struct budget *b = host_of(L)->budget;
    budget_pause(b);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    budget_resume(b);
    s->anchored = true;
}

int op_await(lua_State *L, struct op *op)
{
    if (op->completed)
        return op->class->push(L, op);
    assert(op->strand->op == NULL && lua_touserdata(L, -1) == (void *)op);
    if (L != op->strand->L)
        anchor(L, op->strand);
    op->strand->op = op;
    if (op->strand->guard != NULL && !op->strand->guard->waited)
        guard_arm(op->strand);
    lua_pushlightuserdata(L, (void *)&strand_wait_token);
    return lua_yieldk(L, 1, (lua_KContext)op, await_over);
}

void op_complete(struct op *op)
{
    assert(!op->completed);
    op->completed = true;
    if (op->strand->op == op)
        strand_make_ready(op->strand);
}
