-- SPDX-License-Identifier: MIT
-- Coroutines that a task leaves unfinished: they are closed when it ends, however it ends.
local head = [[
local guard = breaker "guard"
-- A coroutine that says when it is closed, and is left where its body leaves it.
local function left(name, body, closing)
  local co = coroutine.create(function()
    local held <close> = setmetatable({}, { __close = function()
      log.info("closed " .. name)
      if closing then closing() end
    end })
    if body then body() end
    coroutine.yield(held)
  end)
  assert(coroutine.resume(co))
  return co
end
return {
  event "Told" { service = "a", key = { k = "k" }, fields = { text "k" } },
  route "go" { service = "a", method = "GET", path = "/go", handle = function(request, context)
    %s
  end },
  route "b" { service = "b", method = "GET", path = "/b", handle = function()
    left("b", nil, function() cache.set("k", "closed in b") end)
  end },
  route "seen" { service = "b", method = "GET", path = "/seen", handle = function() return cache.get("k") end },
}
]]

local function go(body)
  scripts {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} }, breakers = { guard = { timeout_ms = 1000 } } }]],
    ["routes/t/a.lua"] = head:gsub("%%s", (body:gsub("%%", "%%%%"))),
  }
  return request { path = "/go" }
end

local function said()
  local list = {}
  for i, line in ipairs(logs()) do list[i] = line end
  return list
end

describe("RULES-5s coroutines that a task leaves unfinished", function()
  it("are closed at its end, the youngest first; those that ended are not", function()
    assert.equal(200, go [[
      left("one")
      coroutine.wrap(function() local held <close> = setmetatable({}, { __close = function() log.info("ended") end })
        return held end)()
      for n in coroutine.wrap(function()
        local held <close> = setmetatable({}, { __close = function() log.info("closed walk") end })
        for i = 1, 3 do coroutine.yield(i, held) end
      end) do if n == 2 then break end end
      left("two")
      log.info("last line")]].status)
    assert.same({ "ended", "last line", "closed two", "closed walk", "closed one" }, said())
  end)

  it("are closed once: not again after coroutine.close, or after an error in wrap", function()
    assert.equal(200, go [[
      assert(coroutine.close(left("one")))
      pcall(coroutine.wrap(function()
        local held <close> = setmetatable({}, { __close = function() log.info("closed wrapped") end })
        error(held)
      end))
      log.info("last line")]].status)
    assert.same({ "closed one", "closed wrapped", "last line" }, said())
  end)

  it("one that failed is closed as well", function()
    assert.equal(200, go [[ coroutine.resume(coroutine.create(function()
      local held <close> = setmetatable({}, { __close = function(_, err) log.info(tostring(err)) end })
      error({ held, "x" })
    end)) log.info("last line")]].status)
    assert.equal(2, #said())
    assert.equal("last line", said()[1])
  end)

  it("what they change is the task's, in the service whose code it is", function()
    assert.equal(200, go [[
      left("a", nil, function() bus.emit("Told", { k = "closed in a" }) end)
      http.get("http://b/b")
      left("last", nil, function() cache.set("k", "closed in a") end)]].status)
    assert.equal(1, #events("Told"))
    assert.equal("closed in a", events("Told")[1].payload.k)
    assert.equal("closed in b", request { path = "/seen" }.text)
  end)

  it("nested: the inner ones first", function()
    assert.equal(200, go [[ left("outer", function() left("inner", function() left("innermost") end) end) ]].status)
    assert.same({ "closed innermost", "closed inner", "closed outer" }, said())
  end)

  it("an error of the task closes them, and what they change is lost with it", function()
    local answer = go [[
      left("one", function() left("two") end, function() bus.emit("Told", { k = "x" }) end)
      error("oh")]]
    assert.equal(500, answer.status)
    assert.same({ "closed two", "closed one" }, said())
    assert.equal(0, #events())
  end)

  it("an error in one of them is not the task's, and the others are closed", function()
    assert.equal(200, go [[ left("one") left("two", nil, function() error("oh") end) left("three") ]].status)
    assert.same({ "closed three", "closed two", "closed one" }, said())
  end)

  it("a task over its budget closes them", function()
    local answer = go [[ left("one", function()
      local inner = left("two")
      while inner do end
    end)]]
    assert.equal("budget", answer.body.code)
    assert.same({ "closed two", "closed one" }, said())
  end)

  it("inside of what cannot be stopped (sort in a coroutine) as well, but for the one that runs there", function()
    local answer = go [[ left("one", function()
      left("two")
      table.sort({ 3, 2, 1 }, function() while true do end end)
    end)]]
    assert.equal("budget", answer.body.code)
    assert.same({ "closed two" }, said())
  end)

  it("an endless loop in a <close> of one is stopped; the task is answered, and the next one runs", function()
    local loop = [[ left("one", nil, function() while true do end end) left("two", nil, function()
      while true do pcall(function() while true do end end) end end) return "fine" ]]
    local answer = go(loop)
    assert.equal(200, answer.status)
    assert.equal("fine", answer.text)
    assert.equal("closed two", said()[1])
    assert.equal(200, request { path = "/go" }.status)
  end)

  it("a <close> that leaves coroutines behind ends too", function()
    assert.equal(200, go [[
      local function again() left("again", nil, again) end
      left("one", nil, again)]].status)
  end)

  it("a deadline closes one that waits for the host, before what is around it", function()
    local answer = go [[
      local around <close> = setmetatable({}, { __close = function() log.info("closed around") end })
      local co = coroutine.create(function()
        local held <close> = setmetatable({}, { __close = function() log.info("closed waiting") end })
        left("idle")
        task.sleep("1h")
        log.info("never")
        return held
      end)
      coroutine.resume(co)
      return around]]
    assert.equal(504, answer.status)
    assert.same({ "closed idle", "closed waiting", "closed around" }, said())
  end)

  it("a breaker's timeout closes those of its body, in the scope that is dropped", function()
    local answer = go [[
      left("mine")
      guard:call(function()
        left("body", nil, function() bus.emit("Told", { k = "dropped" }) end)
        coroutine.wrap(function() task.sleep("1h") end)()
      end, function(err) log.info(err.code) end)
      log.info("last line")]]
    assert.equal(200, answer.status)
    assert.same({ "closed body", "timeout", "last line", "closed mine" }, said())
    assert.equal(0, #events())
  end)

  it("the winner's of a race live on with the task, the loser's are closed", function()
    assert.equal(200, go [[
      local co
      task.race(function() left("loser") task.sleep("1h") end, function() co = left("winner") end)
      log.info(coroutine.status(co))
      log.info(tostring(coroutine.resume(co)))
      log.info(coroutine.status(co))]].status)
    assert.same({ "closed loser", "suspended", "closed winner", "true", "dead" }, said())
  end)

  it("thousands are no trouble, whether they end or not", function()
    assert.equal(200, go [[
      local n = 0
      for i = 1, 2000 do coroutine.wrap(function() coroutine.yield() end)() end
      for _ = 1, 3000 do n = n + coroutine.wrap(function() return 1 end)() end
      return n]].status)
  end)
end)
