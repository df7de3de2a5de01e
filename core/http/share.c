/* SPDX-License-Identifier: MIT */
/* Counts are read without a lock: two servers may pick the same target in the same moment, and the
 * next connection makes up for it. */
#include "http/share.h"

#include "base/mem.h"
#include "http/conn.h"

#include <stdlib.h>
#include <unistd.h>

struct http_share {
    int count;
    atomic_int admitted; /* connections of all servers, without those beyond the limit */
    struct http_share_slot slots[];
};

/* A connection on its way to another worker. */
struct handover {
    struct mail mail;
    struct http_share_slot *slot;
    int fd;
};

struct http_share *http_share_new(int count)
{
    struct http_share *sh =
        xcalloc(1, sizeof(*sh) + (size_t)count * sizeof(struct http_share_slot));
    sh->count = count;
    return sh;
}

void http_share_free(struct http_share *sh)
{
    free(sh);
}

void http_share_join(struct http_share *sh, int number, struct http_server *s,
                     struct mailbox *mailbox)
{
    struct http_share_slot *slot = &sh->slots[number];
    slot->share = sh;
    slot->server = s;
    slot->mailbox = mailbox;
    s->slot = slot;
}

static struct http_share_slot *fewest(struct http_share_slot *own)
{
    struct http_share *sh = own->share;
    struct http_share_slot *best = own;
    int least = atomic_load_explicit(&own->connections, memory_order_relaxed);
    for (int i = 0; i < sh->count; i++) {
        struct http_share_slot *slot = &sh->slots[i];
        int n = atomic_load_explicit(&slot->connections, memory_order_relaxed);
        if (slot->mailbox != NULL && n < least) {
            best = slot;
            least = n;
        }
    }
    return best;
}

/* On the thread of the slot's server, or after it has ended. */
static void arrive(struct mail *m)
{
    struct handover *h = list_entry(m, struct handover, mail);
    struct http_server *s = h->slot->server;
    if (s != NULL && !s->draining) {
        http_conn_accept(s, h->fd);
    } else {
        close(h->fd);
        http_share_count(h->slot, -1);
    }
    free(h);
}

bool http_share_hand_over(struct http_server *s, int fd)
{
    if (s->slot == NULL)
        return false;
    struct http_share_slot *slot = fewest(s->slot);
    http_share_count(slot, 1);
    if (slot == s->slot)
        return false;
    struct handover *h = xcalloc(1, sizeof(*h));
    h->mail.run = arrive;
    h->slot = slot;
    h->fd = fd;
    mailbox_post(slot->mailbox, &h->mail);
    return true;
}

void http_share_count(struct http_share_slot *slot, int change)
{
    if (slot != NULL)
        atomic_fetch_add_explicit(&slot->connections, change, memory_order_relaxed);
}

bool http_share_admit(struct http_share_slot *slot, int limit)
{
    atomic_int *admitted = &slot->share->admitted;
    if (atomic_fetch_add_explicit(admitted, 1, memory_order_relaxed) < limit)
        return true;
    atomic_fetch_sub_explicit(admitted, 1, memory_order_relaxed);
    return false;
}

void http_share_release(struct http_share_slot *slot)
{
    if (slot != NULL)
        atomic_fetch_sub_explicit(&slot->share->admitted, 1, memory_order_relaxed);
}
