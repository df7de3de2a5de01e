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
    struct lanes *lanes;
    const struct program *program;
    int listen_fd;
    struct http_share *share;
    struct http_limits limits;
    struct mailbox *main_mailbox;
    void (*on_drained)(void *ctx); /* on the main loop's thread, once, after worker_drain */
    void *ctx;
};

/* Builds everything; the state L becomes the worker's (also on failure). Borrows the rest. Nothing
 * runs yet. Returns owned. */
struct worker *worker_new(const struct worker_conf *conf, lua_State *L, struct err *err);
/* Starts the thread, when all workers are made: connections are accepted from now on. */
int worker_start(struct worker *w, struct err *err);
/* The worker's Lua, for its counts and its histogram: what any thread may read. */
struct host *worker_host(struct worker *w);
/* Any thread: stop accepting, answer what was read, let tasks end; then on_drained. */
void worker_drain(struct worker *w);
/* Any thread, during a drain: cancel what still runs. */
void worker_cancel(struct worker *w);
/* After on_drained: ends the thread and closes all but the mailbox, to which units may still be
 * given back. */
void worker_stop(struct worker *w);
/* After the store was closed: runs the mails that are left and frees the rest. */
void worker_free(struct worker *w);
