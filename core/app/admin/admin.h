/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/registry.h"
#include "bus/letters.h"
#include "http/server.h"
#include "script/faults.h"
#include "script/gates.h"
#include "script/host_events.h"

/* The admin side: bearer token, event log, letters, faults, breakers, health. Runs on the main
 * loop. */
struct admin;

struct admin_conf {
    struct loop *loop;
    int listen_fd;
    struct str token;
    struct store *store;
    struct store_session *session; /* of the main loop */
    const struct store_schema *schema;
    struct bus *bus;
    struct registry *breakers;
    struct faults *faults;
    struct gates *gates;        /* states of services; NULL: all are up */
    struct control *control;    /* or NULL: services are not stopped here */
    const struct str *services; /* names, and for each, where it runs: NULL in p: here; */
    const struct str *urls;     /* empty: elsewhere, nobody said where */
    size_t service_count;
    const struct bus_policy *policies;
    int policy_count;
    struct reloader *reloader; /* or NULL: no reloading here */
    void (*metrics)(void *ctx,
                    struct buf *out); /* appends the host's own Prometheus lines; may be NULL */
    void (*status)(void *ctx, struct buf *out); /* appends the process' members; may be NULL */
    bool (*ready)(void *ctx);                   /* NULL: always */
    void (*emit)(void *ctx, const struct host_event *e); /* writes it to the log; NULL: nowhere */
    int (*keep)(void *ctx, struct err *err); /* saves what breakers are to keep; may be NULL */
    void *ctx;
};

/* Borrows all that conf points to. Returns owned. */
struct admin *admin_new(const struct admin_conf *conf, struct err *err);
/* Ends all streams and connections. A letter that is being discarded may still be reported
 * afterwards: it is answered to nobody. The bus must still be there. */
void admin_free(struct admin *a);
/* What a new generation changes of conf; borrowed like the old ones, which are no longer used. */
struct admin_program {
    const struct store_schema *schema;
    const struct str *services, *urls;
    size_t service_count;
    const struct bus_policy *policies;
    int policy_count;
};
void admin_switch(struct admin *a, const struct admin_program *p);
/* The token: MOONTIDE_ADMIN_TOKEN, else the file (flag), else DATA/admin.token, made (0600) at
 * first start. At least 16 bytes, printable, without spaces; ERR_CONFIG says which source was
 * wrong. Never logged. */
int admin_token(struct str token_file, struct str data, struct buf *ret, struct err *err);
