-- SPDX-License-Identifier: MIT
-- Events from the word that emits them to the policies that run for them.
local system = [[return { services = { a = {}, b = {} }, config = { } }]]

local events_of_a = [[
return {
  event "Happened" { service = "a", key = { thing = "thing" },
    fields = { text "thing", integer "n", number "price", boolean "big", timestamp "at", json "more" } },
  event "Other" { service = "a", key = { thing = "thing" }, fields = { text "thing", integer "n" } },
  resource "things" { service = "a", fields = { text "thing", integer "n", number "price", text "extra" } },
  resource "seen" { service = "b", fields = { text "thing", integer "n", integer "try", timestamp "at" } },
  resource "gates" { service = "b", fields = { text "thing", boolean "closed" } },
}
]]

-- emit: body of GET /emit (request); policy: body of the policy's handle(event, meta); options of the policy.
local function tree(emit, policy, options)
  local made = {
    ["systems/t.lua"] = system,
    ["routes/t/a.lua"] = events_of_a,
    ["routes/t/emit.lua"] = 'return { route "emit" { service = "a", method = "GET", path = "/emit", ' ..
      "handle = function(request)\n" .. emit .. "\nend },\n" ..
      [[route "gate" { service = "b", method = "POST", path = "/gate", handle = function(request)
        store.upsert("gates", { thing = request.body.thing }, { closed = request.body.closed })
      end } }]],
  }
  if policy then
    made["policies/t/watch.lua"] = ('return policy "watch" { service = "b", on = { "Happened", "Other" }, %s ' ..
      "handle = function(event, meta)\n%s\nend }"):format(options or "", policy)
  end
  return made
end

local emit_thing = [[bus.emit("Happened", { thing = request.query.thing, n = request.query.n })]]
local see = [[store.create("seen", { thing = event.thing, n = event.n, try = meta.try, at = meta.time })]]

local function emit(thing, n)
  assert.equal(200, request { path = ("/emit?thing=%s&n=%d"):format(thing, n) }.status)
end

local function gate(thing, closed)
  request { path = "/gate", body = { thing = thing, closed = closed } }
end

local function seen(thing)
  local numbers = {}
  for i, entry in ipairs(rows("b", "seen", { thing = thing })) do numbers[i] = entry.n end
  return numbers
end

local function problem(text)
  scripts(tree(text))
  return request { path = "/emit" }
end

describe("PATH-4a event declarations", function()
  it("the payload has the type, the time, the fields in their order with nulls, and me", function()
    scripts(tree [[ bus.emit("Happened", { n = 3, thing = "x", big = true }) ]])
    request { path = "/emit" }
    local event = events()[1]
    assert.equal('{"eventType":"Happened","timestamp":"20260101000000","thing":"x","n":3,"price":null,"big":true,' ..
      '"at":null,"more":null,"me":true}', event.text)
    assert.equal("thing/x", event.key)
    assert.equal("a", event.service)
    assert.equal(1, event.seq)
    assert.equal(clock.now(), event.time)
  end)

  it("values take the field's type: numbers from text, doubles with a point, timestamps, JSON", function()
    scripts(tree [[ bus.emit("Happened", { thing = 42, n = "7", price = 25000, at = 0, more = { list = { 1 } } }) ]])
    request { path = "/emit" }
    assert.equal('{"eventType":"Happened","timestamp":"20260101000000","thing":"42","n":7,"price":25000.0,' ..
      '"big":null,"at":"1970-01-01T00:00:00.000Z","more":{"list":[1]},"me":true}', events()[1].text)
  end)

  it("the key is the field's value as plain text, whatever its type", function()
    local keys = {}
    for i, field in ipairs { 'integer "id"', 'number "id"', 'decimal(2) "id"', 'text "id"', 'timestamp "id"' } do
      scripts { ["systems/t.lua"] = system, ["routes/t/a.lua"] = 'return { event "Keyed" { service = "a", ' ..
        "key = { kind = \"id\" }, fields = { " .. field .. ' } }, route "emit" { service = "a", method = "GET", ' ..
        'path = "/emit", handle = function() bus.emit("Keyed", { id = "7" }) end } }' }
      request { path = "/emit" }
      keys[i] = events()[i].key
    end
    assert.same({ "kind/7", "kind/7.0", "kind/7.00", "kind/7", "kind/1970-01-01T00:00:00.007Z" }, keys)
  end)

  it("an unknown field raises and names the nearest", function()
    local answer = problem [[ bus.emit("Happened", { thing = "x", prise = 1 }) ]]
    assert.equal(500, answer.status)
    assert.equal('Happened has no field "prise"; did you mean "price"?', answer.body.message)
    assert.same({}, events())
  end)

  it("a wrong type raises and says what was expected", function()
    assert.matches("Happened.n: expected an integer", problem([[ bus.emit("Happened", { thing = "x", n = "many" }) ]])
      .body.message)
    assert.matches("Happened.n: expected .*got a table", problem([[ bus.emit("Happened", { thing = "x", n = {} }) ]])
      .body.message)
  end)

  it("an event that is not declared raises and names the nearest", function()
    assert.equal('bus.emit: event "Hapened" is not declared; did you mean "Happened"?',
      problem([[ bus.emit("Hapened", {}) ]]).body.message)
  end)

  it("an event without its key field raises", function()
    assert.matches('its key field "thing" is missing', problem([[ bus.emit("Happened", { n = 1 }) ]]).body.message)
  end)

  it("a row is taken with the fields that the event declares", function()
    scripts(tree [[
      local row = store.create("things", { thing = "x", n = 2, price = 1.5, extra = "not in the event" })
      bus.emit("Happened", row)]])
    assert.equal(200, request { path = "/emit" }.status)
    local payload = events()[1].payload
    assert.same({ "x", 2, 1.5 }, { payload.thing, payload.n, payload.price })
    assert.equal(nil, payload.extra)
  end)

  it("a task emits at most 1000 events", function()
    local answer = problem [[ for i = 1, 1001 do bus.emit("Other", { thing = "x", n = i }) end ]]
    assert.equal("budget", answer.body.code)
    assert.same({}, events())
  end)
end)

