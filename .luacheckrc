-- SPDX-License-Identifier: MIT
-- The words of scripts: what the sandbox offers is all there is.

stds.moontide = {
  read_globals = {
    -- of Lua
    "assert", "error", "ipairs", "next", "pairs", "pcall", "xpcall", "select", "tonumber", "tostring", "type",
    "rawequal", "rawget", "rawlen", "setmetatable", "coroutine", "math", "table", "utf8",
    string = {
      fields = {
        "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep",
        "reverse", "sub", "unpack", "upper",
      },
    },
    -- declarations
    "event", "resource", "route", "policy", "view",
    "integer", "number", "decimal", "text", "boolean", "timestamp",
    -- libraries ("breaker" and "json" declare as well)
    "store", "bus", "http", "breaker", "cache", "clock", "json", "cjson", "log", "config", "task", "unit", "try",
    "fail", "use", "response",
  },
}

stds.spec = {
  read_globals = {
    "describe", "it", "before_each", "scripts", "request", "start", "settle", "events", "rows", "row", "letters",
    "faults", "restart", "retry_letter", "discard_letter",
    assert = { fields = { "equal", "same", "truthy", "falsy", "error_matches" } },
    clock = { fields = { "advance", "now" } },
  },
}

std = "moontide"
max_line_length = 120
max_cyclomatic_complexity = 10
unused_args = true
self = false

files["tests/spec"] = { std = "+spec" }
-- The veneers run inside the host's own environment; what checks declarations is a list of questions.
files["core/script/lua"] = { std = "lua54", max_cyclomatic_complexity = 20 }
