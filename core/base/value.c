/* SPDX-License-Identifier: MIT */
/* Equality of stored values, exact where a conversion to double would call different integers
 * equal. */
#include "base/value.h"

#define TWO_63 9223372036854775808.0

static bool int_is_number(int64_t i, double n)
{
    return n >= -TWO_63 && n < TWO_63 && (double)(int64_t)n == n && (int64_t)n == i;
}

bool value_eq(const struct value *a, const struct value *b)
{
    if (a->type == VALUE_INT && b->type == VALUE_NUMBER)
        return int_is_number(a->i, b->n);
    if (a->type == VALUE_NUMBER && b->type == VALUE_INT)
        return int_is_number(b->i, a->n);
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->b == b->b;
    case VALUE_INT:
        return a->i == b->i;
    case VALUE_NUMBER:
        return a->n == b->n;
    case VALUE_TEXT:
        return str_eq(a->s, b->s);
    }
    return false;
}
