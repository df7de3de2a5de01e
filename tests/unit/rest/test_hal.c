/* SPDX-License-Identifier: MIT */
/* The bytes of HAL bodies: sizes that were recorded with the original systems, links and pages. */
/* clang-format off */
#include "rest/hal.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
/* clang-format on */

struct fix {
    struct arena *arena;
    struct store_table table;
    struct rest_shape shape;
    struct store_row *row;
    struct buf out, laid_out;
};

static struct field field(const char *name, enum field_type type)
{
    return (struct field){.name = str_from(name), .type = type};
}

static void shape_of(struct fix *f, const char *name, const char *rel, const struct field *fields,
                     int count)
{
    f->table = (struct store_table){.name = str_from(name), .id_name = STR("id")};
    f->table.fields = arena_alloc(f->arena, (size_t)count * sizeof(*fields));
    memcpy(f->table.fields, fields, (size_t)count * sizeof(*fields));
    f->table.field_count = count;
    char path[64];
    snprintf(path, sizeof(path), "/%s", name);
    f->shape = (struct rest_shape){
        .table = &f->table, .path = arena_str(f->arena, str_from(path)), .rel = str_from(rel)};
    rest_shape_init(&f->shape, f->arena);
    f->row = store_row_new(f->arena, &f->table);
}

static void bread_orders(struct fix *f)
{
    const struct field fields[] = {field("item", FIELD_TEXT), field("qty", FIELD_INTEGER),
                                   field("status", FIELD_TEXT)};
    shape_of(f, "orders", "order", fields, 3);
    f->row->values[0] = value_text(STR("cake"));
    f->row->values[1] = value_int(1);
}

