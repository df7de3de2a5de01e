/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/map.h"
#include "bus/deliver.h"
#include "bus/letters.h"
#include "loop/timer.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the files of core/bus share with each other; nobody else includes it (tests may, to look
 * inside).
 *
 * Who may touch what: "lock" = under bus.lock; "main", "writer", "worker" = that thread alone. */

#define BUS_WINDOW 512     /* events read from the log at a time */
#define BUS_SCAN 4096      /* rows looked at for them */
#define BUS_IDLE_LAG 10000 /* a position further back than this is brought forward */
#define BUS_IDLE_OPEN 100  /* ... if it leaves no more holes than this */

enum bus_open_state {
    BUS_OPEN,    /* dispatched, not done */
    BUS_PENDING, /* done if the transaction under way commits */
    BUS_GONE     /* done; its slot is reclaimed later */
};

struct bus_open {
    int64_t seq;
    enum bus_open_state state;
};

/* A policy and how far it is. */
struct bus_position {
    const struct bus_policy *policy;
    struct bus_service *service;
    int64_t number; /* durable */
    int64_t high;   /* lock: everything of its types up to here is done, but the open ones and the
                       rest of holes */
    int64_t start_high; /* high when the bus was made */
    int64_t *holes;     /* of the start, ascending */
    size_t hole_count;
    size_t hole_next;      /* lock: holes below this index were dispatched */
    size_t hole_read;      /* main: holes below this index were read from the log */
    struct bus_open *open; /* lock: ascending; [open_from, open_end) */
    size_t open_from, open_end, open_cap;
    size_t open_count, pending_count;   /* lock: not gone; of these pending */
    int64_t held;                       /* lock: of these on the held list */
    const struct store_held *held_rows; /* main: of the start, by seq */
    size_t held_row_count;
    bool touched; /* writer: in the transaction under way */
    int64_t saved_high;
    struct bus_position *next_touched;
};

enum bus_mode {
    BUS_BEHIND, /* events come from the log, read by the main loop */
    BUS_LIVE    /* events come from the writer as they are committed */
};

struct bus_service {
    struct str name;
    int index;
    struct bus_position **positions;
    int position_count;
    enum bus_mode mode; /* lock */
    bool reading;       /* lock: BEHIND and the main loop is at it */
    int64_t cursor;     /* lock: newest seq dispatched */
    int64_t counted;    /* lock: its part of bus.outstanding */
    int64_t *holes; /* main: start holes up to the first cursor, of all its policies, ascending */
    size_t hole_count, hole_next;
    struct str only_type; /* if its policies have but one type */
};

/* Which policies of a service want events of a type. */
struct bus_subscription {
    struct bus_subscription *next;
    struct bus_service *service;
    struct bus_position **positions;
    int position_count;
};

enum bus_item_state {
    BUS_ITEM_WAITING,
    BUS_ITEM_RUNNING, /* at the handler */
    BUS_ITEM_WRITING, /* its failure is being written */
    BUS_ITEM_HELD,
    BUS_ITEM_ENDED
};

/* (policy, event). */
struct bus_item {
    struct bus_set *set;
    struct bus_position *position;
    enum bus_item_state state;
    bool held;          /* counted in position->held */
    int tries;          /* so far */
    int64_t next_at_ms; /* wall clock, of a held one from the start */
    int64_t due_ns;     /* HELD: when to try again */
    struct bus_delivery delivery;
};

enum bus_set_kind {
    BUS_SET_EVENT,  /* run it */
    BUS_SET_LETTER, /* run it once more for one policy */
    BUS_SET_FORGET, /* nobody can run it any more: mark as done */
    BUS_SET_PARK,   /* its key is parked by letter_id */
    BUS_SET_UNPARK
};

