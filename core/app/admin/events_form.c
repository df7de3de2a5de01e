/* SPDX-License-Identifier: MIT */
/* The event log in the three shapes that readers ask for. All of them are written line by line, so
 * that a reader can be told to go on behind any event. */
#include "app/admin/inside.h"

static const char *const media_types[] = {
    [ADMIN_FORM_NDJSON] = "application/x-ndjson",
    [ADMIN_FORM_SSE] = "text/event-stream",
    [ADMIN_FORM_CLOUD] = "application/cloudevents+json",
};

#define FORMS (sizeof(media_types) / sizeof(media_types[0]))

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* What stands before the separator, trimmed; *rest is what stands behind it. */
static struct str cut(struct str *rest, char separator)
{
    const char *end = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    struct str first = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    size_t used = first.n + (end ? 1 : 0);
    rest->p += used;
    rest->n -= used;
    return trimmed(first);
}

/* "q=0.5" in 1/1000; 1000 without one. */
static int weight_of(struct str parameters)
{
    while (parameters.n > 0) {
        struct str p = cut(&parameters, ';');
        int weight = 0, step = 1000;
        if (!str_starts(p, STR("q=")))
            continue;
        for (size_t i = 2; i < p.n; i++) {
            if (p.p[i] == '.')
                continue;
            weight += (p.p[i] - '0') * step;
            step /= 10;
        }
        return weight;
    }
    return 1000;
}

enum admin_form admin_form_from(struct str accept)
{
    enum admin_form best = ADMIN_FORM_NDJSON;
    int best_weight = 0;
    while (accept.n > 0) {
        struct str item = cut(&accept, ',');
        struct str type = cut(&item, ';');
        int weight = weight_of(item);
        for (size_t i = 0; i < FORMS; i++) {
            if (!str_ieq(type, str_from(media_types[i])) || weight <= best_weight)
                continue;
            best = (enum admin_form)i;
            best_weight = weight;
        }
    }
    return best;
}

struct str admin_form_type(enum admin_form form)
{
    return str_from(media_types[form]);
}

/* One line: a field's end must be its own. */
static void write_field(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, "%s: ", name);
    for (size_t i = 0; i < value.n; i++)
        buf_addc(out, value.p[i] == '\n' || value.p[i] == '\r' ? ' ' : value.p[i]);
    buf_addc(out, '\n');
}

static void write_cloud(struct buf *out, struct str log_name, const struct store_logged *e)
{
    struct buf source = BUF_INIT, sequence = BUF_INIT;
    buf_lit(&source, "/services/");
    buf_adds(&source, e->service);
    buf_add_int(&sequence, e->event.seq);
    buf_addc(out, '{');
    admin_write_text(out, "specversion", STR("1.0"));
    admin_write_event_id(out, "id", log_name, e->event.seq);
    admin_write_text(out, "source", buf_str(&source));
    admin_write_text(out, "type", e->type_name);
    if (e->event.key.n > 0)
        admin_write_text(out, "subject", e->event.key);
    admin_write_time(out, "time", e->event.time_ms);
    admin_write_text(out, "datacontenttype", STR("application/json"));
    admin_write_text(out, "sequence", buf_str(&sequence));
    if (e->event.correlation_id.n > 0)
        admin_write_text(out, "correlationid", e->event.correlation_id);
    if (e->event.cause_seq > 0)
        admin_write_event_id(out, "causationid", log_name, e->event.cause_seq);
    admin_write_int(out, "generation", e->event.generation);
    admin_write_key(out, "data");
    buf_adds(out, e->event.payload);
    buf_lit(out, "}\n");
    buf_deinit(&source);
    buf_deinit(&sequence);
}

void admin_form_write(struct buf *out, enum admin_form form, struct str log_name,
                      const struct store_logged *e)
{
    if (form == ADMIN_FORM_CLOUD) {
        write_cloud(out, log_name, e);
        return;
    }
    if (form == ADMIN_FORM_SSE) {
        buf_addf(out, "id: %lld\n", (long long)e->event.seq);
        write_field(out, "event", e->type_name);
        buf_lit(out, "data: ");
    }
    admin_write_event(out, log_name, e);
    buf_adds(out, form == ADMIN_FORM_SSE ? STR("\n\n") : STR("\n"));
}

void admin_form_write_end(struct buf *out, enum admin_form form, const char *why, int64_t last_seq)
{
    struct buf line = BUF_INIT;
    buf_addf(&line, "{\"%s\":true,\"last_seq\":%lld}", why, (long long)last_seq);
    if (form == ADMIN_FORM_CLOUD)
        buf_addf(out,
                 "{\"specversion\":\"1.0\",\"id\":\"%s-%lld\",\"source\":\"/services/moontide\","
                 "\"type\":\"moontide.%s\",\"data\":%s}\n",
                 why, (long long)last_seq, why, buf_str(&line).p);
    else if (form == ADMIN_FORM_SSE)
        buf_addf(out, "event: moontide.%s\ndata: %s\n\n", why, buf_str(&line).p);
    else
        buf_addf(out, "%s\n", buf_str(&line).p);
    buf_deinit(&line);
}

struct str admin_form_heartbeat(enum admin_form form)
{
    return form == ADMIN_FORM_SSE ? STR(":\n\n") : STR("\n");
}
