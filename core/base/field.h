/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"
#include "base/value.h"

/* A declared field: of a resource, an event or a view. The type says what JSON and scripts see of a
 * stored value. */
enum field_type {
    FIELD_INTEGER, /* VALUE_INT, 63 bits and sign */
    FIELD_NUMBER,  /* VALUE_NUMBER */
    FIELD_DECIMAL, /* VALUE_INT scaled by 10^scale; at most 15 significant digits; JSON number with
                      exactly scale digits */
    FIELD_TEXT,    /* VALUE_TEXT, UTF-8 */
    FIELD_BOOLEAN, /* VALUE_BOOL */
    FIELD_TIMESTAMP, /* VALUE_INT, epoch ms; RFC 3339 in JSON */
    FIELD_JSON       /* VALUE_TEXT holding compact JSON */
};

struct field {
    struct str name;
    enum field_type type;
    int scale; /* FIELD_DECIMAL: 0..9 */
    bool required, unique, index, has_default, has_min, has_max;
    double min, max;    /* numbers: of the value; in the field's own unit, not scaled */
    int64_t max_length; /* text: characters; 0 = unlimited */
    struct str pattern; /* text: a Lua pattern, checked by the script floor */
    struct value default_value;
    struct str at;           /* where it is declared: "scripts/x.lua:12", or empty */
    struct str renamed_from; /* of a table: its name before, or empty */
    struct str column;       /* of a table, given by its store: the column's name; empty: the
                                field's */
};

/* "integer", "text", ... for messages. */
const char *field_type_name(enum field_type t);

/* Converts what a client sent to what is stored: numeric strings for numbers ("" is null), numbers
 * for text, RFC 3339 or epoch ms for timestamps; fractions for integers only when whole (2.0). null
 * converts to VALUE_NULL. Text is copied to a. Failing, err (ERR_INVALID) says what was expected:
 * "expected an integer, got \"x\"". Does not check required, min, max, length: that is field_check.
 */
int field_from_json(const struct field *f, const struct json *j, struct arena *a, struct value *ret,
                    struct err *err);
/* Checks required, min, max and length. err's message is made for people: "must not be null", "must
 * be at least 1". */
int field_check(const struct field *f, const struct value *v, struct err *err);
/* Writes the stored value as JSON. */
void field_write_json(struct buf *out, const struct field *f, const struct value *v);
/* A decimal between its scaled integer and a double, rounding half away from zero; false beyond 15
 * digits. */
bool field_decimal_from_number(const struct field *f, double n, int64_t *ret);
double field_decimal_to_number(const struct field *f, int64_t scaled);
