-- SPDX-License-Identifier: MIT
-- A refused unit of work is run again from its start, wherever in it the refused word stood.
local declared = [[
return {
  event "Asked" { service = "a", key = { counter = "id" }, fields = { integer "id", integer "n" } },
  resource "counters" { service = "a", fields = { integer "n" { default = 0 }, text "name" { unique = true } } },
  resource "marks" { service = "a", fields = { integer "n", text "name" } },
}
]]

local function tree(body, others)
  local made = {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} },
      breakers = { guard = { timeout_ms = 20000, limit = 50 } } }]],
    ["routes/t/a.lua"] = declared,
    ["routes/t/go.lua"] = [[
local guard = breaker "guard"
local function increase(id)
  local counter = store.get("counters", id)
  task.sleep("100ms")
  store.update("counters", id, { n = counter.n + 1 })
end
return {
  route "go" { service = "a", method = "GET", path = "/go", handle = function(request)
    local used = { guard, increase, request }
]] .. body .. [[

    if not used then return end
  end },
  route "sibling" { service = "a", method = "GET", path = "/sibling", handle = function() increase(1) end },
  route "ask" { service = "a", method = "GET", path = "/ask", handle = function()
    for i = 1, 5 do bus.emit("Asked", { id = i, n = i }) end
  end },
}]],
  }
  for name, text in pairs(others or {}) do made[name] = text end
  return made
end

-- Ten at once, none may be lost.
local function ten(body)
  scripts(tree(body))
  request { path = "/counters", body = { name = "x" } }
  local waiting = {}
  for i = 1, 10 do waiting[i] = start { path = "/go" } end
  clock.advance("25s")
  for i = 1, 10 do assert.equal(200, waiting[i].status, waiting[i].text) end
  assert.equal(10, row("a", "counters", 1).n)
  assert.equal(0, breaker("guard").in_flight)
end

