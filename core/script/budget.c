/* SPDX-License-Identifier: MIT */
/* Scripts are stopped by a hook that is set only when something is wrong: a count hook that is
 * always on costs more than twice the time, a timer that sets it costs nothing. The timer's signal
 * comes to the thread itself, so that the handler finds the coroutine that runs without a lock. */
#include "script/budget.h"

#include "base/mem.h"
#include "script/alloc.h"
#include "script/fail.h"

#include <lauxlib.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL (SIGRTMIN + 1)
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum over { OVER_NONE, OVER_CPU, OVER_MEMORY };

/* The signal handler reads what is volatile. */
struct budget {
    struct meter *volatile meter;
    lua_State *volatile running;   /* the innermost coroutine */
    volatile sig_atomic_t alarm;   /* coroutines that are entered get the hook */
    volatile sig_atomic_t stretch; /* counts enters */
    sig_atomic_t ticked;           /* the stretch of the last tick */
    bool look;                     /* the account is over: is it really? */
    int paused;
    struct alloc *alloc; /* of the state that runs */
    int64_t used;        /* by it, when the account was last settled */
    timer_t timer;
    bool started;
};

static const char error_in_error[] = "error in error handling";
static const char floor_key = 0; /* registry: the bytes of a state that only holds its scripts */

void budget_meter_start(struct meter *m, int cpu_ms)
{
    memset(m, 0, sizeof(*m));
    m->tick_limit = (cpu_ms + BUDGET_TICK_MS - 1) / BUDGET_TICK_MS;
    m->memory = BUDGET_MEMORY;
}

/* ---- the hook ---- */

static struct alloc *alloc_of(lua_State *L)
{
    void *a;
    return lua_getallocf(L, &a) == alloc_lua ? a : NULL;
}

struct budget *budget_of(lua_State *L)
{
    struct alloc *a = alloc_of(L);
    return a == NULL ? NULL : alloc_bounds(a)->ctx;
}

static void hook(lua_State *L, lua_Debug *ar);

/* Setting it looks at every frame that is open. With hundreds of thousands of them (a recursion)
 * that is longer than a tick, so a handler that did it each time would leave no time to the script.
 */
static void set_hook(lua_State *L)
{
    if (lua_gethook(L) != hook)
        lua_sethook(L, hook, LUA_MASKCOUNT, 1);
}

/* Also called by the signal handler: lua_sethook is made for that. */
static void raise_alarm(struct budget *b)
{
    lua_State *L = b->running;
    b->alarm = 1;
    if (L != NULL)
        set_hook(L);
}

static void tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    struct budget *b = info->si_value.sival_ptr;
    struct meter *m = b->meter;
    if (m == NULL)
        return;
    int missed = b->ticked == b->stretch ? info->si_overrun : 0;
    b->ticked = b->stretch;
    m->ticks += 1 + missed;
    if (m->ticks < m->tick_limit)
        return;
    if (m->over == OVER_NONE)
        m->over = OVER_CPU;
    raise_alarm(b);
}

/* ---- the account ---- */

static int64_t used_of(const struct budget *b)
{
    return (int64_t)alloc_used(b->alloc);
}

static void settle(struct budget *b)
{
    struct meter *m = b->meter;
    if (m == NULL)
        return;
    int64_t used = used_of(b);
    m->bytes += used - b->used;
    if (m->bytes < 0)
        m->bytes = 0;
    b->used = used;
}

static size_t bound(const struct budget *b, int64_t limit)
{
    int64_t room = limit - b->meter->bytes - b->meter->host_bytes;
    return (size_t)(b->used + (room > 0 ? room : 0));
}

static void lift_bounds(struct budget *b)
{
    if (b->alloc == NULL)
        return;
    struct alloc_bounds *bounds = alloc_bounds(b->alloc);
    bounds->soft = bounds->hard = SIZE_MAX;
}

