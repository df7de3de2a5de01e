/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/admin/admin.h"
#include "app/config.h"
#include "app/control.h"
#include "app/reload.h"
#include "app/worker.h"
#include "loop/signals.h"
#include "loop/watch.h"

/* The composition root: what a running process consists of, in the order in which it is made. app.c
 * opens and closes, app_run.c runs it. */
struct app {
    const struct config *config;
    struct clock clock;
    struct loop *loop; /* of the main thread */
    struct mailbox *mailbox;
    struct program *program;
    struct code *code; /* of the scripts and the host's own Lua; the builder's while it runs */
    struct store *store;
    struct store_session *session; /* of the main thread */
    struct registry *breakers;
    struct kept *kept; /* what they keep over restarts */
    struct faults *faults;
    struct gates *gates;
    struct control *control;
    struct repeats *repeats;
    struct cache *cache;
    struct http_ratelimit *ratelimit; /* of the gateway */
    struct lanes *lanes;
    struct bus *bus;
    struct buf token, listen_address, admin_address;
    int listen_fd, admin_fd;
    struct http_share *share;
    struct worker **workers;
    int worker_count;
    int64_t started_ns;
    struct admin *admin;
    struct reloader *reloader;
    struct str *service_names;
    struct signals *signals;
    struct loop_timer drain_end;
    int drained; /* workers */
    struct watch *watch;
    bool store_closed;
    bool ready, stopping, cancelled;
    void (*on_rebuilt)(struct app *a); /* of views in memory, if they are not yet */
    bool reload_again;                 /* asked for while another one ran */
};

/* Loads the scripts, opens everything, starts the workers. -1: err; app_close cleans up either way.
 */
int app_open(struct app *a, const struct config *config, struct err *err);
void app_close(struct app *a);
/* Breakers and the admin side, for a->program as it is now. */
void app_declare_breakers(struct app *a);
void app_switch_admin(struct app *a);
/* Reloads the tree; what comes of it is shown. While another one runs, afterwards (app_reload.c).
 */
void app_reload(struct app *a);
/* One has ended, whoever asked for it: starts what was asked for meanwhile. */
void app_reload_ended(struct app *a);
/* Does so whenever a script is saved. */
int app_watch(struct app *a, struct err *err);
/* A registry_change_fn; ctx is the app. */
void app_breaker_changed(void *ctx, const struct registry_change *change);
/* Ends the loop when the process is stopping and nothing is under way any more. */
void app_look_stopped(struct app *a);
/* An event of the host, with the live declarations; ctx is the app. Main loop's thread. */
void app_emit(void *ctx, const struct host_event *e);
/* The process' members of GET /admin/status; ctx is the app (app_status.c). */
void app_write_status(void *ctx, struct buf *out);
/* How large a file of the data folder is; 0 if there is none. */
int64_t app_file_bytes(const struct app *a, const char *name);
/* The workers' lines of GET /metrics; ctx is the app (app_metrics.c). */
void app_write_metrics(void *ctx, struct buf *out);
