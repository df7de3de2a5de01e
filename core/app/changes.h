/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"
#include "store/schema.h"
#include "store/store.h"

/* What a switch of generations changes in the stored tables, for people. */

/* Appends a JSON list: what the store said ("add column orders.note text"), then the tables and
 * columns that nothing declares any more ("hide column orders.note"). */
void changes_write(struct buf *out, const struct store_switched *switched,
                   const struct store_schema *before, const struct store_schema *after);
