/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/share.h"
#include "loop/thread.h"
#include "script/host.h"
#include "script/load.h"

/* A worker: a thread with its loop, its share of the connections, its Lua, its keys of the bus. */
struct worker;

struct worker_conf {
    int number;
    const struct clock *clock;
    struct store *store;
    struct bus *bus;
    struct registry *breakers;
    struct faults *faults;
    struct gates *gates;
    struct repeats *repeats;
    struct cache *cache;
    struct http_ratelimit *ratelimit; /* of the gateway */
    struct lanes *lanes;
    struct program *program;
    int listen_fd;
    struct http_share *share;
    struct http_limits limits;
    const struct http_trusted *trusted;
    int admin_port;   /* never called by scripts */
    int64_t drain_ns; /* what still runs on an older generation after this long is cancelled */
    struct mailbox *main_mailbox;
    void (*on_drained)(void *ctx); /* on the main loop's thread, once, after worker_drain */
    void *ctx;
};

/* Builds everything; the state L becomes the worker's (also on failure). Borrows the rest. Nothing
 * runs yet. Returns owned. */
struct worker *worker_new(const struct worker_conf *conf, lua_State *L, struct err *err);
/* Starts the thread, when all workers are made: connections are accepted from now on. */
int worker_start(struct worker *w, struct err *err);
/* What the worker counts; any thread may read it. */
struct host_counts *worker_counts(struct worker *w);

/* Another generation, in three steps on the worker's thread, each answered by on_switched on the
 * main loop's: PREPARE makes its Lua ready beside the one that runs (L becomes the worker's),
 * COMMIT lets everything that starts from now on use it, ABORT forgets it. What began with an older
 * generation ends there; after drain_ns it is cancelled. One step at a time. Any thread. */
enum worker_step { WORKER_PREPARE, WORKER_COMMIT, WORKER_ABORT };
struct worker_switch {
    enum worker_step step;
    lua_State *L; /* PREPARE */
    struct program *program;
    void (*on_switched)(void *ctx, const struct err *err); /* NULL, or why PREPARE failed */
    void *ctx;
};
void worker_switch(struct worker *w, const struct worker_switch *step);
/* Waits until no task of the worker holds the service behind the gate; what is left at cancel_ns is
 * cancelled. done runs on the main loop's thread, or never if the worker is stopped before. Any
 * thread; the struct must stay. */
struct worker_wait {
    const struct gate *gate;
    int64_t cancel_ns;
    void (*done)(struct worker_wait *wait);
    void *owner;
    bool cancelled; /* from here on the worker's */
    struct worker *worker;
    struct list node;
    struct mail mail;
};
void worker_wait_service(struct worker *w, struct worker_wait *wait);
/* Any thread: stop accepting, answer what was read, let tasks end; then on_drained. */
void worker_drain(struct worker *w);
/* Any thread, during a drain: cancel what still runs. */
void worker_cancel(struct worker *w);
/* After on_drained: ends the thread and closes all but the mailbox, to which units may still be
 * given back. */
void worker_stop(struct worker *w);
/* After the store was closed: runs the mails that are left and frees the rest. */
void worker_free(struct worker *w);
