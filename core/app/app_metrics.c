/* SPDX-License-Identifier: MIT */
/* What the workers count and what the process takes, as lines of GET /metrics. */
#include "app/admin/inside.h"
#include "app/app.h"
#include "http/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORKERS_MAX 64

/* ---- the process: names as every Prometheus client has them ---- */

static int64_t open_descriptors(void)
{
    int64_t n = -1; /* the one that looks */
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n > 0 ? n : 0;
}

static void read_memory(long long *ret_virtual, long long *ret_resident)
{
    long long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lld %lld", &pages[0], &pages[1]) != 2)
        pages[0] = pages[1] = 0;
    if (f)
        fclose(f);
    *ret_virtual = pages[0] * sysconf(_SC_PAGESIZE);
    *ret_resident = pages[1] * sysconf(_SC_PAGESIZE);
}

static void write_number(struct buf *out, const char *name, const char *type, const char *help,
                         double value)
{
    admin_metrics_family(out, name, type, help);
    buf_addf(out, "%s %.17g\n", name, value);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void write_process(const struct app *a, struct buf *out)
{
    struct rusage usage = {0};
    struct rlimit limit = {0};
    long long virtual_bytes, resident_bytes;
    int64_t up_ns = clock_mono_ns(&a->clock) - a->started_ns;
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &limit);
    read_memory(&virtual_bytes, &resident_bytes);
    write_number(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.",
                 seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    write_number(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.",
                 (double)resident_bytes);
    write_number(out, "process_virtual_memory_bytes", "gauge", "Memory of the address space.",
                 (double)virtual_bytes);
    write_number(out, "process_open_fds", "gauge", "Open descriptors.", (double)open_descriptors());
    write_number(out, "process_max_fds", "gauge", "Descriptors that it may have.",
                 (double)limit.rlim_cur);
    write_number(out, "process_start_time_seconds", "gauge", "Start, in Unix time.",
                 (double)(clock_wall_ns(&a->clock) - up_ns) / 1e9);
}

/* ---- its store and scripts ---- */

static void write_own(const struct app *a, struct buf *out)
{
    admin_metrics_family(out, "moontide_info", "gauge", "1; what runs is in the labels.");
    buf_lit(out, "moontide_info{");
    http_metrics_label(out, "system", a->program->system);
    buf_lit(out, ",version=\"" MOONTIDE_VERSION "\"} 1\n");
    write_number(out, "moontide_generation", "gauge", "Number of the scripts that run.",
                 (double)a->program->generation);
    admin_metrics_family(out, "moontide_store_bytes", "gauge",
                         "Size of the data file and of its write-ahead log.");
    buf_addf(out,
             "moontide_store_bytes{file=\"db\"} %lld\nmoontide_store_bytes{file=\"wal\"} %lld\n",
             (long long)app_file_bytes(a, "moontide.db"),
             (long long)app_file_bytes(a, "moontide.db-wal"));
}

/* ---- the workers ---- */

static void write_handler_wait(const struct app *a, struct buf *out)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 1.0};
    static const char name[] = "moontide_commit_to_handler_seconds";
    struct latency *list[WORKERS_MAX];
    size_t n = 0;
    for (int i = 0; i < a->worker_count && n < WORKERS_MAX; i++)
        list[n++] = &worker_counts(a->workers[i])->commit_to_handler;
    admin_metrics_family(out, name, "summary",
                         "From COMMIT of an event to the start of its handler.");
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
        buf_addf(out, "%s{quantile=\"%g\"} %.9f\n", name, quantiles[i],
                 (double)latency_quantile(list, n, quantiles[i]) / 1e9);
    buf_addf(out, "%s_sum %.9f\n%s_count %llu\n", name, (double)latency_sum(list, n) / 1e9, name,
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

static void write_counters(const struct app *a, struct buf *out)
{
    for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
        admin_metrics_family(out, counters[i].name, "counter", counters[i].help);
        for (int w = 0; w < a->worker_count; w++) {
            char *counts = (char *)worker_counts(a->workers[w]);
            atomic_int_fast64_t *count =
                (atomic_int_fast64_t *)(void *)(counts + counters[i].offset);
            buf_addf(out, "%s{worker=\"%d\"} %lld\n", counters[i].name, w,
                     (long long)atomic_load_explicit(count, memory_order_relaxed));
        }
    }
}

static void write_http(const struct app *a, struct buf *out)
{
    struct http_metrics *list[WORKERS_MAX];
    size_t n = 0;
    for (int i = 0; i < a->worker_count && n < WORKERS_MAX; i++)
        list[n++] = worker_counts(a->workers[i])->http;
    http_metrics_write(list, n, out);
}

void app_write_metrics(void *ctx, struct buf *out)
{
    const struct app *a = ctx;
    write_handler_wait(a, out);
    write_counters(a, out);
    write_http(a, out);
    write_own(a, out);
    write_process(a, out);
}
