/* SPDX-License-Identifier: MIT */
/* A stop goes from the outside to the inside: the gate closes, so that nothing begins; the bus lets
 * go of what waits; the workers say when what began has ended; and the last unit of all, behind
 * those of the service in the writer's queue, makes it durable. A start is the way back. */
#include "app/control.h"

#include "app/app.h"

#include <stdlib.h>

#define REBUILT_LOOK_NS (5 * NS_PER_MS)

struct waiter {
    struct waiter *next;
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
};

struct job {
    struct list node;
    struct control *control;
    struct gate *gate;
    bool stop;
    struct waiter *waiters;
    struct arena *arena;
    struct str correlation_id;
    int64_t began_ns;
    int64_t to;             /* started: its views in memory get all up to here first, */
    struct loop_timer look; /* which is looked at now and then */
    int waiting;            /* workers */
    struct worker_wait waits[];
};

struct control {
    struct app *app;
    struct list jobs;
    bool aborted;
};

static void free_job(struct job *job)
{
    list_remove(&job->node);
    loop_timer_stop(job->control->app->loop, &job->look);
    arena_free(job->arena);
    free(job);
}

static void tell(struct job *job, const struct err *err)
{
    struct waiter *w;
    while ((w = job->waiters) != NULL) {
        job->waiters = w->next;
        w->done(w->ctx, err);
    }
}

static void finish(struct job *job, const struct err *err)
{
    const struct app *a = job->control->app;
    int64_t took_ns = clock_mono_ns(&a->clock) - job->began_ns;
    if (err != NULL)
        log_event(LOG_ERROR, job->stop ? "service not stopped" : "service not started",
                  LOG_S("service", job->gate->name), LOG_C("error", err->message));
    else
        log_event(LOG_INFO, job->stop ? "service stopped" : "service started",
                  LOG_S("service", job->gate->name), LOG_I("took_ms", took_ns / NS_PER_MS),
                  LOG_S("correlationId", job->correlation_id));
    tell(job, err);
    free_job(job);
}

/* Views in memory that were never made in this process would answer with a part of their rows. */
static void look_at_views(struct loop_timer *t)
{
    struct job *job = list_entry(t, struct job, look);
    const struct app *a = job->control->app;
    if (job->control->aborted) /* answered already */
        return;
    if (!bus_service_is_rebuilt(a->bus, job->gate->name, job->to)) {
        loop_timer_start(a->loop, t, loop_now_ns(a->loop) + REBUILT_LOOK_NS);
        return;
    }
    atomic_store(&job->gate->state, GATE_UP);
    finish(job, NULL);
}

static void start_service(struct job *job)
{
    const struct app *a = job->control->app;
    bus_service_start(a->bus, job->gate->name);
    job->to = store_log_last_seq(a->store);
    job->look.fn = look_at_views;
    look_at_views(&job->look);
}

/* The stop could not be written: it goes on. */
static void go_on(struct job *job)
{
    bus_service_start(job->control->app->bus, job->gate->name);
    atomic_store(&job->gate->state, GATE_UP);
}

static void on_written(struct store_unit *u)
{
    struct job *job = u->owner;
    bool committed = u->verdict == STORE_COMMITTED;
    if (job->control->aborted) /* answered already */
        return;
    if (!job->stop && committed) {
        start_service(job);
        return;
    }
    if (job->stop && committed)
        atomic_store(&job->gate->state, GATE_DOWN);
    else if (job->stop)
        go_on(job);
    finish(job, committed ? NULL : &u->err);
}

/* Behind all units of the service in the writer's queue, so that when it is committed they are. */
static void write_state(struct job *job)
{
    struct app *a = job->control->app;
    struct value service = value_text(job->gate->name);
    struct host_event e = {job->stop ? "ServiceStopped" : "ServiceStarted", &service, 1,
                           job->correlation_id};
    struct store_unit *u = host_events_unit(a->program, clock_wall_ms(&a->clock), &e);
    store_unit_note(u, job->stop ? STORE_NOTE_SERVICE_STOPPED : STORE_NOTE_SERVICE_STARTED)->key =
        arena_str(u->arena, job->gate->name);
    u->home = a->mailbox;
    u->done = on_written;
    u->owner = job;
    store_submit(a->store, u, u);
}

static void worker_done(struct worker_wait *wait)
{
    struct job *job = wait->owner;
    if (--job->waiting == 0 && !job->control->aborted)
        write_state(job);
}

