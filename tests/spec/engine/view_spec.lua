-- SPDX-License-Identifier: MIT
-- Views: rows that are made of events and of nothing else.
local system = [[return { services = { shop = {}, desk = {} } }]]

local shop = [[
return {
  event "Ordered" { service = "shop", key = { order = "id" }, fields = { integer "id", integer "qty", text "status" } },
  event "Paid" { service = "shop", key = { order = "orderId" },
    fields = { integer "id", integer "orderId", text "status" } },
  event "Told" { service = "shop", key = { message = "id" },
    fields = { integer "id", integer "orderId", text "text" } },
  route "emit" { service = "shop", method = "POST", path = "/emit/{type}", handle = function(request)
    bus.emit(request.params.type, request.body)
  end },
}
]]

local boards = [[
return view "boards" {
  service = "desk",
  by      = "orderId",
  fields  = { integer "orderId", integer "qty", text "status", integer "paymentId", integer "changes" { default = 0 } },
  finders = { findByOrderId = { "orderId" } },
  on = {
    Ordered = function(row, event)
      row.qty = event.qty
      row.changes = row.changes + 1
    end,
    Paid = function(row, event)
      if event.status == "gone" then return false end
      row.status, row.paymentId = event.status, event.id
      row.changes = row.changes + 1
    end,
  },
}
]]

local function tree(view, more)
  local made = { ["systems/t.lua"] = system, ["routes/t/shop.lua"] = shop, ["policies/t/boards.lua"] = view }
  for name, text in pairs(more or {}) do made[name] = text end
  return made
end

local function emit(type_name, body)
  local answer = request { path = "/emit/" .. type_name, body = body }
  assert.equal(200, answer.status)
end

-- A view whose function for Ordered is `text`.
local function ordered(text)
  return ([[return view "boards" { service = "desk", by = "orderId", fields = { integer "orderId", integer "qty" },
    on = { Ordered = function(row, event, meta)
%s
    end } }]]):format(text)
end

