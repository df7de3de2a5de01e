-- SPDX-License-Identifier: MIT
-- What files make while they load: everybody can read it, nobody can change it, so that no service, task or worker sees
-- what another one left there.
local function tree(files)
  local made = {
    ["systems/t.lua"] = [[return { services = { a = {}, b = {} },
      config = { limits = { low = 1, list = { "x", "y" } }, names = { "n1", "n2", "n3" } } }]],
    ["lib/shared.lua"] = [[
      local known = { red = true, nested = { deep = { 1, 2 } } }
      local Point = {}
      Point.__index = Point
      Point.__add = function(p, q) return Point.new(p.x + q.x) end
      function Point.new(x) return setmetatable({ x = x }, Point) end
      local function remember(name) known[name] = true end
      return { known = known, Point = Point, remember = remember, origin = Point.new(0), list = { 3, 1, 2 },
               knows = function(name) return known[name] == true end }]],
  }
  for name, text in pairs(files or {}) do made[name] = text end
  return made
end

local function route(service, name, body)
  return ('return route "%s" { service = "%s", method = "GET", path = "/%s", handle = function(request)\n%s\nend }')
    :format(name, service, name, body)
end

-- { what service a tries, its error's text, what service b then sees }
local writes = {
  { "a value of config", "config.limits.low = 2", "config.limits.low cannot be assigned", "config.limits.low", 1 },
  { "a new name in config", "config.limits.new = 2", "config.limits.new cannot be assigned", "config.limits.new", nil },
  { "a list in config", "config.names[1] = 'z'", "config.names.1 cannot be assigned", "config.names[1]", "n1" },
  { "a list in a table in config", "config.limits.list[3] = 'z'", "config.limits.list.3 cannot", "#config.limits.list",
    2 },
  { "table.insert", "table.insert(config.names, 'z')", "config.names.4 cannot be assigned", "#config.names", 3 },
  { "table.remove", "table.remove(config.names)", "config.names.3 cannot be assigned", "#config.names", 3 },
  { "table.sort", "table.sort(use('lib.shared').list)", "cannot be assigned", "use('lib.shared').list[1]", 3 },
  { "table.move", "table.move({ 9 }, 1, 1, 1, config.names)", "config.names.1 cannot", "config.names[1]", "n1" },
  { "a table in a library", "use('lib.shared').known.blue = true", "known.blue cannot be assigned",
    "use('lib.shared').known.blue", nil },
  { "a table far inside a library", "use('lib.shared').known.nested.deep[1] = 9", "known.nested.deep.1 cannot",
    "use('lib.shared').known.nested.deep[1]", 1 },
  { "a library's own table, by its function", "use('lib.shared').remember('blue')", "known.blue cannot be assigned",
    "use('lib.shared').knows('blue')", false },
  { "a class", "use('lib.shared').Point.new = 1", "new cannot be assigned",
    "type(use('lib.shared').Point.new)", "function" },
  { "an object that a library made", "use('lib.shared').origin.x = 7", "origin.x cannot be assigned",
    "use('lib.shared').origin.x", 0 },
  { "the metatable of a library's table", "setmetatable(use('lib.shared').known, {})", "protected metatable",
    "use('lib.shared').known.red", true },
  { "the metatable of a library, by json.array", "json.array(string)", "this table cannot be changed",
    "('x'):rep(2) .. string.rep('y', 2)", "xxyy" },
  { "the metatable of a table in config, by json.array", "json.array(config.names)", "this table cannot be changed",
    "config.names[2]", "n2" },
  { "a global", "leak = 1", "leak would be a global", "pcall(function() return leak end)", false },
  { "the environment by rawget", "rawget(_ENV, 'string').rep = 1", "string.rep cannot be assigned",
    "('x'):rep(2)", "xx" },
}

describe("RULES-4b what files share cannot change", function()
  for _, case in ipairs(writes) do
    it(case[1], function()
      scripts(tree {
        ["routes/t/write.lua"] = route("a", "write", ("local ok, err = pcall(function() %s end)\n" ..
          "return { ok = ok, text = tostring(err), origin = not ok and err.origin or nil }"):format(case[2])),
        ["routes/t/read.lua"] = route("b", "read", ("return { value = (%s) }"):format(case[4])),
      })
      local written = request { path = "/write" }.body
      assert.falsy(written.ok)
      assert.matches(case[3], written.text)
      assert.matches("^scripts/", written.origin)
      assert.equal(case[5], request { path = "/read" }.body.value)
    end)
  end

  it("the body of a call between services is a copy", function()
    scripts(tree {
      ["routes/t/take.lua"] = [[return route "take" { service = "b", method = "POST", path = "/take",
        handle = function(request, context)
          request.body.inner.n = 99
          request.body.more = true
          return { n = request.body.inner.n }
        end }]],
      ["routes/t/go.lua"] = route("a", "go", [[
        local body = { inner = { n = 1 } }
        local answer = http.post("http://b/take", body)
        return { mine = body.inner.n, more = body.more, theirs = answer.body.n }]]),
    })
    assert.same({ mine = 1, theirs = 99 }, request { path = "/go" }.body)
  end)

  it("each task has a random sequence of its own", function()
    scripts(tree {
      ["routes/t/seed.lua"] = route("a", "seed", "math.randomseed(7)\nreturn { n = math.random(1 << 40) }"),
      ["routes/t/draw.lua"] = route("b", "draw", "return { n = math.random(1 << 40) }"),
    })
    local first, again = request { path = "/seed" }.body.n, request { path = "/seed" }.body.n
    assert.equal(first, again)
    local drawn = request { path = "/draw" }.body.n
    request { path = "/seed" }
    assert.truthy(drawn ~= request { path = "/draw" }.body.n)
  end)
end)

describe("RULES-4c what cannot change can be read in every way", function()
  -- { expression, its value }
  local reads = {
    { "#config.names", 3 }, { "table.concat(config.names, ' ')", "n1 n2 n3" },
    { "select('#', table.unpack(config.names))", 3 }, { "rawlen(config.names)", 3 },
    { "rawget(config.limits, 'low')", 1 }, { "next(config.limits.list)", 1 },
    { "json.encode(config.limits)", '{"list":["x","y"],"low":1}' },
    { "cjson.encode(config.limits.list)", '["x","y"]' },
    { "cjson.encode({ config.names })", '[["n1","n2","n3"]]' },
    { "config.names == config.names", true },
    { "use('lib.shared').Point.new(2).x + use('lib.shared').origin.x", 2 },
    { "(use('lib.shared').Point.new(2) + use('lib.shared').Point.new(3)).x", 5 },
    { "(use('lib.shared').origin + use('lib.shared').Point.new(3)).x", 3 },
    { "use('lib.shared').known.none == nil", true },
    { "use('lib.shared').Point.new(1).none == nil", true },
    { "table.pack(table.unpack(use('lib.shared').list)).n", 3 },
    { "#table.move(config.names, 1, 3, 1, {})", 3 },
  }
  for _, case in ipairs(reads) do
    it(case[1], function()
      scripts(tree { ["routes/t/read.lua"] = route("a", "read", ("return { value = (%s) }"):format(case[1])) })
      local answer = request { path = "/read" }
      assert.equal(case[2], answer.body.value, answer.text)
    end)
  end

  it("ipairs and pairs, and as arguments of words", function()
    scripts(tree {
      ["systems/t.lua"] = [[return { services = { a = {} }, config = { row = { name = "n", note = "x" },
        where = { name = "n" }, list = { 1, 2 }, order = { order = "-id", limit = 1 } } }]],
      ["routes/t/rows.lua"] = [[return {
        event "Told" { service = "a", key = { n = "name" }, fields = { text "name", text "note" } },
        resource "rows" { service = "a", fields = { text "name", text "note" } } }]],
      ["routes/t/read.lua"] = route("a", "read", [[
        local sum, names = 0, {}
        for _, n in ipairs(config.list) do sum = sum + n end
        for name in pairs(config.row) do names[#names + 1] = name end
        table.sort(names)
        store.create("rows", config.row)
        bus.emit("Told", config.row, config.where)
        return { sum = sum, names = names, found = #store.find("rows", config.where, config.order) }]]),
    })
    local answer = request { path = "/read" }
    assert.same({ sum = 3, names = { "name", "note" }, found = 1 }, answer.body)
    assert.equal("x", events("Told")[1].payload.note)
  end)
end)

-- { what a file keeps, its text, what the refusal says }
local kept = {
  { "a counter", "local n = 0\nreturn {\n  next = function()\n    n = n + 1\n    return n\n  end }",
    "scripts/lib/kept.lua:4: assigns to `n`, a local of the file" },
  { "a counter in a function inside", "local n = 0\nreturn { next = function() return function()\nn = 1 end end }",
    "scripts/lib/kept.lua:3: assigns to `n`" },
  { "a counter that a function made", "local function counter()\n  local n = 0\n  return function()\n" ..
    "    n = n + 1\n    return n\n  end\nend\nreturn { next = counter() }",
    "scripts/lib/kept.lua:4: assigns to `n`" },
  { "a counter in the metatable of a table", "local n = 0\nreturn setmetatable({}, { __index = function()\n" ..
    "n = n + 1\nreturn n end })", "scripts/lib/kept.lua:3: assigns to `n`" },
  { "another environment", "return { go = function()\n  _ENV = {}\nend }",
    "scripts/lib/kept.lua:2: assigns to `_ENV`" },
  { "a coroutine", "local co = coroutine.create(function() end)\nreturn { go = function() return co end }",
    "scripts/lib/kept.lua:2: `co` is a coroutine or an iterator" },
  { "a generator", "local co = coroutine.wrap(function() end)\nreturn { go = co }", "is a coroutine or an iterator" },
  { "an iterator", "local each = ('a b'):gmatch('%a')\nreturn {\n  go = function() return each() end }",
    "scripts/lib/kept.lua:3: `each` is a coroutine or an iterator" },
}

describe("RULES-4d a file that keeps what changes is refused with file and line", function()
  for _, case in ipairs(kept) do
    it(case[1], function()
      assert.error_matches(case[3], function() scripts(tree { ["lib/kept.lua"] = case[2] }) end)
    end)
  end

  it("in a handler of a route or policy too", function()
    assert.error_matches("scripts/routes/t/a.lua:3: assigns to `row`", function()
      scripts(tree { ["routes/t/a.lua"] = "local row\n" .. route("a", "a", "row = 1") })
    end)
  end)

  it("in a hook of a resource and a function of a view too", function()
    assert.error_matches("scripts/routes/t/r.lua:3: assigns to `last`", function()
      scripts(tree { ["routes/t/r.lua"] = [[
        local last
        return resource "kept" { service = "a", fields = { text "name" },
          before_create = function(row) last = row end }]] })
    end)
    assert.error_matches("scripts/policies/t/v.lua:4: assigns to `n`", function()
      scripts(tree { ["policies/t/v.lua"] = [[
        local n = 0
        return { event "Seen" { service = "a", key = { seen = "n" }, fields = { integer "n" } },
          view "sights" { service = "a", by = "n", fields = { integer "n" }, on = {
            Seen = function() n = n + 1 end } } }]] })
    end)
  end)

  it("what only runs while the file loads may count", function()
    scripts(tree { ["lib/kept.lua"] = "local n = 0\nlocal function new() n = n + 1 return n end\n" ..
      "local f\nlocal function g() return f() end\nfunction f() return 5 end\n" ..
      "return { one = new(), two = new(), g = g }",
      ["routes/t/a.lua"] = route("a", "a", "local k = use('lib.kept') return { k.one, k.two, k.g() }") })
    assert.same({ 1, 2, 5 }, request { path = "/a" }.body)
  end)

  it("declarations and fields cannot be changed after they were checked", function()
    assert.error_matches('scripts/routes/t/a.lua:2: event "E": "fields" cannot be assigned', function()
      scripts(tree { ["routes/t/a.lua"] = [[
        local e = event "E" { service = "a", key = { n = "n" }, fields = { text "n" } }
        e.fields = nil
        return e]] })
    end)
    assert.error_matches('scripts/routes/t/a.lua:2: field n: "name" cannot be assigned', function()
      scripts(tree { ["routes/t/a.lua"] = "local f = text 'n'\nf.name = 'm'" })
    end)
  end)
end)
