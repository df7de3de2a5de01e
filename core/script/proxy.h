/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/request.h"

/* A request that the gateway hands on to another host, and the answer that it hands back, in pieces
 * and no faster than the client reads. Lives in the exchange's arena. */
struct proxy;

/* Asks the host of the request's route, or of its service, for r->http. The request is answered in
 * the end. */
void proxy_start(struct request *r);
/* Forgets the call, whose answer has not begun. The caller answers. */
void proxy_cancel(struct proxy *p);
