/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* Shared by the two halves of base/json.h; not for others.
 * Bytes before the first that a string cannot hold as it is: control characters, quote, backslash.
 * Eight at a time: a borrow in the subtractions can only mark a word that has an earlier hit
 * anyway. */
static inline size_t json_plain_span(struct str s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (uint64_t w; s.n - i >= sizeof w; i += sizeof w) {
        memcpy(&w, s.p + i, sizeof w);
        uint64_t quote = w ^ (ones * '"');
        uint64_t slash = w ^ (ones * '\\');
        uint64_t found = (w - ones * 0x20) & ~w;
        found |= ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
        if (found & (ones * 0x80))
            break;
    }
    while (i < s.n && (unsigned char)s.p[i] >= 0x20 && s.p[i] != '"' && s.p[i] != '\\')
        i++;
    return i;
}
