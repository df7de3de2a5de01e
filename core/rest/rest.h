/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"
#include "store/schema.h"
#include "store/unit.h"

/* Resources over HTTP, as far as it needs no script: bodies to rows, rows to bodies, validation. */

/* One thing wrong with a body: for the `errors` list of the answer. */
struct rest_fault {
    struct rest_fault *next;
    struct str property, message;
    struct str invalid_json; /* what was sent, as JSON; empty if nothing was */
};

/* Fills row from a request body: unknown members and the id are passed over, absent ones get their
 * default when `creating` and keep their value otherwise. Returns 0; -1 if the body is no object
 * (err); faults are what failed its declaration, NULL if nothing did. Texts go to a. *ret_mask gets
 * the columns that the body named. */
int rest_read_row(const struct store_table *t, const struct json *body, bool creating,
                  struct arena *a, struct store_row *row, uint64_t *ret_mask,
                  struct rest_fault **ret_faults, struct err *err);
/* Checks required, min, max and length of all fields. */
void rest_check_row(const struct store_table *t, const struct store_row *row, struct arena *a,
                    struct rest_fault **faults);
/* Adds one fault of the row's column, its value as the invalid one. */
void rest_add_fault(const struct store_table *t, int column, const struct store_row *row,
                    struct arena *a, const char *message, struct rest_fault **faults);
/* `"errors":[{"entity":..,"property":..,"invalidValue":..,"message":..}]` */
void rest_write_faults(struct buf *out, const struct store_table *t,
                       const struct rest_fault *faults);
/* A row as a JSON object: id, then the fields in order. */
void rest_write_row(struct buf *out, const struct store_table *t, const struct store_row *row);
/* "application/json", "application/merge-patch+json" or any "+json" that is not json-patch; empty
 * is taken as JSON. */
bool rest_is_json(struct str content_type);