static int set_up(void **state)
{
    static struct fix f;
    memset(&f, 0, sizeof(f));
    f.arena = arena_new(0);
    bread_orders(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fix *f = *state;
    buf_deinit(&f->out);
    buf_deinit(&f->laid_out);
    arena_free(f->arena);
    return 0;
}

/* The row's size as the original systems lay it out. */
static size_t size_at(struct fix *f, const char *base, int64_t id)
{
    buf_clear(&f->out);
    buf_clear(&f->laid_out);
    f->row->id = id;
    rest_hal_item(&f->out, &f->shape, str_from(base), f->row);
    json_indent(&f->laid_out, buf_str(&f->out));
    return f->laid_out.n;
}

static void bread_orders_have_the_recorded_sizes(void **state)
{
    struct fix *f = *state;
    assert_int_equal(size_at(f, "http://localhost:8081", 1), 213);
    assert_string_equal(buf_str(&f->laid_out).p,
                        "{\n"
                        "  \"item\" : \"cake\",\n"
                        "  \"qty\" : 1,\n"
                        "  \"status\" : null,\n"
                        "  \"_links\" : {\n"
                        "    \"self\" : {\n"
                        "      \"href\" : \"http://localhost:8081/orders/1\"\n"
                        "    },\n"
                        "    \"order\" : {\n"
                        "      \"href\" : \"http://localhost:8081/orders/1\"\n"
                        "    }\n"
                        "  }\n"
                        "}");
    assert_int_equal(size_at(f, "http://localhost:8081", 12), 215);
    assert_int_equal(size_at(f, "http://localhost:8081", 123), 217);
}

static void bookings_have_the_recorded_sizes(void **state)
{
    struct fix *f = *state;
    const struct field fields[] = {field("concertId", FIELD_INTEGER),
                                   field("userId", FIELD_INTEGER), field("status", FIELD_TEXT),
                                   field("qty", FIELD_INTEGER)};
    shape_of(f, "bookings", "booking", fields, 4);
    f->row->values[0] = f->row->values[1] = value_int(1);
    f->row->values[3] = value_int(5);
    assert_int_equal(size_at(f, "http://localhost:8082", 1234), 241);
    assert_int_equal(size_at(f, "http://booking:8080", 1234), 237);
}

/* The collection with that query and so many rows; out has it compact. */
static void collect(struct fix *f, const struct rest_finder *finder, const char *query,
                    const char *base, int64_t total)
{
    struct rest_page page;
    struct err err;
    assert_int_equal(rest_page_read(&page, &f->shape, finder, str_from(query), f->arena, &err), 0);
    buf_clear(&f->out);
    rest_hal_begin(&f->out, &page);
    rest_hal_end(&f->out, &page, str_from(base), total);
}

static void an_empty_collection_of_orders_has_the_recorded_size(void **state)
{
    struct fix *f = *state;
    collect(f, NULL, "", "http://order:8080", 0); /* no finder, so no link to a search */
    json_indent(&f->laid_out, buf_str(&f->out));
    assert_int_equal(f->laid_out.n, 344);
    assert_non_null(strstr(buf_str(&f->laid_out).p, "\"orders\" : [ ]\n"));
}

static void links_of_pages_keep_size_and_order(void **state)
{
    struct fix *f = *state;
    collect(f, NULL, "page=1&size=2&sort=qty,desc&sort=item", "http://h", 5);
    assert_string_equal(
        buf_str(&f->out).p,
        "{\"_embedded\":{\"orders\":[]},\"_links\":{"
        "\"first\":{\"href\":\"http://h/orders?page=0&size=2&sort=qty,desc&sort=item,asc\"},"
        "\"prev\":{\"href\":\"http://h/orders?page=0&size=2&sort=qty,desc&sort=item,asc\"},"
        "\"self\":{\"href\":\"http://h/orders?page=1&size=2&sort=qty,desc&sort=item,asc\"},"
        "\"next\":{\"href\":\"http://h/orders?page=2&size=2&sort=qty,desc&sort=item,asc\"},"
        "\"last\":{\"href\":\"http://h/orders?page=2&size=2&sort=qty,desc&sort=item,asc\"},"
        "\"profile\":{\"href\":\"http://h/profile/orders\"}},"
        "\"page\":{\"size\":2,\"totalElements\":5,\"totalPages\":3,\"number\":1}}");
}

static void an_unpaged_collection_has_neither_page_nor_template(void **state)
{
    struct fix *f = *state;
    struct rest_finder finder = {.name = STR("findByQty"), .columns = {1}, .count = 1};
    f->shape.unpaged = true;
    f->shape.finders = &finder;
    f->shape.finder_count = 1;
    collect(f, NULL, "page=3&size=2&sort=qty", "http://h", 0);
    assert_string_equal(buf_str(&f->out).p, "{\"_embedded\":{\"orders\":[]},\"_links\":{"
                                            "\"self\":{\"href\":\"http://h/orders\"},"
                                            "\"profile\":{\"href\":\"http://h/profile/orders\"},"
                                            "\"search\":{\"href\":\"http://h/orders/search\"}}}");
    collect(f, &finder, "qty=1&page=3&size=2", "http://h", 0);
    assert_null(strstr(buf_str(&f->out).p, "\"page\":"));
}

static void what_a_client_sent_is_escaped_in_links(void **state)
{
    struct fix *f = *state;
    struct rest_finder finder = {.name = STR("findByItem"), .columns = {0}, .count = 1};
    collect(f, &finder, "item=a\"b\\&size=1", "http://h", 3);
    struct json j;
    struct err err;
    assert_int_equal(json_parse(f->arena, buf_str(&f->out), 16, &j, &err), 0);
    const struct json *self = json_find(json_find(&j, STR("_links")), STR("self"));
    const struct json *href = json_find(self, STR("href"));
    assert_true(str_eq(href->s, STR("http://h/orders/search/findByItem?item=a\"b\\&size=1")));
}

static void a_document_in_pieces_is_laid_out_like_the_whole(void **state)
{
    struct fix *f = *state;
    static const char *const pieces[] = {"{\"_embedded\":{\"o\":[{\"a\":1}", ",{\"a\":[]}",
                                         ",{\"b\":{}}", "]},\"x\":\"}\"}"};
    struct json_indenter in = {.open = BUF_INIT};
    struct buf whole = BUF_INIT;
    for (size_t i = 0; i < 4; i++) {
        buf_adds(&f->out, str_from(pieces[i]));
        json_indent_more(&in, &f->laid_out, str_from(pieces[i]));
    }
    json_indent_deinit(&in);
    json_indent(&whole, buf_str(&f->out));
    assert_string_equal(buf_str(&f->laid_out).p, buf_str(&whole).p);
    buf_deinit(&whole);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bread_orders_have_the_recorded_sizes),
        TEST(bookings_have_the_recorded_sizes),
        TEST(an_empty_collection_of_orders_has_the_recorded_size),
        TEST(links_of_pages_keep_size_and_order),
        TEST(an_unpaged_collection_has_neither_page_nor_template),
        TEST(what_a_client_sent_is_escaped_in_links),
        TEST(a_document_in_pieces_is_laid_out_like_the_whole),
    };
    return cmocka_run_group_tests_name("rest/hal", tests, NULL, NULL);
}
