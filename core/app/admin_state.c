/* SPDX-License-Identifier: MIT */
/* What runs at the moment, and the faults put on it. */
#include "app/admin_inside.h"
#include "base/log.h"

#define FAULTS_DEPTH 8

static void write_policies(struct buf *out, const struct admin_conf *conf, struct str service)
{
    admin_write_key(out, "policies");
    buf_addc(out, '[');
    for (int i = 0; i < conf->policy_count; i++) {
        const struct bus_policy *p = &conf->policies[i];
        struct bus_lag lag;
        if (!str_eq(p->service, service))
            continue;
        bus_policy_lag(conf->bus, i, &lag);
        admin_write_item(out);
        buf_addc(out, '{');
        admin_write_text(out, "name", p->name);
        admin_write_int(out, "behind", lag.behind);
        admin_write_int(out, "open", lag.open);
        admin_write_int(out, "held", lag.held);
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

void admin_state_services(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct buf body = BUF_INIT;
    buf_lit(&body, "{\"services\":[");
    for (size_t i = 0; i < conf->service_count; i++) {
        admin_write_item(&body);
        buf_addc(&body, '{');
        admin_write_text(&body, "name", conf->services[i]);
        admin_write_text(&body, "state", STR("up"));
        write_policies(&body, conf, conf->services[i]);
        buf_addc(&body, '}');
    }
    buf_lit(&body, "]}");
    admin_answer_json(c, 200, &body);
}

static void write_breaker(struct buf *out, struct registry_entry *e, int64_t now_ns)
{
    enum breaker_state state;
    struct breaker_counts n;
    struct breaker_conf conf = registry_conf(e);
    registry_read(e, now_ns, &state, &n);
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_text(out, "name", registry_name(e));
    admin_write_text(out, "state", str_from(breaker_state_name(state)));
    admin_write_int(out, "in_flight", n.in_flight);
    admin_write_key(out, "counts");
    buf_addc(out, '{');
    admin_write_int(out, "success", n.success);
    admin_write_int(out, "failure", n.failure);
    admin_write_int(out, "timeout", n.timeout);
    admin_write_int(out, "ignored", n.ignored);
    admin_write_int(out, "refused_open", n.refused_open);
    admin_write_int(out, "refused_limit", n.refused_limit);
    buf_addc(out, '}');
    admin_write_key(out, "conf");
    buf_addc(out, '{');
    admin_write_int(out, "timeout_ms", conf.timeout_ms);
    admin_write_int(out, "limit", conf.limit);
    admin_write_int(out, "volume", conf.volume);
    admin_write_int(out, "error_percent", conf.error_percent);
    admin_write_int(out, "sleep_ms", conf.sleep_ms);
    admin_write_int(out, "window_ms", conf.window_ms);
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
