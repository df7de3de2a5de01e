-- SPDX-License-Identifier: MIT
-- Budgets that need no neighbour to be seen: counts, sizes, and what becomes of a policy.
local function tree(list, policies, budget)
  local made = {
    ["systems/t.lua"] = "return { services = { a = {} } }",
    ["routes/t/a.lua"] = [[return {
      event "Told" { service = "a", key = { k = "k" }, fields = { text "k", text "note" } },
      resource "rows" { service = "a", fields = { text "name" } } }]],
  }
  for name, body in pairs(list) do
    made["routes/t/" .. name .. ".lua"] = ('return route "%s" { service = "a", method = "GET", path = "/%s", ' ..
      "handle = function(request)\n%s\nend }"):format(name, name, body)
  end
  for name, body in pairs(policies or {}) do
    made["policies/t/" .. name .. ".lua"] = ('return policy "%s" { service = "a", on = "Told", budget = %s, ' ..
      "handle = function(event)\n%s\nend }"):format(name, budget or "nil", body)
  end
  return made
end

local function go(body)
  scripts(tree { go = body })
  return request { path = "/go" }
end

local function over(body)
  local answer = go(body)
  assert.equal(500, answer.status)
  assert.equal("budget", answer.body.code)
  return answer.body.message
end

describe("RULES-5p budgets of one task", function()
  it("1,000 events are emitted, the next raises and nothing of it is there", function()
    assert.equal(200, go [[ for i = 1, 1000 do bus.emit("Told", { k = tostring(i) }) end ]].status)
    assert.matches("more than 1000 events",
      over [[ for i = 1, 1001 do bus.emit("Told", { k = tostring(i) }) end ]])
    assert.equal(1000, #events())
  end)

  it("an event of more than 1 MiB raises", function()
    assert.equal(200, go [[ bus.emit("Told", { k = "a", note = ("x"):rep(900 << 10) }) ]].status)
    assert.matches("more than 1 MiB", over [[ bus.emit("Told", { k = "a", note = ("x"):rep(1 << 20) }) ]])
  end)

  it("an answer of more than 8 MiB raises, as text and as JSON", function()
    assert.equal(200, go [[ return ("x"):rep(8 << 20) ]].status)
    assert.matches("8 MiB", over [[ return ("x"):rep(8 << 20) .. "x" ]])
    assert.matches("8 MiB", over [[ return { ("x"):rep(8 << 20), "x" } ]])
    over [[ local t = { "x" } for _ = 1, 40 do t = { t, t } end return t ]]
  end)

  it("what the host keeps for the task counts as its memory", function()
    assert.matches("used more than", over [[
      local text = ("x"):rep(4 << 20)
      for _ = 1, 100 do store.create("rows", { name = text }) end]])
    assert.equal(0, #rows("a", "rows"))
  end)

  it("cjson has the same bounds", function()
    assert.equal(200, go [[ assert(cjson.decode(cjson.encode({ a = { 1, 2 } })).a[2] == 2) ]].status)
    over [[ local t = { "x" } for _ = 1, 40 do t = { t, t } end return cjson.encode(t) ]]
    assert.matches("1 MiB", over [[ return cjson.decode(("["):rep(8 << 20)) ]])
  end)

  it("garbage is no memory: 10 MiB one after the other fit into 8", function()
    scripts(tree({ go = [[ bus.emit("Told", { k = "a" }) ]] }, { p = [[
      local n = 0
      for _ = 1, 10 do n = n + #("x"):rep(1 << 20) end
      log.info(n) ]] }, '{ memory = 8, cpu = "1s" }'))
    request { path = "/go" }
    settle()
    assert.same({ tostring(10 << 20) }, logs())
  end)
end)

describe("RULES-5c a recursion that is deep when its budget ends", function()
  it("is stopped: the timer's signal does not take all the time for itself", function()
    scripts(tree({ go = [[ bus.emit("Told", { k = "a" }) ]] }, { p = [[
      local function again(n) return 1 + again(n + 1) end
      store.create("rows", { name = "lost" })
      while true do pcall(again, 1) end ]] }, '{ memory = 256, cpu = "300ms" }'))
    request { path = "/go" }
    settle() -- it would not come back from here
    assert.equal(0, #rows("a", "rows"))
    assert.equal(200, request { path = "/go" }.status)
  end)
end)

describe("RULES-5o a policy over budget", function()
  it("is tried ten times and becomes a letter with script and line; its neighbours run", function()
    scripts(tree({ go = [[ bus.emit("Told", { k = "a" }) ]] }, {
      bad = "while true do end",
      good = 'store.create("rows", { name = event.k })',
    }))
    assert.equal(200, request { path = "/go" }.status)
    settle()
    assert.equal(0, #letters())
    assert.equal(1, #rows("a", "rows"))
    for _ = 1, 12 do clock.advance("90s") end
    local letter = letters()[1]
    assert.equal(1, #letters())
    assert.equal("budget", letter.code)
    assert.equal(10, letter.tries)
    assert.equal("scripts/policies/t/bad.lua:2", letter.origin)
    assert.matches("100 ms of CPU", letter.error)
    assert.equal(1, #rows("a", "rows"))
  end)
end)
