/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of bytes; not necessarily NUL-terminated. {NULL, 0} is the empty string. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_from(const char *s)
{
    return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Case-insensitive for ASCII. */
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* FNV-1a finished with a 64-bit mix; stable across runs and machines (it places keys on workers).
 */
uint64_t str_hash(struct str s);
/* Parses a whole decimal integer, optional '-'. False on anything else or overflow. */
bool str_to_int(struct str s, int64_t *ret);
/* Parses a whole JSON-style decimal number. False on anything else ("inf", "0x1", " 1"). */
bool str_to_number(struct str s, double *ret);
/* Bytes of the JSON number that s begins with; 0 if it begins with none. */
size_t str_number_span(struct str s);
/* Bytes of the longest prefix of s that is strict UTF-8. */
size_t str_utf8_span(struct str s);
/* Strict UTF-8 (no surrogates, no overlong forms, up to U+10FFFF); NUL counts as valid. */
bool str_is_utf8(struct str s);
/* The candidate nearest to s by edit distance, if near enough to suggest it, or one that goes on
 * where s ends; else {NULL, 0}. */
struct str str_nearest(struct str s, const struct str *candidates, size_t count);
/* "610ms" "10s" "15m" "72h" "2d" or a bare number of milliseconds. False on anything else or a
 * negative. */
bool str_to_duration_ms(struct str s, int64_t *ret);
