/* SPDX-License-Identifier: MIT */
/* task.sleep, all, race and unit(fn): waiting, doing several things at once, and doing something
 * wholly or not at all. */
#include "script/fail.h"
#include "script/frozen.h"
#include "script/host.h"
#include "script/lib/libs.h"
#include "script/strand.h"

#include <lauxlib.h>

#define GROUP_MAX 100

/* ---- sleep ---- */

struct sleep_op {
    struct op op;
    struct loop_timer timer;
};

static void sleep_cancel(struct op *op)
{
    loop_timer_stop(op->strand->task->host->loop, &((struct sleep_op *)op)->timer);
}

static int sleep_push(lua_State *L, struct op *op)
{
    (void)L;
    (void)op;
    return 0;
}

static const struct op_class sleep_class = {sleep_cancel, sleep_push};

static void sleep_over(struct loop_timer *t)
{
    op_complete(&list_entry(t, struct sleep_op, timer)->op);
}

/* task.sleep(duration) */
static int task_sleep(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "task.sleep");
    int64_t ms = lib_check_duration(L, 1, "task.sleep");
    struct loop *loop = s->task->host->loop;
    struct sleep_op *o = (struct sleep_op *)op_new(L, sizeof(*o), &sleep_class);
    o->timer.fn = sleep_over;
    loop_refresh(loop);
    loop_timer_start(loop, &o->timer, loop_now_ns(loop) + ms * NS_PER_MS);
    return op_await(L, &o->op);
}

/* ---- all and race ---- */

struct group_op {
    struct op op;
    bool race;
    int count, running;
    struct strand *decisive; /* all: the first that failed; race: the first that succeeded, else the
                                last that failed */
    struct strand *children[GROUP_MAX];
};

static void drop_children(struct group_op *o)
{
    for (int i = 0; i < o->count; i++) {
        struct strand *child = o->children[i];
        if (child == NULL)
            continue;
        o->children[i] = NULL;
        if (!child->ended)
            strand_cancel(child);
        if (child->scope != NULL)
            strand_drop_scopes(child, o->op.strand->scope);
        strand_free(child);
    }
}

static void group_cancel(struct op *op)
{
    drop_children((struct group_op *)op);
}

static void group_child_ended(struct strand *child)
{
    struct group_op *o = child->owner;
    bool ok = child->status == LUA_OK;
    o->running--;
    bool decided = o->race ? ok : !ok;
    if (decided || (o->race && o->running == 0))
        o->decisive = child;
    if (!o->op.completed && (decided || o->running == 0))
        op_complete(&o->op);
}

static void keep(struct strand *child)
{
    store_scope_close(child->scope);
    child->scope = NULL;
}

/* The first value of each child, in order. */
static int push_all(lua_State *L, struct group_op *o)
{
    luaL_checkstack(L, o->count + 1, "task.all");
    for (int i = 0; i < o->count; i++) {
        lua_State *from = o->children[i]->L;
        lua_settop(from, 1);
        lua_xmove(from, L, 1);
        keep(o->children[i]);
    }
    drop_children(o);
    return o->count;
}

static int group_push(lua_State *L, struct op *op)
{
    struct group_op *o = (struct group_op *)op;
    struct strand *s = o->decisive;
    if (s == NULL)
        return push_all(L, o);
    bool ok = s->status == LUA_OK;
    int n = ok ? lua_gettop(s->L) : 1;
    luaL_checkstack(L, n + 1, "task.race");
    lua_xmove(s->L, L, n);
    if (ok)
        keep(s);
    drop_children(o);
    return ok ? n : lua_error(L);
}

static const struct op_class group_class = {group_cancel, group_push};

/* Functions as arguments or in one list; leaves them on the stack from 1. */
static int check_functions(lua_State *L, const char *word)
{
    if (lua_gettop(L) == 1 && lua_istable(L, 1)) {
        frozen_see(L, 1);
        int n = (int)lua_rawlen(L, 1);
        luaL_checkstack(L, n, word);
        for (int i = 1; i <= n; i++)
            lua_rawgeti(L, 1, i);
        lua_remove(L, 1);
    }
    int n = lua_gettop(L);
    if (n == 0 || n > GROUP_MAX)
        fail_misuse(L, "%s: expected 1 to %d functions, got %d", word, GROUP_MAX, n);
    for (int i = 1; i <= n; i++)
        if (!lua_isfunction(L, i))
            fail_misuse(L, "%s: argument %d must be a function, got a %s", word, i,
                        luaL_typename(L, i));
    return n;
}

static int start_group(lua_State *L, const char *word, bool race)
{
    struct strand *s = strand_check_wait(L, word);
    int n = check_functions(L, word);
    luaL_checkstack(L, 4, word);
    struct group_op *o = (struct group_op *)op_new(L, sizeof(*o), &group_class);
    o->race = race;
    o->count = n;
    o->running = n;
    for (int i = 0; i < n; i++) {
        lua_pushvalue(L, i + 1);
        o->children[i] = strand_new(L, s, 0);
        o->children[i]->on_end = group_child_ended;
        o->children[i]->owner = o;
    }
    for (int i = 0; i < n && !o->op.completed; i++)
        strand_run(o->children[i], L);
    return op_await(L, &o->op);
}

/* task.all(fn, ...): runs all at once; the first value of each, in order. The first error cancels
 * the others and is raised; then none of them has changed anything. */
static int task_all(lua_State *L)
{
    return start_group(L, "task.all", false);
}

/* task.race(fn, ...): the values of the first that succeeds; the others are cancelled and have
 * changed nothing. */
static int task_race(lua_State *L)
{
    return start_group(L, "task.race", true);
}

int lib_task_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"sleep", task_sleep}, {"all", task_all}, {"race", task_race}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* ---- unit ---- */

static int unit_over(lua_State *L, int status, lua_KContext context)
{
    struct store_scope *outer = (struct store_scope *)context;
    struct strand *s = host_of(L)->current;
    if (status != LUA_OK && status != LUA_YIELD) {
        strand_drop_scopes(s, outer);
        return lua_error(L);
    }
    struct store_scope *scope = s->scope;
    s->scope = outer;
    store_scope_close(scope);
    return lua_gettop(L);
}

/* unit(fn, ...): fn's values; an error drops what fn changed and is raised. */
int lib_unit(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "unit");
    if (!lua_isfunction(L, 1))
        return fail_misuse(L, "unit(fn): expected a function, got a %s", luaL_typename(L, 1));
    struct store_scope *outer = strand_scope(s);
    s->scope = store_scope_open(outer);
    int status = lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, (lua_KContext)outer, unit_over);
    return unit_over(L, status, (lua_KContext)outer);
}
