/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/mailbox.h"
#include "store/schema.h"

/* Lanes: after a conflict a row has one, and the tasks that change it go one after the other until
 * nobody waits any more. Process-wide. A task that needs several takes them in the order of
 * lane_claim_before, so that no two wait for each other. */
struct lanes;

struct lane_claim {
    struct lane_claim *next; /* the holder's list of claims, ordered */
    const struct store_table *table;
    int64_t id;
    bool granted;
    struct mailbox *home; /* where granted_fn runs when it had to wait */
    void (*granted_fn)(struct lane_claim *c);
    void *owner;
    struct lane_claim *waiting; /* the lane's queue */
    struct mail mail;
    bool abandoned;
};

/* Without any lane. Returns owned; nobody may hold or wait for a lane when it is freed. */
struct lanes *lane_table_new(void);
void lane_table_free(struct lanes *l);
/* Is there a lane for the row? Cheap when there is none at all. */
bool lane_exists(struct lanes *l, const struct store_table *t, int64_t id);
/* Joins the row's lane (made if there is none): true if granted at once, else granted_fn runs on
 * home later. The claim stays in place until released. */
bool lane_join(struct lanes *l, struct lane_claim *c);
/* Leaves the lane, whether granted or waiting; the next one is granted. A claim whose grant is on
 * its way is freed by the mail (malloc'ed claims only); others may be freed by the caller: returns
 * true then. */
bool lane_leave(struct lanes *l, struct lane_claim *c);
/* The total order of rows. */
bool lane_claim_before(const struct lane_claim *a, const struct lane_claim *b);
