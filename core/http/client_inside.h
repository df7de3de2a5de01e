/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "http/client.h"
#include "http/response.h"

#include <sys/socket.h>

/* Inside of the client: what its calls, connections and names know of each other. */
struct bufferevent;
struct evdns_base;
struct http_link;

#define HTTP_ADDRESSES 8

struct http_addresses {
    struct sockaddr_storage items[HTTP_ADDRESSES];
    int count;
};

/* A name that is being looked up (client_names.c). Owned by the resolver: whoever asked may forget
 * it. */
struct http_lookup {
    struct http_client *client;
    /* NULL once it was forgotten. count 0: no such name, why says so. */
    void (*found)(void *owner, const struct http_addresses *found, const char *why);
    void *owner;
};

struct http_client {
    struct http_client_conf conf;
    struct list calls;
    struct list idle; /* links, the longest unused first */
    int idle_count, link_count;
    struct evdns_base *names; /* made with the first name */
    int lookups;
};

struct http_call {
    struct http_client *client;
    const struct http_call_class *class;
    void *owner;
    struct list node; /* client->calls */
    struct str method, host;
    int port;
    struct buf head;   /* of the request */
    struct buf body;   /* whole, or what was streamed before there was a connection */
    struct buf answer; /* the head of the answer, to which response points */
    struct http_response response;
    size_t answer_limit, answer_bytes;
    int64_t deadline_ns;
    struct loop_timer timer;
    struct loop_defer begin;
    struct http_lookup *lookup;
    struct http_addresses addresses;
    int address; /* the one being tried */
    struct http_link *link;
    bool streams, chunked, finished, paused, repeatable, repeated, stalled;
};

/* A connection (client_link.c). */
struct http_link {
    struct http_client *client;
    struct bufferevent *bev;
    struct list node;       /* client->idle */
    struct http_call *call; /* NULL: idle, or its call was cancelled */
    struct str host;        /* owned */
    int port;
    struct loop_timer idle;
    struct loop_defer again; /* goes on with input that waits */
    struct http_response_parse parse;
    bool connected, used_before, answered; /* answered: a byte of this answer has come */
    bool opening, in_body, running, dead;
};

/* Of client_link.c. Takes an unused connection to the call's target, or NULL. */
struct http_link *http_link_take(struct http_call *call);
/* Connects to call->addresses.items[call->address]; NULL: at once refused. */
struct http_link *http_link_open(struct http_call *call);
/* Sends the request of its call. */
void http_link_send(struct http_link *link);
void http_link_write(struct http_link *link, struct str data);
size_t http_link_waiting(const struct http_link *link);
/* Its call is over and the connection with it. */
void http_link_drop(struct http_link *link);
/* Reads on, or not, as its call says. */
void http_link_pace(struct http_link *link);

/* Of client.c, from links. The call may be gone afterwards. */
void http_call_connected(struct http_call *call);
/* why: of the system. */
void http_call_not_connected(struct http_call *call, const char *why);
/* A connection that was used before has broken before any answer: the other side may have closed it
 * while it was unused. */
void http_call_broken(struct http_call *call, const char *why);
/* It broke with the answer due or begun. */
void http_call_not_answered(struct http_call *call, const char *why);
void http_call_fail(struct http_call *call, const struct err *err);
void http_call_end(struct http_call *call);

/* Of client_names.c. found runs once, at once for addresses and localhost. */
struct http_lookup *
http_names_find(struct http_client *c, struct str host, int port,
                void (*found)(void *, const struct http_addresses *, const char *), void *owner);
void http_names_forget(struct http_lookup *lookup);
void http_names_close(struct http_client *c);
/* Is this an address that no call may reach? */
bool http_address_is_link_local(const struct sockaddr *address);
