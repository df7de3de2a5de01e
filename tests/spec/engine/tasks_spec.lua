-- SPDX-License-Identifier: MIT
-- Requests as coroutines: what waits, what is undone, what ends a task.
local system = [[return { services = { a = {}, b = {} }, breakers = { guard = { timeout_ms = 1000, limit = 2,
  volume = 4, error_percent = 50, sleep_ms = 5000 } } }]]

local items = [[
return {
  event "Made" { service = "a", key = { item = "name" }, fields = { text "name" } },
  event "Noted" { service = "b", key = { item = "name" }, fields = { text "name" } },
  resource "items" { service = "a", fields = { text "name" } },
  resource "notes" { service = "b", fields = { text "name" { required = true } },
    on_create = function(note) bus.emit("Noted", { name = note.name }) end },
}
]]

-- A tree with the routes given by name: GET /NAME of service a.
local function routes(list)
  local tree = { ["systems/t.lua"] = system, ["routes/t/items.lua"] = items }
  for name, body in pairs(list) do
    tree["routes/t/" .. name .. ".lua"] = ('return route "%s" { service = "a", method = "GET", path = "/%s", ' ..
      "handle = function(request, context)\n%s\nend }"):format(name, name, body)
  end
  return tree
end

local function names(list)
  local found = {}
  for i, entry in ipairs(list) do found[i] = entry.name or entry.payload.name end
  return found
end

describe("PATH-5a a coroutine per request", function()
  scripts(routes {
    nap = [[
      local mine = request.query.n
      task.sleep("5s")
      return { n = mine, at = clock.now() }]],
  })

  it("a hundred sleepers sleep at the same time and keep their own locals", function()
    local before, sleepers = clock.now(), {}
    for i = 1, 100 do sleepers[i] = start { path = "/nap?n=" .. i } end
    clock.advance("4999ms")
    for i = 1, 100 do assert.falsy(sleepers[i]:done()) end
    clock.advance("1ms")
    for i = 1, 100 do
      assert.equal(200, sleepers[i].status)
      assert.equal(tostring(i), sleepers[i].body.n)
      assert.equal(before + 5000, sleepers[i].body.at)
    end
  end)

  it("a request that comes later is answered earlier if it has less to wait for", function()
    local first = start { path = "/nap" }
    clock.advance("1s")
    local made = request { path = "/items", body = { name = "x" } }
    assert.equal(201, made.status)
    assert.falsy(first:done())
  end)
end)

