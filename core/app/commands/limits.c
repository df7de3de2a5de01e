/* SPDX-License-Identifier: MIT */
/* What is bounded, by the very constants and settings that bound it. The reference repeats this
 * table, and a lint compares them. */
#include "app/commands/inside.h"
#include "app/control.h"
#include "app/worker.h"
#include "rest/page.h"
#include "script/request.h"

#include <stdio.h>

#define LUA_C_LEVELS 200 /* LUAI_MAXCCALLS, built into Lua */

enum unit { COUNT, BYTES, MS, PERCENT };

static const char *const unit_names[] = {
    [COUNT] = "", [BYTES] = "bytes", [MS] = "ms", [PERCENT] = "%"};

struct limit {
    const char *name;
    int64_t value;
    enum unit unit;
    const char *setting; /* or NULL */
};

#define LIMITS_MAX 64

struct limits {
    struct limit list[LIMITS_MAX];
    size_t count;
};

static void add(struct limits *l, const char *name, int64_t value, enum unit unit,
                const char *setting)
{
    l->list[l->count++] = (struct limit){name, value, unit, setting};
}

static void add_http(struct limits *l, const struct http_limits *h)
{
    struct http_client_conf client = {HTTP_CLIENT_DEFAULT};
    add(l, "request line", (int64_t)h->request_line_bytes, BYTES, "http.request_line_bytes");
    add(l, "headers together", (int64_t)h->headers_bytes, BYTES, "http.headers_bytes");
    add(l, "headers", h->headers_count, COUNT, "http.headers");
    add(l, "body", (int64_t)h->body_bytes, BYTES, "http.body_bytes");
    add(l, "depth of JSON", HOST_JSON_DEPTH, COUNT, NULL);
    add(l, "time for a head", h->headers_ms, MS, "http.header_timeout_ms");
    add(l, "pause within a body", h->body_idle_ms, MS, "http.body_timeout_ms");
    add(l, "slowest body, a second", h->body_bytes_per_s, BYTES, "http.body_bytes_per_s");
    add(l, "answer left unread", h->write_ms, MS, "http.write_timeout_ms");
    add(l, "idle connection", h->keep_alive_ms, MS, "http.keep_alive_ms");
    add(l, "connections", h->connections, COUNT, "http.connections");
    add(l, "request to answer", HOST_REQUEST_MS, MS, NULL);
    add(l, "outgoing: connecting", client.connect_ms, MS, NULL);
    add(l, "outgoing: answer", HOST_ANSWER_MS, MS, NULL);
    add(l, "page", REST_PAGE_SIZE, COUNT, NULL);
    add(l, "largest page", REST_PAGE_SIZE_MAX, COUNT, NULL);
    add(l, "Idempotency-Key is remembered", REQUEST_REPEAT_MS, MS, NULL);
}

static void add_breaker(struct limits *l)
{
    struct breaker_conf c = breaker_conf_default();
    add(l, "breaker: timeout", c.timeout_ms, MS, "breakers.NAME.timeout_ms");
    add(l, "breaker: calls at once", c.limit, COUNT, "breakers.NAME.limit");
    add(l, "breaker: fewest results", c.volume, COUNT, "breakers.NAME.volume");
    add(l, "breaker: errors that open it", c.error_percent, PERCENT, "breakers.NAME.error_percent");
    add(l, "breaker: sleep", c.sleep_ms, MS, "breakers.NAME.sleep_ms");
    add(l, "breaker: window", c.window_ms, MS, "breakers.NAME.window_ms");
}

static void add_tasks(struct limits *l)
{
    struct task_budget b = TASK_BUDGET_DEFAULT;
    add(l, "task: CPU", b.cpu_ms, MS, NULL);
    add(l, "task: memory", b.memory_bytes, BYTES, NULL);
    add(l, "task: C levels of Lua", LUA_C_LEVELS, COUNT, NULL);
    add(l, "task: events", b.events, COUNT, NULL);
    add(l, "task: calls", b.calls, COUNT, NULL);
    add(l, "task: answer or text", (int64_t)BUDGET_TEXT, BYTES, NULL);
    add(l, "task: log lines", TASK_LOG_LINES, COUNT, NULL);
    add(l, "task: re-runs", TASK_RUNS_MAX - 1, COUNT, NULL);
    add(l, "worker: Lua memory", (int64_t)HOST_MEMORY_MARK, BYTES, NULL);
}

