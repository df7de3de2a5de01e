/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/loop.h"

/* The way between threads: a queue of intrusive mails and an eventfd. Any thread posts; the loop
 * that owns the mailbox runs the mails in order of posting. A post wakes the loop only if the queue
 * was empty: one wake-up per batch. Unbounded by itself; what feeds it bounds it. */
struct mailbox;

struct mail {
    struct mail *next;
    void (*run)(struct mail *m); /* on the owner's thread; may free the mail */
};

/* Of the loop l, on whose thread the mails will run. Returns owned. */
struct mailbox *mailbox_new(struct loop *l, struct err *err);
/* Mails still queued are not run. Not from one of its own mails; whoever posts has stopped before.
 */
void mailbox_free(struct mailbox *mb);
void mailbox_post(struct mailbox *mb, struct mail *m);
/* Posts first..last, linked by next, as one batch (last->next need not be NULL). */
void mailbox_post_all(struct mailbox *mb, struct mail *first, struct mail *last);
/* The loop runs at most per_turn mails (default 64) or about 2 ms of them before it lets other
 * callbacks run. */
void mailbox_set_per_turn(struct mailbox *mb, int per_turn);
