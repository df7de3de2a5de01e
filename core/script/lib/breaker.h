/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/breaker.h"
#include "breaker/registry.h"
#include "script/fail.h"

/* What is inside of breaker:call: fallbacks, and errors that say in Hystrix' words why a call did
 * not give what its body returns. For lib/breaker*.c. */

/* Where a call's stack begins: handle, body, fallback. */
#define LIB_BREAKER_BASE 3
#define LIB_BREAKER_TIMED_OUT "timed-out"
#define LIB_BREAKER_METATABLE "moontide.breaker"

/* What became of the fallback. */
enum lib_breaker_end {
    LIB_BREAKER_MISSING,
    LIB_BREAKER_FAILED,
    LIB_BREAKER_DISABLED,
    LIB_BREAKER_REJECTED
};

/* How a call failed, from the report to the end of its fallback. */
struct lib_breaker_failed {
    struct registry_entry *entry;
    int64_t started_ns; /* 0: it had not begun */
    bool fallback_enabled;
    enum breaker_verdict refused; /* ADMITTED: it was not */
    int64_t retry_ns;
};

/* With the error value at LIB_BREAKER_BASE + 1: the fallback's results, or an error that says why
 * there are none. [-0, +n, v] */
int lib_breaker_fall_back(lua_State *L, const struct lib_breaker_failed *f);
/* The same for a call that was not let through, with the stack up to LIB_BREAKER_BASE: no error is
 * made for a fallback that takes none. [-0, +n, v] */
int lib_breaker_refused(lua_State *L, const struct lib_breaker_failed *f);
/* Pushes an error value: "payment timed-out.", with breaker and reason. [-0, +1, m] */
void lib_breaker_push_reason(lua_State *L, struct str name, enum err_code code, const char *reason);
/* The same for a call that was not let through. [-0, +1, m] */
void lib_breaker_push_refusal(lua_State *L, struct str name, enum breaker_verdict verdict,
                              int64_t retry_ms);
/* Adds breaker and reason "failed" to the error value at the top: the body's own. [-0, +0, m] */
void lib_breaker_add_reason(lua_State *L, struct str name);
/* Pushes what the caller gets: with code and status of the cause, which is at index 4, or of a
 * limit when the fallback was rejected. FAILED: the fallback's error is at the top. [-(0|1), +1, m]
 */
void lib_breaker_push_end(lua_State *L, struct str name, enum lib_breaker_end end);
/* A continuation: everything on the stack. */
int lib_breaker_results(lua_State *L, int status, lua_KContext context);
