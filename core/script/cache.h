/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Values that all workers share while the process lives: flags, counters, what is dear to look up.
 * Volatile and bounded; what was used longest ago goes first. It knows nothing of units of work: a
 * task that fails has changed it all the same. Any thread. */
struct cache;

#define CACHE_ENTRIES 100000
#define CACHE_BYTES ((size_t)32 << 20)
#define CACHE_KEY_BYTES 256
#define CACHE_VALUE_BYTES ((size_t)1 << 20)

/* Holds at most that many entries and bytes (of keys and values). Returns owned. */
struct cache *cache_new(size_t entries, size_t bytes);
void cache_free(struct cache *c);
/* Appends the value to out and returns true; false if there is none, or not any more. now_ns is
 * monotonic, here and below. */
bool cache_get(struct cache *c, struct str key, int64_t now_ns, struct buf *out);
/* Copies key and value; an empty value removes. It goes after ttl_ns (0: it stays). ERR_BUDGET: key
 * or value is too long. */
int cache_set(struct cache *c, struct str key, struct str value, int64_t ttl_ns, int64_t now_ns,
              struct err *err);
/* Adds delta to the integer of that key, as one step for all threads; one that is not there counts
 * as 0 and lives for ttl_ns from now (0: it stays). ERR_INVALID: it holds something else, or the
 * sum leaves 64 bits. */
int cache_add(struct cache *c, struct str key, int64_t delta, int64_t ttl_ns, int64_t now_ns,
              int64_t *ret, struct err *err);
/* Entries, those that ran out and were not met yet among them. */
size_t cache_count(struct cache *c);
