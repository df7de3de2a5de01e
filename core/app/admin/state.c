/* SPDX-License-Identifier: MIT */
/* What runs at the moment, and the faults put on it. */
#include "app/admin/inside.h"
#include "base/log.h"

#define FAULTS_DEPTH 8

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
