/* SPDX-License-Identifier: MIT */
/* What only the process as a whole knows: its names, addresses and sizes. */
#include "app/admin/inside.h"
#include "app/app.h"

#include <sys/stat.h>
#include <unistd.h>

int64_t app_file_bytes(const struct app *a, const char *name)
{
    struct buf path = BUF_INIT;
    struct stat st;
    buf_addf(&path, "%.*s/%s", STR_ARG(a->config->data), name);
    int64_t bytes = stat(buf_str(&path).p, &st) == 0 ? (int64_t)st.st_size : 0;
    buf_deinit(&path);
    return bytes;
}

static void write_store(const struct app *a, struct buf *out)
{
    admin_write_key(out, "store");
    buf_addc(out, '{');
    admin_write_text(out, "folder", a->config->data);
    admin_write_int(out, "bytes", app_file_bytes(a, "moontide.db"));
    admin_write_int(out, "walBytes", app_file_bytes(a, "moontide.db-wal"));
    buf_addc(out, '}');
}

void app_write_status(void *ctx, struct buf *out)
{
    const struct app *a = ctx;
    int64_t up_ns = clock_mono_ns(&a->clock) - a->started_ns;
    admin_write_text(out, "system", a->program->system);
    admin_write_text(out, "version", STR(MOONTIDE_VERSION));
    admin_write_int(out, "pid", (int64_t)getpid());
    admin_write_time(out, "started", clock_wall_ms(&a->clock) - up_ns / NS_PER_MS);
    admin_write_int(out, "uptimeSeconds", up_ns / NS_PER_S);
    admin_write_int(out, "generation", a->program->generation);
    admin_write_int(out, "workers", a->worker_count);
    admin_write_text(out, "gateway", (struct str){a->listen_address.p, a->listen_address.n});
    admin_write_text(out, "admin", (struct str){a->admin_address.p, a->admin_address.n});
    write_store(a, out);
}