static void add_bus(struct limits *l, const struct config *config)
{
    struct bus_conf bus = {BUS_DEFAULTS};
    add(l, "policies: tries", bus.tries, COUNT, NULL);
    add(l, "policies: time of a try", HOST_DELIVERY_MS, MS, NULL);
    add(l, "policies: first pause", bus.first_pause_ms, MS, NULL);
    add(l, "policies: longest pause", bus.max_pause_ms, MS, NULL);
    add(l, "policies: open deliveries", config->max_outstanding, COUNT, "bus.max_outstanding");
    add(l, "generations kept", STORE_GENERATIONS_KEPT, COUNT, NULL);
    add(l, "old generation", config->reload_drain_ms, MS, "reload.drain_ms");
    add(l, "stop of process or service", CONTROL_DRAIN_NS / NS_PER_MS, MS, NULL);
}

static void collect(struct limits *l, const struct config *config)
{
    l->count = 0;
    add_http(l, &config->http);
    add_breaker(l);
    add_tasks(l);
    add_bus(l, config);
}

/* "10,000", "8 KiB", "30 s", "24 h" */
static void write_value(struct buf *out, const struct limit *l)
{
    static const struct {
        enum unit unit;
        int64_t step;
        const char *name;
    } scales[] = {
        {BYTES, 1 << 20, "MiB"}, {BYTES, 1 << 10, "KiB"}, {MS, 3600000, "h"}, {MS, 1000, "s"}};
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        if (scales[i].unit != l->unit || l->value < scales[i].step ||
            l->value % scales[i].step != 0)
            continue;
        buf_addf(out, "%lld %s", (long long)(l->value / scales[i].step), scales[i].name);
        return;
    }
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)l->value);
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf_addc(out, ',');
        buf_addc(out, digits[i]);
    }
    buf_addf(out, "%s%s", unit_names[l->unit][0] ? " " : "", unit_names[l->unit]);
}

static void print_text(const struct limits *l)
{
    static const struct str titles[] = {STR("LIMIT"), STR("VALUE"), STR("SETTING")};
    struct commands_table *t = commands_table_new(3);
    for (size_t i = 0; i < 3; i++)
        commands_table_add(t, titles[i]);
    for (size_t i = 0; i < l->count; i++) {
        struct buf value = BUF_INIT;
        write_value(&value, &l->list[i]);
        commands_table_add(t, str_from(l->list[i].name));
        commands_table_add(t, buf_str(&value));
        commands_table_add(t, str_from(l->list[i].setting));
        buf_deinit(&value);
    }
    commands_table_print(t, "no limits");
    commands_table_free(t);
}

static void print_json(const struct limits *l)
{
    struct buf out = BUF_INIT;
    buf_lit(&out, "{\"limits\":[");
    for (size_t i = 0; i < l->count; i++) {
        buf_adds(&out, i > 0 ? STR(",{\"name\":") : STR("{\"name\":"));
        json_text(&out, str_from(l->list[i].name));
        buf_addf(&out, ",\"value\":%lld,\"unit\":\"%s\",\"setting\":", (long long)l->list[i].value,
                 unit_names[l->list[i].unit]);
        if (l->list[i].setting)
            json_text(&out, str_from(l->list[i].setting));
        else
            buf_lit(&out, "null");
        buf_addc(&out, '}');
    }
    buf_lit(&out, "]}");
    puts(buf_str(&out).p);
    buf_deinit(&out);
}

/* Takes "-o json" out of argv; the rest are flags of run. */
static int take_output(int *argc, char **argv, bool *ret_json)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str word = str_from(argv[i]);
        bool joined = str_starts(word, STR("-o="));
        if (!joined && !str_eq(word, STR("-o"))) {
            argv[kept++] = argv[i];
            continue;
        }
        struct str value =
            joined ? str_from(argv[i] + 3) : str_from(i + 1 < *argc ? argv[++i] : NULL);
        *ret_json = str_eq(value, STR("json"));
        if (!*ret_json && !str_eq(value, STR("text")))
            return commands_fail(EXIT_USAGE, "-o %.*s: expected json or text", STR_ARG(value));
    }
    *argc = kept;
    return EXIT_OK;
}

int commands_limits(int argc, char **argv)
{
    struct limits limits;
    struct config config;
    struct err err;
    bool json = false;
    int code = take_output(&argc, argv, &json);
    if (code != EXIT_OK)
        return code;
    if (config_parse(&config, argc, argv, &err) != 0) {
        code = commands_fail_err(&err);
    } else {
        collect(&limits, &config);
        if (json)
            print_json(&limits);
        else
            print_text(&limits);
    }
    config_deinit(&config);
    return code;
}
