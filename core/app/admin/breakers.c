/* SPDX-License-Identifier: MIT */
/* Breakers for who operates them: what they count, what they are set to, and setting it. */
#include "app/admin/inside.h"
#include "base/log.h"

#define SETTINGS_DEPTH 4

/* ---- showing ---- */

static void write_flag(struct buf *out, const char *name, bool yes)
{
    admin_write_key(out, name);
    buf_adds(out, yes ? STR("true") : STR("false"));
}

static void write_counts(struct buf *out, const struct breaker_view *v)
{
    admin_write_key(out, "counts");
    buf_addc(out, '{');
    admin_write_int(out, "success", v->rolling[BREAKER_EVENT_SUCCESS]);
    admin_write_int(out, "failure", v->rolling[BREAKER_EVENT_FAILURE]);
    admin_write_int(out, "timeout", v->rolling[BREAKER_EVENT_TIMEOUT]);
    admin_write_int(out, "ignored",
                    v->rolling[BREAKER_EVENT_IGNORED] + v->rolling[BREAKER_EVENT_BAD_REQUEST] +
                        v->rolling[BREAKER_EVENT_CANCELLED]);
    admin_write_int(out, "refused_open", v->rolling[BREAKER_EVENT_SHORT_CIRCUITED]);
    admin_write_int(out, "refused_limit", v->rolling[BREAKER_EVENT_REJECTED]);
    buf_addc(out, '}');
}

static void write_events(struct buf *out, const struct breaker_view *v)
{
    admin_write_key(out, "rolling");
    buf_addc(out, '{');
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
        admin_write_int(out, breaker_event_name((enum breaker_event)i), v->rolling[i]);
    buf_addc(out, '}');
    admin_write_key(out, "total");
    buf_addc(out, '{');
    for (int i = 0; i < BREAKER_EVENT_COUNT; i++)
        admin_write_int(out, breaker_event_name((enum breaker_event)i), (int64_t)v->total[i]);
    buf_addc(out, '}');
}

static void write_health(struct buf *out, const struct breaker_view *v)
{
    admin_write_key(out, "health");
    buf_addc(out, '{');
    admin_write_int(out, "total", v->health.total);
    admin_write_int(out, "errors", v->health.errors);
    admin_write_int(out, "slow", v->health.slow);
    admin_write_int(out, "error_percent", v->error_percent);
    admin_write_int(out, "slow_percent", v->slow_percent);
    buf_addc(out, '}');
}

static void write_latency(struct buf *out, const char *name, const struct breaker_latency_view *l)
{
    admin_write_key(out, name);
    buf_addc(out, '{');
    admin_write_int(out, "count", l->count);
    admin_write_key(out, "mean");
    json_number(out, (double)l->mean_ns / 1e6);
    for (int i = 0; i < BREAKER_PERCENTILES; i++) {
        admin_write_key(out, breaker_percentile_names[i]);
        json_number(out, (double)l->percentile_ns[i] / 1e6);
    }
    buf_addc(out, '}');
}

static void write_conf(struct buf *out, const char *name, const struct breaker_conf *conf,
                       uint64_t mask)
{
    admin_write_key(out, name);
    buf_addc(out, '{');
    breaker_conf_write(conf, mask, out);
    buf_addc(out, '}');
}

static void write_breaker(struct buf *out, struct registry *r, struct registry_entry *e,
                          int64_t now_ns)
{
    struct breaker_view v;
    struct breaker_latency_view execute, total;
    struct breaker_layer set = registry_admin_layer(r, e);
    registry_view(e, now_ns, &v);
    registry_latency(e, now_ns, &execute, &total);
    const char *forced = v.conf.force_open ? "open" : v.conf.force_closed ? "closed" : NULL;
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_text(out, "name", registry_name(e));
    admin_write_text(out, "state", str_from(breaker_state_name(v.state)));
    admin_write_int(out, "in_flight", v.in_flight);
    write_counts(out, &v);
    write_flag(out, "is_open", v.is_open);
    admin_write_key(out, "forced");
    if (forced != NULL)
        json_text(out, str_from(forced));
    else
        buf_lit(out, "null");
    admin_write_int(out, "retry_after_ms", v.retry_ns / NS_PER_MS);
    admin_write_int(out, "limit", v.limit);
    admin_write_int(out, "waiting", v.waiting);
    admin_write_int(out, "max_in_flight", v.max_in_flight);
    write_health(out, &v);
    write_events(out, &v);
    write_latency(out, "latency_ms", &execute);
    write_latency(out, "latency_total_ms", &total);
    write_conf(out, "conf", &v.conf, UINT64_MAX);
    write_conf(out, "set", &set.conf, set.set);
    buf_addc(out, '}');
}

