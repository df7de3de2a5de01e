-- SPDX-License-Identifier: MIT
-- Calls words as the bytes of the body say: which word, in which way, with which arguments. What a call gives may be
-- an argument of a later one. The words are those of the environment, so that a new one is called as well.
local function words()
  local list = {}
  for name, value in pairs(_ENV) do
    if type(value) == "table" and name ~= "config" then
      for member, fn in pairs(value) do
        if type(fn) == "function" then list[#list + 1] = { name .. "." .. tostring(member), fn } end
      end
    end
    if type(value) == "function" or name == "json" then list[#list + 1] = { name, value } end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

-- draw(n) gives 0 to n-1 from the next byte, 0 behind the last; draw() tells whether there is more.
local function bytes(hex)
  local at = 1
  return function(n)
    if not n then return at < #hex end
    local byte = tonumber(hex:sub(at, at + 1), 16) or 0
    at = at + 2
    return byte % n
  end
end

local guard = breaker "guard"
local texts = { "", "a", "rows", "Told", "id", "name", "n", "d", "data", "call", "status", "next", "key", "limit",
  "10ms", "-id", "http://a/rows", "http://b/none", "http://a/pong", "lib.x", "\0", "\xff\xfe", "%", "[", "%b", "(()",
  "%d%s%q", "%.99f", "i1000", "!8", ("x"):rep(5000), "1e999", "0x10", "{\"a\":[1,null]}", "[[[[",
  "2026-01-01T00:00:00Z", "1.23" }
local plain = { 0, 1, -1, 2, 3, 64, 404, 500, 1.5, 1 << 31, 1 << 62, math.maxinteger, math.mininteger, math.huge,
  -math.huge, 0/0, true, false, json.null }
local names = { "name", "n", "d", "data", "id", "key", "limit", "order", "after", "timeout", "headers", "body", "k" }

local value

local function metatable(draw, made, depth, results)
  local inner = value(draw, depth + 1, results)
  return {
    __index = inner, __len = draw(2) == 0 and function() return 1 << 60 end or nil,
    __call = function() return made end, __tostring = function() return inner end, __name = inner,
    __pairs = draw(3) == 0 and function() return next, made end or nil, __close = function() error(inner) end,
    __lt = function() return true end, __concat = function() return "x" end, __eq = function() return true end,
    __newindex = draw(3) == 0 and function() error("new") end or nil, __add = function() return inner end,
  }
end

local function filled(draw, depth, results)
  local made = {}
  for i = 1, draw(4) do made[i] = value(draw, depth + 1, results) end
  for _ = 1, draw(4) do made[names[draw(#names) + 1]] = value(draw, depth + 1, results) end
  return draw(4) == 0 and setmetatable(made, metatable(draw, made, depth, results)) or made
end

local makers = {
  function(draw) return plain[draw(#plain) + 1] end,
  function(draw) return texts[draw(#texts) + 1] end,
  function(draw, _, results) return results[#results > 0 and draw(#results) + 1 or 1] end,
  function() return nil end,
  filled,
  function() return function(...) return ... end end,
  function(draw) local code = draw(9) return function() error({ code = code }) end end,
  function() return coroutine.create(function() coroutine.yield(1) end) end,
  function() return coroutine.wrap(function() local held <close> = guard coroutine.yield(held) end) end,
  function() return store.first("rows") end,
  function() return guard end,
  function(draw) return ({ _ENV, config, string, json, config.list, store, coroutine.running() })[draw(7) + 1] end,
  function(draw) return names[draw(#names) + 1] end,
}

function value(draw, depth, results)
  return makers[draw(depth > 3 and 3 or #makers) + 1](draw, depth, results)
end

-- Plainly, in a coroutine, by a sort or gsub, in a breaker, a unit, side by side, in a <close>, by a metamethod.
local ways = {
  function(call) return call() end,
  function(call) return coroutine.wrap(call)() end,
  function(call) table.sort({ 3, 1, 2 }, function() call() return false end) end,
  function(call) return (("ab"):gsub(".", function() call() end)) end,
  function(call) return guard:call(call, function() end) end,
  function(call) return unit(call) end,
  function(call) return task.all(call, call) end,
  function(call) return task.race(call, function() task.sleep("1s") end) end,
  function(call) local closer <close> = setmetatable({}, { __close = function() call() end }) return closer end,
  function(call) return setmetatable({}, { __index = function() return call() end }).x end,
  function(call) return xpcall(call, call) end,
  function(call) return try(call) end,
}

local function check(word, err)
  if type(err) ~= "table" or rawget(err, "status") == nil then return end
  if math.type(err.status) == "integer" and type(err.code) == "string" and type(err.message) == "string" and
    type(tostring(err)) == "string" then return end
  return "improper error value of " .. word
end

local function once(list, draw, results)
  local word = list[(draw(256) * 256 + draw(256)) % #list + 1]
  local args = {}
  local count = draw(6)
  for i = 1, count do args[i] = value(draw, 0, results) end
  local way = draw(4) == 0 and ways[draw(#ways) + 1] or ways[1]
  local got = table.pack(pcall(way, function() return word[2](table.unpack(args, 1, count)) end))
  for i = 2, math.min(got.n, 4) do
    if got[i] ~= nil and #results < 32 then results[#results + 1] = got[i] end
  end
  return not got[1] and check(word[1], got[2]) or nil
end

return {
  event "Told" { service = "a", key = { id = "id" }, fields = { integer "id", text "name", json "data" } },
  resource "rows" { service = "a",
    fields = { text "name" { unique = true }, integer "n", json "data", decimal(2) "d" } },
  route "pong" { service = "a", method = "GET", path = "/pong", handle = function() return "pong" end },
  route "words" { service = "a", method = "POST", path = "/words", handle = function(request)
    local list, draw, results = words(), bytes(request.body.hex), {}
    local keeps = draw(4) == 1
    store.upsert("rows", { name = "a" }, { n = 1 })
    for _ = 1, 40 do
      if not draw() then break end
      local wrong = once(list, draw, results)
      if wrong then return { wrong = wrong } end
    end
    if not keeps then fail(422, "nothing of it stays") end
    return {}
  end },
}
