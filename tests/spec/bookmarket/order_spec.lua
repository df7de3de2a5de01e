-- SPDX-License-Identifier: MIT
-- What an order leads to, and what it leaves behind when it is not paid.
describe("bookmarket", function()
  local function types(list)
    local names = {}
    for i, event in ipairs(list) do names[i] = event.type end
    return names
  end

  it("PATH-6b an order is paid, shipped and announced, in virtual time", function()
    local placed = request { path = "/orders", body = { bookId = 7, qty = 2, customerId = 3 } }
    assert.equal(201, placed.status)
    assert.equal("http://localhost/orders/" .. placed.id, placed.headers.location)
    settle()

    local id = placed.id
    assert.same({ "Paid", "Ordered", "Shipped", "MessageSended" }, types(events()))
    for _, event in ipairs(events()) do
      assert.equal("order/" .. id, event.key)
      assert.equal(true, event.payload.me)
      assert.equal(event.type, event.payload.eventType)
    end
    assert.equal("Shipped", row("order", "orders", id).status)
    local paid = rows("payment", "payments")
    assert.same({ { id = paid[1].id, orderId = id, status = "Ordered", customerId = 3 } }, paid)
    local deliveries = rows("delivery", "deliveries", { orderId = id })
    assert.equal(1, #deliveries)
    local alarms = rows("bookalarm", "bookAlarms", { orderId = id })
    assert.equal("Book Delivery Status Changed : Shipped", alarms[1].bookMessage)
    assert.equal(deliveries[1].id, alarms[1].deliveryId)
    assert.same({}, letters())
  end)

  it("PATH-6b causes are kept: each event names the one before it", function()
    request { path = "/orders", body = { bookId = 1 }, headers = { ["X-Correlation-Id"] = "story-1" } }
    local log = events()
    assert.same({ 0, 0, 1, 3 }, { log[1].cause, log[2].cause, log[3].cause, log[4].cause })
    for _, event in ipairs(log) do assert.equal("story-1", event.correlation_id) end
  end)

  it("PATH-6b order and payment are one commit: both are there before anything else runs", function()
    local placed = request { path = "/orders", body = { bookId = 7 } }
    assert.equal(placed.id, rows("payment", "payments")[1].orderId)
    assert.equal(1, events("Paid")[1].seq)
    assert.equal(2, events("Ordered")[1].seq)
  end)

  it("SHOP-2a a delivery and a message that are made by hand are told like the shop's own", function()
    local made = request { path = "/deliveries", body = { orderId = 50, customerId = 5 } }
    assert.equal(201, made.status)
    settle()
    assert.same({ "Shipped", "MessageSended" }, types(events()))
    local shipped = events("Shipped")[1].payload
    assert.same({ made.id, 50, 5, "Shipped" }, { shipped.id, shipped.orderId, shipped.customerId, shipped.status })
    assert.equal("Shipped", rows("customerview", "mypages", { orderId = 50 })[1].status)
    local message = { deliveryId = made.id, bookMessage = "Late", deliveryStatus = "Shipped", orderId = 50 }
    local told = request { path = "/bookAlarms", body = message }
    assert.equal(told.id, events("MessageSended")[2].payload.id)
    assert.equal(told.id, rows("customerview", "mypages", { orderId = 50 })[1].messageId)
    assert.equal(201, request { path = "/bookAlarms", body = { bookMessage = "Closed on Monday" } }.status)
    assert.equal(3, #events())
    assert.same({}, letters())
  end)

  it("PATH-6d a payment that fails leaves nothing", function()
    faults { payment = { error_rate = 1 } }
    local placed = request { path = "/orders", body = { bookId = 7, qty = 2, customerId = 3 } }
    assert.equal(502, placed.status)
    assert.equal("http", placed.body.code)
    clock.advance("1h")
    assert.same({}, rows("order", "orders"))
    assert.same({}, rows("payment", "payments"))
    assert.same({}, events())
    faults()
    assert.equal(201, request { path = "/orders", body = { bookId = 7 } }.status)
  end)

  it("PATH-6d a payment that is too slow leaves nothing and frees its place", function()
    faults { payment = { delay_ms = 1500 } }
    local placed = request { path = "/orders", body = { bookId = 7 } }
    assert.equal(504, placed.status)
    assert.equal("timeout", placed.body.code)
    assert.equal(1, breaker("payment").timeout)
    assert.equal(0, breaker("payment").in_flight)
    clock.advance("1m")
    assert.same({}, rows("order", "orders"))
    assert.same({}, events())
  end)

  it("PATH-6b orders of many customers end alike", function()
    local waiting = {}
    for i = 1, 20 do waiting[i] = start { path = "/orders", body = { bookId = i, customerId = i } } end
    settle()
    for i = 1, 20 do assert.equal(201, waiting[i].status) end
    assert.equal(20, #rows("order", "orders", { status = "Shipped" }))
    assert.equal(80, #events())
  end)
end)