/* An event on its way to the policies of one service: what goes from thread to thread. */
struct bus_set {
    struct list node; /* in a slot's inbox, then in the key's queue */
    struct bus *bus;
    enum bus_set_kind kind;
    struct bus_service *service;
    struct bus_key *owner; /* worker */
    struct str key;
    int64_t seq, letter_id;
    int64_t committed_ns;            /* 0: it was read from the log */
    const struct store_event *event; /* in unit or arena */
    struct store_unit *unit;         /* referenced, or NULL */
    struct arena *arena;             /* owned, or NULL */
    int at;                          /* the pass over the items goes on here */
    int count;
    struct bus_item items[];
};

/* One worker as the other threads see it. Outlives the worker. */
struct bus_slot {
    struct bus *bus;
    struct bus_worker *worker; /* lock */
    struct mailbox *mailbox;   /* post_lock */
    struct mail mail;
    struct list inbox; /* lock */
    bool posted;       /* lock: the mail is on its way */
    bool waiting;      /* lock: requests wait for room */
    bool wake;         /* lock: there is room for them */
    struct bus_slot *next_post;
};

enum bus_key_state {
    BUS_KEY_NEW,
    BUS_KEY_READY,  /* in the worker's list */
    BUS_KEY_BUSY,   /* a try runs or its failure is being written */
    BUS_KEY_HELD,   /* waits for its timer */
    BUS_KEY_PARKED, /* waits for an operator */
    BUS_KEY_LEFT    /* given up until the next start */
};

struct bus_parking {
    int64_t letter_id, seq;
};

/* The queue of one (service, key). worker. */
struct bus_key {
    struct list ready;
    struct bus_worker *worker;
    struct bus_service *service;
    enum bus_key_state state;
    struct list sets, letters;
    struct bus_item *current;
    struct loop_timer timer;
    bool counted;     /* its items are part of bus.outstanding */
    int64_t items;    /* not ended, of sets */
    int64_t last_seq; /* newest accepted */
    struct bus_parking *parkings;
    size_t parking_count, parking_cap;
    struct store_unit *rewrite; /* a failure that could not be written yet */
    size_t name_size;
    char name[]; /* in the worker's map */
};

struct bus_worker {
    struct bus *bus;
    struct bus_slot *slot;
    struct loop *loop;
    struct mailbox *mailbox;
    bus_deliver_fn *deliver;
    void *ctx;
    struct map *keys;
    struct buf name; /* scratch: a key's name in the map */
    struct list ready, writes, waiters;
    struct loop_defer turn;
    int running;
};

/* (policy, seq) that the transaction under way marks as done. */
struct bus_mark {
    struct bus_position *position;
    int64_t seq;
};

enum bus_flag { BUS_FLAG_CATCHUP = 1, BUS_FLAG_TIMERS = 2, BUS_FLAG_WATCH = 4 };

struct bus_timers { /* main */
    struct loop_timer alarm;
    int64_t next_due_ms;
    int in_flight;
    bool failed; /* one in flight could not be written */
};

struct bus {
    struct bus_conf conf;
    struct arena *arena;
    const struct clock *clock;
    struct store_hooks hooks;
    struct bus_position *positions;  /* by index of their policy */
    struct bus_position **by_number; /* ascending */
    struct bus_service *services;
    int service_count;
    struct map *subscriptions; /* by name of the type */
    struct bus_slot *slots;
    atomic_bool started, stopping;
    _Atomic int64_t outstanding;
    _Atomic int64_t set_count, set_peak; /* events in memory, now and at most: what windows bound */

    pthread_mutex_t lock, post_lock;
    int64_t last_seq;     /* lock: newest committed */
    int64_t committed_ns; /* lock: when the batch that is being dispatched was committed */
    int flags;            /* lock: what the main mail shall look after */
    int64_t timers_due_ms;
    bool main_posted;
    struct mail main_mail;

    struct bus_mark *marks; /* writer */
    size_t mark_count, mark_cap;
    int64_t *hole_buf;
    size_t hole_cap;
    struct bus_position *touched;

    struct store_session *session; /* main, from here on */
    struct loop_defer catchup;
    struct loop_timer catchup_pause;
    int catchup_turn;
    struct bus_timers timers;
    struct bus_watch *watches, *watch_next;
};

