-- SPDX-License-Identifier: MIT
-- What is wrong with a script tree is said at the start, with file and line.
local system = [[return { services = { a = {}, b = {} }, breakers = { guard = {} } }]]

-- A tree with one file more; wrong: what its text must be refused with.
local function refused(name, text, wrong, with)
  local tree = { ["systems/t.lua"] = system, ["routes/t/a.lua"] = [[
return {
  event "Made" { service = "a", key = { thing = "id" }, fields = { integer "id" } },
  resource "things" { service = "a", fields = { text "name" } },
}]] }
  for other, source in pairs(with or {}) do tree[other] = source end
  tree[name] = text
  assert.error_matches(wrong, scripts, tree)
end

local function route(text, wrong) refused("routes/t/x.lua", text, wrong) end

describe("PATH-2 loading", function()
  it("a syntax error has its line", function()
    route("local x = 1\nreturn {{", "scripts/routes/t/x.lua:2: unexpected symbol near <eof>")
  end)

  it("a file that returns nothing, or no declaration", function()
    route("local x = 1", "scripts/routes/t/x.lua:1: the file returns nothing; a script returns a declaration or a list")
    route("return 7", "scripts/routes/t/x.lua:1: the file returns a number")
    route("return { {} }", "scripts/routes/t/x.lua:1: entry 1 of the returned list is no declaration but a table")
  end)

  it("an error at the top of a file has its line", function()
    route("\nlocal x = nothing.here", "scripts/routes/t/x.lua:2: `nothing` is not available to scripts")
    route("\nerror('broken')", "scripts/routes/t/x.lua:2: broken")
  end)

  it("unknown options name the nearest", function()
    route('\nreturn resource "x" { servise = "a", fields = {} }',
      'scripts/routes/t/x.lua:2: resource "x": unknown option "servise"; did you mean "service"?')
    route('return resource "x" { service = "a", fields = { text "n" { requird = true } } }',
      'scripts/routes/t/x.lua:1: field n: unknown option "requird"; did you mean "required"?')
    refused("systems/t.lua", "return { services = { a = {} }, brakers = {} }",
      'scripts/systems/t.lua:1: system: unknown option "brakers"; did you mean "breakers"?')
    refused("systems/t.lua", "return { services = { a = {}, b = {} }, breakers = { guard = { timeout = 1 } } }",
      'scripts/systems/t.lua:1: breakers.guard: unknown option "timeout"; did you mean "timeout_ms"?')
  end)

  it("options of a wrong type and options that are missing", function()
    route('return resource "x" { service = "a", fields = "name" }', 'option "fields" must be a table, got a string')
    route('return route "x" { service = "a", method = "GET", path = "/x" }', 'route "x": option "handle" is missing')
    route('return route "x" { service = "a", method = "FETCH", path = "/x", handle = function() end }',
      'route "x": method "FETCH"')
  end)

  it("options that mean nothing for the field's type, or that no value can meet, by their line", function()
    local function field(text, wrong)
      route('return resource "x" { service = "a", fields = {\n  ' .. text .. " } }",
        "scripts/routes/t/x.lua:2: field n: option " .. wrong)
    end
    field('text "n" { min = 1 }', '"min" is for integer, number, decimal and timestamp, not for text')
    field('boolean "n" { max = 1 }', '"max" is for integer, number, decimal and timestamp, not for boolean')
    field('integer "n" { length = 3 }', '"length" is for text, not for integer')
    field('decimal(2) "n" { pattern = "^1" }', '"pattern" is for text, not for decimal')
    field('integer "n" { min = 5, max = 4 }', '"max" is less than min')
    field('integer "n" { default = "many" }', '"default": expected an integer, got "many"')
    field('integer "n" { min = 1, default = 0 }', '"default": must be at least 1')
    field('decimal(1) "n" { max = 9.5, default = 9.6, min = 0 }', '"default": must be at most 9.5')
    field('text "n" { length = 3, default = "long" }', '"default": must be at most 3 characters long')
    field('timestamp "n" { default = "today" }', '"default": expected an RFC 3339 time or epoch milliseconds')
  end)

  it("a service that the system does not have", function()
    route('\n\nreturn resource "x" { service = "aa", fields = {} }',
      'scripts/routes/t/x.lua:3: resource "x": service "aa" is not in the system file')
  end)

  it("RULES-3c a renamed_from that cannot be", function()
    route('return resource "x" { service = "a", fields = {\n  text "b" { renamed_from = "c" },\n  text "c" } }',
      'scripts/routes/t/x.lua:2: resource "x": field b is renamed_from "c", which is declared too')
    route('return resource "x" { service = "a", fields = {\n  text "b" { renamed_from = "b" } } }',
      'scripts/routes/t/x.lua:2: field b: renamed_from is the name that it has now')
    route('return event "E" { service = "a", key = { x = "b" }, fields = {\n  text "b" { renamed_from = "c" } } }',
      'scripts/routes/t/x.lua:2: event "E": renamed_from is for fields of resources')
  end)

  it("an event that a policy waits for and nobody declares", function()
    refused("policies/t/p.lua", '\nreturn policy "p" { service = "a", on = "Mode", handle = function() end }',
      'scripts/policies/t/p.lua:2: policy "p": event "Mode" is not declared; did you mean "Made"?')
  end)

  it("two of one name say where the other one is", function()
    refused("routes/t/x.lua", '\nreturn resource "things" { service = "a", fields = {} }',
      'scripts/routes/t/x.lua:2: resource "things" is declared twice; the other one is at scripts/routes/t/a.lua:3')
    refused("routes/t/x.lua", 'return event "Made" { service = "b", key = { x = "x" }, fields = { text "x" } }',
      'event "Made" is declared twice')
    local p = 'return policy "p" { service = "a", on = "Made", handle = function() end }'
    refused("policies/t/p2.lua", p, 'policy "p" is declared twice; the other one is at scripts/policies/t/p1.lua:1',
      { ["policies/t/p1.lua"] = p })
    route('return resource "x" { service = "a", fields = { text "n", integer "n" } }', 'two fields named "n"')
  end)

  it("a breaker without settings", function()
    route('\nlocal b = breaker "gard"\nreturn {}',
      'scripts/routes/t/x.lua:2: breaker "gard" has no settings; the system file declares them: ' ..
      'breakers = { gard = { ... } }; did you mean "guard"?')
  end)

  it("keys, finders and unique lists that name no field", function()
    route('return event "E" { service = "a", key = { e = "idd" }, fields = { integer "id" } }',
      'key field "idd" is not declared; did you mean "id"?')
    route('return resource "x" { service = "a", fields = { text "name" }, unique = { "nme" } }',
      'unique names the field "nme", which is not declared; did you mean "name"?')
    route('return resource "x" { service = "a", fields = { text "name" }, finders = { findBy = { "nme" } } }',
      'finder findBy names the field "nme"')
    route('return resource "x" { service = "a", fields = { text "name" }, ' ..
      'finders = { findByNameOrderByNmeAsc = { "name" } } }',
      'finder findByNameOrderByNmeAsc sorts by the field "nme", which is not declared; did you mean "name"?')
  end)

  it("a declaration in the wrong folder", function()
    route('return policy "p" { service = "a", on = "Made", handle = function() end }',
      'policy "p" does not belong into this folder')
  end)

  it("words that need a task", function()
    route('store.create("things", {})\nreturn {}', "store.create cannot be used while scripts load")
    route('local x = 1\nhttp.post("http://a/things", {})\nreturn {}',
      "scripts/routes/t/x.lua:2: http cannot be used while scripts load")
    route("clock.iso()\nreturn {}", "scripts/routes/t/x.lua:1: clock.iso cannot be used while scripts load")
    route("task.sleep(1)\nreturn {}", "task.sleep cannot be used while scripts load")
  end)

  it("lib files: no table, circles, missing ones", function()
    refused("lib/x.lua", "return 1", "scripts/lib/x.lua:1: a library returns a table, this one returned number")
    refused("lib/x.lua", 'use "lib.y"\nreturn {}', "it is being loaded (a circle of use)",
      { ["lib/y.lua"] = 'use "lib.x"\nreturn {}' })
    route('local x = use "lib.z"\nreturn {}', 'use "lib.z": there is no such file in scripts/lib')
  end)

  it("a system that is not there, or is no table", function()
    refused("systems/t.lua", "return 1", "scripts/systems/t.lua:1: a system file returns a table, this one returned")
    assert.error_matches("a script tree has a file systems/NAME.lua", scripts, {})
  end)

  it("a tree that loads may follow one that does not", function()
    route("return", "the file returns nothing")
    scripts { ["systems/t.lua"] = system }
    assert.equal(404, request { path = "/things" }.status)
  end)
end)

