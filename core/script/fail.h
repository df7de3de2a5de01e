/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/log.h"
#include "script/task.h"

#include <lua.h>

/* The one error value of scripts: a table {code, message, retryable, status, origin} whose tostring
 * is the message. Everything that fails raises it. */

/* Registers the metatable. */
void fail_open(lua_State *L);
/* Remembers a chunk's name ("scripts/x.lua"), so that what Lua has shortened in a message can be
 * told in full. [-0, +0, m] */
void fail_know_script(lua_State *L, const char *path);
/* Raise; never return. The origin is the innermost script line. [-0, +0, e] */
int fail_raise(lua_State *L, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int fail_raise_err(lua_State *L, const struct err *err);
/* Misuse of a word: code "script". */
#define fail_misuse(L, ...) fail_raise((L), ERR_SCRIPT, __VA_ARGS__)
/* Raises a text, not a value, as Lua does while files load: "scripts/x.lua:2: ..." of the innermost
 * script line. fmt has one %s. [-0, +0, e] */
int fail_at_script(lua_State *L, const char *fmt, const char *word);
/* Pushes an error value of any code and status. [-0, +1, m] */
void fail_push(lua_State *L, struct str code, int status, bool retryable, struct str message);
/* The same without an origin: looking for it is half of the cost. */
void fail_push_bare(lua_State *L, struct str code, int status, bool retryable, struct str message);
/* Makes the value at the top an error value if it is something else that was raised. [-1, +1, m] */
void fail_wrap(lua_State *L);
/* Reads what was raised (any value, at the top of L) into a's memory; plain strings become code
 * "script" with their origin split off. Pops it. [-1, +0, m] */
void fail_read(lua_State *L, struct arena *a, struct task_error *ret);
/* The innermost script line of a coroutine, also of one that an error ended: "x.lua:12", or empty.
 * [-0, +0, -] */
struct str fail_origin(lua_State *L, struct arena *a);
/* A C error as a task error, in a. */
void fail_from_err(struct arena *a, const struct err *err, struct task_error *ret);
/* The parts of an origin as fields "script" and "line" of the log; left out if it is empty. */
struct log_field fail_log_script(struct str origin);
struct log_field fail_log_line(struct str origin);
/* The status of an uncaught error over HTTP: what a called service answered is 502 here. */
int fail_status(const struct task_error *e);
