/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/admin/admin.h"
#include "base/json.h"
#include "base/list.h"
#include "http/answer.h"
#include "http/router.h"

/* What the files of the admin side share with each other; nobody else includes it. */
struct admin {
    struct admin_conf conf;
    struct http_server *server;
    struct http_router *router;
    struct list readers;           /* of the event log (admin/events.c) */
    struct list discards;          /* letters on their way out (admin/letters.c) */
    struct list changes;           /* services being stopped or started (admin/services.c) */
    struct admin_reload *reload;   /* asked for here and under way (admin/reload.c), or NULL */
    struct admin_hystrix *hystrix; /* clients of /hystrix.stream, or NULL */
    struct bus_watch watch;        /* wakes the readers that follow */
};

/* One request. Lives in the exchange's arena: gone with the answer. */
struct admin_call {
    struct admin *admin;
    struct http_exchange *x;
    const struct http_request *request;
    struct arena *arena;
    struct http_match match;
    struct str correlation_id;
};

typedef void admin_fn(struct admin_call *c);

/* Answers; the call is gone afterwards. */
void admin_answer(struct admin_call *c, int status, struct str type, struct str body);
/* The same with application/json; consumes body. */
void admin_answer_json(struct admin_call *c, int status, struct buf *body);
void admin_problem(struct admin_call *c, int status, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void admin_problem_err(struct admin_call *c, const struct err *err);
/* With a status of its own and further members ("\"errors\":[...]", or empty). */
void admin_problem_extra(struct admin_call *c, int status, const struct err *err, struct str extra);
/* X-Correlation-Id, for streams. */
struct http_header admin_correlation(const struct admin_call *c);
/* Writes to the event log what the caller did: an event of the host with these values. */
void admin_emit(const struct admin_call *c, const char *type, const struct value *values,
                int count);
/* Query parameters. False: the call has been answered with 400, which names the parameter. An
 * absent one (or an empty text) leaves *ret as it is; *ret_given, which may be NULL, says whether
 * there was one. */
bool admin_query_text(struct admin_call *c, const char *name, struct str *ret);
bool admin_query_number(struct admin_call *c, const char *name, int64_t min, int64_t max,
                        int64_t *ret, bool *ret_given);
bool admin_query_flag(struct admin_call *c, const char *name, bool *ret);

/* Shapes of the event log (admin/events_form.c), chosen by Accept. */
enum admin_form { ADMIN_FORM_NDJSON, ADMIN_FORM_SSE, ADMIN_FORM_CLOUD };
enum admin_form admin_form_from(struct str accept);
struct str admin_form_type(enum admin_form form);
void admin_form_write(struct buf *out, enum admin_form form, struct str log_name,
                      const struct store_logged *e);
/* Why a stream ends before its time ("dropped"), and where to go on. */
void admin_form_write_end(struct buf *out, enum admin_form form, const char *why, int64_t last_seq);
struct str admin_form_heartbeat(enum admin_form form);

/* Handlers, by file. */
admin_fn admin_events_get;
void admin_events_close(struct admin *a); /* ends all readers */
void admin_events_wake(struct bus_watch *w);
admin_fn admin_letters_list, admin_letters_show, admin_letters_discard, admin_letters_retry,
    admin_letters_retry_all;
void admin_letters_close(struct admin *a);
admin_fn admin_services_list, admin_services_stop, admin_services_start;
/* Letters, and what is held, by policy. */
struct admin_letter_counts {
    struct store_letter_count *items, *held;
    size_t count, held_count;
};
/* Reads them. False: the call has been answered. */
bool admin_services_count(struct admin_call *c, struct admin_letter_counts *ret);
int64_t admin_services_letters(const struct admin_letter_counts *letters,
                               const struct bus_policy *p);
/* How far policy number i is. What is held for a service that is stopped is known to the store
 * only. */
void admin_services_lag(const struct admin_conf *conf, const struct admin_letter_counts *letters,
                        int i, struct bus_lag *ret);
/* Does service number i run in another process? */
bool admin_services_is_remote(const struct admin_conf *conf, size_t i);
/* The member "services" of an object. */
void admin_services_write(struct buf *out, const struct admin_conf *conf,
                          const struct admin_letter_counts *letters);
void admin_services_close(struct admin *a); /* what is under way is answered to nobody */
admin_fn admin_status_get;
admin_fn admin_breakers_list, admin_breakers_set;
void admin_breakers_metrics(struct buf *out, struct registry *breakers, int64_t now_ns);
admin_fn admin_hystrix_stream;
void admin_hystrix_close(struct admin *a); /* ends all clients */
admin_fn admin_state_faults, admin_state_set_faults, admin_state_clear_faults;
admin_fn admin_reload_start, admin_reload_list, admin_reload_activate;
void admin_reload_close(struct admin *a); /* one under way is answered to nobody */
admin_fn admin_health_live, admin_health_ready, admin_health_actuator;
admin_fn admin_metrics_get;
/* HELP and TYPE of the metric whose lines follow. */
void admin_metrics_family(struct buf *out, const char *name, const char *type, const char *help);

/* Writers: a member of an object or item of a list, with the comma that it needs. */
void admin_write_item(struct buf *out);
void admin_write_key(struct buf *out, const char *name);
void admin_write_text(struct buf *out, const char *name, struct str value);
void admin_write_int(struct buf *out, const char *name, int64_t value);
void admin_write_time(struct buf *out, const char *name, int64_t wall_ms);
/* "k3x9q2ab-42"; null for 0. */
void admin_write_event_id(struct buf *out, const char *name, struct str log_name, int64_t seq);
/* One event as the log has it: an object on one line. */
void admin_write_event(struct buf *out, struct str log_name, const struct store_logged *e);
