/* SPDX-License-Identifier: MIT */
/* Letters wait for somebody to decide: here they are read, tried again, or thrown away. */
#include "app/admin/inside.h"
#include "base/log.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 10000
#define RETRY_MAX 10000 /* letters queued by one request */

struct discard {
    struct admin_call *call;
    struct list node;
    bool closed; /* the admin side went first */
    int64_t id;
};

static void write_letter(struct buf *out, struct str log_name, const struct store_letter *l,
                         const struct store_logged *event)
{
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_int(out, "id", l->id);
    admin_write_text(out, "policy", l->policy_name);
    admin_write_text(out, "service", l->policy_service);
    admin_write_key(out, "event");
    buf_addc(out, '{');
    admin_write_int(out, "seq", l->seq);
    admin_write_event_id(out, "id", log_name, l->seq);
    admin_write_text(out, "type", l->type);
    admin_write_text(out, "key", l->key);
    if (event) {
        admin_write_key(out, "payload");
        buf_adds(out, event->event.payload);
    }
    buf_addc(out, '}');
    admin_write_int(out, "tries", l->tries);
    admin_write_key(out, "error");
    buf_addc(out, '{');
    admin_write_text(out, "code", l->error_code);
    admin_write_text(out, "message", l->error);
    admin_write_text(out, "origin", l->origin);
    buf_addc(out, '}');
    admin_write_time(out, "time", l->time_ms);
    admin_write_int(out, "generation", l->generation);
    buf_addc(out, '}');
}

static void answer_missing(struct admin_call *c)
{
    admin_problem(c, 404, ERR_NOT_FOUND, "no letter %.*s", STR_ARG(c->match.params[0]));
}

/* The number in the path. False: answered, since no letter can have it. */
static bool letter_id(struct admin_call *c, int64_t *ret)
{
    if (str_to_int(c->match.params[0], ret) && *ret > 0)
        return true;
    answer_missing(c);
    return false;
}

void admin_letters_list(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct str policy = {NULL, 0};
    int64_t limit = LIMIT_DEFAULT, before = 0;
    struct store_letter *letters;
    size_t count;
    struct err err;
    if (!admin_query_text(c, "policy", &policy) ||
        !admin_query_number(c, "limit", 1, LIMIT_MAX, &limit, NULL) ||
        !admin_query_number(c, "before", 0, INT64_MAX, &before, NULL))
        return;
    if (store_log_letters(conf->session, c->arena, policy, before, limit, &letters, &count, &err)) {
        admin_problem_err(c, &err);
        return;
    }
    struct buf body = BUF_INIT;
    buf_lit(&body, "{\"letters\":[");
    for (size_t i = 0; i < count; i++)
        write_letter(&body, store_log_name(conf->store), &letters[i], NULL);
    buf_lit(&body, "]}");
    admin_answer_json(c, 200, &body);
}

void admin_letters_show(struct admin_call *c)
{
    static const struct store_schema no_types = {0};
    const struct admin_conf *conf = &c->admin->conf;
    struct store_letter letter;
    struct store_logged *row = NULL;
    size_t count = 0;
    int64_t id, next;
    struct err err;
    if (!letter_id(c, &id))
        return;
    int found = store_log_letter(conf->session, c->arena, id, &letter, &err);
    if (found == 0) {
        answer_missing(c);
        return;
    }
    struct store_log_query q = {.from = letter.seq, .limit = 1, .scan_limit = 1};
    if (found < 0 ||
        store_log_read(conf->session, c->arena, &no_types, &q, &row, &count, &next, &err)) {
        admin_problem_err(c, &err);
        return;
    }
    bool kept = count == 1 && row->event.seq == letter.seq;
    struct buf body = BUF_INIT;
    write_letter(&body, store_log_name(conf->store), &letter, kept ? row : NULL);
    admin_answer_json(c, 200, &body);
}

static void emit(const struct admin_call *c, const char *type, int64_t id)
{
    struct value value = value_int(id);
    admin_emit(c, type, &value, 1);
}

