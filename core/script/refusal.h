/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/unit.h"

/* What the writer refused in earlier runs of a task. In the next run the same call raises at its
 * own line, so that the script can take its other branch. */
struct task_refusal;

/* Adds the refusal of u (EXISTS or BOUND); returns the new head, owned. */
struct task_refusal *refusal_add(struct task_refusal *head, const struct store_unit *u);
void refusal_free(struct task_refusal *head);
/* A run begins. */
void refusal_begin(struct task_refusal *head);
/* Was such a row refused as existing already? To be asked once for each row that is written. base:
 * the row before an update, NULL for an insert; an update that leaves the values alone takes
 * nobody's place. Returns the index, or NULL. */
const struct store_index *refusal_exists(struct task_refusal *head, const struct store_table *t,
                                         const struct store_row *base, const struct store_row *row);
/* Was a commutative change of this row refused? The column, or -1. */
int refusal_bound(const struct task_refusal *head, const struct store_table *t, int64_t id);
