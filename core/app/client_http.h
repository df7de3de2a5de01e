/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/client.h"

/* Reads one HTTP/1.1 answer from fd: by Content-Length, chunked, or to the end of the connection.
 * ERR_IO on anything else, and when it breaks off. */
int client_http_read(int fd, const struct client_request *r, int *ret_status, struct buf *ret_body,
                     struct err *err);
