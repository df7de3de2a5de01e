/* SPDX-License-Identifier: MIT */
/* Lookups in what the scripts declared. Linear on purpose: a schema has tens of tables with tens of
 * fields, and names are resolved once when a generation is built, not per request. */
#include "store/schema.h"

static int find_field(const struct field *fields, int count, struct str name)
{
    for (int i = 0; i < count; i++) {
        if (str_eq(fields[i].name, name))
            return i;
    }
    return -1;
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
