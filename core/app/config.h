/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/forwarded.h"
#include "http/server.h"

/* What the system file may set of the process: listen, data, workers. */
#define CONFIG_SYSTEM 3

/* Settings of a process: built-in < system file < --config FILE < environment < flags. */
struct config {
    struct arena *arena; /* everything below lives here */
    struct str system;   /* "bookmarket" */
    struct str scripts;  /* folder of scripts */
    struct str data;     /* data folder */
    struct str listen, admin;
    struct str config_file, token_file; /* or empty */
    struct str only;                    /* services of this process, "order,delivery", or empty */
    int workers;
    enum log_level log_level;
    unsigned given;                 /* a bit each: the system file is overruled */
    struct str said[CONFIG_SYSTEM]; /* by the system file at the start, or empty */
    bool watch;                     /* reload when a script is saved */
    int64_t max_outstanding;        /* bus.max_outstanding */
    int64_t reload_drain_ms;        /* reload.drain_ms */
    struct http_limits http;        /* http.*: of the gateway */
    struct http_trusted trusted;    /* http.trusted_proxies */
    /* Overrides of what the system file says, outermost last: from --config, environment and --set,
     * as dotted paths in lower case. The loader lays them over the system's table:
     * "breakers.payment.timeout_ms" = "610". Their first name is one of breakers, services, json,
     * config. */
    struct config_override {
        struct str path, value;
        struct str origin; /* "--set", "MOONTIDE__BREAKERS__PAYMENT__TIMEOUT_MS", "settings.lua" */
        bool used;         /* by config_overlay, or by who reads one directly */
    } * overrides;
    size_t override_count, override_cap;
};

/* Fills in the built-in values, then the system file's, --config, environment and flags. argv holds
 * what follows the command
 * ("bookmarket", "--listen", ...). ERR_INVALID: the command line is wrong (usage, exit 2);
 * ERR_CONFIG: a setting is, in the file, the environment or --set (exit 78). Both name what was
 * wrong and the nearest right one. config_deinit is due in any case. */
int config_parse(struct config *c, int argc, char **argv, struct err *err);
void config_deinit(struct config *c);
/* Lays one kind of numbers of the system file (JSON of its table) over: for each override below
 * prefix ("breakers.") sets the member. Values must be numbers, booleans or text as the member they
 * replace is; an unknown member is ERR_CONFIG with the nearest one named. Names match without case;
 * a name may hold dots. Marks the override used. */
int config_overlay(struct config *c, struct arena *a, struct str prefix, struct json *table,
                   struct err *err);
/* ERR_CONFIG naming the first override that nothing used, with the nearest known of `known`. */
int config_check_used(const struct config *c, const struct str *known, size_t count,
                      struct err *err);
/* Appends the names, with commas between, of what the source of a system file sets of the process
 * otherwise than the file did at the start. Works in a. */
void config_system_later(const struct config *c, struct str source, struct arena *a,
                         struct buf *out);
/* True for 1..64 of [a-z0-9_-] that begin with none of '-' and '_': what a system may be called. */
bool config_name_is_valid(struct str name);
