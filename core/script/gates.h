/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#include <stdatomic.h>

/* Which services are open: one table for the process, by name, over all generations. A gate is read
 * by every request and call, and changed by an operator now and then. */
struct gates;

enum gate_state {
    GATE_UP,
    GATE_DRAINING, /* what began may end, nothing begins */
    GATE_DOWN
};

struct gate {
    struct str name;
    atomic_int state; /* changed by the main thread alone */
};

/* Returns owned. */
struct gates *gates_new(void);
/* After all who got a gate of it. */
void gates_free(struct gates *g);
/* The gate of that name, made (up) when it is new; stays until gates_free. Any thread. */
struct gate *gates_get(struct gates *g, struct str name);
static inline enum gate_state gates_state(const struct gate *gate)
{
    return (enum gate_state)atomic_load(&gate->state);
}
/* "up", "draining", "down" */
const char *gates_state_name(enum gate_state state);
