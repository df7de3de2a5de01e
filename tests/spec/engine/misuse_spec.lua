-- SPDX-License-Identifier: MIT
-- Every word with arguments that nobody would write: whatever happens is an answer, an error is an error value or what
-- the script raised itself, and the next task finds everything as it was. A word that is added is called as well: the
-- words are those of the environment.
local fuzzer = [==[
-- Numbers from a seed: the same everywhere.
local function numbers(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return (state >> 33) % n
  end
end

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

local guard = breaker "guard"
local texts = { "", "a", "rows", "Told", "id", "name", "n", "10ms", "-id", "http://a/rows", "http://b/none", "lib.x",
  "\0", "\xff\xfe", "%", "[", "%b", "(()", "%d%s%q", "i1000", ("x"):rep(5000), "1e999", "{\"a\":[1,null]}", "[[[[" }
local plain = { 0, 1, -1, 3, 404, 500, 1.5, 1 << 62, math.maxinteger, math.mininteger, math.huge, -math.huge, 0/0, true,
  false, json.null }

-- draw(n) gives 0 to n-1.
local function value(draw, depth)
  local kind = draw(depth > 3 and 4 or 13)
  if kind < 2 then return plain[draw(#plain) + 1] end
  if kind == 2 then return texts[draw(#texts) + 1] end
  if kind == 3 then return nil end
  if kind == 4 then return function(...) return ... end end
  if kind == 5 then return function() error({ code = draw(9) }) end end
  if kind == 6 then return coroutine.create(function() coroutine.yield(1) end) end
  if kind == 7 then return store.first("rows") end
  if kind == 8 then return guard end
  if kind == 9 then return ({ _ENV, config, string, json, config.list, store })[draw(6) + 1] end
  local made = {}
  for i = 1, draw(4) do made[i] = value(draw, depth + 1) end
  for _ = 1, draw(3) do made[texts[draw(7) + 1]] = value(draw, depth + 1) end
  if kind == 12 then
    local meta = { __index = value(draw, depth + 1), __len = draw(2) == 0 and function() return 1 << 60 end or nil,
      __call = function() return made end, __tostring = function() return value(draw, depth + 1) end,
      __name = value(draw, depth + 1), __pairs = draw(3) == 0 and function() return next, made end or nil,
      __close = function() end, __lt = function() return true end, __concat = function() return "x" end }
    return setmetatable(made, meta)
  end
  return made
end

-- How it is called: plainly, in a coroutine, by a sort or gsub, in a breaker, a unit, side by side, in a <close>.
local ways = {
  function(call) return call() end,
  function(call) return coroutine.wrap(call)() end,
  function(call) table.sort({ 3, 1, 2 }, function() call() return false end) end,
  function(call) return (("ab"):gsub(".", function() call() end)) end,
  function(call) return guard:call(call, function() end) end,
  function(call) return unit(call) end,
  function(call) return task.all(call, call) end,
  function(call) local closer <close> = setmetatable({}, { __close = function() call() end }) return closer end,
  function(call) return setmetatable({}, { __index = function() return call() end }).x end,
}


local function once(word, draw)
  local count = draw(5)
  local args = table.pack(value(draw, 0), value(draw, 0), value(draw, 0), value(draw, 0))
  local way = draw(4) == 0 and ways[draw(#ways) + 1] or ways[1]
  local ok, err = pcall(way, function() return word[2](table.unpack(args, 1, count)) end)
  if ok or type(err) ~= "table" or rawget(err, "status") == nil then return end
  assert(math.type(err.status) == "integer" and type(err.code) == "string" and type(err.message) == "string", word[1])
  assert(type(tostring(err)) == "string")
end

return {
  event "Told" { service = "a", key = { id = "id" }, fields = { integer "id", text "name", json "data" } },
  resource "rows" { service = "a",
    fields = { text "name" { unique = true }, integer "n", json "data", decimal(2) "d" } },
  route "words" { service = "a", method = "GET", path = "/words",
    handle = function() local list = {} for i, word in ipairs(words()) do list[i] = word[1] end return list end },
  route "misuse" { service = "a", method = "POST", path = "/misuse", handle = function(request)
    local list, draw = words(), numbers(request.body.seed)
    local word = list[request.body.word]
    for _ = 1, request.body.times do once(word, draw) end
    return { word = word[1] }
  end },
}
]==]

local tree = {
  ["systems/t.lua"] = [[return { services = { a = {}, b = {} }, config = { list = { 1, 2, { 3 } } },
    breakers = { guard = { limit = 100000, volume = 100000 } } }]],
  ["lib/x.lua"] = "return { n = 1 }",
  ["routes/t/fuzz.lua"] = fuzzer,
}

describe("RULES-6a every word with generated arguments", function()
  it("is an answer or an error value, and the next task finds everything as it was", function()
    scripts(tree)
    local words = request { path = "/words" }.body
    assert.truthy(#words > 120, #words)
    local codes = {}
    for seed = 1, 8 do
      for i, word in ipairs(words) do
        local answer = request { path = "/misuse", body = { seed = seed * 7919 + i, word = i, times = 12 } }
        if answer.status ~= 200 then codes[answer.body.code or "?"] = word end
        assert.truthy(answer.status == 200 or answer.body.code, word)
      end
    end
    for code, word in pairs(codes) do
      assert.truthy(({ budget = true, failed = true, timeout = true, conflict = true, exists = true, bound = true,
        invalid = true })[code], code .. " of " .. word)
    end
    assert.equal(#words, #request { path = "/words" }.body)
  end)
end)

-- { word, wrong use, what names the argument or option }
local wrong = {
  { "store.get", 'store.get(5, 1)', "store.get" }, { "store.get", 'store.get("rowz", 1)', 'did you mean "rows"' },
  { "store.find", 'store.find("rows", { nam = 1 })', 'no field "nam"; did you mean "name"' },
  { "store.find", 'store.find("rows", {}, { limt = 1 })', 'unknown option "limt"' },
  { "store.find", 'store.find("rows", {}, { order = { "name" } })', 'option "order" must be a field in quotes' },
  { "store.first", 'store.first("rows", 5)', "conditions are a table" },
  { "store.count", 'store.count("rows", { n = {} })', "rows.n" },
  { "store.create", 'store.create("rows", { id = 1 })', "the id of rows" },
  { "store.update", 'store.update("rows", 1, 5)', "expected a table" },
  { "store.upsert", 'store.upsert("rows", 5, {})', "expected a table" },
  { "store.delete", 'store.delete("rows", "x")', "store.delete" },
  { "store.add", 'store.add("rows", 1, { n = 1 }, { mn = 1 })', 'unknown option "mn"' },
  { "store.each", 'store.each("rows", {}, 5)', "fn must be a function" },
  { "store.snapshot", 'store.snapshot(5)', "fn must be a function" },
  { "bus.emit", 'bus.emit("Tould", {})', 'did you mean "Told"' },
  { "bus.emit_in", 'bus.emit_in("soon", "Told", { id = 1 })', "bus.emit_in" },
  { "bus.emit_at", 'bus.emit_at("soon", "Told", { id = 1 })', "expected a time" },
  { "bus.cancel", 'bus.cancel("x")', "expected the id" },
  { "http.get", 'http.get(5)', "URL" }, { "http.post", 'http.post("http://nobody/x")', "nobody" },
  { "http.put", 'http.put("x")', "no URL" }, { "http.patch", 'http.patch("http://a/rows", {}, { kee = "x" })', "kee" },
  { "http.delete", 'http.delete("http://a/rows", 5)', "options" },
  { "cache.get", 'cache.get({})', "cache.get" }, { "cache.set", 'cache.set("k", 1, "soon")', "cache.set" },
  { "cache.add", 'cache.add("k", "x")', "cache.add" },
  { "clock.iso", 'clock.iso("x")', "#1" },
  { "json.encode", 'json.encode({ 0/0 })', "JSON has no spelling" },
  { "json.decode", 'json.decode(5)', "expected a text" }, { "json.array", 'json.array(5)', "#1" },
  { "cjson.encode", 'cjson.encode({ function() end })', "function" },
  { "cjson.decode", 'cjson.decode(5)', "expected a text" },
  { "log.debug", 'log.debug("x", function() end)', "function" },
  { "log.info", 'log.info("x", function() end)', "function" },
  { "log.warn", 'log.warn("x", function() end)', "function" },
  { "log.error", 'log.error("x", function() end)', "function" },
  { "task.sleep", 'task.sleep("soon")', "task.sleep" }, { "task.all", 'task.all(5)', "argument 1 must be a function" },
  { "task.race", 'task.race()', "1 to 100 functions" }, { "unit", 'unit(5)', "unit" },
  { "fail", 'fail(200)', "status must be an integer from 400" }, { "use", 'use "lib.y"', "lib.y" },
  { "response", 'response("200")', "status must be an integer" },
  { "response", 'response(200, "", { ["X-A"] = {} })', "the value of header X-A must be a text, got a table" },
  { "response", 'response(200, "", { ["X-A"] = "a\\r\\nb" })', "header X-A has CR, LF or another control byte" },
  { "response", 'response(200, "", { "X-A: b" })', "headers are { name = value }" },
  { "breaker", 'breaker("gard")', 'did you mean "guard"' },
  { "breaker", 'breaker("guard"):call(function() end, 5)', "fallback must be a function or a table of options" },
  { "breaker", 'breaker("guard"):cal(function() end)', 'a breaker has no "cal"; did you mean "call"' },
  { "on_cancel", 'on_cancel(function() end)', "on_cancel is for the body of a breaker's call" },
  { "event", 'event(5)', "expected a name" }, { "resource", 'resource "x" { fieldz = {} }', 'did you mean "fields"' },
  { "route", 'route "x" { method = 5 }', "method" }, { "policy", 'policy "x" { onn = 1 }', "onn" },
  { "view", 'view "x" { byy = 1 }', "byy" }, { "integer", 'integer "n" { mn = 1 }', 'did you mean "min"' },
  { "number", 'number(5)', "expected a name" }, { "text", 'text "n" { min = "x" }', '"min" must be a number' },
  { "boolean", 'boolean "a b"', "letters" }, { "timestamp", 'timestamp "_x"', "_" }, { "json", 'json(5)', "name" },
  { "decimal", 'decimal(10)', "n is the number of digits" },
}

describe("RULES-6b wrong use raises with file and line and names what is wrong", function()
  for _, case in ipairs(wrong) do
    it(case[2], function()
      local made = {}
      for name, text in pairs(tree) do made[name] = text end
      made["routes/t/go.lua"] = ('return route "go" { service = "a", method = "GET", path = "/go", ' ..
        "handle = function()\nlocal _, err = try(function()\n  %s\nend)\n" ..
        "return { message = err.message, origin = err.origin } end }"):format(case[2])
      scripts(made)
      local body = request { path = "/go" }.body
      assert.matches(case[3], body.message)
      assert.truthy((body.origin or ""):find("scripts/routes/t/go.lua:3", 1, true) or
        body.message:find("scripts/routes/t/go.lua:3", 1, true), tostring(body.origin))
    end)
  end

  it("every word of Moontide that can be used wrongly is above", function()
    local tried = { ["clock.now"] = true, try = true, unit = true } -- clock.now takes nothing, try gives everything on
    for _, case in ipairs(wrong) do tried[case[1]] = true end
    scripts(tree)
    for _, word in ipairs(request { path = "/words" }.body) do
      local of_lua = word:match("^(%l+)[.%d]") or word
      local lua = { coroutine = 1, math = 1, string = 1, table = 1, utf = 1, assert = 1, error = 1,
        ipairs = 1, next = 1, pairs = 1, pcall = 1, xpcall = 1, select = 1, tonumber = 1, tostring = 1, type = 1,
        rawequal = 1, rawget = 1, rawlen = 1, setmetatable = 1 }
      assert.truthy(tried[word] or lua[of_lua], word)
    end
  end)
end)
