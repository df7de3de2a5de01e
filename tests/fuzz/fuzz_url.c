/* SPDX-License-Identifier: MIT */
/* Escapes, queries, authorities and absolute URLs from arbitrary bytes. What was decoded must come
 * back when it is escaped and decoded again; the parts of a query and of a URL must lie in it and
 * make it up again. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/url.h"

static bool lies_in(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_decoding(struct arena *a, struct str s, bool plus_is_space)
{
    struct str decoded, again;
    struct buf escaped = BUF_INIT;
    if (!http_url_decode(a, s, plus_is_space, &decoded))
        return;
    require(decoded.n <= s.n && str_is_utf8(decoded));
    require(decoded.n == 0 || !memchr(decoded.p, '\0', decoded.n));
    for (size_t i = 0; i < decoded.n; i++)
        buf_addf(&escaped, i % 2 ? "%%%02x" : "%%%02X", (unsigned char)decoded.p[i]);
    require(http_url_decode(a, buf_str(&escaped), plus_is_space, &again));
    require(str_eq(decoded, again));
    buf_deinit(&escaped);
}

static void check_query(struct arena *a, struct str query)
{
    struct str name, value, decoded, found;
    size_t pos = 0, before = 0;
    while (http_query_next(query, &pos, &name, &value)) {
        require(pos > before && pos <= query.n);
        before = pos;
        require(lies_in(name, query) && lies_in(value, query));
        require(name.n == 0 || (!memchr(name.p, '&', name.n) && !memchr(name.p, '=', name.n)));
        require(value.n == 0 || !memchr(value.p, '&', value.n));
        /* Whoever asks by a name that is there gets a value of that name, if all can be decoded. */
        if (!http_url_decode(a, name, true, &decoded) || !http_url_decode(a, value, true, &found))
            continue;
        if (http_query_find(a, query, decoded, &found))
            require(str_is_utf8(found));
    }
}

static void check_url(struct str url)
{
    struct str host, target;
    struct buf authority = BUF_INIT;
    int port;
    if (!http_url_split(url, &host, &port, &target))
        return;
    require(host.n > 0 && lies_in(host, url) && port >= 0 && port <= 65535);
    require(target.n > 0 && (target.p[0] == '/' || target.p[0] == '?'));
    bool v6 = memchr(host.p, ':', host.n) != NULL;
    buf_addf(&authority, v6 ? "[%.*s]:%d" : "%.*s:%d", STR_ARG(host), port);
    require(http_authority_is_valid(buf_str(&authority)));
    for (size_t i = 0; i < target.n; i++)
        require((unsigned char)target.p[i] > 0x20 && (unsigned char)target.p[i] < 0x7f);
    buf_deinit(&authority);
}

static void check_authority(struct str authority)
{
    if (!http_authority_is_valid(authority))
        return;
    require(authority.n > 0);
    for (size_t i = 0; i < authority.n; i++)
        require(strchr(" /?#@\\\"<>\t\r\n", authority.p[i]) == NULL || authority.p[i] == '\0');
    require(!memchr(authority.p, '\0', authority.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    struct arena *a = arena_new(0);
    check_decoding(a, input, false);
    check_decoding(a, input, true);
    check_query(a, input);
    check_url(input);
    check_authority(input);
    arena_free(a);
    return 0;
}
