/* SPDX-License-Identifier: MIT */
/* Lookups in what the scripts declared. Linear on purpose: a schema has tens of tables with tens of
 * fields, and names are resolved once when a generation is built, not per request. */
#include "store/schema.h"

#include "base/clock.h"
#include "base/json.h"

#include <assert.h>

static int find_field(const struct field *fields, int count, struct str name)
{
    for (int i = 0; i < count; i++) {
        if (str_eq(fields[i].name, name))
            return i;
    }
    return -1;
}

struct str store_table_column_name(const struct store_table *t, int column)
{
    const struct field *f = &t->fields[column];
    return f->column.n > 0 ? f->column : f->name;
}

int store_table_column(const struct store_table *t, struct str name)
{
    return find_field(t->fields, t->field_count, name);
}

int store_event_field(const struct event_type *t, struct str name)
{
    return find_field(t->fields, t->field_count, name);
}

struct event_type *store_schema_event(const struct store_schema *s, struct str name)
{
    for (int i = 0; i < s->event_count; i++) {
        if (str_eq(s->events[i]->name, name))
            return s->events[i];
    }
    return NULL;
}

struct store_table *store_schema_table(const struct store_schema *s, struct str service,
                                       struct str name)
{
    for (int i = 0; i < s->table_count; i++) {
        struct store_table *t = s->tables[i];
        if (str_eq(t->name, name) && str_eq(t->service, service))
            return t;
    }
    return NULL;
}

void store_event_write_key(struct buf *out, const struct event_type *t, const struct value *values)
{
    const struct value *v = &values[t->key_field];
    assert(v->type != VALUE_NULL);
    buf_adds(out, t->key_name);
    buf_addc(out, '/');
    if (v->type == VALUE_TEXT)
        buf_adds(out, v->s);
    else if (t->fields[t->key_field].type == FIELD_TIMESTAMP)
        clock_rfc3339(out, v->i);
    else
        field_write_json(out, &t->fields[t->key_field], v);
}

void store_event_write_payload(struct buf *out, const struct event_type *t,
                               const struct value *values, int64_t time_ms)
{
    buf_lit(out, "{\"eventType\":");
    json_text(out, t->name);
    buf_lit(out, ",\"timestamp\":\"");
    clock_compact(out, time_ms);
    buf_addc(out, '"');
    for (int i = 0; i < t->field_count; i++) {
        buf_addc(out, ',');
        json_text(out, t->fields[i].name);
        buf_addc(out, ':');
        field_write_json(out, &t->fields[i], &values[i]);
    }
    buf_lit(out, ",\"me\":true}");
}
