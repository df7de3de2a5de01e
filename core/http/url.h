/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/mem.h"
#include "base/str.h"

/* Decodes %XX (and '+' when plus_is_space) into a. False on a bad escape, NUL or a result that is
 * not UTF-8. */
bool http_url_decode(struct arena *a, struct str s, bool plus_is_space, struct str *ret);
/* Iterates over a query: start with *pos = 0; false at the end. Names and values come raw (not
 * decoded). */
bool http_query_next(struct str query, size_t *pos, struct str *ret_name, struct str *ret_value);
/* First parameter of that (decoded) name, decoded into a. False if absent or undecodable. */
bool http_query_find(struct arena *a, struct str query, struct str name, struct str *ret);
/* Splits "http://host[:port][/path][?query]". False on anything else. Port defaults to 80. A v6
 * host comes without its brackets; a target without a path starts with '?', so that the caller has
 * to write the '/' before it. */
bool http_url_split(struct str url, struct str *ret_host, int *ret_port, struct str *ret_target);
/* True for host, host:port, [v6] or [v6]:port with legal characters and a port of 0..65535. */
bool http_authority_is_valid(struct str authority);
/* Has it a segment "." or "..", plain or escaped, as some server may read it? A backslash and %2f
 * cut too, and a ";" ends the name. */
bool http_path_has_dots(struct str path);
