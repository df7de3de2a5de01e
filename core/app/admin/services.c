/* SPDX-License-Identifier: MIT */
/* Services: what they are at, stopping and starting them. */
#include "app/admin/inside.h"
#include "app/control.h"

/* A stop or start under way. */
struct change {
    struct admin_call *call;
    struct list node;
    bool closed; /* the admin side went first */
    struct str service;
};

bool admin_services_is_remote(const struct admin_conf *conf, size_t i)
{
    return conf->urls && conf->urls[i].p;
}

static struct str state_of(const struct admin_conf *conf, struct str service)
{
    if (!conf->gates)
        return STR("up");
    return str_from(gates_state_name(gates_state(gates_get(conf->gates, service))));
}

static void write_policy(struct buf *out, const struct bus_policy *p, const struct bus_lag *lag,
                         int64_t letters)
{
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_text(out, "name", p->name);
    admin_write_int(out, "behind", lag->behind);
    admin_write_int(out, "open", lag->open);
    admin_write_int(out, "held", lag->held);
    admin_write_int(out, "letters", letters);
    buf_addc(out, '}');
}

bool admin_services_count(struct admin_call *c, struct admin_letter_counts *ret)
{
    struct store_session *session = c->admin->conf.session;
    struct err err;
    if (store_log_letter_counts(session, c->arena, &ret->items, &ret->count, &err) == 0 &&
        store_log_held_counts(session, c->arena, &ret->held, &ret->held_count, &err) == 0)
        return true;
    admin_problem_err(c, &err);
    return false;
}

static int64_t count_of(const struct store_letter_count *items, size_t count,
                        const struct bus_policy *p)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(items[i].service, p->service) && str_eq(items[i].policy, p->name))
            return items[i].count;
    return 0;
}

int64_t admin_services_letters(const struct admin_letter_counts *letters,
                               const struct bus_policy *p)
{
    return count_of(letters->items, letters->count, p);
}

void admin_services_lag(const struct admin_conf *conf, const struct admin_letter_counts *letters,
                        int i, struct bus_lag *ret)
{
    const struct bus_policy *p = &conf->policies[i];
    bus_policy_lag(conf->bus, i, ret);
    if (conf->gates && gates_state(gates_get(conf->gates, p->service)) != GATE_UP)
        ret->held = count_of(letters->held, letters->held_count, p);
}

static void write_place(struct buf *out, const struct admin_conf *conf, size_t i)
{
    bool remote = admin_services_is_remote(conf, i);
    admin_write_text(out, "state", remote ? STR("remote") : state_of(conf, conf->services[i]));
    admin_write_key(out, "url");
    if (remote && conf->urls[i].n > 0)
        json_text(out, conf->urls[i]);
    else
        buf_lit(out, "null");
}

/* Its policies, and the sums of theirs. */
static void write_service(struct buf *out, const struct admin_conf *conf, size_t number,
                          const struct admin_letter_counts *letters)
{
    struct str service = conf->services[number];
    int64_t held = 0, letter_count = 0;
    admin_write_item(out);
    buf_addc(out, '{');
    admin_write_text(out, "name", service);
    write_place(out, conf, number);
    admin_write_key(out, "policies");
    buf_addc(out, '[');
    for (int i = 0; i < conf->policy_count; i++) {
        const struct bus_policy *p = &conf->policies[i];
        struct bus_lag lag;
        if (!str_eq(p->service, service))
            continue;
        admin_services_lag(conf, letters, i, &lag);
        int64_t n = admin_services_letters(letters, p);
        write_policy(out, p, &lag, n);
        held += lag.held;
        letter_count += n;
    }
    buf_addc(out, ']');
    admin_write_int(out, "held", held);
    admin_write_int(out, "letters", letter_count);
    buf_addc(out, '}');
}

void admin_services_write(struct buf *out, const struct admin_conf *conf,
                          const struct admin_letter_counts *letters)
{
    admin_write_key(out, "services");
    buf_addc(out, '[');
    for (size_t i = 0; i < conf->service_count; i++)
        write_service(out, conf, i, letters);
    buf_addc(out, ']');
}

void admin_services_list(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct admin_letter_counts letters;
    struct buf body = BUF_INIT;
    if (!admin_services_count(c, &letters))
        return;
    buf_addc(&body, '{');
    admin_services_write(&body, conf, &letters);
    buf_addc(&body, '}');
    admin_answer_json(c, 200, &body);
}

/* ---- stop and start ---- */

static void on_changed(void *ctx, const struct err *err)
{
    struct change *change = ctx;
    struct admin_call *c = change->call;
    if (change->closed) {
        http_answer(c->x, 503, STR(""), NULL, 0, STR("")); /* there is no client any more */
        return;
    }
    list_remove(&change->node);
    if (err) {
        admin_problem_err(c, err);
        return;
    }
    struct buf body = BUF_INIT;
    buf_addc(&body, '{');
    admin_write_text(&body, "name", change->service);
    admin_write_text(&body, "state", state_of(&c->admin->conf, change->service));
    buf_addc(&body, '}');
    admin_answer_json(c, 200, &body);
}

static bool is_service(const struct admin_conf *conf, struct str name)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        if (str_eq(conf->services[i], name))
            return true;
    }
    return false;
}

static void answer_unknown(struct admin_call *c, struct str name)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct str nearest = str_nearest(name, conf->services, conf->service_count);
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < conf->service_count; i++) {
        buf_adds(&names, i > 0 ? STR(", ") : STR(""));
        buf_adds(&names, conf->services[i]);
    }
    if (nearest.n > 0)
        admin_problem(c, 404, ERR_NOT_FOUND, "no service \"%.*s\"; did you mean \"%.*s\"?",
                      STR_ARG(name), STR_ARG(nearest));
    else
        admin_problem(c, 404, ERR_NOT_FOUND, "no service \"%.*s\"; there are %.*s", STR_ARG(name),
                      STR_ARG(buf_str(&names)));
    buf_deinit(&names);
}

static void change_state(struct admin_call *c, bool stop)
{
    struct admin *a = c->admin;
    struct str name = c->match.params[0];
    if (!is_service(&a->conf, name)) {
        answer_unknown(c, name);
        return;
    }
    if (!a->conf.control) {
        admin_problem(c, 404, ERR_NOT_FOUND, "services cannot be stopped here");
        return;
    }
    struct change *change = arena_zalloc(c->arena, sizeof(*change));
    change->call = c;
    change->service = arena_str(c->arena, name);
    list_push(&a->changes, &change->node);
    struct control_request request = {change->service, stop, c->correlation_id, on_changed, change};
    control_ask(a->conf.control, &request);
}

void admin_services_stop(struct admin_call *c)
{
    change_state(c, true);
}

void admin_services_start(struct admin_call *c)
{
    change_state(c, false);
}

void admin_services_close(struct admin *a)
{
    while (!list_empty(&a->changes))
        list_entry(list_pop(&a->changes), struct change, node)->closed = true;
}
