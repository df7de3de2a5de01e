/* SPDX-License-Identifier: MIT */
/* Names to addresses without blocking the loop. Addresses and localhost need no server; everything
 * else is asked by libevent's resolver, which also knows /etc/hosts. */
#include "http/client_inside.h"

#include <event2/dns.h>
#include <event2/util.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static void add_v4(struct http_addresses *a, struct in_addr address, int port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = address};
    memcpy(&a->items[a->count++], &in, sizeof(in));
}

static void add_v6(struct http_addresses *a, struct in6_addr address, int port)
{
    struct sockaddr_in6 in = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = address};
    memcpy(&a->items[a->count++], &in, sizeof(in));
}

/* What needs no lookup. */
static bool is_plain(const char *host, int port, struct http_addresses *ret)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        add_v4(ret, v4, port);
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        add_v6(ret, v6, port);
    } else if (str_ieq(str_from(host), STR("localhost"))) {
        add_v4(ret, (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        add_v6(ret, in6addr_loopback, port);
    }
    return ret->count > 0;
}

static bool v4_is_link_local(uint32_t address)
{
    return (ntohl(address) >> 16) == 0xa9fe; /* 169.254.0.0/16 */
}

bool http_address_is_link_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return v4_is_link_local(in.sin_addr.s_addr);
    }
    struct sockaddr_in6 in;
    memcpy(&in, address, sizeof(in));
    uint32_t last;
    memcpy(&last, in.sin6_addr.s6_addr + 12, 4);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr) || IN6_IS_ADDR_V4COMPAT(&in.sin6_addr))
        return v4_is_link_local(last);
    return IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr);
}

static void take(struct http_addresses *a, const struct evutil_addrinfo *list)
{
    for (; list != NULL && a->count < HTTP_ADDRESSES; list = list->ai_next)
        if (list->ai_addrlen <= sizeof(a->items[0]) &&
            (list->ai_family == AF_INET || list->ai_family == AF_INET6))
            memcpy(&a->items[a->count++], list->ai_addr, list->ai_addrlen);
}

static void on_found(int result, struct evutil_addrinfo *list, void *ctx)
{
    struct http_lookup *l = ctx;
    struct http_addresses addresses = {.count = 0};
    if (result == 0)
        take(&addresses, list);
    if (list != NULL)
        evutil_freeaddrinfo(list);
    l->client->lookups--;
    if (l->found != NULL)
        l->found(l->owner, &addresses,
                 result == 0 ? "the name has no address" : evutil_gai_strerror(result));
    free(l);
}

static bool open_names(struct http_client *c)
{
    if (c->names == NULL)
        c->names = evdns_base_new(loop_base(c->conf.loop), EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                               EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    return c->names != NULL;
}

struct http_lookup *
http_names_find(struct http_client *c, struct str host, int port,
                void (*found)(void *, const struct http_addresses *, const char *), void *owner)
{
    char name[256], service[8];
    struct http_addresses addresses = {.count = 0};
    snprintf(name, sizeof(name), "%.*s", STR_ARG(host));
    if (host.n >= sizeof(name) || is_plain(name, port, &addresses) || !open_names(c)) {
        found(owner, &addresses, "the name cannot be looked up");
        return NULL;
    }
    struct evutil_addrinfo hints = {.ai_family = PF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP,
                                    .ai_flags = EVUTIL_AI_NUMERICSERV};
    snprintf(service, sizeof(service), "%d", port);
    struct http_lookup *l = xcalloc(1, sizeof(*l));
    *l = (struct http_lookup){c, found, owner};
    c->lookups++;
    /* NULL: on_found has run, and l is gone. */
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(c->names, name, service, &hints, on_found, l);
    return request != NULL ? l : NULL;
}

void http_names_forget(struct http_lookup *lookup)
{
    if (lookup != NULL)
        lookup->found = NULL; /* it ends by itself: the resolver has timeouts of its own */
}

void http_names_close(struct http_client *c)
{
    if (c->names != NULL)
        evdns_base_free(c->names, 1);
    c->names = NULL;
}
