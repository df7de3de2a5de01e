/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

/* Stopping and starting services while the process runs. On the main loop's thread. */
struct app;
struct control;

/* What still runs this long after a stop, of a service or of the process, is cancelled. */
#define CONTROL_DRAIN_NS (10 * NS_PER_S)

struct control_request {
    struct str service; /* of the live program */
    bool stop;          /* else start */
    struct str correlation_id;
    /* Once: when it is done (err NULL), also when it was so already, or why not. It may be called
     * before control_ask returns. */
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
};

/* Returns owned. */
struct control *control_new(struct app *a);
/* At the start, before the workers: what was stopped stays so. */
int control_restore(struct control *c, struct err *err);
/* stop: from now on nothing begins in the service; done when no task of it runs and no unit that
 * touches it is uncommitted, which takes 10 s at most before what is left is cancelled. The state
 * survives restarts and reloads. start: done when the service answers; its policies catch up from
 * there. ERR_CONFLICT while the opposite is under way; after a failure (the store cannot write) the
 * service is as it was. */
void control_ask(struct control *c, const struct control_request *r);
/* The process ends: whatever is under way is answered with ERR_STOPPED. */
void control_abort(struct control *c);
/* After the workers and the store have been closed and all mails have run. */
void control_free(struct control *c);
