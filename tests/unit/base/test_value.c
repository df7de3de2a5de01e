/* SPDX-License-Identifier: MIT */
/* Equality, exact beyond 2^53. */
#include "base/value.h"

#include <math.h>

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static struct value number(double n)
{
    return (struct value){.type = VALUE_NUMBER, .n = n};
}

static bool eq(struct value a, struct value b)
{
    assert_true(value_eq(&a, &b) == value_eq(&b, &a));
    return value_eq(&a, &b);
}

static void test_same_type_compares_by_content(void **state)
{
    (void)state;
    struct value yes = {.type = VALUE_BOOL, .b = true}, no = {.type = VALUE_BOOL, .b = false};
    assert_true(eq(VALUE_NONE, VALUE_NONE));
    assert_true(eq(yes, yes));
    assert_false(eq(yes, no));
    assert_true(eq(value_int(3), value_int(3)));
    assert_false(eq(value_int(3), value_int(4)));
    assert_true(eq(value_text(STR("a")), value_text(STR("a"))));
    assert_false(eq(value_text(STR("a")), value_text(STR("b"))));
    assert_true(eq(value_text(STR("")), value_text((struct str){NULL, 0})));
    assert_false(eq(number(NAN), number(NAN)));
}

static void test_other_types_differ(void **state)
{
    (void)state;
    assert_false(eq(VALUE_NONE, value_int(0)));
    assert_false(eq(value_text(STR("1")), value_int(1)));
    assert_false(eq((struct value){.type = VALUE_BOOL, .b = true}, value_int(1)));
    assert_false(eq(VALUE_NONE, value_text(STR(""))));
}

static void test_an_int_equals_only_the_very_same_number(void **state)
{
    (void)state;
    assert_true(eq(value_int(2), number(2.0)));
    assert_false(eq(value_int(2), number(2.5)));
    assert_true(eq(value_int(0), number(-0.0)));
    assert_true(eq(value_int(INT64_C(9007199254740992)), number(9007199254740992.0)));
    assert_false(eq(value_int(INT64_C(9007199254740993)), number(9007199254740992.0)));
    assert_false(eq(value_int(INT64_MAX), number(9223372036854775808.0)));
    assert_true(eq(value_int(INT64_MIN), number(-9223372036854775808.0)));
    assert_false(eq(value_int(0), number(NAN)));
    assert_false(eq(value_int(INT64_MAX), number(INFINITY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_type_compares_by_content),
        cmocka_unit_test(test_other_types_differ),
        cmocka_unit_test(test_an_int_equals_only_the_very_same_number),
    };
    return cmocka_run_group_tests_name("base/value", tests, NULL, NULL);
}