static void on_discarded(void *ctx, bool gone)
{
    struct discard *d = ctx;
    struct admin_call *c = d->call;
    if (d->closed) {
        http_answer(c->x, 503, STR(""), NULL, 0, STR("")); /* there is no client any more */
        return;
    }
    list_remove(&d->node);
    if (gone) {
        log_event(LOG_INFO, "letter discarded", LOG_I("letter", d->id),
                  LOG_S("correlationId", c->correlation_id));
        emit(c, "LetterDiscarded", d->id);
        admin_answer(c, 204, STR(""), STR(""));
    } else {
        answer_missing(c);
    }
}

void admin_letters_discard(struct admin_call *c)
{
    int64_t id;
    if (!letter_id(c, &id))
        return;
    struct discard *d = arena_zalloc(c->arena, sizeof(*d));
    d->call = c;
    d->id = id;
    list_push(&c->admin->discards, &d->node);
    bus_letter_discard(c->admin->conf.bus, c->admin->conf.session, id, on_discarded, d);
}

void admin_letters_retry(struct admin_call *c)
{
    int64_t id;
    struct err err;
    struct buf body = BUF_INIT;
    if (!letter_id(c, &id))
        return;
    switch (bus_letter_retry(c->admin->conf.bus, c->admin->conf.session, id, &err)) {
    case BUS_LETTER_QUEUED:
        log_event(LOG_INFO, "letter retried", LOG_I("letter", id),
                  LOG_S("correlationId", c->correlation_id));
        emit(c, "LetterRetried", id);
        buf_lit(&body, "{\"queued\":1}");
        admin_answer_json(c, 202, &body);
        break;
    case BUS_LETTER_GONE:
        answer_missing(c);
        break;
    case BUS_LETTER_NO_POLICY:
        admin_problem(c, 409, ERR_CONFLICT, "the policy of letter %lld is not declared at present",
                      (long long)id);
        break;
    case BUS_LETTER_STOPPED:
        admin_problem(c, 503, ERR_STOPPED, "the service of letter %lld is stopped", (long long)id);
        break;
    case BUS_LETTER_FAILED:
        admin_problem_err(c, &err);
        break;
    }
}

/* Queues letters[0..count), which come newest first, in the order in which they were written. */
static int retry_all(struct admin_call *c, const struct store_letter *letters, size_t count,
                     int64_t *ret_queued, struct err *err)
{
    int64_t queued = 0;
    while (count-- > 0) {
        enum bus_letter_result result =
            bus_letter_retry(c->admin->conf.bus, c->admin->conf.session, letters[count].id, err);
        if (result == BUS_LETTER_FAILED && err->code == ERR_STOPPED)
            return -1;
        if (result != BUS_LETTER_QUEUED)
            continue;
        emit(c, "LetterRetried", letters[count].id);
        queued++;
    }
    *ret_queued = queued;
    return 0;
}

void admin_letters_retry_all(struct admin_call *c)
{
    struct str policy = {NULL, 0};
    struct store_letter *letters;
    size_t count;
    int64_t queued;
    struct err err;
    if (!admin_query_text(c, "policy", &policy))
        return;
    if (store_log_letters(c->admin->conf.session, c->arena, policy, 0, RETRY_MAX, &letters, &count,
                          &err) ||
        retry_all(c, letters, count, &queued, &err)) {
        admin_problem_err(c, &err);
        return;
    }
    log_event(LOG_INFO, "letters retried", LOG_I("queued", queued), LOG_S("policy", policy),
              LOG_S("correlationId", c->correlation_id));
    struct buf body = BUF_INIT;
    buf_addc(&body, '{');
    admin_write_int(&body, "queued", queued);
    admin_write_int(&body, "skipped", (int64_t)count - queued);
    buf_addc(&body, '}');
    admin_answer_json(c, 202, &body);
}

void admin_letters_close(struct admin *a)
{
    while (!list_empty(&a->discards))
        list_entry(list_pop(&a->discards), struct discard, node)->closed = true;
}
