/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* The log: one line an entry on stdout, JSON, or readable text when stdout is a terminal.
 * Thread-safe: a line is one write(2). Fields follow `ts level msg` in the order given. The level
 * is the one mutable global of the host. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_field_type { LOG_TEXT, LOG_INT };

struct log_field {
    const char *name; /* NULL ends the list */
    enum log_field_type type;
    struct str text; /* empty text fields are left out */
    int64_t number;
};

#define LOG_S(name, str) ((struct log_field){(name), LOG_TEXT, (str), 0})
#define LOG_C(name, cstr) ((struct log_field){(name), LOG_TEXT, str_from(cstr), 0})
#define LOG_I(name, n) ((struct log_field){(name), LOG_INT, {NULL, 0}, (n)})

/* log_event(LOG_INFO, "listening", LOG_C("role", "gateway"), LOG_C("address", "127.0.0.1:8088"));
 */
#define log_event(level, msg, ...)                                                                 \
    log_write(                                                                                     \
        (level), (msg),                                                                            \
        (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){NULL, LOG_TEXT, {NULL, 0}, 0}})
void log_write(enum log_level level, const char *msg, const struct log_field *fields);
void log_set_level(enum log_level level);
/* False if the name is none of debug, info, warn, error. */
bool log_level_from(struct str name, enum log_level *ret);
