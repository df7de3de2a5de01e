-- SPDX-License-Identifier: MIT
-- Calls that are made once for several: within a request by their cache_key, and with `coalesce` for all requests of
-- this worker that ask at the same time. Whoever asks first makes the call; if it is cancelled, the next one makes its
-- own. A new generation is another state, so nothing crosses over to it.
local core = ...

local shared = {}

local error_meta = core.metatable(core.wrap_error("any"))

-- What another request may have of a value: no table of this one, no row that expires with it.
local function exported(value)
  local kind = type(value)
  if kind == "nil" or kind == "boolean" or kind == "number" or kind == "string" or value == core.json.null then
    return { value = value }
  end
  return { text = core.json.encode(value) }
end

local function imported(made)
  if made.text then return core.json.decode(made.text) end
  return made.value
end

-- An error value of another request, as one of this: texts, numbers and the errors that it names.
local function same_error(err, depth)
  local made = {}
  for key, value in next, err do
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then
      made[key] = value
    elseif kind == "table" and core.metatable(value) == error_meta and depth < 4 then
      made[key] = same_error(value, depth + 1)
    end
  end
  return setmetatable(made, error_meta)
end

shared.exported, shared.imported = exported, imported

function shared.same_error(err) return same_error(err, 0) end

local leading = { __close = function(held) core.leave(held.flight) end }

--- Until the block ends, or the strand does, this strand leads the flight.
function shared.leading(flight) return setmetatable({ flight = flight }, leading) end

-- The body of a call that other requests share.
function shared.reading(body)
  local function checked(...)
    core.read_only()
    return ...
  end
  return function() return checked(body()) end
end

local function export_results(results)
  if not results[1] then return { false, shared.same_error(core.wrap_error(results[2])) } end
  local made = { true, n = results.n }
  for i = 2, results.n do made[i] = exported(results[i]) end
  return made
end

-- What cannot leave the request is an error to who asked from there, and to who runs it.
local function exported_or_error(results)
  local ok, made = core.pcall(export_results, results)
  if ok then return made, results end
  local err = core.wrap_error(made)
  return { false, shared.same_error(err) }, { false, err, n = 2 }
end

local function import_results(made)
  if not made[1] then return { false, shared.same_error(made[2]), n = 2 } end
  local results = { true, n = made.n }
  for i = 2, made.n do results[i] = imported(made[i]) end
  return results
end

local function make(place, key, entry, fn)
  local _ <close> = shared.leading(entry.flight)
  local results = table.pack(core.pcall(fn))
  if place.passing then
    place.calls[key] = nil
    if entry.followers > 0 then entry.exported, results = exported_or_error(results) end
  end
  entry.results = results
  return results
end

-- The results of fn(), or of the call that is under way, or was made, for that key; and whether it was another's.
local function once(place, key, fn)
  local entry = place.calls[key]
  if not entry then
    entry = { flight = core.flight(), followers = 0 }
    place.calls[key] = entry
  end
  while not entry.results do
    if core.lead(entry.flight) then return make(place, key, entry, fn), false end
    entry.followers = entry.followers + 1
    core.await(entry.flight)
  end
  return entry.exported and import_results(entry.exported) or entry.results, true
end

-- passing: an entry is there while its call is under way, and no longer. Weak, for calls that nobody makes any more.
local everywhere = { passing = true, calls = setmetatable({}, { __mode = "v" }) }

local function in_request()
  local cache = core.request_cache()
  cache.calls = cache.calls or {}
  return cache
end

local function values(results)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

local KEY_BYTES = 256

local function check_key(key, coalesce)
  if key == nil then core.misuse("breaker:call: coalesce wants a cache_key, by which calls are the same") end
  if #tostring(key) > KEY_BYTES then
    core.misuse(("breaker:call: a cache_key has at most %d bytes"):format(KEY_BYTES))
  end
  return coalesce
end

--- fn() once in this request for options.cache_key; with options.coalesce for those of others too that ask meanwhile.
function shared.call(handle, options, fn)
  local name, enabled = core.breaker_about(handle)
  local coalesce = check_key(options.cache_key, options.coalesce)
  if not enabled then return fn() end
  local key = table.concat({ core.service(), name, math.type(options.cache_key) or "text", options.cache_key }, "\0")
  local results, anothers = once(in_request(), key, not coalesce and fn or function()
    local found, of_other = once(everywhere, key, fn)
    if of_other then core.note(handle, "cached") end
    return values(found)
  end)
  if anothers then core.note(handle, "cached") end
  return values(results)
end

return shared