void admin_breakers_list(struct admin_call *c)
{
    struct registry *breakers = c->admin->conf.breakers;
    int64_t now_ns = loop_now_ns(c->admin->conf.loop);
    struct buf body = BUF_INIT;
    struct breaker_layer all = registry_admin_layer(breakers, NULL);
    buf_lit(&body, "{\"breakers\":[");
    for (struct registry_entry *e = NULL; (e = registry_next(breakers, e));)
        write_breaker(&body, breakers, e, now_ns);
    buf_addc(&body, ']');
    write_conf(&body, "default", &all.conf, all.set);
    buf_addc(&body, '}');
    admin_answer_json(c, 200, &body);
}

/* ---- setting ---- */

static uint64_t bit_of(const struct breaker_setting *s)
{
    return UINT64_C(1) << (s - breaker_settings);
}

/* "force": "open" or "closed" stands for both flags. */
static int read_force(const struct json *value, struct breaker_layer *ret, struct err *err)
{
    bool open = value->type == JSON_TEXT && str_eq(value->s, STR("open"));
    bool closed = value->type == JSON_TEXT && str_eq(value->s, STR("closed"));
    const struct json flags[] = {{.type = JSON_BOOL, .b = open}, {.type = JSON_BOOL, .b = closed}};
    if (!open && !closed)
        return err_set(err, ERR_CONFIG, "force must be \"open\", \"closed\" or null");
    if (breaker_layer_set(ret, STR("force_open"), &flags[0], err) != 0)
        return -1;
    return breaker_layer_set(ret, STR("force_closed"), &flags[1], err);
}

/* One member of the body: a value is set, null goes back to what the files say. */
static int read_setting(struct str name, const struct json *value, struct breaker_layer *ret,
                        uint64_t *ret_forget, struct err *err)
{
    const struct breaker_setting *s = breaker_setting_find(name);
    bool force = str_eq(name, STR("force")), forgets = value->type == JSON_NULL;
    if (force && !forgets)
        return read_force(value, ret, err);
    if (!force && (s == NULL || !forgets))
        return breaker_layer_set(ret, name, value, err);
    if (force)
        *ret_forget |= bit_of(breaker_setting_find(STR("force_open"))) |
                       bit_of(breaker_setting_find(STR("force_closed")));
    else
        *ret_forget |= bit_of(s);
    return 0;
}

static int read_settings(struct admin_call *c, struct breaker_layer *ret, uint64_t *ret_forget,
                         struct err *err)
{
    struct json body;
    if (json_parse(c->arena, c->request->body, SETTINGS_DEPTH, &body, err) != 0)
        return -1;
    if (body.type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "expected an object of settings");
    for (size_t i = 0; i < body.count; i++)
        if (read_setting(body.names[i], &body.items[i], ret, ret_forget, err) != 0)
            return -1;
    return 0;
}

static void answer_unknown(struct admin_call *c, struct str name)
{
    struct str names[64];
    size_t n = 0;
    for (struct registry_entry *e = NULL;
         n < 64 && (e = registry_next(c->admin->conf.breakers, e));)
        names[n++] = registry_name(e);
    struct str nearest = str_nearest(name, names, n);
    if (nearest.n > 0)
        admin_problem(c, 404, ERR_NOT_FOUND, "no breaker \"%.*s\"; did you mean \"%.*s\"?",
                      STR_ARG(name), STR_ARG(nearest));
    else
        admin_problem(c, 404, ERR_NOT_FOUND, "no breaker \"%.*s\"", STR_ARG(name));
}

void admin_breakers_set(struct admin_call *c)
{
    struct registry *breakers = c->admin->conf.breakers;
    struct str name = c->match.params[0];
    struct registry_entry *e = registry_find(breakers, name);
    struct breaker_layer changes = {0};
    uint64_t forget = 0;
    struct err err;
    if (e == NULL && !str_eq(name, STR("default"))) {
        answer_unknown(c, name);
        return;
    }
    if (read_settings(c, &changes, &forget, &err) != 0 ||
        registry_admin(breakers, e, &changes, forget, loop_now_ns(c->admin->conf.loop), &err)) {
        admin_problem_extra(c, 400, &err, STR(""));
        return;
    }
    log_event(LOG_WARN, "breaker set", LOG_S("breaker", name), LOG_S("settings", c->request->body),
              LOG_S("correlationId", c->correlation_id));
    if (c->admin->conf.keep != NULL && c->admin->conf.keep(c->admin->conf.ctx, &err) != 0)
        admin_problem(c, 500, err.code, "it holds, but is not kept over a restart: %s",
                      err.message);
    else
        admin_breakers_list(c);
}

/* ---- metrics, in Resilience4j's names ---- */

static void write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP resilience4j_%s %s\n# TYPE resilience4j_%s %s\n", name, help, name, type);
}