local function refused(text, sentence)
  scripts(tree(ordered(text)))
  emit("Ordered", { id = 1, qty = 2 })
  clock.advance(30 * 60 * 1000)
  settle()
  local list = letters()
  assert.equal(1, #list)
  assert.equal("view boards", list[1].policy)
  assert.matches(sentence, list[1].error)
  assert.equal("scripts/policies/t/boards.lua:3", list[1].origin)
  assert.same({}, rows("desk", "boards"))
end

local memory = [[return { services = { shop = {}, desk = { store = "memory" } } }]]

describe("SHOP-3a rows from events", function()
  scripts(tree(boards))

  it("the first event of a key makes its row, the next ones change it", function()
    emit("Ordered", { id = 7, qty = 3, status = "new" })
    emit("Paid", { id = 70, orderId = 7, status = "paid" })
    emit("Ordered", { id = 8, qty = 1 })
    settle()
    assert.same({
      { id = 1, orderId = 7, qty = 3, status = "paid", paymentId = 70, changes = 2 },
      { id = 2, orderId = 8, qty = 1, changes = 1 },
    }, rows("desk", "boards"))
    assert.same({}, letters())
  end)

  it("whichever event comes first", function()
    emit("Paid", { id = 70, orderId = 7, status = "paid" })
    emit("Ordered", { id = 7, qty = 3 })
    settle()
    assert.same({ { id = 1, orderId = 7, qty = 3, status = "paid", paymentId = 70, changes = 2 } },
      rows("desk", "boards"))
  end)

  it("false deletes the row, and a later event makes a new one", function()
    emit("Ordered", { id = 7, qty = 3 })
    emit("Paid", { id = 1, orderId = 7, status = "gone" })
    emit("Paid", { id = 2, orderId = 9, status = "gone" })
    settle()
    assert.same({}, rows("desk", "boards"))
    emit("Ordered", { id = 7, qty = 4 })
    settle()
    local row = rows("desk", "boards")[1]
    assert.equal(4, row.qty)
    assert.equal(1, row.changes)
  end)

  it("an event whose function changes nothing leaves the row as it was", function()
    scripts(tree(ordered("if row.qty ~= nil then row.qty = row.qty end; row.qty = row.qty or event.qty")))
    emit("Ordered", { id = 7, qty = 3 })
    emit("Ordered", { id = 7, qty = 5 })
    settle()
    assert.equal(3, rows("desk", "boards")[1].qty)
    assert.same({}, letters())
  end)

  it("the function is given the event's meta", function()
    scripts(tree(ordered("row.qty = meta.seq * 1000 + meta.try; assert(meta.type == 'Ordered' and row.id == 1)")))
    emit("Ordered", { id = 7 })
    settle()
    assert.equal(1001, rows("desk", "boards")[1].qty)
  end)

  it("by may name another field of an event than its key", function()
    scripts(tree [[return view "boards" {
      service = "desk", by = { orderId = { Told = "orderId" } },
      fields = { integer "orderId", integer "told" { default = 0 }, integer "qty" },
      on = {
        Ordered = function(row, event) row.qty = event.qty end,
        Told = function(row) row.told = row.told + 1 end,
      },
    }]])
    emit("Ordered", { id = 7, qty = 3 })
    for i = 1, 20 do request { path = "/emit/Told", body = { id = i, orderId = 7, text = "x" } } end
    settle()
    assert.same({ { id = 1, orderId = 7, told = 20, qty = 3 } }, rows("desk", "boards"))
  end)

  it("an event without a value for it, or with one of another type, is a letter that says so", function()
    scripts(tree [[return view "boards" {
      service = "desk", by = { orderId = { Told = "text" } }, fields = { integer "orderId" },
      on = { Told = function() end },
    }]])
    emit("Told", { id = 1, text = "seven" })
    emit("Told", { id = 2 })
    clock.advance(30 * 60 * 1000)
    settle()
    local list = letters()
    assert.equal(2, #list)
    table.sort(list, function(a, b) return a.seq < b.seq end)
    assert.matches("boards.orderId", list[1].error)
    assert.matches("the event has no value for orderId", list[2].error)
  end)
end)

describe("SHOP-3b over HTTP", function()
  scripts(tree(boards))

  it("a view is read like a resource, and only read", function()
    emit("Ordered", { id = 7, qty = 3 })
    settle()
    local all = request { path = "/boards?size=1&page=4" } -- a view has no pages
    assert.equal(200, all.status)
    assert.equal(7, all.body._embedded.boards[1].orderId)
    assert.equal(nil, all.body.page)
    assert.equal("http://localhost/boards", all.body._links.self.href)
    assert.equal(7, request { path = "/boards/1" }.body.orderId)
    assert.equal(404, request { path = "/boards/2" }.status)
    local before = rows("desk", "boards")
    for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE" } do
      for _, path in ipairs { "/boards", "/boards/1" } do
        local answer = request { method = method, path = path, body = { orderId = 9 } }
        assert.equal(405, answer.status)
        assert.matches("GET", answer.headers.allow)
        assert.equal(nil, answer.headers.allow:match("P[OUA]"))
      end
    end
    assert.same(before, rows("desk", "boards"))
  end)

  it("its path may be another one", function()
    scripts(tree((boards:gsub('by      = "orderId"', '%0, path = "/my-boards"'))))
    emit("Ordered", { id = 7, qty = 3 })
    settle()
    assert.equal(7, request { path = "/my-boards/1" }.body.orderId)
    assert.equal(404, request { path = "/boards" }.status)
  end)

  it("siblings read it by http, its own service by store, another service not at all", function()
    scripts(tree(boards, { ["routes/t/look.lua"] = [[return {
      route "sibling" { service = "shop", method = "GET", path = "/sibling", handle = function()
        return { qty = http.get("http://desk/boards/1").body.qty }
      end },
      route "own" { service = "desk", method = "GET", path = "/own", handle = function()
        return { qty = store.first("boards", { orderId = 7 }).qty, count = store.count("boards") }
      end },
      route "other" { service = "shop", method = "GET", path = "/other", handle = function()
        return store.get("boards", 1)
      end },
    }]] }))
    emit("Ordered", { id = 7, qty = 3 })
    settle()
    assert.equal(3, request { path = "/sibling" }.body.qty)
    assert.same({ qty = 3, count = 1 }, request { path = "/own" }.body)
    local other = request { path = "/other" }
    assert.equal(500, other.status)
    assert.matches("belongs to service desk", other.body.message)
  end)
end)

describe("SHOP-3c a view changes its own row and nothing else", function()
  for _, forbidden in ipairs {
    { "bus.emit", [[bus.emit("Paid", { orderId = 1 })]] },
    { "bus.emit_in", [[bus.emit_in("1s", "Paid", { orderId = 1 })]] },
    { "store.create", [[store.create("notes", { text = "x" })]] },
    { "store.get", [[store.get("notes", 1)]] },
    { "store.find", [[store.find("boards")]] },
    { "store.snapshot", [[store.snapshot(function() end)]] },
    { "http", [[http.get("http://shop/orders")]] },
    { "task.sleep", [[task.sleep("1s")]] },
    { "task.all", [[task.all { function() end }]] },
    { "unit", [[unit(function() end)]] },
    { "cache.get", [[cache.get("x")]] },
    { "cache.set", [[cache.set("x", 1)]] },
  } do
    local word, call = forbidden[1], forbidden[2]
    it(word .. " raises in its function, with script and line", function()
      refused(call, word .. " cannot be used in a view")
    end)
  end

  it("nor can a pcall around it make it pass", function()
    scripts(tree(ordered([[row.qty = pcall(bus.emit, "Paid", { orderId = 1 }) and 1 or 2]])))
    emit("Ordered", { id = 1 })
    settle()
    assert.equal(2, rows("desk", "boards")[1].qty)
    assert.same({}, events("Paid"))
  end)

  it("the field that says which row it is cannot be assigned", function()
    refused("row.orderId = 9", "boards.orderId says which row this is")
  end)

  it("an unknown field is named, with the nearest right one", function()
    refused("row.quantity = 9", 'boards has no field "quantity"')
  end)

  it("store words do not write a view's rows", function()
    for word, call in pairs {
      ["store.create"] = [[store.create("boards", { orderId = 1 })]],
      ["store.update"] = [[store.update("boards", 1, { qty = 1 })]],
      ["store.upsert"] = [[store.upsert("boards", { orderId = 1 }, { qty = 1 })]],
      ["store.delete"] = [[store.delete("boards", 1)]],
      ["store.add"] = [[store.add("boards", 1, { qty = 1 })]],
    } do
      scripts(tree(boards, { ["routes/t/write.lua"] = [[return route "write" { service = "desk", method = "GET",
        path = "/write", handle = function() ]] .. call .. [[ end }]] }))
      local answer = request { path = "/write" }
      assert.equal(500, answer.status)
      assert.matches(word .. ': "boards" is a view', answer.body.message)
    end
  end)

  it("a row that fails its declaration is not kept", function()
    scripts(tree [[return view "boards" { service = "desk", by = "orderId",
      fields = { integer "orderId", integer "qty" { max = 10 } },
      on = { Ordered = function(row, event) row.qty = event.qty end } }]])
    emit("Ordered", { id = 1, qty = 11 })
    clock.advance(30 * 60 * 1000)
    settle()
    assert.matches("boards.qty", letters()[1].error)
    assert.same({}, rows("desk", "boards"))
  end)
end)

describe("SHOP-3d a view sees every event of its types", function()
  it("those that were committed before it was declared, in order", function()
    scripts { ["systems/t.lua"] = system, ["routes/t/shop.lua"] = shop }
    for i = 1, 30 do emit("Ordered", { id = i % 3, qty = i }) end
    settle()
    restart(tree(boards))
    settle()
    local list = rows("desk", "boards")
    assert.equal(3, #list)
    for _, row in ipairs(list) do
      assert.equal(10, row.changes)
      assert.equal(row.orderId == 0 and 30 or 27 + row.orderId, row.qty)
    end
    restart()
    settle()
    assert.same(list, rows("desk", "boards"))
  end)

  it("as today's declaration of the event reads them", function()
    scripts { ["systems/t.lua"] = system, ["routes/t/shop.lua"] = shop }
    emit("Ordered", { id = 7, qty = 3, status = "12" })
    settle()
    local changed = shop:gsub('text "status" }', 'integer "status", text "more" }', 1)
    restart(tree(ordered("row.qty = event.status + 1; assert(event.more == nil)"), { ["routes/t/shop.lua"] = changed }))
    settle()
    assert.equal(13, rows("desk", "boards")[1].qty)
  end)

  it("a changed function acts from then on", function()
    scripts(tree(ordered("row.qty = event.qty")))
    emit("Ordered", { id = 1, qty = 1 })
    settle()
    restart(tree(ordered("row.qty = event.qty * 100")))
    emit("Ordered", { id = 2, qty = 2 })
    settle()
    local list = rows("desk", "boards")
    assert.equal(1, list[1].qty)
    assert.equal(200, list[2].qty)
  end)

  it("one that was missing for a while catches up", function()
    scripts(tree(boards))
    emit("Ordered", { id = 1, qty = 1 })
    settle()
    restart { ["systems/t.lua"] = system, ["routes/t/shop.lua"] = shop }
    emit("Ordered", { id = 1, qty = 2 })
    settle()
    restart(tree(boards))
    settle()
    assert.same({ { id = 1, orderId = 1, qty = 2, changes = 2 } }, rows("desk", "boards"))
  end)

  it("a policy of its service goes on from the newest event", function()
    scripts { ["systems/t.lua"] = system, ["routes/t/shop.lua"] = shop }
    emit("Ordered", { id = 1, qty = 1 })
    settle()
    restart(tree(boards, { ["routes/t/notes.lua"] = [[return resource "notes" { service = "desk",
      fields = { text "text" } }]], ["policies/t/note.lua"] = [[return policy "note" { service = "desk", on = "Ordered",
      handle = function(event) store.create("notes", { text = "order " .. event.id }) end }]] }))
    emit("Ordered", { id = 2, qty = 2 })
    settle()
    assert.equal(2, #rows("desk", "boards"))
    assert.same({ { id = 1, text = "order 2" } }, rows("desk", "notes"))
  end)

  it("an event that fails waits with its key; the other rows go on", function()
    scripts(tree(ordered([[assert(event.qty ~= 13, "unlucky"); row.qty = event.qty]])))
    emit("Ordered", { id = 1, qty = 13 })
    emit("Ordered", { id = 1, qty = 14 })
    emit("Ordered", { id = 2, qty = 2 })
    clock.advance(500)
    local list = rows("desk", "boards")
    assert.equal(1, #list)
    assert.equal(2, list[1].orderId)
    clock.advance(30 * 60 * 1000)
    settle()
    assert.equal(14, rows("desk", "boards", { orderId = 1 })[1].qty)
    assert.matches("unlucky", letters()[1].error)
  end)
end)

describe("SHOP-3e a wrong view is refused with its line", function()
  local function wrong(text, sentence, line)
    local ok, problem = pcall(scripts, tree("return view \"boards\" { service = \"desk\",\n" .. text .. "\n}"))
    assert.equal(false, ok)
    assert.matches(sentence, tostring(problem))
    assert.matches(("scripts/policies/t/boards.lua:%d"):format(line or 1), tostring(problem))
  end

  it("by", function()
    wrong([[fields = { integer "orderId" }, on = { Paid = function() end }]], 'option "by" is missing')
    wrong([[by = "orderid", fields = { integer "orderId" }, on = { Paid = function() end }]],
      'by names the field "orderid", which is not declared; did you mean "orderId"', 2)
    wrong([[by = { orderId = { Payd = "id" } }, fields = { integer "orderId" }, on = { Paid = function() end }]],
      'by names the event "Payd", which is not in on; did you mean "Paid"', 2)
    wrong([[by = { orderId = { Paid = "order" } }, fields = { integer "orderId" }, on = { Paid = function() end }]],
      'by names the field "order" of Paid, which is not declared', 2)
    wrong([[by = { orderId = "id" }, fields = { integer "orderId" }, on = { Paid = function() end }]],
      "by names one field", 2)
  end)

  it("on", function()
    wrong([[by = "orderId", fields = { integer "orderId" } ]], 'option "on" is missing')
    wrong([[by = "orderId", fields = { integer "orderId" }, on = {}]], "`on` names no event", 2)
    wrong([[by = "orderId", fields = { integer "orderId" }, on = { "Paid" }]], "Event = function", 2)
    wrong([[by = "orderId", fields = { integer "orderId" }, on = { Paidd = function() end }]],
      'event "Paidd" is not declared; did you mean "Paid"', 2)
  end)

  it("what a view has not", function()
    wrong([[by = "orderId", fields = { integer "orderId" { unique = true } }, on = { Paid = function() end }]],
      'field "orderId" cannot be unique', 2)
    wrong([[by = "orderId", fields = { integer "orderId" }, on = { Paid = function() end }, on_create = error]],
      'unknown option "on_create"', 2)
  end)

  it("where it stands, and what has its name already", function()
    local ok, problem = pcall(scripts, tree(boards, { ["routes/t/view.lua"] = boards }))
    assert.equal(false, ok)
    assert.matches('view "boards" does not belong into this folder', tostring(problem))
    ok, problem = pcall(scripts, tree(boards, { ["routes/t/twice.lua"] =
      [[return resource "boards" { service = "desk", fields = { text "x" } }]] }))
    assert.equal(false, ok)
    assert.matches('view "boards" is declared twice', tostring(problem))
  end)
end)

describe("SHOP-3f a service in memory", function()
  scripts(tree(boards, { ["systems/t.lua"] = memory }))

  it("its views are made of events, and read and only read over HTTP", function()
    emit("Ordered", { id = 7, qty = 3 })
    emit("Paid", { id = 70, orderId = 7, status = "paid" })
    settle()
    local row = { id = 1, orderId = 7, qty = 3, status = "paid", paymentId = 70, changes = 2 }
    assert.same({ row }, rows("desk", "boards"))
    local read = request { path = "/boards/1" }
    assert.equal(1, read.id)
    row.id, row._links = nil, read.body._links
    assert.same(row, read.body)
    assert.same(405, request { path = "/boards", body = { orderId = 9 } }.status)
  end)

  it("after a restart they are made again from the first event, before anybody reads them", function()
    for i = 1, 2000 do emit("Ordered", { id = i % 100, qty = i }) end
    settle()
    local before = {}
    for _, row in ipairs(rows("desk", "boards")) do before[row.orderId] = row.qty * 1000 + row.changes end
    restart()
    local after = {}
    for _, row in ipairs(rows("desk", "boards")) do after[row.orderId] = row.qty * 1000 + row.changes end
    assert.same(before, after)
    assert.equal(2000 * 1000 + 20, after[0])
    assert.equal(200, request { path = "/boards" }.status)
  end)

  it("a changed function makes the past anew with the restart", function()
    emit("Ordered", { id = 1, qty = 1 })
    settle()
    restart(tree(ordered("row.qty = event.qty * 100"), { ["systems/t.lua"] = memory }))
    assert.equal(100, rows("desk", "boards")[1].qty)
  end)

  it("siblings and its own routes read it; a picture is one picture", function()
    scripts(tree(boards, { ["systems/t.lua"] = memory, ["routes/t/look.lua"] = [[return {
      route "sibling" { service = "shop", method = "GET", path = "/sibling", handle = function()
        return store.snapshot(function() return { qty = http.get("http://desk/boards/1").body.qty } end)
      end },
      route "own" { service = "desk", method = "GET", path = "/own", handle = function()
        return store.snapshot(function()
          local first = store.first("boards", { orderId = 7 }).qty
          task.sleep("1s")
          return { first = first, second = store.first("boards", { orderId = 7 }).qty }
        end)
      end },
    }]] }))
    emit("Ordered", { id = 7, qty = 3 })
    settle()
    assert.equal(3, request { path = "/sibling" }.body.qty)
    local own = start { path = "/own" }
    clock.advance(100)
    emit("Ordered", { id = 7, qty = 4 })
    clock.advance(2000)
    assert.same({ first = 3, second = 3 }, own.body)
    assert.equal(4, request { path = "/boards/1" }.body.qty)
  end)

  it("its policies may read its views, and their effects are as durable as anybody's", function()
    scripts(tree(boards, { ["systems/t.lua"] = memory, ["policies/t/tell.lua"] = [[return policy "tell" {
      service = "desk", on = "Paid", handle = function(event)
        bus.emit("Told", { id = event.id, orderId = event.orderId, text = "orders " .. store.count("boards") })
      end }]] }))
    emit("Paid", { id = 1, orderId = 7, status = "paid" })
    settle()
    restart()
    settle()
    assert.equal(1, #events("Told"))
    assert.equal(1, #rows("desk", "boards"))
  end)

  it("a letter of such a view is listed, retried and discarded like another one", function()
    scripts(tree(ordered([[if row.qty == nil and event.qty == 13 then fail(400, "unlucky") end; row.qty = event.qty]]),
      { ["systems/t.lua"] = memory }))
    emit("Ordered", { id = 1, qty = 13 })
    emit("Ordered", { id = 2, qty = 13 })
    emit("Ordered", { id = 1, qty = 14 })
    settle()
    local list = letters()
    assert.equal(2, #list)
    assert.equal("view boards", list[1].policy)
    assert.equal("Ordered", list[1].type)
    local by_seq = {}
    for _, letter in ipairs(list) do by_seq[letter.seq] = letter.id end
    retry_letter(by_seq[1])
    settle()
    assert.equal(13, rows("desk", "boards", { orderId = 1 })[1].qty)
    discard_letter(by_seq[2])
    settle()
    assert.same({}, letters())
    restart()
    settle()
    assert.equal(2, #letters())
    assert.equal(14, rows("desk", "boards", { orderId = 1 })[1].qty)
  end)

  it("an event that keeps failing does not keep the others from being ready", function()
    scripts(tree(ordered([[assert(event.qty ~= 13, "unlucky"); row.qty = event.qty]]), { ["systems/t.lua"] = memory }))
    emit("Ordered", { id = 1, qty = 13 })
    emit("Ordered", { id = 2, qty = 2 })
    emit("Ordered", { id = 1, qty = 14 })
    restart()
    assert.equal(200, request { path = "/boards" }.status)
    local list = rows("desk", "boards")
    assert.equal(1, #list)
    assert.equal(2, list[1].orderId)
  end)

  it("a resource in it is refused with its line, and so is an unknown store", function()
    local problem = assert.error_matches("holds views and nothing else", scripts,
      tree(boards, { ["systems/t.lua"] = memory, ["routes/t/more.lua"] =
        "return {\nresource \"more\" { service = \"desk\", fields = { text \"x\" } } }" }))
    assert.matches("scripts/routes/t/more.lua:2", tostring(problem))
    assert.error_matches('there are "sqlite" and "memory"', scripts,
      tree(boards, { ["systems/t.lua"] = [[return { services = { shop = {}, desk = { store = "ram" } } }]] }))
  end)

  it("a view may move between the stores; the log has all of it", function()
    emit("Ordered", { id = 7, qty = 3 })
    restart(tree(boards))
    settle()
    assert.equal(3, rows("desk", "boards")[1].qty)
    emit("Ordered", { id = 8, qty = 4 })
    restart(tree(boards, { ["systems/t.lua"] = memory }))
    assert.equal(2, #rows("desk", "boards"))
  end)
end)

describe("SYSTEMS-3h a view by several fields", function()
  local history = [[return view "history" { service = "desk", by = { "orderId", "status" },
    fields = { integer "orderId", text "status", integer "times" },
    on = { Paid = function(row) row.times = (row.times or 0) + 1 end } }]]

  it("has a row for each of their values together", function()
    scripts(tree(history))
    emit("Paid", { id = 1, orderId = 7, status = "paid" })
    emit("Paid", { id = 2, orderId = 7, status = "refunded" })
    emit("Paid", { id = 3, orderId = 7, status = "paid" })
    emit("Paid", { id = 4, orderId = 8, status = "paid" })
    settle()
    assert.same({ { id = 1, orderId = 7, status = "paid", times = 2 },
      { id = 2, orderId = 7, status = "refunded", times = 1 },
      { id = 3, orderId = 8, status = "paid", times = 1 } }, rows("desk", "history"))
  end)

  it("is refused when an event has not all of them", function()
    local wrong = history:gsub('on = {', 'on = { Ordered = function() end,')
    assert.error_matches('view "history": by names the field "orderId" of Ordered, which is not declared', scripts,
      tree(wrong))
  end)
end)