static void drain(struct job *job)
{
    struct app *a = job->control->app;
    log_event(LOG_INFO, "stopping a service", LOG_S("service", job->gate->name),
              LOG_S("correlationId", job->correlation_id));
    atomic_store(&job->gate->state, GATE_DRAINING);
    bus_service_stop(a->bus, job->gate->name);
    job->waiting = a->worker_count;
    for (int i = 0; i < a->worker_count; i++) {
        job->waits[i] = (struct worker_wait){.gate = job->gate,
                                             .cancel_ns = job->began_ns + CONTROL_DRAIN_NS,
                                             .done = worker_done,
                                             .owner = job};
        worker_wait_service(a->workers[i], &job->waits[i]);
    }
}

static struct job *find_job(const struct control *c, const struct gate *gate)
{
    list_each (node, &c->jobs) {
        struct job *job = list_entry(node, struct job, node);
        if (job->gate == gate)
            return job;
    }
    return NULL;
}

static struct job *new_job(struct control *c, struct gate *gate, const struct control_request *r)
{
    struct job *job =
        xcalloc(1, sizeof(*job) + (size_t)c->app->worker_count * sizeof(job->waits[0]));
    job->control = c;
    job->gate = gate;
    job->stop = r->stop;
    job->arena = arena_new(0);
    job->correlation_id = arena_str(job->arena, r->correlation_id);
    job->began_ns = clock_mono_ns(&c->app->clock);
    list_push(&c->jobs, &job->node);
    return job;
}

static void add_waiter(struct job *job, const struct control_request *r)
{
    struct waiter *w = arena_zalloc(job->arena, sizeof(*w));
    *w = (struct waiter){job->waiters, r->done, r->ctx};
    job->waiters = w;
}

static void refuse(const struct control_request *r, enum err_code code, const char *why)
{
    struct err err;
    err_set(&err, code, "service %.*s: %s", STR_ARG(r->service), why);
    r->done(r->ctx, &err);
}

static void refuse_remote(const struct control_request *r, const struct service *s)
{
    struct err err;
    err_set(&err, ERR_CONFLICT,
            "service %.*s runs in another process%s%.*s; %s it at that one's admin side",
            STR_ARG(r->service), s->url.n > 0 ? ", at " : "", STR_ARG(s->url),
            r->stop ? "stop" : "start");
    r->done(r->ctx, &err);
}

void control_ask(struct control *c, const struct control_request *r)
{
    struct gate *gate = gates_get(c->app->gates, r->service);
    struct job *job = find_job(c, gate);
    const struct service *s = program_service(c->app->program, r->service);
    if (s != NULL && !s->here) {
        refuse_remote(r, s);
    } else if (c->aborted) {
        refuse(r, ERR_STOPPED, "the process is ending");
    } else if (job != NULL && job->stop != r->stop) {
        refuse(r, ERR_CONFLICT,
               job->stop ? "it is being stopped; try again when it is down"
                         : "it is being started; try again when it is up");
    } else if (job != NULL) {
        add_waiter(job, r);
    } else if ((gates_state(gate) == GATE_DOWN) == r->stop) {
        r->done(r->ctx, NULL);
    } else {
        job = new_job(c, gate, r);
        add_waiter(job, r);
        if (r->stop)
            drain(job);
        else
            write_state(job);
    }
}

int control_restore(struct control *c, struct err *err)
{
    struct arena *a = arena_new(0);
    struct str *names;
    size_t count;
    int failed = store_log_stopped(c->app->session, a, &names, &count, err);
    for (size_t i = 0; !failed && i < count; i++) {
        atomic_store(&gates_get(c->app->gates, names[i])->state, GATE_DOWN);
        bus_service_stop(c->app->bus, names[i]);
        log_event(LOG_WARN, "service is stopped", LOG_S("service", names[i]));
    }
    arena_free(a);
    return failed;
}

struct control *control_new(struct app *a)
{
    struct control *c = xcalloc(1, sizeof(*c));
    c->app = a;
    list_init(&c->jobs);
    return c;
}

void control_abort(struct control *c)
{
    struct err err;
    err_set(&err, ERR_STOPPED, "the process is ending");
    c->aborted = true;
    list_each (node, &c->jobs)
        tell(list_entry(node, struct job, node), &err);
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    while (!list_empty(&c->jobs))
        free_job(list_entry(c->jobs.next, struct job, node));
    free(c);
}
