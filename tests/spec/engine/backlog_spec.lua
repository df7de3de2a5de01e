-- SPDX-License-Identifier: MIT
-- Many events: order, back-pressure, catching up after a restart, each one once.
local function tree(policy, options)
  return {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} } }]],
    ["routes/t/a.lua"] = [[
return {
  event "Came" { service = "a", key = { group = "group" }, fields = { text "group", integer "n" } },
  resource "things" { service = "a", fields = { text "name" } },
  resource "seen" { service = "b", fields = { text "group", integer "n" } },
  route "fill" { service = "a", method = "POST", path = "/fill", handle = function(request)
    for i = 1, request.body.count do
      bus.emit("Came", { group = "g" .. (i % request.body.groups), n = request.body.from + i })
    end
  end },
}]],
    ["policies/t/p.lua"] = policy and ([[return policy "p" { service = "b", on = "Came", %s
      handle = function(event, meta)
      local used = { meta }
      %s
      store.create("seen", { group = event.group, n = event.n })
      if not used then return end
    end }]]):format(options or "", policy) or [[return event "Unused" { service = "b", key = { x = "x" },
      fields = { text "x" } }]],
  }
end

local function fill(count, groups, from)
  return request { path = "/fill", body = { count = count, groups = groups, from = from or 0 } }
end

-- All n from 1 to count once, ascending within each group.
local function check_all(count)
  local last, found = {}, 0
  for _, entry in ipairs(rows("b", "seen")) do
    assert(entry.n > (last[entry.group] or 0), "out of order in " .. entry.group .. ": " .. entry.n)
    last[entry.group] = entry.n
    found = found + 1
  end
  assert.equal(count, found)
end

describe("PATH-4d many events", function()
  it("all of many keys, in the order of each key", function()
    scripts(tree "")
    for k = 0, 2 do fill(900, 37, k * 900) end
    settle()
    check_all(2700)
  end)

  it("after a restart in the middle, each once", function()
    scripts(tree [[task.sleep("100ms")]])
    fill(900, 30)
    fill(900, 30, 900)
    clock.advance("2s")
    restart()
    clock.advance("500ms")
    restart()
    clock.advance("1m")
    check_all(1800)
  end)

  it("a policy that was away catches up from where it was", function()
    scripts(tree "")
    fill(10, 3)
    settle()
    restart(tree())
    for k = 0, 2 do fill(900, 30, 10 + 900 * k) end
    settle()
    restart(tree "")
    settle()
    check_all(2710)
  end)

  it("keys that fail hold up only themselves, with holes that outlive a restart", function()
    scripts(tree [[if event.group == "g1" and meta.try < 5 then error("not yet") end]])
    fill(900, 30)
    clock.advance("2s")
    assert.equal(870, #rows("b", "seen"))
    restart()
    settle()
    assert.equal(870, #rows("b", "seen"))
    clock.advance("30m")
    check_all(900)
    assert.same({}, letters())
  end)
end)

describe("PATH-4d back-pressure", function()
  it("writes wait while too much is open, then are answered 503 with Retry-After; reads go on", function()
    scripts(tree [[task.sleep("10s")]])
    for k = 0, 4 do assert.equal(200, fill(1000, 1, k * 1000).status) end
    local waiting = start { path = "/things", body = { name = "x" } }
    clock.advance("1999ms")
    assert.falsy(waiting:done())
    assert.equal(404, request { path = "/things/1" }.status)
    clock.advance("1ms")
    assert.equal(503, waiting.status)
    assert.equal("queue_full", waiting.body.code)
    assert.equal("1", waiting.headers["retry-after"])
    assert.same({}, rows("a", "things"))
  end)

  it("a write that waits goes on when there is room", function()
    scripts(tree [[task.sleep("1500ms")]])
    for k = 0, 3 do fill(1000, 1000, k * 1000) end
    fill(150, 150, 4000) -- a few more than may be open
    local waiting = start { path = "/things", body = { name = "x" } }
    clock.advance("1s")
    assert.falsy(waiting:done())
    clock.advance("500ms")
    assert.equal(201, waiting.status)
  end)
end)

describe("PATH-5a many requests", function()
  it("a thousand at once are all answered", function()
    scripts(tree "")
    local waiting = {}
    for i = 1, 1000 do waiting[i] = start { path = "/things", body = { name = "t" .. i } } end
    settle()
    for i = 1, 1000 do assert.equal(201, waiting[i].status) end
    assert.equal(1000, #rows("a", "things"))
  end)
end)
