/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"

/* Reads a Lua file that returns a table of data (`return { listen = "...", breakers = { ... } }`)
 * in an empty environment under a small instruction budget: no functions, no globals. ERR_CONFIG
 * names file and line. The result lives in a; keys are sorted; tables with only keys 1..n are
 * lists. */
int datafile_read(const char *path, struct arena *a, struct json *ret, struct err *err);
/* The same of a text that is in memory already; path is only named in errors. */
int datafile_parse(const char *path, struct str text, struct arena *a, struct json *ret,
                   struct err *err);
/* Only these members of the table, and only numbers, texts and booleans, of a file that may be more
 * than data: whatever name it uses means nothing and can be called. */
int datafile_peek(const char *path, const char *const *names, size_t count, struct arena *a,
                  struct json *ret, struct err *err);
int datafile_peek_text(struct str text, const char *const *names, size_t count, struct arena *a,
                       struct json *ret, struct err *err);
