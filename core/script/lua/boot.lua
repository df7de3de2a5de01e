-- SPDX-License-Identifier: MIT
-- Builds the world of scripts and loads a tree into it. core: the bindings in C; veneer(name): another file of this
-- folder, run with core.
local core, veneer = ...

local declare = veneer("declare")
declare.host_events = veneer("host_events")
local dispatch = veneer("dispatch")
local words = veneer("words")
local guards = veneer("guards")
local sandbox = veneer("sandbox")
local place = veneer("place")
local freezing = veneer("frozen")

local function names_of(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Raises: name ("os.execute") is not there; what to write instead if that is known, else the nearest of candidates.
local function unavailable(name, instead, key, candidates, prefix)
  if instead then core.misuse(("`%s` is not available to scripts: %s"):format(name, instead)) end
  local nearest, more = core.nearest(key, candidates), ""
  if nearest then
    more = ('; did you mean "%s%s"?'):format(prefix, nearest)
  elseif prefix == "string." then -- mostly a body that came as text
    more = "; a text has no fields (a request's body is a table if its Content-Type is application/json)"
  elseif #candidates > 0 and #candidates <= 12 then
    more = "; there are " .. prefix .. table.concat(candidates, ", " .. prefix)
  end
  core.misuse(("`%s` is not available to scripts%s"):format(name, more))
end

-- A library that is called like a function says what it has.
local function uncallable(name, library)
  local message = ("`%s` is no function; there are %s.%s"):format(name, name,
    table.concat(names_of(library), (", %s."):format(name)))
  if name == "string" then message = '`string` is no type of field; write text "name"' end
  return function() core.misuse(message) end
end

-- A library that cannot be changed and names what it lacks. Also returns its values.
local function frozen(name, library)
  local instead = sandbox.missing[name] or {}
  return freezing.sealed(library, function(key)
    if type(key) ~= "string" then return end
    unavailable(name .. "." .. key, instead[key] or instead["*"], key, names_of(library), name .. ".")
  end, function(key)
    core.misuse(("%s.%s cannot be assigned: libraries are the same for every script"):format(name, tostring(key)))
  end), library
end

-- The members of a library that the sandbox lists.
local function listed(name, library)
  local made = {}
  for _, member in ipairs(sandbox.libraries[name]) do
    if library[member] == nil then error(("api.lua lists %s.%s, which is not there"):format(name, member), 0) end
    made[member] = library[member]
  end
  return made
end

-- A word that no table lists would be in no editor and on no page.
local function check_listed(env)
  for name in pairs(sandbox.functions) do
    if env[name] == nil and name ~= "use" and name ~= "config" then
      error(("api.lua lists the word %s, which is not there"):format(name), 0)
    end
  end
  for name, value in pairs(env) do
    if not sandbox.functions[name] and not sandbox.libraries[name] then
      error(("the word %s is not listed in api.lua"):format(name), 0)
    end
    local own = words[name]
    for member in pairs(type(own) == "table" and own or {}) do
      if core.metatable(value).__index[member] == nil then
        error(("the word %s.%s is not listed in api.lua"):format(name, member), 0)
      end
    end
  end
end

-- The libraries of Lua that scripts have not: reading a member says so by name.
local function absent_libraries()
  local made = {}
  for name, instead in pairs(sandbox.missing) do
    if type(instead) == "table" and not sandbox.libraries[name] then made[name] = frozen(name, {}) end
  end
  return made
end

-- The words of all scripts of a state.
local function environment(state)
  local env = {}
  local declaring = declare.words(state)
  for name in pairs(sandbox.functions) do env[name] = words[name] or declaring[name] or core[name] or _G[name] end
  for name in pairs(sandbox.libraries) do
    local library, values = frozen(name, listed(name, words[name] or core[name] or _G[name]))
    env[name] = library
    core.metatable(library).__call = uncallable(name, values)
    if name == "string" then getmetatable("").__index = values end -- ("x"):rep(3)
  end
  for name, value in pairs(declaring) do env[name] = env[name] or value end
  check_listed(env)
  -- `json` is both: json "field" declares, json.encode() is the library.
  local json_field = declaring.json
  core.metatable(env.json).__call = function(_, name) return json_field(name) end
  local absent = absent_libraries()
  setmetatable(env, { __index = function(_, key)
    if absent[key] then return absent[key] end
    local name = tostring(key)
    unavailable(name, sandbox.missing[name], name, names_of(env), "")
  end })
  return env
end

-- What one file has as its _ENV: all words, and no place to put anything.
local function environment_of_file(env)
  return freezing.proxy(env, function(key)
    core.misuse(("%s would be a global; write `local %s`"):format(tostring(key), tostring(key)))
  end)
end

-- What `use` gives: the table of a library, which names what it lacks, unless it has a metatable of its own.
local function library_of(path, name, made)
  local shown = freezing.freeze(path, made, name)
  if core.metatable(made) or freezing.is(made) then return shown end
  local copy = {}
  for key, value in next, made do copy[key] = value end
  return (frozen(name, copy))
end

-- tree: { system = file, lib = {file...}, routes = ..., policies = ... }, a file being { path =, source =, name = }.
-- only: the services of this process, as place.services takes them.
local function load(tree, overlay, only)
  local state = declare.new()
  local env = environment(state)
  local libraries, loading = {}, {}
  local by_name = {}
  for _, file in ipairs(tree.lib) do by_name[file.name] = file end
  core.files, core.loading = {}, nil -- for the lines of what is wrong
  local function run(file)
    core.files[file.path] = { source = file.source }
    local outer = core.loading
    core.loading = file.path
    local made = core.run(file.source, "@" .. file.path, environment_of_file(env))
    core.loading = outer
    freezing.functions(file.path, guards.take_unseen())
    return made
  end
  env.use = function(name)
    local file = by_name[name]
    if not file then
      local wanted = tostring(name)
      local known = by_name["lib." .. wanted] and "lib." .. wanted or core.nearest(wanted, names_of(by_name))
      core.misuse(('use "%s": there is no such file in scripts/lib%s'):format(wanted,
        known and ('; did you mean "%s"?'):format(known) or ""))
    end
    if libraries[name] == nil then
      if loading[name] then core.misuse(('use "%s": it is being loaded (a circle of use)'):format(name)) end
      loading[name] = true
      local library = run(file)
      if type(library) ~= "table" then
        error(file.path .. ":1: a library returns a table, this one returned " .. type(library), 0)
      end
      libraries[name] = library_of(file.path, name, library)
    end
    return libraries[name]
  end
  local function collect(file, allowed)
    local first = #state.declared + 1
    declare.collect(state, file.path, run(file), allowed)
    for i = first, #state.declared do
      local made = state.declared[i]
      freezing.functions(file.path, made)
      if made.kind == "view" then freezing.functions(file.path, made.on) end
    end
  end

  declare.system(state, tree.system.path, run(tree.system))
  overlay(state.system)
  place.services(state.system, only)
  freezing.freeze(tree.system.path, state.system.config, "config")
  env.config = frozen("config", state.system.config)
  for _, route in ipairs(state.system.gateway and state.system.gateway.routes or {}) do
    if route.guard then freezing.freeze(tree.system.path, route.guard, "guard") end
  end
  for _, file in ipairs(tree.lib) do env.use(file.name) end
  local routes = { event = true, resource = true, route = true }
  local policies = { event = true, policy = true, view = true }
  for _, file in ipairs(tree.routes) do collect(file, routes) end
  for _, file in ipairs(tree.policies) do collect(file, policies) end
  local program = declare.finish(state)
  for _, policy in ipairs(program.policies) do
    local view = policy.view
    if view then policy.handle = function(event, meta) dispatch.view(view, event, meta) end end
  end
  place.check_calls(state, tree.routes)
  place.check_calls(state, tree.policies)
  core.files = nil
  return program
end

-- For editors.
local function stubs() return veneer("stubs")(declare.options) end

return { load = load, dispatch = dispatch, environment = environment, stubs = stubs }
