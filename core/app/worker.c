/* SPDX-License-Identifier: MIT */
/* Everything of one worker is made on the main thread before its thread starts and taken apart
 * after it has ended, so that neither needs a lock. */
#include "app/worker.h"

#include "base/mem.h"
#include "script/passage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAIN_LOOK_NS (5 * NS_PER_MS)
#define SWEEP_NS (20 * NS_PER_MS)
#define CUT_NS (500 * NS_PER_MS) /* after a cancel, for the last answers to leave */

struct worker {
    struct worker_conf conf;
    struct loop *loop;
    struct mailbox *mailbox;
    struct store_session *session;
    struct host *host;    /* of the live generation */
    struct host *next;    /* prepared, not live yet */
    struct host *retired; /* older ones on which something still runs, newest first */
    struct loop_timer sweep;
    struct host_counts counts;
    struct worker_switch step; /* under way */
    struct mail step_mail, answer_mail;
    struct err step_err;
    bool step_failed;
    struct budget *budget; /* of its thread */
    struct bus_worker *bus_worker;
    struct http_server *server;
    struct http_client *client;
    struct thread *thread;
    struct mail drain, cancel, stop, drained;
    struct loop_timer look; /* while draining: are all tasks done? */
    struct loop_timer cut;  /* after a cancel: connections that do not read end here */
    bool connections_done, told;
    struct list waits; /* struct worker_wait */
    struct loop_timer wait_look;
};

static void serve(void *ctx, struct http_exchange *x)
{
    struct worker *w = ctx;
    request_serve(w->host, x);
}

static bool streams(void *ctx, const struct http_request *head, struct arena *a)
{
    struct worker *w = ctx;
    return passage_streams(w->host, head, a);
}

/* ---- ending, on the worker's thread ---- */

static void say_drained(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, drained);
    w->conf.on_drained(w->conf.ctx);
}

/* Answers that their clients do not read are the connections' matter. */
static bool no_tasks(const struct worker *w)
{
    bool none = w->host->task_count == 0;
    for (const struct host *h = w->retired; h != NULL; h = h->next)
        none = none && h->task_count == 0;
    return none;
}

static void look_around(struct loop_timer *t)
{
    struct worker *w = list_entry(t, struct worker, look);
    if (w->told)
        return;
    if (!w->connections_done || !no_tasks(w)) {
        loop_timer_start(w->loop, &w->look, loop_now_ns(w->loop) + DRAIN_LOOK_NS);
        return;
    }
    w->told = true;
    w->drained.run = say_drained;
    mailbox_post(w->conf.main_mailbox, &w->drained);
}

static void connections_done(void *ctx)
{
    struct worker *w = ctx;
    w->connections_done = true;
}

static void drain_here(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, drain);
    http_server_drain(w->server, connections_done, w);
    look_around(&w->look);
}

static void cut_connections(struct loop_timer *t)
{
    struct worker *w = list_entry(t, struct worker, cut);
    w->connections_done = true; /* what is left closes with the server */
}

static void cancel_here(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, cancel);
    if (w->host == NULL)
        return; /* the drain has ended while this was on its way */
    host_cancel_all(w->host, true);
    for (struct host *h = w->retired; h != NULL; h = h->next)
        host_cancel_all(h, true);
    w->cut.fn = cut_connections;
    loop_timer_start(w->loop, &w->cut, loop_now_ns(w->loop) + CUT_NS);
}

static void stop_here(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, stop);
    loop_stop(w->loop);
}

void worker_drain(struct worker *w)
{
    w->drain.run = drain_here;
    mailbox_post(w->mailbox, &w->drain);
}

void worker_cancel(struct worker *w)
{
    w->cancel.run = cancel_here;
    mailbox_post(w->mailbox, &w->cancel);
}

/* Makes the Lua of a generation; takes L. */
static struct host *make_host(struct worker *w, lua_State *L, struct program *program,
                              struct err *err)
{
    const struct worker_conf *c = &w->conf;
    struct host_conf hc = {.loop = w->loop,
                           .mailbox = w->mailbox,
                           .store = c->store,
                           .session = w->session,
                           .bus = c->bus,
                           .breakers = c->breakers,
                           .faults = c->faults,
                           .repeats = c->repeats,
                           .http = w->client,
                           .gates = c->gates,
                           .cache = c->cache,
                           .ratelimit = c->ratelimit,
                           .trusted = c->trusted,
                           .lanes = c->lanes,
                           .budget = w->budget,
                           .counts = &w->counts,
                           .number = c->number};
    struct host *h = host_new(L, program, &hc, err);
    if (h != NULL)
        h->bus_worker = w->bus_worker;
    return h;
}

