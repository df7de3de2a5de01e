/* SPDX-License-Identifier: MIT */
/* GET and HEAD of rows: no script takes part, so none is started. Collections are written part by
 * part under back-pressure, so that no answer, however long, lies in memory. */
#include "base/json.h"
#include "rest/accept.h"
#include "rest/etag.h"
#include "rest/hal.h"
#include "script/passage.h"

#include <assert.h>
#include <stdlib.h>

/* The first part holds an ordinary page; those after it about as many bytes as go out at once. */
#define PART_FIRST 20
#define PART_ROWS 256
#define PART_BYTES (128 << 10)

/* ---- one row ---- */

struct item_read {
    struct request *request;
    struct store_read read;
};

static void answer_links(struct request *r, struct buf *links)
{
    struct str value = arena_str(r->arena, buf_str(links));
    buf_deinit(links);
    request_add_header(r, STR("Link"), value);
    r->status = 204;
    request_answer(r);
}

static void answer_item(struct request *r, const struct store_row *row)
{
    const struct rest_shape *shape = &r->endpoint->resource->rest;
    request_add_etag(r, row->version);
    if (rest_etag_matches(http_header_find(r->http, STR("If-None-Match")), row->version)) {
        r->status = 304;
        request_answer(r);
        return;
    }
    if (r->http->method == HTTP_HEAD_) {
        struct buf links = BUF_INIT;
        rest_hal_item_header(&links, shape, r->base, row->id);
        answer_links(r, &links);
        return;
    }
    rest_hal_item(&r->text, shape, r->base, row);
    request_answer_hal(r, 200);
}

static void item_found(struct store_read *read)
{
    struct item_read *i = read->owner;
    struct request *r = i->request;
    if (read->failed)
        request_fail_code(r, read->err.code, read->err.message);
    else if (read->row_count == 0)
        request_fail_code(r, ERR_NOT_FOUND, "there is no row with this id");
    else
        answer_item(r, read->rows[0]);
}

void request_read_item(struct request *r)
{
    int64_t id;
    if (!str_to_int(r->match.params[0], &id)) {
        request_fail_code(r, ERR_NOT_FOUND, "there is no row with this id");
        return;
    }
    struct item_read *i = arena_zalloc(r->arena, sizeof(*i));
    i->request = r;
    i->read.kind = STORE_READ_GET;
    i->read.table = r->endpoint->resource->table;
    i->read.id = id;
    i->read.arena = r->arena;
    i->read.done = item_found;
    i->read.owner = i;
    store_read_start(r->host->session, &i->read);
}

/* ---- many rows ---- */

/* A collection under way. The request's arena lives as long as the exchange, each part has one of
 * its own. */
struct list_read {
    struct request *request;
    struct rest_page page;
    struct store_read read;
    struct buf text, shown; /* a part, and the same as it is laid out */
    struct json_indenter indenter;
    struct loop_defer next_part;
    int64_t rows, left; /* written so far; still wanted */
    int64_t part;       /* rows of the next part */
    bool begun, reading, gone;
};

static void list_free(struct list_read *l)
{
    loop_defer_cancel(l->request->host->loop, &l->next_part);
    if (l->read.arena != NULL)
        arena_free(l->read.arena);
    buf_deinit(&l->text);
    buf_deinit(&l->shown);
    json_indent_deinit(&l->indenter);
}

static void list_end(struct list_read *l)
{
    struct http_exchange *x = l->request->x;
    request_over(l->request, 200);
    list_free(l);
    http_stream_end(x);
}

/* The client must see that the rest is missing. */
static void list_cut(struct list_read *l)
{
    struct http_exchange *x = l->request->x;
    request_over(l->request, 200);
    list_free(l);
    http_stream_abort(x);
}

static void read_part(struct list_read *l);

static void list_drained(struct http_exchange *x)
{
    struct list_read *l = http_exchange_data(x);
    if (!l->reading && !l->gone)
        loop_defer(l->request->host->loop, &l->next_part);
}

static void list_gone(struct http_exchange *x)
{
    struct list_read *l = http_exchange_data(x);
    l->gone = true;
    if (l->reading)
        store_read_cancel(&l->read);
    list_cut(l);
}

static void begin_list(struct list_read *l)
{
    struct request *r = l->request;
    l->begun = true;
    if (r->passage != NULL)
        passage_leave_stream(r, 200);
    request_add_header(r, STR("X-Correlation-Id"), r->correlation_id);
    http_exchange_set_data(r->x, l);
    http_exchange_on_gone(r->x, list_gone);
    http_stream_begin(r->x, 200, rest_accept_type(http_header_find(r->http, STR("Accept"))),
                      r->headers, r->header_count, list_drained);
}

