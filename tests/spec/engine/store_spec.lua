-- SPDX-License-Identifier: MIT
-- Rows: the writer's verdicts as scripts see them, hot rows, pictures, and whose data is whose.
local declared = [[
return {
  event "Counted" { service = "a", key = { counter = "name" }, fields = { text "name" } },
  resource "counters" { service = "a",
    fields = { text "name" { unique = true }, integer "n" { default = 0 }, number "price", text "note" } },
  resource "pairs" { service = "a", fields = { integer "x", integer "y" }, unique = { "x", "y" } },
  resource "others" { service = "b", fields = { text "name" } },
}
]]

local function tree(list)
  local made = {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} }, breakers = { guard = {} } }]],
    ["routes/t/a.lua"] = declared,
  }
  for name, body in pairs(list) do
    made["routes/t/" .. name .. ".lua"] = ('return route "%s" { service = "a", method = "GET", path = "/%s", ' ..
      "handle = function(request)\n%s\nend }"):format(name, name, body)
  end
  return made
end

-- Runs the body as a request of its own.
local function go(body)
  scripts(tree { go = body })
  return request { path = "/go" }
end

describe("PATH-3e the writer's verdicts", function()
  it("exists: an unhandled second row of a unique value is 409 and names it", function()
    scripts(tree {})
    assert.equal(201, request { path = "/counters", body = { name = "a" } }.status)
    local second = request { path = "/counters", body = { name = "a" } }
    assert.equal(409, second.status)
    assert.equal("exists", second.body.code)
    assert.matches('name = "a"', second.body.message)
    assert.equal(1, #rows("a", "counters"))
    assert.equal(201, request { path = "/counters", body = { name = "b" } }.status)
  end)

  it("exists: the call raises in the re-run, at its own line, so that try takes the other branch", function()
    scripts(tree { go = [[
      local row, err = try(store.create, "counters", { name = request.query.name })
      if not row then
        store.create("pairs", { x = 1 })
        return { code = err.code, status = err.status, origin = err.origin }
      end
      return { made = row.id }]] })
    assert.truthy(request { path = "/go?name=a" }.body.made)
    local again = request { path = "/go?name=a" }.body
    assert.same({ code = "exists", status = 409, origin = "scripts/routes/t/go.lua:2" }, again)
    assert.equal(1, #rows("a", "pairs"))
  end)

  it("exists: unique over two fields; nulls do not count", function()
    scripts(tree {})
    local function make(body) return request { path = "/pairs", body = body }.status end
    assert.same({ 201, 201, 409, 201, 201 },
      { make { x = 1, y = 1 }, make { x = 1, y = 2 }, make { x = 1, y = 2 }, make { x = 1 }, make { x = 1 } })
  end)

  it("exists: two in one unit of work are refused too", function()
    local answer = go [[
      store.create("counters", { name = "a" })
      store.create("counters", { name = "a" })]]
    assert.equal(409, answer.status)
    assert.same({}, rows("a", "counters"))
  end)

  it("exists: of parallel requests for one name exactly one wins", function()
    scripts(tree {})
    local waiting, won = {}, 0
    for i = 1, 10 do waiting[i] = start { path = "/counters", body = { name = "a" } } end
    settle()
    for i = 1, 10 do
      if waiting[i].status == 201 then won = won + 1 else assert.equal(409, waiting[i].status) end
    end
    assert.equal(1, won)
  end)

  it("bound: an unhandled add past its limit is 409 and changes nothing", function()
    scripts(tree {
      go = [[
      store.create("pairs", { x = 1 })
      store.add("counters", 1, { n = -5 }, { min = 0 })]],
    })
    request { path = "/counters", body = { name = "a", n = 7 } }
    assert.equal(200, request { path = "/go" }.status)
    local second = request { path = "/go" }
    assert.equal(409, second.status)
    assert.equal("bound", second.body.code)
    assert.equal("counters 1: n would leave its bounds", second.body.message)
    assert.equal(2, row("a", "counters", 1).n)
    assert.equal(1, #rows("a", "pairs"))
  end)

  it("bound: try takes the other branch in the re-run", function()
    scripts(tree { go = [[
      local _, err = try(store.add, "counters", 1, { n = 1 }, { max = 1 })
      store.create("pairs", { x = err and 2 or 1 })
      return err and err.code or "added"]] })
    request { path = "/counters", body = { name = "a" } }
    assert.equal("added", request { path = "/go" }.text)
    assert.equal("bound", request { path = "/go" }.text)
    assert.equal(1, row("a", "counters", 1).n)
    assert.equal(2, rows("a", "pairs")[2].x)
  end)

  it("conflict: the task runs again from the start with what is there now", function()
    scripts(tree {
      slow = [[
      local counter = store.get("counters", 1)
      task.sleep("1s")
      store.update("counters", 1, { note = "was " .. counter.n })
      bus.emit("Counted", { name = counter.name })]],
      quick = [[ store.update("counters", 1, { n = 5 }) ]],
    })
    request { path = "/counters", body = { name = "a", n = 1 } }
    local slow = start { path = "/slow" }
    settle()
    assert.equal(200, request { path = "/quick" }.status)
    clock.advance("5s")
    assert.equal(200, slow.status)
    assert.equal("was 5", row("a", "counters", 1).note)
    assert.equal(1, #events())
  end)

  it("conflict: a policy's refused unit runs again, its event is done once", function()
    local made = tree {
      emit = [[ bus.emit("Counted", { name = "a" }) ]],
      quick = [[ store.update("counters", 1, { n = 5 }) ]],
    }
    made["policies/t/count.lua"] = [[return policy "count" { service = "a", on = "Counted", handle = function()
      local counter = store.get("counters", 1)
      task.sleep("1s")
      store.update("counters", 1, { n = counter.n + 1 })
    end }]]
    scripts(made)
    request { path = "/counters", body = { name = "a", n = 1 } }
    request { path = "/emit" }
    settle()
    request { path = "/quick" }
    clock.advance("10s")
    assert.equal(6, row("a", "counters", 1).n)
    assert.same({}, letters())
  end)
end)

describe("PATH-3f the conflict lane", function()
  it("of 20 parallel requests that read, wait and write one row none is lost", function()
    scripts(tree { go = [[
      local counter = store.get("counters", 1)
      task.sleep("100ms")
      store.update("counters", 1, { n = counter.n + 1 })]] })
    request { path = "/counters", body = { name = "a" } }
    local waiting = {}
    for i = 1, 20 do waiting[i] = start { path = "/go" } end
    clock.advance("20s")
    for i = 1, 20 do assert.equal(200, waiting[i].status, "request " .. i) end
    assert.equal(20, row("a", "counters", 1).n)
  end)

  it("rows that are changed in opposite order do not lock each other out", function()
    scripts(tree { go = [[
      local first, second = 1, 2
      if request.query.turn then first, second = 2, 1 end
      local one = store.get("counters", first)
      task.sleep("100ms")
      store.update("counters", first, { n = one.n + 1 })
      local other = store.get("counters", second)
      task.sleep("100ms")
      store.update("counters", second, { n = other.n + 1 })]] })
    request { path = "/counters", body = { name = "a" } }
    request { path = "/counters", body = { name = "b" } }
    local waiting, done = {}, 0
    for i = 1, 10 do waiting[i] = start { path = i % 2 == 0 and "/go" or "/go?turn=1" } end
    clock.advance("29s")
    for i = 1, 10 do
      assert.truthy(waiting[i]:done())
      if waiting[i].status == 200 then done = done + 1 end
    end
    assert.equal(10, done)
    assert.same({ 10, 10 }, { row("a", "counters", 1).n, row("a", "counters", 2).n })
  end)

  it("other rows go on meanwhile", function()
    scripts(tree { go = [[
      local counter = store.get("counters", 1)
      task.sleep("1s")
      store.update("counters", 1, { n = counter.n + 1 })]], other = [[ store.update("counters", 2, { n = 9 }) ]] })
    request { path = "/counters", body = { name = "a" } }
    request { path = "/counters", body = { name = "b" } }
    for _ = 1, 5 do start { path = "/go" } end
    clock.advance("1500ms")
    assert.equal(200, request { path = "/other" }.status)
    assert.equal(9, row("a", "counters", 2).n)
    clock.advance("10s")
    assert.equal(5, row("a", "counters", 1).n)
  end)
end)

describe("PATH-3j upsert", function()
  it("creates what is not there and changes what is", function()
    local answer = go [[
      local made = store.upsert("counters", { name = "a" }, { n = 1 })
      local same = store.upsert("counters", { name = "a" }, { n = 2, note = "again" })
      return { made.id == same.id, made.n, same.n, same.note, store.count("counters") }]]
    assert.same({ true, 1, 2, "again", 1 }, answer.body)
    assert.equal("again", row("a", "counters", 1).note)
  end)

  it("makes one row when tasks race for it", function()
    scripts(tree { go = [[ store.upsert("counters", { name = "a" }, { n = tonumber(request.query.n) }) ]] })
    local waiting = {}
    for i = 1, 10 do waiting[i] = start { path = "/go?n=" .. i } end
    settle()
    for i = 1, 10 do assert.equal(200, waiting[i].status) end
    assert.equal(1, #rows("a", "counters"))
  end)
end)

describe("PATH-3k add", function()
  it("adds of parallel tasks all count, without running again", function()
    scripts(tree { go = [[
      store.add("counters", 1, { n = 1, price = 0.5 })
      task.sleep("1s")]] })
    request { path = "/counters", body = { name = "a", price = 1 } }
    for _ = 1, 50 do start { path = "/go" } end
    clock.advance("1s")
    assert.equal(50, row("a", "counters", 1).n)
    assert.equal(26.0, row("a", "counters", 1).price)
  end)

  it("sells no more than there is, however many ask at once", function()
    scripts(tree { go = [[ store.add("counters", 1, { n = -1 }, { min = 0 }) ]] })
    request { path = "/counters", body = { name = "a", n = 7 } }
    local waiting, sold = {}, 0
    for i = 1, 20 do waiting[i] = start { path = "/go" } end
    settle()
    for i = 1, 20 do
      if waiting[i].status == 200 then sold = sold + 1 else assert.equal("bound", waiting[i].body.code) end
    end
    assert.same({ 7, 0 }, { sold, row("a", "counters", 1).n })
  end)

  it("is seen by the task's own reads, also on a row of its own", function()
    local answer = go [[
      local made = store.create("counters", { name = "a", n = 1 })
      store.add("counters", made, { n = 2 })
      store.add("counters", made.id, { n = 3 })
      local _, err = try(store.add, "counters", made, { n = -10 }, { min = 0 })
      return { store.get("counters", made.id).n, err.code }]]
    assert.same({ 6, "bound" }, answer.body)
  end)

  it("STO-4 what it brings in is found and counted, what it takes away is not", function()
    scripts(tree { go = [[
      store.add("counters", 1, { n = 4 })
      local names = {}
      for i, row in ipairs(store.find("counters", { n = 5 }, { order = "name" })) do names[i] = row.name end
      local inner = unit(function()
        store.add("counters", 1, { n = 1 })
        store.add("counters", 2, { n = 1 })
        return store.count("counters", { n = 6 })
      end)
      return { names, inner, store.count("counters", { n = 6 }), store.count("counters", { n = 1 }),
        store.first("counters", { n = 6, name = "a" }).id }]] })
    request { path = "/counters", body = { name = "a", n = 1 } }
    request { path = "/counters", body = { name = "b", n = 5 } }
    assert.same({ { "a", "b" }, 2, 2, 0, 1 }, request { path = "/go" }.body)
  end)

  it("to a row that is not there, or to no number, raises", function()
    assert.matches("no row 99", go([[ store.add("counters", 99, { n = 1 }) ]]).body.message)
    assert.matches("note is no number", go([[ store.add("counters", 1, { note = 1 }) ]]).body.message)
    assert.matches('unknown option "minimum"', go([[ store.add("counters", 1, { n = 1 }, { minimum = 1 }) ]])
      .body.message)
  end)
end)

describe("PATH-3l reading", function()
  it("snapshot: all reads see one picture", function()
    scripts(tree {
      go = [[
      return store.snapshot(function()
        local before = store.get("counters", 1).n
        task.sleep("1s")
        return { before, store.get("counters", 1).n, store.count("counters") }
      end)]],
      plain = [[
      local before = store.get("counters", 1).n
      task.sleep("1s")
      return { before, store.get("counters", 1).n, store.count("counters") }]],
      change = [[
      store.update("counters", 1, { n = 2 })
      store.create("counters", { name = "new" .. store.count("counters") })]],
    })
    request { path = "/counters", body = { name = "a", n = 1 } }
    local picture = start { path = "/go" }
    settle()
    request { path = "/change" }
    clock.advance("1s")
    assert.same({ 1, 1, 1 }, picture.body)
    local newest = start { path = "/plain" }
    settle()
    request { path = "/change" }
    clock.advance("1s")
    assert.same({ 2, 2, 3 }, newest.body)
  end)

  it("snapshot: ends with an error too, and cannot be nested", function()
    local answer = go [[
      local _, err = try(store.snapshot, function() error("inside") end)
      local _, nested = try(store.snapshot, function() return store.snapshot(function() end) end)
      return { err.message, nested.message, store.snapshot(function() return "again" end) }]]
    assert.matches("inside", answer.body[1])
    assert.matches("store.snapshot cannot be used inside of itself", answer.body[2])
    assert.equal("again", answer.body[3])
  end)

  it("find: conditions, order, limit and offset, over stored and own rows", function()
    scripts(tree { go = [[
      for i = 6, 8 do store.create("counters", { name = "c" .. i, n = i % 3 }) end
      local function names(where, options)
        local found = json.array()
        for i, row in ipairs(store.find("counters", where, options)) do found[i] = row.name end
        return found
      end
      return {
        all = names(), some = names { n = 1 }, none = names { n = 9 },
        down = names(nil, { order = "-name", limit = 2 }),
        page = names(nil, { order = "n", limit = 3, offset = 1 }),
        first = store.first("counters", { n = 2 }, { order = "-id" }).name,
        nothing = store.first("counters", { name = "x" }) == nil,
        count = { store.count("counters"), store.count("counters", { n = 1 }) },
      }]] })
    for i = 1, 5 do request { path = "/counters", body = { name = "c" .. i, n = i % 3 } } end
    assert.same({
      all = { "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8" }, some = { "c1", "c4", "c7" }, none = {},
      down = { "c8", "c7" }, page = { "c6", "c1", "c4" }, first = "c8", nothing = true, count = { 8, 3 },
    }, request { path = "/go" }.body)
  end)

  it("each: visits all rows by id, in pages, and stops at false", function()
    scripts(tree {
      fill = [[ for i = 1, 450 do store.create("counters", { name = "c" .. i, n = i % 2 }) end ]],
      go = [[
      local n, sum, last = 0, 0, 0
      store.each("counters", { n = 1 }, function(row)
        n, sum = n + 1, sum + row.id
        if row.id <= last then error("not in order") end
        last = row.id
      end)
      local some = 0
      store.each("counters", function() some = some + 1; if some == 3 then return false end end)
      return { n, sum, some }]],
    })
    assert.equal(200, request { path = "/fill" }.status)
    assert.same({ 225, 225 * 225, 3 }, request { path = "/go" }.body)
  end)

  it("a wrong field, option or argument raises and names the nearest", function()
    for body, message in pairs {
      ['store.find("counters", { nam = "x" })'] = 'counters has no field "nam"; did you mean "name"?',
      ['store.find("counters", nil, { sort = "n" })'] = 'unknown option "sort"; there are order, limit, offset',
      ['store.find("counters", nil, { order = "m" })'] = 'counters has no field "m"',
      ['store.get("conters", 1)'] = 'service a has no resource "conters"; did you mean "counters"?',
      ['store.get("counters", "x")'] = "the second argument must be an id or a row of counters, got a string",
      ['store.create("counters", { id = 1 })'] = "the id of counters is given by the store",
      ['store.create("counters", { n = {} })'] = "counters.n: expected",
    } do
      local answer = go(body)
      assert.equal(500, answer.status)
      assert.matches(message, answer.body.message)
    end
  end)

  it("update and delete tell whether there was a row", function()
    local answer = go [[
      local made = store.create("counters", { name = "a" })
      return {
        store.update("counters", 99, { n = 1 }) == nil, store.delete("counters", 99),
        store.update("counters", made, { n = 4 }).n, store.delete("counters", made), store.get("counters", 1) == nil,
        store.delete("counters", 1) }]]
    assert.same({ true, false, 4, true, true, false }, answer.body)
    assert.same({}, rows("a", "counters"))
  end)
end)

describe("PATH-3d rows and events in scripts", function()
  it("rows are read-only and say what to do instead", function()
    assert.matches('this row of counters cannot be assigned to; use store.update("counters", id, { n = ... })',
      go([[ store.create("counters", { name = "a" }).n = 3 ]]).body.message)
  end)

  it("an undeclared field raises and names the nearest, an absent one is nil", function()
    assert.same({ true, 'counters has no field "nmae"; did you mean "name"?' }, go([[
      local row = store.create("counters", { name = "a" })
      local _, err = try(function() return row.nmae end)
      return { row.note == nil, err.message }]]).body)
  end)

  it("pairs visits the id and the fields that have a value", function()
    assert.same({ id = 1, name = "a", n = 0 }, go([[
      local found = {}
      for name, value in pairs(store.create("counters", { name = "a" })) do found[name] = value end
      return found]]).body)
  end)
end)

describe("G7 own data", function()
  it("another service's table raises and says whose it is", function()
    for _, word in ipairs { 'find("others")', 'get("others", 1)', 'create("others", {})', 'update("others", 1, {})',
      'delete("others", 1)', 'add("others", 1, { n = 1 })', 'count("others")', 'each("others", function() end)',
      'upsert("others", { name = "a" }, {})', 'first("others")' } do
      local answer = go("store." .. word)
      assert.equal(500, answer.status)
      assert.matches('"others" belongs to service b, not to a; services talk by http or by events', answer.body.message)
    end
  end)

  it("a policy uses its own service's tables", function()
    local made = tree { emit = [[ bus.emit("Counted", { name = "a" }) ]] }
    made["policies/t/count.lua"] = [[return policy "count" { service = "b", on = "Counted", handle = function(event)
      local _, err = try(store.find, "counters")
      store.create("others", { name = err.message })
    end }]]
    scripts(made)
    request { path = "/emit" }
    assert.matches('"counters" belongs to service a, not to b', rows("b", "others")[1].name)
  end)
end)
