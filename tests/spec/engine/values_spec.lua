-- SPDX-License-Identifier: MIT
-- Values at their limits: between JSON, scripts and the store nothing is lost and nothing wrong gets in.
local function go(body, declared)
  scripts {
    ["systems/t.lua"] = [[return { services = { a = {} } }]],
    ["routes/t/a.lua"] = declared or [[return resource "v" { service = "a", fields = { integer "i", number "x",
      decimal(2) "d", text "t" { length = 5 }, boolean "b", timestamp "at", json "j" } }]],
    ["routes/t/go.lua"] = [[return route "go" { service = "a", method = "POST", path = "/go",
      handle = function(request)
        local used = request
        ]] .. body .. [[

        if not used then return end
      end }]],
  }
  return request { path = "/go", body = { sent = true } }
end

local function said(body)
  local answer = go(body)
  assert(answer.status >= 400, answer.text)
  return answer.body.message
end

describe("PATH-3a values", function()
  it("integers of 64 bits", function()
    local answer = go [[
      local row = store.create("v", { i = math.maxinteger })
      local low = store.create("v", { i = math.mininteger, x = 0.1 })
      if true then return { store.get("v", row.id).i == math.maxinteger, low.i == math.mininteger, low.x == 0.1 } end]]
    assert.same({ true, true, true }, answer.body)
    assert.equal('{"i":9223372036854775807,"x":null,"d":null,"t":null,"b":null,"at":null,"j":null,',
      request({ path = "/v/1" }).text:match("^(.-)\"_links"))
    assert.equal(201, request { path = "/v", body = '{"i":9223372036854775807}' }.status)
    assert.equal(400, request { path = "/v", body = '{"i":9223372036854775808}' }.status)
    assert.equal(400, request { path = "/v", body = '{"i":1.5}' }.status)
    assert.equal(5, request { path = "/v", body = '{"i":5.0}' }.body.i)
  end)

  it("numbers that are none", function()
    assert.matches("v.x", said [[ store.create("v", { x = 0/0 }) ]])
    assert.matches("v.x", said [[ store.create("v", { x = math.huge }) ]])
    assert.matches("v.i: expected an integer", said [[ store.create("v", { i = 1.5 }) ]])
    assert.matches("v.b: expected", said [[ store.create("v", { b = "perhaps" }) ]])
  end)

  it("decimals are exact", function()
    assert.same({ 0.1, 12.35, true }, go([[
      local row = store.create("v", { d = 0.1 })
      local other = store.create("v", { d = "12.35" })
      store.add("v", row, { d = 0.2 })
      if true then return { row.d, other.d, store.get("v", row.id).d == 0.3 } end]]).body)
    assert.matches('"d":0.30', request { path = "/v/1" }.text)
  end)

  it("text: UTF-8, its length in characters, no NUL", function()
    assert.same({ "üüüüü" }, go([[
      local row = store.create("v", { t = "üüüüü" })
      if true then return { store.get("v", row.id).t } end]]).body)
    assert.matches("v.t", said [[ store.create("v", { t = "123456" }) ]])
    assert.matches("text must be UTF-8 without NUL", said [[ store.create("v", { t = "a\0b" }) ]])
    assert.matches("text must be UTF-8 without NUL", said [[ store.create("v", { t = "\xff" }) ]])
    assert.equal(400, request { path = "/v", body = '{"t":"\\u0000"}' }.status)
    assert.equal(400, request { path = "/v", body = '{"t":"\xff"}' }.status)
  end)

  it("timestamps are epoch milliseconds in scripts", function()
    assert.equal(1735689600123, go([[
      local row = store.create("v", { at = "2025-01-01T01:00:00.123+01:00" })
      if true then return row.at end]]).body)
    assert.matches('"at":"2025-01-01T00:00:00.123Z"', request { path = "/v/1" }.text)
  end)

  it("timestamps have a first and a last one, in epoch milliseconds", function()
    local function at(time) return request { path = "/v", body = { at = time } } end
    go("", [[return resource "v" { service = "a", fields = { timestamp "at" { min = 1000, max = 1735689600000 } } }]])
    assert.same({ 201, 201 }, { at(1000).status, at("2025-01-01T00:00:00Z").status })
    assert.equal("must be at least 1000", at("1970-01-01T00:00:00.999Z").body.errors[1].message)
    assert.equal("must be at most 1735689600000", at(1735689600001).body.errors[1].message)
  end)

  it("JSON fields hold what JSON holds", function()
    assert.same({ "x", 0, true, 2 }, go([[
      local row = store.create("v", { j = { list = {}, deep = { { name = "x" } }, yes = true } })
      local again = store.get("v", row.id).j
      again.list[1] = 1
      store.update("v", row.id, { j = again })
      store.update("v", row.id, { j = { 1, 2 } })
      if true then return { again.deep[1].name, #row.j.list, row.j.yes, #store.get("v", row.id).j } end]]).body)
  end)

  it("null empties a field, nil leaves it", function()
    assert.same({ 1, true, true }, go([[
      local row = store.create("v", { i = 1, t = "x" })
      store.update("v", row.id, { i = nil, t = json.null })
      local now = store.get("v", row.id)
      if true then return { now.i, now.t == nil, row.t == "x" } end]]).body)
  end)

  it("adding past 64 bits is refused and loses nothing", function()
    assert.equal(409, go([[
      local row = store.create("v", { i = math.maxinteger })
      store.add("v", row, { i = 1 })]]).status)
    scripts { ["systems/t.lua"] = [[return { services = { a = {} } }]],
      ["routes/t/a.lua"] = [[return { resource "v" { service = "a", fields = { integer "i" } },
        route "add" { service = "a", method = "POST", path = "/add", handle = function()
          store.add("v", store.first("v").id, { i = 1 })
        end } }]] }
    assert.equal(201, request { path = "/v", body = '{"i":9223372036854775807}' }.status)
    assert.equal(409, request { path = "/add", method = "POST" }.status)
    assert.equal(math.maxinteger, rows("a", "v")[1].i)
  end)

  it("a body of broken JSON is 400 for a route that looks at it, nothing for one that does not", function()
    go [[ if true then return request.body.x end ]]
    assert.equal(400, request { path = "/go", body = "{" }.status)
    go [[ if true then return "not looked at" end ]]
    assert.equal("not looked at", request { path = "/go", body = "" }.text)
  end)

  it("JSON nested deeper than 64 is 400", function()
    go [[ if true then return #request.body end ]]
    assert.equal(200, request { path = "/go", body = ("["):rep(60) .. ("]"):rep(60) }.status)
    assert.equal(400, request { path = "/go", body = ("["):rep(70) .. ("]"):rep(70) }.status)
  end)
end)