/* The part as it goes out. */
static struct str show_part(struct list_read *l)
{
    if (!l->request->host->program->json_indent)
        return buf_str(&l->text);
    buf_clear(&l->shown);
    json_indent_more(&l->indenter, &l->shown, buf_str(&l->text));
    return buf_str(&l->shown);
}

/* A collection that is one part is an ordinary answer. */
static void answer_whole(struct list_read *l)
{
    struct request *r = l->request;
    r->text = l->text;
    l->text = (struct buf)BUF_INIT;
    list_free(l);
    request_answer_hal(r, 200);
}

static void list_failed(struct list_read *l)
{
    struct request *r = l->request;
    struct err err = l->read.err;
    log_event(LOG_ERROR, "a collection could not be read", LOG_C("error", err.message),
              LOG_S("correlationId", r->correlation_id));
    if (l->begun) {
        list_cut(l);
        return;
    }
    list_free(l);
    request_fail_code(r, err.code, err.message);
}

static void finish(struct list_read *l, int64_t total)
{
    rest_hal_end(&l->text, &l->page, l->request->base, total);
    if (!l->begun) {
        answer_whole(l);
        return;
    }
    http_stream_write(l->request->x, show_part(l));
    list_end(l);
}

static void counted(struct store_read *read)
{
    struct list_read *l = read->owner;
    l->reading = false;
    if (read->failed)
        list_failed(l);
    else
        finish(l, read->count);
}

static void count_rows(struct list_read *l)
{
    l->read.kind = STORE_READ_COUNT;
    l->read.done = counted;
    l->reading = true;
    store_read_start(l->request->host->session, &l->read);
}

static void write_part(struct list_read *l)
{
    size_t start = l->text.n;
    for (size_t i = 0; i < l->read.row_count; i++)
        rest_hal_row(&l->text, &l->page, l->request->base, l->read.rows[i], l->rows++ == 0);
    if (l->read.row_count == 0)
        return;
    size_t average = (l->text.n - start) / l->read.row_count + 1;
    l->part = (int64_t)(PART_BYTES / average);
    l->part = l->part < 1 ? 1 : l->part > PART_ROWS ? PART_ROWS : l->part;
    l->left -= (int64_t)l->read.row_count;
    if (l->page.order_count > 0) {
        l->read.offset += (int64_t)l->read.row_count;
        return;
    }
    l->read.offset = 0;
    l->read.after_id = l->read.rows[l->read.row_count - 1]->id;
}

static void part_found(struct store_read *read)
{
    struct list_read *l = read->owner;
    l->reading = false;
    if (read->failed) {
        list_failed(l);
        return;
    }
    bool exhausted = (int64_t)read->row_count < read->limit;
    int64_t before = rest_page_offset(&l->page);
    write_part(l);
    if (exhausted && (l->rows > 0 || before == 0)) {
        finish(l, before + l->rows);
    } else if (exhausted || l->left == 0) {
        count_rows(l);
    } else {
        if (!l->begun)
            begin_list(l);
        if (http_stream_write(l->request->x, show_part(l)))
            loop_defer(l->request->host->loop, &l->next_part);
        buf_clear(&l->text);
    }
}

static void next_part(struct loop_defer *d)
{
    read_part(list_entry(d, struct list_read, next_part));
}

static void read_part(struct list_read *l)
{
    if (l->read.arena != NULL)
        arena_free(l->read.arena);
    l->read.arena = arena_new(32 << 10);
    l->read.limit = l->left < l->part ? l->left : l->part;
    l->reading = true;
    store_read_start(l->request->host->session, &l->read);
}

static void answer_head(struct request *r)
{
    struct buf links = BUF_INIT;
    if (r->endpoint->kind == ENDPOINT_LIST) {
        rest_hal_list_header(&links, &r->endpoint->resource->rest, r->base);
        answer_links(r, &links);
        return;
    }
    r->status = 204;
    request_answer(r);
}

void request_read_list(struct request *r)
{
    struct err err;
    struct list_read *l = arena_zalloc(r->arena, sizeof(*l));
    if (rest_page_read(&l->page, &r->endpoint->resource->rest, r->endpoint->finder, r->http->query,
                       r->arena, &err) != 0) {
        request_fail_code(r, err.code, err.message);
        return;
    }
    if (r->http->method == HTTP_HEAD_) {
        answer_head(r);
        return;
    }
    l->request = r;
    l->next_part.fn = next_part;
    l->part = PART_FIRST;
    l->left = l->page.paged ? l->page.size : INT64_MAX;
    l->read.kind = STORE_READ_FIND;
    l->read.offset = rest_page_offset(&l->page);
    l->read.done = part_found;
    l->read.owner = l;
    rest_page_ask(&l->page, &l->read);
    rest_hal_begin(&l->text, &l->page);
    read_part(l);
}
