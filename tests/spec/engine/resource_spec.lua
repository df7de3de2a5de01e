-- SPDX-License-Identifier: MIT
-- Resources over HTTP: bodies, defaults, what is refused, hooks.
local tree = {
  ["systems/t.lua"] = [[return { services = { a = {} } }]],
  ["routes/t/a.lua"] = [[
return {
  event "Made" { service = "a", key = { thing = "id" }, fields = { integer "id", text "name" } },
  resource "things" { service = "a", rel = "thing",
    fields = {
      text "name" { required = true, length = 10 }, integer "qty" { min = 1, max = 100, default = 1 },
      decimal(2) "price", boolean "open" { default = true }, timestamp "at", json "more",
    },
    before_create = function(thing, context)
      if thing.name == "twin" then return store.first("things", { name = "twin" }) end
      if thing.name == "stop" then fail(422, "not this one") end
      if context.body.double then thing.qty = thing.qty * 2 end
    end,
    on_create = function(thing)
      bus.emit("Made", thing)
    end,
  },
}]],
}

describe("PATH-3a resources", function()
  scripts(tree)

  local links = '"_links":{"self":{"href":"http://localhost/things/1"},"thing":{"href":"http://localhost/things/1"}}}'

  local function post(body, headers) return request { path = "/things", body = body, headers = headers } end

  it("a row gets its defaults, its id and a Location, and is read back the same", function()
    local made = post { name = "a" }
    assert.equal(201, made.status)
    assert.equal('{"name":"a","qty":1,"price":null,"open":true,"at":null,"more":null,' .. links, made.text)
    assert.equal("http://localhost/things/1", made.headers.location)
    assert.equal(made.text, request { path = "/things/1" }.text)
    assert.equal(1, events("Made")[1].payload.id)
  end)

  it("values keep their type: decimals exactly, timestamps as RFC 3339, JSON as it is", function()
    local made = post('{"name":"a","price":"12.5","at":"2026-01-02T03:04:05+01:00","more":{"x":[]},"qty":"7",' ..
      '"open":false}')
    assert.equal('{"name":"a","qty":7,"price":12.50,"open":false,"at":"2026-01-02T02:04:05.000Z",' ..
      '"more":{"x":[]},' .. links, made.text)
  end)

  it("everything that fails its declaration is listed in one answer of 400", function()
    local refused = post { name = "much too long", qty = 0 }
    assert.equal(400, refused.status)
    assert.equal("invalid", refused.body.code)
    assert.equal("application/problem+json", refused.headers["content-type"])
    local errors = refused.body.errors
    assert.equal(2, #errors)
    assert.same({ "things", "name", "much too long" },
      { errors[1].entity, errors[1].property, errors[1].invalidValue })
    assert.same({ "qty", 0, "must be at least 1" }, { errors[2].property, errors[2].invalidValue, errors[2].message })
    assert.same({}, rows("a", "things"))
    assert.same({}, events())
  end)

  it("a missing required field and a wrong type are 400", function()
    assert.equal("must not be null", post({ qty = 1 }).body.errors[1].message)
    local wrong = post { name = "a", qty = "many" }
    assert.equal(400, wrong.status)
    assert.same({ "qty", "many" }, { wrong.body.errors[1].property, wrong.body.errors[1].invalidValue })
  end)

  it("a body that is no JSON object is 400, another media type 415", function()
    assert.equal(400, post("{").status)
    assert.equal(400, post("[]").status)
    assert.equal(400, request({ method = "POST", path = "/things" }).status)
    assert.equal(415, post("name=a", { ["Content-Type"] = "application/x-www-form-urlencoded" }).status)
  end)

  it("before_create changes the row, returns another one, or refuses", function()
    assert.equal(6, post({ name = "a", qty = 3, double = true }).body.qty)
    local first = post { name = "b" }
    assert.equal(201, first.status)
    local stop = post { name = "stop" }
    assert.same({ 422, "not this one" }, { stop.status, stop.body.message })
    assert.equal(2, #rows("a", "things"))
  end)

  it("an id in the body is passed over, unknown members too", function()
    local made = post { id = 77, name = "a", colour = "red" }
    assert.equal(1, made.id)
    assert.equal(nil, made.body.id)
    assert.equal(nil, made.body.colour)
  end)

  it("ids are not used again after a restart", function()
    local first = post { name = "a" }
    restart()
    local second = post { name = "b" }
    assert(second.id > first.id)
    assert.equal(2, #rows("a", "things"))
  end)
end)

describe("PATH-3b before_create returns a row that is there", function()
  it("with 200 and nothing created, no event", function()
    local own = { ["systems/t.lua"] = tree["systems/t.lua"] }
    own["routes/t/a.lua"] = tree["routes/t/a.lua"]:gsub('if thing.name == "twin" then return ',
      'local twin = store.first("things", { name = thing.name })\n      if twin then return ')
      :gsub('store.first%("things", { name = "twin" }%) end', "twin end")
    scripts(own)
    assert.equal(201, request { path = "/things", body = { name = "a" } }.status)
    local again = request { path = "/things", body = { name = "a", qty = 9 } }
    assert.same({ 200, 1, 1 }, { again.status, again.id, again.body.qty })
    assert.equal(1, #events())
  end)
end)

describe("PATH-3c the schema grows", function()
  it("a new field is added, an old one keeps its values", function()
    local function with(fields)
      return { ["systems/t.lua"] = [[return { services = { a = {} } }]],
        ["routes/t/a.lua"] = 'return resource "things" { service = "a", fields = { ' .. fields .. " } }" }
    end
    scripts(with [[text "name"]])
    request { path = "/things", body = { name = "a" } }
    restart(with [[text "name", integer "qty" { default = 5 }]])
    request { path = "/things", body = { name = "b" } }
    assert.same({ { id = rows("a", "things")[1].id, name = "a" } }, { rows("a", "things")[1] })
    assert.equal(5, rows("a", "things")[2].qty)
    local err = assert.error_matches("things", restart, with [[integer "name"]])
    assert.matches("name", tostring(err))
  end)
end)