describe("PATH-3f running again from inside of", function()
  it("a breaker's body", function() ten [[ guard:call(function() increase(1) end) ]] end)

  it("a breaker's fallback", function()
    ten [[ guard:call(function() fail(500) end, function() increase(1) end) ]]
  end)

  it("a unit", function() ten [[ unit(function() unit(function() increase(1) end) end) ]] end)

  it("a joined call", function() ten [[ http.get("http://a/sibling") ]] end)

  it("a joined call in a breaker's body in a unit", function()
    ten [[ unit(function() guard:call(function() http.get("http://a/sibling") end) end) ]]
  end)

  it("a child of all", function()
    ten [[ task.all(function() increase(1) end, function() task.sleep("50ms") end) ]]
  end)

  it("the winner of a race", function()
    ten [[ task.race(function() increase(1) end, function() task.sleep("30m") end) ]]
  end)

  it("a coroutine of the script's own", function()
    ten [[ coroutine.wrap(function() coroutine.wrap(function() increase(1) end)() end)() ]]
  end)

  it("pcall, which does not notice", function()
    ten [[
      local ok, err = pcall(increase, 1)
      if not ok then error(err) end]]
  end)

  it("a task with a <close> variable, which is closed each time", function()
    ten [[ local mark <close> = setmetatable({}, { __close = function() end })
      increase(mark and 1) ]]
  end)

  it("a policy", function()
    scripts(tree("", { ["policies/t/p.lua"] = [[
      return policy "p" { service = "a", on = "Asked", handle = function(event)
        local counter = store.get("counters", 1)
        task.sleep("100ms")
        store.update("counters", 1, { n = counter.n + event.n })
        store.create("marks", { n = event.n })
      end }]] }))
    request { path = "/counters", body = { name = "x" } }
    request { path = "/ask" }
    clock.advance("10s")
    assert.equal(15, row("a", "counters", 1).n)
    assert.equal(5, #rows("a", "marks"))
    assert.same({}, letters())
  end)
end)

describe("PATH-3e verdicts in policies", function()
  it("an unhandled exists is a failure that is tried again and ends as a letter", function()
    scripts(tree("", { ["policies/t/p.lua"] = [[
      return policy "p" { service = "a", on = "Asked", handle = function(event)
        if event.n == 1 then store.create("counters", { name = "x" }) end
      end }]] }))
    request { path = "/counters", body = { name = "x" } }
    request { path = "/ask" }
    clock.advance("1m")
    assert.same({}, letters())
    clock.advance("10m")
    assert.same({ 10, "exists", "counter/1" }, { letters()[1].tries, letters()[1].code, letters()[1].key })
    assert.equal(1, #rows("a", "counters"))
  end)

  it("what is in the way may go before the next try", function()
    scripts(tree([[ store.delete("counters", 1) ]], { ["policies/t/p.lua"] = [[
      return policy "p" { service = "a", on = "Asked", handle = function(event)
        if event.n == 1 then store.create("counters", { name = "x" }) end
      end }]] }))
    request { path = "/counters", body = { name = "x" } }
    request { path = "/ask" }
    clock.advance("5s")
    request { path = "/go" }
    clock.advance("1m")
    assert.same({}, letters())
    assert.equal("x", rows("a", "counters")[1].name)
  end)
end)

describe("PATH-3e unique values that move within one unit", function()
  local function go(body)
    scripts(tree(body))
    request { path = "/counters", body = { name = "x", n = 1 } }
    request { path = "/counters", body = { name = "y", n = 2 } }
    return request { path = "/go" }
  end

  local function names()
    local found = {}
    for i, counter in ipairs(rows("a", "counters")) do found[i] = counter.name or "-" end
    return found
  end

  it("an update into a taken value is refused", function()
    assert.equal(409, go([[ store.update("counters", 1, { name = "y" }) ]]).status)
    assert.same({ "x", "y" }, names())
  end)

  it("an update to the same value is none", function()
    assert.equal(200, go([[ store.update("counters", 1, { name = "x", n = 7 }) ]]).status)
    assert.equal(7, row("a", "counters", 1).n)
  end)

  it("a value that was deleted before may be taken", function()
    assert.equal(200, go([[
      store.delete("counters", 1)
      store.create("counters", { name = "x" })]]).status)
    assert.same({ "y", "x" }, names())
  end)

  it("a value that was given up before may be taken", function()
    assert.equal(200, go([[
      store.update("counters", 1, { name = "z" })
      store.update("counters", 2, { name = "x" })]]).status)
    assert.same({ "z", "x" }, names())
  end)

  it("try takes the other branch for an update too", function()
    assert.same({ true, "exists" }, go([[
      local made, err = try(store.update, "counters", 1, { name = "y" })
      if not made then store.update("counters", 1, { name = "y again" }) end
      if true then return { made == nil, err and err.code } end]]).body)
    assert.same({ "y again", "y" }, names())
  end)
end)

describe("PATH-3c what a task sees of its own changes", function()
  it("conditions, order, limit and count follow them", function()
    scripts(tree [[
      local function names(where, options)
        local found = json.array()
        for i, counter in ipairs(store.find("counters", where, options)) do found[i] = counter.name end
        return found
      end
      store.update("counters", 2, { n = 9 })
      store.delete("counters", 3)
      store.create("counters", { name = "new", n = 1 })
      store.update("counters", 4, { n = 1 })
      store.add("counters", 5, { n = 2 })
      if true then return {
        one = names { n = 1 }, nine = names { n = 9 }, two = names { n = 2 },
        order = names(nil, { order = "n" }), down = names(nil, { order = "-n", limit = 2 }),
        page = names(nil, { limit = 2, offset = 2 }), count = store.count("counters", { n = 1 }),
        gone = store.get("counters", 3) == nil, added = store.get("counters", 5).n, five = names { n = 5 },
      } end]])
    for i = 1, 5 do request { path = "/counters", body = { name = "c" .. i, n = i } } end
    assert.same({ one = { "c1", "c4", "new" }, nine = { "c2" }, two = {}, five = {}, added = 7,
      order = { "c1", "c4", "new", "c5", "c2" }, down = { "c2", "c5" }, page = { "c4", "c5" }, count = 3, gone = true },
      request { path = "/go" }.body)
  end)

  it("each may change and delete what it visits", function()
    scripts(tree [[
      store.each("counters", function(counter)
        if counter.n % 2 == 0 then store.delete("counters", counter)
        else store.update("counters", counter, { n = counter.n * 10 }) end
      end)]])
    for i = 1, 6 do request { path = "/counters", body = { name = "c" .. i, n = i } } end
    assert.equal(200, request { path = "/go" }.status)
    local found = {}
    for i, counter in ipairs(rows("a", "counters")) do found[i] = counter.n end
    assert.same({ 10, 30, 50 }, found)
  end)
end)

describe("PATH-3e the refused one of several is the one that raises", function()
  it("of two creates alike in one unit it is the second", function()
    scripts(tree [[
      local first, no = try(store.create, "counters", { name = "twin" })
      local _, err = try(store.create, "counters", { name = "twin" })
      local third = store.create("counters", { name = "other" })
      do return { first = first ~= nil and not no, err = err and err.code, third = third.name } end]])
    assert.same({ first = true, err = "exists", third = "other" }, request { path = "/go" }.body)
    assert.equal(2, #rows("a", "counters"))
  end)

  it("of three, with an update between, the second and the third", function()
    scripts(tree [[
      local row = store.create("counters", { name = "twin" })
      store.update("counters", row, { n = 7 })
      local _, second = try(store.create, "counters", { name = "twin" })
      local _, third = try(store.create, "counters", { name = "twin" })
      do return { second and second.code, third and third.code } end]])
    assert.same({ "exists", "exists" }, request { path = "/go" }.body)
    assert.equal(7, rows("a", "counters")[1].n)
  end)

  it("of a row that is there already it is the first", function()
    scripts(tree [[
      local _, first = try(store.create, "counters", { name = "x" })
      local _, second = try(store.create, "counters", { name = "x" })
      do return { first and first.code, second and second.code } end]])
    request { path = "/counters", body = { name = "x" } }
    assert.same({ "exists", "exists" }, request { path = "/go" }.body)
  end)
end)
