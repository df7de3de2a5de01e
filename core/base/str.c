/* SPDX-License-Identifier: MIT */
/* Borrowed strings and the conversions every floor needs. They are written out here instead of left
 * to libc because clients' bytes are neither NUL-terminated nor to be trusted, and because what
 * counts as a number must be the same in JSON, in settings and in paths. */
#include "base/str.h"

#include "base/mem.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define HIGH_BITS UINT64_C(0x8080808080808080)
#define NEAREST_MAX 64 /* longer names are not compared */
#define NUMBER_ON_STACK 64
#define EXACT_DIGITS 15 /* so many decimal digits always fit a double exactly */
#define EXACT_POWER 22  /* and so do the powers of ten up to this one */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

uint64_t str_hash(struct str s)
{
    uint64_t h = FNV_OFFSET;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * FNV_PRIME;
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

bool str_to_int(struct str s, int64_t *ret)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == s.n)
        return false;
    int64_t value = 0;
    for (; i < s.n; i++) {
        if (!is_digit(s.p[i]) || __builtin_mul_overflow(value, 10, &value))
            return false;
        int digit = negative ? '0' - s.p[i] : s.p[i] - '0';
        if (__builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret = value;
    return true;
}

static size_t skip_digits(struct str s, size_t i)
{
    while (i < s.n && is_digit(s.p[i]))
        i++;
    return i;
}

size_t str_number_span(struct str s)
{
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    if (i == s.n || !is_digit(s.p[i]))
        return 0;
    i = s.p[i] == '0' ? i + 1 : skip_digits(s, i);
    if (i < s.n && s.p[i] == '.') {
        size_t end = skip_digits(s, i + 1);
        if (end == i + 1)
            return i;
        i = end;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        size_t start = i + 1;
        if (start < s.n && (s.p[start] == '+' || s.p[start] == '-'))
            start++;
        size_t end = skip_digits(s, start);
        return end == start ? i : end;
    }
    return i;
}

/* A number of at most 15 digits and no exponent is an exact integer divided by an exact power of
 * ten, and one division rounds correctly. That is nearly every number clients send; false for the
 * others. */
static bool simple_number(struct str s, double *ret)
{
    static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    size_t i = s.p[0] == '-' ? 1 : 0;
    if (s.n - i > EXACT_DIGITS + 1)
        return false;
    int64_t digits = 0;
    size_t point = s.n;
    for (; i < s.n; i++) {
        if (s.p[i] == '.')
            point = i + 1;
        else if (is_digit(s.p[i]))
            digits = digits * 10 + (s.p[i] - '0');
        else
            return false;
    }
    if (digits > INT64_C(999999999999999))
        return false;
    double value = (double)digits / powers[s.n - point];
    *ret = s.p[0] == '-' ? -value : value;
    return true;
}

bool str_to_number(struct str s, double *ret)
{
    if (s.n == 0 || str_number_span(s) != s.n)
        return false;
    if (simple_number(s, ret))
        return true;
    char stack[NUMBER_ON_STACK];
    char *copy = s.n < sizeof stack ? stack : xmalloc(s.n + 1);
    memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    double value = strtod(copy, NULL);
    if (copy != stack)
        free(copy);
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

static bool continues(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* Length of the well-formed sequence at p (Unicode, table 3-7), 0 if there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4 || n < 2)
        return 0;
    if (c < 0xE0)
        return continues(p[1]) ? 2 : 0;
    unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high || n < 3 || !continues(p[2]))
        return 0;
    if (c < 0xF0)
        return 3;
    return n >= 4 && continues(p[3]) ? 4 : 0;
}

size_t str_utf8_span(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;
    while (i < s.n) {
        uint64_t word;
        while (s.n - i >= sizeof word) {
            memcpy(&word, p + i, sizeof word);
            if (word & HIGH_BITS)
                break;
            i += sizeof word;
        }
        if (i == s.n)
            break;
        size_t length = utf8_sequence(p + i, s.n - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

bool str_is_utf8(struct str s)
{
    return str_utf8_span(s) == s.n;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* Edits that turn a into b, a swap of neighbours being one (optimal string alignment). */
static int edit_distance(struct str a, struct str b)
{
    assert(a.n <= NEAREST_MAX && b.n <= NEAREST_MAX);
    int rows[3][NEAREST_MAX + 1];
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = lower(a.p[i - 1]), y = lower(b.p[j - 1]);
            now[j] = min_int(last[j - 1] + (x != y), min_int(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && x == lower(b.p[j - 2]) && y == lower(a.p[i - 2]))
                now[j] = min_int(now[j], before[j - 2] + 1);
        }
        int *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

/* The shortest one that s is the beginning of. */
static struct str continued(struct str s, const struct str *candidates, size_t count)
{
    struct str found = {NULL, 0};
    for (size_t i = 0; i < count && s.n >= 3; i++) {
        bool longer = candidates[i].n > (found.n > 0 ? found.n - 1 : NEAREST_MAX);
        if (!longer && str_starts(candidates[i], s))
            found = candidates[i];
    }
    return found;
}

struct str str_nearest(struct str s, const struct str *candidates, size_t count)
{
    struct str nearest = {NULL, 0};
    if (s.n == 0 || s.n > NEAREST_MAX)
        return nearest;
    int best = s.n / 3 > 1 ? (int)(s.n / 3) : 1;
    best = min_int(best, (int)s.n - 1); /* something must be in common */
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].n > NEAREST_MAX)
            continue;
        int distance = edit_distance(s, candidates[i]);
        if (distance > best)
            continue;
        nearest = candidates[i];
        best = distance - 1; /* the first of equals stays */
    }
    return nearest.n > 0 ? nearest : continued(s, candidates, count);
}

bool str_to_duration_ms(struct str s, int64_t *ret)
{
    static const struct {
        struct str name;
        int64_t ms;
    } units[] = {{{"", 0}, 1},      {{"ms", 2}, 1},          {{"s", 1}, 1000},
                 {{"m", 1}, 60000}, {{"h", 1}, 3600 * 1000}, {{"d", 1}, 86400 * 1000}};
    size_t digits = skip_digits(s, 0);
    int64_t number;
    if (!str_to_int((struct str){s.p, digits}, &number))
        return false;
    struct str unit = {s.p + digits, s.n - digits};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        int64_t ms;
        if (!str_eq(unit, units[i].name))
            continue;
        if (__builtin_mul_overflow(number, units[i].ms, &ms))
            return false;
        *ret = ms;
        return true;
    }
    return false;
}
