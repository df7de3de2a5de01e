/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/read.h"

/* Which rows of a resource are asked for: a finder's conditions, page, size and sort. */

/* A declared way to look for rows by some of their fields. */
struct rest_finder {
    struct str name;                  /* "findByOrderId" */
    int columns[STORE_INDEX_COLUMNS]; /* its parameters, called like the fields */
    int count;
    bool ordered; /* "...OrderByQtyDesc": by `order`, unless the client asks for another one */
    struct store_order order;
};

/* A resource as it is seen over HTTP. Built once (rest_shape_init), immutable, shared. */
struct rest_shape {
    const struct store_table *table; /* borrowed */
    struct str path, rel;            /* "/orders", "order" */
    bool unpaged; /* a view: all its rows at once, paging parameters are passed over */
    struct rest_finder *finders;
    int finder_count;
    /* Made by rest_shape_init: pieces of JSON. */
    struct str *keys; /* a field each: `"qty":` */
    struct str href;  /* the path, escaped for a JSON text */
    struct str name;  /* the collection's: `orders`, escaped */
    struct str links; /* from the last field to the item's own path */
    struct str again; /* between its two links */
};

#define REST_PAGE_SIZE 20
#define REST_PAGE_SIZE_MAX 1000

/* A question to a collection or finder. */
struct rest_page {
    const struct rest_shape *shape;
    const struct rest_finder *finder; /* NULL: the whole collection */
    bool paged;                       /* the answer has a page block */
    bool asked;                       /* some paging or sorting parameter was given */
    int64_t number, size;
    struct store_order orders[STORE_ORDERS];
    int order_count;
    bool own_order; /* it is the finder's, not asked for */
    struct store_cond conds[STORE_INDEX_COLUMNS];
    struct str query;     /* of a finder: the whole query as sent, escaped for a JSON text */
    struct str arguments; /* its own parameters alone: "orderId=1" */
};

/* Reads a query. Wrong numbers get their defaults and unknown fields in `sort` are passed over, as
 * the clients are used to; ERR_INVALID names a finder's parameter that is missing or of a wrong
 * type. Texts go to a. */
int rest_page_read(struct rest_page *ret, const struct rest_shape *shape,
                   const struct rest_finder *finder, struct str query, struct arena *a,
                   struct err *err);
/* Fills table, conditions and order of a FIND or COUNT. */
void rest_page_ask(const struct rest_page *p, struct store_read *read);
/* Rows before the page. */
int64_t rest_page_offset(const struct rest_page *p);