static void set_bounds(struct budget *b)
{
    lift_bounds(b);
    if (b->alloc == NULL || b->meter == NULL || b->paused > 0)
        return;
    struct alloc_bounds *bounds = alloc_bounds(b->alloc);
    bounds->hard = bound(b, b->meter->memory + BUDGET_MEMORY_BEYOND);
    bounds->soft = b->meter->over == OVER_MEMORY ? bounds->hard : bound(b, b->meter->memory);
}

static void told(void *ctx, bool refused)
{
    struct budget *b = ctx;
    if (b->meter == NULL)
        return;
    if (refused && b->meter->over == OVER_NONE)
        b->meter->over = OVER_MEMORY;
    b->look = true;
    raise_alarm(b);
}

/* Is it live? Collects, and cuts the account to what there is at all. */
static void look(struct budget *b, lua_State *L)
{
    struct meter *m = b->meter;
    b->look = false;
    if (m->over != OVER_NONE)
        return;
    budget_pause(b);
    lua_gc(L, LUA_GCCOLLECT, 0);
    settle(b);
    luaL_checkstack(L, 1, "budget");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &floor_key);
    int64_t beyond = b->used - (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (m->bytes > beyond)
        m->bytes = beyond > 0 ? beyond : 0;
    if (m->bytes + m->host_bytes >= m->memory)
        m->over = OVER_MEMORY;
    budget_resume(b);
}

void budget_push_error(lua_State *L, const struct meter *m)
{
    char text[80];
    if (m->over == OVER_CPU)
        snprintf(text, sizeof(text), "used more than %d ms of CPU", m->tick_limit * BUDGET_TICK_MS);
    else
        snprintf(text, sizeof(text), "used more than %d MiB of memory", (int)(m->memory >> 20));
    fail_push(L, str_from(err_name(ERR_BUDGET)), err_status(ERR_BUDGET), err_retryable(ERR_BUDGET),
              str_from(text));
    lua_pushstring(L, m->where);
    lua_setfield(L, -2, "origin");
}

static void note_where(struct meter *m, lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; m->where[0] == 0 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && ar.source[0] == '@')
            snprintf(m->where, sizeof(m->where), "%s:%d", ar.source + 1, ar.currentline);
    }
}

static int raise_over(struct budget *b, lua_State *L)
{
    note_where(b->meter, L);
    budget_pause(b);
    budget_push_error(L, b->meter);
    budget_resume(b);
    return lua_error(L);
}

/* Returns false if there is no reason for a hook any more. */
static bool is_over(struct budget *b, lua_State *L)
{
    struct meter *m = b != NULL ? b->meter : NULL;
    if (m != NULL && b->look)
        look(b, L);
    if (m != NULL && m->over != OVER_NONE)
        return true;
    if (b != NULL)
        b->alarm = 0; /* a tick between the look and here comes again in 5 ms */
    return false;
}

bool budget_is_over(const struct budget *b)
{
    return b != NULL && b->meter != NULL && b->meter->over != OVER_NONE;
}

/* In the hook an error would leave the coroutine with its hooks switched off for good, also for the
 * <close> variables that run later. */
static void hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct budget *b = budget_of(L);
    if (!is_over(b, L)) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    note_where(b->meter, L);
    if (lua_isyieldable(L) && !b->meter->raises)
        lua_yield(L, 0);
    else
        raise_over(b, L);
}

int budget_give_up(lua_State *L)
{
    struct budget *b = budget_of(L);
    if (lua_isyieldable(L) && !b->meter->raises)
        return lua_yield(L, 0);
    return raise_over(b, L);
}

void budget_check(lua_State *L)
{
    struct budget *b = budget_of(L);
    if (is_over(b, L))
        raise_over(b, L);
}

void budget_charge(lua_State *L, size_t bytes)
{
    struct budget *b = budget_of(L);
    if (b == NULL || b->meter == NULL)
        return;
    b->meter->host_bytes += (int64_t)bytes;
    settle(b);
    set_bounds(b);
    if (b->meter->bytes + b->meter->host_bytes < b->meter->memory)
        return;
    b->look = true;
    budget_check(L);
}

/* ---- who runs ---- */

static void follow(struct budget *b, lua_State *L)
{
    if (L == NULL)
        return;
    if (b->alarm)
        set_hook(L);
    else if (lua_gethook(L) != NULL)
        lua_sethook(L, NULL, 0, 0);
}

