/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/breaker.h"

/* The window by which a breaker is judged; core/breaker only. */

/* Empty, as conf wants it. */
void breaker_health_start(struct breaker *b, int64_t now_ns);
void breaker_health_roll(struct breaker *b, int64_t now_ns);
void breaker_health_add(struct breaker *b, int64_t now_ns, bool error, bool slow);
/* Is it at or over a threshold? */
bool breaker_health_is_bad(const struct breaker *b);
/* Results so far go on in a new window (after a change of conf). */
void breaker_health_resize(struct breaker *b, int64_t now_ns);
