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
    BUS_DROPPED, /* not done and not in memory: to be read from the log again */
    BUS_GONE     /* done; its slot is reclaimed later */
};

struct bus_open {
    int64_t seq;
    enum bus_open_state state;
};

/* A policy and how far it is. Stays until the bus is freed, whether it is declared or not. */
struct bus_position {
    int index;       /* in bus.positions */
    struct str name; /* lock */
    struct bus_service *service;
    int64_t number; /* durable */
    bool in_memory; /* in the store's memory file, as are the units that it is written with */
    bool active;    /* lock: the newest generation declares it */
    int64_t high;   /* lock: everything of its types up to here is done, but what is in open */
    int64_t seen;   /* main: everything up to here was dispatched or is in open; what its service
                       read since may be more. Set under the lock */
    struct bus_open *open; /* lock: ascending; [open_from, open_end) */
    size_t open_from, open_end, open_cap;
    size_t open_count, pending_count;   /* lock: open or pending; of these pending */
    size_t dropped_count;               /* lock */
    int64_t held;                       /* lock: of the open ones on the held list */
    int64_t read_to;                    /* main: dropped ones up to here were read again, */
    size_t unread;                      /* and so many were not */
    const struct store_held *held_rows; /* main: in bus.held_arena, by seq */
    size_t held_row_count;
    bool was_active, parks; /* main */
    bool load_parked;       /* main: its letters park keys that nobody was told of yet */
    bool touched;           /* writer: in the transaction under way */
    int64_t saved_high;
    struct bus_position *next_touched;
};

enum bus_mode {
    BUS_BEHIND, /* events come from the log, read by the main loop */
    BUS_LIVE    /* events come from the writer as they are committed */
};

struct bus_service { /* stays until the bus is freed */
    struct str name;
    struct str view; /* name of the one view that it stands for; empty: for all that are no views */
    int index;
    struct bus_position **positions; /* lock: the active ones */
    int position_count;
    size_t position_cap;
    enum bus_mode mode;  /* lock */
    bool reading;        /* lock: BEHIND and the main loop is at it */
    atomic_bool stopped; /* changed under the lock, by the main loop: nothing of it runs */
    int64_t cursor;      /* lock: newest seq dispatched */
    int64_t counted;     /* lock: its part of bus.outstanding */
    int64_t *holes; /* main: dropped ones up to the first cursor, of all its policies, ascending */
    size_t hole_count, hole_next, hole_cap;
    struct str only_type; /* main: if its policies have but one type */
};

/* Which policies of a service want events of a type. */
struct bus_subscription {
    struct bus_subscription *next;
    struct bus_service *service;
    struct bus_position **positions;
    int position_count;
};

/* A type of a policy, and the event after which it wants it. */
struct bus_wanted {
    struct str type;
    int64_t since;
};

/* What one load of the scripts declared. Never changed once it is bus.generation. In its arena. */
struct bus_generation {
    atomic_int refs; /* bus.generation, workers, tries, events decoded with its schema */
    struct arena *arena;
    int64_t number;
    const struct store_schema *schema;
    void *program;
    void (*release)(void *ctx);
    void *release_ctx;
    struct bus_policy *policies;
    int policy_count;
    struct bus_wanted **wanted;      /* by index of the policy, then of its types */
    struct bus_position **positions; /* by index of the policy */
    int *by_position;                /* by index of the position: 1 + that of the policy, or 0 */
    int position_count;
    struct map *subscriptions; /* by name of the type */
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
    bool held;                         /* counted in position->held */
    int tries;                         /* so far */
    int64_t next_at_ms;                /* wall clock, of a held one from the start */
    int64_t due_ns;                    /* HELD: when to try again */
    struct bus_generation *generation; /* RUNNING: referenced */
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
    int64_t committed_ns;               /* 0: it was read from the log */
    const struct store_event *event;    /* in unit or arena */
    struct str type_name, type_service; /* of the event */
    struct store_unit *unit;            /* referenced, or NULL */
    struct arena *arena;                /* owned, or NULL */
    struct bus_generation *generation;  /* whose type an event in arena has; referenced, or NULL */
    int at;                             /* the pass over the items goes on here */
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
    bool switched;     /* lock: there is a newer generation, or a service was stopped */
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
    struct bus_position *position;
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
    bool counted;  /* its items are part of bus.outstanding */
    int64_t items; /* not ended, of sets */
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
    struct bus_generation *generation; /* of the tries it starts; referenced */
    int64_t vanished;                  /* of bus.vanished: how many it has dealt with */
};

