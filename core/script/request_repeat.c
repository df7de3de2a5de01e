/* SPDX-License-Identifier: MIT */
/* Safe repeats (G8). */
#include "base/file.h"
#include "script/request.h"

#include <stdio.h>

struct str request_root(struct request *r)
{
    uint64_t random[2];
    struct str sent = http_header_find(r->http, STR("Idempotency-Key"));
    if (sent.n > 0)
        return sent;
    if (r->root[0] == '\0') {
        file_random(random, sizeof(random));
        snprintf(r->root, sizeof(r->root), "%016llx%016llx", (unsigned long long)random[0],
                 (unsigned long long)random[1]);
    }
    return (struct str){r->root, sizeof(r->root) - 1};
}
