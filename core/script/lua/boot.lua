-- SPDX-License-Identifier: MIT
-- Builds the world of scripts and loads a tree into it. core: the bindings in C; veneer(name): another file of this
-- folder, run with core.
local core, veneer = ...

local declare = veneer("declare")
declare.host_events = veneer("host_events")
local dispatch = veneer("dispatch")
local words = veneer("words")
local sandbox = veneer("sandbox")

local function names_of(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- pairs over values without handing out the table that holds them.
local function walk(values)
  return function(shown)
    local key, value
    return function()
      key, value = next(values, key)
      return key, value
    end, shown, nil
  end
end

-- Reads of what is there stay plain table reads; only a missing name runs a function.
local function sealed(values, missing, assigned)
  setmetatable(values, { __index = function(_, key) return missing(key) end })
  return setmetatable({}, {
    __index = values, __metatable = false,
    __newindex = function(_, key) assigned(key) end,
    __pairs = walk(values),
  })
end

-- Raises: name ("os.execute") is not there; what to write instead if that is known, else the nearest of candidates.
local function unavailable(name, instead, key, candidates, prefix)
  if instead then core.misuse(("`%s` is not available to scripts: %s"):format(name, instead)) end
  local nearest = core.nearest(key, candidates)
  core.misuse(("`%s` is not available to scripts%s"):format(name,
    nearest and ('; did you mean "%s%s"?'):format(prefix, nearest) or ""))
end

-- A library that cannot be changed and names what it lacks. Also returns its values.
local function frozen(name, library)
  local instead = sandbox.missing[name] or {}
  return sealed(library, function(key)
    if type(key) ~= "string" then return end
    unavailable(name .. "." .. key, instead[key] or instead["*"], key, names_of(library), name .. ".")
  end, function(key)
    core.misuse(("%s.%s cannot be assigned: libraries are the same for every script"):format(name, tostring(key)))
  end), library
end

-- The members of a library that the sandbox lists.
local function listed(name, library)
  local made = {}
  for _, member in ipairs(sandbox.libraries[name]) do made[member] = library[member] end
  return made
end

-- The libraries of Lua that scripts have not: reading a member says so by name.
local function absent_libraries()
  local made = {}
  for name, instead in pairs(sandbox.missing) do
    if type(instead) == "table" and not sandbox.libraries[name] then made[name] = frozen(name, {}) end
  end
  return made
end

-- The environment of all scripts of a state.
local function environment(state)
  local env = {}
  for _, name in ipairs(sandbox.functions) do env[name] = core[name] or _G[name] end
  for name in pairs(sandbox.libraries) do
    local library, values = frozen(name, listed(name, core[name] or _G[name]))
    env[name] = library
    if name == "string" then getmetatable("").__index = values end -- ("x"):rep(3)
  end
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
  local absent = absent_libraries()
  return sealed(env, function(key)
    if absent[key] then return absent[key] end
    local name = tostring(key)
    unavailable(name, sandbox.missing[name], name, names_of(env), "")
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
      local library = core.run(file.source, "@" .. file.path, scripts)
      if type(library) ~= "table" then
        error(file.path .. ":1: a library returns a table, this one returned " .. type(library), 0)
      end
      libraries[name] = frozen(name, library)
    end
    return libraries[name]
  end
  local function run(file) return core.run(file.source, "@" .. file.path, scripts) end

  declare.system(state, tree.system.path, run(tree.system))
  overlay(state.system)
  env.config = frozen("config", state.system.config)
  for _, file in ipairs(tree.lib) do env.use(file.name) end
  local routes = { event = true, resource = true, route = true }
  local policies = { event = true, policy = true, view = true }
  for _, file in ipairs(tree.routes) do declare.collect(state, file.path, run(file), routes) end
  for _, file in ipairs(tree.policies) do declare.collect(state, file.path, run(file), policies) end
  local program = declare.finish(state)
  for _, policy in ipairs(program.policies) do
    local view = policy.view
    if view then policy.handle = function(event, meta) dispatch.view(view, event, meta) end end
  end
  return program
end

return { load = load, dispatch = dispatch, environment = environment }
