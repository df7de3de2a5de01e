-- SPDX-License-Identifier: MIT
-- What files make while they load is the same for every task afterwards: their tables are frozen, all the way down,
-- and functions that would keep a changing value beside themselves are refused. Otherwise a local at the top of a
-- file, or a table of a library, would join services that share nothing, differ from worker to worker, and be lost at
-- a reload.
local core = ...

local frozen = {}

local proxies = {} -- values -> what scripts see of them
local seen = {}    -- functions and metatables that were looked through

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

-- What scripts see of values: reads go through, assigned(key) raises. It keeps what its own metatable can do.
local function proxy(values, assigned)
  local meta = {
    __index = values, __metatable = false, __pairs = walk(values), [core.frozen_key] = values,
    __len = function() return #values end,
    __newindex = function(_, key) assigned(key) end,
  }
  for name, fn in next, core.metatable(values) or {} do
    if name == "__len" or name == "__pairs" or meta[name] == nil and name ~= "__mode" then meta[name] = fn end
  end
  return setmetatable({}, meta)
end

frozen.proxy = proxy

--- values get a reader for names that they lack, missing(key), which may raise; what scripts see of them.
function frozen.sealed(values, missing, assigned)
  setmetatable(values, { __index = function(_, key) return missing(key) end })
  return proxy(values, assigned)
end

local frozen_key = core.frozen_key

--- A handle that shows nothing but values.
function frozen.handle(values, assigned, called)
  return setmetatable({}, { __index = values, __metatable = false, [frozen_key] = values, __newindex = assigned,
    __call = called })
end

function frozen.is(value)
  local meta = type(value) == "table" and core.metatable(value)
  return meta and rawget(meta, core.frozen_key) ~= nil
end

local freeze
local place -- "path:line" of the function, or the file, that is looked through

local function wrong(format, ...)
  error(place .. ": " .. format:format(...), 0)
end

-- Freezes what is inside of a table, in place: functions that know it go on working.
local function freeze_inside(values, name)
  local changed = {}
  for key, value in next, values do
    local inner = type(value) == "table" and name .. "." .. tostring(key) or name
    local new_key, new_value = freeze(key, name), freeze(value, inner)
    if not rawequal(new_key, key) then
      changed[#changed + 1] = { key, new_key, new_value }
    elseif not rawequal(new_value, value) then
      values[key] = new_value
    end
  end
  for _, change in ipairs(changed) do
    rawset(values, change[1], nil)
    rawset(values, change[2], change[3])
  end
end

local function freeze_function(fn)
  local before = place
  place = core.defined(fn) or place
  local assigned, at = core.assigned(fn)
  if assigned then
    place = at
    wrong("assigns to `%s`, a local of the file: it would differ from worker to worker and be lost at a reload; " ..
      "keep what changes with store", assigned)
  end
  for i = 1, 255 do
    local upvalue, value = core.upvalue(fn, i)
    if not upvalue then break end
    local new = freeze(value, upvalue)
    if not rawequal(new, value) then core.set_upvalue(fn, i, new) end
  end
  place = before
end

local function freeze_table(values, name)
  local meta = core.metatable(values)
  if meta and not seen[meta] then
    seen[meta] = true
    freeze_inside(meta, name)
  end
  local shown = proxy(values, function(key)
    core.misuse(("%s.%s cannot be assigned: what a file makes while it loads cannot change; keep what changes " ..
      "with store"):format(name, tostring(key)))
  end)
  proxies[values] = shown
  freeze_inside(values, name)
  return shown
end

-- value as it may stay: tables frozen, functions looked through.
function freeze(value, name)
  local kind = type(value)
  if kind == "table" then
    if proxies[value] then return proxies[value] end
    return frozen.is(value) and value or freeze_table(value, name)
  end
  if kind ~= "function" and kind ~= "thread" then return value end
  if core.holds_state(value) then
    wrong("`%s` is a coroutine or an iterator, which would go on from task to task; make it where it is used", name)
  end
  if kind == "function" and not seen[value] then
    seen[value] = true
    freeze_function(value)
  end
  return value
end

--- value as it may stay after path was loaded: tables frozen, functions looked through. name: for messages.
function frozen.freeze(path, value, name)
  place = path .. ":1"
  return freeze(value, name)
end

--- Looks through the functions in a table of the host's, but not in tables inside of it.
function frozen.functions(path, values)
  for name, value in next, values do
    if type(value) == "function" then frozen.freeze(path, value, tostring(name)) end
  end
end

return frozen