/* ---- generations, on the worker's thread ---- */

/* The host of the generation that the delivery belongs to: the live one, but around a switch. */
static struct host *host_for(struct worker *w, const struct program *program)
{
    if (w->host->program == program)
        return w->host;
    if (w->next != NULL && w->next->program == program)
        return w->next;
    for (struct host *h = w->retired; h != NULL; h = h->next)
        if (h->program == program)
            return h;
    assert(!"a delivery of a generation that is gone");
    return w->host;
}

static void deliver(void *ctx, struct bus_delivery *d)
{
    struct worker *w = ctx;
    delivery_run(host_for(w, d->program), d);
}

static void sweep(struct loop_timer *t)
{
    struct worker *w = list_entry(t, struct worker, sweep);
    int64_t now = loop_now_ns(w->loop);
    struct host **at = &w->retired;
    while (*at != NULL) {
        struct host *h = *at;
        if (!host_is_idle(h) && now > h->retired_ns + w->conf.drain_ns)
            host_cancel_all(h, false);
        if (host_is_idle(h)) {
            *at = h->next;
            host_free(h);
        } else {
            at = &h->next;
        }
    }
    if (w->retired != NULL)
        loop_timer_start(w->loop, &w->sweep, now + SWEEP_NS);
}

static void retire(struct worker *w)
{
    w->host->next = w->retired;
    w->host->retired_ns = loop_now_ns(w->loop);
    w->retired = w->host;
    w->host = w->next;
    w->next = NULL;
    w->sweep.fn = sweep;
    if (!loop_timer_armed(&w->sweep)) /* moving it with each reload would put it off for ever */
        loop_timer_start(w->loop, &w->sweep, loop_now_ns(w->loop) + SWEEP_NS);
}

static void say_switched(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, answer_mail);
    w->step.on_switched(w->step.ctx, w->step_failed ? &w->step_err : NULL);
}

static void step_here(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, step_mail);
    w->step_failed = false;
    switch (w->step.step) {
    case WORKER_PREPARE:
        w->next = make_host(w, w->step.L, w->step.program, &w->step_err);
        w->step_failed = w->next == NULL;
        break;
    case WORKER_COMMIT:
        retire(w);
        break;
    case WORKER_ABORT:
        host_free(w->next);
        w->next = NULL;
        break;
    }
    w->answer_mail.run = say_switched;
    mailbox_post(w->conf.main_mailbox, &w->answer_mail);
}

void worker_switch(struct worker *w, const struct worker_switch *step)
{
    w->step = *step;
    w->step_mail.run = step_here;
    mailbox_post(w->mailbox, &w->step_mail);
}

/* ---- services that are being stopped, on the worker's thread ---- */

static int count_holds(const struct worker *w, const struct gate *gate)
{
    int n = host_holds(w->host, gate);
    for (const struct host *h = w->retired; h != NULL; h = h->next)
        n += host_holds(h, gate);
    return w->next != NULL ? n + host_holds(w->next, gate) : n;
}

static void cancel_service(struct worker *w, const struct gate *gate)
{
    host_cancel_service(w->host, gate);
    for (struct host *h = w->retired; h != NULL; h = h->next)
        host_cancel_service(h, gate);
    if (w->next != NULL)
        host_cancel_service(w->next, gate);
}

static void say_waited(struct mail *m)
{
    struct worker_wait *wait = list_entry(m, struct worker_wait, mail);
    wait->done(wait);
}

static void look_at_waits(struct loop_timer *t)
{
    struct worker *w = list_entry(t, struct worker, wait_look);
    int64_t now_ns = loop_now_ns(w->loop);
    list_each (node, &w->waits) {
        struct worker_wait *wait = list_entry(node, struct worker_wait, node);
        if (now_ns >= wait->cancel_ns && !wait->cancelled) {
            wait->cancelled = true;
            cancel_service(w, wait->gate);
        }
        if (count_holds(w, wait->gate) > 0)
            continue;
        list_remove(&wait->node);
        wait->mail.run = say_waited;
        mailbox_post(w->conf.main_mailbox, &wait->mail);
    }
    if (!list_empty(&w->waits))
        loop_timer_start(w->loop, t, now_ns + DRAIN_LOOK_NS);
}

