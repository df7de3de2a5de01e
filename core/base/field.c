/* SPDX-License-Identifier: MIT */
/* The one place that knows how a declared type looks in JSON and in a column. Clients of the
 * original systems send numbers as text and text as numbers, so reading is lenient where nothing is
 * lost and strict where something would be: decimals and large integers are taken from the digits
 * as they were spelled, never through a double. */
#include "base/field.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#define DECIMAL_LIMIT INT64_C(1000000000000000) /* 15 significant digits stay below */
#define SCALE_MAX 9
#define EXPONENT_LIMIT 10000 /* beyond, more digits make no difference */
#define SHOWN_MAX 60         /* bytes of a refused text that the message repeats */
#define FIRST_TIMESTAMP INT64_C(-62167219200000) /* year 0 */
#define LAST_TIMESTAMP INT64_C(253402300799999)  /* end of year 9999 */

enum digits_result { DIGITS_EXACT, DIGITS_ROUNDED, DIGITS_OUT_OF_RANGE };

/* A number's spelling taken apart, its exponent already counted into `whole`. */
struct spelling {
    struct str mantissa; /* digits and perhaps a point */
    bool negative;
    int64_t whole; /* digits before the decimal point; can be negative, or more than there are */
};

static struct spelling take_apart(struct str raw)
{
    struct spelling s = {.negative = raw.n > 0 && raw.p[0] == '-'};
    s.mantissa = (struct str){raw.p + s.negative, raw.n - s.negative};
    size_t end = 0;
    int64_t exponent = 0;
    s.whole = -1;
    for (; end < s.mantissa.n && s.mantissa.p[end] != 'e' && s.mantissa.p[end] != 'E'; end++) {
        if (s.mantissa.p[end] == '.')
            s.whole = (int64_t)end;
    }
    if (s.whole < 0)
        s.whole = (int64_t)end;
    bool minus = end + 1 < s.mantissa.n && s.mantissa.p[end + 1] == '-';
    for (size_t i = end + 1; i < s.mantissa.n; i++) {
        char c = s.mantissa.p[i];
        if (c >= '0' && c <= '9' && exponent < EXPONENT_LIMIT)
            exponent = exponent * 10 + (c - '0');
    }
    s.mantissa.n = end;
    s.whole += minus ? -exponent : exponent;
    return s;
}

static bool append_digit(int64_t *value, int digit, bool negative)
{
    return !__builtin_mul_overflow(*value, 10, value) &&
           !__builtin_add_overflow(*value, negative ? -digit : digit, value);
}

/* The number spelled raw (valid JSON), times 10^scale, rounded half away from zero. */
static enum digits_result scaled_from_digits(struct str raw, int scale, int64_t *ret)
{
    struct spelling s = take_apart(raw);
    int64_t keep = s.whole + scale, seen = 0, value = 0;
    bool exact = true, round_up = false;
    for (size_t i = 0; i < s.mantissa.n; i++) {
        if (s.mantissa.p[i] == '.')
            continue;
        int digit = s.mantissa.p[i] - '0';
        if (seen < keep && !append_digit(&value, digit, s.negative))
            return DIGITS_OUT_OF_RANGE;
        if (seen == keep)
            round_up = digit >= 5;
        exact = exact && (seen < keep || digit == 0);
        seen++;
    }
    for (; seen < keep && value != 0; seen++) {
        if (!append_digit(&value, 0, s.negative))
            return DIGITS_OUT_OF_RANGE;
    }
    if (round_up && __builtin_add_overflow(value, s.negative ? -1 : 1, &value))
        return DIGITS_OUT_OF_RANGE;
    *ret = value;
    return exact ? DIGITS_EXACT : DIGITS_ROUNDED;
}

