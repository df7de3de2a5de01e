/* SPDX-License-Identifier: MIT */
/* Networks as prefixes of v6 addresses, so that both families are compared in one way; and the
 * chain of addresses read from its end, which is the only one that we know. */
#include "http/forwarded.h"

#include "http/url.h"

#include <arpa/inet.h>

#define NETWORKS_MAX 64
#define V4_BITS 96 /* before the address itself */

static struct str trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes the part before the first comma. */
static struct str take_first(struct str *list)
{
    const char *comma = list->n > 0 ? memchr(list->p, ',', list->n) : NULL;
    size_t n = comma ? (size_t)(comma - list->p) : list->n;
    struct str part = {list->p, n};
    *list = comma ? (struct str){comma + 1, list->n - n - 1} : (struct str){NULL, 0};
    return trim(part);
}

/* Takes the part behind the last comma. */
static struct str take_last(struct str *list)
{
    const char *comma = list->n > 0 ? memrchr(list->p, ',', list->n) : NULL;
    size_t n = comma ? (size_t)(comma - list->p) : 0;
    struct str part =
        comma ? (struct str){comma + 1, list->n - n - 1} : (struct str){list->p, list->n};
    *list = comma ? (struct str){list->p, n} : (struct str){NULL, 0};
    return trim(part);
}

static bool read_address(struct str s, unsigned char ret[16], bool *ret_v4)
{
    char text[INET6_ADDRSTRLEN];
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *ret_v4 = inet_pton(AF_INET, text, ret + 12) == 1;
    if (*ret_v4)
        memcpy(ret, mapped, sizeof(mapped));
    return *ret_v4 || inet_pton(AF_INET6, text, ret) == 1;
}

/* "10.0.0.0/8", or one address. */
static bool read_network(struct str s, struct http_network *ret)
{
    const char *slash = s.n > 0 ? memchr(s.p, '/', s.n) : NULL;
    struct str address = {s.p, slash ? (size_t)(slash - s.p) : s.n};
    int64_t bits;
    bool v4;
    if (!read_address(address, ret->address, &v4))
        return false;
    int64_t most = v4 ? 32 : 128;
    bits = most;
    if (slash && (!str_to_int((struct str){slash + 1, s.n - address.n - 1}, &bits) || bits < 0 ||
                  bits > most))
        return false;
    ret->bits = (int)bits + (v4 ? V4_BITS : 0);
    return true;
}

bool http_trusted_read(struct arena *a, struct str list, struct http_trusted *ret,
                       struct str *ret_wrong)
{
    struct http_trusted t = {arena_alloc(a, NETWORKS_MAX * sizeof(struct http_network)), 0};
    while (list.n > 0) {
        *ret_wrong = take_first(&list);
        if (t.count == NETWORKS_MAX || !read_network(*ret_wrong, &t.networks[t.count++]))
            return false;
    }
    *ret = t;
    return true;
}

static bool is_in(const struct http_network *n, const unsigned char address[16])
{
    int bytes = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->address, address, (size_t)bytes) != 0)
        return false;
    return rest == 0 || ((n->address[bytes] ^ address[bytes]) >> (8 - rest)) == 0;
}

bool http_trusted_has(const struct http_trusted *t, struct str address)
{
    unsigned char bytes[16];
    bool v4;
    if (t->count == 0 || !read_address(address, bytes, &v4))
        return false;
    for (size_t i = 0; i < t->count; i++)
        if (is_in(&t->networks[i], bytes))
            return true;
    return false;
}

/* From the end: each trusted one vouches for the one before it. False: it vouches for nothing that
 * is an address. */
static bool follow(const struct http_trusted *t, struct str chain, struct str *client)
{
    unsigned char bytes[16];
    bool v4;
    while (chain.n > 0 && http_trusted_has(t, *client)) {
        struct str before = take_last(&chain);
        if (!read_address(before, bytes, &v4))
            return false;
        *client = before;
    }
    return true;
}

static void find_client(const struct http_trusted *t, const struct http_request *request,
                        struct http_origin *o)
{
    for (size_t i = request->header_count; i-- > 0;) {
        const struct http_header *h = &request->headers[i];
        if (str_ieq(h->name, STR("X-Forwarded-For")) && !follow(t, h->value, &o->client))
            return;
    }
}

void http_origin_find(const struct http_trusted *t, const struct http_request *request,
                      struct str peer, struct http_origin *ret)
{
    *ret = (struct http_origin){peer, request->host, false};
    if (!http_trusted_has(t, peer))
        return;
    find_client(t, request, ret);
    struct str hosts = http_header_find(request, STR("X-Forwarded-Host"));
    struct str protos = http_header_find(request, STR("X-Forwarded-Proto"));
    struct str host = take_last(&hosts);
    if (http_authority_is_valid(host))
        ret->host = host;
    ret->https = str_ieq(take_last(&protos), STR("https"));
}
