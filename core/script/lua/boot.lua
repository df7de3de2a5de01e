-- SPDX-License-Identifier: MIT
-- Builds the world of scripts and loads a tree into it. core: the bindings in C; veneer(name): another file of this
-- folder, run with core.
local core, veneer = ...

local declare = veneer("declare")
local dispatch = veneer("dispatch")
local words = veneer("words")

-- What of Lua scripts have. Everything else is named in the message of the missing one.
local allowed = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "xpcall", "select", "tonumber", "tostring", "type",
  "rawequal", "rawget", "rawlen", "setmetatable",
}

local function copy(library, without)
  local made = {}
  for name, value in pairs(library) do
    if not (without and without[name]) then made[name] = value end
  end
  return made
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Reads of what is there stay plain table reads; only a missing name runs a function.
local function sealed(values, missing, assigned)
  setmetatable(values, { __index = function(_, key) missing(key) end })
  return setmetatable({}, {
    __index = values, __metatable = false,
    __newindex = function(_, key) assigned(key) end,
    __pairs = function() return next, values, nil end,
  })
end

-- A library that cannot be changed and names what it lacks.
local function frozen(name, library)
  return sealed(library, function(key)
    if type(key) ~= "string" then return end
    local nearest = core.nearest(key, names_of(library))
    core.misuse(("%s.%s is not available to scripts%s"):format(name, key,
      nearest and ('; did you mean "%s.%s"?'):format(name, nearest) or ""))
  end, function(key)
    core.misuse(("%s.%s cannot be assigned: libraries are the same for every script"):format(name, tostring(key)))
  end)
end

-- The environment of all scripts of a state.
local function environment(state)
  local env = {}
  for _, name in ipairs(allowed) do env[name] = _G[name] end
  for _, name in ipairs { "math", "utf8" } do env[name] = frozen(name, copy(_G[name])) end
  env.string = frozen("string", copy(string, { dump = true }))
  env.table = frozen("table", copy(table))
  env.coroutine = frozen("coroutine", core.coroutine)
  for name, value in pairs(words) do
    env[name] = type(value) == "table" and frozen(name, value) or value
  end
  local declaring = declare.words(state)
  local json_field, json_library = declaring.json, words.json
  for name, value in pairs(declaring) do env[name] = value end
  -- `json` is both: json "field" declares, json.encode() is the library.
  env.json = setmetatable({}, {
    __index = json_library, __metatable = false,
    __newindex = function() core.misuse("json cannot be changed") end,
    __call = function(_, name) return json_field(name) end,
  })
  return sealed(env, function(key)
    local nearest = core.nearest(tostring(key), names_of(env))
    core.misuse(("%s is not available to scripts%s"):format(tostring(key),
      nearest and ('; did you mean "%s"?'):format(nearest) or ""))
  end, function(key)
    core.misuse(("%s would be a global; write `local %s`"):format(tostring(key), tostring(key)))
  end), env
end

-- tree: { system = file, lib = {file...}, routes = ..., policies = ... }, a file being { path =, source =, name = }.
local function load(tree, overlay)
  local state = declare.new()
  local scripts, env = environment(state)
  local libraries, loading = {}, {}
  local by_name = {}
  for _, file in ipairs(tree.lib) do by_name[file.name] = file end
  env.use = function(name)
    local file = by_name[name]
    if not file then core.misuse(('use "%s": there is no such file in scripts/lib'):format(tostring(name))) end
    if libraries[name] == nil then
      if loading[name] then core.misuse(('use "%s": it is being loaded (a circle of use)'):format(name)) end
      loading[name] = true
      local library = core.compile(file.source, "@" .. file.path, scripts)()
      if type(library) ~= "table" then
        error(file.path .. ":1: a library returns a table, this one returned " .. type(library), 0)
      end
      libraries[name] = frozen(name, library)
    end
    return libraries[name]
  end
  local function run(file) return core.compile(file.source, "@" .. file.path, scripts)() end

  declare.system(state, tree.system.path, run(tree.system))
  overlay(state.system)
  env.config = frozen("config", state.system.config)
  for _, file in ipairs(tree.lib) do env.use(file.name) end
  local routes = { event = true, resource = true, route = true }
  local policies = { event = true, policy = true }
  for _, file in ipairs(tree.routes) do declare.collect(state, file.path, run(file), routes) end
  for _, file in ipairs(tree.policies) do declare.collect(state, file.path, run(file), policies) end
  return declare.finish(state)
end

return { load = load, dispatch = dispatch, environment = environment }
