/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "http/message.h"

/* What one worker answered: durations by method, route and status, in the buckets that
 * OpenTelemetry gives for http.server.request.duration. The worker's thread adds, others may read
 * at the same time; nobody waits. */
struct http_metrics;

/* Empty. Returns owned. */
struct http_metrics *http_metrics_new(void);
/* NULL is legal. */
void http_metrics_free(struct http_metrics *m);
/* A request came; its answer is due. */
void http_metrics_begin(struct http_metrics *m, enum http_method method);
/* It was answered. route is the template ("/orders/{id}"), empty if none matched; copied when new.
 * There is room for a bounded number of combinations; what is beyond counts as the route
 * "_OTHER". */
void http_metrics_end(struct http_metrics *m, enum http_method method, struct str route, int status,
                      int64_t took_ns);

/* The sums of several workers in the Prometheus text format: http_server_request_duration_seconds
 * and http_server_active_requests. Any thread. */
void http_metrics_write(struct http_metrics *const *list, size_t count, struct buf *out);
/* Appends name="value", quoted as the format wants it. */
void http_metrics_label(struct buf *out, const char *name, struct str value);