describe("PATH-5c deadlines", function()
  scripts(routes {
    long = [[
      store.create("items", { name = "half done" })
      bus.emit("Made", { name = "half done" })
      task.sleep("40s")
      return "late"]],
    short = [[
      store.create("items", { name = "whole" })
      task.sleep("29s")
      return "in time"]],
    stubborn = [[
      for _ = 1, 3 do pcall(task.sleep, "20s") end
      store.create("items", { name = "after its time" })
      return "never"]],
  })

  it("a request over 30 s is answered 504 at its deadline and stores nothing", function()
    local long = start { path = "/long" }
    clock.advance("29999ms")
    assert.falsy(long:done())
    clock.advance("1ms")
    assert.equal(504, long.status)
    assert.equal("timeout", long.body.code)
    clock.advance("1h")
    assert.same({}, rows("a", "items"))
    assert.same({}, events())
  end)

  it("a request under 30 s is answered as usual", function()
    assert.equal("in time", request { path = "/short" }.text)
    assert.equal(1, #rows("a", "items"))
  end)

  it("pcall does not outlive the deadline", function()
    local stubborn = request { path = "/stubborn" }
    assert.equal(504, stubborn.status)
    clock.advance("1h")
    assert.same({}, rows("a", "items"))
  end)
end)

describe("PATH-5d cancellation closes", function()
  it("<close> variables of a breaker body run when it times out, innermost first, before the fallback", function()
    local tree = routes {}
    tree["routes/t/close.lua"] = [[
      local guard = breaker "guard"
      return route "close" { service = "a", method = "GET", path = "/close", handle = function()
        local order = {}
        local function closing(name)
          return setmetatable({}, { __close = function() order[#order + 1] = name end })
        end
        guard:call(function()
          local outer <close> = closing "outer"
          local inner <close> = closing "inner"
          task.sleep("10s")
          order[#order + 1] = outer and inner and "never"
        end, function(err)
          order[#order + 1] = err.code
        end)
        return order
      end }]]
    scripts(tree)
    assert.same({ "inner", "outer", "timeout" }, request { path = "/close" }.body)
  end)

  it("<close> variables run when the deadline ends the request", function()
    local tree = routes {}
    tree["routes/t/close.lua"] = [[
      return route "wait" { service = "a", method = "GET", path = "/wait", handle = function()
        local guard <close> = setmetatable({}, { __close = function() log.info("closed") end })
        task.sleep("1h")
        return guard
      end }]]
    scripts(tree)
    assert.equal(504, request { path = "/wait" }.status)
    assert.same({ "closed" }, logs())
  end)

  it("a <close> variable cannot wait, and says so", function()
    local tree = routes {}
    tree["routes/t/close.lua"] = [[
      local guard = breaker "guard"
      return route "close" { service = "a", method = "GET", path = "/close", handle = function()
        local said
        guard:call(function()
          local closer <close> = setmetatable({}, { __close = function()
            local _, err = try(task.sleep, "1s")
            said = err.message
          end })
          task.sleep("10s")
          return closer
        end, function() end)
        return said
      end }]]
    scripts(tree)
    assert.matches("task.sleep may have to wait and cannot be used here", request { path = "/close" }.text)
  end)
end)

describe("PATH-5e nested scopes", function()
  local function look()
    clock.advance("1m")
    return names(rows("a", "items")), names(events())
  end

  it("an error inside unit() drops only what was done in it: rows, events, timers", function()
    scripts(routes { go = [[
      store.create("items", { name = "before" })
      bus.emit("Made", { name = "before" })
      local _, err = try(unit, function()
        store.create("items", { name = "inside" })
        store.update("items", 1, { name = "changed inside" })
        bus.emit("Made", { name = "inside" })
        bus.emit_in("10s", "Made", { name = "timer inside" })
        fail(422, "no")
      end)
      bus.emit_in("10s", "Made", { name = "timer after" })
      store.create("items", { name = "after" })
      return { code = err.code, status = err.status, message = err.message }]] })
    assert.same({ code = "failed", status = 422, message = "no" }, request { path = "/go" }.body)
    local kept, log = look()
    assert.same({ "before", "after" }, kept)
    assert.same({ "before", "timer after" }, log)
  end)

  it("unit() that ends well keeps everything and returns its values", function()
    scripts(routes { go = [[
      local a, b = unit(function(x)
        local made = store.create("items", { name = "inside" })
        return made.name .. x, 2
      end, "!")
      return { a, b }]] })
    assert.same({ "inside!", 2 }, request { path = "/go" }.body)
    assert.same({ "inside" }, look())
  end)

  it("an error in a breaker body drops only what the body did", function()
    local tree = routes {}
    tree["routes/t/go.lua"] = [[
      local guard = breaker "guard"
      return route "go" { service = "a", method = "GET", path = "/go", handle = function()
        store.create("items", { name = "before" })
        guard:call(function()
          store.create("items", { name = "inside" })
          bus.emit("Made", { name = "inside" })
          unit(function() store.create("items", { name = "deeper" }) end)
          error("broken")
        end, function() store.create("items", { name = "fallback" }) end)
        return #store.find("items")
      end }]]
    scripts(tree)
    assert.equal("2", request { path = "/go" }.text)
    local kept, log = look()
    assert.same({ "before", "fallback" }, kept)
    assert.same({}, log)
  end)

  it("an error of a joined call drops only what the callee did", function()
    scripts(routes { go = [[
      store.create("items", { name = "before" })
      local _, err = try(http.post, "http://b/notes", {})
      http.post("http://b/notes", { name = "noted" })
      return { code = err.code, status = err.status }]] })
    assert.same({ code = "http", status = 400 }, request { path = "/go" }.body)
    local kept, log = look()
    assert.same({ "before" }, kept)
    assert.same({ "noted" }, log)
    assert.same({ "noted" }, names(rows("b", "notes")))
  end)

  it("pcall alone undoes nothing", function()
    scripts(routes { go = [[
      pcall(function()
        store.create("items", { name = "inside" })
        error("broken")
      end)
      return "done"]] })
    assert.equal("done", request { path = "/go" }.text)
    assert.same({ "inside" }, look())
  end)

  it("an uncaught error drops everything", function()
    scripts(routes { go = [[
      unit(function() store.create("items", { name = "inside" }) end)
      bus.emit("Made", { name = "lost" })
      bus.emit_in("1s", "Made", { name = "lost" })
      error("broken")]] })
    local answer = request { path = "/go" }
    assert.equal(500, answer.status)
    assert.equal("script", answer.body.code)
    local kept, log = look()
    assert.same({}, kept)
    assert.same({}, log)
  end)
end)

describe("PATH-5f joined calls of siblings", function()
  it("the callee's event comes before the caller's, both in one commit", function()
    scripts(routes { go = [[
      http.post("http://b/notes", { name = "callee" })
      bus.emit("Made", { name = "caller" })
      return "ok"]] })
    assert.equal("ok", request { path = "/go" }.text)
    assert.same({ "callee", "caller" }, names(events()))
  end)

  it("the caller gets status, body and headers, and may read what it just made", function()
    scripts(routes { go = [[
      local made = http.post("http://b/notes", { name = "x" })
      local read = http.get(made.headers.Location)
      local all = http.get("http://b/notes")
      return { made.status, made.body.name, read.status, read.body.name, #all.body._embedded.notes }]] })
    assert.same({ 201, "x", 200, "x", 1 }, request { path = "/go" }.body)
  end)

  it("an error of the callee raises with code http and its status", function()
    scripts(routes { go = [[
      local found = {}
      local calls = {
        { "post", "http://b/notes", {} }, { "get", "http://b/notes/99" }, { "get", "http://b/nothing" },
        { "delete", "http://b/notes" },
      }
      for i, call in ipairs(calls) do
        local _, err = try(http[call[1] ], call[2], call[3])
        found[i] = err.code .. " " .. err.status
      end
      return found]] })
    assert.same({ "http 400", "http 404", "http 404", "http 405" }, request { path = "/go" }.body)
  end)

  it("uncaught, the callee's error is 502 to the client", function()
    scripts(routes { go = [[ http.post("http://b/notes", {}) ]] })
    local answer = request { path = "/go" }
    assert.equal(502, answer.status)
    assert.equal("http", answer.body.code)
  end)

  it("calls nest 8 deep and not deeper", function()
    local tree = routes {}
    tree["routes/t/deep.lua"] = [[
      return route "deep" { service = "a", method = "GET", path = "/deep/{left}", handle = function(request)
        local left = tonumber(request.params.left)
        if left == 0 then return { depth = 0 } end
        return { depth = http.get("http://a/deep/" .. left - 1).body.depth + 1 }
      end }]]
    scripts(tree)
    assert.equal(8, request { path = "/deep/8" }.body.depth)
    local answer = request { path = "/deep/9" }
    assert.equal(502, answer.status)
    assert.matches("nested more than 8 deep", answer.body.message)
  end)

  it("a task makes at most 100 calls", function()
    scripts(routes { go = [[
      local n = 0
      local _, err = try(function()
        while true do http.get("http://b/notes"); n = n + 1 end
      end)
      return { n = n, code = err.code }]] })
    assert.same({ n = 100, code = "budget" }, request { path = "/go" }.body)
  end)

  it("a callee sees its own tables and not the caller's", function()
    local tree = routes { go = [[ return http.get("http://b/peek").body ]] }
    tree["routes/t/peek.lua"] = [[
      return route "peek" { service = "b", method = "GET", path = "/peek", handle = function()
        local _, err = try(store.find, "items")
        return { message = err.message }
      end }]]
    scripts(tree)
    assert.matches('"items" belongs to service a, not to b', request { path = "/go" }.body.message)
  end)

  it("an unknown service names the nearest", function()
    scripts(routes { go = [[ http.get("http://c/x") ]] })
    local answer = request { path = "/go" }
    assert.equal(500, answer.status)
    assert.matches('there is no service "c"', answer.body.message)
  end)
end)

describe("PATH-5g2 try, fail, sleep, all, race", function()
  it("try gives the values, or nil and the error value", function()
    scripts(routes { go = [[
      local a, b = try(function(x) return x, 2 end, 1)
      local none, err = try(error, "plain")
      local _, status = try(fail, 418, "teapot")
      return { a, b, none == nil, err.code, err.message, status.code, status.status, tostring(status) }]] })
    assert.same({ 1, 2, true, "script", "plain", "failed", 418, "teapot" }, request { path = "/go" }.body)
  end)

  it("fail answers with its status and message and stores nothing", function()
    scripts(routes { go = [[
      store.create("items", { name = "x" })
      fail(409, "sold out")]] })
    local answer = request { path = "/go" }
    assert.equal(409, answer.status)
    assert.equal("failed", answer.body.code)
    assert.equal("sold out", answer.body.message)
    assert.equal("application/problem+json", answer.headers["content-type"])
    assert.same({}, rows("a", "items"))
  end)

  it("fail takes 400 to 599 only", function()
    scripts(routes { go = [[
      local _, err = try(fail, 200, "fine")
      return err.message]] })
    assert.matches("status must be an integer from 400 to 599", request { path = "/go" }.text)
  end)

  it("sleep takes durations and refuses everything else", function()
    scripts(routes { go = [[
      local from, at = clock.now(), {}
      for i, length in ipairs { "610ms", "2s", "1m" } do
        task.sleep(length)
        at[i] = clock.now() - from
      end
      if request.query.wrong then task.sleep("soon") end
      return at]] })
    assert.equal(504, request { path = "/go" }.status)
    scripts(routes { go = [[
      local from, at = clock.now(), {}
      for i, length in ipairs { "610ms", "2s", 5 } do
        task.sleep(length)
        at[i] = clock.now() - from
      end
      local _, err = try(task.sleep, "soon")
      at[4] = err.message
      return at]] })
    local at = request { path = "/go" }.body
    assert.same({ 610, 2610, 2615 }, { at[1], at[2], at[3] })
    assert.matches("expected a duration", at[4])
  end)

  it("all waits for the longest and gives the values in order", function()
    scripts(routes { go = [[
      local from = clock.now()
      local a, b, c = task.all(
        function() task.sleep("3s"); store.create("items", { name = "a" }); return "a" end,
        function() task.sleep("1s"); store.create("items", { name = "b" }); return "b" end,
        function() return "c" end)
      return { a, b, c, clock.now() - from }]] })
    assert.same({ "a", "b", "c", 3000 }, request { path = "/go" }.body)
    assert.equal(2, #rows("a", "items"))
  end)

  it("the first error of all cancels the others; none of them has changed anything", function()
    scripts(routes { go = [[
      local from, slow = clock.now(), false
      local _, err = try(task.all,
        function() store.create("items", { name = "quick" }) end,
        function() store.create("items", { name = "slow" }); task.sleep("10s"); slow = true end,
        function() task.sleep("1s"); fail(400, "third") end)
      task.sleep("20s")
      return { err.message, slow, clock.now() - from, #store.find("items") }]] })
    assert.same({ "third", false, 21000, 0 }, request { path = "/go" }.body)
    assert.same({}, rows("a", "items"))
  end)

  it("race gives the first that succeeds; the others are cancelled and have changed nothing", function()
    scripts(routes { go = [[
      local from = clock.now()
      local winner = task.race(
        function() store.create("items", { name = "slow" }); task.sleep("10s"); return "slow" end,
        function() task.sleep("2s"); store.create("items", { name = "fast" }); return "fast" end,
        function() error("broken") end)
      return { winner, clock.now() - from }]] })
    assert.same({ "fast", 2000 }, request { path = "/go" }.body)
    assert.same({ "fast" }, names(rows("a", "items")))
  end)

  it("race of losers raises the last error", function()
    scripts(routes { go = [[
      local _, err = try(task.race,
        function() fail(400, "first") end,
        function() task.sleep("1s"); fail(400, "second") end)
      return err.message]] })
    assert.equal("second", request { path = "/go" }.text)
  end)

  it("all and race take functions only", function()
    scripts(routes { go = [[
      local _, none = try(task.all)
      local _, text = try(task.race, "x")
      return none.message .. " / " .. text.message]] })
    assert.matches("task.all: expected 1 to 100 functions, got 0 / task.race: argument 1 must be a function",
      request { path = "/go" }.text)
  end)
end)

describe("PATH-5i a first breaker", function()
  local tree = routes {}
  tree["routes/t/go.lua"] = [[
    local guard = breaker "guard"
    return {
      route "go" { service = "a", method = "GET", path = "/go/{what}", handle = function(request)
        return guard:call(function()
          local what = request.params.what
          if what == "slow" then task.sleep("10s") end
          if what == "busy" then task.sleep("500ms") end
          if what == "error" then error("broken") end
          if what == "bad" then fail(404, "not here") end
          return what
        end, function(err)
          return response(503, { code = err.code, message = err.message })
        end)
      end },
      route "bare" { service = "a", method = "GET", path = "/bare/{what}", handle = function(request)
        return guard:call(function()
          if request.params.what == "slow" then task.sleep("10s") end
          error("broken")
        end)
      end },
    }]]
  scripts(tree)

  it("gives the body's values", function()
    assert.equal("fine", request { path = "/go/fine" }.text)
    assert.equal(1, breaker("guard").success)
  end)

  it("a body over the timeout ends at the timeout; the fallback sees why", function()
    local before = clock.now()
    local answer = request { path = "/go/slow" }
    assert.equal("timeout", answer.body.code)
    assert.matches("guard timed-out", answer.body.message)
    assert.equal(1000, clock.now() - before)
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("without a fallback the error goes on: 504, 500, and 503 with Retry-After when open", function()
    assert.equal(504, request { path = "/bare/slow" }.status)
    for _ = 1, 3 do assert.equal(500, request { path = "/bare/error" }.status) end
    local refused = request { path = "/bare/error" }
    assert.equal(503, refused.status)
    assert.equal("circuit_open", refused.body.code)
    assert.equal("5", refused.headers["retry-after"])
  end)

  it("opens at the error threshold, not before the volume, and refuses without running the body", function()
    request { path = "/go/error" }
    request { path = "/go/error" }
    request { path = "/go/fine" }
    assert.equal("closed", breaker("guard").state)
    assert.equal("script", request { path = "/go/error" }.body.code)
    assert.equal("open", breaker("guard").state)
    local refused = request { path = "/go/fine" }
    assert.equal("circuit_open", refused.body.code)
    assert.matches("guard short-circuited", refused.body.message)
  end)

  it("after the sleep window one trial passes and closes it; a failed trial opens it again", function()
    for _ = 1, 4 do request { path = "/go/error" } end
    clock.advance("4999ms")
    assert.equal("circuit_open", request { path = "/go/fine" }.body.code)
    clock.advance("1ms")
    assert.equal("script", request { path = "/go/error" }.body.code)
    assert.equal("open", breaker("guard").state)
    clock.advance("5s")
    local trial, other = start { path = "/go/busy" }, start { path = "/go/fine" }
    settle()
    assert.equal("circuit_open", other.body.code)
    clock.advance("500ms")
    assert.equal("busy", trial.text)
    assert.equal("closed", breaker("guard").state)
    assert.equal("fine", request { path = "/go/fine" }.text)
  end)

  it("a call beyond the limit is refused at once, the others go on", function()
    local first, second, third = start { path = "/go/busy" }, start { path = "/go/busy" }, start { path = "/go/busy" }
    settle()
    assert.equal("limit", third.body.code)
    assert.falsy(first:done())
    clock.advance("500ms")
    assert.equal("busy", first.text)
    assert.equal("busy", second.text)
    assert.equal("fine", request { path = "/go/fine" }.text)
  end)

  it("a bad request (4xx) says nothing about the callee", function()
    for _ = 1, 10 do assert.equal("failed", request { path = "/go/bad" }.body.code) end
    assert.equal("closed", breaker("guard").state)
    assert.equal(10, breaker("guard").ignored)
  end)
end)

describe("PATH-8d a breaker's timeout", function()
  it("closes the body's coroutine, drops its rows and gives the permit back", function()
    local own = routes {}
    own["routes/t/go.lua"] = [[
      local guard = breaker "guard"
      return route "go" { service = "a", method = "GET", path = "/go", handle = function()
        store.create("items", { name = "caller" })
        local closed, went_on = false, false
        local code = guard:call(function()
          local closer <close> = setmetatable({}, { __close = function() closed = true end })
          store.create("items", { name = "body" })
          bus.emit("Made", { name = "body" })
          http.post("http://b/notes", { name = "body" })
          task.sleep("1500ms")
          went_on = closer
        end, function(err) return err.code end)
        task.sleep("5s")
        return { closed, went_on, code }
      end }]]
    scripts(own)
    for _ = 1, 3 do assert.same({ true, false, "timeout" }, request { path = "/go" }.body) end
    assert.same({ "caller", "caller", "caller" }, names(rows("a", "items")))
    assert.same({}, rows("b", "notes"))
    assert.same({}, events())
    assert.equal(0, breaker("guard").in_flight)
  end)
end)
