/* SPDX-License-Identifier: MIT */
/* URLs, in the few shapes the host meets: escapes, queries, authorities and absolute http URLs.
 * Strict where leniency would let two readers of the same bytes disagree. */
#include "http/url.h"

#include <arpa/inet.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool needs_decoding(struct str s, bool plus_is_space)
{
    if (s.n == 0)
        return false;
    return memchr(s.p, '%', s.n) || (plus_is_space && memchr(s.p, '+', s.n));
}

/* The byte that an escape stands for, or -1. NUL counts as a bad one. */
static int escape_at(struct str s, size_t i)
{
    if (s.n - i < 3)
        return -1;
    int high = hex_value(s.p[i + 1]);
    int low = hex_value(s.p[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0))
        return -1;
    return high * 16 + low;
}

static bool is_host_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("-._~!$&'()*+,;=", c) != NULL;
}

static bool name_is_valid(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] == '%') {
            if (escape_at(host, i) < 0)
                return false;
            i += 2;
        } else if (!is_host_char(host.p[i])) {
            return false;
        }
    }
    return host.n > 0;
}

static bool v6_is_valid(struct str inside)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (inside.n == 0 || inside.n >= sizeof(text) || memchr(inside.p, '\0', inside.n))
        return false;
    memcpy(text, inside.p, inside.n);
    text[inside.n] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool port_from(struct str s, int *ret)
{
    int port = 0;
    if (s.n == 0 || s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        port = port * 10 + (s.p[i] - '0');
    }
    if (port > 65535)
        return false;
    *ret = port;
    return true;
}

/* Splits host[:port]; a v6 host comes without its brackets. port is left alone if there is none. */
static bool split_authority(struct str a, struct str *ret_host, int *port)
{
    size_t host_end = 0;
    struct str host;
    if (a.n > 0 && a.p[0] == '[') {
        const char *close = memchr(a.p, ']', a.n);
        if (!close)
            return false;
        host_end = (size_t)(close - a.p) + 1;
        host = (struct str){a.p + 1, host_end - 2};
        if (!v6_is_valid(host))
            return false;
    } else {
        while (host_end < a.n && a.p[host_end] != ':')
            host_end++;
        host = (struct str){a.p, host_end};
        if (!name_is_valid(host))
            return false;
    }
    if (host_end < a.n) {
        struct str rest = {a.p + host_end + 1, a.n - host_end - 1};
        if (a.p[host_end] != ':' || !port_from(rest, port))
            return false;
    }
    *ret_host = host;
    return true;
}

bool http_url_decode(struct arena *a, struct str s, bool plus_is_space, struct str *ret)
{
    if (!needs_decoding(s, plus_is_space)) {
        if (s.n > 0 && (memchr(s.p, '\0', s.n) || !str_is_utf8(s)))
            return false;
        *ret = s;
        return true;
    }
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int byte = escape_at(s, i);
            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '\0') {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    struct str decoded = {out, n};
    if (!str_is_utf8(decoded))
        return false;
    *ret = decoded;
    return true;
}

bool http_query_next(struct str query, size_t *pos, struct str *ret_name, struct str *ret_value)
{
    while (*pos < query.n && query.p[*pos] == '&')
        (*pos)++;
    if (*pos >= query.n)
        return false;
    const char *start = query.p + *pos;
    const char *amp = memchr(start, '&', query.n - *pos);
    size_t n = amp ? (size_t)(amp - start) : query.n - *pos;
    const char *equals = memchr(start, '=', n);
    size_t name_n = equals ? (size_t)(equals - start) : n;
    *ret_name = (struct str){start, name_n};
    *ret_value = equals ? (struct str){equals + 1, n - name_n - 1} : (struct str){start + n, 0};
    *pos += n + (amp ? 1 : 0);
    return true;
}

bool http_query_find(struct arena *a, struct str query, struct str name, struct str *ret)
{
    struct str raw_name, raw_value, decoded;
    size_t pos = 0;
    while (http_query_next(query, &pos, &raw_name, &raw_value)) {
        if (http_url_decode(a, raw_name, true, &decoded) && str_eq(decoded, name))
            return http_url_decode(a, raw_value, true, ret);
    }
    return false;
}

bool http_url_split(struct str url, struct str *ret_host, int *ret_port, struct str *ret_target)
{
    const size_t scheme_n = sizeof("http://") - 1;
    if (url.n < scheme_n || !str_ieq((struct str){url.p, scheme_n}, STR("http://")))
        return false;
    struct str rest = {url.p + scheme_n, url.n - scheme_n};
    for (size_t i = 0; i < rest.n; i++) {
        unsigned char c = (unsigned char)rest.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    struct str host;
    int port = 80;
    if (!split_authority((struct str){rest.p, n}, &host, &port))
        return false;
    *ret_host = host;
    *ret_port = port;
    *ret_target = n < rest.n ? (struct str){rest.p + n, rest.n - n} : STR("/");
    return true;
}

bool http_authority_is_valid(struct str authority)
{
    struct str host;
    int port = 0;
    return split_authority(authority, &host, &port);
}

bool http_path_has_dots(struct str path)
{
    size_t dots = 0, others = 0;
    bool named = false; /* the rest of the segment are parameters */
    for (size_t i = 0; i <= path.n; i++) {
        int c = i < path.n ? path.p[i] : '/';
        int escaped = c == '%' ? escape_at(path, i) : -1;
        if (escaped >= 0) {
            c = escaped;
            i += 2;
        }
        if (c == '/' || c == '\\') {
            if (others == 0 && (dots == 1 || dots == 2))
                return true;
            dots = others = 0;
            named = false;
        } else if (c == ';') {
            named = true;
        } else if (!named) {
            dots += c == '.';
            others += c != '.';
        }
    }
    return false;
}
