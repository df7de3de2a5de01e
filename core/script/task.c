/* SPDX-License-Identifier: MIT */
/* The life of a task: run, hand the unit to the writer, and by its verdict end or run again. Every
 * transition is one function here. */
#include "script/task.h"

#include "script/fail.h"
#include "script/host.h"
#include "script/refusal.h"
#include "script/strand.h"

#include <lauxlib.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define CLAIMS_MAX 8
#define TURN_STRANDS 64
#define TURN_NS (2 * NS_PER_MS)
#define LEFT_BYTES ((int64_t)4 << 20)

static void task_run(struct task *t);

/* ---- the end ---- */

static void release_claims(struct task *t)
{
    while (t->claims != NULL) {
        struct lane_claim *c = t->claims;
        t->claims = c->next;
        bool joined = c->home != NULL;
        if (!joined || lane_leave(t->host->lanes, c))
            free(c);
    }
}

/* A little is collected along the way. */
static void count_left(struct task *t)
{
    if (t->meter.bytes >= LEFT_BYTES / 4)
        t->host->left_bytes += t->meter.bytes;
}

/* Else it would be collected while the next one runs, and be taken off the account of that one. */
static void collect_left(struct host *h)
{
    if (h->left_bytes < LEFT_BYTES)
        return;
    lua_gc(h->L, LUA_GCCOLLECT, 0);
    h->left_bytes = 0;
}

static void drop_run(struct task *t)
{
    struct strand *s = t->root;
    if (s == NULL)
        return;
    t->root = NULL;
    count_left(t);
    strand_abandon_children(s);
    strand_drop_scopes(s, NULL);
    strand_free(s);
}

bool task_holds(const struct task *t, int service)
{
    return t->held[service / 64] >> (service % 64) & 1;
}

static void hold(struct task *t, const struct service *s)
{
    t->held[s->number / 64] |= UINT64_C(1) << (s->number % 64);
    t->host->services[s->number].holds++;
}

bool task_hold(struct task *t, const struct service *s)
{
    if (task_holds(t, s->number))
        return true;
    if (!host_is_open(t->host, s))
        return false;
    hold(t, s);
    return true;
}

static void release_services(struct task *t)
{
    for (int i = 0; i < TASK_SERVICES_MAX / 64; i++) {
        for (uint64_t left = t->held[i]; left != 0; left &= left - 1)
            t->host->services[i * 64 + __builtin_ctzll(left)].holds--;
        t->held[i] = 0;
    }
}

static void task_end(struct task *t, const struct task_error *error)
{
    struct host *h = t->host;
    assert(t->root == NULL && t->unit == NULL);
    loop_timer_stop(h->loop, &t->deadline);
    release_claims(t);
    release_services(t);
    list_remove(&t->node);
    h->task_count--;
    if (error != NULL)
        host_count(&h->counts->errors);
    t->class->ended(t, error);
    refusal_free(t->refusals);
    arena_free(t->arena);
    memset(t, 0, sizeof(*t));
    list_push(&h->free_tasks, &t->node);
}

static void end_with_code(struct task *t, enum err_code code, const char *message)
{
    struct err err;
    err_set(&err, code, "%s", message);
    fail_from_err(t->arena, &err, &t->error);
    task_end(t, &t->error);
}

/* ---- running again ---- */

static bool claims_row(const struct task *t, const struct store_table *table, int64_t id)
{
    for (struct lane_claim *c = t->claims; c != NULL; c = c->next)
        if (c->table == table && c->id == id)
            return true;
    return false;
}

static int claim_count(const struct task *t)
{
    int n = 0;
    for (struct lane_claim *c = t->claims; c != NULL; c = c->next)
        n++;
    return n;
}

static void join_lanes(struct task *t);

static void lane_granted(struct lane_claim *c)
{
    join_lanes(c->owner);
}

