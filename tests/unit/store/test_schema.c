/* SPDX-License-Identifier: MIT */
/* Names are found exactly, tables within their service; what is not declared is not found. */
#include "store/schema.h"

/* cmocka wants these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define FIELD(text)                                                                                \
    {                                                                                              \
        .name = { text, sizeof(text) - 1 }                                                         \
    }

static struct field fields[] = {FIELD("ticket"), FIELD("ticketQty"), FIELD("artist")};
static struct store_table concerts = {.number = 0,
                                      .service = {"stage", 5},
                                      .name = {"concerts", 8},
                                      .fields = fields,
                                      .field_count = 3};
static struct store_table orders = {.number = 1, .service = {"stage", 5}, .name = {"orders", 6}};
static struct store_table other_orders = {
    .number = 2, .service = {"shop", 4}, .name = {"orders", 6}};
static struct event_type placed = {.number = 0,
                                   .service = {"shop", 4},
                                   .name = {"OrderPlaced", 11},
                                   .fields = fields,
                                   .field_count = 2};
static struct event_type gone = {.number = 1, .service = {"shop", 4}, .name = {"OrderGone", 9}};
static struct store_table *tables[] = {&concerts, &orders, &other_orders};
static struct event_type *events[] = {&placed, &gone};
static const struct store_schema schema = {tables, 3, events, 2};
static const struct store_schema empty;

static void column_is_found_by_its_whole_name(void **state)
{
    (void)state;
    assert_int_equal(store_table_column(&concerts, STR("ticket")), 0);
    assert_int_equal(store_table_column(&concerts, STR("ticketQty")), 1);
    assert_int_equal(store_table_column(&concerts, STR("artist")), 2);
    assert_int_equal(store_table_column(&concerts, STR("tick")), -1);
    assert_int_equal(store_table_column(&concerts, STR("Artist")), -1);
    assert_int_equal(store_table_column(&concerts, (struct str){NULL, 0}), -1);
    assert_int_equal(store_table_column(&orders, STR("artist")), -1);
}

static void event_field_is_found_among_the_declared(void **state)
{
    (void)state;
    assert_int_equal(store_event_field(&placed, STR("ticketQty")), 1);
    assert_int_equal(store_event_field(&placed, STR("artist")), -1);
    assert_int_equal(store_event_field(&gone, STR("ticket")), -1);
}

static void event_is_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(store_schema_event(&schema, STR("OrderPlaced")), &placed);
    assert_ptr_equal(store_schema_event(&schema, STR("OrderGone")), &gone);
    assert_null(store_schema_event(&schema, STR("OrderPlace")));
    assert_null(store_schema_event(&empty, STR("OrderPlaced")));
}

static void tables_of_one_name_are_told_apart_by_service(void **state)
{
    (void)state;
    assert_ptr_equal(store_schema_table(&schema, STR("stage"), STR("orders")), &orders);
    assert_ptr_equal(store_schema_table(&schema, STR("shop"), STR("orders")), &other_orders);
    assert_ptr_equal(store_schema_table(&schema, STR("stage"), STR("concerts")), &concerts);
    assert_null(store_schema_table(&schema, STR("shop"), STR("concerts")));
    assert_null(store_schema_table(&empty, STR("shop"), STR("orders")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(column_is_found_by_its_whole_name),
        cmocka_unit_test(event_field_is_found_among_the_declared),
        cmocka_unit_test(event_is_found_by_name),
        cmocka_unit_test(tables_of_one_name_are_told_apart_by_service),
    };
    return cmocka_run_group_tests_name("store/schema", tests, NULL, NULL);
}
