/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/unit.h"

/* What the writer refused in earlier runs of a task. In the next run the same call raises at its
 * own line, so that the script can take its other branch. */
struct task_refusal;

/* Adds the refusal of u (EXISTS or BOUND); returns the new head, owned. */
struct task_refusal *refusal_add(struct task_refusal *head, const struct store_unit *u);
void refusal_free(struct task_refusal *head);
/* Was a row with these values refused as existing already? Returns the index, or NULL. */
const struct store_index *refusal_exists(const struct task_refusal *head,
                                         const struct store_table *t, const struct store_row *row);
/* Was a commutative change of this row refused? The column, or -1. */
int refusal_bound(const struct task_refusal *head, const struct store_table *t, int64_t id);
