-- SPDX-License-Identifier: MIT
-- The runner itself: what its words notice, and that each case has a world of its own.
local tree = {
  ["systems/t.lua"] = [[return { services = { a = {} } }]],
  ["routes/t/a.lua"] = [[
return {
  resource "items" { service = "a", fields = { text "name" } },
  route "nap" { service = "a", method = "GET", path = "/nap", handle = function(request)
    task.sleep(request.query.length or "1s")
    return "slept"
  end },
}]],
}

describe("SPEC-1 expectations", function()
  it("pass what is so and say what is not", function()
    assert.equal(1, 1.0)
    assert.same({ a = { 1, { b = "c" } } }, { a = { 1, { b = "c" } } })
    assert.truthy(0)
    assert.falsy(nil)
    assert.error_matches('expected 1, got "1"', assert.equal, 1, "1")
    assert.error_matches("(because of it)", assert.equal, 1, 2, "because of it")
    assert.error_matches("expected { 1, 2 }\n     got { 1, 2, 3 }", assert.same, { 1, 2 }, { 1, 2, 3 })
    assert.error_matches("expected { 1, 2, 3 }", assert.same, { 1, 2, 3 }, { 1, 2 })
    assert.error_matches("expected something true, got false", assert.truthy, false)
    assert.error_matches("expected nil or false, got 0", assert.falsy, 0)
    assert.error_matches("a message", assert, false, "a message")
    assert.equal("kept", assert("kept", "unused"))
  end)

  it("error_matches wants an error, and the right one", function()
    assert.error_matches("there was none", assert.error_matches, "x", function() end)
    assert.error_matches('expected an error with "x", got "y"', assert.error_matches, "x", function() error("y", 0) end)
    assert.equal("a.b", assert.error_matches("a.b", error, "a.b"))
    assert.error_matches("^%d+%s+apples$", error, "12 apples")
  end)

  it("matches takes a plain part or a Lua pattern", function()
    assert.matches("a (b", "x a (b c")
    assert.matches("^x.*c$", "x a (b c")
    assert.error_matches("expected a text with", assert.matches, "z", "x")
    assert.error_matches("expected a text with", assert.matches, "z", nil)
  end)

  it("names that do not exist raise", function()
    assert.error_matches("print_it is not available to specs", function() return print_it end) -- luacheck: ignore
    assert.error_matches("request: unknown option", request, { url = "/items" })
    assert.error_matches('service "b" has no resource "items"', rows, "b", "items")
    assert.error_matches('there is no breaker "x"', breaker, "x")
  end)
  scripts(tree)
end)

describe("SPEC-2 worlds", function()
  scripts(tree)
  local runs = 0
  before_each(function() runs = runs + 1 end)

  it("one case fills its tables", function()
    request { path = "/items", body = { name = "a" } }
    assert.equal(1, #rows("a", "items"))
    assert.equal(1, runs)
  end)

  it("the next begins with empty ones, at the same time", function()
    assert.same({}, rows("a", "items"))
    assert.equal(1767225600000, clock.now())
    assert.equal(2, runs)
  end)

  it("restart keeps data and clock", function()
    request { path = "/items", body = { name = "a" } }
    clock.advance("1h")
    local before = clock.now()
    restart()
    assert.equal("a", row("a", "items", 1).name)
    assert.equal(before, clock.now())
  end)

  it("a tree inside of a case replaces that of its group", function()
    scripts { ["systems/other.lua"] = [[return { services = { a = {} } }]] }
    assert.equal(404, request { path = "/items" }.status)
  end)
end)

describe("SPEC-3 time", function()
  scripts(tree)

  it("start does not wait, settle runs what is due, advance moves on", function()
    local nap = start { path = "/nap" }
    assert.falsy(nap:done())
    settle()
    assert.falsy(nap.status)
    clock.advance("999ms")
    assert.falsy(nap:done())
    clock.advance(1)
    assert.truthy(nap:done())
    assert.equal("slept", nap.text)
  end)

  it("request moves the clock as far as it must", function()
    local before = clock.now()
    request { path = "/nap?length=20s" }
    assert.equal(20000, clock.now() - before)
  end)

  it("a request is parsed like one from the wire", function()
    assert.equal(400, request { path = "/items", headers = { Host = "a b" } }.status)
    assert.equal(413, request { path = "/items", body = { name = ("x"):rep(1 << 20) } }.status)
    assert.equal(414, request { path = "/" .. ("x"):rep(10000) }.status)
    assert.equal("", request { path = "/items", method = "HEAD" }.text)
  end)
end)
