/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* Conditional requests: the version of a row as its entity tag, `"7"`. */

/* Does a header with entity tags (If-Match, If-None-Match: `*`, `"7"`, `W/"7", "8"`) name this
 * version? */
bool rest_etag_matches(struct str header, int64_t version);
