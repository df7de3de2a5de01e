/* SPDX-License-Identifier: MIT */
/* A delivery as a task: the policy's function with the event, its effects sealed with the mark
 * "done". */
#include "script/fail.h"
#include "script/host.h"

#include <lauxlib.h>

static void push_meta(lua_State *L, const struct bus_delivery *d, struct host *h)
{
    struct str log = store_log_name(h->store);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, d->event->seq);
    lua_setfield(L, -2, "seq");
    lua_pushlstring(L, log.p, log.n);
    lua_pushfstring(L, "-%I", (LUAI_UACINT)d->event->seq);
    lua_concat(L, 2);
    lua_setfield(L, -2, "id");
    lua_pushlstring(L, d->event->type->name.p, d->event->type->name.n);
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, d->event->time_ms);
    lua_setfield(L, -2, "time");
    lua_pushinteger(L, d->tries);
    lua_setfield(L, -2, "try");
}

static int delivery_enter(lua_State *L, struct task *t)
{
    struct bus_delivery *d = t->owner;
    struct host *h = t->host;
    if (d->committed_ns > 0 && d->tries == 1 && t->runs == 1)
        latency_add(&h->counts->commit_to_handler,
                    clock_mono_ns(loop_clock(h->loop)) - d->committed_ns);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->policies_ref);
    lua_rawgeti(L, -1, d->policy->index + 1);
    lua_remove(L, -2);
    record_push_event(L, &h->program->event_shapes[d->event->type->number], d->event);
    push_meta(L, d, h);
    return 2;
}

static void delivery_leave(lua_State *L, struct task *t)
{
    (void)L;
    (void)t;
}

static void delivery_seal(struct task *t, struct store_unit *u)
{
    bus_delivery_note(t->owner, u);
}

static void log_failure(const struct bus_delivery *d, const struct task_error *e,
                        int64_t generation)
{
    log_event(LOG_WARN, "policy failed", LOG_S("service", d->policy->service),
              fail_log_script(e->origin), fail_log_line(e->origin),
              LOG_S("policy", d->policy->name), LOG_S("event", d->event->type->name),
              LOG_S("key", d->event->key), LOG_I("seq", d->event->seq), LOG_I("try", d->tries),
              LOG_I("generation", generation), LOG_S("correlationId", d->event->correlation_id),
              LOG_S("code", e->code), LOG_S("error", e->message));
}

static void delivery_ended(struct task *t, const struct task_error *error)
{
    struct bus_delivery *d = t->owner;
    if (error == NULL) {
        bus_delivery_done(d);
        return;
    }
    if (t->host->stopping && str_eq(error->code, STR("cancelled"))) {
        bus_delivery_abandon(d);
        return;
    }
    if (t->cancelled && str_eq(error->code, STR("stopped")) && !host_is_open(t->host, t->service)) {
        bus_delivery_return(d);
        return;
    }
    log_failure(d, error, t->host->program->generation);
    struct bus_failure why = {error->failed_on_purpose, error->code, error->message, error->origin};
    bus_delivery_failed(d, &why);
}

static const struct task_class delivery_class = {delivery_enter, delivery_leave, delivery_seal,
                                                 NULL, delivery_ended};

/* A failed try: it is tried again, later each time. */
static void refuse(struct bus_delivery *d)
{
    struct bus_failure why = {false, str_from(err_name(ERR_LIMIT)), STR(HOST_CROWDED), STR("")};
    bus_delivery_failed(d, &why);
}

void delivery_run(void *ctx, struct bus_delivery *d)
{
    struct host *h = ctx;
    struct task_conf conf = {
        .class = &delivery_class,
        .owner = d,
        .service = program_service(h->program, d->policy->service),
        .correlation_id = d->event->correlation_id,
        .what = d->policy->name,
        .cause_seq = d->event->seq,
        .budget = &h->program->policy_budgets[d->policy->index],
        .deadline_ns = loop_now_ns(h->loop) + h->delivery_ms * NS_PER_MS,
    };
    host_count(&h->counts->deliveries);
    if (host_has_memory(h))
        task_start(h, &conf);
    else
        refuse(d);
}
