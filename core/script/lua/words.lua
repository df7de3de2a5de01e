-- SPDX-License-Identifier: MIT
-- The words of scripts that are not declarations: the libraries of the bindings, and the sugar that is easier in Lua.
local core = ...

local words = {
  bus = core.bus, cache = core.cache, log = core.log, clock = core.clock,
  json = core.json, cjson = core.cjson, task = core.task,
  unit = core.unit, fail = core.fail, on_cancel = core.on_cancel,
}

local function values_or_error(ok, ...)
  if ok then return ... end
  return nil, core.wrap_error(...)
end

--- Calls fn(...): its values, or nil and the error value. Undoes nothing by itself (see unit).
function words.try(fn, ...)
  return values_or_error(core.pcall(fn, ...))
end

-- Here, where the line is known; the host looks again, at what is sent.
local function check_headers(headers)
  for name, value in pairs(headers) do
    if type(name) ~= "string" then core.misuse("response: headers are { name = value }") end
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      core.misuse(("response: the value of header %s must be a text, got a %s"):format(name, kind))
    end
    if kind == "string" and value:find("[\0-\8\10-\31\127]") then
      core.misuse(("response: the value of header %s has CR, LF or another control byte"):format(name))
    end
  end
end

--- The answer of a route: status, a value for JSON or a text, headers as { name = value }.
function words.response(status, body, headers)
  if math.type(status) ~= "integer" or status < 200 or status > 599 then
    core.misuse("response(status, ...): status must be an integer from 200 to 599")
  end
  if headers ~= nil and type(headers) ~= "table" then
    core.misuse(("response(status, body, headers): headers must be a table { name = value }, got a %s"):format(
      type(headers)))
  end
  if headers then check_headers(headers) end
  return setmetatable({ status = status, body = body, headers = headers or {} }, core.response_mark)
end

local store = {}
for name, fn in pairs(core.store) do store[name] = fn end
store.page, store.snapshot_open, store.snapshot_close = nil, nil, nil
words.store = store

--- Calls fn(row) for each row that matches where (nil: all), ids ascending; fn returning false stops.
function store.each(name, where, fn)
  if type(where) == "function" then where, fn = nil, where end
  if type(fn) ~= "function" then core.misuse("store.each(table, where, fn): fn must be a function") end
  local after = 0
  while true do
    local rows, last = core.store.page(name, where, after)
    for _, row in ipairs(rows) do
      if fn(row) == false then return end
    end
    if not last then return end
    after = last
  end
end

local function close_snapshot(ok, ...)
  core.store.snapshot_close()
  if not ok then error((...), 0) end
  return ...
end

--- Calls fn(): all its reads see one picture of the store. Returns what fn returns.
function store.snapshot(fn)
  if type(fn) ~= "function" then core.misuse("store.snapshot(fn): fn must be a function") end
  core.store.snapshot_open()
  return close_snapshot(pcall(fn))
end

local function verb(method, with_body)
  if with_body then
    return function(url, body, options) return core.call(method, url, body, options) end
  end
  return function(url, options) return core.call(method, url, nil, options) end
end

words.http = {
  get = verb("GET", false), delete = verb("DELETE", false),
  post = verb("POST", true), put = verb("PUT", true), patch = verb("PATCH", true),
}

return words
