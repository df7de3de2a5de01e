-- SPDX-License-Identifier: MIT
-- The error value on its way, and code that goes where it should not.
local function tree(body)
  return {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} }, breakers = { guard = { timeout_ms = 1000 } } }]],
    ["routes/t/a.lua"] = [[return {
      event "Late" { service = "a", key = { item = "name" }, fields = { text "name" } },
      resource "items" { service = "a", fields = { text "name" { unique = true }, integer "n" } } }]],
    ["routes/t/go.lua"] = [[
local guard = breaker "guard"
return route "go" { service = "a", method = "GET", path = "/go", handle = function(request)
  local used = { guard, request }
]] .. body .. [[

  if not used then return end
end }]],
  }
end

local function go(body)
  scripts(tree(body))
  return request { path = "/go" }
end

describe("PATH-5g2 the error value", function()
  it("has code, message, status, retryable and origin", function()
    assert.same({ "failed", "no", 403, false, "scripts/routes/t/go.lua:4" }, go([[
      local _, err = try(fail, 403, "no")
      if true then return { err.code, err.message, err.status, err.retryable, err.origin } end]]).body)
  end)

  it("raised again it stays what it was", function()
    local answer = go [[
      local ok, err = pcall(fail, 403, "no")
      if not ok then error(err) end]]
    assert.same({ 403, "failed", "no" }, { answer.status, answer.body.code, answer.body.message })
    assert.same({ 403, "no" }, { go([[ assert(try(fail, 403, "no")) ]]).status, "no" })
  end)

  it("of any type is 500 and never breaks the answer", function()
    for raised, message in pairs {
      ["{}"] = "(a table was raised as an error)", ["nil"] = "(a nil was raised as an error)",
      ["42"] = "42", ["true"] = "(a boolean was raised as an error)", ["'text', 0"] = "text",
      ["setmetatable({}, { __tostring = function() error('inside') end })"] = "(a table was raised as an error)",
    } do
      local answer = go("error(" .. raised .. ")")
      assert.same({ 500, "script", message }, { answer.status, answer.body.code, answer.body.message })
    end
  end)

  it("with a status outside of 400 to 599 is 500", function()
    local answer = go [[
      local _, err = try(fail, 403, "no")
      err.status = 200
      error(err)]]
    assert.equal(500, answer.status)
  end)

  it("xpcall works over a wait; its handler runs when what failed was left, and may wait", function()
    assert.same({ false, "handled no", false }, go([[
      local ok, said = xpcall(function()
        task.sleep("1s")
        fail(403, "no")
      end, function(err) return "handled " .. err.message end)
      local _, inner = xpcall(error, function() return select(2, pcall(store.get, "items", 1)) end)
      if true then return { ok, said, tostring(inner):find("may have to wait", 1, true) ~= nil } end]]).body)
  end)

  it("an error without end of its own is 500, the next request is fine", function()
    scripts(tree [[
      local function deep(n) return 1 + deep(n + 1) end
      if request.query.deep then deep(1) end]])
    assert.equal(500, request { path = "/go?deep=1" }.status)
    assert.equal(200, request { path = "/go" }.status)
  end)

  it("texts with control bytes and quotes come out as JSON", function()
    local answer = go [[ fail(400, 'a "b"\n\1\xff') ]]
    assert.equal(400, answer.status)
    assert.matches('a "b"\n\1', answer.body.message)
  end)
end)

describe("PATH-5b coroutines that are shared", function()
  it("one that waits for the host cannot be resumed from a sibling", function()
    assert.matches("resumed from elsewhere", go([[
      local co = coroutine.create(function() task.sleep("1s"); return "slept" end)
      local first, second = task.all(
        function() return tostring(select(2, coroutine.resume(co))) end,
        function() return tostring(select(2, coroutine.resume(co))) end)
      if true then return first .. " / " .. second end]]).text)
  end)

  it("one that waits may be closed by a sibling; who waited gets an error", function()
    local answer = go [[
      local co = coroutine.create(function() store.create("items", { name = "x" }); task.sleep("1s") end)
      local first, second = task.all(
        function() return tostring(select(2, coroutine.resume(co))) end,
        function() return tostring(coroutine.close(co)) end)
      if true then return first .. " / " .. second end]]
    assert.equal(200, answer.status)
    assert.equal("cannot resume dead coroutine / true", answer.text)
  end)

  it("a task that ends while one of its coroutines waits in a cancelled child", function()
    assert.equal("won", go([[
      local co = coroutine.wrap(function() task.sleep("1h") end)
      if true then return task.race(function() co() end, function() task.sleep("1s"); return "won" end) end]]).text)
  end)

  it("the deadline reaches through coroutines", function()
    assert.equal(504, go([[
      coroutine.wrap(function() coroutine.wrap(function() task.sleep("1h") end)() end)()]]).status)
  end)

  it("a breaker call inside of one", function()
    assert.equal("timeout", go([[
      local co = coroutine.wrap(function()
        coroutine.yield(guard:call(function() task.sleep("1h") end, function(err) return err.code end))
      end)
      if true then return co() end]]).text)
  end)
end)

describe("PATH-4g timers within a unit of work", function()
  it("one made and cancelled in the same unit never fires", function()
    go [[
      local id = bus.emit_in("1s", "Late", { name = "x" })
      bus.cancel(id)]]
    clock.advance("1h")
    assert.same({}, events())
  end)

  it("a cancellation that is dropped has not happened", function()
    go [[
      local id = bus.emit_in("1s", "Late", { name = "x" })
      pcall(unit, function() bus.cancel(id); error("dropped") end)]]
    clock.advance("1h")
    assert.equal(1, #events())
  end)

  it("many at one moment fire in the order of their making, each once", function()
    go [[ for i = 1, 600 do bus.emit_in("1s", "Late", { name = "n" .. i }) end ]]
    clock.advance("1s")
    local log = events()
    assert.equal(600, #log)
    for i, event in ipairs(log) do assert.equal("n" .. i, event.payload.name) end
  end)

  it("earlier ones come before later ones, whatever the order of their making", function()
    go [[
      for _, n in ipairs { 5, 1, 4, 2, 3 } do bus.emit_in(n * 1000, "Late", { name = "n" .. n }) end]]
    clock.advance("1m")
    local order = {}
    for i, event in ipairs(events()) do order[i] = event.payload.name end
    assert.same({ "n1", "n2", "n3", "n4", "n5" }, order)
  end)
end)

describe("PATH-5j values of routes", function()
  it("rows, lists of rows and nested ones become JSON", function()
    assert.equal('{"all":[{"id":1,"name":"x","n":null}],"none":[],"one":{"id":1,"name":"x","n":null}}', go([[
      local row = store.create("items", { name = "x" })
      if true then return { one = row, all = store.find("items"), none = store.find("items", { n = 1 }) } end]]).text)
  end)

  it("what JSON cannot hold is a script error", function()
    assert.matches("JSON cannot hold a function", go([[ if true then return { go = pairs } end ]]).body.message)
    assert.matches("JSON has no spelling", go([[ if true then return { 0/0 } end ]]).body.message)
  end)

  it("an answer that is refused leaves nothing stored", function()
    assert.equal(500, go([[
      store.create("items", { name = "x" })
      if true then return { go = pairs } end]]).status)
    assert.same({}, rows("a", "items"))
  end)
end)
