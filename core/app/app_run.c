/* SPDX-License-Identifier: MIT */
/* `moontide run`: from the first line of the log to the last answer. */
#include "app/app.h"
#include "app/commands/commands.h"
#include "base/file.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_OWN 512 /* store, loops, admin side, connections that are being refused */

/* DATA/run.json: where the commands find the server. */
static void run_file_path(const struct app *a, struct buf *out)
{
    buf_adds(out, a->config->data);
    buf_lit(out, "/run.json");
    buf_str(out);
}

static int write_run_file(struct app *a, struct err *err)
{
    struct buf path = BUF_INIT, text = BUF_INIT;
    run_file_path(a, &path);
    buf_lit(&text, "{\"admin\":");
    json_text(&text, buf_str(&a->admin_address));
    buf_lit(&text, ",\"listen\":");
    json_text(&text, buf_str(&a->listen_address));
    buf_addf(&text, ",\"pid\":%ld}\n", (long)getpid());
    int failed = file_write(path.p, buf_str(&text), 0600, err);
    buf_deinit(&path);
    buf_deinit(&text);
    return failed;
}

static void remove_run_file(struct app *a)
{
    struct buf path = BUF_INIT;
    run_file_path(a, &path);
    unlink(path.p);
    buf_deinit(&path);
}

/* ---- stopping ---- */

static void cancel_rest(struct app *a)
{
    if (a->cancelled)
        return;
    a->cancelled = true;
    log_event(LOG_WARN, "cancelling what is still running");
    for (int i = 0; i < a->worker_count; i++)
        worker_cancel(a->workers[i]);
}

static void drain_over(struct loop_timer *t)
{
    cancel_rest(list_entry(t, struct app, drain_end));
}

static void begin_stop(struct app *a)
{
    a->stopping = true;
    log_event(LOG_INFO, "stopping");
    bus_stop(a->bus);
    control_abort(a->control);
    for (int i = 0; i < a->worker_count; i++)
        worker_drain(a->workers[i]);
    a->drain_end.fn = drain_over;
    loop_timer_start(a->loop, &a->drain_end, loop_now_ns(a->loop) + CONTROL_DRAIN_NS);
}

static void on_signal(void *ctx, int number)
{
    struct app *a = ctx;
    if (number == SIGHUP)
        app_reload(a);
    else if (!a->stopping)
        begin_stop(a);
    else
        cancel_rest(a);
}

/* ---- running ---- */

static void say_listening(const char *role, struct str address)
{
    log_event(LOG_INFO, "listening", LOG_C("role", role), LOG_S("address", address));
}

/* The system's `try` lines, on stderr so that the log stays one; {gateway} and {admin} stand for
 * the addresses. */
static void say_hints(struct app *a)
{
    struct buf out = BUF_INIT;
    struct str gateway = buf_str(&a->listen_address), admin = buf_str(&a->admin_address);
    for (int i = 0; i < a->program->hint_count; i++) {
        struct str line = a->program->hints[i];
        for (size_t k = 0; k < line.n; k++) {
            struct str rest = {line.p + k, line.n - k};
            if (str_starts(rest, STR("{gateway}"))) {
                buf_adds(&out, gateway);
                k += sizeof("{gateway}") - 2;
            } else if (str_starts(rest, STR("{admin}"))) {
                buf_adds(&out, admin);
                k += sizeof("{admin}") - 2;
            } else {
                buf_addc(&out, line.p[k]);
            }
        }
        buf_addc(&out, '\n');
    }
    if (out.n > 0)
        fprintf(stderr, "%s", buf_str(&out).p);
    buf_deinit(&out);
}

/* Only now: whoever reads "listening" may rely on every answer. */
static void open_doors(struct app *a)
{
    a->ready = true;
    say_listening("gateway", buf_str(&a->listen_address));
    say_listening("admin", buf_str(&a->admin_address));
    say_hints(a);
}

static int take_signals(struct app *a, struct err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, 0};
    a->signals = signals_new(a->loop, numbers, on_signal, a, err);
    return a->signals != NULL ? 0 : -1;
}

/* Shells give a process 1,024 descriptors and allow it many more; 10,000 connections need one each.
 */
static void raise_descriptors(const struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->http.connections + DESCRIPTORS_OWN;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < wanted)
        log_event(LOG_WARN, "fewer descriptors than http.connections may need",
                  LOG_I("descriptors", (int64_t)limit.rlim_max), LOG_I("wanted", (int64_t)wanted));
}

static int report(const struct err *err)
{
    fprintf(stderr, "moontide: %s\n", err->message);
    return EXIT_CONFIG;
}

int app_run(const struct config *config)
{
    struct app a;
    struct err err;
    log_set_level(config->log_level);
    raise_descriptors(config);
    if (app_open(&a, config, &err) != 0 || take_signals(&a, &err) != 0 ||
        write_run_file(&a, &err) != 0) {
        app_close(&a);
        return report(&err);
    }
    if (config->watch && app_watch(&a, &err) != 0) {
        app_close(&a);
        return report(&err);
    }
    if (bus_is_rebuilt(a.bus))
        open_doors(&a);
    else
        a.on_rebuilt = open_doors;
    loop_run(a.loop);
    loop_timer_stop(a.loop, &a.drain_end);
    remove_run_file(&a);
    app_close(&a);
    log_event(LOG_INFO, "stopped");
    return EXIT_OK;
}
