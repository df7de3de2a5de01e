-- SPDX-License-Identifier: MIT
-- Breakers, groups, scopes, pictures and calls inside of each other, and what becomes of them when one of them ends.
local declared = [[
return {
  event "Made" { service = "a", key = { item = "name" }, fields = { text "name" } },
  resource "items" { service = "a", fields = { text "name" { unique = true }, integer "n" } },
  resource "notes" { service = "b", fields = { text "name" { required = true } },
    on_create = function(note)
      if note.name == "slow" then task.sleep("3s") end
    end },
}
]]

local function go(body, others)
  local tree = {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} }, breakers = {
      outer = { timeout_ms = 2000 }, inner = { timeout_ms = 1000 }, long = { timeout_ms = 60000 } } }]],
    ["routes/t/a.lua"] = declared,
    ["routes/t/go.lua"] = [[
local outer, inner, long = breaker "outer", breaker "inner", breaker "long"
return route "go" { service = "a", method = "GET", path = "/go", handle = function(request)
  local used = { outer, inner, long, request }
]] .. body .. "\nif not used then return end\nend }",
  }
  for name, text in pairs(others or {}) do tree[name] = text end
  scripts(tree)
  return request { path = "/go" }
end

local function kept()
  local names = {}
  for i, item in ipairs(rows("a", "items")) do names[i] = item.name end
  table.sort(names)
  return names
end

describe("PATH-5i breakers inside of breakers", function()
  it("the inner one times out, the outer one goes on and succeeds", function()
    local answer = go [[
      if true then return outer:call(function()
        store.create("items", { name = "outer" })
        local inside = inner:call(function()
          store.create("items", { name = "inner" })
          task.sleep("10s")
        end, function(err) return err.code end)
        return { inside, clock.now() }
      end) end]]
    assert.equal("timeout", answer.body[1])
    assert.same({ "outer" }, kept())
    assert.same({ 1, 1 }, { breaker("inner").timeout, breaker("outer").success })
  end)

  it("the outer one times out: the inner one is cancelled, which says nothing about its callee", function()
    local answer = go [[
      if true then return outer:call(function()
        return long:call(function()
          store.create("items", { name = "deep" })
          task.sleep("10s")
        end)
      end, function(err) return err.code end) end]]
    assert.equal("timeout", answer.text)
    assert.same({}, kept())
    assert.same({ 1, 1, 0, 0 }, { breaker("long").ignored, breaker("outer").timeout, breaker("long").in_flight,
      breaker("outer").in_flight })
  end)

  it("an error of the inner one goes through both and counts for both", function()
    assert.equal(500, go([[ outer:call(function() inner:call(function() error("deep") end) end) ]]).status)
    assert.same({ 1, 1 }, { breaker("inner").failure, breaker("outer").failure })
  end)

  it("a fallback may wait, change rows, and fail itself", function()
    local answer = go [[
      local value = inner:call(function() task.sleep("5s") end, function(err)
        task.sleep("1s")
        store.create("items", { name = "instead of " .. err.code })
        return outer:call(function() return "second" end)
      end)
      local _, err = try(function()
        inner:call(function() error("first") end, function() fail(418, "fallback") end)
      end)
      if true then return { value, err.status } end]]
    assert.same({ "second", 418 }, answer.body)
    assert.same({ "instead of timeout" }, kept())
  end)

  it("several values come back, none too", function()
    assert.same({ 3, "a", 0 }, go([[
      local function count(...) return select("#", ...), (...) end
      local n, first = count(outer:call(function() return "a", nil, "c" end))
      local none = count(outer:call(function() end))
      if true then return { n, first, none } end]]).body)
  end)

  it("a body that is busy beyond its time without waiting counts as a timeout", function()
    local answer = go [[
      local code = outer:call(function()
        long:call(function() task.sleep("1900ms") end)
        task.sleep("99ms")
        return "in time"
      end)
      if true then return code end]]
    assert.equal("in time", answer.text)
  end)
end)

