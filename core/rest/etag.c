/* SPDX-License-Identifier: MIT */
/* Versions count changes of a row and are never given twice, so that a weak tag says as much as a
 * strong one. */
#include "rest/etag.h"

#include <assert.h>

#define ETAG_BYTES 24 /* 19 digits and two quotes */

/* Cuts the next element of a list off *rest. */
static bool next_tag(struct str *rest, struct str *ret)
{
    const char *p = rest->p, *end = rest->p + rest->n;
    while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
        p++;
    if (p == end)
        return false;
    const char *comma = memchr(p, ',', (size_t)(end - p));
    const char *stop = comma != NULL ? comma : end;
    *rest = (struct str){stop, (size_t)(end - stop)};
    while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    *ret = (struct str){p, (size_t)(stop - p)};
    return true;
}

/* By hand: every answer with a row has one, and printf would be a tenth of reading it. */
struct str rest_etag(struct arena *a, int64_t version)
{
    char *text = arena_alloc(a, ETAG_BYTES), *p = text + ETAG_BYTES;
    assert(version >= 0);
    *--p = '"';
    do {
        *--p = (char)('0' + version % 10);
        version /= 10;
    } while (version > 0);
    *--p = '"';
    return (struct str){p, (size_t)(text + ETAG_BYTES - p)};
}

bool rest_etag_matches(struct str header, int64_t version)
{
    struct str tag;
    while (next_tag(&header, &tag)) {
        int64_t n;
        if (str_eq(tag, STR("*")))
            return true;
        if (str_starts(tag, STR("W/")))
            tag = (struct str){tag.p + 2, tag.n - 2};
        if (tag.n < 2 || tag.p[0] != '"' || tag.p[tag.n - 1] != '"')
            continue;
        if (str_to_int((struct str){tag.p + 1, tag.n - 2}, &n) && n == version)
            return true;
    }
    return false;
}
