/* SPDX-License-Identifier: MIT */
#pragma once

#include "bus/bus.h"

/* What an operator does with letters. On the main loop's thread. */
enum bus_letter_result {
    BUS_LETTER_QUEUED,    /* it will run when its key is idle */
    BUS_LETTER_GONE,      /* discarded now (discard), or not there */
    BUS_LETTER_NO_POLICY, /* its policy is not declared at present */
    BUS_LETTER_STOPPED,   /* its service is stopped */
    BUS_LETTER_FAILED     /* err says why */
};

/* Queues the letter's event for its policy once more. Success removes the letter; failure keeps it
 * with its new error and one more try. */
enum bus_letter_result bus_letter_retry(struct bus *b, struct store_session *ss, int64_t id,
                                        struct err *err);
/* Removes the letter; done runs on the main loop's thread: gone false if it was not there or could
 * not be removed. A key parked by it goes on. */
void bus_letter_discard(struct bus *b, struct store_session *ss, int64_t id,
                        void (*done)(void *ctx, bool gone), void *ctx);
