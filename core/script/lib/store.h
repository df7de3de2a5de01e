/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/program.h"
#include "script/strand.h"

/* Shared by the two halves of the store library: lib/read.c (what reads) and lib/store.c (what
 * changes). */

/* A read in flight, and what to do with its result. */
struct store_op {
    struct op op;
    struct store_read read;
    const struct resource *resource;
    int (*then)(lua_State *L, struct store_op *o); /* pushes the results; may await another op */
};

/* Pushes a store_op for the running strand, inputs zeroed. [-0, +1, m] */
struct store_op *lib_store_op_new(lua_State *L, const struct resource *resource,
                                  int (*then)(lua_State *L, struct store_op *o));
/* Starts the read and waits; to be returned. [-0, +n, e] */
int lib_store_op_run(lua_State *L, struct store_op *o);
/* The resource of the running service that argument `index` names. Raises, also for another
 * service's (G7). */
const struct resource *lib_store_check_resource(lua_State *L, struct strand *s, int index,
                                                const char *word);
/* Equality conditions from the table at index (nil: none). */
void lib_store_check_where(lua_State *L, int index, struct store_op *o, const char *word);
/* The id at index: an integer, a row of that resource, or a numeric text. */
int64_t lib_store_check_id(lua_State *L, int index, const struct resource *r, const char *word);
/* Pushes a row that was read and remembers its version for later changes. [-0, +1, m] */
void lib_store_push_row(lua_State *L, const struct resource *r, struct store_row *row);
/* Adds get, find, first, count, page, snapshot_open, snapshot_close to the table at the top. */
void lib_store_add_reads(lua_State *L);
/* A new row with the resource's defaults, in the strand's scope's arena; its id is 0. */
struct store_row *lib_store_new_row(lua_State *L, const struct resource *r);
/* Raises "invalid" for the first thing that fails the declaration, with all of them as details.
 * [-0, +0, e] */
void lib_store_check_row(lua_State *L, const struct resource *r, const struct store_row *row);
/* check(row), insert(row): lua_CFunctions for dispatch.lua. */
int lib_store_check_record(lua_State *L);
/* insert(row), fetch(resource, id), change(row, before), remove(row): lua_CFunctions for
 * dispatch.lua. */
int lib_store_insert_record(lua_State *L);
int lib_store_fetch_record(lua_State *L);
int lib_store_change_record(lua_State *L);
int lib_store_remove_record(lua_State *L);
/* The record's row as the strand's unit will leave it, and the version that it will have then (0:
 * not known, or gone). */
const struct store_row *lib_store_newest(const struct strand *s, const struct record *record,
                                         int64_t *ret_version);