static int64_t power_of_ten(int n)
{
    int64_t p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static bool fits_decimal(int64_t scaled)
{
    return scaled > -DECIMAL_LIMIT && scaled < DECIMAL_LIMIT;
}

const char *field_type_name(enum field_type t)
{
    static const char *const names[] = {
        [FIELD_INTEGER] = "integer", [FIELD_NUMBER] = "number",   [FIELD_DECIMAL] = "decimal",
        [FIELD_TEXT] = "text",       [FIELD_BOOLEAN] = "boolean", [FIELD_TIMESTAMP] = "timestamp",
        [FIELD_JSON] = "json"};
    assert((size_t)t < sizeof names / sizeof names[0]);
    return names[t];
}

/* What was got is repeated in the message when it is short enough to help. */
static int refuse(const struct json *j, const char *expected, struct err *err)
{
    struct buf got = BUF_INIT;
    if (j->type == JSON_LIST)
        buf_lit(&got, "a list");
    else if (j->type == JSON_OBJECT)
        buf_lit(&got, "an object");
    else if (j->type == JSON_TEXT && j->s.n > SHOWN_MAX)
        buf_lit(&got, "a longer text");
    else if (j->raw.n > SHOWN_MAX)
        buf_lit(&got, "a longer number");
    else
        json_write(&got, j);
    err_set(err, ERR_INVALID, "expected %s, got %s", expected, buf_str(&got).p);
    buf_deinit(&got);
    return -1;
}

/* The decimal spelling of a number, or of text that spells one. {NULL, 0} if it is neither.
 * Constructed values have no raw: theirs is written into room. */
static struct str spelling_of(const struct json *j, struct buf *room)
{
    double n;
    if (j->type == JSON_TEXT)
        return str_to_number(j->s, &n) ? j->s : (struct str){NULL, 0};
    if (j->type == JSON_NUMBER && j->raw.n == 0 && !isfinite(j->n))
        return (struct str){NULL, 0};
    if (j->type != JSON_INT && j->type != JSON_NUMBER)
        return (struct str){NULL, 0};
    if (j->raw.n > 0)
        return j->raw;
    json_write(room, j);
    return buf_str(room);
}

static enum digits_result scaled_from_json(const struct json *j, int scale, int64_t *ret,
                                           bool *ret_is_number)
{
    struct buf room = BUF_INIT;
    struct str raw = spelling_of(j, &room);
    enum digits_result result = DIGITS_EXACT;
    if (raw.n > 0)
        result = scaled_from_digits(raw, scale, ret);
    *ret_is_number = raw.n > 0;
    buf_deinit(&room);
    return result;
}

static int integer_from_json(const struct json *j, struct value *ret, struct err *err)
{
    int64_t i = 0;
    bool is_number = true;
    enum digits_result result = DIGITS_EXACT;
    if (j->type == JSON_INT)
        i = j->i;
    else
        result = scaled_from_json(j, 0, &i, &is_number);
    if (!is_number || result == DIGITS_ROUNDED)
        return refuse(j, "an integer", err);
    if (result == DIGITS_OUT_OF_RANGE)
        return err_set(err, ERR_INVALID, "is outside the range of integers");
    *ret = value_int(i);
    return 0;
}

static int number_from_json(const struct json *j, struct value *ret, struct err *err)
{
    double n;
    if (j->type == JSON_INT)
        n = (double)j->i;
    else if (j->type == JSON_NUMBER && isfinite(j->n))
        n = j->n;
    else if (j->type != JSON_TEXT || !str_to_number(j->s, &n))
        return refuse(j, "a number", err);
    *ret = (struct value){.type = VALUE_NUMBER, .n = n};
    return 0;
}

static int decimal_from_json(const struct field *f, const struct json *j, struct value *ret,
                             struct err *err)
{
    int64_t scaled = 0;
    bool is_number;
    enum digits_result result = scaled_from_json(j, f->scale, &scaled, &is_number);
    if (!is_number)
        return refuse(j, "a number", err);
    if (result == DIGITS_OUT_OF_RANGE || !fits_decimal(scaled))
        return err_set(err, ERR_INVALID, "has more than 15 significant digits");
    *ret = value_int(scaled);
    return 0;
}

static int text_from_json(const struct json *j, struct arena *a, struct value *ret, struct err *err)
{
    struct str s;
    struct buf room = BUF_INIT;
    if (j->type == JSON_TEXT)
        s = j->s;
    else if (j->type == JSON_BOOL)
        s = j->b ? STR("true") : STR("false");
    else
        s = spelling_of(j, &room);
    if (j->type != JSON_TEXT && s.n == 0)
        return refuse(j, "text", err);
    int rc = 0;
    if (!str_is_utf8(s))
        rc = err_set(err, ERR_INVALID, "is not valid UTF-8");
    else if (s.n > 0 && memchr(s.p, '\0', s.n))
        rc = err_set(err, ERR_INVALID, "must not contain NUL");
    else
        *ret = value_text(arena_str(a, s));
    buf_deinit(&room);
    return rc;
}

static int boolean_from_json(const struct json *j, struct value *ret, struct err *err)
{
    bool b;
    if (j->type == JSON_BOOL)
        b = j->b;
    else if (j->type == JSON_TEXT && str_eq(j->s, STR("true")))
        b = true;
    else if (j->type == JSON_TEXT && str_eq(j->s, STR("false")))
        b = false;
    else
        return refuse(j, "true or false", err);
    *ret = (struct value){.type = VALUE_BOOL, .b = b};
    return 0;
}

static int timestamp_from_json(const struct json *j, struct value *ret, struct err *err)
{
    static const char expected[] = "an RFC 3339 time or epoch milliseconds";
    int64_t ms = 0;
    bool is_number = true;
    enum digits_result result = DIGITS_EXACT;
    if (j->type != JSON_TEXT || !clock_parse_rfc3339(j->s, &ms))
        result = scaled_from_json(j, 0, &ms, &is_number);
    if (!is_number || result != DIGITS_EXACT || ms < FIRST_TIMESTAMP || ms > LAST_TIMESTAMP)
        return refuse(j, expected, err);
    *ret = value_int(ms);
    return 0;
}

static int json_from_json(const struct json *j, struct arena *a, struct value *ret)
{
    struct buf compact = BUF_INIT;
    json_write(&compact, j);
    *ret = value_text(arena_str(a, buf_str(&compact)));
    buf_deinit(&compact);
    return 0;
}

int field_from_json(const struct field *f, const struct json *j, struct arena *a, struct value *ret,
                    struct err *err)
{
    bool takes_empty = f->type == FIELD_TEXT || f->type == FIELD_JSON;
    bool empty = j->type == JSON_TEXT && j->s.n == 0;
    if (j->type == JSON_NULL || (empty && !takes_empty)) {
        *ret = VALUE_NONE;
        return 0;
    }
    switch (f->type) {
    case FIELD_INTEGER:
        return integer_from_json(j, ret, err);
    case FIELD_NUMBER:
        return number_from_json(j, ret, err);
    case FIELD_DECIMAL:
        return decimal_from_json(f, j, ret, err);
    case FIELD_TEXT:
        return text_from_json(j, a, ret, err);
    case FIELD_BOOLEAN:
        return boolean_from_json(j, ret, err);
    case FIELD_TIMESTAMP:
        return timestamp_from_json(j, ret, err);
    case FIELD_JSON:
        return json_from_json(j, a, ret);
    }
    return err_set(err, ERR_INTERNAL, "field of an unknown type");
}

static bool number_of(const struct field *f, const struct value *v, double *ret)
{
    if (f->type != FIELD_INTEGER && f->type != FIELD_NUMBER && f->type != FIELD_DECIMAL &&
        f->type != FIELD_TIMESTAMP)
        return false;
    if (v->type == VALUE_NUMBER)
        *ret = v->n;
    else if (v->type == VALUE_INT)
        *ret = f->type == FIELD_DECIMAL ? field_decimal_to_number(f, v->i) : (double)v->i;
    else
        return false;
    return true;
}

/* Characters of UTF-8 text: the bytes that continue none. */
static int64_t length_of(struct str s)
{
    int64_t count = 0;
    for (size_t i = 0; i < s.n; i++)
        count += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return count;
}

int field_check(const struct field *f, const struct value *v, struct err *err)
{
    double n;
    if (v->type == VALUE_NULL)
        return f->required ? err_set(err, ERR_INVALID, "must not be null") : 0;
    /* Negated, so that NaN passes neither bound. */
    if (f->has_min && number_of(f, v, &n) && !(n >= f->min))
        return err_set(err, ERR_INVALID, "must be at least %.15g", f->min);
    if (f->has_max && number_of(f, v, &n) && !(n <= f->max))
        return err_set(err, ERR_INVALID, "must be at most %.15g", f->max);
    if (f->max_length > 0 && f->type == FIELD_TEXT && v->type == VALUE_TEXT &&
        length_of(v->s) > f->max_length)
        return err_set(err, ERR_INVALID, "must be at most %" PRId64 " characters long",
                       f->max_length);
    return 0;
}

static void write_decimal(struct buf *out, int64_t scaled, int scale)
{
    assert(scale >= 0 && scale <= SCALE_MAX);
    uint64_t size = scaled < 0 ? 0 - (uint64_t)scaled : (uint64_t)scaled;
    uint64_t unit = (uint64_t)power_of_ten(scale);
    if (scaled < 0)
        buf_addc(out, '-');
    buf_add_int(out, (int64_t)(size / unit));
    if (scale == 0)
        return;
    char decimals[SCALE_MAX + 1] = ".";
    uint64_t part = size % unit;
    for (int i = scale; i > 0; i--, part /= 10)
        decimals[i] = (char)('0' + part % 10);
    buf_add(out, decimals, (size_t)scale + 1);
}

static void write_int(struct buf *out, const struct field *f, int64_t i)
{
    switch (f->type) {
    case FIELD_DECIMAL:
        write_decimal(out, i, f->scale);
        break;
    case FIELD_TIMESTAMP:
        buf_addc(out, '"');
        clock_rfc3339(out, i);
        buf_addc(out, '"');
        break;
    case FIELD_BOOLEAN: /* SQLite keeps booleans as integers */
        buf_adds(out, i ? STR("true") : STR("false"));
        break;
    case FIELD_NUMBER: /* and a double without fraction may come back as one */
        json_number(out, (double)i);
        break;
    case FIELD_INTEGER:
    case FIELD_TEXT:
    case FIELD_JSON:
        buf_add_int(out, i);
        break;
    }
}

void field_write_json(struct buf *out, const struct field *f, const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
        buf_lit(out, "null");
        break;
    case VALUE_BOOL:
        buf_adds(out, v->b ? STR("true") : STR("false"));
        break;
    case VALUE_INT:
        write_int(out, f, v->i);
        break;
    case VALUE_NUMBER:
        json_number(out, v->n);
        break;
    case VALUE_TEXT:
        if (f->type == FIELD_JSON)
            buf_adds(out, v->s);
        else
            json_text(out, v->s);
        break;
    }
}

/* 1.005 means the decimal 1.005, not the double just below it: its shortest spelling is what gets
 * rounded. */
bool field_decimal_from_number(const struct field *f, double n, int64_t *ret)
{
    double unit = (double)power_of_ten(f->scale);
    if (!isfinite(n) || fabs(n) * unit > 2.0 * (double)DECIMAL_LIMIT)
        return false;
    int64_t scaled = llround(n * unit);
    if ((double)scaled / unit != n) {
        struct buf digits = BUF_INIT;
        json_number(&digits, n);
        enum digits_result result = scaled_from_digits(buf_str(&digits), f->scale, &scaled);
        buf_deinit(&digits);
        if (result == DIGITS_OUT_OF_RANGE)
            return false;
    }
    if (!fits_decimal(scaled))
        return false;
    *ret = scaled;
    return true;
}

double field_decimal_to_number(const struct field *f, int64_t scaled)
{
    return (double)scaled / (double)power_of_ten(f->scale);
}
