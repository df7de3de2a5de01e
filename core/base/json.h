/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* JSON (RFC 8259) that loses nothing: integers of 64 bits stay integers, doubles print so that they
 * read back the same, empty lists stay lists, a number too large for both keeps its spelling in
 * `raw`. */
enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };

struct json {
    enum json_type type;
    struct str raw; /* JSON_INT, JSON_NUMBER: the spelling. JSON_NUMBER is also an integer beyond 64
                       bits */
    union {
        bool b;
        int64_t i;
        double n;
        struct str s;
        struct {
            struct json *items; /* JSON_LIST: items; JSON_OBJECT: values, names beside them */
            struct str *names;
            size_t count;
        };
    };
};

/* Parses one document (white space around it allowed, nothing else) into a. Text is checked to be
 * UTF-8; `\u0000` and lone surrogates are refused. Duplicate names: the last wins, at the place of
 * the first. Errors: ERR_INVALID with line and column. The result borrows from text (names, `raw`,
 * strings without escapes): text must outlive it. */
int json_parse(struct arena *a, struct str text, int max_depth, struct json *ret, struct err *err);
/* The member, or NULL. */
const struct json *json_find(const struct json *object, struct str name);

/* Writers. json_text writes quotes and escapes; what is not UTF-8 becomes U+FFFD. */
void json_text(struct buf *out, struct str s);
/* Shortest spelling that reads back the same, always recognisable as a double:
 * 25000.0, 1.0E10, 1.0E-5 (Java's layout: plain between 1e-3 and 1e7, else scientific with E). NaN
 * and infinities write null. */
void json_number(struct buf *out, double n);
/* Writes a parsed document compactly; numbers as they were spelled. */
void json_write(struct buf *out, const struct json *j);
/* Rewrites a compact document in the layout of the original systems: 2 spaces, `"k" : v`, `[ {`, `[
 * ]`. compact must be valid and must not lie in out. */
void json_indent(struct buf *out, struct str compact);

/* The same for a document that comes in pieces; a piece ends neither inside of a word, number or
 * text nor behind an opening bracket. Zeroed is a valid beginning. */
struct json_indenter {
    struct buf open; /* the brackets that are open, innermost last; owned */
    int objects;     /* how many of them are objects */
    char last;       /* the last byte seen */
};
void json_indent_more(struct json_indenter *in, struct buf *out, struct str piece);
void json_indent_deinit(struct json_indenter *in);
