/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "bus/bus.h"

/* A worker's side of the bus: the queues of the keys that live here, the held ones among them, and
 * the deliveries that run. All of it on the worker's thread. */
struct bus_worker;

/* One try of one event by one policy. */
struct bus_delivery {
    const struct bus_policy *policy; /* of the generation that was live when the try started; stays
                                        valid, like the next three, until the delivery has ended */
    int64_t generation;              /* its number (store_switched), */
    void *program;                   /* and what bus_switch was given for it */
    const struct store_event *event; /* decoded with that generation's schema, whatever it was
                                        written with: its type is one of the schema's own */
    int tries;                       /* this try: 1.. */
    int64_t letter_id;               /* of a retried letter, else 0 */
    int64_t committed_ns; /* monotonic time of the event's COMMIT; 0 if it came from the log */
    void *owner;          /* the handler's */
};

/* Why a try failed. */
struct bus_failure {
    bool permanent; /* a letter at once */
    struct str code, message, origin;
};

/* Starts a try; it ends, now or later, with exactly one of bus_delivery_done and
 * bus_delivery_failed. */
typedef void bus_deliver_fn(void *ctx, struct bus_delivery *d);

/* Attaches the worker with this number (0..worker_count-1). Returns owned. */
struct bus_worker *bus_worker_new(struct bus *b, int number, struct loop *loop,
                                  struct mailbox *mailbox, bus_deliver_fn *deliver, void *ctx);
void bus_worker_free(struct bus_worker *w);

/* Adds the note that makes the unit the effect of this delivery: commits together or not at all. */
void bus_delivery_note(struct bus_delivery *d, struct store_unit *u);
/* The unit with the note was committed. */
void bus_delivery_done(struct bus_delivery *d);
/* The try failed and left no effect: hold and try again after a pause, or letter. The bus writes
 * that by itself. */
void bus_delivery_failed(struct bus_delivery *d, const struct bus_failure *why);
/* Gives the delivery back untried, because its service is being stopped (bus_service_stop was
 * called): it is read again when the service starts. */
void bus_delivery_return(struct bus_delivery *d);
/* Gives the delivery back untried, e.g. because the worker is draining: it stays open and is found
 * again at the next start. */
void bus_delivery_abandon(struct bus_delivery *d);

/* Which worker a key lives on. */
int bus_worker_of(const struct bus *b, struct str service, struct str key);

/* Calls fn once on the worker's thread when there is room (at once if there is). For requests that
 * wait (bus_has_room). */
struct bus_waiter {
    struct list node;
    void (*fn)(struct bus_waiter *w);
};
void bus_worker_wait(struct bus_worker *w, struct bus_waiter *waiter);
void bus_worker_unwait(struct bus_worker *w, struct bus_waiter *waiter);
