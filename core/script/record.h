/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/field.h"
#include "script/task.h"

#include <lua.h>

/* Rows and events as scripts see them: userdata that know their fields and read straight from the
 * arena they were made in. Reading an undeclared field raises and names the nearest; an absent
 * value reads as nil. They expire with the run of the task that made them. */
struct record_shape {
    struct str name;    /* "orders", "Ordered": for messages */
    struct str id_name; /* rows: how the id is called; events: empty */
    const struct field *fields;
    int field_count;
};

struct record {
    const struct record_shape *shape;
    const struct store_table *table; /* rows; NULL for events */
    const struct event_type *event;  /* events */
    struct store_row *row;           /* rows */
    struct value *values;            /* one a field */
    struct task *task;
    uint64_t serial;
    bool writable;    /* inside before_* hooks and of views */
    uint64_t written; /* columns that were assigned */
    uint64_t fixed;   /* columns that cannot be, although it is writable: the key of a view */
    const struct store_row *base; /* of a view's row: as it was read; NULL for a new one */
};

/* Makes the metatable of a shape, found by its address. Once a state and shape. [-0, +0, m] */
void record_open(lua_State *L, const struct record_shape *shape);
/* Pushes a row; the record refers to it, it must live as long as the run. [-0, +1, m] */
struct record *record_push_row(lua_State *L, const struct record_shape *shape,
                               const struct store_table *table, struct store_row *row);
struct record *record_push_event(lua_State *L, const struct record_shape *shape,
                                 const struct store_event *event);
/* The record at index, or NULL if it is something else; raises if it has expired. [-0, +0, e] */
struct record *record_at(lua_State *L, int index);
/* Number of the field, STORE_COLUMN_ID for the id, or -2. */
int record_field(const struct record_shape *shape, struct str name);
/* Raises "orders has no field "bokId"; did you mean "bookId"?". [-0, +0, e] */
int record_unknown_field(lua_State *L, const struct record_shape *shape, struct str name);