/* (policy, seq) that the transaction under way marks as done. */
struct bus_mark {
    struct bus_position *position;
    int64_t seq;
};

enum bus_flag {
    BUS_FLAG_CATCHUP = 1,
    BUS_FLAG_TIMERS = 2,
    BUS_FLAG_WATCH = 4,
    BUS_FLAG_REBUILD = 8
};

/* What one of the store's two writers has under way: its own. */
struct bus_writer {
    struct bus *bus;
    bool in_memory;
    struct bus_mark *marks;
    size_t mark_count, mark_cap;
    int64_t *hole_buf;
    size_t hole_cap;
    struct bus_position *touched;
};

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
    /* lock; the main loop alone changes these, and reads them without: */
    struct bus_generation *generation; /* the newest; referenced */
    struct bus_position **positions;
    struct bus_position **by_number; /* ascending */
    int position_count;
    size_t position_cap, by_number_cap;
    struct bus_service **services;
    int service_count;
    size_t service_cap;
    struct bus_slot *slots;
    atomic_bool started, stopping;
    _Atomic int64_t outstanding;
    _Atomic int64_t set_count, set_peak; /* events in memory, now and at most: what windows bound */

    pthread_mutex_t lock, post_lock;
    int64_t last_seq;     /* lock: newest committed */
    int64_t committed_ns; /* lock: when the batch that is being dispatched was committed */
    bool paused;          /* lock: the store has switched, the bus has not yet */
    int64_t vanished;     /* lock: how many times a policy left, or a service was stopped */
    int flags;            /* lock: what the main mail shall look after */
    int64_t timers_due_ms;
    bool main_posted;
    struct mail main_mail;

    struct bus_writer writer, memory_writer;
    atomic_bool rebuilt;
    int64_t rebuild_to; /* main: newest event at the start */

    struct store_session *session; /* main, from here on */
    struct arena *held_arena;      /* of the held list as it was last read */
    bool load_held;                /* it must be read again */
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
/* Under the lock, or on the main loop's thread. */
const struct bus_subscription *bus_subscriptions(const struct bus *b, struct str type_name);
/* The position with this durable number, or NULL. */
struct bus_position *bus_find(const struct bus *b, int64_t number);

/* generation.c */
/* With one reference; positions are to be attached, one a policy, and then sealed. */
struct bus_generation *bus_generation_new(const struct bus_switch *sw);
void bus_generation_attach(struct bus_generation *g, int policy, struct bus_position *p);
void bus_generation_seal(struct bus_generation *g, int position_count);
struct bus_generation *bus_generation_ref(struct bus_generation *g);
/* Not under the lock. Harmless for NULL. */
void bus_generation_unref(void *generation);
/* The policy of this position, or NULL if the generation does not declare it. */
const struct bus_policy *bus_generation_policy(const struct bus_generation *g,
                                               const struct bus_position *p);
/* Does it want events of that type? NULL if not. */
const struct bus_wanted *bus_generation_wants(const struct bus_generation *g,
                                              const struct bus_position *p, struct str type);

/* switch.c */
/* rows: the policies' durable ones. */
void bus_switch_apply(struct bus *b, const struct bus_switch *sw, const struct store_policy *rows);

/* set.c */
struct bus_set *bus_set_new(struct bus *b, enum bus_set_kind kind, struct bus_service *s,
                            struct bus_position *const *positions, int count);
/* The event lives in u, of which it takes a reference. */
void bus_set_borrow(struct bus_set *set, struct store_unit *u, const struct store_event *e);
/* Copies the event, which was decoded with the newest generation. Main loop's thread. */
void bus_set_copy(struct bus_set *set, const struct store_event *e);
/* Lets go of the unit, or the generation, that the event came with, unless it is g: a queue that
 * stands still must not keep either. Not while a try of it runs. */