static void begin(struct budget *b, const struct budget_frame *f)
{
    lift_bounds(b); /* of the state that ran, if it is another one */
    b->running = f->L;
    b->meter = f->meter;
    b->paused = f->paused;
    b->alarm = f->meter != NULL && f->meter->over != OVER_NONE;
    b->look = false; /* it is told again */
    b->stretch++;
    if (f->L != NULL) {
        b->alloc = alloc_of(f->L);
        b->used = used_of(b);
    } else {
        b->alloc = NULL; /* nothing runs: the state may be closed next */
    }
    set_bounds(b);
    follow(b, f->L);
}

void budget_enter(struct budget *b, struct meter *m, lua_State *L, struct budget_frame *ret_before)
{
    if (b == NULL)
        return;
    settle(b);
    *ret_before = (struct budget_frame){b->meter, b->running, b->paused};
    begin(b, &(struct budget_frame){m, L, 0});
}

void budget_leave(struct budget *b, const struct budget_frame *before)
{
    if (b == NULL)
        return;
    settle(b);
    begin(b, before);
}

lua_State *budget_switch(struct budget *b, lua_State *L)
{
    if (b == NULL)
        return NULL;
    lua_State *before = b->running;
    b->running = L;
    follow(b, L);
    return before;
}

int budget_reset_thread(struct budget *b, lua_State *co)
{
    if (budget_is_over(b))
        return LUA_OK; /* nothing of it runs any more */
    lua_State *before = budget_switch(b, co);
    int status = lua_resetthread(co);
    budget_switch(b, before);
    return status;
}

void budget_pause(struct budget *b)
{
    if (b == NULL)
        return;
    b->paused++;
    set_bounds(b);
}

void budget_resume(struct budget *b)
{
    if (b == NULL)
        return;
    b->paused--;
    settle(b);
    set_bounds(b);
}

/* ---- life ---- */

struct budget *budget_new(void)
{
    return xcalloc(1, sizeof(struct budget));
}

void budget_free(struct budget *b)
{
    assert(b == NULL || !b->started);
    free(b);
}

static void watch_signal(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    pthread_sigmask(how, &set, NULL);
}

int budget_start(struct budget *b, struct err *err)
{
    struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL};
    struct timespec every = {0, BUDGET_TICK_MS * 1000 * 1000};
    struct itimerspec times = {every, every};
    event.sigev_value.sival_ptr = b;
    event.sigev_notify_thread_id = gettid();
    if (sigaction(SIGNAL, &action, NULL) != 0 ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &b->timer) != 0)
        return err_sys(err, ERR_INTERNAL, "create the CPU timer of scripts");
    b->started = true;
    watch_signal(SIG_UNBLOCK);
    if (timer_settime(b->timer, 0, &times, NULL) == 0)
        return 0;
    err_sys(err, ERR_INTERNAL, "start the CPU timer of scripts");
    budget_stop(b);
    return -1;
}

/* A tick that is still on its way would find a budget that is gone. It is taken out by itself:
 * other timers of this thread go on. */
void budget_stop(struct budget *b)
{
    if (b == NULL || !b->started)
        return;
    sigset_t set;
    struct timespec at_once = {0, 0};
    watch_signal(SIG_BLOCK);
    timer_delete(b->timer);
    b->started = false;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    while (sigtimedwait(&set, NULL, &at_once) >= 0)
        continue;
    watch_signal(SIG_UNBLOCK);
}

void budget_attach(struct budget *b, lua_State *L)
{
    struct alloc *a = alloc_of(L);
    assert(a != NULL);
    /* Lua makes this text outside of any protection; it is there already. */
    lua_pushlstring(L, error_in_error, sizeof(error_in_error) - 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, error_in_error);
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_pushinteger(L, (lua_Integer)alloc_used(a));
    lua_rawsetp(L, LUA_REGISTRYINDEX, &floor_key);
    *alloc_bounds(a) = (struct alloc_bounds){SIZE_MAX, SIZE_MAX, told, b};
}
