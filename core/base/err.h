/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

/* Errors are values owned by the caller. A function that can fail returns 0, or -1 with `err`
 * filled. Expected outcomes (not found, over a limit, breaker open) are return values, not errors.
 */
enum err_code {
    ERR_NONE,
#define ERR(constant, name, status, retryable, meaning) ERR_##constant,
#include "base/err_codes.def"
#undef ERR
    ERR_COUNT
};

struct err {
    enum err_code code;
    int sys_errno;    /* errno at the origin, 0 if none */
    const char *file; /* origin in C, a static string */
    int line;
    char message[400]; /* outermost context first: "load policy x: no such file" */
};

/* Fills err (which may be NULL) and returns -1, so that `return err_set(...)` reads well. */
#define err_set(err, code, ...) err_set_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)
int err_set_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt,
               ...) __attribute__((format(printf, 5, 6)));

/* Like err_set, keeps errno and appends its text: "open x: No such file or directory".
 * ENOSPC and EDQUOT become ERR_DISK_FULL whatever code says. */
#define err_sys(err, code, ...) err_sys_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)
int err_sys_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt,
               ...) __attribute__((format(printf, 5, 6)));

/* Prepends "context: " to the message; returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Name ("conflict"), HTTP status, retryability and one-line meaning of a code; static. */
const char *err_name(enum err_code code);
int err_status(enum err_code code);
bool err_retryable(enum err_code code);
const char *err_meaning(enum err_code code);
