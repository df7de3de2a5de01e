/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/mailbox.h"
#include "store/log.h"
#include "store/store.h"

/* The bus carries committed events to policies: exactly once in effect (G3), in commit order per
 * (service, key), one at a time (G4). It lives on three kinds of threads: the writer tells it what
 * was committed, the main loop reads backlogs and fires timers, each worker runs the queues of the
 * keys that hash to it. core/bus/README.md draws the way of an event. */
struct bus;

/* A policy as declared. Lives as long as the bus. */
struct bus_policy {
    int index; /* place in bus_conf.policies; the script floor finds its function by it */
    struct str service, name;
    struct str renamed_from; /* or empty */
    const struct event_type **types;
    int type_count;
    bool park; /* after a letter the key waits until it is retried or discarded */
};

struct bus_conf {
    struct store *store;
    const struct store_schema *schema;
    struct loop *main_loop;
    struct mailbox *main_mailbox;
    const struct bus_policy *policies;
    int policy_count;
    int worker_count;
    int max_outstanding; /* open deliveries beyond which bus_has_room is false */
    int max_holes; /* open events of one policy beyond which its service gets no new ones for a
                      while */
    int tries;     /* 10 */
    int first_pause_ms,
        max_pause_ms; /* 1000 doubling to 60000; jitter only lengthens, by up to a tenth */
};

#define BUS_DEFAULTS                                                                               \
    .max_outstanding = 4096, .max_holes = 10000, .tries = 10, .first_pause_ms = 1000,              \
    .max_pause_ms = 60000

/* Reads or makes the policies' durable rows (before store_start). Returns owned. */
struct bus *bus_new(const struct bus_conf *conf, struct err *err);
/* After the store and the workers have been stopped. */
void bus_free(struct bus *b);
/* For store_start. */
const struct store_hooks *bus_hooks(struct bus *b);
/* Once all workers are attached, on the main loop's thread: loads the held list and starts to catch
 * up. */
int bus_start(struct bus *b, struct err *err);
/* No further dispatch, timers or retries; what is running may still end. Main loop's thread. */
void bus_stop(struct bus *b);

/* Back-pressure: open deliveries (dispatched, not done). Any thread. */
int64_t bus_outstanding(const struct bus *b);
bool bus_has_room(const struct bus *b);

/* fn runs on the main loop's thread after commits that brought events, once a batch at most. One
 * watcher list. */
struct bus_watch {
    struct bus_watch *next;
    void (*fn)(struct bus_watch *w);
};
void bus_watch(struct bus *b, struct bus_watch *w);
void bus_unwatch(struct bus *b, struct bus_watch *w);

/* Lag of a policy: newest seq of the log minus its position, its open events, and how many of them
 * are held. */
struct bus_lag {
    int64_t behind, open, held;
};
void bus_policy_lag(struct bus *b, int policy_index, struct bus_lag *ret);
