/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/store.h"

/* The event log and the bus' bookkeeping, as kept in the main store. Reads block for the time of
 * one SQLite query. */

/* A durable policy: number, position and place in the log since when it is active. */
struct store_policy {
    int64_t number;
    struct str service, name;
    int64_t high;   /* everything of its types up to here is done, except the holes */
    int64_t *holes; /* ascending */
    size_t hole_count;
    int64_t *since; /* of store_switch: for each of its types, in the order declared, the event
                       after which it wants that type (0: all). NULL of store_log_policy */
};

struct store_held {
    int64_t policy, seq;
    int tries;
    int64_t next_at_ms;
    struct str key;
};

struct store_letter {
    int64_t id, policy, seq;
    struct str policy_service, policy_name, key, type;
    int tries;
    struct str error_code, error, origin;
    int64_t time_ms, generation;
};

/* An event as the log has it. values are decoded when its type is still declared, else type_decl is
 * NULL. */
struct store_logged {
    struct store_event event;
    struct str type_name, service; /* as written */
};

/* The policy's row, made if it is new, as store_switch does; its types are not looked at. Before
 * store_start only. Results in a. */
int store_log_policy(struct store *s, struct arena *a, const struct store_switch_policy *policy,
                     struct store_policy *ret, struct err *err);
/* The values of an event's payload as t declares them, in a: for an event that was made with
 * another generation's declaration. A member that does not fit its field is null, because a log
 * cannot be corrected; a payload that is no object fails. */
int store_event_decode(const struct event_type *t, struct str payload, struct arena *a,
                       struct value **ret, struct err *err);

/* A generation, as store_switch kept it. */
struct store_generation {
    int64_t number, time_ms;
    bool active;
    struct str origin;
    struct str sources; /* store_log_generation only */
};
#define STORE_GENERATIONS_KEPT 20
/* The newest first. */
int store_log_generations(struct store_session *ss, struct arena *a, struct store_generation **ret,
                          size_t *ret_count, struct err *err);
/* One with its sources; number 0: the active one. 1 found, 0 not there, -1 failed. */
int store_log_generation(struct store_session *ss, struct arena *a, int64_t number,
                         struct store_generation *ret, struct err *err);

/* All held rows, by policy and seq. */
int store_log_held(struct store_session *ss, struct arena *a, struct store_held **ret,
                   size_t *ret_count, struct err *err);
/* Events with from <= seq, ascending, at most limit, of all types or of type/service/key when not
 * empty. Scans at most scan_limit rows (0: none); *ret_next is the seq to go on with. */
struct store_log_query {
    int64_t from;
    int64_t limit, scan_limit;
    struct str type, service, key;
};
int store_log_read(struct store_session *ss, struct arena *a, const struct store_schema *schema,
                   const struct store_log_query *q, struct store_logged **ret, size_t *ret_count,
                   int64_t *ret_next, struct err *err);
/* Newest committed seq, 0 if none. */
int64_t store_log_last_seq(struct store *s);
/* "k3x9q2ab": made once for a data folder; an event's public id is this, '-', and its seq. Static
 * while open. */
struct str store_log_name(const struct store *s);

/* Letters, newest first, id < before (0 = all), of one policy name or of all. */
int store_log_letters(struct store_session *ss, struct arena *a, struct str policy_name,
                      int64_t before, int64_t limit, struct store_letter **ret, size_t *ret_count,
                      struct err *err);
/* How many letters there are, by policy; those that have none are left out. */
struct store_letter_count {
    struct str service, policy;
    int64_t count;
};
int store_log_letter_counts(struct store_session *ss, struct arena *a,
                            struct store_letter_count **ret, size_t *ret_count, struct err *err);
/* The same of held events; those of views in memory are not among them. */
int store_log_held_counts(struct store_session *ss, struct arena *a,
                          struct store_letter_count **ret, size_t *ret_count, struct err *err);
/* One letter: 1 found, 0 not there, -1 failed. */
int store_log_letter(struct store_session *ss, struct arena *a, int64_t id,
                     struct store_letter *ret, struct err *err);
/* The services that were stopped and not started since (STORE_NOTE_SERVICE_STOPPED), by name. */
int store_log_stopped(struct store_session *ss, struct arena *a, struct str **ret,
                      size_t *ret_count, struct err *err);
/* Timers due at or before now, earliest first, at most limit; and the due time of the earliest one
 * after, INT64_MAX if none. One that is damaged says so in `damage`. Those whose event belongs to a
 * stopped service are passed over. */
int store_log_timers(struct store_session *ss, struct arena *a, const struct store_schema *schema,
                     int64_t now_ms, int64_t limit, struct store_timer **ret, size_t *ret_count,
                     int64_t *ret_next_due_ms, struct err *err);

/* Inside before_commit: the new position of a policy. */
int store_tx_position(struct store_tx *tx, int64_t policy, int64_t high, const int64_t *holes,
                      size_t hole_count, struct err *err);
