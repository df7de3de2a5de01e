-- SPDX-License-Identifier: MIT
-- Resources as HAL: items, collections, pages, finders, changes and their hooks, conditions, guards.
local system = [[return { services = { shop = {}, till = {} } }]]
local orders = [[
return {
  event "Changed" { service = "shop", key = { order = "id" },
    fields = { integer "id", text "what", integer "qty", integer "before" } },
  resource "orders" { service = "shop", rel = "order",
    fields = { text "item" { required = true, length = 10 }, integer "qty" { default = 1, min = 1 }, number "price",
      text "status" },
    finders = { findByItem = { "item" }, findByItemAndQty = { "item", "qty" } },
    before_update = function(order, before, context)
      if order.status == "stop" then fail(409, "stopped") end
      if order.status == "double" then order.qty = order.qty * 2 end
      if order.status == "body" then order.item = tostring(context.body.note) end
    end,
    on_update = function(order, before)
      bus.emit("Changed", { id = order.id, what = "updated", qty = order.qty, before = before.qty })
    end,
    before_delete = function(order) if order.status == "kept" then fail(409, "kept") end end,
    on_delete = function(order) bus.emit("Changed", { id = order.id, what = "deleted", qty = order.qty }) end,
  },
  resource "crates" { service = "till", path = "/store/crates", id = "crateId", methods = { "GET", "POST" },
    fields = { text "name", boolean "open" { index = true } }, finders = { findByOpen = { "open" } } },
}]]

local function tree(more)
  local files = { ["systems/t.lua"] = system, ["routes/t/orders.lua"] = orders }
  for name, text in pairs(more or {}) do files[name] = text end
  return files
end

local function post(body, headers) return request { path = "/orders", body = body, headers = headers } end
local function put(path, body, headers)
  return request { method = "PUT", path = path, body = body, headers = headers }
end
local function patch(path, body, headers)
  return request { method = "PATCH", path = path, body = body, headers = headers }
end
local function delete(path, headers) return request { method = "DELETE", path = path, headers = headers } end
local function get(path, headers) return request { path = path, headers = headers } end

local function fill(count)
  for i = 1, count do post { item = "i" .. i % 3, qty = i } end
end

local function qtys(answer)
  local list = {}
  for i, item in ipairs(answer.body._embedded.orders) do list[i] = item.qty end
  return list
end

