/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "rest/page.h"

/* Rows and collections as HAL, compact: members in the order of the original systems, straight into
 * the answer's buffer. base is what links begin with ("http://localhost:8088"), without characters
 * that JSON would escape. json_indent gives the layout. */

/* Fills the pieces that are the same for every row. The rest of s is set. */
void rest_shape_init(struct rest_shape *s, struct arena *a);

/* {"qty":1,..,"_links":{"self":{..},"order":{..}}} */
void rest_hal_item(struct buf *out, const struct rest_shape *s, struct str base,
                   const struct store_row *row);

/* A collection in pieces: begin, each row, end. total is the number of all rows that match; it is
 * not looked at unless paged. */
void rest_hal_begin(struct buf *out, const struct rest_page *p);
void rest_hal_row(struct buf *out, const struct rest_page *p, struct str base,
                  const struct store_row *row, bool first);
void rest_hal_end(struct buf *out, const struct rest_page *p, struct str base, int64_t total);

/* {"_links":{"findByOrderId":{..},"self":{..}}} of a resource with finders. */
void rest_hal_search(struct buf *out, const struct rest_shape *s, struct str base);

/* The values of a Link header: of an item, of a collection or of its finders. */
void rest_hal_item_header(struct buf *out, const struct rest_shape *s, struct str base, int64_t id);
void rest_hal_list_header(struct buf *out, const struct rest_shape *s, struct str base);
void rest_hal_search_header(struct buf *out, const struct rest_shape *s, struct str base);

/* {"_links":{"orders":{..},..,"profile":{..}}}: what a list of resources has under /, and under
 * /profile. */
void rest_hal_root(struct buf *out, const struct rest_shape *const *shapes, size_t n,
                   struct str base);
void rest_hal_profiles(struct buf *out, const struct rest_shape *const *shapes, size_t n,
                       struct str base);
/* A resource described in ALPS: its fields, and what can be done with it. writable: it has unsafe
 * methods. */
void rest_hal_alps(struct buf *out, const struct rest_shape *s, struct str base, bool writable);
