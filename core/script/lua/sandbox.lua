-- SPDX-License-Identifier: MIT
-- What scripts have and what to use instead of the rest, made of the words in api.lua: the environment of scripts
-- (boot.lua) and the standard of luacheck (.luacheckrc) both read it here.
local _, veneer = ...

-- functions: plain words, a set. libraries: name -> a list of all that scripts find in it.
local sandbox = { functions = {}, libraries = {} }

for _, word in ipairs(veneer("api")) do
  local library, member = word[1]:match("^([%w_]+)%.(.+)$")
  if library then
    local members = sandbox.libraries[library] or {}
    members[#members + 1] = member
    sandbox.libraries[library] = members
  elseif not word[1]:find(":", 1, true) then
    sandbox.functions[word[1]] = true
  end
end

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
  -- Of other languages: types of fields, and nothing.
  int = 'write integer "name"', float = 'write number "name"', double = 'write number "name"',
  str = 'write text "name"', bool = 'write boolean "name"',
  date = 'write timestamp "name"', datetime = 'write timestamp "name"',
  null = "write nil; json.null in a list or a condition", None = "write nil", undefined = "write nil",
}

return sandbox
