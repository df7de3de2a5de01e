-- SPDX-License-Identifier: MIT
-- Events that go from the log when their time is over, and those that somebody still needs.
local system = [[return { services = { a = {}, b = {} } }]]

local routes = [[
return {
  event "Seen" { service = "a", key = { thing = "thing" }, fields = { text "thing" }, %s },
  event "Kept" { service = "a", key = { thing = "thing" }, fields = { text "thing" } },
  resource "copies" { service = "b", fields = { text "thing", integer "cause" } },
  route "emit" { service = "a", method = "POST", path = "/emit/{type}/{thing}", handle = function(request)
    bus.emit(request.params.type, { thing = request.params.thing })
  end },
}
]]

local copy = 'store.create("copies", { thing = event.thing })'

local function tree(option, handle)
  return {
    ["systems/t.lua"] = system,
    ["routes/t/a.lua"] = routes:format(option),
    ["policies/t/b.lua"] = handle and ('return policy "copies" { service = "b", on = "Seen", handle = function(event)\n'
      .. "%s\nend }"):format(handle),
  }
end

local function emit(...)
  for _, path in ipairs { ... } do assert.equal(200, request { method = "POST", path = "/emit/" .. path }.status) end
  settle()
end

local function log()
  local found = {}
  for i, event in ipairs(events()) do found[i] = ("%d %s"):format(event.seq, event.key) end
  return found
end

describe("G10 an event whose retention is over", function()
  it("goes with what is written later, and no other event", function()
    scripts(tree('retention = "1h"', copy))
    emit("Seen/x", "Kept/y", "Seen/z")
    clock.advance("59m")
    emit("Kept/u")
    assert.same({ "1 thing/x", "2 thing/y", "3 thing/z", "4 thing/u" }, log())
    clock.advance("1m")
    emit("Seen/w")
    assert.same({ "2 thing/y", "4 thing/u", "5 thing/w" }, log())
    assert.equal(3, #rows("b", "copies"))
  end)

  it("is that of the newest scripts: given, changed, taken away", function()
    scripts(tree(""))
    emit("Seen/x")
    clock.advance("30d")
    emit("Kept/y")
    restart(tree('retention = "31d"'))
    emit("Kept/y")
    assert.equal("1 thing/x", log()[1])
    restart(tree(""))
    clock.advance("3d")
    emit("Kept/y")
    assert.equal("1 thing/x", log()[1])
    restart(tree("retention = 60000"))
    emit("Kept/y")
    assert.same({ "2 thing/y", "3 thing/y", "4 thing/y", "5 thing/y" }, log())
  end)

  it("stays while it is tried again and while it is a letter, and its key's later ones with it", function()
    scripts(tree('retention = "1s"', 'if event.thing == "bad" then error("no") end\n' .. copy))
    emit("Seen/bad", "Seen/bad", "Seen/good")
    clock.advance("10s")
    emit("Kept/x")
    assert.same({ "1 thing/bad", "2 thing/bad", "4 thing/x" }, log())
    clock.advance("2h")
    settle()
    clock.advance("2s")
    emit("Kept/y")
    assert.equal(2, #letters())
    assert.same({ "1 thing/bad", "2 thing/bad", "4 thing/x", "5 thing/y" }, log())
  end)

  it("leaves numbers that nobody has again, when none is left over a restart too", function()
    scripts(tree("retention = 1", copy))
    emit("Seen/x", "Seen/y")
    clock.advance("1h")
    restart(tree("retention = 1", copy))
    request { path = "/copies", body = { thing = "tick" } }
    assert.same({}, log())
    emit("Seen/z")
    assert.same({ "3 thing/z" }, log())
    assert.equal(4, #rows("b", "copies"))
  end)

  it("was in time for a policy that was stopped or away", function()
    scripts(tree("retention = 1", copy))
    emit("Seen/x")
    restart(tree("retention = 1"))
    emit("Seen/y")
    clock.advance("1h")
    emit("Kept/z")
    assert.same({ "2 thing/y", "3 thing/z" }, log())
    restart(tree("retention = 1", copy))
    settle()
    clock.advance("2s")
    emit("Kept/u")
    assert.same({ "3 thing/z", "4 thing/u" }, log())
    assert.equal(2, #rows("b", "copies"))
  end)

  it("is not there for a view that comes later", function()
    scripts(tree("retention = 1"))
    emit("Seen/x")
    clock.advance("1h")
    emit("Seen/y")
    local viewing = tree("retention = 1")
    viewing["policies/t/v.lua"] = [[return view "board" { service = "b", by = "thing", fields = { text "thing" },
      on = { Seen = function() end } }]]
    restart(viewing)
    settle()
    assert.same({ { id = 1, thing = "y" } }, rows("b", "board"))
  end)
end)
