/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* A growable byte buffer. BUF_INIT is a valid empty one. */
struct buf {
    char *p;
    size_t n, cap;
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

/* Frees the memory; the buffer is an empty one again. */
void buf_deinit(struct buf *b);
/* Empties, keeps the memory. */
void buf_clear(struct buf *b);
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, struct str s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_int(struct buf *b, int64_t i);
/* The content, borrowed until the next change; NUL-terminated past the end. */
struct str buf_str(struct buf *b);

#define buf_lit(b, literal) buf_add((b), (literal), sizeof(literal) - 1)
