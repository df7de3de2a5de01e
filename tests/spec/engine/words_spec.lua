-- SPDX-License-Identifier: MIT
-- What scripts have of Lua and of the host, and what they are told when they reach for something else.
local declared = [[
return {
  resource "items" { service = "a", fields = { text "name", integer "n" } },
}
]]

local function tree(body)
  return {
    ["systems/t.lua"] = [[return { services = { a = {} }, config = { colour = "blue" },
      breakers = { guard = { timeout_ms = 1000 } } }]],
    ["routes/t/a.lua"] = declared,
    ["lib/sums.lua"] = [[
      local sums = {}
      function sums.double(n) return 2 * n end
      return sums]],
    ["routes/t/go.lua"] = 'return route "go" { service = "a", method = "POST", path = "/go/{id}", ' ..
      "handle = function(request, context)\n" .. body .. "\nend }",
  }
end

local function go(body, options)
  scripts(tree(body))
  options = options or {}
  options.method, options.path = "POST", options.path or "/go/1"
  return request(options)
end

local function said(body)
  local answer = go(body)
  assert.equal(500, answer.status)
  assert.equal("script", answer.body.code)
  return answer.body.message
end

describe("PATH-5b coroutines of scripts", function()
  local fill = [[ for i = 1, 3 do store.create("items", { name = "i" .. i, n = 10 - i }) end ]]

  it("a generator may call the store between its values", function()
    assert.same({ "i1", "i2", "i3" }, go(fill .. [[
      local function each_name()
        return coroutine.wrap(function()
          for id = 1, 3 do coroutine.yield(store.get("items", id).name) end
        end)
      end
      local found = {}
      for name in each_name() do found[#found + 1] = name end
      return found]]).body)
  end)

  it("two of them take turns, and a sleep in one is a sleep of the task", function()
    local before
    scripts(tree [[
      local out = {}
      local function worker(name)
        return coroutine.create(function()
          for i = 1, 2 do
            task.sleep("1s")
            coroutine.yield(name .. i)
          end
          return name .. "!"
        end)
      end
      local a, b = worker "a", worker "b"
      for _ = 1, 3 do
        for _, co in ipairs { a, b } do out[#out + 1] = select(2, coroutine.resume(co)) end
      end
      out[#out + 1] = coroutine.status(a)
      return out]])
    settle()
    before = clock.now()
    assert.same({ "a1", "b1", "a2", "b2", "a!", "b!", "dead" }, request { method = "POST", path = "/go/1" }.body)
    assert.equal(4000, clock.now() - before)
  end)

  it("a nested one waits through both, errors come out with their message", function()
    assert.same({ "i2", false, true }, go(fill .. [[
      local outer = coroutine.wrap(function()
        local inner = coroutine.wrap(function() return store.get("items", 2).name end)
        return inner()
      end)
      local name = outer()
      local ok, err = coroutine.resume(coroutine.create(function() store.get("nothing", 1) end))
      return { name, ok, tostring(err):find("nothing", 1, true) ~= nil }]]).body)
  end)

  it("yield outside of an own coroutine raises", function()
    assert.matches("this code does not run in a coroutine of yours", said [[ coroutine.yield(1) ]])
  end)

  it("a wait inside of sort is refused, with the same message on every engine", function()
    assert.equal("store.get may have to wait and cannot be used here (inside a sort or gsub callback, a metamethod " ..
      "called from C, or a <close> variable)", said(fill .. [[
      local ids = { 3, 1, 2 }
      table.sort(ids, function(a, b) return store.get("items", a).n < store.get("items", b).n end)
      return ids]]))
  end)

  it("a wait inside of gsub is refused, also from a coroutine in it", function()
    assert.matches("store.get may have to wait", said(fill .. [[
      return (("1 2"):gsub("%d", function(id) return store.get("items", tonumber(id)).name end))]]))
    assert.matches("store.get may have to wait", said(fill .. [[
      return (("1 2"):gsub("%d", function(id)
        return coroutine.wrap(function() return store.get("items", tonumber(id)).name end)()
      end))]]))
  end)
end)

describe("PATH-5h JSON in scripts", function()
  it("goes there and back without loss", function()
    local text = '{"a":[],"b":{},"c":[1,2.5,"x"],"d":9007199254740993,"e":25000.0,"f":true,"g":"\\u00fc\\n\\""}'
    local plain = { ["Content-Type"] = "text/plain" }
    scripts(tree [[ return json.encode(json.decode(request.body)) ]])
    local answer = request { method = "POST", path = "/go/1", body = text, headers = plain }
    assert.equal('{"a":[],"b":{},"c":[1,2.5,"x"],"d":9007199254740993,"e":25000.0,"f":true,"g":"ü\\n\\""}', answer.text)
  end)

  it("null is absent in objects and json.null in lists", function()
    assert.same({ true, true, "[1,null]", "{}", "[]", '{"n":null}' }, go([[
      local value = json.decode('{"list":[1,null],"n":null}')
      return { value.n == nil, value.list[2] == json.null, json.encode(value.list), json.encode({}),
        json.encode(json.array()), json.encode({ n = json.null }) }]]).body)
  end)

  it("names what is wrong with a text or value", function()
    assert.matches("line 1", go([[ json.decode("{") ]]).body.message)
    assert.equal("JSON cannot hold a function", said [[ json.encode({ f = function() end }) ]])
    assert.equal('a JSON list has the key "n" beside its 2 entries: a table is a list or an object',
      said [[ json.encode({ 1, 2, n = 2 }) ]])
    assert.equal("a JSON list has the key 3 beside its 1 entries: a table is a list or an object",
      said [[ json.encode({ list = { [1] = "a", [3] = "c" } }) ]])
    assert.equal('a JSON list has the key "a" beside its 0 entries: a table is a list or an object',
      said [[ json.encode(json.array({ a = 1 })) ]])
    assert.equal("[1,null,3]", go([[ return json.encode({ 1, nil, 3 }) ]]).text)
    assert.matches("nested deeper than 64", said [[
      local loop = {}
      loop.loop = loop
      json.encode(loop)]])
  end)
end)

describe("PATH-5k names that are not there", function()
  it("a global that is misspelt names the nearest", function()
    assert.equal('`stroe` is not available to scripts; did you mean "store"?', said [[ stroe.get("items", 1) ]])
  end)

  it("a word of a library that is misspelt names the nearest", function()
    assert.equal('`store.crate` is not available to scripts; did you mean "store.create"?',
      said [[ store.crate("items", {}) ]])
    assert.equal('`string.uper` is not available to scripts; did you mean "string.upper"?', said [[ string.uper("x") ]])
  end)

  it("a word that a function ends with says the same as any", function()
    local answer = go [[ return breaker "none" ]]
    assert.equal("script", answer.body.code)
    assert.equal(1, (answer.body.message:find('breaker "none" has no settings', 1, true)))
  end)

  it("what leads out of the sandbox is not there", function()
    for _, name in ipairs { "io.x", "os.x", "debug.x", "package.x", "require", "load", "loadstring", "dofile",
      "loadfile", "getmetatable", "rawset", "collectgarbage", "print", "_G", "string.dump" } do
      assert.matches("`" .. name .. "` is not available to scripts: ", said("return " .. name .. ".y"))
    end
  end)

  it("a new global is refused and says what to write", function()
    assert.equal("total would be a global; write `local total`", said [[ total = 1 ]])
  end)

  it("libraries cannot be changed", function()
    assert.matches("string.upper cannot be assigned: libraries are the same for every script",
      said [[ string.upper = function() end ]])
    assert.matches("store.get cannot be assigned", said [[ function store.get() end ]])
  end)

  it("an error names file and line, and never the host's own code", function()
    scripts(tree [[
      local _, err = try(function()
        return nothing_here
      end)
      return { err.origin }]])
    assert.same({ "scripts/routes/t/go.lua:3" }, request { method = "POST", path = "/go/1" }.body)
  end)
end)

describe("PATH-5j routes", function()
  it("get method, path, params, query, headers and body", function()
    scripts(tree [[
      return { request.method, request.path, request.params.id, request.query.q, request.headers["x-two"],
        request.body.n, context.service, context.correlation_id }]])
    local answer = request { method = "POST", path = "/go/a%20b?q=c%26d&q2", body = { n = 1 },
      headers = { ["X-Two"] = "2", ["X-Correlation-Id"] = "abc" } }
    assert.same({ "POST", "/go/a%20b", "a b", "c&d", "2", 1, "a", "abc" }, answer.body)
    assert.equal("abc", answer.headers["x-correlation-id"])
  end)

  it("answer with a value, a text, nothing, or response()", function()
    assert.equal("application/json;charset=UTF-8", go([[ return { 1 } ]]).headers["content-type"])
    assert.equal("text/plain;charset=UTF-8", go([[ return "text" ]]).headers["content-type"])
    local nothing = go [[ local _ = 1 ]]
    assert.same({ 200, "" }, { nothing.status, nothing.text })
    local made = go [[
      return response(202, { ok = true }, { ["X-One"] = "1", ["Content-Type"] = "application/x+json" })]]
    assert.same({ 202, "1", "application/x+json", true },
      { made.status, made.headers["x-one"], made.headers["content-type"], made.body.ok })
  end)

  it("have one correlation id, whatever they say of it", function()
    local answer = go([[ return response(200, "", { ["X-Correlation-Id"] = "mine", ["X-One"] = "1" }) ]],
      { headers = { ["X-Correlation-Id"] = "abc" } })
    assert.same({ "abc", "1" }, { answer.headers["x-correlation-id"], answer.headers["x-one"] })
  end)

  it("cannot split the answer by a header", function()
    assert.matches("CR, LF or another control byte", said [[ return response(200, "", { ["X-One"] = "a\r\nb: c" }) ]])
  end)

  it("know their paths: 404, 405 with Allow, OPTIONS", function()
    scripts(tree [[ return "x" ]])
    assert.equal(404, request { path = "/nothing" }.status)
    local wrong = request { path = "/go/1" }
    assert.same({ 405, "POST, OPTIONS" }, { wrong.status, wrong.headers.allow })
    assert.equal(200, request { path = "/go/1", method = "OPTIONS" }.status)
    assert.equal(404, request { path = "/items/77" }.status)
  end)
end)

describe("PATH-5f answers of siblings", function()
  local answers = [[
    local function members(value)
      local names = {}
      for name in pairs(value) do names[#names + 1] = name end
      table.sort(names)
      return table.concat(names, " ")
    end
    ]]

  it("are whole as a value: status, headers and body, and nothing else", function()
    local found = go(answers .. [[
      local made = http.post("http://a/items", { name = "x" })
      local one = http.get("http://a/items/1")
      return { made = made, one = one, members = members(made), again = json.encode(made) }]]).body
    assert.equal("body headers status", found.members)
    assert.equal("x", json.decode(found.again).body.name)
    assert.equal("http://a/items/1", found.made.headers.location)
    for _, answer in ipairs { found.made, found.one } do
      assert.equal("x", answer.body.name)
      assert.equal("application/json;charset=UTF-8", answer.headers["content-type"])
      assert.equal(nil, answer.row)
      assert.equal(nil, answer.base)
    end
  end)

  it("tell their type, as over the network; the route's own goes before it", function()
    local function type_of(returned)
      return go(([[
        if request.params.id == "2" then return %s end
        return http.post("http://a/go/2").headers["Content-Type"] ]]):format(returned)).text
    end
    assert.equal("text/plain;charset=UTF-8", type_of '"x"')
    assert.equal("application/json;charset=UTF-8", type_of "{ 1 }")
    assert.equal("text/csv", type_of 'response(200, "a;b", { ["Content-Type"] = "text/csv" })')
    assert.equal("", type_of "nil")
  end)

  it("of a collection and of a route too, and so is the request that the route got", function()
    local found = go(answers .. [[
      if request.params.id == "2" then return { request = request, members = members(request) } end
      return { list = http.get("http://a/items"), route = http.post("http://a/go/2", { n = 1 }) }]]).body
    assert.same({}, found.list.body._embedded.items)
    assert.equal(nil, found.list.text)
    assert.equal(1, found.route.body.request.body.n)
    assert.equal("body headers method params path query", found.route.body.members)
  end)
end)

describe("PATH-5l libraries", function()
  it("use gives lib files, config the settings of the system", function()
    assert.same({ 42, "blue" }, go([[ return { use("lib.sums").double(21), config.colour } ]]).body)
    assert.matches("`config.color` is not available to scripts", said [[ return config.color ]])
  end)

  it("a lib file that is not there is named", function()
    assert.matches('use "lib.sum": there is no such file in scripts/lib', said [[ use "lib.sum" ]])
  end)

  it("clock is the host's", function()
    scripts(tree [[ return { clock.now(), clock.iso(), clock.iso(0) } ]])
    clock.advance("1h")
    assert.same({ clock.now(), "2026-01-01T01:00:00.000Z", "1970-01-01T00:00:00.000Z" },
      request { method = "POST", path = "/go/1" }.body)
  end)
end)