/* bus.c. Unlocking also tells whoever has something to do now: workers with an inbox, the main loop
 * when a service that lags has room again, requests that wait. */
void bus_lock(struct bus *b);
void bus_unlock(struct bus *b);
/* Under the lock: n deliveries more (or less) to be counted as open. */
void bus_count(struct bus *b, struct bus_service *s, int64_t n);
/* Under the lock: hands the set to the worker of its key. Consumes. */
void bus_dispatch(struct bus *b, struct bus_set *set);
const struct bus_subscription *bus_subscriptions(const struct bus *b, struct str type_name);
/* The position with this durable number, or NULL. */
struct bus_position *bus_find(const struct bus *b, int64_t number);

/* set.c */
struct bus_set *bus_set_new(struct bus *b, enum bus_set_kind kind, struct bus_service *s,
                            struct bus_position *const *positions, int count);
/* The event lives in u, of which it takes a reference. */
void bus_set_borrow(struct bus_set *set, struct store_unit *u, const struct store_event *e);
/* Copies the event. */
void bus_set_copy(struct bus_set *set, const struct store_event *e);
struct bus_set *bus_set_command(struct bus *b, enum bus_set_kind kind, struct bus_service *s,
                                struct str key, int64_t seq, int64_t letter_id);
void bus_set_free(struct bus_set *set);
/* Deep copy. */
void bus_set_copy_event(struct arena *a, const struct store_event *e, struct store_event *ret);

/* position.c: all under the lock. */
/* Opens seq, newer than all opened before. */
void bus_position_open(struct bus_position *p, int64_t seq);
bool bus_position_is_open(const struct bus_position *p, int64_t seq);
/* Marks seq as done if this transaction commits. False if it is not open. */
bool bus_position_mark(struct bus_position *p, int64_t seq);
void bus_position_settle(struct bus_position *p, int64_t seq, bool committed);
/* Appends the holes below high to *ret (grown with *cap); returns their count. */
size_t bus_position_holes(const struct bus_position *p, int64_t **ret, size_t *cap);
/* Shall seq be dispatched by catching up? With the hole that is next. */
bool bus_position_wants(const struct bus_position *p, int64_t seq, size_t hole);
void bus_position_free(struct bus_position *p);

/* commit.c: the store's hooks. */
int bus_commit_before(void *ctx, struct store_tx *tx, struct store_unit *accepted, struct err *err);
void bus_commit_rolled_back(void *ctx, struct store_unit *accepted);
void bus_commit_committed(void *ctx, struct store_unit *accepted);
/* Events of a window for this service: fewer when the limits are small. */
int64_t bus_commit_window(const struct bus *b);
/* Under the lock: may a service that lags read on? */
bool bus_commit_has_room(const struct bus *b, const struct bus_service *s);

/* catchup.c */
int bus_catchup_start(struct bus *b, struct err *err);
void bus_catchup_wake(struct bus *b);
void bus_catchup_stop(struct bus *b);

/* timers.c */
void bus_timers_start(struct bus *b);
void bus_timers_added(struct bus *b, int64_t due_ms);
void bus_timers_stop(struct bus *b);

/* worker.c */
void bus_worker_run_inbox(struct mail *m);
/* The key has something to run: queues it for a turn. */
void bus_worker_ready(struct bus_worker *w, struct bus_key *key);
void bus_worker_schedule(struct bus_worker *w);

/* key.c */
void bus_key_accept(struct bus_worker *w, struct bus_set *set);
/* What comes next for a key that neither runs nor writes; may free it. */
void bus_key_next(struct bus_key *key);
void bus_key_free(struct bus_key *key);
void bus_key_park(struct bus_key *key, int64_t letter_id, int64_t seq);
void bus_key_unpark(struct bus_key *key, int64_t letter_id);
/* Nothing of it runs before the next start. */
void bus_key_leave(struct bus_key *key);

/* delivery.c */
void bus_delivery_start(struct bus_item *item);
void bus_delivery_rewrite(struct bus_key *key);
void bus_delivery_detach(struct bus_worker *w);