describe("PATH-4b overrides of bus.emit", function()
  it("replace fields of the row, which stays as it is", function()
    scripts(tree [[
      local row = store.create("things", { thing = "x", n = 2 })
      bus.emit("Happened", row, { n = 9, price = 2 })
      return { n = row.n }]])
    assert.same({ n = 2 }, request { path = "/emit" }.body)
    assert.equal(9, events()[1].payload.n)
    assert.equal(2.0, events()[1].payload.price)
    assert.equal(2, row("a", "things", 1).n)
  end)

  it("an unknown one raises and names the nearest", function()
    assert.equal('Happened has no field "thingy"; did you mean "thing"?',
      problem([[ bus.emit("Happened", { thing = "x" }, { thingy = 1 }) ]]).body.message)
  end)

  it("anything but a table raises", function()
    assert.matches("overrides are a table", problem([[ bus.emit("Happened", { thing = "x" }, "n") ]]).body.message)
    assert.matches("expected a row, an event or a table, got a string", problem([[ bus.emit("Happened", "x") ]])
      .body.message)
  end)
end)

describe("PATH-4e a failing event is held, with pauses", function()
  it("it is tried again after 1, 2, 4 ... seconds, each pause at most a tenth longer", function()
    scripts(tree(emit_thing, [[
      if meta.try < 5 then error("not yet") end
      store.create("seen", { thing = event.thing, n = event.n, try = meta.try, at = clock.now() })]]))
    local from = clock.now()
    emit("x", 1)
    clock.advance("14999ms")
    assert.same({}, rows("b", "seen"))
    clock.advance("1502ms")
    local found = rows("b", "seen")[1]
    assert.equal(5, found.try)
    assert(found.at - from >= 15000 and found.at - from <= 16500, "after 1 + 2 + 4 + 8 s: " .. found.at - from)
    assert.same({}, letters())
  end)

  it("what a failed try did is undone", function()
    scripts(tree(emit_thing, see .. [[
      if event.n then bus.emit_in("1s", "Other", { thing = "later" }) end
      if event.n and meta.try < 3 then error("not yet") end]]))
    emit("x", 1)
    clock.advance("10s")
    assert.same({ 1 }, seen("x"))
    assert.equal(1, #events("Other"))
  end)

  it("after ten tries it is a letter, and the key goes on", function()
    scripts(tree(emit_thing, [[ if event.n == 1 then error("never") end ]] .. see))
    emit("x", 1)
    emit("x", 2)
    clock.advance("242s")
    assert.same({}, letters())
    assert.same({}, seen("x"))
    clock.advance("30s")
    local letter = letters()[1]
    assert.same({ 10, "watch", "b", "thing/x", 1, "Happened", "script", "never", "scripts/policies/t/watch.lua:2" },
      { letter.tries, letter.policy, letter.service, letter.key, letter.seq, letter.type, letter.code, letter.error,
        letter.origin })
    assert.same({ 2 }, seen("x"))
  end)

  it("a held event outlives a restart, with its tries", function()
    scripts(tree(emit_thing, [[ if meta.try < 4 then error("not yet") end ]] .. see))
    emit("x", 1)
    clock.advance("3500ms")
    restart()
    clock.advance("20s")
    assert.equal(4, rows("b", "seen")[1].try)
  end)

  it("the other policies of the event run meanwhile", function()
    local both = tree(emit_thing, [[ error("never") ]])
    both["policies/t/second.lua"] = [[return policy "second" { service = "b", on = "Happened",
      handle = function(event, meta) ]] .. see .. [[ end }]]
    scripts(both)
    emit("x", 1)
    assert.same({ 1 }, seen("x"))
  end)
end)

describe("PATH-8c one key waits, the others do not", function()
  local by_gate = [[
    local gate = store.first("gates", { thing = event.thing })
    if gate and gate.closed then error("the gate is closed") end ]] .. see

  it("key A is parked for an hour while B's events pass; then A's follow in their order", function()
    scripts(tree(emit_thing, by_gate, "park = true,"))
    gate("A", true)
    for n = 1, 6 do
      emit("A", n)
      emit("B", n)
      clock.advance("10m")
    end
    assert.same({ 1, 2, 3, 4, 5, 6 }, seen("B"))
    assert.same({}, seen("A"))
    assert.equal(1, #letters())
    assert.equal("thing/A", letters()[1].key)

    gate("A", false)
    clock.advance("10m")
    assert.same({}, seen("A"))
    assert.truthy(retry_letter(letters()[1].id))
    settle()
    assert.same({ 1, 2, 3, 4, 5, 6 }, seen("A"))
    assert.same({}, letters())
  end)

  it("a parked key stays parked over a restart, and goes on when its letter is discarded", function()
    scripts(tree(emit_thing, by_gate, "park = true,"))
    gate("A", true)
    emit("A", 1)
    emit("A", 2)
    clock.advance("1h")
    gate("A", false)
    restart()
    clock.advance("1h")
    assert.same({}, seen("A"))
    emit("A", 3)
    assert.same({}, seen("A"))
    assert.truthy(discard_letter(letters()[1].id))
    settle()
    assert.same({ 2, 3 }, seen("A"))
    assert.falsy(discard_letter(1))
  end)

  it("a held event keeps its key's later ones behind it", function()
    scripts(tree(emit_thing, by_gate))
    gate("A", true)
    for n = 1, 3 do
      emit("A", n)
      emit("B", n)
    end
    clock.advance("20s")
    assert.same({ 1, 2, 3 }, seen("B"))
    gate("A", false)
    clock.advance("1m")
    assert.same({ 1, 2, 3 }, seen("A"))
  end)

  it("one event of a key runs at a time, different keys run in parallel", function()
    scripts(tree(emit_thing, [[task.sleep("1s") ]] .. see))
    for n = 1, 3 do
      emit("A", n)
      emit("B", n)
    end
    clock.advance("1s")
    assert.same({ 1 }, seen("A"))
    assert.same({ 1 }, seen("B"))
    clock.advance("2s")
    assert.same({ 1, 2, 3 }, seen("A"))
    assert.same({ 1, 2, 3 }, seen("B"))
  end)
end)

describe("PATH-4f fail() in a policy", function()
  it("makes a letter at once and the key goes on", function()
    scripts(tree(emit_thing, see .. [[ if event.n == 1 then fail(422, "this one never") end ]]))
    emit("x", 1)
    emit("x", 2)
    settle()
    local letter = letters()[1]
    assert.same({ 1, "failed", "this one never" }, { letter.tries, letter.code, letter.error })
    assert.same({ 2 }, seen("x"))
    assert.equal(1, #letters())
  end)

  it("a retried letter that fails again keeps its place with one more try; one that succeeds goes", function()
    scripts(tree(emit_thing, [[
      local gate = store.first("gates", { thing = event.thing })
      if gate.closed then fail(422, "closed") end ]] .. see))
    gate("x", true)
    emit("x", 1)
    local id = letters()[1].id
    assert.truthy(retry_letter(id))
    settle()
    assert.same({ id, 2 }, { letters()[1].id, letters()[1].tries })
    gate("x", false)
    assert.truthy(retry_letter(id))
    assert.same({}, letters())
    assert.same({ 1 }, seen("x"))
    assert.falsy(retry_letter(id))
  end)
end)

describe("PATH-4g durable timers", function()
  local later = [[
    local what = request.query.what
    local function remember(id) store.create("things", { thing = "timer", n = id }) end
    if what == "in" then remember(bus.emit_in("10s", "Other", { thing = "x", n = 1 })) end
    if what == "at" then remember(bus.emit_at(clock.now() + 20000, "Other", { thing = "x" }, { n = 2 })) end
    if what == "past" then bus.emit_at(0, "Other", { thing = "x", n = 3 }) end
    if what == "cancel" then bus.cancel(store.first("things", { thing = "timer" }).n) end
    if what == "lost" then bus.emit_in("1s", "Other", { thing = "x" }); error("lost") end
    if what == "month" then bus.emit_in("30d", "Other", { thing = "x", n = 4 }) end]]

  local function ask(what) return request { path = "/emit?what=" .. what }.status end

  it("emit_in and emit_at emit when their time has come, not before, once", function()
    scripts(tree(later, see))
    local from = clock.now()
    assert.equal(200, ask("in"))
    assert.equal(200, ask("at"))
    clock.advance("9999ms")
    assert.same({}, events())
    clock.advance("1ms")
    assert.equal(from + 10000, events()[1].time)
    clock.advance("1h")
    assert.same({ 1, 2 }, seen("x"))
    assert.equal(from + 20000, events()[2].time)
    assert.equal(2, #events())
  end)

  it("a time that is past is now", function()
    scripts(tree(later, see))
    ask("past")
    assert.same({ 3 }, seen("x"))
  end)

  it("outlive a restart", function()
    scripts(tree(later, see))
    ask("in")
    clock.advance("5s")
    restart()
    clock.advance("4999ms")
    assert.same({}, events())
    clock.advance("1ms")
    assert.same({ 1 }, seen("x"))
    restart()
    clock.advance("1h")
    assert.equal(1, #events())
  end)

  it("a month is not too long", function()
    scripts(tree(later, see))
    ask("month")
    clock.advance("29d")
    assert.same({}, events())
    clock.advance("1d")
    assert.same({ 4 }, seen("x"))
  end)

  it("cancel ends one, also after a restart; one that fired is passed over", function()
    scripts(tree(later, see))
    ask("in")
    restart()
    assert.equal(200, ask("cancel"))
    clock.advance("1h")
    assert.same({}, events())
    assert.equal(200, ask("cancel"))
  end)

  it("of a request that fails none is left", function()
    scripts(tree(later, see))
    assert.equal(500, ask("lost"))
    clock.advance("1h")
    assert.same({}, events())
  end)

  it("a wrong duration or time raises", function()
    assert.matches("expected a duration", problem([[ bus.emit_in("soon", "Other", {}) ]]).body.message)
    assert.matches("expected a time in epoch milliseconds",
      problem([[ bus.emit_at("soon", "Other", {}) ]]).body.message)
    assert.matches("expected the id", problem([[ bus.cancel("x") ]]).body.message)
  end)
end)

describe("PATH-4c policies", function()
  it("see the event, read-only, and the meta data of its delivery", function()
    scripts(tree(emit_thing, [[
      local _, err = try(function() event.n = 5 end)
      local _, typo = try(function() return event.thin end)
      log.info(err.message)
      store.create("seen", { thing = err.message .. "|" .. typo.message .. "|" .. meta.id:match("%-%d+$"),
        n = meta.seq, try = meta.try, at = meta.time })]]))
    emit("x", 1)
    local found = rows("b", "seen")[1]
    assert.equal('events are facts and cannot be changed (Happened)|Happened has no field "thin"; did you mean ' ..
      '"thing"?|-1', found.thing)
    assert.same({ 1, 1, clock.now() }, { found.n, found.try, found.at })
  end)

  it("a new policy begins with the events after its first start; a renamed one goes on", function()
    scripts(tree(emit_thing))
    emit("x", 1)
    settle()
    restart(tree(emit_thing, see))
    emit("x", 2)
    assert.same({ 2 }, seen("x"))
    local renamed = tree(emit_thing, see, 'renamed_from = "watch",')
    renamed["policies/t/watch.lua"] = renamed["policies/t/watch.lua"]:gsub('policy "watch"', 'policy "look"')
    restart(tree(emit_thing))
    emit("x", 3)
    settle()
    restart(renamed)
    assert.same({ 2, 3 }, seen("x"))
  end)

  it("an event of a policy knows what caused it", function()
    scripts(tree(emit_thing, [[
      if event.n == 1 then bus.emit("Other", { thing = event.thing, n = 2 }) end ]] .. see))
    emit("x", 1)
    local log = events()
    assert.same({ 0, 1 }, { log[1].cause, log[2].cause })
    assert.equal(log[1].correlation_id, log[2].correlation_id)
    assert.same({ 1, 2 }, seen("x"))
  end)
end)
