/* SPDX-License-Identifier: MIT */
/* What runs at the moment, and the faults put on it. */
#include "app/admin_inside.h"
#include "base/log.h"

#define FAULTS_DEPTH 8

static void write_breaker(struct buf *out, struct registry_entry *e, int64_t now_ns)
{
    struct breaker_view v;
    registry_view(e, now_ns, &v);
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_text(out, "name", registry_name(e));
    admin_write_text(out, "state", str_from(breaker_state_name(v.state)));
    admin_write_int(out, "in_flight", v.in_flight);
    admin_write_key(out, "counts");
    buf_addc(out, '{');
    admin_write_int(out, "success", v.rolling[BREAKER_EVENT_SUCCESS]);
    admin_write_int(out, "failure", v.rolling[BREAKER_EVENT_FAILURE]);
    admin_write_int(out, "timeout", v.rolling[BREAKER_EVENT_TIMEOUT]);
    admin_write_int(out, "ignored",
                    v.rolling[BREAKER_EVENT_IGNORED] + v.rolling[BREAKER_EVENT_BAD_REQUEST] +
                        v.rolling[BREAKER_EVENT_CANCELLED]);
    admin_write_int(out, "refused_open", v.rolling[BREAKER_EVENT_SHORT_CIRCUITED]);
    admin_write_int(out, "refused_limit", v.rolling[BREAKER_EVENT_REJECTED]);
    buf_addc(out, '}');
    admin_write_key(out, "conf");
    buf_addc(out, '{');
    breaker_conf_write(&v.conf, UINT64_MAX, out);
    buf_lit(out, "}}");
}

void admin_state_breakers(struct admin_call *c)
{
    struct registry *breakers = c->admin->conf.breakers;
    int64_t now_ns = loop_now_ns(c->admin->conf.loop);
    struct buf body = BUF_INIT;
    buf_lit(&body, "{\"breakers\":[");
    struct registry_entry *e = NULL;
    while ((e = registry_next(breakers, e)))
        write_breaker(&body, e, now_ns);
    buf_lit(&body, "]}");
    admin_answer_json(c, 200, &body);
}

void admin_state_faults(struct admin_call *c)
{
    struct buf body = BUF_INIT;
    faults_write(c->admin->conf.faults, &body);
    admin_answer_json(c, 200, &body);
}

void admin_state_set_faults(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct json table;
    struct err err;
    if (json_parse(c->arena, c->request->body, FAULTS_DEPTH, &table, &err) ||
        faults_set(conf->faults, &table, conf->services, conf->service_count, &err)) {
        admin_problem_err(c, &err);
        return;
    }
    log_event(LOG_WARN, "faults set", LOG_S("table", c->request->body),
              LOG_S("correlationId", c->correlation_id));
    admin_state_faults(c);
}

void admin_state_clear_faults(struct admin_call *c)
{
    faults_clear(c->admin->conf.faults);
    log_event(LOG_INFO, "faults cleared", LOG_S("correlationId", c->correlation_id));
    admin_answer(c, 204, STR(""), STR(""));
}
