/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/store.h"

/* What was answered to a write that named itself by a key (G8): kept with its effects, for a day,
 * so that the same request coming again is answered and not done. */
struct store_repeat {
    struct str service, key;
    struct str fingerprint; /* of what was asked */
    int status;
    struct str head, body; /* of the answer; opaque */
    int64_t now_ms, expires_ms;
};

/* Adds r, whose texts must be of the unit's arena, to the unit. A record of that service and key
 * that has not expired refuses the unit with STORE_CONFLICT, `refused` NULL. */
void store_repeat_add(struct store_unit *u, const struct store_repeat *r);
/* The record that has not expired at now_ms: 1 found, in a; 0 not there, -1 failed. */
int store_repeat_find(struct store_session *ss, struct arena *a, struct str service, struct str key,
                      int64_t now_ms, struct store_repeat *ret, struct err *err);
