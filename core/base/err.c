/* SPDX-License-Identifier: MIT */
/* Errors are plain values, so that reporting one never allocates and never loses the first cause:
 * the place of origin is kept, context is put in front on the way out. The table of codes is the
 * single source for C, scripts and HTTP. */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct code_info {
    const char *name;
    const char *meaning;
    int status;
    bool retryable;
};

static const struct code_info codes[ERR_COUNT] = {
    [ERR_NONE] = {"none", "no error", 200, false},
#define ERR(constant, name, status, retryable, meaning)                                            \
    [ERR_##constant] = {(name), (meaning), (status), (retryable)},
#include "base/err_codes.def"
#undef ERR
};

static const struct code_info *info(enum err_code code)
{
    assert((unsigned)code < ERR_COUNT);
    return &codes[code];
}

/* A message cut at the end of its room must not end in half a character. */
static void drop_partial_char(char *text, size_t n)
{
    size_t start = n;
    while (start > 0 && n - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xC0)
        text[start - 1] = '\0';
}

/* Goes through a buffer of its own: the arguments may point into err->message. */
static void set_message(struct err *err, const char *fmt, va_list args)
{
    char text[sizeof err->message];
    int n = vsnprintf(text, sizeof text, fmt, args);
    if (n < 0)
        text[0] = '\0';
    if (n >= (int)sizeof text)
        drop_partial_char(text, sizeof text - 1);
    memcpy(err->message, text, strlen(text) + 1);
}

static void append_message(struct err *err, const char *text)
{
    size_t n = strlen(err->message);
    size_t room = sizeof err->message - n;
    if ((size_t)snprintf(err->message + n, room, "%s", text) >= room)
        drop_partial_char(err->message, sizeof err->message - 1);
}

int err_set_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt,
               ...)
{
    if (!err)
        return -1;
    va_list args;
    va_start(args, fmt);
    set_message(err, fmt, args);
    va_end(args);
    err->code = code;
    err->sys_errno = 0;
    err->file = file;
    err->line = line;
    return -1;
}

int err_sys_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt,
               ...)
{
    int saved = errno;
    if (!err)
        return -1;
    va_list args;
    va_start(args, fmt);
    set_message(err, fmt, args);
    va_end(args);
    char room[128];
    append_message(err, ": ");
    append_message(err, strerror_r(saved, room, sizeof room));
    err->code = saved == ENOSPC || saved == EDQUOT ? ERR_DISK_FULL : code;
    err->sys_errno = saved;
    err->file = file;
    err->line = line;
    errno = saved;
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char cause[sizeof err->message];
    memcpy(cause, err->message, strlen(err->message) + 1);
    va_list args;
    va_start(args, fmt);
    set_message(err, fmt, args);
    va_end(args);
    append_message(err, ": ");
    append_message(err, cause);
    return -1;
}

const char *err_name(enum err_code code)
{
    return info(code)->name;
}

int err_status(enum err_code code)
{
    return info(code)->status;
}

bool err_retryable(enum err_code code)
{
    return info(code)->retryable;
}

const char *err_meaning(enum err_code code)
{
    return info(code)->meaning;
}
