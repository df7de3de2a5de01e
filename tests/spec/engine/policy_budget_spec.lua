-- SPDX-License-Identifier: MIT
-- Budgets that a policy declares for itself, and what of a declaration is found while it loads.
local function tree(budget, body)
  return {
    ["systems/t.lua"] = "return { services = { a = {} } }",
    ["routes/t/a.lua"] = [[return {
      event "Told" { service = "a", key = { k = "k" }, fields = { text "k" } },
      event "Heard" { service = "a", key = { k = "k" }, fields = { text "k" } },
      resource "rows" { service = "a", fields = { text "name" } },
      route "tell" { service = "a", method = "GET", path = "/tell",
        handle = function() bus.emit("Told", { k = "k" }) end },
      route "pong" { service = "a", method = "GET", path = "/pong", handle = function() end } }]],
    ["policies/t/p.lua"] = ('return policy "p" { service = "a", on = "Told", budget = %s,\n' ..
      "handle = function(event, meta)\nif meta.try > 1 then return end\n%s\nend }"):format(budget, body or ""),
  }
end

-- What the first try of the policy did: { rows, events, message of its error }.
local function run(budget, body)
  scripts(tree(budget, ("local ok, err = pcall(function() %s end)\n" ..
    "if not ok then log.info(err.message) end"):format(body)))
  assert.equal(200, request { path = "/tell" }.status)
  settle()
  return { rows = #rows("a", "rows"), events = #events("Heard"), said = logs()[1] }
end

describe("RULES-5q the budget of a policy", function()
  it("events: as many as it says", function()
    local emit = 'for i = 1, %d do bus.emit("Heard", { k = tostring(i) }) end'
    assert.same({ rows = 0, events = 3 }, run("{ events = 3 }", emit:format(3)))
    assert.equal("bus.emit: more than 3 events in one task", run("{ events = 3 }", emit:format(4)).said)
    assert.equal(3 + 3 + 1500, run("{ events = 2000 }", emit:format(1500)).events) -- the data stay
  end)

  it("calls: as many as it says", function()
    local call = 'for _ = 1, %d do http.get("http://a/pong") end'
    assert.equal(nil, run("{ calls = 150 }", call:format(150)).said)
    assert.equal("http: more than 2 calls in one task", run("{ calls = 2 }", call:format(3)).said)
  end)

  local function letter(budget, body)
    local made = tree(budget, body)
    made["policies/t/p.lua"] = made["policies/t/p.lua"]:gsub("if meta.try > 1 then return end", "")
    scripts(made)
    request { path = "/tell" }
    settle()
    for _ = 1, 12 do clock.advance("90s") end
    return letters()[1]
  end

  it("cpu: over it, it is a failed try that says how much it had", function()
    local failed = letter('{ cpu = "20ms" }', "while true do end")
    assert.equal("used more than 20 ms of CPU", failed.error)
    assert.equal("budget", failed.code)
  end)

  it("memory: less than usual, and more", function()
    local grow = 'local t = {} for i = 1, 40 do t[i] = ("x"):rep(1 << 20, tostring(i)) end store.create("rows", {})'
    assert.equal("used more than 8 MiB of memory", letter('{ memory = 8, cpu = "1s" }', grow).error)
    assert.same({ rows = 1, events = 0 }, run('{ memory = "128MiB", cpu = "1s" }', grow))
  end)

  -- { budget, what its refusal says }
  local wrong = {
    { "{ cpu = '2s' }", 'budget "cpu" must be "500ms", at most "1s", got 2s' },
    { "{ cpu = 'soon' }", 'budget "cpu" must be' },
    { "{ cpu = 0 }", 'budget "cpu" must be' },
    { "{ cpu = 1.5 }", 'budget "cpu" must be' },
    { "{ memory = 257 }", 'budget "memory" must be "64MiB", at most "256MiB", got 257' },
    { "{ memory = '1GiB' }", 'budget "memory" must be' },
    { "{ memory = -1 }", 'budget "memory" must be' },
    { "{ events = 10001 }", 'budget "events" must be a number, at most 10000' },
    { "{ events = '5' }", 'option "events" must be a number, got a string' },
    { "{ calls = 1e300 }", 'budget "calls" must be' },
    { "{ cpuu = 1 }", 'unknown option "cpuu"; did you mean "cpu"?' },
    { "5", 'option "budget" must be a table' },
  }
  for _, case in ipairs(wrong) do
    it("refuses " .. case[1] .. " with file and line", function()
      local err = assert.error_matches(case[2], function() scripts(tree(case[1])) end)
      assert.matches('scripts/policies/t/p.lua:1: policy "p"', tostring(err))
    end)
  end
end)

describe("RULES-5r a malformed pattern of a field is found while it loads", function()
  local wrong = {
    { "[a", "missing ']'" }, { "a%", "ends with '%'" }, { "%b(", "missing arguments to '%b'" },
    { "%fa", "missing '[' after '%f'" }, { "(a", "unfinished capture" }, { "a)", "invalid pattern capture" },
    { "%1", "invalid capture index %1" }, { "(a%1)", "invalid capture index %1" }, { "x*[^]", "missing ']'" },
  }
  for _, case in ipairs(wrong) do
    it(case[1], function()
      local made = tree("{}")
      made["routes/t/b.lua"] = ('return resource "b" { service = "a", fields = {\n  text "n" { pattern = "%s" } } }')
        :format(case[1])
      local err = assert.error_matches(case[2], function() scripts(made) end)
      assert.matches("scripts/routes/t/b.lua:2: field n: option \"pattern\": ", tostring(err))
    end)
  end

  it("what Lua takes is taken", function()
    local made = tree("{}")
    made["routes/t/b.lua"] = [[return resource "b" { service = "a", fields = { text "n" {
      pattern = "^[%a_][]^%]-]*()(%d+)%2%f[%W]%b()%%$" } } }]]
    scripts(made)
    assert.equal(201, request { path = "/b", body = { n = "a55()%" } }.status)
    assert.equal(400, request { path = "/b", body = { n = "a56()%" } }.status)
  end)
end)
