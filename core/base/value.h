/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* What a column, an event field or a setting holds. Timestamps (epoch ms) and decimals (scaled) are
 * VALUE_INT, JSON documents are VALUE_TEXT: the field that holds them knows (base/field.h). */
enum value_type { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_NUMBER, VALUE_TEXT };

struct value {
    enum value_type type;
    union {
        bool b;
        int64_t i;
        double n;
        struct str s; /* borrowed: its owner is whoever made the value, usually an arena */
    };
};

#define VALUE_NONE ((struct value){.type = VALUE_NULL})

static inline struct value value_int(int64_t i)
{
    return (struct value){.type = VALUE_INT, .i = i};
}

static inline struct value value_text(struct str s)
{
    return (struct value){.type = VALUE_TEXT, .s = s};
}

/* Same type and content; NULL equals NULL; an int equals the number of the same size. */
bool value_eq(const struct value *a, const struct value *b);
