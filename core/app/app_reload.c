/* SPDX-License-Identifier: MIT */
/* Reloads that nobody waits for: SIGHUP and --watch. What is wrong is shown as a compiler would, on
 * stderr, and logged. */
#include "app/app.h"
#include "app/excerpt.h"
#include "base/file.h"

#include <stdio.h>

#define QUIET_MS 50

static void reload_told(void *ctx, const struct reload_result *r);

void app_reload(struct app *a)
{
    struct reload_request request = {.kind = RELOAD_TREE, .done = reload_told, .ctx = a};
    a->reload_again = !reload_start(a->reloader, &request) && !a->stopping;
}

static void show_line(struct buf *out, const struct app *a, struct str message)
{
    struct buf file = BUF_INIT, text = BUF_INIT;
    struct str path;
    struct err err;
    int64_t number;
    if (!excerpt_place(message, &path, &number))
        return;
    buf_addf(&file, "%.*s/%.*s", STR_ARG(a->config->scripts), STR_ARG(path));
    if (file_read(buf_str(&file).p, 1 << 20, &text, &err) == 0)
        excerpt_write(out, buf_str(&text), number, message);
    buf_deinit(&file);
    buf_deinit(&text);
}

static void reload_told(void *ctx, const struct reload_result *r)
{
    struct app *a = ctx;
    if (r->status != 200) {
        struct buf out = BUF_INIT;
        buf_addf(&out, "%s\n", r->err.message);
        show_line(&out, a, str_from(r->err.message));
        log_event(LOG_ERROR, "reload failed, nothing changed", LOG_C("error", r->err.message));
        fprintf(stderr, "%s", buf_str(&out).p);
        buf_deinit(&out);
    }
}

void app_reload_ended(struct app *a)
{
    if (a->reload_again && !a->stopping)
        app_reload(a);
}

static void saved(void *ctx)
{
    app_reload(ctx);
}

int app_watch(struct app *a, struct err *err)
{
    a->watch = watch_new(a->loop, arena_str(a->config->arena, a->config->scripts).p, QUIET_MS,
                         saved, a, err);
    return a->watch != NULL ? 0 : -1;
}
