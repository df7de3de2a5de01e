/* SPDX-License-Identifier: MIT */
/* The whole process in one answer: what an operator wants to see first. */
#include "app/admin/inside.h"

static void write_breakers(struct buf *out, const struct admin_conf *conf)
{
    int64_t now_ns = loop_now_ns(conf->loop);
    struct registry_entry *e = NULL;
    admin_write_key(out, "breakersNotClosed");
    buf_addc(out, '[');
    while ((e = registry_next(conf->breakers, e))) {
        struct breaker_view v;
        registry_view(e, now_ns, &v);
        if (v.state == BREAKER_CLOSED)
            continue;
        admin_write_item(out);
        buf_addc(out, '{');
        admin_write_text(out, "name", registry_name(e));
        admin_write_text(out, "state", str_from(breaker_state_name(v.state)));
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

/* Sums over all policies; a policy that is behind alone is told from one that all are. */
static void write_policies(struct buf *out, const struct admin_conf *conf,
                           const struct admin_letter_counts *letters)
{
    struct bus_lag sum = {0};
    for (int i = 0; i < conf->policy_count; i++) {
        struct bus_lag lag;
        admin_services_lag(conf, letters, i, &lag);
        if (lag.behind > sum.behind)
            sum.behind = lag.behind;
        sum.open += lag.open;
        sum.held += lag.held;
    }
    admin_write_key(out, "policies");
    buf_addc(out, '{');
    admin_write_int(out, "count", conf->policy_count);
    admin_write_int(out, "behind", sum.behind);
    admin_write_int(out, "open", sum.open);
    admin_write_int(out, "held", sum.held);
    buf_addc(out, '}');
}

static int64_t sum_of(const struct admin_letter_counts *letters)
{
    int64_t sum = 0;
    for (size_t i = 0; i < letters->count; i++)
        sum += letters->items[i].count;
    return sum;
}

void admin_status_get(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct admin_letter_counts letters;
    struct buf body = BUF_INIT;
    if (!admin_services_count(c, &letters))
        return;
    buf_lit(&body, "{\"ready\":");
    buf_adds(&body, !conf->ready || conf->ready(conf->ctx) ? STR("true") : STR("false"));
    if (conf->status)
        conf->status(conf->ctx, &body);
    admin_write_int(&body, "events", store_log_last_seq(conf->store));
    admin_write_int(&body, "commitQueue", (int64_t)store_queue_length(conf->store));
    admin_write_int(&body, "letters", sum_of(&letters));
    write_policies(&body, conf, &letters);
    write_breakers(&body, conf);
    admin_services_write(&body, conf, &letters);
    buf_addc(&body, '}');
    admin_answer_json(c, 200, &body);
}