/* Takes the lanes in order; waits at the first that is taken, runs when it has all. */
static void join_lanes(struct task *t)
{
    for (struct lane_claim *c = t->claims; c != NULL; c = c->next) {
        if (c->granted)
            continue;
        c->home = t->host->mailbox;
        if (!lane_join(t->host->lanes, c))
            return;
    }
    task_run(t);
}

static void add_claim(struct task *t, const struct store_table *table, int64_t id)
{
    struct lane_claim *c = xcalloc(1, sizeof(*c));
    c->table = table;
    c->id = id;
    c->granted_fn = lane_granted;
    c->owner = t;
    struct lane_claim **at = &t->claims;
    while (*at != NULL && lane_claim_before(*at, c))
        at = &(*at)->next;
    c->next = *at;
    *at = c;
}

/* Lanes are taken in one order by everybody: what is held is given back before more is claimed. */
static void run_in_lane(struct task *t, const struct store_table *table, int64_t id)
{
    struct {
        const struct store_table *table;
        int64_t id;
    } rows[CLAIMS_MAX];
    int n = 0;
    for (struct lane_claim *c = t->claims; c != NULL && n < CLAIMS_MAX - 1; c = c->next) {
        rows[n].table = c->table;
        rows[n++].id = c->id;
    }
    bool known = claims_row(t, table, id);
    if (known) {
        join_lanes(t);
        return;
    }
    release_claims(t);
    rows[n].table = table;
    rows[n++].id = id;
    for (int i = 0; i < n; i++)
        add_claim(t, rows[i].table, rows[i].id);
    join_lanes(t);
}

bool task_wants_lane(struct task *t, const struct store_table *table, int64_t id)
{
    return lane_exists(t->host->lanes, table, id) && !claims_row(t, table, id) &&
           claim_count(t) < CLAIMS_MAX - 1;
}

static void lane_restart_cancel(struct op *op)
{
    (void)op; /* the restart itself cancels it */
}

static int lane_restart_push(lua_State *L, struct op *op)
{
    (void)op;
    return luaL_error(L, "a run that was given up went on");
}

static const struct op_class lane_restart_class = {lane_restart_cancel, lane_restart_push};

int task_restart_in_lane(lua_State *L, const struct store_table *table, int64_t id)
{
    struct op *op = op_new(L, sizeof(*op), &lane_restart_class);
    struct task *t = op->strand->task;
    t->restart_table = table;
    t->restart_id = id;
    t->next_restart = t->host->restarts;
    t->host->restarts = t;
    loop_defer(t->host->loop, &t->host->run_ready);
    return op_await(L, op);
}

static void forget_restart(struct task *t)
{
    if (t->restart_table == NULL)
        return;
    struct task **at = &t->host->restarts;
    while (*at != t)
        at = &(*at)->next_restart;
    *at = t->next_restart;
    t->restart_table = NULL;
}

static void run_restarts(struct host *h)
{
    while (h->restarts != NULL) {
        struct task *t = h->restarts;
        const struct store_table *table = t->restart_table;
        forget_restart(t);
        strand_cancel(t->root);
        drop_run(t);
        run_in_lane(t, table, t->restart_id);
    }
}

/* ---- the verdict ---- */

static void refused(struct task *t, const struct store_unit *u)
{
    if (t->cancelled) {
        task_end(t, &t->error);
        return;
    }
    if (t->runs >= TASK_RUNS_MAX) {
        enum err_code code = u->verdict == STORE_CONFLICT ? ERR_CONFLICT
                             : u->verdict == STORE_EXISTS ? ERR_EXISTS
                                                          : ERR_BOUND;
        end_with_code(t, code, "refused again and again; other tasks change the same rows");
        return;
    }
    if (u->verdict == STORE_EXISTS && u->refused_index < 0) {
        end_with_code(t, ERR_EXISTS,
                      "a row with the same values exists already; newer rules want them to differ");
        return;
    }
    host_count(&t->host->counts->reruns);
    if (u->verdict == STORE_CONFLICT && u->refused != NULL) {
        run_in_lane(t, u->refused->table, u->refused->id);
        return;
    }
    if (u->verdict != STORE_CONFLICT)
        t->refusals = refusal_add(t->refusals, u);
    task_run(t);
}

