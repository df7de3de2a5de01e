/* SPDX-License-Identifier: MIT */
/* What load balancers and collectors ask, without a token: so nothing here tells more than names
 * and numbers. */
#include "app/admin_inside.h"

static bool is_ready(const struct admin *a)
{
    return !a->conf.ready || a->conf.ready(a->conf.ctx);
}

void admin_health_live(struct admin_call *c)
{
    admin_answer(c, 200, STR("application/json"), STR("{\"status\":\"live\"}"));
}

/* The services that are not up; nothing if there are none. They were stopped on purpose, so that
 * the process as such is ready. */
static void write_stopped(struct buf *out, const struct admin_conf *conf)
{
    bool any = false;
    for (size_t i = 0; conf->gates && i < conf->service_count; i++) {
        if (gates_state(gates_get(conf->gates, conf->services[i])) == GATE_UP)
            continue;
        if (!any) {
            admin_write_key(out, "stopped");
            buf_addc(out, '[');
        }
        any = true;
        admin_write_item(out);
        json_text(out, conf->services[i]);
    }
    if (any)
        buf_addc(out, ']');
}

void admin_health_ready(struct admin_call *c)
{
    struct buf body = BUF_INIT;
    if (!is_ready(c->admin)) {
        admin_problem(c, 503, ERR_STOPPED,
                      "not every service answers yet, or the process is ending");
        return;
    }
    buf_lit(&body, "{\"status\":\"ready\"");
    write_stopped(&body, &c->admin->conf);
    buf_addc(&body, '}');
    admin_answer_json(c, 200, &body);
}

void admin_health_actuator(struct admin_call *c)
{
    bool ready = is_ready(c->admin);
    admin_answer(c, ready ? 200 : 503, STR("application/json"),
                 ready ? STR("{\"status\":\"UP\"}") : STR("{\"status\":\"OUT_OF_SERVICE\"}"));
}

/* A label's value, as the Prometheus text format quotes it. */
static void write_label(struct buf *out, const char *name, struct str value)
{
    buf_adds(out, str_from(name));
    buf_lit(out, "=\"");
    for (size_t i = 0; i < value.n; i++) {
        char ch = value.p[i];
        if (ch == '\\' || ch == '"')
            buf_addc(out, '\\');
        if (ch == '\n')
            buf_lit(out, "\\n");
        else
            buf_addc(out, ch);
    }
    buf_addc(out, '"');
}

static void write_metric(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_breakers(struct buf *out, struct registry *breakers, int64_t now_ns)
{
    static const enum breaker_state states[] = {BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN};
    struct registry_entry *e = NULL;
    write_metric(out, "moontide_breaker_state", "gauge", "1 for the state that the breaker is in.");
    while ((e = registry_next(breakers, e))) {
        struct breaker_view v;
        registry_view(e, now_ns, &v);
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
            buf_lit(out, "moontide_breaker_state{");
            write_label(out, "breaker", registry_name(e));
            buf_addf(out, ",state=\"%s\"} %d\n", breaker_state_name(states[i]),
                     v.state == states[i]);
        }
    }
}

/* One number of every policy; offset tells which of struct bus_lag. */
static void write_policies(struct buf *out, const struct admin_conf *conf, const char *name,
                           const char *help, size_t offset)
{
    write_metric(out, name, "gauge", help);
    for (int i = 0; i < conf->policy_count; i++) {
        struct bus_lag lag;
        int64_t n;
        bus_policy_lag(conf->bus, i, &lag);
        memcpy(&n, (const char *)&lag + offset, sizeof(n));
        buf_addf(out, "%s{", name);
        write_label(out, "service", conf->policies[i].service);
        buf_addc(out, ',');
        write_label(out, "policy", conf->policies[i].name);
        buf_addf(out, "} %lld\n", (long long)n);
    }
}

void admin_health_metrics(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct buf out = BUF_INIT;
    write_metric(&out, "moontide_bus_outstanding", "gauge", "Deliveries dispatched and not done.");
    buf_addf(&out, "moontide_bus_outstanding %lld\n", (long long)bus_outstanding(conf->bus));
    write_metric(&out, "moontide_events_total", "counter", "Events in the log since it was made.");
    buf_addf(&out, "moontide_events_total %lld\n", (long long)store_log_last_seq(conf->store));
    write_policies(&out, conf, "moontide_policy_behind",
                   "Events between a policy's position and the end of the log.",
                   offsetof(struct bus_lag, behind));
    write_policies(&out, conf, "moontide_policy_open",
                   "Events dispatched to a policy and not done.", offsetof(struct bus_lag, open));
    write_policies(&out, conf, "moontide_policy_held",
                   "Events of a policy that wait for their next try.",
                   offsetof(struct bus_lag, held));
    write_breakers(&out, conf->breakers, loop_now_ns(conf->loop));
    if (conf->metrics)
        conf->metrics(conf->ctx, &out);
    admin_answer(c, 200, STR("text/plain; version=0.0.4; charset=utf-8"), buf_str(&out));
    buf_deinit(&out);
}
