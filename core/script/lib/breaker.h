/* SPDX-License-Identifier: MIT */
#pragma once

#include "breaker/breaker.h"
#include "script/fail.h"

/* The errors of breakers: why a call did not give what its body returns, in Hystrix' words. For
 * lib/breaker.c. */

#define LIB_BREAKER_TIMED_OUT "timed-out"
#define LIB_BREAKER_METATABLE "moontide.breaker"

/* What became of the fallback. */
enum lib_breaker_end {
    LIB_BREAKER_MISSING,
    LIB_BREAKER_FAILED,
    LIB_BREAKER_DISABLED,
    LIB_BREAKER_REJECTED
};

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
