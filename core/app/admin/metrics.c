/* SPDX-License-Identifier: MIT */
/* GET /metrics, for collectors: no token, so nothing here tells more than names and numbers. The
 * lines of a family stand together, since the format wants it so. */
#include "http/metrics.h"

#include "app/admin/inside.h"

static void write_int(struct buf *out, const char *name, const char *type, const char *help,
                      int64_t value)
{
    admin_metrics_family(out, name, type, help);
    buf_addf(out, "%s %lld\n", name, (long long)value);
}

static void write_breakers(struct buf *out, struct registry *breakers, int64_t now_ns)
{
    static const enum breaker_state states[] = {BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN};
    struct registry_entry *e = NULL;
    admin_metrics_family(out, "moontide_breaker_state", "gauge",
                         "1 for the state that the breaker is in.");
    while ((e = registry_next(breakers, e))) {
        struct breaker_view v;
        registry_view(e, now_ns, &v);
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
            buf_lit(out, "moontide_breaker_state{");
            http_metrics_label(out, "breaker", registry_name(e));
            buf_addf(out, ",state=\"%s\"} %d\n", breaker_state_name(states[i]),
                     v.state == states[i]);
        }
    }
}

static void write_services(struct buf *out, const struct admin_conf *conf)
{
    admin_metrics_family(out, "moontide_service_up", "gauge",
                         "1 for a service that answers, 0 for one that was stopped.");
    for (size_t i = 0; i < conf->service_count; i++) {
        struct str name = conf->services[i];
        if (admin_services_is_remote(conf, i))
            continue;
        bool up = !conf->gates || gates_state(gates_get(conf->gates, name)) == GATE_UP;
        buf_lit(out, "moontide_service_up{");
        http_metrics_label(out, "service", name);
        buf_addf(out, "} %d\n", up);
    }
}

static void write_policy(struct buf *out, const char *name, const struct bus_policy *p, int64_t n)
{
    buf_addf(out, "%s{", name);
    http_metrics_label(out, "service", p->service);
    buf_addc(out, ',');
    http_metrics_label(out, "policy", p->name);
    buf_addf(out, "} %lld\n", (long long)n);
}

static void write_lags(struct buf *out, const struct admin_conf *conf,
                       const struct admin_letter_counts *letters)
{
    static const struct {
        const char *name, *help;
        size_t offset; /* in struct bus_lag */
    } numbers[] = {
        {"moontide_policy_behind", "Events between a policy's position and the end of the log.",
         offsetof(struct bus_lag, behind)},
        {"moontide_policy_open", "Events dispatched to a policy and not done.",
         offsetof(struct bus_lag, open)},
        {"moontide_policy_held", "Events of a policy that wait for their next try.",
         offsetof(struct bus_lag, held)},
    };
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        admin_metrics_family(out, numbers[k].name, "gauge", numbers[k].help);
        for (int i = 0; i < conf->policy_count; i++) {
            struct bus_lag lag;
            int64_t n;
            admin_services_lag(conf, letters, i, &lag);
            memcpy(&n, (const char *)&lag + numbers[k].offset, sizeof(n));
            write_policy(out, numbers[k].name, &conf->policies[i], n);
        }
    }
}

static void write_letters(struct buf *out, const struct admin_conf *conf,
                          const struct admin_letter_counts *letters)
{
    admin_metrics_family(out, "moontide_letters", "gauge", "Events that a policy gave up on.");
    for (int i = 0; i < conf->policy_count; i++)
        write_policy(out, "moontide_letters", &conf->policies[i],
                     admin_services_letters(letters, &conf->policies[i]));
}

void admin_metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void admin_metrics_get(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct admin_letter_counts letters;
    struct buf out = BUF_INIT;
    if (!admin_services_count(c, &letters))
        return;
    write_int(&out, "moontide_bus_outstanding", "gauge", "Deliveries dispatched and not done.",
              bus_outstanding(conf->bus));
    write_int(&out, "moontide_events_total", "counter", "Events in the log since it was made.",
              store_log_last_seq(conf->store));
    write_int(&out, "moontide_commit_queue", "gauge", "Units of work that wait for their commit.",
              (int64_t)store_queue_length(conf->store));
    write_services(&out, conf);
    write_lags(&out, conf, &letters);
    write_letters(&out, conf, &letters);
    write_breakers(&out, conf->breakers, loop_now_ns(conf->loop));
    admin_breakers_metrics(&out, conf->breakers, loop_now_ns(conf->loop));
    if (conf->metrics)
        conf->metrics(conf->ctx, &out);
    admin_answer(c, 200, STR("text/plain; version=0.0.4; charset=utf-8"), buf_str(&out));
    buf_deinit(&out);
}
