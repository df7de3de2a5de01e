/* SPDX-License-Identifier: MIT */
/* Everything of one worker is made on the main thread before its thread starts and taken apart
 * after it has ended, so that neither needs a lock. */
#include "app/worker.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define DRAIN_LOOK_NS (5 * NS_PER_MS)
#define CUT_NS (500 * NS_PER_MS) /* after a cancel, for the last answers to leave */

struct worker {
    struct worker_conf conf;
    struct loop *loop;
    struct mailbox *mailbox;
    struct store_session *session;
    struct host *host;
    struct budget *budget; /* of its thread */
    struct bus_worker *bus_worker;
    struct http_server *server;
    struct thread *thread;
    struct mail drain, cancel, stop, drained;
    struct loop_timer look; /* while draining: are all tasks done? */
    struct loop_timer cut;  /* after a cancel: connections that do not read end here */
    bool connections_done, told;
};

static void serve(void *ctx, struct http_exchange *x)
{
    struct worker *w = ctx;
    request_serve(w->host, x);
}

/* ---- ending, on the worker's thread ---- */

static void say_drained(struct mail *m)
{
    struct worker *w = list_entry(m, struct worker, drained);
    w->conf.on_drained(w->conf.ctx);
}

static void look_around(struct loop_timer *t)
{
    struct worker *w = list_entry(t, struct worker, look);
    if (w->told)
        return;
    if (!w->connections_done || w->host->task_count > 0) {
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
    host_cancel_all(w->host);
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

/* ---- life ---- */

static int open_parts(struct worker *w, lua_State *L, struct err *err)
{
    const struct worker_conf *c = &w->conf;
    struct host_conf hc = {.store = c->store,
                           .bus = c->bus,
                           .breakers = c->breakers,
                           .faults = c->faults,
                           .lanes = c->lanes,
                           .number = c->number};
    if ((w->loop = loop_new(c->clock, err)) == NULL ||
        (w->mailbox = mailbox_new(w->loop, err)) == NULL ||
        (w->session = store_session_new(c->store, w->loop, err)) == NULL) {
        load_close(L);
        return -1;
    }
    hc.loop = w->loop;
    hc.mailbox = w->mailbox;
    hc.session = w->session;
    hc.budget = w->budget = budget_new();
    if ((w->host = host_new(L, c->program, &hc, err)) == NULL)
        return -1;
    w->bus_worker = bus_worker_new(c->bus, c->number, w->loop, w->mailbox, delivery_run, w->host);
    w->host->bus_worker = w->bus_worker;
    w->server = http_server_new(w->loop, c->listen_fd, &c->limits, serve, w, err);
    if (w->server == NULL)
        return -1;
    http_share_join(c->share, c->number, w->server, w->mailbox);
    return 0;
}

struct worker *worker_new(const struct worker_conf *conf, lua_State *L, struct err *err)
{
    struct worker *w = xcalloc(1, sizeof(*w));
    w->conf = *conf;
    w->look.fn = look_around;
    if (open_parts(w, L, err) != 0) {
        worker_stop(w);
        worker_free(w);
        return NULL;
    }
    return w;
}

struct host *worker_host(struct worker *w)
{
    return w->host;
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
        loop_timer_stop(w->loop, &w->cut);
    http_server_free(w->server);
    bus_worker_free(w->bus_worker);
    host_free(w->host);
    store_session_free(w->session);
    budget_free(w->budget);
    w->server = NULL;
    w->bus_worker = NULL;
    w->host = NULL;
    w->session = NULL;
    w->budget = NULL;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    while (w->loop != NULL && loop_turn(w->loop))
        continue;
    mailbox_free(w->mailbox);
    loop_free(w->loop);
    free(w);
}
