/* SPDX-License-Identifier: MIT */
/* What load balancers and collectors ask, without a token: so nothing here tells more than names
 * and numbers. */
#include "app/admin/inside.h"

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
        if (admin_services_is_remote(conf, i) ||
            gates_state(gates_get(conf->gates, conf->services[i])) == GATE_UP)
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
