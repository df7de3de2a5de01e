/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/mem.h"
#include "base/str.h"

/* Conditional requests: the version of a row as its entity tag, `"7"`. */

/* The version as a tag, `"7"`, in a. */
struct str rest_etag(struct arena *a, int64_t version);
/* Does a header with entity tags (If-Match, If-None-Match: `*`, `"7"`, `W/"7", "8"`) name this
 * version? */
bool rest_etag_matches(struct str header, int64_t version);