describe("BREAKER-2g loading", function()
  it("settings of a breaker that make no sense, by their line", function()
    local function settings(text, problem)
      refused("systems/t.lua", "return {\n  services = { a = {}, b = {} },\n  breakers = {\n    guard = {\n      " ..
        text .. ",\n    },\n  },\n}", problem)
    end
    settings("volume = 0", "scripts/systems/t.lua:5: breakers.guard: breaker option volume must be at least 1, not 0")
    settings("error_percent = 0", "scripts/systems/t.lua:5: breakers.guard: breaker option error_percent must")
    settings("limit = 5,\n      timeout_ms = 0", "t.lua:6: breakers.guard: breaker option timeout_ms must")
    settings("slow_ms = 2000", "scripts/systems/t.lua:5: breakers.guard: breaker option slow_ms = 2000 makes no sense")
    settings("limit = 1.5", "scripts/systems/t.lua:5: breakers.guard: breaker option limit must be a whole number")
    settings("enabled = 1", "scripts/systems/t.lua:5: breakers.guard: breaker option enabled must be true or false")
    settings("window = 'counts'", 'breaker option window must be "time", "count" or "consecutive"')
    settings('["circuitBreaker.requestVolumeTreshold"] = 5',
      'scripts/systems/t.lua:5: breakers.guard: unknown option "circuitBreaker.requestVolumeTreshold"; ' ..
      'did you mean "circuitBreaker.requestVolumeThreshold"?')
    settings('["execution.isolation.strategy"] = "THREAD"', "there is SEMAPHORE only")
  end)
end)