static void write_line(struct buf *out, const char *metric, struct registry_entry *e,
                       const char *label, const char *value, double n)
{
    buf_addf(out, "resilience4j_%s{name=\"", metric);
    for (size_t i = 0; i < registry_name(e).n; i++) {
        char ch = registry_name(e).p[i];
        if (ch == '\\' || ch == '"' || ch == '\n')
            buf_addc(out, '\\');
        buf_addc(out, ch == '\n' ? 'n' : ch);
    }
    buf_addc(out, '"');
    if (label != NULL)
        buf_addf(out, ",%s=\"%s\"", label, value);
    buf_addf(out, "} %.15g\n", n);
}

static void write_state(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    static const char *const states[] = {"closed",      "open",     "half_open",
                                         "forced_open", "disabled", "metrics_only"};
    const char *now = v->conf.force_open     ? "forced_open"
                      : v->conf.force_closed ? "metrics_only"
                      : !v->conf.enabled     ? "disabled"
                                             : breaker_state_name(v->state);
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        write_line(out, "circuitbreaker_state", e, "state", states[i], strcmp(states[i], now) == 0);
}

static void write_calls(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    const uint64_t *n = v->total;
    write_line(out, "circuitbreaker_calls_total", e, "kind", "successful",
               (double)n[BREAKER_EVENT_SUCCESS]);
    write_line(out, "circuitbreaker_calls_total", e, "kind", "failed",
               (double)(n[BREAKER_EVENT_FAILURE] + n[BREAKER_EVENT_TIMEOUT]));
    write_line(out, "circuitbreaker_calls_total", e, "kind", "ignored",
               (double)(n[BREAKER_EVENT_BAD_REQUEST] + n[BREAKER_EVENT_IGNORED] +
                        n[BREAKER_EVENT_CANCELLED]));
}

static void write_not_permitted(struct buf *out, struct registry_entry *e,
                                const struct breaker_view *v)
{
    write_line(out, "circuitbreaker_not_permitted_calls_total", e, "kind", "not_permitted",
               (double)v->total[BREAKER_EVENT_SHORT_CIRCUITED]);
}

static void write_buffered(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    write_line(out, "circuitbreaker_buffered_calls", e, "kind", "successful",
               (double)(v->health.total - v->health.errors));
    write_line(out, "circuitbreaker_buffered_calls", e, "kind", "failed", (double)v->health.errors);
}

/* -1 like there: fewer calls than it takes to say. */
static double rate(const struct breaker_view *v, int volume, int percent)
{
    return v->health.total < volume ? -1 : percent;
}

static void write_failure_rate(struct buf *out, struct registry_entry *e,
                               const struct breaker_view *v)
{
    write_line(out, "circuitbreaker_failure_rate", e, NULL, NULL,
               rate(v, v->conf.volume, v->error_percent));
}

static void write_slow_rate(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    int volume = v->conf.slow_volume > 0 ? v->conf.slow_volume : v->conf.volume;
    write_line(out, "circuitbreaker_slow_call_rate", e, NULL, NULL,
               rate(v, volume, v->slow_percent));
}

static void write_available(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    write_line(out, "bulkhead_available_concurrent_calls", e, NULL, NULL, v->limit - v->in_flight);
}

static void write_allowed(struct buf *out, struct registry_entry *e, const struct breaker_view *v)
{
    write_line(out, "bulkhead_max_allowed_concurrent_calls", e, NULL, NULL, v->limit);
}

void admin_breakers_metrics(struct buf *out, struct registry *breakers, int64_t now_ns)
{
    static const struct {
        const char *name, *type, *help;
        void (*write)(struct buf *out, struct registry_entry *e, const struct breaker_view *v);
    } metrics[] = {
        {"circuitbreaker_state", "gauge", "1 for the state that callers meet.", write_state},
        {"circuitbreaker_calls_total", "counter", "Calls that were let through.", write_calls},
        {"circuitbreaker_not_permitted_calls_total", "counter", "Calls refused as open.",
         write_not_permitted},
        {"circuitbreaker_buffered_calls", "gauge", "Results in the window.", write_buffered},
        {"circuitbreaker_failure_rate", "gauge", "Per cent; -1: too few results.",
         write_failure_rate},
        {"circuitbreaker_slow_call_rate", "gauge", "Per cent; -1: too few results.",
         write_slow_rate},
        {"bulkhead_available_concurrent_calls", "gauge", "Free places.", write_available},
        {"bulkhead_max_allowed_concurrent_calls", "gauge", "Calls at once.", write_allowed},
    };
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++) {
        write_head(out, metrics[i].name, metrics[i].type, metrics[i].help);
        for (struct registry_entry *e = NULL; (e = registry_next(breakers, e));) {
            struct breaker_view v;
            registry_view(e, now_ns, &v);
            metrics[i].write(out, e, &v);
        }
    }
}