void bus_set_detach(struct bus_set *set, const struct bus_generation *g);
/* The event as g declares it; false if g does not declare its type. Not while a try of it runs. */
bool bus_set_decode(struct bus_set *set, struct bus_generation *g);
struct bus_set *bus_set_command(struct bus *b, enum bus_set_kind kind, struct bus_position *p,
                                struct str key, int64_t seq, int64_t letter_id);
void bus_set_free(struct bus_set *set);
/* Deep copy. */
void bus_set_copy_event(struct arena *a, const struct store_event *e, struct store_event *ret);

/* The service of that name (view: what stands for one of its views), made when it is new. Under the
 * lock, main loop. */
struct bus_service *bus_switch_service(struct bus *b, struct str name, struct str view);
/* Under the lock: it reads on from the oldest place that one of its policies has to see. */
void bus_switch_restart(const struct bus_generation *g, struct bus_service *s);

/* service.c */
/* Under the lock: may the policy run at present? */
bool bus_service_runs(const struct bus_position *p);

/* position.c: all under the lock. */
/* Enters holes, ascending, as dropped: before anything is opened. */
void bus_position_restore(struct bus_position *p, const int64_t *holes, size_t count);
/* Opens seq: a dropped one, or one that is not there yet. */
void bus_position_open(struct bus_position *p, int64_t seq);
bool bus_position_is_open(const struct bus_position *p, int64_t seq);
/* Marks seq as done if this transaction commits. False if it is not open. */
bool bus_position_mark(struct bus_position *p, int64_t seq);
void bus_position_settle(struct bus_position *p, int64_t seq, bool committed);
/* An open one is in memory no longer. False if it is not open (done, or being done). */
bool bus_position_drop(struct bus_position *p, int64_t seq);
/* The first dropped one above seq, or INT64_MAX. */
int64_t bus_position_next_dropped(const struct bus_position *p, int64_t seq);
/* Appends the holes below high to *ret (grown with *cap); returns their count. */
size_t bus_position_holes(const struct bus_position *p, int64_t **ret, size_t *cap);
void bus_position_free(struct bus_position *p);

/* commit.c: the store's hooks. */
int bus_commit_before(void *ctx, struct store_tx *tx, struct store_unit *accepted, struct err *err);
void bus_commit_rolled_back(void *ctx, struct store_unit *accepted);
void bus_commit_committed(void *ctx, struct store_unit *accepted);
void bus_commit_switched(void *ctx);
/* Events of a window for this service: fewer when the limits are small. */
int64_t bus_commit_window(const struct bus *b, const struct bus_service *s);
/* Under the lock: may a service that lags read on? */
bool bus_commit_has_room(const struct bus *b, const struct bus_service *s);

/* catchup.c */
int bus_catchup_start(struct bus *b, struct err *err);
void bus_catchup_wake(struct bus *b);
void bus_catchup_stop(struct bus *b);

/* rebuild.c */
/* Main loop's thread: has it come to its end? */
void bus_rebuild_look(struct bus *b);

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
void bus_key_park(struct bus_key *key, struct bus_position *p, int64_t letter_id, int64_t seq);
void bus_key_unpark(struct bus_key *key, int64_t letter_id);
/* Under the lock: what waits for policies that are not declared any more leaves the queue. */
void bus_key_drop(struct bus_key *key);
/* Afterwards, without the lock: goes on with the worker's new generation; may free the key. */
void bus_key_adopt(struct bus_key *key);
/* Nothing of it runs before the next start. */
void bus_key_leave(struct bus_key *key);

/* Takes the newest generation; not under the lock. */
void bus_worker_refresh(struct bus_worker *w);

/* delivery.c */
/* Under the lock: the event waits for its policy on disk alone. */
void bus_delivery_drop(struct bus_item *item, bool counted);
void bus_delivery_start(struct bus_item *item);
void bus_delivery_rewrite(struct bus_key *key);
void bus_delivery_detach(struct bus_worker *w);
