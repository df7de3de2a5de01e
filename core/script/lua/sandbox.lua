-- SPDX-License-Identifier: MIT
-- What of Lua scripts have, and what to use instead of the rest. The one list: the environment of scripts (boot.lua)
-- and the standard of luacheck (.luacheckrc) are made of it.
local sandbox = {}

-- Plain functions.
sandbox.functions = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "xpcall", "select", "tonumber", "tostring", "type",
  "rawequal", "rawget", "rawlen", "setmetatable",
}

-- Libraries with all that scripts find in them.
sandbox.libraries = {
  coroutine = { "close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield" },
  math = {
    "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max", "maxinteger",
    "min", "mininteger", "modf", "pi", "rad", "random", "randomseed", "sin", "sqrt", "tan", "tointeger", "type", "ult",
  },
  string = {
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep", "reverse",
    "sub", "unpack", "upper",
  },
  table = { "concat", "insert", "move", "pack", "remove", "sort", "unpack" },
  utf8 = { "char", "charpattern", "codepoint", "codes", "len", "offset" },
}

-- The words of Moontide; "breaker" and "json" declare as well.
sandbox.words = {
  "event", "resource", "route", "policy", "view",
  "integer", "number", "decimal", "text", "boolean", "timestamp",
  "store", "bus", "http", "breaker", "cache", "clock", "json", "cjson", "log", "config", "task", "unit", "try",
  "fail", "use", "response",
}

-- Of Lua, but not here: what to write instead. A table: for each member, "*" for all others.
sandbox.missing = {
  print = "write log.info(...)",
  require = 'write use "lib.name" for a file of scripts/lib',
  load = "code comes from files only", loadstring = "code comes from files only",
  loadfile = 'write use "lib.name" for a file of scripts/lib',
  dofile = 'write use "lib.name" for a file of scripts/lib',
  collectgarbage = "memory is taken care of", warn = "write log.warn(...)",
  rawset = "assign the field", getmetatable = "keep the metatable you set", _G = "libraries are shared; use local",
  os = {
    time = "write clock.now()", date = "write clock.iso()", clock = "write clock.now()", getenv = "write config.NAME",
    ["*"] = "scripts reach nothing outside of Moontide",
  },
  io = { write = "write log.info(...)", ["*"] = "keep data with store, write lines with log" },
  debug = { traceback = "the log has the traceback of every script error", ["*"] = "it would open the sandbox" },
  package = { ["*"] = 'write use "lib.name" for a file of scripts/lib' },
  string = { dump = "code comes from files only" },
}

return sandbox
