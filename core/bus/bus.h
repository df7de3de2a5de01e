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

/* A policy as declared by one generation. */
struct bus_policy {
    int index; /* place in the generation's policies; the script floor finds its function by it */
    struct str service, name;
    struct str renamed_from;         /* or empty */
    const struct event_type **types; /* of its generation's schema */
    int type_count;
    bool park;      /* after a letter the key waits until it is retried or discarded */
    bool in_memory; /* a view whose rows and position are in the store's memory file */
    bool view; /* begins at the first event of the log; its queues are its own, so that reading it
                  all keeps no other policy of the service waiting */
};

/* A generation of declarations. The policies are copied. The schema, and the types that policies
 * point to, are borrowed until release: while the generation is the newest, and afterwards as long
 * as a try of it runs or an event that was read from the log with it waits. */
struct bus_switch {
    const struct store_schema *schema;
    const struct bus_policy *policies;
    int policy_count;
    const struct store_switched *switched; /* what store_switch said of these very policies; read
                                              during the call only */
    void *program;              /* the caller's; each delivery hands it out (bus_delivery) */
    void (*release)(void *ctx); /* or NULL: the bus has let go of the generation. Once, any thread,
                                   not under the bus' lock; not for a call that failed */
    void *release_ctx;
};

struct bus_conf {
    struct store *store;
    struct loop *main_loop;
    struct mailbox *main_mailbox;
    /* The first generation. Without `switched` bus_new reads or makes the policies' rows itself,
     * and all of a policy's types count from its own start. */
    const struct store_schema *schema;
    const struct bus_policy *policies;
    int policy_count;
    const struct store_switched *switched;
    void *program;
    void (*release)(void *ctx);
    void *release_ctx;
    int worker_count;
    int max_outstanding; /* open deliveries beyond which bus_has_room is false */
    int max_holes; /* open events of one policy beyond which its service gets no new ones for a
                      while */
    int tries;     /* 10 */
    /* Or NULL: once, on the main loop's thread, when bus_is_rebuilt becomes true. */
    void (*rebuilt)(void *ctx);
    void *rebuilt_ctx;
    int first_pause_ms,
        max_pause_ms; /* 1000 doubling to 60000; jitter only lengthens, by up to a tenth */
};

#define BUS_DEFAULTS                                                                               \
    .max_outstanding = 4096, .max_holes = 10000, .tries = 10, .first_pause_ms = 1000,              \
    .max_pause_ms = 60000

/* Before store_start. Returns owned. */
struct bus *bus_new(const struct bus_conf *conf, struct err *err);
/* After the store and the workers have been stopped. */
void bus_free(struct bus *b);
/* For store_start. */
const struct store_hooks *bus_hooks(struct bus *b);
/* Once all workers are attached, on the main loop's thread: loads the held list and starts to catch
 * up. */
int bus_start(struct bus *b, struct err *err);
/* Have the policies in memory all that was in the log when the bus was started? But what waits
 * for another try, and what is behind it. Any thread. */
bool bus_is_rebuilt(const struct bus *b);
/* No further dispatch, timers or retries; what is running may still end. Main loop's thread. */
void bus_stop(struct bus *b);

/* The next generation takes over: tries that start from now on are its own (each worker changes
 * over with its next mail; what runs goes on with the generation it began with), timers fire with
 * its types. Main loop's thread. To be called after each store_switch that was no dry run: the
 * store's commit stops dispatching until then, so that no event after it is given to policies of
 * before. Everything that can fail (states, checks, the store) comes before; this fails only when
 * the bus is being stopped (ERR_STOPPED).
 *
 * By (service, name), which is the durable row: a policy that was there keeps its position, its
 * open and held events and its parked keys. One that is missing has its waiting events taken out of
 * memory (what runs may end); its position and held rows stay, and when it returns it reads what it
 * missed, after or before a restart. A new one begins after switched->seq. A type that was added to
 * `on` counts from the switch that added it; waiting events of one that was removed are passed
 * over, as after a restart. Order per (service, key) holds throughout. */
int bus_switch(struct bus *b, const struct bus_switch *sw, struct err *err);
/* Instead, if the generation that store_switch announced will not come: the old one goes on. */
void bus_resume(struct bus *b);

/* Nothing of the service runs from now on: its policies wait, and so do its durable timers; what
 * was committed for them stays in the log and counts as nothing open. Tries that run may end. Holds
 * for a service that is not declared at present too, and over switches, until bus_service_start:
 * then each policy reads what it missed, in order, before what comes after. Main loop's thread;
 * both may be called before bus_start, and for what is so already. */
void bus_service_stop(struct bus *b, struct str service);
/* To be called when the store has forgotten that the service is stopped. */
void bus_service_start(struct bus *b, struct str service);
/* Have its policies in memory, if there are any, all up to event `to`? As bus_is_rebuilt, but of
 * one service that was started later. Main loop's thread. */
bool bus_service_is_rebuilt(struct bus *b, struct str service, int64_t to);
bool bus_service_is_stopped(struct bus *b, struct str service);

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

/* Lag of a policy of the newest generation: newest seq of the log minus its position, its open
 * events, and how many of them are held. */
struct bus_lag {
    int64_t behind, open, held;
};
void bus_policy_lag(struct bus *b, int policy_index, struct bus_lag *ret);