static void wait_here(struct mail *m)
{
    struct worker_wait *wait = list_entry(m, struct worker_wait, mail);
    if (wait->worker->host == NULL)
        return; /* the worker was stopped while this was on its way */
    list_push(&wait->worker->waits, &wait->node);
    look_at_waits(&wait->worker->wait_look);
}

void worker_wait_service(struct worker *w, struct worker_wait *wait)
{
    wait->worker = w;
    wait->mail.run = wait_here;
    mailbox_post(w->mailbox, &wait->mail);
}

/* ---- life ---- */

static struct http_client *make_client(const struct worker *w, struct err *err)
{
    struct http_client_conf conf = {
        .loop = w->loop, HTTP_CLIENT_DEFAULT, .own_port = w->conf.admin_port};
    return http_client_new(&conf, err);
}

static int open_parts(struct worker *w, lua_State *L, struct err *err)
{
    const struct worker_conf *c = &w->conf;
    if ((w->loop = loop_new(c->clock, err)) == NULL ||
        (w->mailbox = mailbox_new(w->loop, err)) == NULL ||
        (w->client = make_client(w, err)) == NULL ||
        (w->session = store_session_new(c->store, w->loop, err)) == NULL) {
        load_close(L);
        return -1;
    }
    w->budget = budget_new();
    w->bus_worker = bus_worker_new(c->bus, c->number, w->loop, w->mailbox, deliver, w);
    if ((w->host = make_host(w, L, c->program, err)) == NULL)
        return -1;
    w->server = http_server_new(w->loop, c->listen_fd, &c->limits, serve, w, err);
    if (w->server == NULL)
        return -1;
    http_server_stream_bodies(w->server, streams);
    http_share_join(c->share, c->number, w->server, w->mailbox);
    return 0;
}

struct worker *worker_new(const struct worker_conf *conf, lua_State *L, struct err *err)
{
    struct worker *w = xcalloc(1, sizeof(*w));
    w->conf = *conf;
    w->look.fn = look_around;
    w->wait_look.fn = look_at_waits;
    list_init(&w->waits);
    w->counts.http = http_metrics_new();
    if (open_parts(w, L, err) != 0) {
        worker_stop(w);
        worker_free(w);
        return NULL;
    }
    return w;
}

struct host_counts *worker_counts(struct worker *w)
{
    return &w->counts;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct err err;
    if (budget_start(w->budget, &err) != 0)
        log_event(LOG_ERROR, "scripts run without a CPU limit", LOG_C("error", err.message));
    loop_run(w->loop);
    budget_stop(w->budget);
}

int worker_start(struct worker *w, struct err *err)
{
    char name[16];
    snprintf(name, sizeof(name), "worker-%d", w->conf.number);
    w->thread = thread_start(name, worker_main, w, err);
    return w->thread != NULL ? 0 : -1;
}

void worker_stop(struct worker *w)
{
    if (w->thread != NULL) {
        w->stop.run = stop_here;
        mailbox_post(w->mailbox, &w->stop);
        thread_join(w->thread);
        w->thread = NULL;
    }
    if (w->loop != NULL)
        loop_timer_stop(w->loop, &w->cut), loop_timer_stop(w->loop, &w->sweep),
            loop_timer_stop(w->loop, &w->wait_look);
    http_server_free(w->server);
    bus_worker_free(w->bus_worker);
    host_free(w->host);
    host_free(w->next);
    while (w->retired != NULL) {
        struct host *h = w->retired;
        w->retired = h->next;
        host_free(h);
    }
    store_session_free(w->session);
    budget_free(w->budget);
    w->server = NULL;
    w->bus_worker = NULL;
    w->host = w->next = NULL;
    w->session = NULL;
    w->budget = NULL;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    while (w->loop != NULL && loop_turn(w->loop))
        continue;
    http_metrics_free(w->counts.http);
    http_client_free(w->client);
    mailbox_free(w->mailbox);
    loop_free(w->loop);
    free(w);
}