static void verdict(struct store_unit *u)
{
    struct task *t = u->owner;
    t->unit = NULL;
    switch (u->verdict) {
    case STORE_COMMITTED:
        host_count(&t->host->counts->commits);
        task_end(t, NULL);
        break;
    case STORE_CONFLICT:
    case STORE_EXISTS:
    case STORE_BOUND:
        refused(t, u);
        break;
    case STORE_FAILED:
        fail_from_err(t->arena, &u->err, &t->error);
        task_end(t, &t->error);
        break;
    }
}

/* ---- a run ---- */

static void hand_over(struct task *t, struct store_unit *u)
{
    struct host *h = t->host;
    u->home = h->mailbox;
    u->done = verdict;
    u->owner = t;
    u->next = NULL;
    t->unit = u;
    if (h->outbox_last == NULL)
        h->outbox_first = u;
    else
        h->outbox_last->next = u;
    h->outbox_last = u;
}

static bool has_seal(const struct task *t)
{
    return t->class->seal != NULL && (t->class->seals == NULL || t->class->seals(t));
}

static void run_succeeded(struct task *t)
{
    bool sealed = has_seal(t);
    struct strand *s = t->root;
    struct store_scope *scope = s->scope;
    if (scope == NULL && sealed)
        scope = strand_scope(s);
    assert(scope == NULL || scope->parent == NULL);
    s->scope = NULL;
    t->root = NULL;
    count_left(t);
    strand_free(s);
    struct store_unit *u = scope == NULL ? NULL : store_scope_close(scope);
    if (u != NULL && sealed)
        t->class->seal(t, u);
    if (u == NULL || store_unit_is_empty(u)) {
        if (u != NULL)
            store_unit_unref(u);
        task_end(t, NULL);
        return;
    }
    hand_over(t, u);
}

struct raised {
    struct strand *s;
    struct task_error *error;
};

/* [light userdata] Reads the error on top of the strand's stack; a defect of a script is logged
 * with its traceback. */
static int read_raised(lua_State *L)
{
    struct raised *r = lua_touserdata(L, 1);
    struct task *t = r->s->task;
    lua_xmove(r->s->L, L, 1);
    fail_read(L, t->arena, r->error);
    if (r->error->origin.n == 0)
        r->error->origin = fail_origin(r->s->L, t->arena);
    if (r->error->status < 500 ||
        (!str_eq(r->error->code, STR("script")) && !str_eq(r->error->code, STR("budget"))))
        return 0;
    luaL_traceback(L, r->s->L, NULL, 0);
    struct str trace = str_from(lua_tostring(L, -1));
    log_event(LOG_ERROR, "script error",
              LOG_S("service", t->service != NULL ? t->service->name : STR("")),
              fail_log_script(r->error->origin), fail_log_line(r->error->origin),
              LOG_I("generation", t->host->program->generation),
              LOG_S("correlationId", t->correlation_id), LOG_S("code", r->error->code),
              LOG_S("error", r->error->message), LOG_S("what", t->what), LOG_S("traceback", trace));
    return 0;
}

static void run_failed(struct task *t)
{
    struct raised r = {t->root, &t->error};
    struct err err;
    if (host_protected(t->host, read_raised, &r, &err) != 0)
        fail_from_err(t->arena, &err, &t->error);
    drop_run(t);
    task_end(t, &t->error);
}

static void root_ended(struct strand *s)
{
    if (s->status == LUA_OK)
        run_succeeded(s->task);
    else
        run_failed(s->task);
}

static int task_left(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct task *t = (struct task *)context;
    t->class->leave(L, t);
    lua_settop(L, 0);
    return 0;
}

