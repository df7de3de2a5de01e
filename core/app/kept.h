/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/registry.h"
#include "loop/loop.h"

/* What breakers with the setting `keep` keep over restarts, in DATA/breakers.json: that they are
 * open and for how long still, and what an administrator has set. Main loop's thread. */
struct kept;

/* Restores what the file says, for breakers that are declared and still keep it; a file that cannot
 * be read is an error in the log and no more. Borrows all three. Returns owned. */
struct kept *kept_new(struct str data, struct loop *loop, struct registry *breakers);
/* Saves first what is still to be saved; NULL is legal. */
void kept_free(struct kept *k);
/* Durable when it returns 0. */
int kept_save(struct kept *k, struct err *err);
/* The same at the end of the turn; an error is logged. */
void kept_save_soon(struct kept *k);
