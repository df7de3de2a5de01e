/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* The keys of requests that run just now, over all workers of a process. What has been answered is
 * in the store (store/repeat.h). */
struct repeats;

enum repeats_verdict {
    REPEATS_FIRST,   /* nobody else runs under the key: leave must follow */
    REPEATS_RUNNING, /* the same request does */
    REPEATS_OTHER    /* another one does */
};

/* Returns owned. Any thread may use it. */
struct repeats *repeats_new(void);
void repeats_free(struct repeats *r);
/* key: service and key as one text; fingerprint: of what is asked. Copies. */
enum repeats_verdict repeats_enter(struct repeats *r, struct str key, struct str fingerprint);
/* The request that entered first has been answered. */
void repeats_leave(struct repeats *r, struct str key);