/* The body of every root strand. */
static int task_main(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    lua_settop(L, 0);
    int args = t->class->enter(L, t);
    lua_callk(L, args, LUA_MULTRET, (lua_KContext)t, task_left);
    return task_left(L, LUA_OK, (lua_KContext)t);
}

static void task_run(struct task *t)
{
    struct host *h = t->host;
    assert(t->root == NULL);
    if (t->arena != NULL && t->runs > 0) {
        arena_free(t->arena);
        t->arena = NULL;
    }
    if (t->arena == NULL)
        t->arena = arena_new(0);
    t->runs++;
    t->event_count = t->call_count = t->log_count = 0;
    refusal_begin(t->refusals);
    collect_left(h);
    budget_meter_start(&t->meter, t->budget.cpu_ms);
    t->meter.memory = t->budget.memory_bytes;
    budget_meter_start(&t->closing, BUDGET_CLOSE_MS);
    t->closing.raises = true;
    t->serial = ++h->serials;
    t->root = strand_root(t, task_main);
    t->root->on_end = root_ended;
    strand_make_ready(t->root);
}

static void deadline_passed(struct loop_timer *timer)
{
    struct task *t = list_entry(timer, struct task, deadline);
    task_cancel(t, ERR_TIMEOUT, "not finished within its deadline");
}

struct task *task_start(struct host *h, const struct task_conf *conf)
{
    struct list *node = list_pop(&h->free_tasks);
    struct task *t = node != NULL ? list_entry(node, struct task, node) : xcalloc(1, sizeof(*t));
    t->host = h;
    t->class = conf->class;
    t->owner = conf->owner;
    t->service = conf->service;
    t->correlation_id = conf->correlation_id;
    t->what = conf->what;
    t->cause_seq = conf->cause_seq;
    t->budget = conf->budget != NULL ? *conf->budget : TASK_BUDGET_DEFAULT;
    t->deadline_ns = conf->deadline_ns;
    list_init(&t->strands);
    list_push(&h->tasks, &t->node);
    h->task_count++;
    if (t->service != NULL && t->service->number != SERVICE_OF_NOBODY)
        hold(t, t->service);
    t->deadline.fn = deadline_passed;
    loop_timer_start(h->loop, &t->deadline, t->deadline_ns);
    task_run(t);
    return t;
}

void task_cancel(struct task *t, enum err_code code, const char *message)
{
    struct err err;
    loop_timer_stop(t->host->loop, &t->deadline);
    err_set(&err, code, "%s", message);
    fail_from_err(t->arena, &err, &t->error);
    t->cancelled = true;
    if (t->unit != NULL)
        return; /* the writer has it: its verdict is the truth */
    forget_restart(t);
    if (t->root != NULL) {
        strand_cancel(t->root);
        drop_run(t);
    }
    task_end(t, &t->error);
}

static void hand_over_all(struct host *h)
{
    if (h->outbox_first == NULL)
        return;
    struct store_unit *first = h->outbox_first, *last = h->outbox_last;
    h->outbox_first = h->outbox_last = NULL;
    store_submit(h->store, first, last);
}

void task_run_ready(struct host *h)
{
    loop_refresh(h->loop);
    int64_t until = loop_now_ns(h->loop) + TURN_NS;
    for (int n = 0; h->ready_first != NULL && n < TURN_STRANDS; n++) {
        struct strand *s = h->ready_first;
        h->ready_first = s->next_ready;
        if (h->ready_first == NULL)
            h->ready_last = &h->ready_first;
        s->ready = false;
        strand_run(s, NULL);
        if (n % 8 == 7) {
            loop_refresh(h->loop);
            if (loop_now_ns(h->loop) > until)
                break;
        }
    }
    run_restarts(h);
    hand_over_all(h);
    if (h->ready_first != NULL)
        loop_defer(h->loop, &h->run_ready);
}