describe("PATH-5g2 groups inside of others", function()
  it("a breaker's timeout cancels all that run in its body", function()
    local answer = go [[
      local closed = 0
      local function sleeper(name)
        return function()
          local mark <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
          store.create("items", { name = name })
          task.sleep("20s")
          return mark
        end
      end
      local code = outer:call(function() task.all(sleeper "x", sleeper "y", function()
        task.race(sleeper "z", sleeper "w")
      end) end, function(err) return err.code end)
      if true then return { code, closed } end]]
    assert.same({ "timeout", 4 }, answer.body)
    assert.same({}, kept())
  end)

  it("the deadline ends a whole tree of them", function()
    local answer = go [[
      task.all(
        function() task.sleep("1h") end,
        function() long:call(function() task.all(function() task.sleep("2h") end) end) end)]]
    assert.equal(504, answer.status)
    assert.equal(0, breaker("long").in_flight)
  end)

  it("each child has a scope of its own: what one rolls back is not its sibling's", function()
    local answer = go [[
      task.all(
        function()
          store.create("items", { name = "a" })
          try(unit, function() store.create("items", { name = "a dropped" }); task.sleep("1s"); error("x") end)
        end,
        function()
          unit(function() store.create("items", { name = "b" }); task.sleep("2s") end)
        end,
        function() http.post("http://b/notes", { name = "slow" }) end)
      if true then return #store.find("items") end]]
    assert.equal("2", answer.text)
    assert.same({ "a", "b" }, kept())
    assert.equal(1, #rows("b", "notes"))
  end)

  it("children see what the task did before, and not each other's work", function()
    assert.same({ 2, 2, 3 }, go([[
      store.create("items", { name = "before" })
      local function one(name)
        return function()
          store.create("items", { name = name })
          task.sleep("1s")
          return store.count("items")
        end
      end
      local a, b = task.all(one "a", one "b")
      if true then return { a, b, store.count("items") } end]]).body)
  end)

  it("both may change one row: the later end wins, nothing is refused", function()
    local answer = go [[
      local item = store.create("items", { name = "x", n = 0 })
      task.all(
        function() task.sleep("2s"); store.update("items", item.id, { n = 2 }) end,
        function() task.sleep("1s"); store.update("items", item.id, { n = 1 }) end)
      if true then return { store.get("items", item.id).n } end]]
    assert.equal(200, answer.status)
    assert.equal(1, #kept())
  end)

  it("a hundred children are the most", function()
    assert.same({ 100, true }, go([[
      local list = {}
      for i = 1, 100 do list[i] = function() task.sleep("1s"); return i end end
      local found = { task.all(list) }
      list[101] = list[1]
      local ok = pcall(task.all, list)
      if true then return { #found, not ok } end]]).body)
  end)
end)

describe("PATH-5e scopes and calls", function()
  it("a callee that times out inside a breaker leaves nothing, the caller goes on", function()
    local answer = go [[
      local code = inner:call(function() http.post("http://b/notes", { name = "slow" }) end,
        function(err) return err.code end)
      store.create("items", { name = code })
      if true then return code end]]
    assert.equal("timeout", answer.text)
    assert.same({}, rows("b", "notes"))
    assert.same({ "timeout" }, kept())
  end)

  it("after a failed call the words are the caller's service again", function()
    assert.equal(200, go([[
      try(http.post, "http://b/notes", {})
      store.create("items", { name = "own" })
      try(function() inner:call(function() http.post("http://b/notes", { name = "slow" }) end) end)
      store.create("items", { name = "own too" })]]).status)
    assert.same({ "own", "own too" }, kept())
  end)

  it("a joined call in a coroutine of the script's own", function()
    local answer = go [[
      local made = coroutine.wrap(function()
        coroutine.yield(http.post("http://b/notes", { name = "slow" }).body.name)
        coroutine.yield(unit(function() return store.create("items", { name = "in unit" }).name end))
      end)
      local a, b = made(), made()
      if true then return { a, b } end]]
    assert.same({ "slow", "in unit" }, answer.body)
  end)
end)

describe("PATH-3l pictures and what ends them", function()
  it("a breaker's timeout inside of one; one inside of a breaker's timeout", function()
    local answer = go [[
      store.create("items", { name = "x" })
      local a = store.snapshot(function()
        return inner:call(function() task.sleep("5s") end, function(err) return err.code .. store.count("items") end)
      end)
      local b = inner:call(function()
        return store.snapshot(function() task.sleep("5s") end)
      end, function(err) return err.code end)
      local c = store.snapshot(function() return store.count("items") end)
      if true then return { a, b, c } end]]
    assert.same({ "timeout1", "timeout", 1 }, answer.body)
  end)

  it("children of a picture look at it too", function()
    assert.same({ 0, 0 }, go([[
      local a, b = store.snapshot(function()
        return task.all(
          function() task.sleep("1s"); return store.count("items") end,
          function() return store.snapshot and store.count("items") end)
      end)
      if true then return { a, b } end]]).body)
  end)
end)

describe("PATH-4e deliveries that do not end", function()
  it("a policy over its deadline has failed and is tried again", function()
    go([[ bus.emit("Made", { name = "x" }) ]], { ["policies/t/p.lua"] = [[
      return policy "p" { service = "a", on = "Made", handle = function(event, meta)
        store.create("items", { name = "try " .. meta.try })
        if meta.try == 1 then task.sleep("1h") end
      end }]] })
    clock.advance("29s")
    assert.same({}, kept())
    clock.advance("5s")
    assert.same({ "try 2" }, kept())
    assert.same({}, letters())
  end)

  it("a restart in the middle of one loses and repeats nothing", function()
    go([[ bus.emit("Made", { name = "x" }) ]], { ["policies/t/p.lua"] = [[
      return policy "p" { service = "a", on = "Made", handle = function(event)
        store.create("items", { name = "before" })
        task.sleep("10s")
        bus.emit_in("1s", "Made", { name = "again" })
        if event.name == "again" then fail(400, "enough") end
      end }]] })
    clock.advance("5s")
    restart()
    clock.advance("5s")
    assert.same({}, kept())
    clock.advance("6s")
    assert.same({ "before" }, kept())
    clock.advance("1h")
    assert.same({ "before" }, kept())
    assert.equal(1, #letters())
    assert.equal(2, #events())
  end)

  it("a restart gives requests that still run 503", function()
    go [[]]
    scripts { ["systems/t.lua"] = [[return { services = { a = {} } }]],
      ["routes/t/nap.lua"] = [[return route "nap" { service = "a", method = "GET", path = "/nap", handle = function()
        task.sleep("20s")
      end }]] }
    local nap = start { path = "/nap" }
    clock.advance("1s")
    restart()
    assert.equal(503, nap.status)
    assert.equal("cancelled", nap.body.code)
  end)
end)