local function rels(text)
  local list = {}
  for rel in text:match('.*"_embedded".*%]},"_links":(%b{})'):gmatch('"([%w]+)":{') do list[#list + 1] = rel end
  return table.concat(list, " ")
end

describe("SHOP-1a items", function()
  scripts(tree())

  it("fields in their order, then the links; no id; numbers as they are declared", function()
    local made = post { item = "cake", price = 25000, id = 9 }
    assert.equal('{"item":"cake","qty":1,"price":25000.0,"status":null,"_links":{"self":' ..
      '{"href":"http://localhost/orders/1"},"order":{"href":"http://localhost/orders/1"}}}', made.text)
    assert.equal("http://localhost/orders/1", made.headers.location)
    assert.equal("application/hal+json;charset=UTF-8", made.headers["content-type"])
    assert.equal(made.text, get("/orders/1").text)
    assert.equal(made.text, get("/orders/1/").text)
    assert.equal(404, get("/orders/one").status)
    assert.equal(404, get("/orders/2").status)
  end)

  it("links name the host that was asked", function()
    post { item = "cake" }
    assert.equal("http://shop.example:8080/orders/1",
      get("/orders/1", { Host = "shop.example:8080" }).body._links.self.href)
    local faked = get("/orders/1", { ["X-Forwarded-Host"] = "evil", ["X-Forwarded-Proto"] = "https" })
    assert.equal("http://localhost/orders/1", faked.body._links.self.href)
  end)

  it("the media type is plain JSON for whoever asks for that first", function()
    post { item = "cake" }
    for accept, type in pairs {
      ["application/json, */*"] = "application/json", ["application/json"] = "application/json",
      ["application/hal+json, application/json"] = "application/hal+json", ["*/*"] = "application/hal+json",
      ["application/json;q=0.5, */*"] = "application/hal+json", ["text/html,*/*;q=0.8"] = "application/hal+json",
      ["application/hal+json;q=0.1, application/json;q=0.2"] = "application/json",
    } do
      assert.equal(type .. ";charset=UTF-8", get("/orders/1", { Accept = accept }).headers["content-type"])
    end
  end)

  it("a change is answered with the row only if the client says what it accepts", function()
    local made = post({ item = "cake" }, { Accept = false })
    assert.same({ 201, "", "http://localhost/orders/1" }, { made.status, made.text, made.headers.location })
    local changed = patch("/orders/1", { qty = 2 }, { Accept = false })
    assert.same({ 204, "" }, { changed.status, changed.text })
    local replaced = put("/orders/1", { item = "pie" }, { Accept = false })
    assert.same({ 204, "", "http://localhost/orders/1" }, { replaced.status, replaced.text, replaced.headers.location })
  end)
end)

describe("SHOP-1b collections", function()
  scripts(tree())

  it("an empty one has its rel, its links and a page block", function()
    assert.equal('{"_embedded":{"orders":[]},"_links":{"self":{"href":"http://localhost/orders{?page,size,sort}",' ..
      '"templated":true},"profile":{"href":"http://localhost/profile/orders"},"search":' ..
      '{"href":"http://localhost/orders/search"}},"page":{"size":20,"totalElements":0,"totalPages":0,"number":0}}',
      get("/orders").text)
  end)

  it("pages of 20, with links to the others", function()
    fill(45)
    local first = get "/orders"
    assert.equal("first self next last profile search", rels(first.text))
    assert.same({ size = 20, totalElements = 45, totalPages = 3, number = 0 }, first.body.page)
    assert.equal("http://localhost/orders{?page,size,sort}", first.body._links.self.href)
    assert.equal("http://localhost/orders?page=1&size=20", first.body._links.next.href)
    local second = get "/orders?page=1"
    assert.equal("first prev self next last profile search", rels(second.text))
    assert.equal("http://localhost/orders?page=1&size=20", second.body._links.self.href)
    local last = get(second.body._links.last.href:match("/orders.*"))
    assert.equal("first prev self last profile search", rels(last.text))
    assert.same({ 41, 42, 43, 44, 45 }, qtys(last))
    local beyond = get "/orders?page=9&size=10"
    assert.same({}, qtys(beyond))
    assert.same({ size = 10, totalElements = 45, totalPages = 5, number = 9 }, beyond.body.page)
    assert.equal("first prev self last profile search", rels(beyond.text))
    assert.equal(20, #qtys(first))
    assert.same({ 1, 2 }, { qtys(first)[1], qtys(first)[2] })
  end)

  it("wrong numbers get the defaults, too large a size the largest", function()
    fill(3)
    for query, size in pairs { ["size=0"] = 20, ["size=-1"] = 20, ["size=x"] = 20, ["size=1001"] = 1000, ["size=2"] = 2,
      ["page=-1"] = 20, ["page=x"] = 20, ["page=99999999999999999999"] = 20 } do
      local answer = get("/orders?" .. query)
      assert.same({ 200, size, 0 }, { answer.status, answer.body.page.size, answer.body.page.number })
    end
  end)

  it("sorted by one or several fields, ids ascending otherwise; what is unknown is passed over", function()
    fill(6)
    assert.same({ 6, 5, 4, 3, 2, 1 }, qtys(get "/orders?sort=qty,desc"))
    assert.same({ 6, 5, 4, 3, 2, 1 }, qtys(get "/orders?sort=id,DESC"))
    assert.same({ 3, 6, 1, 4, 2, 5 }, qtys(get "/orders?sort=item"))
    assert.same({ 6, 3, 4, 1, 5, 2 }, qtys(get "/orders?sort=item,asc&sort=qty,desc"))
    assert.same({ 5, 2, 4, 1, 6, 3 }, qtys(get "/orders?sort=item,qty,desc"))
    assert.same({ 1, 2, 3, 4, 5, 6 }, qtys(get "/orders?sort=colour,desc"))
    local paged = get "/orders?sort=item&sort=colour&sort=qty,desc&size=2&page=1"
    assert.same({ 4, 1 }, qtys(paged))
    assert.equal("http://localhost/orders?page=2&size=2&sort=item,asc&sort=qty,desc", paged.body._links.next.href)
  end)

  it("a long one is whole, sorted or not", function()
    fill(700)
    local all, sorted = qtys(get "/orders?size=1000"), qtys(get "/orders?size=1000&sort=qty,desc")
    assert.same({ 700, 700 }, { #all, #sorted })
    for i = 1, 700 do assert.same({ i, 701 - i }, { all[i], sorted[i] }) end
    assert.same({ 401, 100, 500 }, { qtys(get "/orders?size=100&page=4")[1], #qtys(get "/orders?size=100&page=4"),
      qtys(get "/orders?size=100&page=4")[100] })
  end)
end)

describe("SHOP-1c changes", function()
  scripts(tree())

  it("PUT replaces the whole row, PATCH what it names; null is null", function()
    post { item = "cake", qty = 4, price = 2.5, status = "new" }
    local merged = patch("/orders/1", '{"qty":"5","price":null,"colour":"red"}')
    assert.same({ 200, "cake", 5, "new" }, { merged.status, merged.body.item, merged.body.qty, merged.body.status })
    assert.equal(nil, row("shop", "orders", 1).price)
    local replaced = put("/orders/1", { item = "pie" })
    assert.same({ 200, "pie", 1 }, { replaced.status, replaced.body.item, replaced.body.qty })
    assert.equal("http://localhost/orders/1", replaced.headers.location)
    assert.same({ id = 1, item = "pie", qty = 1 }, row("shop", "orders", 1))
    assert.equal(200, patch("/orders/1", '{"qty":2}', { ["Content-Type"] = "application/merge-patch+json" }).status)
    local other = patch("/orders/1", "[]", { ["Content-Type"] = "application/json-patch+json" })
    assert.same({ 415, "media_type" }, { other.status, other.body.code })
  end)

  it("a PATCH without a body changes nothing by itself, whatever its type says; hooks run", function()
    post { item = "cake", qty = 4, status = "double" }
    local types = { false, "application/json", "application/x-www-form-urlencoded" }
    for n, kind in ipairs(types) do
      local merged = request { method = "PATCH", path = "/orders/1", headers = { ["Content-Type"] = kind } }
      assert.same({ 200, "cake", 4 * 2 ^ n }, { merged.status, merged.body.item, merged.body.qty })
    end
    assert.equal(3, #events("Changed"))
    assert.equal(400, request({ method = "PUT", path = "/orders/1" }).status)
    assert.equal(400, request({ method = "POST", path = "/orders" }).status)
  end)

  it("PUT of a missing id creates under the next one; PATCH and DELETE of it are 404", function()
    local made = put("/orders/77", { item = "cake" })
    assert.same({ 201, "http://localhost/orders/1" }, { made.status, made.headers.location })
    assert.equal(404, patch("/orders/77", { qty = 1 }).status)
    assert.equal(404, delete("/orders/77").status)
    for _, method in ipairs { "GET", "PUT", "PATCH", "DELETE" } do
      local body = method ~= "GET" and method ~= "DELETE" and { item = "x" } or nil
      local answer = request { method = method, path = "/orders/abc", body = body }
      assert.same({ method, 404, "not_found" }, { method, answer.status, answer.body.code })
    end
    assert.equal(1, #rows("shop", "orders"))
  end)

  it("what fails its declaration is listed and changes nothing", function()
    post { item = "cake" }
    for _, change in ipairs { put, patch } do
      local refused = change("/orders/1", { item = "much too long", qty = 0 })
      assert.equal(400, refused.status)
      assert.same({ { "orders", "item", "much too long" }, { "orders", "qty", 0 } }, {
        { refused.body.errors[1].entity, refused.body.errors[1].property, refused.body.errors[1].invalidValue },
        { refused.body.errors[2].entity, refused.body.errors[2].property, refused.body.errors[2].invalidValue } })
    end
    assert.equal("must not be null", put("/orders/1", { qty = 2 }).body.errors[1].message)
    assert.equal(400, patch("/orders/1", "{").status)
    assert.equal(400, request({ method = "PUT", path = "/orders/1" }).status)
    assert.same({ id = 1, item = "cake", qty = 1 }, row("shop", "orders", 1))
    assert.same({}, events())
  end)

  it("DELETE is 204 and the row is gone", function()
    post { item = "cake" }
    local gone = delete("/orders/1")
    assert.same({ 204, "" }, { gone.status, gone.text })
    assert.same({ 404, 404 }, { get("/orders/1").status, delete("/orders/1").status })
  end)
end)

describe("SHOP-1d hooks of changes", function()
  scripts(tree())

  it("before_update sees both rows and may change the new one; on_update follows", function()
    post { item = "cake", qty = 3 }
    assert.equal(8, patch("/orders/1", { qty = 4, status = "double" }).body.qty)
    assert.equal("hello", patch("/orders/1", { note = "hello", status = "body" }).body.item)
    local seen = {}
    for i, event in ipairs(events("Changed")) do seen[i] = { event.payload.qty, event.payload.before } end
    assert.same({ { 8, 3 }, { 8, 8 } }, seen)
  end)

  it("hooks run even when nothing changed", function()
    post { item = "cake", qty = 3 }
    assert.equal(200, patch("/orders/1", {}).status)
    assert.equal(200, put("/orders/1", { item = "cake", qty = 3 }).status)
    assert.equal(2, #events("Changed"))
    assert.equal('"1"', get("/orders/1").headers.etag)
  end)

  it("a hook that refuses leaves everything as it was", function()
    post { item = "cake", status = "kept" }
    local stopped = patch("/orders/1", { status = "stop", qty = 9 })
    assert.same({ 409, "stopped" }, { stopped.status, stopped.body.message })
    local kept = delete("/orders/1")
    assert.same({ 409, "kept" }, { kept.status, kept.body.message })
    assert.same({ id = 1, item = "cake", qty = 1, status = "kept" }, row("shop", "orders", 1))
    patch("/orders/1", { status = "free" })
    assert.equal(204, delete("/orders/1").status)
    assert.equal("deleted", events("Changed")[2].payload.what)
  end)

  it("the row is read-only in on_* and in before_delete, and so is the row before", function()
    local function with(hook)
      return tree { ["routes/t/x.lua"] = [[return resource "things" { service = "shop", fields = { integer "n" }, ]] ..
        hook .. " }" }
    end
    for _, hook in ipairs { "on_create = function(row) row.n = 2 end", "on_update = function(row) row.n = 2 end",
      "before_update = function(_, before) before.n = 2 end", "before_delete = function(row) row.n = 2 end",
      "on_delete = function(row) row.n = 2 end", "before_update = function(row) row.m = 2 end",
      "before_update = function(row) store.delete('things', row.id) end",
      "before_delete = function(row) store.delete('things', row.id) end" } do
      scripts(with(hook))
      local made = request { path = "/things", body = { n = 1 } }
      local worst, path = made.status, "/things/" .. (made.id or 1)
      for _, one in ipairs { patch(path, { n = 3 }), delete(path) } do worst = math.max(worst, one.status) end
      assert.same({ hook, 500 }, { hook, worst })
    end
  end)

  it("what on_create changes afterwards is in the answer and its version", function()
    scripts(tree { ["routes/t/x.lua"] = [[return resource "things" { service = "shop", fields = { integer "n" },
      on_create = function(row) store.update("things", row, { n = 7 }) end,
      on_update = function(row) store.update("things", row, { n = row.n + 1 }) end }]] })
    local made = request { path = "/things", body = { n = 1 } }
    assert.same({ 7, '"1"' }, { made.body.n, made.headers.etag })
    assert.equal('"1"', get("/things/1").headers.etag)
    local changed = patch("/things/1", { n = 20 })
    assert.same({ 21, '"2"' }, { changed.body.n, changed.headers.etag })
    assert.equal('"2"', get("/things/1").headers.etag)
  end)
end)

describe("SHOP-1e conditions", function()
  scripts(tree())

  it("every item has its version as ETag; If-None-Match gives 304", function()
    assert.equal('"1"', post({ item = "cake" }).headers.etag)
    assert.equal('"2"', patch("/orders/1", { qty = 2 }).headers.etag)
    assert.equal('"2"', get("/orders/1").headers.etag)
    local same = get("/orders/1", { ["If-None-Match"] = '"1", W/"2"' })
    assert.same({ 304, "", '"2"' }, { same.status, same.text, same.headers.etag })
    assert.equal(304, get("/orders/1", { ["If-None-Match"] = "*" }).status)
    assert.equal(200, get("/orders/1", { ["If-None-Match"] = '"1"' }).status)
  end)

  it("If-Match lets only the version named be changed", function()
    post { item = "cake" }
    local function match(tag) return { ["If-Match"] = tag } end
    for _, refused in ipairs {
      patch("/orders/1", { qty = 2 }, match '"7"'), put("/orders/1", { item = "x" }, match '"0"'),
      delete("/orders/1", match '"2"'), patch("/orders/1", { qty = 2 }, match "1"),
      put("/orders/5", { item = "x" }, match "*"), delete("/orders/5", match '"1"') } do
      assert.same({ 412, "precondition" }, { refused.status, refused.body.code })
    end
    assert.same({}, events())
    assert.equal(200, patch("/orders/1", { qty = 2 }, match '"1"').status)
    assert.equal(412, patch("/orders/1", { qty = 3 }, match '"1"').status)
    assert.equal(204, delete("/orders/1", match '"9", "2"').status)
  end)

  it("of two that name the same version one changes the row", function()
    post { item = "cake" }
    local waiting = {}
    for i = 1, 5 do
      waiting[i] = start { method = "PATCH", path = "/orders/1", body = { qty = 10 + i },
        headers = { ["If-Match"] = '"1"' } }
    end
    settle()
    local statuses = {}
    for i = 1, 5 do statuses[waiting[i].status] = (statuses[waiting[i].status] or 0) + 1 end
    assert.same({ [200] = 1, [412] = 4 }, statuses)
    assert.equal('"2"', get("/orders/1").headers.etag)
  end)
end)

describe("SHOP-1f methods", function()
  scripts(tree())

  it("HEAD is 204 with links", function()
    post { item = "cake" }
    local item = request { method = "HEAD", path = "/orders/1" }
    assert.same({ 204, "", '"1"' }, { item.status, item.text, item.headers.etag })
    assert.equal('<http://localhost/orders/1>;rel="self",<http://localhost/orders/1>;rel="order"', item.headers.link)
    local list = request { method = "HEAD", path = "/orders" }
    assert.equal(204, list.status)
    assert.equal('<http://localhost/orders{?page,size,sort}>;rel="self",<http://localhost/profile/orders>;' ..
      'rel="profile",<http://localhost/orders/search>;rel="search"', list.headers.link)
    assert.equal(404, request({ method = "HEAD", path = "/orders/2" }).status)
    assert.equal(204, request({ method = "HEAD", path = "/orders/search" }).status)
    assert.equal(204, request({ method = "HEAD", path = "/orders/search/findByItem?item=a" }).status)
  end)

  it("OPTIONS names the methods, and what an item's PATCH may be", function()
    local list = request { method = "OPTIONS", path = "/orders" }
    assert.same({ 200, "GET, HEAD, POST, OPTIONS" }, { list.status, list.headers.allow })
    assert.equal(nil, list.headers["accept-patch"])
    local item = request { method = "OPTIONS", path = "/orders/1" }
    assert.same({ 200, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS", "application/merge-patch+json, application/json" },
      { item.status, item.headers.allow, item.headers["accept-patch"] })
  end)

  it("a method that is not there is 405 with Allow", function()
    local list, item = "GET, HEAD, POST, OPTIONS", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    local allow = { ["POST /orders/1"] = item, ["PUT /orders"] = list, ["DELETE /orders"] = list,
      ["DELETE /store/crates/1"] = "GET, HEAD, OPTIONS", ["PATCH /store/crates/1"] = "GET, HEAD, OPTIONS" }
    for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE" } do
      allow[method .. " /orders/search"] = "GET, HEAD, OPTIONS" -- no id is called so
      allow[method .. " /orders/search/findByItem"] = "GET, HEAD, OPTIONS"
    end
    for asked, expected in pairs(allow) do
      local method, path = asked:match("(%S+) (%S+)")
      local answer = request { method = method, path = path, body = {} }
      assert.same({ asked, 405, "method", expected }, { asked, answer.status, answer.body.code, answer.headers.allow })
    end
  end)
end)

describe("SHOP-1g finders", function()
  scripts(tree())

  it("are listed, templated", function()
    assert.equal('{"_links":{"findByItem":{"href":"http://localhost/orders/search/findByItem{?item}",' ..
      '"templated":true},"findByItemAndQty":{"href":' ..
      '"http://localhost/orders/search/findByItemAndQty{?item,qty}","templated":true},' ..
      '"self":{"href":"http://localhost/orders/search"}}}', get("/orders/search").text)
    assert.equal(404, get("/orders/search/findByPrice").status)
  end)

  it("give what matches, whole; pages when they are asked for", function()
    fill(70)
    local found = get "/orders/search/findByItem?item=i1"
    assert.equal(24, #qtys(found))
    assert.equal("self", rels(found.text))
    assert.equal("http://localhost/orders/search/findByItem?item=i1", found.body._links.self.href)
    assert.equal(nil, found.body.page)
    assert.same({ 70, 67 }, { qtys(get "/orders/search/findByItem?item=i1&sort=qty,desc")[1],
      qtys(get "/orders/search/findByItem?item=i1&sort=qty,desc")[2] })
    local paged = get "/orders/search/findByItem?item=i1&size=10&page=1"
    assert.same({ size = 10, totalElements = 24, totalPages = 3, number = 1 }, paged.body.page)
    assert.equal("first prev self next last", rels(paged.text))
    assert.equal("http://localhost/orders/search/findByItem?item=i1&page=2&size=10", paged.body._links.next.href)
    assert.same({ 7 }, qtys(get "/orders/search/findByItemAndQty?item=i1&qty=7"))
    local none = get "/orders/search/findByItem?item=a%22%20b"
    assert.equal('{"_embedded":{"orders":[]},"_links":{"self":{"href":' ..
      '"http://localhost/orders/search/findByItem?item=a%22%20b"}}}', none.text)
  end)

  it("sort as their name says, unless another order is asked for", function()
    scripts(tree { ["routes/t/shelves.lua"] = [[return resource "shelves" { service = "till", rel = "shelf",
      fields = { text "item", integer "qty" },
      finders = { findByItemOrderByQtyAsc = { "item" }, findByItemOrderByQtyDesc = { "item" } } }]] })
    for _, qty in ipairs { 2, 3, 1 } do request { path = "/shelves", body = { item = "a", qty = qty } } end
    local function found(query)
      local answer, list = get("/shelves/search/findByItemOrderBy" .. query), {}
      for i, shelf in ipairs(answer.body._embedded.shelves) do list[i] = shelf.qty end
      return list, answer
    end
    assert.same({ 1, 2, 3 }, (found "QtyAsc?item=a"))
    assert.same({ 3, 2, 1 }, (found "QtyDesc?item=a"))
    assert.same({ 1, 2, 3 }, (found "QtyDesc?item=a&sort=qty"))
    local page, answer = found "QtyAsc?item=a&size=2"
    assert.same({ 1, 2 }, page)
    assert.equal("http://localhost/shelves/search/findByItemOrderByQtyAsc?item=a&page=1&size=2",
      answer.body._links.next.href)
  end)

  it("a parameter that is missing or of a wrong type is 400", function()
    local missing = get "/orders/search/findByItemAndQty?item=a"
    assert.same({ 400, "invalid" }, { missing.status, missing.body.code })
    assert.matches('parameter "qty" is missing', missing.body.message)
    assert.equal(400, get("/orders/search/findByItemAndQty?item=a&qty=many").status)
    assert.equal(200, get("/store/crates/search/findByOpen?open=true").status)
    assert.equal(400, get("/store/crates/search/findByOpen?open=perhaps").status)
  end)
end)

describe("SHOP-1h what there is", function()
  scripts(tree())

  it("the root lists itself, all collections and the profile", function()
    assert.equal('{"_links":{"self":{"href":"http://localhost/"},' ..
      '"orders":{"href":"http://localhost/orders{?page,size,sort}","templated":true},' ..
      '"crates":{"href":"http://localhost/store/crates{?page,size,sort}","templated":true},' ..
      '"profile":{"href":"http://localhost/profile"}}}', get("/").text)
  end)

  it("profiles are listed and describe their fields", function()
    assert.equal('{"_links":{"self":{"href":"http://localhost/profile"},"orders":{"href":' ..
      '"http://localhost/profile/orders"},"crates":{"href":"http://localhost/profile/store/crates"}}}',
      get("/profile").text)
    local profile = get(get("/orders").body._links.profile.href:match("localhost(.*)"))
    assert.equal("application/alps+json", profile.headers["content-type"])
    local fields = profile.body.alps.descriptor[1].descriptor
    assert.same({ { "item", "qty" }, { "price", "status" } },
      { { fields[1].name, fields[2].name }, { fields[3].name, fields[4].name } })
    assert.equal(200, get("/profile/store/crates").status)
  end)

  it("a route of one's own takes these paths", function()
    scripts(tree { ["routes/t/root.lua"] = [[return route "root" { service = "shop", method = "GET", path = "/",
      handle = function() return "mine" end }]] })
    assert.equal("mine", get("/").text)
  end)

  it("an id of another name is not in bodies either", function()
    local made = request { path = "/store/crates", body = { name = "a", crateId = 5 } }
    assert.same({ name = "a", _links = made.body._links }, made.body)
    assert.equal("http://localhost/store/crates/1", made.headers.location)
    assert.equal("http://localhost/store/crates/1", made.body._links.crate.href)
  end)
end)

describe("SHOP-1i guards", function()
  local guarded = [[
local function guard(context, action)
  local denied = context.request.headers["x-deny"]
  if denied == action or denied == "all" then fail(403, "not you") end
end
return {
  resource "secrets" { service = "shop", guard = guard, fields = { text "what" },
    finders = { findByWhat = { "what" } } },
  route "told" { service = "shop", method = "POST", path = "/told", guard = guard,
    handle = function() return "ok" end },
}]]
  scripts(tree { ["routes/t/x.lua"] = guarded })

  local function ask(method, path, action, body)
    return request({ method = method, path = path, body = body, headers = { ["X-Deny"] = action } }).status
  end

  it("are asked before each operation, with its action", function()
    assert.equal(201, request({ path = "/secrets", body = { what = "a" } }).status)
    for _, case in ipairs {
      { "GET", "/secrets", "list" }, { "GET", "/secrets/1", "read" }, { "HEAD", "/secrets/1", "read" },
      { "GET", "/secrets/search/findByWhat?what=a", "list" }, { "POST", "/secrets", "create", { what = "b" } },
      { "PUT", "/secrets/1", "update", { what = "b" } }, { "PATCH", "/secrets/1", "update", { what = "b" } },
      { "DELETE", "/secrets/1", "delete" }, { "POST", "/told", "create", {} },
      { "PUT", "/secrets/9", "create", { what = "b" } } } do
      assert.same({ case[1], case[2], 403 }, { case[1], case[2], ask(case[1], case[2], case[3], case[4]) })
    end
    assert.same({ { id = 1, what = "a" } }, rows("shop", "secrets"))
    assert.same({ 200, 200, 200 }, { ask("GET", "/secrets/1", "list"), ask("GET", "/secrets", "read"),
      ask("POST", "/told", "list", {}) })
  end)

  it("come before the body is looked at and before a row is missed", function()
    assert.equal(403, ask("POST", "/secrets", "all", "{broken"))
    assert.equal(403, ask("GET", "/secrets/99", "all"))
    assert.equal(403, ask("DELETE", "/secrets/abc", "all"))
    assert.equal(400, ask("POST", "/secrets", "none", "{broken"))
  end)
end)

describe("SHOP-1j siblings", function()
  local function calls(body)
    return tree { ["routes/t/x.lua"] = [[return route "go" { service = "till", method = "POST", path = "/go",
      handle = function(request) ]] .. body .. " end }" }
  end
  local function go(body)
    scripts(calls(body))
    return request { path = "/go", body = {} }
  end

  it("get the same statuses, headers and bodies as over the network", function()
    local answer = go [[
      local made = http.post("http://shop/orders", { item = "cake", qty = 2 })
      local read = http.get(made.headers.Location)
      local merged = http.patch("http://shop/orders/1", { qty = 5 })
      assert(http.patch("http://shop/orders/1").body.qty == 5)
      local replaced = http.put("http://shop/orders/1", { item = "pie" })
      local more = http.put("http://shop/orders/44", { item = "tart" })
      local list = http.get("http://shop/orders?size=1&sort=item,desc")
      local found = http.get("http://shop/orders/search/findByItem?item=pie")
      local gone = http.delete("http://shop/orders/1")
      return { made = { made.status, made.headers.location, made.body._links.order.href, made.body.qty },
        read = { read.status, read.body.item }, merged = { merged.status, merged.body.qty },
        replaced = { replaced.status, replaced.body.item, replaced.body.qty, replaced.headers.Location },
        more = { more.status, more.headers.location }, list = list.body, found = found.body,
        gone = { gone.status, gone.body } }]]
    assert.equal(200, answer.status)
    local body, one, two = answer.body, "http://shop/orders/1", "http://shop/orders/2"
    assert.same({ 201, one, one, 2 }, body.made)
    assert.same({ 200, "cake" }, body.read)
    assert.same({ 200, 5 }, body.merged)
    assert.same({ 200, "pie", 1, one }, body.replaced)
    assert.same({ 201, two }, body.more)
    assert.same({ size = 1, totalElements = 2, totalPages = 2, number = 0 }, body.list.page)
    assert.equal("tart", body.list._embedded.orders[1].item)
    assert.equal("http://shop/orders?page=1&size=1&sort=item,desc", body.list._links.next.href)
    assert.same({ "pie", "http://shop/orders/search/findByItem?item=pie" },
      { body.found._embedded.orders[1].item, body.found._links.self.href })
    assert.same({ 204, "" }, body.gone)
    assert.equal(4, #events("Changed"))
  end)

  it("have versions: an ETag in the answer, and If-Match lets only that one be changed", function()
    local answer = go [[
      local function match(tag) return { headers = { ["If-Match"] = tag } } end
      local made = http.post("http://shop/orders", { item = "cake" })
      local read = http.get("http://shop/orders/1")
      local _, stale = try(http.patch, "http://shop/orders/1", { qty = 5 }, match('"7"'))
      local _, none = try(http.put, "http://shop/orders/9", { item = "pie" }, match("*"))
      local _, kept = try(http.delete, "http://shop/orders/1", match('"7"'))
      local merged = http.patch("http://shop/orders/1", { qty = 5 }, match(read.headers.ETag))
      return { made.headers.etag, read.headers.etag, stale.status, none.status, kept.status, merged.body.qty }]]
    assert.same({ '"1"', '"1"', 412, 412, 412, 5 }, answer.body)
    local later = go [[
      return http.patch("http://shop/orders/1", { qty = 6 }, { headers = { ["If-Match"] = '"1"' } }).headers.etag]]
    assert.equal('"2"', later.text)
    assert.equal('"2"', request { path = "/orders/1" }.headers.etag)
  end)

  it("hooks and guards run, and what is refused has its status", function()
    local answer = go [[
      local seen = {}
      http.post("http://shop/orders", { item = "cake", status = "kept" })
      for _, call in ipairs { { "delete", "http://shop/orders/1" }, { "delete", "http://shop/orders/9" },
        { "delete", "http://shop/orders/abc" }, { "patch", "http://shop/orders/9", {} },
        { "delete", "http://shop/orders" },
        { "put", "http://till/store/crates/1", {} }, { "post", "http://shop/orders", { qty = 0 } },
        { "get", "http://shop/orders/search/findByItem" } } do
        local verb = call[1]
        local _, err = try(http[verb], call[2], call[3])
        seen[#seen + 1] = err.status
      end
      return seen]]
    assert.same({ 409, 404, 404, 404, 405, 405, 400, 400 }, answer.body)
    assert.equal(1, #rows("shop", "orders"))
  end)
end)

describe("SHOP-1k indented", function()
  it("json.indent gives the layout of the original systems, also to a long collection", function()
    scripts(tree { ["systems/t.lua"] = [[return { services = { shop = {}, till = {} }, json = { indent = true } }]] })
    local made = post { item = "cake" }
    assert.equal('{\n  "item" : "cake",\n  "qty" : 1,\n  "price" : null,\n  "status" : null,\n  "_links" : {\n' ..
      '    "self" : {\n      "href" : "http://localhost/orders/1"\n    },\n    "order" : {\n' ..
      '      "href" : "http://localhost/orders/1"\n    }\n  }\n}', made.text)
    local list = get("/orders").text
    assert.matches('^{\n  "_embedded" : {\n    "orders" : %[ {\n      "item" : "cake",\n', list)
    assert.matches('      }\n    } %]\n  },\n  "_links" : {\n    "self" : {\n', list)
    assert.matches('^{\n  "_embedded" : {\n    "crates" : %[ %]\n  },', get("/store/crates").text)
    fill(300)
    local long = get("/orders?size=1000")
    assert.equal(301, #long.body._embedded.orders)
    local items = select(2, long.text:gsub('\n    }, {\n      "item" : ', ""))
    assert.equal(300, items)
  end)
end)
