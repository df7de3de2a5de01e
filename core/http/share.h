/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/server.h"
#include "loop/mailbox.h"

/* Divides connections among the servers of a process. Whoever is awake accepts; a connection goes
 * to the server that has fewest, through that worker's mailbox. Without it a busy moment puts all
 * long-lived connections on one worker. */
struct http_share;

/* For up to count servers. Returns owned; the servers must be freed and the mailboxes empty before.
 */
struct http_share *http_share_new(int count);
void http_share_free(struct http_share *sh);
/* Makes s the server of this number, 0..count-1; before any of them runs. mailbox is of s' thread.
 */
void http_share_join(struct http_share *sh, int number, struct http_server *s,
                     struct mailbox *mailbox);
