/* SPDX-License-Identifier: MIT */
#pragma once

#include <sched.h>
#include <stdatomic.h>

/* A lock for what is held for some instructions only: half of a mutex' cost, for a release is a
 * plain write. Who has waited longer than such a holder needs gives its processor away: the holder
 * may be without one. Zeroed is free. */
struct spin {
    atomic_int held;
};

#define SPIN_TRIES 64

static inline void spin_lock(struct spin *s)
{
    for (int tries = 0; atomic_exchange_explicit(&s->held, 1, memory_order_acquire) != 0;)
        while (atomic_load_explicit(&s->held, memory_order_relaxed) != 0)
            if (++tries % SPIN_TRIES == 0)
                sched_yield();
}

static inline void spin_unlock(struct spin *s)
{
    atomic_store_explicit(&s->held, 0, memory_order_release);
}
