/* SPDX-License-Identifier: MIT */
/* The JSON of the admin side is small and flat; these few writers keep commas and nulls out of the
 * handlers. */
#include "app/admin/inside.h"
#include "base/clock.h"

void admin_write_item(struct buf *out)
{
    if (out->n > 0 && out->p[out->n - 1] != '{' && out->p[out->n - 1] != '[')
        buf_addc(out, ',');
}

void admin_write_key(struct buf *out, const char *name)
{
    admin_write_item(out);
    json_text(out, str_from(name));
    buf_addc(out, ':');
}

void admin_write_text(struct buf *out, const char *name, struct str value)
{
    admin_write_key(out, name);
    json_text(out, value);
}

void admin_write_int(struct buf *out, const char *name, int64_t value)
{
    admin_write_key(out, name);
    buf_add_int(out, value);
}

void admin_write_time(struct buf *out, const char *name, int64_t wall_ms)
{
    admin_write_key(out, name);
    buf_addc(out, '"');
    clock_rfc3339(out, wall_ms);
    buf_addc(out, '"');
}

void admin_write_event_id(struct buf *out, const char *name, struct str log_name, int64_t seq)
{
    admin_write_key(out, name);
    if (seq == 0) {
        buf_lit(out, "null");
        return;
    }
    buf_addc(out, '"');
    buf_adds(out, log_name);
    buf_addc(out, '-');
    buf_add_int(out, seq);
    buf_addc(out, '"');
}

void admin_write_event(struct buf *out, struct str log_name, const struct store_logged *e)
{
    buf_addc(out, '{');
    admin_write_int(out, "seq", e->event.seq);
    admin_write_event_id(out, "id", log_name, e->event.seq);
    admin_write_text(out, "type", e->type_name);
    admin_write_text(out, "key", e->event.key);
    admin_write_text(out, "service", e->service);
    admin_write_time(out, "time", e->event.time_ms);
    admin_write_key(out, "correlationId");
    if (e->event.correlation_id.n > 0)
        json_text(out, e->event.correlation_id);
    else
        buf_lit(out, "null");
    admin_write_event_id(out, "causationId", log_name, e->event.cause_seq);
    admin_write_int(out, "generation", e->event.generation);
    admin_write_key(out, "payload");
    buf_adds(out, e->event.payload);
    buf_addc(out, '}');
}
