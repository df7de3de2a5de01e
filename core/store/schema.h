/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/field.h"
#include "base/mem.h"

/* What the scripts declared, as the store sees it. Built once a generation, immutable afterwards,
 * shared by threads. */
#define STORE_FIELDS_MAX 64 /* a change carries its columns as a 64-bit mask */
#define STORE_INDEX_COLUMNS 8

struct store_index {
    int columns[STORE_INDEX_COLUMNS]; /* numbers of fields */
    int count;
    bool unique;   /* a second row with the same values (none of them null) is refused with
                      STORE_EXISTS */
    struct str at; /* where it is declared: "scripts/x.lua:12", or empty */
};

struct store_table {
    int number; /* place in the schema */
    struct str service, name;
    struct str id_name; /* how JSON calls the id: "id" unless declared */
    bool in_memory;     /* kept in the store's memory file, which every start begins without */
    struct field *fields;
    int field_count;
    struct store_index *indexes; /* of finders, `index`, `unique` */
    int index_count;
    /* Given when the store takes the schema over (store_migrate, store_switch): */
    uint64_t serial;       /* of this very object, never given twice: what caches go by, because an
                              address may come back with another generation */
    struct store_ids *ids; /* of the table of this name, the same for all generations */
};

/* A declared event. */
struct event_type {
    int number;
    struct str service, name;
    struct str key_name; /* "order": the key of order 42 is "order/42" */
    int key_field;
    struct field *fields;
    int field_count;
    int64_t retention_ms; /* older ones that nobody needs go from the log; 0: they stay */
};

struct store_schema {
    struct store_table **tables;
    int table_count;
    struct event_type **events;
    int event_count;
};

/* The name of the column that holds the field: another than the field's after a renamed_from. */
struct str store_table_column_name(const struct store_table *t, int column);
/* Number of the field, or -1. */
int store_table_column(const struct store_table *t, struct str name);
int store_event_field(const struct event_type *t, struct str name);
struct event_type *store_schema_event(const struct store_schema *s, struct str name);
struct store_table *store_schema_table(const struct store_schema *s, struct str service,
                                       struct str name);
/* Appends the log's key of an event with these values, "order/42", and its payload: eventType,
 * timestamp, the declared fields in their order, me. The value of the key field must not be null.
 */
void store_event_write_key(struct buf *out, const struct event_type *t, const struct value *values);
void store_event_write_payload(struct buf *out, const struct event_type *t,
                               const struct value *values, int64_t time_ms);
