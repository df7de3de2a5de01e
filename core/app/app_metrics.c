/* SPDX-License-Identifier: MIT */
/* What the workers count, as lines of GET /metrics. */
#include "app/app.h"

static void write_handler_wait(const struct app *a, struct buf *out)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 1.0};
    struct latency *list[64];
    size_t n = 0;
    for (int i = 0; i < a->worker_count && n < 64; i++)
        list[n++] = &worker_counts(a->workers[i])->commit_to_handler;
    buf_lit(out, "# HELP moontide_commit_to_handler_seconds From COMMIT of an event to the start "
                 "of its handler.\n"
                 "# TYPE moontide_commit_to_handler_seconds summary\n");
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
        buf_addf(out, "moontide_commit_to_handler_seconds{quantile=\"%g\"} %.9f\n", quantiles[i],
                 (double)latency_quantile(list, n, quantiles[i]) / 1e9);
    buf_addf(out, "moontide_commit_to_handler_seconds_count %llu\n",
             (unsigned long long)latency_count(list, n));
}

static const struct {
    const char *name, *help;
    size_t offset;
} counters[] = {
    {"moontide_requests_total", "HTTP requests.", offsetof(struct host_counts, requests)},
    {"moontide_deliveries_total", "Tries of policies.", offsetof(struct host_counts, deliveries)},
    {"moontide_commits_total", "Units of work committed.", offsetof(struct host_counts, commits)},
    {"moontide_reruns_total", "Tasks run again after a refusal.",
     offsetof(struct host_counts, reruns)},
    {"moontide_task_errors_total", "Tasks that failed.", offsetof(struct host_counts, errors)},
};

void app_write_metrics(void *ctx, struct buf *out)
{
    const struct app *a = ctx;
    write_handler_wait(a, out);
    for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
        buf_addf(out, "# HELP %s %s\n# TYPE %s counter\n", counters[i].name, counters[i].help,
                 counters[i].name);
        for (int w = 0; w < a->worker_count; w++) {
            char *counts = (char *)worker_counts(a->workers[w]);
            atomic_int_fast64_t *count =
                (atomic_int_fast64_t *)(void *)(counts + counters[i].offset);
            buf_addf(out, "%s{worker=\"%d\"} %lld\n", counters[i].name, w,
                     (long long)atomic_load_explicit(count, memory_order_relaxed));
        }
    }
}
