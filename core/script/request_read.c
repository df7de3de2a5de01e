/* SPDX-License-Identifier: MIT */
/* GET of rows: no script takes part, so none is started. Lists are written page by page under
 * back-pressure. */
#include "rest/rest.h"
#include "script/request.h"

#include <assert.h>
#include <stdlib.h>

#define PAGE_ROWS 256

/* ---- one row ---- */

struct item_read {
    struct request *request;
    struct store_read read;
};

static void item_found(struct store_read *read)
{
    struct item_read *i = read->owner;
    struct request *r = i->request;
    if (read->failed) {
        request_fail_code(r, read->err.code, read->err.message);
        return;
    }
    if (read->row_count == 0) {
        request_fail_code(r, ERR_NOT_FOUND, "there is no row with this id");
        return;
    }
    rest_write_row(&r->text, read->table, read->rows[0]);
    r->status = 200;
    r->content_type = STR("application/json");
    request_answer(r);
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

/* ---- all rows ---- */

/* A list under way. The request's arena lives as long as the exchange, each page has one of its
 * own. */
struct list_read {
    struct request *request;
    struct store_read read;
    struct buf text;
    struct loop_defer next_page;
    int64_t rows;
    bool begun, reading, gone;
};

static void list_end(struct list_read *l)
{
    struct http_exchange *x = l->request->x;
    l->request->host->open_requests--;
    loop_defer_cancel(l->request->host->loop, &l->next_page);
    if (l->read.arena != NULL)
        arena_free(l->read.arena);
    buf_deinit(&l->text);
    http_stream_end(x);
}

static void read_page(struct list_read *l);

static void list_drained(struct http_exchange *x)
{
    struct list_read *l = http_exchange_data(x);
    if (!l->reading && !l->gone)
        loop_defer(l->request->host->loop, &l->next_page);
}

static void list_gone(struct http_exchange *x)
{
    struct list_read *l = http_exchange_data(x);
    l->gone = true;
    if (l->reading)
        store_read_cancel(&l->read);
    list_end(l);
}

static void write_page(struct list_read *l)
{
    buf_clear(&l->text);
    for (size_t i = 0; i < l->read.row_count; i++) {
        buf_addc(&l->text, l->rows++ == 0 ? '[' : ',');
        rest_write_row(&l->text, l->read.table, l->read.rows[i]);
        l->read.after_id = l->read.rows[i]->id;
    }
    if (l->read.row_count < PAGE_ROWS)
        buf_adds(&l->text, l->rows == 0 ? STR("[]") : STR("]"));
}

static void begin_list(struct list_read *l)
{
    struct request *r = l->request;
    struct http_header id = {STR("X-Correlation-Id"), r->correlation_id};
    l->begun = true;
    http_exchange_set_data(r->x, l);
    http_exchange_on_gone(r->x, list_gone);
    http_stream_begin(r->x, 200, STR("application/json"), &id, 1, list_drained);
}

/* A list that fits one page is an ordinary answer. */
static void answer_whole(struct list_read *l)
{
    struct request *r = l->request;
    arena_free(l->read.arena);
    r->text = l->text;
    r->status = 200;
    r->content_type = STR("application/json");
    request_answer(r);
}

static void page_found(struct store_read *read)
{
    struct list_read *l = read->owner;
    l->reading = false;
    if (read->failed) {
        log_event(LOG_ERROR, "a list could not be read", LOG_C("error", read->err.message));
        if (l->begun) {
            list_end(l);
        } else {
            arena_free(read->arena);
            request_fail_code(l->request, read->err.code, read->err.message);
        }
        return;
    }
    bool last = read->row_count < PAGE_ROWS;
    write_page(l);
    if (!l->begun && last) {
        answer_whole(l);
        return;
    }
    if (!l->begun)
        begin_list(l);
    bool more = http_stream_write(l->request->x, buf_str(&l->text));
    if (last)
        list_end(l);
    else if (more)
        loop_defer(l->request->host->loop, &l->next_page);
}

static void next_page(struct loop_defer *d)
{
    read_page(list_entry(d, struct list_read, next_page));
}

static void read_page(struct list_read *l)
{
    if (l->read.arena != NULL)
        arena_free(l->read.arena);
    l->read.arena = arena_new(32 << 10);
    l->reading = true;
    store_read_start(l->request->host->session, &l->read);
}

void request_read_list(struct request *r)
{
    struct list_read *l = arena_zalloc(r->arena, sizeof(*l));
    l->request = r;
    l->next_page.fn = next_page;
    l->read.kind = STORE_READ_FIND;
    l->read.table = r->endpoint->resource->table;
    l->read.order_column = STORE_COLUMN_ID;
    l->read.limit = PAGE_ROWS;
    l->read.done = page_found;
    l->read.owner = l;
    read_page(l);
}
